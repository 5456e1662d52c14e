//! Linear probes: what can be decoded, where.
//!
//! At every depth and slot (one token position each), for each variable of the task:
//! a logistic regression for what has two values, a ridge regression for numbers,
//! cross-validated in five outer folds, with the penalty chosen in five inner ones.
//! Folds keep trials together that show the same unordered pair of numbers on the
//! dimension that the variable hangs on (for the cue, the answer and congruency: on
//! the cued one), so that no probe is tested on a pair that it was trained on.
//!
//! - `probe.VARIABLE.accuracy`, or `.r2` for numbers: mean over the outer folds;
//! - `.control`: the same for control labels, drawn at random for each pair (Hewitt
//!   and Liang 2019), at the penalties of the real probe. Here folds do tear pairs
//!   apart: what is memorised of a pair is to count. `.selectivity`: the score less
//!   the control's;
//! - `.transfer`: the score of the *base's* probes on the subject's activations, fold
//!   by fold, nothing fitted again; `.base`: their score on the base's own;
//! - `.cross_context`: trained in one context, tested in the others, on pairs that
//!   were not trained; mean over contexts and folds. There is none for a variable
//!   that is constant within a context, as the cue is;
//! - `.random`: the score on a network with random weights of the subject's seed.
//!
//! The cost of a place is about 9 variables · 30 training sets · 5 penalties · 6
//! passes over trials × width: half a second of one core for 3,600 trials of width
//! 128, five for width 768; three times that for the base and the random network.
//! The budget's `items` bounds it.

mod variables;

use seedbed_proto::job::Init;

use super::activations::{Course, Place, Slots, portions, read};
use super::missing::Missing;
use super::numerics::glm::{self, Design};
use super::numerics::matrix::Matrix;
use super::numerics::nested::{HeldOut, Probe, Undefined, cross_validate, held_out};
use super::readout::{Trials, hooked};
use super::rows::{At, Rows};
use super::{Answer, MechanismError, Study, Subject};
use crate::gpt2::{LM_HEAD, init};
use variables::{FOLDS, Name, Variables};

type Result<T> = std::result::Result<T, MechanismError>;
/// A score, or why there is none.
type Score = std::result::Result<f64, Undefined>;
/// The probes of all variables.
type Probes = Vec<std::result::Result<Probe, Undefined>>;

/// Answers [`Question::Probes`](seedbed_proto::job::Question::Probes).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let variables = Variables::of(study);
    let random = random_subject(study)?;
    let networks = [Some(study.subject), Some(&random), study.base];
    let networks = (networks.into_iter().flatten())
        .map(|network| hooked(network, study.ops, study.device))
        .collect::<Result<Vec<_>>>()?;

    let trials = Trials::of(study);
    let slots = Slots::of(study.task, study.split);
    let (n, width) = (trials.count(), study.subject.config.width);
    let workspace = workspace(&variables, n, width);
    let portions = portions(study, &slots, networks.len(), workspace)?;

    let mut out = Rows::of_split(study);
    let mut missing = Missing::default();
    let places = (study.subject.config.layers + 1) * slots.0.len();
    let mut course = Course::new(places * networks.len());
    let bytes = portions.batch_bytes;
    for places in portions.places {
        let mut seen = vec![];
        for network in &networks {
            let mut pulse = || course.tell(study);
            let x = read(network, trials, &slots, &places, bytes, &mut pulse)?;
            seen.push(x);
        }
        for (i, &place) in places.iter().enumerate() {
            let mut here = Here {
                variables: &variables,
                x: seen.iter().map(|x| &x[i]).collect(),
                study,
                course: &mut course,
            };
            let found = here.found()?;
            put(&mut out, &mut missing, &variables, place, &slots, found);
        }
    }
    missing.put(&mut out);
    Ok(out.finish())
}

/// Bytes that the probes of one place take beside its activations.
fn workspace(variables: &Variables, n: usize, width: usize) -> usize {
    let sets = FOLDS + FOLDS * FOLDS;
    let masks = variables.splits.len() * sets;
    // Floats of a trial: the standardised activation, of two networks where probes are
    // carried over; scores and masks of a batch of fits, masks of folds.
    let floats = 2 * width + 512 + masks;
    // Vectors: solutions of all fits at a penalty and at the one before, and the best;
    // variances in the rows of every set, and what those of a batch are made from.
    let solutions = variables.targets.len() * (2 * sets + FOLDS);
    let vectors = solutions + masks + 1024;
    4 * n * floats + 8 * vectors * width + glm::workspace(width)
}

/// A network of the subject's shape that has learned nothing.
fn random_subject(study: &Study<'_>) -> Result<Subject> {
    let subject = study.subject;
    let untie = subject.weights.contains_key(LM_HEAD);
    Ok(Subject {
        label: format!("random weights of seed {}", study.seed),
        step: 0,
        config: subject.config.clone(),
        weights: init::weights(&subject.config, Init::Scratch, None, study.seed, untie)?,
    })
}

/// One place, as all networks have it: the subject, the random one, the base.
struct Here<'a, 's> {
    variables: &'a Variables,
    x: Vec<&'a Matrix<f32>>,
    study: &'a mut Study<'s>,
    course: &'a mut Course,
}

/// What is found of one variable at one place.
struct Found {
    score: Score,
    control: Score,
    random: Score,
    /// Of the base's own activations, and of the subject's.
    base: Option<[Score; 2]>,
    cross_context: Option<Score>,
}

impl Here<'_, '_> {
    fn found(&mut self) -> Result<Vec<Found>> {
        let [subject, random, ref base @ ..] = self.x[..] else {
            unreachable!("the subject and the random network are always there");
        };
        let base = base.first().copied();
        let base = base.map(|base| self.transfer(base, subject)).transpose()?;
        let random = self.probes(random)?.1;
        let (design, probes) = self.probes(subject)?;
        let [controls, crossed] = match &design {
            Some(design) => [self.control(design, &probes)?, self.cross(design, &probes)?],
            None => [vec![], vec![]],
        };
        let mut base = base.map(Vec::into_iter);
        let (mut controls, mut crossed) = (controls.into_iter(), crossed.into_iter());
        let variables = self.variables.all.iter().zip(probes).zip(random);
        let found = variables.map(|((variable, probe), random)| {
            // Both lists have those alone whose probe is defined.
            let defined = probe.as_ref().err().copied();
            let of = |scores: &mut std::vec::IntoIter<Score>| match defined {
                None => scores.next().expect("one for each probe"),
                Some(why) => Err(why),
            };
            Found {
                control: of(&mut controls),
                cross_context: variable.within_contexts.then(|| of(&mut crossed)),
                score: probe.map(|probe| probe.score),
                random: random.map(|probe| probe.score),
                base: base
                    .as_mut()
                    .map(|base| base.next().expect("one for each variable")),
            }
        });
        Ok(found.collect())
    }

    /// Cross-validated probes of one network.
    fn probes(&mut self, x: &Matrix<f32>) -> Result<(Option<Design>, Probes)> {
        let Variables {
            splits, targets, ..
        } = self.variables;
        let Some(design) = Design::new(x) else {
            let none = targets.iter().map(|_| Err(Undefined::NotFinite));
            return Ok((None, none.collect()));
        };
        let probes = cross_validate(&design, splits, targets, &mut || {
            self.course.tell(self.study)
        })?;
        self.course.step();
        Ok((Some(design), probes))
    }

    /// The base's probes, on its own activations and on the subject's.
    fn transfer(&mut self, base: &Matrix<f32>, subject: &Matrix<f32>) -> Result<Vec<[Score; 2]>> {
        let (design, probes) = self.probes(base)?;
        let Some(design) = design else {
            let none = probes.iter().map(|_| [Err(Undefined::NotFinite); 2]);
            return Ok(none.collect());
        };
        let subject = design.scale.apply_f32(subject);
        let targets = self.variables.targets.iter();
        let scores = probes.into_iter().zip(targets).map(|(probe, target)| {
            let folds = &self.variables.splits[target.split].folds;
            let probe = match probe {
                Ok(probe) => probe,
                Err(why) => return [Err(why); 2],
            };
            let moved = probe.tested(&subject, target, folds);
            let moved = if moved.is_finite() {
                Ok(moved)
            } else {
                Err(Undefined::NotFinite)
            };
            [Ok(probe.score), moved]
        });
        Ok(scores.collect())
    }

    /// Control labels, at the penalties of the probes that are defined.
    fn control(
        &mut self,
        design: &Design,
        probes: &[std::result::Result<Probe, Undefined>],
    ) -> Result<Vec<Score>> {
        let loose = &self.variables.loose;
        let mut fits = vec![];
        for (i, probe) in probes.iter().enumerate() {
            let Ok(probe) = probe else { continue };
            let target = &self.variables.targets[i];
            // Trials without a value take no part here either.
            let takes_part = &self.variables.splits[target.split].folds.outer;
            for (fold, &penalty) in probe.penalties.iter().enumerate() {
                let tests = |row: usize| loose[row] == Some(fold as u8);
                let rows = 0..takes_part.len();
                let train = |row: usize| f32::from(takes_part[row].is_some() && !tests(row));
                fits.push(HeldOut {
                    family: target.family,
                    labels: &self.variables.all[i].control,
                    train: rows.clone().map(train).collect(),
                    test: rows
                        .map(|row| takes_part[row].is_some() && tests(row))
                        .collect(),
                    penalty,
                });
            }
        }
        self.means(design, &fits, FOLDS)
    }

    /// Trained in one context, tested in the others, where a variable allows it.
    fn cross(
        &mut self,
        design: &Design,
        probes: &[std::result::Result<Probe, Undefined>],
    ) -> Result<Vec<Score>> {
        let variables = self.variables;
        let mut fits = vec![];
        for (i, probe) in probes.iter().enumerate() {
            let Ok(probe) = probe else { continue };
            if !variables.all[i].within_contexts {
                continue;
            }
            let target = &variables.targets[i];
            let folds = &variables.splits[target.split].folds;
            for (fold, &penalty) in probe.penalties.iter().enumerate() {
                for context in 0..variables.context_count {
                    let rows = 0..variables.contexts.len();
                    let here = |row: usize| variables.contexts[row] == context;
                    let train = |row: usize| f32::from(folds.trains(fold, row) && here(row));
                    fits.push(HeldOut {
                        family: target.family,
                        labels: &target.labels,
                        train: rows.clone().map(train).collect(),
                        test: rows
                            .map(|row| folds.tests(fold, row) && !here(row))
                            .collect(),
                        penalty,
                    });
                }
            }
        }
        self.means(design, &fits, FOLDS * variables.context_count)
    }

    /// Mean scores of so many fits each.
    fn means(&mut self, design: &Design, fits: &[HeldOut<'_>], each: usize) -> Result<Vec<Score>> {
        let scores = held_out(design, fits, &mut || self.course.tell(self.study))?;
        let mean = |scores: &[Score]| {
            let sum = scores.iter().copied().sum::<Score>();
            sum.map(|sum| sum / each as f64)
        };
        Ok(scores.chunks(each).map(mean).collect())
    }
}

/// Writes down what was found at one place.
fn put(
    out: &mut Rows,
    missing: &mut Missing,
    variables: &Variables,
    place: Place,
    slots: &Slots,
    found: Vec<Found>,
) {
    let slot = slots.0[place.slot].0;
    let at = At {
        slot: Some(slot),
        ..At::layer(place.depth)
    };
    let mut put = |name: Name, what: &str, score: Score| {
        let metric = format!("probe.{}.{what}", name.variable);
        if let Err(why) = score {
            missing.add(&metric, why, format!("depth {}, slot {slot}", place.depth));
        }
        out.push(&metric, at, score.unwrap_or(f64::NAN));
    };
    for (variable, found) in variables.all.iter().zip(found) {
        let name = variable.name;
        put(name, name.measure, found.score);
        put(name, "control", found.control);
        let both = found.score.and_then(|score| Ok(score - found.control?));
        put(name, "selectivity", both);
        put(name, "random", found.random);
        if let Some([own, moved]) = found.base {
            put(name, "base", own);
            put(name, "transfer", moved);
        }
        if let Some(score) = found.cross_context {
            put(name, "cross_context", score);
        }
    }
    for (name, why) in &variables.undefined {
        put(*name, name.measure, Err(*why));
    }
}

//! From a selection on record to the jobs that inspect the selected networks:
//! pure, and the same jobs whenever it is asked again.
//!
//! Jobs stand in the order of the runs, which is by whole seeds, so that a partial
//! answer is as balanced as a partial table.

use std::collections::BTreeMap;

use seedbed_proto::JobKey;
use seedbed_proto::job::{
    Dtype, Init, Inspect, JobSpec, Keep, Moment, Network, Ops, Partner, Question, SPEC_VERSION,
    SpecError, Train, Work, pairing,
};
use seedbed_proto::result::JobPhase;
use serde_json::json;

use crate::artifacts::retention::picks;
use crate::results::{Point, Run, Selection};
use crate::store::NewJob;
use crate::sweep::{self, Compare, Whose};

/// The split whose trials are shown.
pub const SPLIT: &str = "test_iid";

/// Validation accuracy at which a run counts as matched; its worker stores the
/// weights of the first evaluation there.
const MATCHED: f64 = 0.95;

/// Keys of an inspect job's point, beside those of its run: what is asked, of
/// which weights, and after how many steps they stood.
pub const QUESTION: &str = "question";
/// See [`QUESTION`].
pub const AT: &str = "at";
/// See [`QUESTION`].
pub const STEP: &str = "step";

/// The point of the run that an inspection of this point is about.
pub(crate) fn subject(inspection: &Point) -> Point {
    group(inspection, &[QUESTION, AT, STEP])
}

/// How the names of what inspect jobs measure begin.
const MECHANISMS: [&str; 13] = [
    "ablation",
    "attention",
    "cka",
    "dla",
    "drift",
    "interpolation",
    "lens",
    "patching",
    "probe",
    "reversion",
    "rsa",
    "tdr",
    "transplant",
];

/// Those of them that compare two networks; which two is the next part of the name.
const COMPARED: [&str; 4] = ["cka", "interpolation", "rsa", "transplant"];

/// Whether a metric of this name was found inside a network.
///
/// ```
/// use seedbed_coordinator::inspection::is_mechanism;
///
/// assert!(is_mechanism("patching.cue.denoising.z"));
/// assert!(!is_mechanism("incongruent_accuracy"));
/// assert!(!is_mechanism("floor.sum.accuracy"));
/// ```
pub fn is_mechanism(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    name.contains('.') && MECHANISMS.contains(&first)
}

/// Whether a metric is of pairs of networks of one arm: each stands in two of them,
/// so the numbers of two neighbouring seeds are not independent.
///
/// ```
/// use seedbed_coordinator::inspection::shares_networks;
///
/// assert!(shares_networks("cka.ft_ft"));
/// assert!(shares_networks("transplant.reinit_last_1_reinit_last_1.block"));
/// assert!(!shares_networks("interpolation.ft_sc.loss"));
/// assert!(!shares_networks("reversion.block"));
/// ```
pub fn shares_networks(name: &str) -> bool {
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or_default();
    let pairing = parts.next().filter(|_| COMPARED.contains(&first));
    pairing.is_some_and(|pairing| {
        let half = pairing.len() / 2;
        pairing
            .get(..half)
            .zip(pairing.get(half..))
            .is_some_and(|(one, other)| other.strip_prefix('_') == Some(one))
    })
}

/// The seed that a seed's network is compared with, of those that are done; none of
/// the last one of two.
pub fn neighbour(seed: u64, done: &[u64]) -> Option<u64> {
    let mut seeds = done.to_vec();
    seeds.sort_unstable();
    seeds.dedup();
    let place = seeds.iter().position(|s| *s == seed)?;
    match seeds.get(place + 1) {
        Some(next) => Some(*next),
        None if seeds.len() > 2 => Some(seeds[0]),
        None => None,
    }
}

/// A run with what its job was.
struct Known<'a> {
    run: &'a Run,
    train: Box<Train>,
    engine: seedbed_proto::job::Engine,
}

/// The jobs that a sweep's `inspect:` calls for. `specs` are those of the runs.
///
/// A run that is not done is not inspected, nor is one at `matched` that never got
/// there.
///
/// # Errors
/// If a spec on record is not readable.
pub fn jobs(
    asked: &sweep::Inspect,
    compare: &Compare,
    selection: &Selection,
    runs: &[Run],
    specs: &BTreeMap<JobKey, String>,
) -> Result<Vec<NewJob>, SpecError> {
    let mut known = vec![];
    for run in runs.iter().filter(|run| run.phase == JobPhase::Done) {
        let wanted = match asked.whose {
            Whose::All => true,
            // Nothing was chosen from: every value stands for itself.
            Whose::Selected => compare.select.is_none() || picks(selection, &run.point),
        };
        let Some(text) = specs.get(&run.key).filter(|_| wanted) else {
            continue;
        };
        let spec = JobSpec::from_json(text, run.key)?;
        if let Work::Train(train) = spec.work {
            let engine = spec.engine;
            known.push(Known { run, train, engine });
        }
    }
    let mut jobs = vec![];
    for subject in &known {
        for moment in &asked.at {
            let Some(network) = network(subject, *moment) else {
                continue;
            };
            for question in &asked.ask {
                let others = match question.compares() {
                    true => partners(subject, *moment, &known, compare, selection),
                    false => vec![],
                };
                jobs.push(job(asked, subject, network.clone(), *question, others));
            }
        }
        if asked.ask.contains(&Question::Drift) {
            for step in steps_on_the_way(&subject.train) {
                let network = Network {
                    step,
                    ..of(subject, Moment::Step, step)
                };
                jobs.push(job(asked, subject, network, Question::Drift, vec![]));
            }
        }
    }
    Ok(jobs)
}

fn job(
    asked: &sweep::Inspect,
    subject: &Known<'_>,
    network: Network,
    question: Question,
    others: Vec<Partner>,
) -> NewJob {
    let train = &subject.train;
    let (moment, step) = (network.weights, network.step);
    let mut engine = subject.engine;
    // What is measured is the network, not the rounding that it trained under.
    engine.dtype = Dtype::F32;
    if subject.engine.dtype != Dtype::F32 {
        engine.ops = Ops::Composite;
    }
    let spec = JobSpec {
        version: SPEC_VERSION,
        engine,
        work: Work::Inspect(Box::new(Inspect {
            question,
            subject: network,
            others,
            base: train.base.clone(),
            task: train.task.clone(),
            split: SPLIT.to_owned(),
            pairs: asked.pairs,
            items: asked.items(question, train.task.eval_trials),
            memory_mib: asked.memory_mib,
            seed: train.seed,
        })),
    };
    let mut point = subject.run.point.clone();
    point.insert(QUESTION.to_owned(), json!(question));
    point.insert(AT.to_owned(), json!(moment));
    point.insert(STEP.to_owned(), json!(step));
    let title = format!(
        "{question} of {} at {moment} step={step} seed={}",
        train.init, train.seed
    );
    NewJob::new(&spec, Some(point), title)
}

/// The network of a run; none if it never reached the accuracy that counts as
/// matched.
fn network(known: &Known<'_>, moment: Moment) -> Option<Network> {
    let step = match moment {
        Moment::Matched => matched_step(known.run)?,
        Moment::Final | Moment::Step => known.train.optim.steps,
    };
    Some(of(known, moment, step))
}

fn of(known: &Known<'_>, weights: Moment, step: u64) -> Network {
    let train = &known.train;
    Network {
        job: known.run.key,
        weights,
        step,
        init: train.init,
        seed: train.seed,
        untie: train.untie,
    }
}

/// The step of the first evaluation at or above the accuracy that counts as
/// matched.
fn matched_step(run: &Run) -> Option<u64> {
    let accuracy = run.metrics.iter().filter(|m| {
        m.split == "val" && m.name == "accuracy" && m.slot.is_none() && m.layer.is_none()
    });
    accuracy
        .filter(|m| m.value >= MATCHED)
        .map(|m| m.step)
        .min()
}

/// Steps before the last of which a run's weights are stored.
fn steps_on_the_way(train: &Train) -> Vec<u64> {
    let last = train.optim.steps;
    let steps = match &train.keep {
        Keep::None | Keep::Final | Keep::Matched => vec![],
        Keep::All => milestones(last),
        Keep::Steps(steps) => steps.clone(),
    };
    steps.into_iter().filter(|step| *step < last).collect()
}

/// 0, 10, 30, 100, 300, 1000 … below `last`.
fn milestones(last: u64) -> Vec<u64> {
    let grid = std::iter::successors(Some(10_u64), |ten| ten.checked_mul(10));
    let along = grid.flat_map(|ten| [ten, ten.saturating_mul(3)]);
    std::iter::once(0)
        .chain(along.take_while(|step| *step < last))
        .collect()
}

/// With which networks a run's is compared: of the same arm and the next seed,
/// and, for a fine-tuned one, its twin from scratch: the one that the selection
/// chose, else the one of the same value of what is selected over.
fn partners(
    subject: &Known<'_>,
    moment: Moment,
    known: &[Known<'_>],
    compare: &Compare,
    selection: &Selection,
) -> Vec<Partner> {
    let init = subject.train.init;
    let mut found = vec![];
    let mut add = |other: &Known<'_>| {
        // A base of its own has its own shape and tokens.
        if other.train.base == subject.train.base
            && let Some(network) = network(other, moment)
        {
            found.push(Partner {
                pairing: pairing(Some(init), other.train.init),
                network,
            });
        }
    };
    let here = group(&subject.run.point, &[&compare.replicate]);
    let same: Vec<&Known<'_>> = known
        .iter()
        .filter(|k| group(&k.run.point, &[&compare.replicate]) == here)
        .collect();
    if let Some(next) = next_seed(subject.train.seed, &same) {
        add(next);
    }
    if init == Init::Pretrained {
        let selected = compare.select.as_ref().map_or("", |s| s.axis.as_str());
        let ignored = ["init", selected];
        let here = group(&subject.run.point, &ignored);
        let twins: Vec<&Known<'_>> = known
            .iter()
            .filter(|k| k.train.init == Init::Scratch && group(&k.run.point, &ignored) == here)
            .collect();
        let chosen = twins.iter().find(|k| picks(selection, &k.run.point));
        let value = subject.run.point.get(selected);
        let equal = || twins.iter().find(|k| k.run.point.get(selected) == value);
        if let Some(twin) = chosen.or_else(equal) {
            add(twin);
        }
    }
    found
}

/// A point without some of its axes.
fn group(point: &Point, ignored: &[&str]) -> Point {
    let mut group = point.clone();
    group.retain(|axis, _| !ignored.contains(&axis.as_str()));
    group
}

/// The run of the next seed; after the last one comes the first, unless that pair
/// is there already.
fn next_seed<'k, 'a>(seed: u64, same: &[&'k Known<'a>]) -> Option<&'k Known<'a>> {
    let seeds: Vec<u64> = same.iter().map(|k| k.train.seed).collect();
    let next = neighbour(seed, &seeds)?;
    same.iter().find(|k| k.train.seed == next).copied()
}

#[cfg(test)]
mod tests;

//! How alike the representations of two networks are.
//!
//! For each pairing (base and subject, subject and the networks of other runs), at
//! every depth and slot, over the same trials:
//!
//! - `cka.PAIRING`: linear centred kernel alignment, debiased;
//! - `rsa.PAIRING`: Spearman's correlation of the dissimilarities (1 − Pearson)
//!   between the mean patterns of the task's conditions, the cells of its design.
//!   Between two seeds of one arm (`ft_ft`) it is the reliability of the structure
//!   from seed to seed. The noise ceiling is over all seeds of an arm: the coordinator
//!   makes it of their arrays.
//!
//! Where there are several networks of a pairing, their mean.
//!
//! The array `rsa.rdm` (L + 1 depths, slots, pairs of conditions) holds the subject's
//! dissimilarities in the order (0,1), (0,2) … (1,2) …; NaN where a condition has no
//! trial. Slots are those of the template and "last": one token position each. Metrics
//! stand in the order of the array, depth by depth and slot by slot: they name what the
//! array only counts, so whoever reads it relies on that order.

use super::activations::{Course, Place, Slots, portions, read};
use super::missing::Missing;
use super::numerics::cka::{self, Centred};
use super::numerics::matrix::Matrix;
use super::numerics::rsa;
use super::readout::{Trials, hooked};
use super::rows::{At, Rows};
use super::{Answer, Array, MechanismError, Study, Subject};

type Result<T> = std::result::Result<T, MechanismError>;

/// Answers [`Question::Similarity`](seedbed_proto::job::Question::Similarity).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let mut out = Rows::of_split(study);
    let partners: Vec<(String, &Subject)> = (study.base.into_iter())
        .map(|base| (study.base_pairing.clone(), base))
        .chain(
            study
                .others
                .iter()
                .map(|(name, other)| (name.clone(), other)),
        )
        .collect();
    let mut pairings: Vec<&str> = partners.iter().map(|(name, _)| name.as_str()).collect();
    pairings.sort_unstable();
    pairings.dedup();
    if partners.is_empty() {
        out.note("cka", "there is no network to compare with");
    }
    let networks = std::iter::once(study.subject).chain(partners.iter().map(|(_, other)| *other));
    let networks = networks
        .map(|network| hooked(network, study.ops, study.device))
        .collect::<Result<Vec<_>>>()?;

    let trials = Trials::of(study);
    let slots = Slots::of(study.task, study.split);
    let kind = study.task.kind();
    let shown = &study.split.trials[..trials.count()];
    let conditions: Vec<usize> = shown.iter().map(|trial| trial.cell).collect();
    let cells = kind.cells();
    let layers = study.subject.config.layers;
    // f64 copies of two activations, and the products of rows where they are smaller.
    let side = trials.count().min(study.subject.config.width);
    let workspace = 16 * trials.count() * (study.subject.config.width + side);
    let portions = portions(study, &slots, networks.len(), workspace)?;

    let mut rdms = vec![];
    let mut missing = Missing::default();
    let mut course = Course::new((layers + 1) * slots.0.len());
    let bytes = portions.batch_bytes;
    for places in portions.places {
        let mut seen = vec![];
        for network in &networks {
            let mut pulse = || course.tell(study);
            let x = read(network, trials, &slots, &places, bytes, &mut pulse)?;
            seen.push(x);
        }
        for (i, &place) in places.iter().enumerate() {
            let subject = View::new(&seen[0][i], &conditions, cells);
            let mut found = vec![];
            for ((pairing, _), theirs) in partners.iter().zip(&seen[1..]) {
                course.tell(study)?;
                let other = View::new(&theirs[i], &conditions, cells);
                found.push((pairing.as_str(), subject.compare(&other)));
            }
            for pairing in &pairings {
                put(&mut out, &mut missing, pairing, place, &slots, &found);
            }
            rdms.extend(subject.rdm.iter().map(|&d| d as f32));
            course.step();
        }
    }
    missing.put(&mut out);
    let mut answer = out.finish();
    let shape = vec![
        layers + 1,
        slots.0.len(),
        cells * cells.saturating_sub(1) / 2,
    ];
    let rdm = Array { shape, data: rdms };
    answer.arrays.insert("rsa.rdm".to_owned(), rdm);
    Ok(answer)
}

/// One activation, ready to be compared.
struct View {
    centred: std::result::Result<Centred, cka::Undefined>,
    rdm: Vec<f64>,
}

/// CKA and RSA of two activations, or why not.
type Alike = (std::result::Result<f64, cka::Undefined>, Option<f64>);

impl View {
    fn new(x: &Matrix<f32>, conditions: &[usize], cells: usize) -> Self {
        let (means, _) = rsa::condition_means(x, conditions, cells);
        Self {
            centred: Centred::new(x, true),
            rdm: rsa::rdm(&means),
        }
    }

    fn compare(&self, other: &Self) -> Alike {
        let cka = match (&self.centred, &other.centred) {
            (Ok(ours), Ok(theirs)) => Ok(ours.similarity(theirs)),
            (Err(why), _) | (_, Err(why)) => Err(*why),
        };
        (cka, rsa::similarity(&self.rdm, &other.rdm))
    }
}

/// The means of one pairing at one place; NaN if one of them is not defined.
fn put(
    out: &mut Rows,
    missing: &mut Missing,
    pairing: &str,
    place: Place,
    slots: &Slots,
    found: &[(&str, Alike)],
) {
    let slot = slots.0[place.slot].0;
    let at = At {
        slot: Some(slot),
        ..At::layer(place.depth)
    };
    let here = || format!("depth {}, slot {slot}", place.depth);
    let of_pairing = || found.iter().filter(|(name, _)| *name == pairing);
    let count = of_pairing().count() as f64;

    let (mut cka, mut rsa) = (0.0, 0.0);
    let (cka_name, rsa_name) = (format!("cka.{pairing}"), format!("rsa.{pairing}"));
    for (_, (similar, ranked)) in of_pairing() {
        match similar {
            Ok(value) => cka += value / count,
            Err(why) => {
                cka = f64::NAN;
                missing.add(&cka_name, why, here());
            }
        }
        match ranked {
            Some(value) => rsa += value / count,
            None => {
                rsa = f64::NAN;
                let why = "fewer than 3 pairs of conditions with a distance, or all are equal";
                missing.add(&rsa_name, why, here());
            }
        }
    }
    out.push(&cka_name, at, cka);
    out.push(&rsa_name, at, rsa);
}

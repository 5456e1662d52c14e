//! What is decoded, and which trials must stay together for it.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seedbed_proto::seed::{Purpose, derive_seed};

use crate::mechanism::Study;
use crate::mechanism::numerics::folds::{Folds, NestedFolds, grouped};
use crate::mechanism::numerics::glm::Family;
use crate::mechanism::numerics::nested::{Split, Target, Undefined};
use crate::mechanism::readout::Trials;
use crate::task::{TaskKind, Trial};

/// Folds, outer and inner.
pub(super) const FOLDS: usize = 5;

/// All that is decoded from the trials of a study.
pub(super) struct Variables {
    /// Those that can be decoded, in the task's order.
    pub all: Vec<Variable>,
    /// Those that can't, with the reason.
    pub undefined: Vec<(Name, Undefined)>,
    /// Their targets, in the order of `all`.
    pub targets: Vec<Target>,
    /// What the targets are split by.
    pub splits: Vec<Split>,
    /// Five folds that keep nothing together, for the control labels.
    pub loose: Folds,
    /// The context of each trial, as a number.
    pub contexts: Vec<usize>,
    /// How many there are.
    pub context_count: usize,
}

/// A variable by its name and measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    /// "cue", "color_left".
    pub variable: &'static str,
    /// "accuracy" or "r2".
    pub measure: &'static str,
}

/// One variable.
pub(super) struct Variable {
    /// What it is called.
    pub name: Name,
    /// The control label of each trial.
    pub control: Vec<f32>,
    /// Whether it takes several values within a context.
    pub within_contexts: bool,
}

impl Variables {
    /// The variables of a study's trials.
    pub fn of(study: &Study<'_>) -> Self {
        let trials = &study.split.trials[..Trials::of(study).count()];
        let contexts = &study.split.contexts[..trials.len()];
        let kind = study.task.kind();
        let columns = columns(kind, trials);
        let seed =
            |name: &str| derive_seed(study.seed, Purpose::Inspect, &format!("probes/{name}"));
        let mut names: Vec<_> = contexts.to_vec();
        names.sort_unstable();
        names.dedup();
        let place = |c: &&str| names.binary_search(c).expect("it is one of them");
        let rows: Vec<_> = (0..trials.len() as u64).map(Some).collect();
        let mut made = Self {
            all: vec![],
            undefined: vec![],
            targets: vec![],
            splits: vec![],
            loose: grouped(&rows, FOLDS, seed("control/folds")).unwrap_or_default(),
            contexts: contexts.iter().map(place).collect(),
            context_count: names.len(),
        };
        // Variables that hang on the same pairs share folds.
        let mut groupings: Vec<Vec<Option<u64>>> = vec![];
        for (name, values) in &columns {
            let kept = Kept::of(values);
            let name = Name {
                variable: name,
                measure: kept.measure(),
            };
            let pairs = Pairs::of(name.variable, &columns);
            let groups: Vec<_> = (trials
                .iter()
                .zip(contexts)
                .zip(&kept.takes_part)
                .enumerate())
            .map(|(i, ((trial, context), takes_part))| {
                let group = || pairs.group(&columns, i, context, kind, trial);
                takes_part.then(group)
            })
            .collect();
            let known = groupings.iter().position(|other| *other == groups);
            let split = match known {
                Some(split) => Some(split),
                None => {
                    let fold_seed = |fold: &str| seed(&format!("folds/{}/{fold}", pairs.name()));
                    let folds = NestedFolds::grouped(&groups, FOLDS, fold_seed);
                    folds.map(|folds| {
                        groupings.push(groups.clone());
                        made.splits.push(Split::new(folds));
                        groupings.len() - 1
                    })
                }
            };
            let Some(split) = split else {
                made.undefined.push((name, Undefined::TooFewGroups(FOLDS)));
                continue;
            };
            let target = Target::new(kept.family, &kept.values, split);
            if let Err(why) = target.check(&made.splits[split]) {
                made.undefined.push((name, why));
                continue;
            }
            let rng = ChaCha8Rng::from_seed(seed(&format!("control/{}", name.variable)));
            made.all.push(Variable {
                name,
                control: control(&target.labels, &groups, rng),
                within_contexts: made.varies_within_contexts(&target.labels, &groups),
            });
            made.targets.push(target);
        }
        made
    }

    /// Whether, in some context, there is something to tell apart.
    fn varies_within_contexts(&self, labels: &[f32], groups: &[Option<u64>]) -> bool {
        let varies = |context: usize| {
            let mut those = (0..labels.len())
                .filter(|&row| self.contexts[row] == context && groups[row].is_some())
                .map(|row| labels[row]);
            those
                .next()
                .is_some_and(|first| those.any(|label| label != first))
        };
        self.context_count > 1 && (0..self.context_count).any(varies)
    }
}

/// The task's variables, each with its value in every trial.
type Columns = Vec<(&'static str, Vec<f64>)>;

fn columns(kind: &dyn TaskKind, trials: &[Trial]) -> Columns {
    let mut columns: Columns = vec![];
    for trial in trials {
        let values = kind.variables(trial);
        if columns.is_empty() {
            columns = values.iter().map(|(name, _)| (*name, vec![])).collect();
        }
        for ((_, column), (_, value)) in columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    columns
}

/// How a variable is decoded.
struct Kept {
    family: Family,
    /// 0 and 1 for a class.
    values: Vec<f64>,
    takes_part: Vec<bool>,
}

impl Kept {
    /// Two values are two classes, the larger one is 1. Of −1, 0 and 1 the trials at
    /// 0 have no sign and take no part. All else is a number.
    fn of(values: &[f64]) -> Self {
        let mut distinct = values.to_vec();
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        let class = |low: f64| {
            values
                .iter()
                .map(|&v| f64::from(u8::from(v > low)))
                .collect()
        };
        let (family, kept) = match distinct[..] {
            [low, _] => (Family::Logistic, class(low)),
            [-1.0, 0.0, 1.0] => (Family::Logistic, class(0.0)),
            // Of one value: which of the two it would be can't be seen.
            [value] if value.abs() <= 1.0 => (Family::Logistic, vec![1.0; values.len()]),
            _ => (Family::Gaussian, values.to_vec()),
        };
        let signs = distinct == [-1.0, 0.0, 1.0];
        Self {
            family,
            values: kept,
            takes_part: values.iter().map(|&v| !(signs && v == 0.0)).collect(),
        }
    }

    fn measure(&self) -> &'static str {
        match self.family {
            Family::Logistic => "accuracy",
            Family::Gaussian => "r2",
        }
    }
}

/// By which numbers trials are kept together.
enum Pairs {
    /// By the pair of one dimension: columns of its left and right number.
    Dimension(String, [usize; 2]),
    /// By that of the cued dimension.
    Cued,
}

impl Pairs {
    /// `sign_D`, `D_left` and `D_right` hang on dimension D, all else on the cued one.
    fn of(variable: &str, columns: &Columns) -> Self {
        let stem = (variable.strip_prefix("sign_"))
            .or_else(|| variable.strip_suffix("_left"))
            .or_else(|| variable.strip_suffix("_right"));
        let both = stem.and_then(|stem| Some((stem.to_owned(), sides(stem, columns)?)));
        both.map_or(Self::Cued, |(stem, sides)| Self::Dimension(stem, sides))
    }

    fn name(&self) -> &str {
        match self {
            Self::Dimension(name, _) => name,
            Self::Cued => "cued",
        }
    }

    /// The unordered pair of numbers, or the trial's identity in a task without them.
    fn group(
        &self,
        columns: &Columns,
        trial: usize,
        context: &str,
        kind: &dyn TaskKind,
        of: &Trial,
    ) -> u64 {
        let both = match self {
            Self::Dimension(_, sides) => Some(*sides),
            Self::Cued => sides(context, columns),
        };
        let mut hasher = blake3::Hasher::new();
        match both {
            Some(both) => {
                let [a, b] = both.map(|column| columns[column].1[trial]);
                hasher.update(&a.min(b).to_le_bytes());
                hasher.update(&a.max(b).to_le_bytes());
            }
            None => {
                for number in kind.ordered(of)[..kind.space().dimensions].as_flattened() {
                    hasher.update(&number.to_le_bytes());
                }
            }
        }
        let hash = hasher.finalize();
        let (first, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        u64::from_le_bytes(*first)
    }
}

/// The columns of a dimension's left and right number.
fn sides(dimension: &str, columns: &Columns) -> Option<[usize; 2]> {
    let find = |side: &str| {
        let name = format!("{dimension}_{side}");
        columns.iter().position(|(column, _)| *column == name)
    };
    Some([find("left")?, find("right")?])
}

/// A label for each group, drawn from the labels themselves: what Hewitt and Liang
/// (2019) give each word. Nothing but memory tells which group has which.
fn control(labels: &[f32], groups: &[Option<u64>], mut rng: ChaCha8Rng) -> Vec<f32> {
    let those: Vec<usize> = (0..labels.len())
        .filter(|&row| groups[row].is_some())
        .collect();
    let mut of_group = BTreeMap::new();
    for group in groups.iter().flatten() {
        of_group.entry(*group).or_insert(0.0);
    }
    for label in of_group.values_mut() {
        *label = labels[those[rng.random_range(0..those.len())]];
    }
    let label = |group: &Option<u64>| group.map_or(0.0, |group| of_group[&group]);
    groups.iter().map(label).collect()
}

//! The tasks that there are, and what a task must give.
//!
//! Adding a task is one file that implements [`TaskKind`] and one line in
//! [`TASKS`]; splits, tokens, training and behaviour need nothing more.

use rand_chacha::ChaCha8Rng;
use seedbed_proto::job::Task;

use super::error::TaskError;
use super::templates::Template;
use super::{ctxdm, generator};

/// How a task is made from its spec.
type Build = fn(&Task) -> Result<Box<dyn TaskKind>, TaskError>;

/// Every task by name.
pub const TASKS: &[(&str, Build)] = &[("ctxdm", ctxdm::build)];

/// A task: a factorial design, a generator for each of its cells, and the
/// shortcuts that a network could take.
pub trait TaskKind: Send + Sync {
    /// Name in the registry.
    fn name(&self) -> &'static str;

    /// The wording that the spec chose.
    fn template(&self) -> &'static Template;

    /// What can stand in each slot of the template.
    fn slots(&self) -> &[Slot];

    /// Left and right answer, as they follow the prompt.
    fn answers(&self) -> [&'static str; 2];

    /// Cells of the design.
    fn cells(&self) -> usize;

    /// A cell in words, for people.
    fn cell_name(&self, cell: usize) -> String;

    /// A fresh trial of a cell. Every trial of the cell has a positive chance.
    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize) -> Trial;

    /// What no two splits may share: the trial's identity, whatever the cue.
    fn item(&self, trial: &Trial) -> generator::Item;

    /// Groups of items; an item's index is below the size of its group.
    fn groups(&self) -> Vec<u64>;

    /// The group from which the cell's trials come.
    fn group_of(&self, cell: usize) -> usize;

    /// What each slot is to this trial ("rel_left" …), in the order of [`Self::slots`].
    fn roles(&self, trial: &Trial) -> Vec<&'static str>;

    /// The ways to change a trial without changing its length.
    fn counterfactuals(&self) -> &'static [Counterfactual];

    /// The counterfactual of this name of a trial; `None` where the trial has none
    /// (a cue cannot turn the answer of a congruent trial).
    ///
    /// # Panics
    /// If the task has no counterfactual of this name: a bug of the caller.
    fn counterfactual(&self, trial: &Trial, which: &str) -> Option<Trial>;

    /// What a trial holds, for probes: truth values as 0 and 1, signs as −1, 0 and
    /// 1, numbers as they are. The names are the same for every trial.
    fn variables(&self, trial: &Trial) -> Vec<(&'static str, f64)>;

    /// The signed differences [relevant, irrelevant] of a trial, right − left:
    /// positive is evidence for the right answer. `None` for tasks without two
    /// numeric dimensions.
    fn evidence(&self, trial: &Trial) -> Option<[f64; 2]>;

    /// The context of a trial: what the cue says.
    fn context(&self, trial: &Trial) -> &'static str;

    /// Names of the task's shortcuts.
    fn shortcuts(&self) -> &'static [&'static str];

    /// For each shortcut how often it answers this trial right: 1, 0, or one half
    /// where it cannot decide.
    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32>;
}

/// A way to change a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counterfactual {
    /// "cue", "rel", "irr".
    pub name: &'static str,
    /// Whether the answer turns; else it stays.
    pub flips: bool,
    /// The slots that may change, by their roles ("rel_left" …).
    pub slots: &'static [&'static str],
}

/// A place in a template that varies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Name, unique within the task.
    pub name: &'static str,
    /// The texts that can stand there, each one token.
    pub choices: Vec<String>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Cell of the design.
    pub cell: usize,
    /// For each slot of the task the index of what stands there.
    pub fills: Vec<u32>,
    /// Whether the answer is the right one of the two.
    pub right: bool,
    /// Whether all dimensions agree on the answer; absent where a task has no
    /// irrelevant dimension.
    pub congruent: Option<bool>,
}

/// Makes the task that a spec names.
///
/// # Errors
/// If there is no such task, or its template, range or bins are wrong.
pub fn build(spec: &Task) -> Result<Box<dyn TaskKind>, TaskError> {
    match TASKS.iter().find(|(name, _)| *name == spec.name) {
        Some((_, build)) => build(spec),
        None => Err(TaskError::UnknownTask {
            name: spec.name.clone(),
            known: TASKS
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

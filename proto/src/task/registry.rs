//! The tasks that there are, and what a task must give.
//!
//! Adding a task is one file that holds a [`Definition`] and implements
//! [`TaskKind`], and one line in [`TASKS`]; the sweep language, splits, tokens,
//! training and behaviour need nothing more.

use rand_chacha::ChaCha8Rng;

pub use super::definition::{Cues, Definition};
use super::error::TaskError;
use super::generator::Item;
use super::pairs::Class;
pub use super::setup::{Setup, Variant};
use super::space::Space;
use super::wording::Wording;
use super::{anti, ctxdm, delaydm, dmc, dms, gonogo, multidm, pdm, taskswitch};

/// Every task.
pub const TASKS: &[&Definition] = &[
    &ctxdm::DEFINITION,
    &pdm::DEFINITION,
    &multidm::DEFINITION,
    &anti::DEFINITION,
    &delaydm::DEFINITION,
    &dms::DEFINITION,
    &dmc::DEFINITION,
    &gonogo::DEFINITION,
    &taskswitch::DEFINITION,
];

/// Their names.
pub const NAMES: [&str; TASKS.len()] = {
    let mut names = [""; TASKS.len()];
    let mut at = 0;
    while at < TASKS.len() {
        names[at] = TASKS[at].name;
        at += 1;
    }
    names
};

/// A task: a factorial design, a generator for each of its cells, and the
/// shortcuts that a network could take.
pub trait TaskKind: Send + Sync {
    /// What every task has: its words and its slots.
    fn frame(&self) -> &Frame;

    /// The items behind its trials.
    fn space(&self) -> &Space;

    /// Cells of the design.
    fn cells(&self) -> usize;

    /// A cell in words, for people.
    fn cell_name(&self, cell: usize) -> String;

    /// A fresh trial of a cell, of pairs that are in this class. Every such trial
    /// of the cell has a positive chance.
    fn sample(&self, rng: &mut ChaCha8Rng, cell: usize, class: Class) -> Trial;

    /// The pairs of numbers [left, right] behind a trial, one of each dimension of
    /// the space; a place that the space has not is ignored.
    fn ordered(&self, trial: &Trial) -> [[u32; 2]; 2];

    /// What no two splits may share: the trial's identity, whatever its words say.
    /// `None` if training shows one of its pairs and not the other.
    fn item(&self, trial: &Trial) -> Option<Item> {
        let space = self.space();
        space.item(&self.ordered(trial)[..space.dimensions])
    }

    /// The size of each group of items in a class; an item's index is below that of
    /// its group.
    fn groups(&self, class: Class) -> Vec<u64> {
        self.space().sizes(class)
    }

    /// The groups from which the cell's trials come.
    fn groups_of(&self, cell: usize) -> Vec<usize>;

    /// What each slot is to this trial ("rel_left" …), in the order of the slots.
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
    fn evidence(&self, _trial: &Trial) -> Option<[f64; 2]> {
        None
    }

    /// The context of a trial: what the cue says.
    fn context(&self, trial: &Trial) -> &'static str;

    /// Names of the task's shortcuts.
    fn shortcuts(&self) -> &'static [&'static str];

    /// For each shortcut how often it answers this trial right: 1, 0, or one half
    /// where it cannot decide.
    fn shortcut_hits(&self, trial: &Trial) -> Vec<f32>;

    /// Name in the registry.
    fn name(&self) -> &'static str {
        self.frame().definition.name
    }

    /// The wording that the spec chose.
    fn wording(&self) -> &Wording {
        &self.frame().wording
    }

    /// What can stand in each slot of the wording.
    fn slots(&self) -> &[Slot] {
        &self.frame().slots
    }

    /// Left and right answer, as they follow the prompt.
    fn answers(&self) -> [&str; 2] {
        self.frame().answers.each_ref().map(String::as_str)
    }
}

/// What every task has.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The task.
    pub definition: &'static Definition,
    /// The wording.
    pub wording: Wording,
    /// What can stand in each slot.
    pub slots: Vec<Slot>,
    /// Left and right answer.
    pub answers: [String; 2],
    /// The smallest number: a number's fill is its distance from it.
    pub lowest: u32,
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
    /// irrelevant dimension, or the trial no evidence on it.
    pub congruent: Option<bool>,
}

impl Frame {
    /// The frame of a task: slots of cues take the setup's cue words, slots of
    /// `answers` the two answers, all others the numbers of the range.
    pub fn new(definition: &'static Definition, setup: &Setup, answers: &[&str]) -> Self {
        let [low, high] = setup.bins.range();
        let numbers: Vec<_> = (low..=high).map(|n| format!(" {n}")).collect();
        let slot = |&name: &&'static str| Slot {
            name,
            choices: if name.ends_with("cue") {
                setup.cues.to_vec()
            } else if answers.contains(&name) {
                setup.answers.to_vec()
            } else {
                numbers.clone()
            },
        };
        Self {
            definition,
            wording: setup.wording.clone(),
            slots: definition.slots.iter().map(slot).collect(),
            answers: setup.answers.clone(),
            lowest: low,
        }
    }

    /// The number that stands in a slot.
    pub fn number(&self, trial: &Trial, slot: usize) -> u32 {
        self.lowest + trial.fills[slot]
    }
}

/// How often a shortcut that compares these is right.
pub fn vote<T: PartialOrd>(left: T, right: T, answer_right: bool) -> f32 {
    if left == right {
        0.5
    } else {
        f32::from((right > left) == answer_right)
    }
}

/// A truth value as probes read it.
pub fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// The sign of right − left.
pub fn sign([left, right]: [u32; 2]) -> f64 {
    f64::from(i8::from(right > left) - i8::from(left > right))
}

/// The definition of the task that a spec names.
///
/// # Errors
/// If there is no such task.
pub fn definition(name: &str) -> Result<&'static Definition, TaskError> {
    let found = TASKS.iter().find(|task| task.name == name);
    found.copied().ok_or_else(|| TaskError::UnknownTask {
        name: name.to_owned(),
        known: TASKS
            .iter()
            .map(|task| task.name)
            .collect::<Vec<_>>()
            .join(", "),
    })
}

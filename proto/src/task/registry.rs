//! The tasks that there are, and what a task must give.
//!
//! Adding a task is one file that holds a [`Definition`] and implements
//! [`TaskKind`], and one line in [`TASKS`]; the sweep language, splits, tokens,
//! training and behaviour need nothing more.

use rand_chacha::ChaCha8Rng;

use super::error::TaskError;
use super::generator::{Bins, Item};
use super::pairs::{Class, Held};
use super::space::Space;
use super::wording::{Names, Wording};
use super::{anti, ctxdm, delaydm, dmc, dms, gonogo, multidm, pdm, taskswitch};
use crate::job::{OwnTemplate, Task, Template};

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

/// What a task is before anything is chosen.
#[derive(Debug)]
pub struct Definition {
    /// Name in sweep files.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Wordings by name, as [`super::wording`] reads them; the first is the default.
    pub templates: &'static [(&'static str, &'static str)],
    /// The slots, in the order of a trial's fills.
    pub slots: &'static [&'static str],
    /// Of these, the ones that say which rule holds; they can be blanked.
    pub cue_slots: &'static [&'static str],
    /// Left and right answer ("right" is the one that positive evidence asks for).
    pub answers: [&'static str; 2],
    /// The words for its dimensions, which are their names in braces too.
    pub dimensions: &'static [&'static str],
    /// What the cue can say.
    pub cues: Cues,
    /// Whether filler stands between evidence and answer.
    pub has_delay: bool,
    /// Whether `bins` sort its differences; else they must not be stated.
    pub has_bins: bool,
    /// Whether there are trials without evidence on the irrelevant dimension.
    pub has_neutral: bool,
    /// Whether it has incongruent trials: the primary measure is over them.
    pub has_congruency: bool,
    /// Whether its rule is the same over another range of numbers.
    pub shifts: bool,
    /// Makes the task.
    pub build: fn(Setup) -> Result<Box<dyn TaskKind>, TaskError>,
}

impl Definition {
    /// The slots in which numbers stand.
    pub fn number_slots(&self) -> Vec<&'static str> {
        let words = |name: &&str| !name.ends_with("cue") && !name.ends_with("answer");
        self.slots
            .iter()
            .copied()
            .filter(|name| words(name))
            .collect()
    }
}

/// What the cue of a task can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cues {
    /// There is no cue.
    None,
    /// The words of the two dimensions, and unseen ones in their place.
    Dimensions([&'static str; 2], [&'static str; 2]),
    /// These words, and unseen ones that mean the same, if there are any.
    Words([&'static str; 2], Option<[&'static str; 2]>),
}

/// Everything that a task is made from.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The wording.
    pub wording: Wording,
    /// Left and right answer, as they follow the prompt.
    pub answers: [String; 2],
    /// What stands in the cue's slot, as it stands there.
    pub cues: [String; 2],
    /// Range and bins.
    pub bins: Bins,
    /// Whether there are trials without evidence on the irrelevant dimension.
    pub neutral: bool,
    /// What is kept from training.
    pub held: Held,
}

/// The range, words and wording of prompts, where they are not those of training.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variant {
    /// Another range.
    pub range: Option<[u32; 2]>,
    /// Another wording.
    pub template: Option<Template>,
    /// Other cue words.
    pub words: Option<[String; 2]>,
}

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

/// Makes the task that a spec names, in a variant of it.
///
/// # Errors
/// If there is no such task, or its template, range, bins or words are wrong.
pub fn build(spec: &Task, variant: &Variant, held: Held) -> Result<Box<dyn TaskKind>, TaskError> {
    let definition = definition(&spec.name)?;
    let template = variant.template.as_ref().unwrap_or(&spec.template);
    let [low, high] = variant.range.unwrap_or(spec.range);
    let bins = if definition.has_bins {
        spec.bins.clone()
    } else {
        vec![[1, high.saturating_sub(low).max(1)]]
    };
    let bins = Bins::new([low, high], &bins)?;
    if spec.neutral && !definition.has_neutral {
        return Err(TaskError::NoSuchOption {
            task: definition.name,
            option: "neutral",
        });
    }
    if spec.delay.is_some() && !definition.has_delay {
        return Err(TaskError::NoSuchOption {
            task: definition.name,
            option: "delay",
        });
    }
    let own = match template {
        Template::Own(own) => Some(own),
        Template::Named(_) => None,
    };
    let words = words(definition, own, variant);
    let wording = wording(definition, template, &words, spec.delay.unwrap_or(DELAY))?;
    let answers = own.and_then(|own| own.answers.clone());
    let answers = answers.unwrap_or_else(|| definition.answers.map(str::to_owned));
    (definition.build)(Setup {
        wording,
        answers: answers.map(|answer| format!(" {answer}")),
        cues: words.map(|cue| format!(" {cue}")),
        bins,
        neutral: spec.neutral,
        held,
    })
}

/// Filler tokens of a delay, unless the spec says how many.
pub const DELAY: u32 = 8;

/// The filler of a delay.
const FILLER: &str = "wait";

/// What the cue says; for tasks whose cues are their dimensions, their words too.
fn words(definition: &Definition, own: Option<&OwnTemplate>, variant: &Variant) -> [String; 2] {
    let plain = match definition.cues {
        Cues::None => [""; 2],
        Cues::Dimensions(words, _) | Cues::Words(words, _) => words,
    };
    let stated = variant
        .words
        .clone()
        .or_else(|| own.and_then(|own| own.cues.clone()));
    stated.unwrap_or_else(|| plain.map(str::to_owned))
}

fn wording(
    definition: &Definition,
    template: &Template,
    words: &[String; 2],
    delay: u32,
) -> Result<Wording, TaskError> {
    let (name, text) = text(definition, template)?;
    let by_cue = matches!(definition.cues, Cues::Dimensions(..));
    let word = |(at, name): (usize, &&'static str)| {
        let word = if by_cue {
            words[at].clone()
        } else {
            (*name).to_owned()
        };
        (*name, word)
    };
    let dimensions: Vec<_> = definition.dimensions.iter().enumerate().map(word).collect();
    let filler = vec![FILLER; delay as usize].join(" ");
    let names = Names {
        slots: definition.slots,
        dimensions: &dimensions,
        delay: definition.has_delay.then_some(filler.as_str()),
    };
    Wording::parse(name, text, names).map_err(TaskError::Wording)
}

/// Name and text of a template.
///
/// # Errors
/// If the task has none of this name.
pub fn text<'a>(
    definition: &Definition,
    template: &'a Template,
) -> Result<(&'a str, &'a str), TaskError> {
    let name = match template {
        Template::Own(own) => return Ok(("own", &own.text)),
        Template::Named(name) => name,
    };
    let found = definition.templates.iter().find(|(known, _)| known == name);
    match found {
        Some((known, text)) => Ok((known, text)),
        None => Err(TaskError::UnknownTemplate {
            task: definition.name,
            name: name.clone(),
            known: definition
                .templates
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

//! The task of a run: its wording, numbers, training set and evaluation splits.

use serde::{Deserialize, Serialize};

/// The task of a run. Every choice of wording and range stands here, none in code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name in the task registry: "ctxdm".
    pub name: String,
    /// The wording.
    pub template: Template,
    /// Smallest and largest number of a trial, both included.
    pub range: [u32; 2],
    /// Bins of |x|, both ends included, ascending and apart; every difference in
    /// a bin must be possible within `range`.
    pub bins: Vec<[u32; 2]>,
    /// The training set.
    pub train: TrainSet,
    /// Put the tokenizer's beginning-of-sequence token before each prompt.
    pub bos: bool,
    /// Control: training labels drawn at random.
    pub random_labels: bool,
    /// Fixes the splits; the same for all runs of a sweep.
    pub split_seed: u64,
    /// Trials of each evaluation split; a multiple of the number of cells.
    pub eval_trials: u32,
    /// The splits that are evaluated. `test_pair` and `test_number` keep their
    /// pairs and numbers from training; the others change nothing in it. Left out
    /// of the text where they are the two that every spec had before there were
    /// others, so that those specs keep their keys and their meaning.
    #[serde(default = "first_splits", skip_serializing_if = "are_first_splits")]
    pub splits: Vec<Split>,
    /// Also trials without evidence on the irrelevant dimension.
    #[serde(default, skip_serializing_if = "is_false")]
    pub neutral: bool,
    /// Filler tokens between evidence and answer, for tasks that have a delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<u32>,
    /// The wording of `test_template`; the task's first other one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_template: Option<Template>,
    /// The words of `test_cueword`; the task's own unseen ones unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_cues: Option<[String; 2]>,
    /// The numbers of `test_range_near`; 100 to 199 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_near: Option<[u32; 2]>,
    /// The numbers of `test_range_far`; 200 to 361 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_far: Option<[u32; 2]>,
}

/// The wording of a task's prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Template {
    /// One of the task's own: "T0".
    Named(String),
    /// One that stands in the sweep file.
    Own(OwnTemplate),
}

/// A wording of one's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnTemplate {
    /// The prompt, with the task's slots in braces: see `task::wording`.
    pub text: String,
    /// Left and right answer; the task's unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<[String; 2]>,
    /// What stands in the cue's slot; the task's words unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cues: Option<[String; 2]>,
}

/// A set of trials on which behaviour is measured.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Measured along the way; everything is chosen on it.
    Val,
    /// Combinations of pairs that training never shows.
    TestIid,
    /// Pairs that training never shows, in whatever dimension and order.
    TestPair,
    /// Numbers that training never shows.
    TestNumber,
    /// Another range of numbers, near to that of training.
    TestRangeNear,
    /// Another range, farther away.
    TestRangeFar,
    /// The trials of `test_iid` in another wording.
    TestTemplate,
    /// The trials of `test_iid` with other cue words.
    TestCueword,
    /// The trials of `val` without their cue.
    ControlNoCue,
    /// The trials of `val` without their numbers.
    ControlNoNumbers,
}

impl Split {
    /// All of them, in the order in which they are evaluated.
    pub const ALL: [Self; 10] = [
        Self::Val,
        Self::TestIid,
        Self::TestPair,
        Self::TestNumber,
        Self::TestRangeNear,
        Self::TestRangeFar,
        Self::TestTemplate,
        Self::TestCueword,
        Self::ControlNoCue,
        Self::ControlNoNumbers,
    ];

    /// Their names.
    pub const NAMES: [&str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The name in sweep files and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Val => "val",
            Self::TestIid => "test_iid",
            Self::TestPair => "test_pair",
            Self::TestNumber => "test_number",
            Self::TestRangeNear => "test_range_near",
            Self::TestRangeFar => "test_range_far",
            Self::TestTemplate => "test_template",
            Self::TestCueword => "test_cueword",
            Self::ControlNoCue => "control_no_cue",
            Self::ControlNoNumbers => "control_no_numbers",
        }
    }
}

/// The splits that every spec has.
pub fn first_splits() -> Vec<Split> {
    vec![Split::Val, Split::TestIid]
}

fn are_first_splits(splits: &[Split]) -> bool {
    splits == [Split::Val, Split::TestIid]
}

fn is_false(value: &bool) -> bool {
    !value
}

impl From<&str> for Template {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

/// The training set of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainSet {
    /// Fresh trials in each batch, none from an evaluation split.
    Online,
    /// This many trials, drawn once per `split_seed`, in an order by seed.
    Fixed(u32),
}

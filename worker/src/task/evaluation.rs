//! The fixed sets of trials on which behaviour is measured.

use seedbed_proto::job::{Split, Task};
use seedbed_proto::result::Note;
use seedbed_proto::task::plan::Planned;
use seedbed_proto::task::splits::Partition;
use tokenizers::Tokenizer;

use super::tokens::Layout;
use super::{TaskError, TaskKind, Trial};

/// What stands in the place of a cue that is removed.
const NO_CUE: &str = " either";

/// What stands in the place of numbers that are removed.
const NO_NUMBER: &str = " the";

/// A fixed set of trials on which behaviour is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalSplit {
    /// "val", "test_iid".
    pub name: &'static str,
    /// Token ids, `(trials, prompt_len)` row by row.
    pub ids: Vec<u32>,
    /// For each trial 0 where left is the answer, 1 where right is.
    pub right: Vec<u8>,
    /// Tokens in each prompt.
    pub prompt_len: usize,
    /// Token ids of the left and the right answer.
    pub answers: [u32; 2],
    /// The trials themselves.
    pub trials: Vec<Trial>,
    /// For each trial what the cue says: "color", "motion".
    pub contexts: Vec<&'static str>,
    /// For each trial the signed differences [relevant, irrelevant], right − left:
    /// positive is evidence for the right answer. `None` for tasks without two
    /// numeric dimensions, and where the prompts show no numbers.
    pub evidence: Option<Vec<[f64; 2]>>,
    /// For each shortcut its name, and for each trial how often it is right. Those
    /// that would read what the prompts do not show are left out.
    pub shortcuts: Vec<(&'static str, Vec<f32>)>,
}

/// A task whose splits are made.
pub(super) struct Evaluation<'a> {
    pub(super) spec: &'a Task,
    pub(super) kind: &'a dyn TaskKind,
    pub(super) layout: &'a Layout,
    pub(super) partition: &'a Partition,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) positions: usize,
}

impl Evaluation<'_> {
    /// The splits of a plan. One that the tokenizer or the network can't carry is
    /// left out, with a note.
    ///
    /// # Errors
    /// If `val` or `test_iid` can't be had: no run does without them.
    pub(super) fn splits(
        &self,
        planned: Vec<Planned>,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<EvalSplit>, TaskError> {
        let mut splits = Vec::with_capacity(planned.len());
        for planned in planned {
            match self.split(&planned) {
                Ok(split) => splits.push(split),
                Err(error) if matches!(planned.split, Split::Val | Split::TestIid) => {
                    return Err(error);
                }
                Err(error) => notes.push(Note::new(planned.split.name(), error.to_string())),
            }
        }
        Ok(splits)
    }

    fn split(&self, planned: &Planned) -> Result<EvalSplit, TaskError> {
        let Self { spec, kind, .. } = *self;
        let name = planned.split.name();
        let own = |split: Split| self.partition.evaluation(kind, split, planned.trials);
        if let Some(other) = planned.elsewhere.as_deref() {
            let layout = Layout::new(other, self.tokenizer, spec.bos, self.positions)?;
            let trials = match planned.split {
                Split::TestTemplate | Split::TestCueword => own(Split::TestIid)?,
                split => Partition::elsewhere(other, spec.split_seed).evaluation(
                    other,
                    split,
                    planned.trials,
                )?,
            };
            return Ok(EvalSplit::new(name, other, &layout, trials));
        }
        let blanked = |slots: &[&str], filler: &str| {
            let layout = self.layout.blanked(kind, self.tokenizer, slots, filler)?;
            Ok::<_, TaskError>(EvalSplit::new(name, kind, &layout, own(Split::Val)?))
        };
        let definition = kind.frame().definition;
        match planned.split {
            Split::ControlNoCue => {
                let mut split = blanked(definition.cue_slots, NO_CUE)?;
                let cued = definition.cued_shortcuts;
                split.shortcuts.retain(|(name, _)| !cued.contains(name));
                Ok(split)
            }
            Split::ControlNoNumbers => Ok(EvalSplit {
                evidence: None,
                shortcuts: vec![],
                ..blanked(&definition.number_slots(), NO_NUMBER)?
            }),
            split => Ok(EvalSplit::new(name, kind, self.layout, own(split)?)),
        }
    }
}

impl EvalSplit {
    fn new(name: &'static str, kind: &dyn TaskKind, layout: &Layout, trials: Vec<Trial>) -> Self {
        let prompt_len = layout.prompt_len();
        let mut ids = Vec::with_capacity(trials.len() * prompt_len);
        let mut shortcuts: Vec<_> = kind
            .shortcuts()
            .iter()
            .map(|&name| (name, Vec::with_capacity(trials.len())))
            .collect();
        for trial in &trials {
            layout.write(trial, &mut ids);
            let hits = kind.shortcut_hits(trial);
            for ((_, column), hit) in shortcuts.iter_mut().zip(hits) {
                column.push(hit);
            }
        }
        Self {
            name,
            ids,
            right: trials.iter().map(|trial| u8::from(trial.right)).collect(),
            prompt_len,
            answers: layout.answers(),
            contexts: trials.iter().map(|trial| kind.context(trial)).collect(),
            evidence: trials.iter().map(|trial| kind.evidence(trial)).collect(),
            shortcuts,
            trials,
        }
    }
}

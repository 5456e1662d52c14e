//! `inspect:`: what is asked of the trained networks, and of which.

use seedbed_proto::job::{self, Moment, Question};
use serde_json::Value;

use super::decode::{Setting, block, with_defaults};
use super::document::Document;
use super::fields::INSPECT;
use super::source::{Problems, Span};
use super::tree::{Key, Node};

/// The `inspect:` block of a sweep file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspect {
    /// Of which runs.
    pub whose: Whose,
    /// What is asked, in the file's order.
    pub ask: Vec<Question>,
    /// Of which of a run's weights.
    pub at: Vec<Moment>,
    /// Most counterfactual pairs.
    pub pairs: u32,
    /// Most trials, where the file says so.
    pub items: Option<u32>,
    /// Most memory for activations of a job.
    pub memory_mib: u32,
    /// Where `at` stands, for messages.
    at_span: Span,
}

/// Whose networks are inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of the runs that the selection chose.
    Selected,
    /// Those of all runs.
    All,
}

impl Inspect {
    /// Most trials of a question, over splits of `eval_trials`.
    pub fn items(&self, question: Question, eval_trials: u32) -> u32 {
        let most = match (self.items, question) {
            (Some(items), _) => items,
            // What the literature's regressions and kernels are fitted on.
            (None, Question::Probes) => 4096,
            (None, Question::Similarity) => 2048,
            (None, _) => eval_trials,
        };
        most.min(eval_trials)
    }

    /// Which weights a run must hold so that they can be inspected: those that
    /// `keep:` asks for, and those of `at:`.
    pub(super) fn keep(
        &self,
        asked: job::Keep,
        stated: Option<&Setting>,
        problems: &mut Problems,
    ) -> job::Keep {
        if !self.at.contains(&Moment::Matched) {
            return asked;
        }
        match asked {
            job::Keep::None | job::Keep::Final if stated.is_none() => job::Keep::Matched,
            job::Keep::Matched | job::Keep::All => asked,
            job::Keep::None | job::Keep::Final | job::Keep::Steps(_) => {
                let help = "write `checkpoints: matched` or `all` under `keep:`, or leave it out";
                let message = "`keep.checkpoints` leaves the matched weights out";
                problems.push_help(self.at_span, "inspect.at", message, help);
                asked
            }
        }
    }
}

/// Decodes `inspect:`.
pub(super) fn decode(
    key: &Key,
    node: &Node,
    documents: &[Document],
    problems: &mut Problems,
) -> Inspect {
    let found = block(INSPECT, node, "inspect", problems);
    let setting = |name: &str| found.iter().find(|(n, _)| *n == name).map(|(_, s)| s);
    if documents.iter().all(|d| d.seeds.is_empty()) {
        let message = "there are no `axes:`, so nothing is trained that could be inspected";
        problems.push_help(key.span, "inspect", message, "add `axes:`");
    }
    let all = with_defaults(INSPECT, &found);
    let words = |name: &str| -> Vec<&str> {
        let list = all[name].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).collect()
    };
    let number = |name: &str| {
        let value = all.get(name).and_then(Value::as_u64);
        value.and_then(|n| u32::try_from(n).ok())
    };
    let inspect = Inspect {
        whose: match all["for"].as_str() {
            Some("all") => Whose::All,
            _ => Whose::Selected,
        },
        ask: words("ask")
            .into_iter()
            .filter_map(Question::from_name)
            .collect(),
        at: words("at")
            .into_iter()
            .map(|word| match word {
                "matched" => Moment::Matched,
                _ => Moment::Final,
            })
            .collect(),
        pairs: number("pairs").unwrap_or(1),
        items: number("items"),
        memory_mib: number("memory_mib").unwrap_or(1),
        at_span: setting("at").map_or(key.span, |s| s.span),
    };
    if let (Some(items), Some(setting)) = (inspect.items, setting("items")) {
        let trials = documents
            .iter()
            .filter_map(|d| d.settings.get("task.eval_trials"));
        let least = trials.filter_map(|s| s.value.as_u64()).min();
        if let Some(least) = least.filter(|least| u64::from(items) > *least) {
            let message = format!("must be ≤ `task.eval_trials` ({least}), got {items}");
            let help = "raise `task.eval_trials`: a split can't show more trials than it has";
            problems.push_help(setting.span, &setting.place, message, help);
        }
    }
    inspect
}

//! What a sweep has yielded so far: the one input of `aggregate` and `report`.
//!
//! It is read from the store, or from a running coordinator over gRPC, and it is
//! the same value either way.

mod measured;

use std::borrow::Cow;
use std::collections::BTreeMap;

use seedbed_proto::job::Moment;
use seedbed_proto::result::{Artifact, FailureReason, JobPhase, Note, Provenance};
use seedbed_proto::{JobKey, SweepId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inspection::{AT, QUESTION, STEP};

pub use measured::{Measured, Quantities, Quantity};

/// A point of a sweep: axis → value. `seed`, `init`, `frozen` and
/// `learning_rate` are always there; other axes stand under their path in the
/// sweep file (`train.batch`, `task.template`). Values are as in the file:
/// `"scratch"`, `{"prefix":2}`, `0.0005`.
pub type Point = BTreeMap<String, Value>;

/// A sweep with all its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepResults {
    /// The sweep.
    pub sweep_id: SweepId,
    /// Its name.
    pub name: String,
    /// The sweep file as it was submitted.
    pub yaml: String,
    /// Every `train` job of the sweep, in the sweep's order.
    pub runs: Vec<Run>,
    /// Every `inspect` job of the sweep, in the sweep's order. Its point is that of
    /// the run that it is about, with `question`, `at` and `step` beside it. There
    /// are none before a selection is on record.
    pub inspections: Vec<Run>,
    /// Selection records, oldest first.
    pub selections: Vec<Selection>,
    /// The version of the record that was made from all that the sweep lists. None
    /// while the sweep goes on, older records or not: then no run carries metrics
    /// or notes of a test split.
    pub current: Option<u32>,
    /// Every attempt at every job of the sweep; not part of the result files.
    pub attempts: Vec<Attempt>,
}

impl SweepResults {
    /// The selection that is current; while there is none, tests are sealed.
    pub fn selection(&self) -> Option<&Selection> {
        let current = self.current?;
        self.selections.iter().find(|s| s.version == current)
    }

    /// The same with what was found inside each run's networks among its metrics,
    /// under the step of the weights.
    pub fn answered(&self) -> Cow<'_, Self> {
        if self.inspections.is_empty() {
            // A large sweep's results fit into memory once.
            return Cow::Borrowed(self);
        }
        let mut answered = self.clone();
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let text = |point: &Point| Value::from_iter(point.clone()).to_string();
        for (place, run) in self.runs.iter().enumerate() {
            places.entry(text(&run.point)).or_default().push(place);
        }
        for inspection in &self.inspections {
            let mut point = inspection.point.clone();
            point.retain(|axis, _| !matches!(axis.as_str(), QUESTION | AT | STEP));
            for place in places.get(&text(&point)).into_iter().flatten() {
                let metrics = inspection.metrics.iter().cloned();
                answered.runs[*place].metrics.extend(metrics);
            }
        }
        Cow::Owned(answered)
    }

    /// What was found inside each run's networks, with the weights that it is of.
    pub fn found(&self) -> Found<'_> {
        let mut inspections: Vec<&Run> = self.inspections.iter().collect();
        inspections.sort_by_key(|run| (run.ordinal, run.key));
        let mut found = Found::default();
        for inspection in inspections {
            let at = inspection.point.get(AT).cloned().unwrap_or_default();
            let Ok(weights) = serde_json::from_value(at) else {
                continue;
            };
            let mut point = inspection.point.clone();
            point.retain(|axis, _| !matches!(axis.as_str(), QUESTION | AT | STEP));
            let here = found.0.entry(Value::from_iter(point).to_string());
            here.or_default().push((weights, &inspection.metrics));
        }
        found
    }
}

/// What was found inside networks, by the run that they are of.
#[derive(Debug, Default)]
pub struct Found<'a>(BTreeMap<String, Vec<(Moment, &'a [Measured])>>);

impl<'a> Found<'a> {
    /// Of one run: the answers, in the order of the sweep.
    pub fn of(&self, run: &Run) -> &[(Moment, &'a [Measured])] {
        if self.0.is_empty() {
            return &[];
        }
        let point = Value::from_iter(run.point.clone()).to_string();
        self.0.get(&point).map_or(&[], Vec::as_slice)
    }
}

/// One run: a train job of the sweep, or an inspect job.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Position in the sweep.
    pub ordinal: u64,
    /// The job.
    pub key: JobKey,
    /// Its axes.
    pub point: Point,
    /// Where the job stands.
    pub phase: JobPhase,
    /// Why it failed, if it did.
    pub failure: Option<(FailureReason, String)>,
    /// Its metrics, if it is done.
    pub metrics: Vec<Measured>,
    /// Its stored files.
    pub artifacts: Vec<Artifact>,
    /// What its result does not hold, and why.
    pub notes: Vec<Note>,
}

/// Which value of the selected axis won, per group, on validation alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// 1, 2 … A new version is made when the sweep was extended and the choice,
    /// or what it was based on, changed.
    pub version: u32,
    /// The axis that was selected over: "learning_rate".
    pub axis: String,
    /// What it was selected by: "val.incongruent_accuracy".
    pub by: String,
    /// The choices, in the order of the sweep.
    pub choices: Vec<Choice>,
}

/// The winner within one group (arm × frozen set × further axes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The group: every axis but the replicate and the selected one.
    pub group: Point,
    /// The winning value of the selected axis.
    pub value: Value,
    /// Its mean over seeds of the metric.
    pub mean: f64,
    /// Seeds behind the mean.
    pub seeds: Vec<u64>,
    /// The winner is at an end of a grid of several values.
    pub at_edge: bool,
    /// Seeds without which another value wins, and which.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub without: BTreeMap<u64, Value>,
}

/// One attempt at one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The job.
    pub job_key: JobKey,
    /// 1 for the first.
    pub attempt: u32,
    /// How it ended: "done", a failure reason, "released", "running".
    pub outcome: String,
    /// What the worker said of a failure.
    pub message: String,
    /// The worker's name for people.
    pub worker: String,
    /// How it was made; absent if the worker never told.
    pub provenance: Option<Provenance>,
    /// Start, in RFC 3339.
    pub started_at: String,
    /// End, in RFC 3339; absent while it runs.
    pub ended_at: Option<String>,
}

/// The text of an axis value in tables, file columns and titles: `scratch`,
/// `prefix_2`, `reinit_last_1`, `0.0005`.
///
/// ```
/// use seedbed_coordinator::results::label;
/// use serde_json::json;
///
/// assert_eq!(label(&json!("scratch")), "scratch");
/// assert_eq!(label(&json!({"reinit": {"last": 1}})), "reinit_last_1");
/// assert_eq!(label(&json!({"only": [0, 2]})), "only_0_2");
/// assert_eq!(label(&json!(0.0005)), "0.0005");
/// ```
pub fn label(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(items) => items.iter().map(label).collect::<Vec<_>>().join("_"),
        Value::Object(map) => map
            .iter()
            .map(|(name, item)| format!("{name}_{}", label(item)))
            .collect::<Vec<_>>()
            .join("_"),
    }
}

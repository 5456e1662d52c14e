//! What a job answers: metrics and artifacts, or a typed failure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::BlobDigest;

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// "train", "val", "test_iid" …
    pub split: String,
    /// Optimizer steps done when it was measured.
    pub step: u64,
    /// Block, where it belongs to one.
    pub layer: Option<u32>,
    /// Attention head, where it belongs to one.
    pub head: Option<u32>,
    /// Prompt slot or stratum, where it belongs to one.
    pub slot: Option<String>,
    /// "incongruent_accuracy", "loss" …
    pub name: String,
    /// The value; NaN means "not available".
    #[serde(with = "nan_as_null")]
    pub value: f64,
}

impl Metric {
    /// A metric of a whole split.
    pub fn of(split: &str, step: u64, name: &str, value: f64) -> Self {
        Self {
            split: split.to_owned(),
            step,
            layer: None,
            head: None,
            slot: None,
            name: name.to_owned(),
            value,
        }
    }

    /// Whether it reads a test split, and so is sealed until a selection exists.
    pub fn is_test(&self) -> bool {
        is_test(&self.split)
    }
}

/// Whether a split is a test, and so what is measured on it sealed until a selection
/// exists.
pub fn is_test(split: &str) -> bool {
    split.starts_with("test")
}

/// JSON has no NaN; it stands there as `null`. Infinities are refused before a
/// metric is made: a run whose loss is infinite fails.
mod nan_as_null {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            s.serialize_f64(*value)
        } else {
            s.serialize_none()
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(d)?.unwrap_or(f64::NAN))
    }
}

/// A stored file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Name within the job: "model.safetensors".
    pub name: String,
    /// BLAKE3 of the bytes.
    pub digest: BlobDigest,
    /// Size.
    pub size_bytes: u64,
}

/// Why something that could be expected of a result is not there: a split that
/// the tokenizer can't carry, a quantity that is not defined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// What is not there: a split ("test_range_far"), or a split and a metric.
    pub place: String,
    /// Why, in words for people.
    pub reason: String,
}

impl Note {
    /// A note.
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            reason: reason.into(),
        }
    }

    /// Whether it tells of a test split, and so is sealed until a selection exists.
    pub fn is_test(&self) -> bool {
        self.place.starts_with("test")
    }
}

/// The canonical result of a job: a function of its spec and engine alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// In the order in which they were measured.
    pub metrics: Vec<Metric>,
    /// By name.
    pub artifacts: Vec<Artifact>,
    /// What is not there and why, in the order in which it was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

impl JobResult {
    /// BLAKE3 over metrics (bit patterns of their values), artifacts and, if there
    /// are any, notes. Two results are the same iff their digests are.
    pub fn digest(&self) -> BlobDigest {
        let mut hasher = blake3::Hasher::new_derive_key("seedbed v1 job result");
        let mut text = |s: &str| {
            hasher.update(&(s.len() as u64).to_le_bytes());
            hasher.update(s.as_bytes());
        };
        for m in &self.metrics {
            text(&m.split);
            text(&m.name);
            text(&format!(
                "{} {:?} {:?} {:?} {:016x}",
                m.step,
                m.layer,
                m.head,
                m.slot,
                // Every NaN is the same "not available".
                if m.value.is_nan() { f64::NAN } else { m.value }.to_bits()
            ));
        }
        let mut artifacts: Vec<_> = self.artifacts.iter().collect();
        artifacts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for a in artifacts {
            text(&a.name);
            text(&a.digest.to_string());
        }
        if !self.notes.is_empty() {
            text(&format!("notes {}", self.notes.len()));
        }
        for note in &self.notes {
            text(&note.place);
            text(&note.reason);
        }
        BlobDigest::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// How an attempt was made: kept beside the result, never part of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Program version and git commit.
    pub version: String,
    /// Host name.
    pub host: String,
    /// Device in words.
    pub device: String,
    /// Processor model and cache sizes.
    pub cpu_fingerprint: String,
    /// Compute threads.
    pub threads: u32,
    /// Duration of the attempt.
    pub wall_secs: f64,
    /// Step from which the attempt started.
    pub resumed_from_step: u64,
}

/// Why an attempt ended without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The machine was taken away in good order.
    Preempted,
    /// The lease expired.
    Lost,
    /// The device's memory did not suffice.
    OutOfMemory,
    /// Loss or gradient not finite.
    NonFinite,
    /// Wrong input: weights, tokenizer, shape.
    Invalid,
    /// A panic or an unforeseen error.
    Bug,
    /// Disk, network or hub.
    Environment,
}

impl FailureReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Preempted,
        Self::Lost,
        Self::OutOfMemory,
        Self::NonFinite,
        Self::Invalid,
        Self::Bug,
        Self::Environment,
    ];

    /// The name in tables and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Preempted => "preempted",
            Self::Lost => "lost",
            Self::OutOfMemory => "out_of_memory",
            Self::NonFinite => "non_finite",
            Self::Invalid => "invalid",
            Self::Bug => "bug",
            Self::Environment => "environment",
        }
    }

    /// The reason of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// An input is not done yet.
    Blocked,
    /// Ready for a worker.
    Pending,
    /// Leased.
    Running,
    /// Its result is on record.
    Done,
    /// It ended without a result, for good.
    Failed,
    /// A person ended it.
    Cancelled,
}

impl JobPhase {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Blocked,
        Self::Pending,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in tables and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has an end: there is nothing left to do.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// The phase of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
}

impl fmt::Display for JobPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

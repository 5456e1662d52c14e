//! Generated messages ⇄ domain types. Validation happens here, once.

use std::str::FromStr;

use crate::ids::BadId;
use crate::result::{Artifact, FailureReason, JobPhase, Metric, Note, Provenance};
use crate::v1;

/// A message that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// An id is malformed.
    #[error("{field}: {source}")]
    Id {
        /// The field of the message.
        field: &'static str,
        /// What is wrong with it.
        source: BadId,
    },
    /// A field that is required is not there.
    #[error("{0}: missing")]
    Missing(&'static str),
    /// An enum value that this program does not know.
    #[error("{field}: unknown value {value}")]
    Unknown {
        /// The field of the message.
        field: &'static str,
        /// The value that stood there.
        value: i32,
    },
}

/// Parses an id field, naming it in the error.
///
/// # Errors
/// If the text is not an id of that type.
pub fn id<T: FromStr<Err = BadId>>(field: &'static str, text: &str) -> Result<T, BadMessage> {
    text.parse()
        .map_err(|source| BadMessage::Id { field, source })
}

/// Takes a required message field.
///
/// # Errors
/// If it is absent.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, BadMessage> {
    value.ok_or(BadMessage::Missing(field))
}

impl From<Metric> for v1::Metric {
    fn from(m: Metric) -> Self {
        Self {
            split: m.split,
            step: m.step,
            layer: m.layer,
            head: m.head,
            slot: m.slot,
            name: m.name,
            value: m.value,
        }
    }
}

impl TryFrom<v1::Metric> for Metric {
    type Error = BadMessage;

    fn try_from(m: v1::Metric) -> Result<Self, BadMessage> {
        if m.split.is_empty() {
            return Err(BadMessage::Missing("metric.split"));
        }
        if m.name.is_empty() {
            return Err(BadMessage::Missing("metric.name"));
        }
        Ok(Self {
            split: m.split,
            step: m.step,
            layer: m.layer,
            head: m.head,
            slot: m.slot,
            name: m.name,
            value: m.value,
        })
    }
}

impl From<Artifact> for v1::Artifact {
    fn from(a: Artifact) -> Self {
        Self {
            name: a.name,
            digest: a.digest.to_string(),
            size_bytes: a.size_bytes,
        }
    }
}

impl TryFrom<v1::Artifact> for Artifact {
    type Error = BadMessage;

    fn try_from(a: v1::Artifact) -> Result<Self, BadMessage> {
        if a.name.is_empty() {
            return Err(BadMessage::Missing("artifact.name"));
        }
        Ok(Self {
            name: a.name,
            digest: id("artifact.digest", &a.digest)?,
            size_bytes: a.size_bytes,
        })
    }
}

impl From<Note> for v1::Note {
    fn from(n: Note) -> Self {
        Self {
            place: n.place,
            reason: n.reason,
        }
    }
}

impl TryFrom<v1::Note> for Note {
    type Error = BadMessage;

    fn try_from(n: v1::Note) -> Result<Self, BadMessage> {
        if n.place.is_empty() {
            return Err(BadMessage::Missing("note.place"));
        }
        if n.reason.is_empty() {
            return Err(BadMessage::Missing("note.reason"));
        }
        Ok(Self {
            place: n.place,
            reason: n.reason,
        })
    }
}

impl From<Provenance> for v1::Provenance {
    fn from(p: Provenance) -> Self {
        Self {
            version: p.version,
            host: p.host,
            device: p.device,
            cpu_fingerprint: p.cpu_fingerprint,
            threads: p.threads,
            wall_secs: p.wall_secs,
            resumed_from_step: p.resumed_from_step,
        }
    }
}

impl From<v1::Provenance> for Provenance {
    fn from(p: v1::Provenance) -> Self {
        Self {
            version: p.version,
            host: p.host,
            device: p.device,
            cpu_fingerprint: p.cpu_fingerprint,
            threads: p.threads,
            wall_secs: p.wall_secs,
            resumed_from_step: p.resumed_from_step,
        }
    }
}

impl From<FailureReason> for v1::FailureReason {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::Preempted => Self::Preempted,
            FailureReason::Lost => Self::Lost,
            FailureReason::OutOfMemory => Self::OutOfMemory,
            FailureReason::NonFinite => Self::NonFinite,
            FailureReason::Invalid => Self::Invalid,
            FailureReason::Bug => Self::Bug,
            FailureReason::Environment => Self::Environment,
        }
    }
}

impl TryFrom<v1::FailureReason> for FailureReason {
    type Error = BadMessage;

    fn try_from(reason: v1::FailureReason) -> Result<Self, BadMessage> {
        match reason {
            v1::FailureReason::Unspecified => Err(BadMessage::Missing("reason")),
            v1::FailureReason::Preempted => Ok(Self::Preempted),
            v1::FailureReason::Lost => Ok(Self::Lost),
            v1::FailureReason::OutOfMemory => Ok(Self::OutOfMemory),
            v1::FailureReason::NonFinite => Ok(Self::NonFinite),
            v1::FailureReason::Invalid => Ok(Self::Invalid),
            v1::FailureReason::Bug => Ok(Self::Bug),
            v1::FailureReason::Environment => Ok(Self::Environment),
        }
    }
}

impl From<JobPhase> for v1::JobPhase {
    fn from(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Blocked => Self::Blocked,
            JobPhase::Pending => Self::Pending,
            JobPhase::Running => Self::Running,
            JobPhase::Done => Self::Done,
            JobPhase::Failed => Self::Failed,
            JobPhase::Cancelled => Self::Cancelled,
        }
    }
}

impl TryFrom<v1::JobPhase> for JobPhase {
    type Error = BadMessage;

    fn try_from(phase: v1::JobPhase) -> Result<Self, BadMessage> {
        match phase {
            v1::JobPhase::Unspecified => Err(BadMessage::Missing("phase")),
            v1::JobPhase::Blocked => Ok(Self::Blocked),
            v1::JobPhase::Pending => Ok(Self::Pending),
            v1::JobPhase::Running => Ok(Self::Running),
            v1::JobPhase::Done => Ok(Self::Done),
            v1::JobPhase::Failed => Ok(Self::Failed),
            v1::JobPhase::Cancelled => Ok(Self::Cancelled),
        }
    }
}

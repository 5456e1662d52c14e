//! The rules of leases, all pure: when an attempt may be followed by another
//! one, which worker may take which job, and in which order jobs go out.
//!
//! Order: by sweep, oldest first, then by position in the sweep. A sweep lists
//! whole seeds first, so at any moment the finished part is as balanced as it
//! can be. A job of several sweeps stands where it comes first.

use std::collections::BTreeSet;
use std::fmt;

use seedbed_proto::job::{DeviceKind, Dtype, JobSpec, Ops};
use seedbed_proto::result::FailureReason;
use seedbed_proto::v1;
use serde::{Deserialize, Serialize};

/// How many attempts at a job may end for a reason before the job fails for
/// good; `None`: without limit. `retry` starts the count anew.
///
/// `lost` is wide because most lost workers are the machine's fault, but not
/// endless, because a job may be what kills its worker.
pub const fn attempts_max(reason: FailureReason) -> Option<u32> {
    match reason {
        FailureReason::Preempted => None,
        FailureReason::Lost => Some(10),
        FailureReason::Bug => Some(2),
        FailureReason::Environment => Some(4),
        // Another attempt would fail in the same way.
        FailureReason::OutOfMemory | FailureReason::NonFinite | FailureReason::Invalid => Some(1),
    }
}

/// What follows an attempt without a result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Another attempt, not before this many seconds have passed.
    Retry {
        /// Time for what is outside (a disk, a network) to recover.
        delay_secs: f64,
    },
    /// The job has failed.
    GiveUp,
}

/// Judges an attempt that ended for `reason`, when `count` attempts (this one
/// included) have ended for that reason since the job's budget was last fresh.
pub fn judge(reason: FailureReason, count: u32) -> Verdict {
    match attempts_max(reason) {
        Some(max) if count >= max => Verdict::GiveUp,
        _ if reason == FailureReason::Environment => Verdict::Retry {
            delay_secs: f64::from(1_u32 << count.saturating_sub(1).min(6)),
        },
        _ => Verdict::Retry { delay_secs: 0.0 },
    }
}

/// What a job demands of its worker. Its text form ("cpu/fused/f32",
/// "cuda/composite/bf16", "hub") is what the store indexes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement(String);

impl Requirement {
    fn engine(device: &str, ops: &str, dtype: &str) -> Self {
        Self(format!("{device}/{ops}/{dtype}"))
    }

    fn hub() -> Self {
        Self("hub".to_owned())
    }

    /// What this job demands: its engine, or a way to the hub for a download.
    pub fn of(spec: &JobSpec) -> Self {
        if spec.is_download() {
            return Self::hub();
        }
        let device = match spec.engine.device {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Metal => "metal",
        };
        let ops = match spec.engine.ops {
            Ops::Fused => "fused",
            Ops::Composite => "composite",
        };
        let dtype = match spec.engine.dtype {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::Tf32 => "tf32",
        };
        Self::engine(device, ops, dtype)
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a worker offers, as the store keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// "cpu", "cuda", "metal".
    pub device: String,
    /// "fused", "composite".
    pub ops: Vec<String>,
    /// "f32", "bf16", "tf32".
    pub dtypes: Vec<String>,
    /// Processor model and cache sizes.
    pub cpu_fingerprint: String,
    /// Compute threads.
    pub threads: u32,
    /// Whether it can download models.
    pub hub: bool,
}

impl Capability {
    /// Every demand that this worker meets.
    pub fn meets(&self) -> BTreeSet<Requirement> {
        let mut met = BTreeSet::new();
        for ops in &self.ops {
            for dtype in &self.dtypes {
                met.insert(Requirement::engine(&self.device, ops, dtype));
            }
        }
        if self.hub {
            met.insert(Requirement::hub());
        }
        met
    }
}

impl From<v1::Capability> for Capability {
    fn from(c: v1::Capability) -> Self {
        Self {
            device: c.device,
            ops: c.ops,
            dtypes: c.dtypes,
            cpu_fingerprint: c.cpu_fingerprint,
            threads: c.threads,
            hub: c.hub,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seedbed_proto::job::{Engine, HubModel, Pretrain, SPEC_VERSION, Work};

    fn check(reason: FailureReason, expect: &[Verdict]) {
        let actual: Vec<_> = (1..=expect.len())
            .map(|count| judge(reason, u32::try_from(count).expect("a short list")))
            .collect();
        assert_eq!(actual, expect, "{reason}");
    }

    #[test]
    fn each_reason_has_its_budget() {
        let again = Verdict::Retry { delay_secs: 0.0 };
        let after = |delay_secs| Verdict::Retry { delay_secs };
        let end = Verdict::GiveUp;
        check(FailureReason::Preempted, &[again; 100]);
        check(FailureReason::Bug, &[again, end, end]);
        check(FailureReason::OutOfMemory, &[end]);
        check(FailureReason::NonFinite, &[end]);
        check(FailureReason::Invalid, &[end]);
        let environment = [after(1.0), after(2.0), after(4.0), end];
        check(FailureReason::Environment, &environment);
        let mut lost = [again; 10];
        lost[9] = end;
        check(FailureReason::Lost, &lost);
    }

    #[test]
    fn a_worker_meets_its_engines_and_nothing_else() {
        let mut capability = Capability {
            device: "cpu".into(),
            ops: vec!["fused".into(), "composite".into()],
            dtypes: vec!["f32".into()],
            ..Capability::default()
        };
        let met = |c: &Capability| {
            c.meets()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(met(&capability), ["cpu/composite/f32", "cpu/fused/f32"]);

        let download = JobSpec {
            version: SPEC_VERSION,
            engine: Engine {
                device: DeviceKind::Cpu,
                ops: Ops::Fused,
                dtype: Dtype::F32,
                micro_batch: 1,
            },
            work: Work::Pretrain(Pretrain::Hub(HubModel {
                repo: "a/b".into(),
                revision: "main".into(),
            })),
        };
        let demand = Requirement::of(&download);
        assert_eq!(demand.as_str(), "hub");
        assert!(!capability.meets().contains(&demand));
        capability.hub = true;
        capability.device = "cuda".into();
        assert!(capability.meets().contains(&demand));
    }
}

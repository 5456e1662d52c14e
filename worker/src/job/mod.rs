//! Running one job: from a spec and local files to metrics and local files.
//!
//! Nothing here, or below, knows leases, the network or wall-clock time.
//! Whoever runs the job decides through [`Host`] when it checkpoints and stops.

pub mod inspect;
pub mod pretrain;
pub mod train;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use seedbed_proto::job::{Dtype, JobSpec, Pretrain, Work};
use seedbed_proto::result::{FailureReason, Metric, Note};

use crate::memory::Free;
use crate::ops;

/// Runs a job to its end, or until the host stops it.
///
/// # Errors
/// If it fails; what lies in the work directory then means nothing.
pub fn run(spec: &JobSpec, inputs: &Inputs, ctx: &RunContext<'_>) -> Result<Outcome, JobError> {
    if ctx.device.is_cuda() {
        ops::round_products(spec.engine.dtype == Dtype::Tf32);
    }
    match &spec.work {
        Work::Pretrain(Pretrain::Hub(model)) => pretrain::from_hub(model, ctx),
        Work::Pretrain(Pretrain::Corpus(job)) => pretrain::from_corpus(spec, job, inputs, ctx),
        Work::Train(job) => train::run(spec, job, inputs, ctx),
        Work::Inspect(job) => inspect::run(spec, job, inputs, ctx),
    }
}

/// What a job gets from whoever runs it.
pub struct RunContext<'a> {
    /// Where tensors live.
    pub device: Device,
    /// Memory that the job can have.
    pub free: Free,
    /// A directory of this attempt alone; it is removed afterwards.
    pub work_dir: PathBuf,
    /// A directory that all jobs of this kind of machine share, for what may be
    /// reused.
    pub shared_dir: PathBuf,
    /// Most bytes that may be kept there.
    pub shared_bytes_max: u64,
    /// Told of every step; answers what to do next.
    pub host: &'a dyn Host,
}

/// The job's view of the world outside.
pub trait Host: Sync {
    /// Called after each optimizer step, once before the first, and between the
    /// pieces of a long evaluation (with the same step again): it must be cheap.
    fn step(&self, progress: &Progress) -> Directive;

    /// Takes over a complete checkpoint file (it may be moved away).
    ///
    /// # Errors
    /// If it can't be kept; the job then fails with that error.
    fn checkpoint(&self, step: u64, file: &Path) -> Result<(), JobError>;
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps in all.
    pub steps_total: u64,
    /// The latest validation metric, for people: name and value.
    pub live: Option<(String, f64)>,
}

/// What the job must do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Go on.
    Continue,
    /// Hand over a checkpoint, then go on.
    Checkpoint,
    /// Hand over a checkpoint, then stop (drain, preemption).
    CheckpointAndStop,
    /// Stop at once; nothing that is written now will be read.
    Stop,
}

/// The role of a base's weights in one file.
pub const WEIGHTS: &str = "model.safetensors";

/// The role of the index of a base's weights in several files, which lie beside it.
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// The local files that a job reads.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// By role: `config.json`, [`WEIGHTS`] or [`WEIGHTS_INDEX`], `tokenizer.json` of
    /// the base; `corpus/0`, `corpus/1` … of a pretraining; `subject/…` and
    /// `other/0/…` of a question about networks.
    pub files: BTreeMap<String, PathBuf>,
    /// Checkpoints that earlier attempts handed over, the furthest first: the
    /// first one that is whole is taken. They are mapped: they must be in a folder of
    /// this worker's own, where nobody writes to a file that has its name.
    pub resume: Vec<PathBuf>,
}

impl Inputs {
    /// The file of a role.
    ///
    /// # Errors
    /// If the job was not given one: a bug of the caller.
    pub fn file(&self, role: &str) -> Result<&Path, JobError> {
        match self.files.get(role) {
            Some(path) => Ok(path),
            None => Err(JobError::new(
                FailureReason::Bug,
                format!("the job was started without its input {role:?}"),
            )),
        }
    }

    /// The base's weights: one file, or the index of several.
    ///
    /// # Errors
    /// If the job was given neither: a bug of the caller.
    pub fn weights(&self) -> Result<&Path, JobError> {
        match self.files.get(WEIGHTS_INDEX) {
            Some(index) => Ok(index),
            None => self.file(WEIGHTS),
        }
    }
}

/// How a run of a job ended without an error.
#[derive(Debug)]
pub enum Outcome {
    /// The result is complete.
    Finished(Output),
    /// A directive stopped it.
    Stopped,
}

/// The result of a job, its files still local.
#[derive(Debug, Default)]
pub struct Output {
    /// In the order in which they were measured.
    pub metrics: Vec<Metric>,
    /// Artifact name and local file.
    pub files: Vec<(String, PathBuf)>,
    /// What the result does not hold, and why.
    pub notes: Vec<Note>,
    /// The step from which this run started (0: from scratch). Provenance only.
    pub resumed_from_step: u64,
}

/// A typed failure with one paragraph for people.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    /// What kind of failure.
    pub reason: FailureReason,
    /// What failed, where, and the way out.
    pub message: String,
}

impl JobError {
    /// An error of this kind.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// Wrong input: never retried.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureReason::Invalid, message)
    }
}

//! How a network does what it does: one question per file, each a function from
//! a [`Study`] to an [`Answer`].
//!
//! All in f32 and evaluation mode. Nothing here knows files, leases or time; the
//! job hands in networks and trials, and writes down what comes back.
//!
//! Adding a question: a variant of [`Question`] with its name, a file here with
//! `pub fn ask(study: &mut Study<'_>) -> Result<Answer, MechanismError>`, a line
//! in [`ask`], and a figure in the coordinator's `report/figure/`.

mod activations;
pub mod drift;
mod lens;
mod missing;
pub mod numerics;
pub mod patching;
mod probes;
mod readout;
mod reversion;
mod rows;
mod similarity;
mod swap;
mod tdr;
#[cfg(test)]
mod tests;
mod transplant;

use std::collections::BTreeMap;

use candle_core::Device;
use seedbed_proto::job::{Ops, Question};
use seedbed_proto::result::{FailureReason, Metric, Note};

use crate::gpt2::hooks::HookError;
use crate::gpt2::{Config, ModelError, Weights};
use crate::job::JobError;
use crate::task::{EvalSplit, Prepared};

/// A network under study: its shape and its weights.
pub struct Subject {
    /// For people and for messages: `scratch seed=3 step=300`.
    pub label: String,
    /// Optimizer steps that the weights have seen: the step of the metrics.
    pub step: u64,
    /// Its shape; `tied` says whether there is an unembedding of its own.
    pub config: Config,
    /// Its tensors, f32 on the CPU.
    pub weights: Weights,
}

/// Most that an answer may take. It stands in the job's spec: results depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of activations that are held at once, weights not counted.
    pub bytes: u64,
    /// Counterfactual pairs of trials.
    pub pairs: usize,
    /// Trials; at most those of the split.
    pub items: usize,
}

/// All that a question is asked about.
pub struct Study<'a> {
    /// The network under study.
    pub subject: &'a Subject,
    /// θ⁰: the weights with which its run started; of no use to a question that does
    /// not [need it](Question::needs_origin).
    pub origin: Option<&'a Subject>,
    /// PT: the base from which the sweep's runs start; of no use to a question that does
    /// not [need it](Question::needs_base).
    pub base: Option<&'a Subject>,
    /// The name of the pairing of `base` and `subject`: "pt_ft", "pt_sc" …
    pub base_pairing: String,
    /// Networks of other runs, by pairing: "ft_ft", "ft_sc", "sc_sc" …; the
    /// subject is the first of the two. All of the subject's shape and tokenizer.
    pub others: &'a [(String, Subject)],
    /// The task that the subject learned.
    pub task: &'a Prepared,
    /// The trials that are shown.
    pub split: &'a EvalSplit,
    /// Of random streams: `derive_seed(seed, Purpose::Inspect, "question/what")`.
    pub seed: u64,
    /// Most that the answer may take.
    pub budget: Budget,
    /// Which implementation of the operations.
    pub ops: Ops,
    /// Where tensors are computed; weights are handed in on the CPU.
    pub device: &'a Device,
    /// To be called between pieces of a second or less, with the share that is
    /// done (0 to 1, never falling); an error means stop.
    pub pulse: &'a mut dyn FnMut(f64) -> Result<(), Stop>,
}

/// The host wants the job to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stop;

/// What a question yields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Numbers; NaN where one is not available, with a note that says why.
    pub metrics: Vec<Metric>,
    /// Maps by name, for `arrays.safetensors`.
    pub arrays: BTreeMap<String, Array>,
    /// Why numbers are not available.
    pub notes: Vec<Note>,
}

/// Numbers in a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes of the axes, the slowest first; their product is the length of `data`.
    pub shape: Vec<usize>,
    /// The numbers, the last axis fastest.
    pub data: Vec<f32>,
}

/// A question that can't be answered.
#[derive(Debug, thiserror::Error)]
pub enum MechanismError {
    /// The host wants the job to stop: not a failure.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// What is asked does not fit the networks or the task; says what, and the way out.
    #[error("{0}")]
    Invalid(String),
    /// A network can't be built or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A pass through a network can't be made, or did not do what it was asked.
    #[error(transparent)]
    Hook(Box<HookError>),
    /// The tensor library refused an operation.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A network that was to have a part of another one has not got it; an edit of an
    /// activation that did not fire is [`HookError::NotFired`].
    #[error("{0} of another network: the swap did not take place")]
    NotFired(String),
}

impl From<HookError> for MechanismError {
    fn from(error: HookError) -> Self {
        match error {
            HookError::Model(error) => Self::Model(error),
            HookError::Tensors(error) => Self::Tensor(error),
            error => Self::Hook(Box::new(error)),
        }
    }
}

impl From<MechanismError> for JobError {
    fn from(error: MechanismError) -> Self {
        let message = error.to_string();
        let reason = match error {
            MechanismError::Model(error) => return error.into(),
            MechanismError::Tensor(error) => return ModelError::Tensors(error).into(),
            MechanismError::Hook(error) => match *error {
                HookError::Shapes { .. } => FailureReason::Invalid,
                // Hook points are named by the questions, not by a sweep.
                _ => FailureReason::Bug,
            },
            MechanismError::Invalid(_) => FailureReason::Invalid,
            MechanismError::Stopped(_) | MechanismError::NotFired(_) => FailureReason::Bug,
        };
        Self::new(reason, message)
    }
}

/// Answers a question.
///
/// # Errors
/// If it does not fit what is studied, a computation fails, or the pulse says stop.
/// What is merely undefined (no pair is solved both ways, a regression is singular)
/// is NaN with a note, not an error.
pub fn ask(question: Question, study: &mut Study<'_>) -> Result<Answer, MechanismError> {
    match question {
        Question::Patching => patching::ask(study),
        Question::Reversion => reversion::ask(study),
        Question::Transplant => transplant::ask(study),
        Question::Probes => probes::ask(study),
        Question::Similarity => similarity::ask(study),
        Question::Drift => drift::ask(study),
        Question::Lens => lens::ask(study),
        Question::Tdr => tdr::ask(study),
    }
}

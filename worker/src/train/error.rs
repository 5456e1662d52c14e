//! What can go wrong while a network is trained, and what kind of failure it is.

use seedbed_proto::result::FailureReason;

use crate::gpt2::{ModelError, tensor_failure};
use crate::job::JobError;
use crate::train::checkpoint::CheckpointError;

/// Training that can't go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The tensor library refused an operation.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The loss or the gradient's norm is infinite or not a number.
    #[error(
        "the {what} is {value} at step {step}, first seen in {culprit}; \
         a lower learning rate, a longer warm-up or clipping may help"
    )]
    NonFinite {
        /// "loss" or "gradient norm".
        what: &'static str,
        /// Its value.
        value: f64,
        /// The update that was being made, counted from 0.
        step: u64,
        /// The first tensor, in the order of names, that is not finite.
        culprit: String,
    },
    /// The checkpoint can't be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model can't run what it was given.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A part of the job outside the loop failed.
    #[error(transparent)]
    Job(#[from] JobError),
}

impl From<TrainError> for JobError {
    fn from(error: TrainError) -> Self {
        let message = error.to_string();
        let reason = match error {
            TrainError::Tensor(error) => tensor_failure(&error),
            TrainError::NonFinite { .. } => FailureReason::NonFinite,
            TrainError::Checkpoint(_) => FailureReason::Environment,
            TrainError::Model(error) => return error.into(),
            TrainError::Job(error) => return error,
        };
        Self::new(reason, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_typed() {
        let check = |error: TrainError, reason: FailureReason, words: &str| {
            let error = JobError::from(error);
            assert_eq!(error.reason, reason, "{error}");
            assert!(error.message.contains(words), "{error}");
        };
        let tensor = |text: &str| TrainError::Tensor(candle_core::Error::Msg(text.into()));
        check(
            tensor("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"),
            FailureReason::OutOfMemory,
            "memory",
        );
        for text in [
            "CublasError(CUBLAS_STATUS_ALLOC_FAILED)",
            "Metal error Failed to create metal resource: Buffer",
        ] {
            check(tensor(text), FailureReason::OutOfMemory, text);
            let model = ModelError::Tensors(candle_core::Error::Msg(text.into()));
            check(model.into(), FailureReason::OutOfMemory, text);
        }
        check(
            tensor("shape mismatch"),
            FailureReason::Bug,
            "shape mismatch",
        );
        check(
            TrainError::NonFinite {
                what: "loss",
                value: f64::NAN,
                step: 17,
                culprit: "h.0.mlp.c_fc.weight".into(),
            },
            FailureReason::NonFinite,
            "the loss is NaN at step 17, first seen in h.0.mlp.c_fc.weight",
        );
        check(
            TrainError::Job(JobError::invalid("as it was")),
            FailureReason::Invalid,
            "as it was",
        );
    }
}

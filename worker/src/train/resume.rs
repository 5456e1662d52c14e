//! Going on from a checkpoint, or from the start if none is of use.

use std::collections::BTreeSet;
use std::path::Path;

use seedbed_proto::JobKey;

use crate::gpt2::Weights;
use crate::job::Inputs;
use crate::train::checkpoint::{Checkpoint, CheckpointError};

/// Opens the furthest checkpoint that the job was given and that is of use, and
/// puts its weights in the place of the initial ones.
///
/// A checkpoint is a shortcut, never needed: one that is damaged or another job's
/// is refused with a warning that names its file, and the one before it is taken.
/// Without any, the run starts from the beginning.
pub fn open(
    inputs: &Inputs,
    key: JobKey,
    trainable: &BTreeSet<String>,
    weights: &mut Weights,
) -> Option<Checkpoint<'static>> {
    for path in &inputs.resume {
        match read(path, key, trainable, weights) {
            Ok(mut checkpoint) => {
                weights.append(&mut checkpoint.weights);
                return Some(checkpoint);
            }
            Err(error) => tracing::warn!(%error, "a checkpoint is refused"),
        }
    }
    if !inputs.resume.is_empty() {
        tracing::warn!("no checkpoint is of use, the job starts from the beginning");
    }
    None
}

/// Reads a checkpoint that must be this job's, whole, and of these weights.
fn read(
    path: &Path,
    key: JobKey,
    trainable: &BTreeSet<String>,
    weights: &Weights,
) -> Result<Checkpoint<'static>, CheckpointError> {
    // SAFETY: `Inputs::resume` promises it.
    let checkpoint = unsafe { Checkpoint::read(key, path) }?;
    match unfit(&checkpoint, trainable, weights) {
        None => Ok(checkpoint),
        Some(why) => Err(CheckpointError::Unfit {
            path: path.to_owned(),
            why,
        }),
    }
}

/// Why it does not hold just what trains, in the right shapes: it does unless the
/// program that wrote it froze other weights under the same spec.
fn unfit(
    checkpoint: &Checkpoint<'_>,
    trainable: &BTreeSet<String>,
    weights: &Weights,
) -> Option<String> {
    if !checkpoint.weights.keys().eq(trainable) || !checkpoint.moments.keys().eq(trainable) {
        return Some("it holds other weights than those that train".to_owned());
    }
    for (name, tensor) in &checkpoint.weights {
        let expected = weights.get(name).map(|tensor| tensor.dims());
        let moments = &checkpoint.moments[name];
        let len = tensor.elem_count();
        if expected != Some(tensor.dims())
            || moments.first.len() != len
            || moments.second.len() != len
        {
            return Some(format!("{name} has another shape in it"));
        }
    }
    let steps = checkpoint.record.curve.len() as u64;
    (steps != checkpoint.record.step).then(|| format!("its curve has {steps} points"))
}

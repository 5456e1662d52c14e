//! Going on from a checkpoint, or from the start if it is of no use.

use std::collections::BTreeSet;

use seedbed_proto::JobKey;

use crate::gpt2::Weights;
use crate::job::Inputs;
use crate::train::checkpoint::Checkpoint;

/// Opens the checkpoint that the job was given, and puts its weights in the
/// place of the initial ones.
///
/// A checkpoint is a shortcut, never needed: one that is damaged or another
/// job's is left aside with a warning, and the run starts from the beginning.
pub fn open(
    inputs: &Inputs,
    key: JobKey,
    trainable: &BTreeSet<String>,
    weights: &mut Weights,
) -> Option<Checkpoint<'static>> {
    let path = inputs.resume.as_deref()?;
    let opened = Checkpoint::read(key, path).map_err(|e| e.to_string());
    let fitting = opened.and_then(|checkpoint| {
        fits(&checkpoint, trainable, weights)?;
        Ok(checkpoint)
    });
    match fitting {
        Ok(mut checkpoint) => {
            weights.append(&mut checkpoint.weights);
            Some(checkpoint)
        }
        Err(why) => {
            tracing::warn!(%why, "the checkpoint is of no use, the job starts from the beginning");
            None
        }
    }
}

/// Whether it holds just what trains, in the right shapes: it does unless the
/// program that wrote it froze other weights under the same spec.
fn fits(
    checkpoint: &Checkpoint<'_>,
    trainable: &BTreeSet<String>,
    weights: &Weights,
) -> Result<(), String> {
    if !checkpoint.weights.keys().eq(trainable) || !checkpoint.moments.keys().eq(trainable) {
        return Err("it holds other weights than those that train".to_owned());
    }
    for (name, tensor) in &checkpoint.weights {
        let expected = weights.get(name).map(|tensor| tensor.dims());
        let moments = &checkpoint.moments[name];
        let len = tensor.elem_count();
        if expected != Some(tensor.dims())
            || moments.first.len() != len
            || moments.second.len() != len
        {
            return Err(format!("{name} has another shape in it"));
        }
    }
    let steps = checkpoint.record.curve.len() as u64;
    if steps != checkpoint.record.step {
        return Err(format!("its curve has {steps} points"));
    }
    Ok(())
}

//! What a network answers at the last position, without gradients.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::behaviour::Readout;
use crate::gpt2::{Entry, Gpt2};
use crate::train::error::TrainError;
use crate::train::host::with_f32;
use crate::train::prefix::Streams;
use crate::train::trainer::Halt;

/// Sequences in one forward pass: their logits are the largest thing in memory
/// (GPT-2's vocabulary: 50 MB).
pub const BATCH: usize = 256;

/// Reads out every prompt of `ids` (N·T), T tokens each; `streams` are those of the
/// same prompts, if they are kept. `pulse` is called between two batches, and may
/// end it.
///
/// # Errors
/// [`Halt`], from the pulse, or if the model can't run the prompts.
pub fn readouts(
    model: &Gpt2,
    ids: &[u32],
    len: usize,
    streams: Option<&Streams>,
    answers: [u32; 2],
    pulse: &mut dyn FnMut() -> Result<(), Halt>,
) -> Result<Vec<Readout>, Halt> {
    let count = ids.len() / len;
    let mut all = Vec::with_capacity(count);
    for from in (0..count).step_by(BATCH) {
        let rows = from..count.min(from + BATCH);
        let entry = match streams {
            Some(streams) => streams.rows(rows, model.device())?,
            None => {
                let ids = &ids[rows.start * len..rows.end * len];
                Entry::Ids(Tensor::from_slice(ids, (rows.len(), len), model.device())?)
            }
        };
        all.extend(batch(model, entry, answers)?);
        pulse()?;
    }
    Ok(all)
}

fn batch(model: &Gpt2, entry: Entry, answers: [u32; 2]) -> Result<Vec<Readout>, TrainError> {
    let logits = model
        .logits_last(entry)?
        .to_device(&Device::Cpu)?
        .contiguous()?; // (B, V)
    let (_, v) = logits.dims2()?;
    let rows = with_f32(&logits, |values| {
        values
            .par_chunks(v)
            .map(|row| readout(row, answers))
            .collect()
    })?;
    Ok(rows)
}

/// One prompt's logits (V).
fn readout(row: &[f32], [left, right]: [u32; 2]) -> Readout {
    let mut argmax = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[argmax] {
            argmax = at;
        }
    }
    let most = f64::from(row[argmax]);
    let sum: f64 = row.iter().map(|&v| (f64::from(v) - most).exp()).sum();
    Readout {
        left: row[left as usize],
        right: row[right as usize],
        log_z: (most + sum.ln()) as f32,
        argmax: argmax as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_out() {
        let read = readout(&[0.0, 2.0, -1.0, 2.0], [2, 3]);
        let z = (1.0_f64 + 2.0 * 2.0_f64.exp() + (-1.0_f64).exp()).ln();
        assert_eq!((read.left, read.right, read.argmax), (-1.0, 2.0, 1));
        assert!((f64::from(read.log_z) - z).abs() < 1e-6, "{read:?}");
        // Large logits do not overflow.
        assert_eq!(readout(&[-300.0, 300.0], [0, 1]).log_z, 300.0);
    }
}

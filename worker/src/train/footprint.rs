//! How much memory a training job takes, before it takes it.
//!
//! A count of what is alive at its fullest moments: in a step, in an evaluation,
//! while the last weights are written, while the drift of all weights is measured,
//! while a checkpoint is handed over, and where weights come in, from the start or from
//! a checkpoint. What lies in main memory is counted apart from what lies on the
//! device, which may be a GPU. A job that can't fit is
//! refused with the largest micro-batch that would, instead of being killed hours
//! later by a system that says nothing. Counts of floats for each token follow from
//! the operations' graph (B sequences of T tokens, C width, F inner width, H heads,
//! V vocabulary, L blocks) and are held against measured peaks.

use std::collections::BTreeSet;

use seedbed_proto::job::{DeviceKind, Dtype, Engine, Loss, Ops};
use seedbed_proto::result::FailureReason;

use crate::gpt2::{Config, LM_HEAD, block_of};
use crate::job::JobError;
use crate::memory::{Free, Taken};

const F32: u64 = size_of::<f32>() as u64;

/// Rows of logits that the fused loss holds at once, in floats: see `ops::fused`.
const LOGITS_MAX: u64 = 1 << 23;

/// What a job trains, and on what.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The network.
    pub config: &'a Config,
    /// Names of the tensors that train.
    pub trainable: &'a BTreeSet<String>,
    /// The numeric path.
    pub engine: Engine,
    /// Tokens in a sequence.
    pub len: usize,
    /// Sequences in an optimizer step.
    pub batch: u32,
    /// What the loss is over.
    pub loss: Loss,
    /// Sequences in a forward pass of an evaluation.
    pub eval_batch: u64,
    /// Whether it writes its last weights.
    pub keeps: bool,
    /// Whether it measures how far its weights moved from the first ones.
    pub drifts: bool,
}

/// Bytes that a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// In a step, whatever the micro-batch, on the device: weights, moments, gradients.
    step: u64,
    /// In a step, for each sequence of a micro-batch, on the device.
    sequence: u64,
    /// Once more all gradients, if micro-batches are accumulated, on the device.
    accumulated: u64,
    /// At the moments outside of a step.
    elsewhere: [Taken; 5],
    batch: u32,
}

impl Footprint {
    /// Counts.
    pub fn of(job: &Job<'_>) -> Self {
        let Job { config, engine, .. } = job;
        let tensors = Config::clone(config).untied().tensors();
        let size = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>() as u64;
        let used = |name: &String| name != LM_HEAD || !config.tied || job.trainable.contains(name);
        let all: u64 = tensors.iter().filter(|t| used(&t.0)).map(size).sum();
        let trained = tensors.iter().filter(|t| job.trainable.contains(&t.0));
        let trained: u64 = trained.map(size).sum();

        let (c, v) = (config.width as u64, config.vocab as u64);
        let held = F32 * (all + 2 * trained); // weights, both moments
        let half = engine.dtype == Dtype::Bf16;
        // Weights in the compute type live as long as the graph does.
        let casts = if half { F32 / 2 * all } else { 0 };
        let counts = Counts::of(job);
        let tokens = job.len as u64;
        let rows = match job.loss {
            Loss::Full => tokens,
            Loss::Answer | Loss::TwoWay => 1,
        };
        let sequence = F32 * (tokens * counts.token + rows * counts.row);
        // In an evaluation nothing stays: the widest moment of a block is inside its MLP.
        let widest = 3 * c + 3 * config.inner as u64;
        let eval = F32 * job.eval_batch * (tokens * widest + 3 * v);
        let largest = tensors.iter().map(size).max().unwrap_or(0);
        let still = held + casts;
        // What leaves the device is in main memory, and of the processor was already.
        let gpu = engine.device != DeviceKind::Cpu;
        let host = |floats: u64| Taken {
            device: still,
            host: F32 * floats,
        };
        let evaluated = Taken {
            device: still + eval,
            host: 0,
        };
        // The weights, as a copy, as the bytes of their tensors, and as a file.
        let written = host(if job.keeps { 3 * all } else { 0 });
        // The weights as a copy, the first ones made anew, and the values of a tensor of
        // both.
        let drift = host(if job.drifts { 2 * (all + largest) } else { 0 });
        // Weights and moments as copies, and the bytes of a tensor. Kept files are mapped.
        let handed_over = host(largest + if gpu { 3 * trained } else { 0 });
        // The weights before they are the network's, or the moments before they are the
        // optimizer's.
        let begun = host(all.max(2 * trained));
        Self {
            step: still + F32 * trained + counts.fixed,
            sequence,
            accumulated: F32 * trained,
            elsewhere: [evaluated, written, drift, handed_over, begun],
            batch: job.batch,
        }
    }

    /// At this micro-batch, with such a memory.
    pub fn taken(&self, micro_batch: u32, free: Free) -> Taken {
        let micro_batch = micro_batch.clamp(1, self.batch.max(1));
        let sum = if micro_batch < self.batch {
            self.accumulated
        } else {
            0
        };
        // Gaps in the heap, as measured: more where gradients outlive the graphs
        // between which they lie.
        let (numerator, denominator) = match sum {
            0 => (11, 10),
            _ => (3, 2),
        };
        let kept = self.sequence * u64::from(micro_batch) * numerator / denominator;
        let step = Taken {
            device: self.step + sum + kept,
            host: 0,
        };
        free.fullest(self.elsewhere.into_iter().chain([step]))
    }

    fn fits(&self, micro_batch: u32, free: Free) -> bool {
        free.holds(self.taken(micro_batch, free))
    }

    /// The largest micro-batch that fits into so much memory.
    pub fn largest(&self, free: Free) -> Option<u32> {
        // Few values, and not quite monotonic: the whole batch needs no sum.
        if self.fits(self.batch, free) {
            return Some(self.batch);
        }
        let (mut fits, mut too_large) = (0, self.batch);
        while too_large - fits > 1 {
            let middle = fits + (too_large - fits) / 2;
            if self.fits(middle, free) {
                fits = middle;
            } else {
                too_large = middle;
            }
        }
        (fits > 0).then_some(fits)
    }

    /// Requires that a micro-batch fits.
    ///
    /// # Errors
    /// If it does not: with the largest one that would.
    pub fn require(&self, micro_batch: u32, free: Free) -> Result<(), JobError> {
        let taken = self.taken(micro_batch, free);
        if free.holds(taken) {
            return Ok(());
        }
        let way_out = match self.largest(free) {
            Some(fits) => format!("`engine: {{micro_batch: {fits}}}` would fit"),
            None => "no micro-batch would fit: take a machine with more memory, a smaller \
                     network, or freeze more of it"
                .to_owned(),
        };
        let text = format!(
            "at micro_batch {micro_batch} this job takes about {}, and {free}; {way_out}",
            free.say(taken)
        );
        Err(JobError::new(FailureReason::OutOfMemory, text))
    }

    /// Adds the way out to an error of a device whose memory ran out all the same.
    pub fn advise(&self, error: JobError, micro_batch: u32, free: Free) -> JobError {
        if error.reason != FailureReason::OutOfMemory {
            return error;
        }
        let half = micro_batch.min(self.batch) / 2;
        // The count said that it would fit, so it is not to be trusted in full.
        let fits = half.min(self.largest(free).unwrap_or(0));
        let way_out = match fits {
            0 => "no smaller micro-batch is left: take a machine with more memory".to_owned(),
            fits => format!("`engine: {{micro_batch: {fits}}}` ought to fit"),
        };
        let taken = free.say(self.taken(micro_batch, free));
        let message = format!(
            "{}; at micro_batch {micro_batch} this job takes about {taken}, {way_out}",
            error.message
        );
        JobError { message, ..error }
    }
}

/// Floats that a step keeps for its backward pass, and needs in it.
struct Counts {
    /// For each token.
    token: u64,
    /// For each row of logits.
    row: u64,
    /// Bytes, once.
    fixed: u64,
}

impl Counts {
    fn of(job: &Job<'_>) -> Self {
        let Job { config, engine, .. } = job;
        let (c, f, v) = (
            config.width as u64,
            config.inner as u64,
            config.vocab as u64,
        );
        let scores = config.heads as u64 * job.len as u64;
        let rows = match job.loss {
            Loss::TwoWay => 2,
            Loss::Answer | Loss::Full => v,
        };
        let sequences = match job.loss {
            Loss::Full => u64::from(job.batch) * job.len as u64,
            Loss::Answer | Loss::TwoWay => u64::from(job.batch),
        };
        // A block keeps nothing if nothing in it or below it trains.
        let lowest = job.trainable.iter().filter(|name| *name != LM_HEAD);
        let lowest = lowest.map(|name| match name.starts_with("ln_f.") {
            true => config.layers,
            false => block_of(name).unwrap_or(0),
        });
        let blocks = (config.layers - lowest.min().unwrap_or(config.layers)) as u64;
        // The last block counts in full, though it may compute one position alone: what
        // it spares in what it keeps, its backward pass takes for what it widens.
        // Halves of what a graph in bf16 keeps, doubled where it keeps f32 all the same.
        let scale = |halves: u64, floats: u64| match engine.dtype {
            Dtype::Bf16 => halves / 2 + floats,
            Dtype::F32 | Dtype::Tf32 => halves + floats,
        };
        match engine.ops {
            // Kept by a block: normed C, packed q k v 3C, heads C, projected C, sum C,
            // normed C, hidden before and after the GELU 2F, projected C, sum C.
            Ops::Fused => Self {
                token: blocks * (10 * c + 2 * f) + 2 * c + 3 * f,
                // x's gradient, and the logits of a piece.
                row: c,
                fixed: F32 * LOGITS_MAX.max(64 * rows).min(rows * sequences),
            },
            // The same an operation at a time. Norms: five each, in f32. Projections with
            // and without bias: 2·3C, 2C, 2F, 2C; q, k, v apart and in order 6C; kᵀ, heads
            // and their order 3C; GELU F; sums 2C; scores in six stages. In bf16 norms are
            // cast there and back.
            Ops::Composite => {
                let casts = if engine.dtype == Dtype::Bf16 {
                    3 * c
                } else {
                    0
                };
                let block = scale(21 * c + 3 * f + 3 * scores, 10 * c + 3 * scores) + casts;
                Self {
                    token: blocks * block + 4 * (c + f),
                    // Logits, their softmax in four stages, and the gradients of these.
                    row: 9 * rows + 6 * c,
                    fixed: 0,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

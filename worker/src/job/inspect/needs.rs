//! What a question about networks takes in memory, counted before any is read.
//!
//! Weights are read into main memory. A network whose activations are read shares them
//! on the processor, but for queries, keys and values, which it takes apart; on a GPU
//! it is a copy, of a tied unembedding too.

use seedbed_proto::job::{Init, Inspect, Question};
use seedbed_proto::result::FailureReason;

use crate::gpt2::{Config, init};
use crate::job::JobError;
use crate::memory::{Free, Taken};

const F32: u64 = size_of::<f32>() as u64;

/// The shapes of the networks that a question is about: each says by itself whether
/// its unembedding is tied.
pub struct Needs<'a> {
    /// The question.
    pub job: &'a Inspect,
    /// Of the base.
    pub base: &'a Config,
    /// Of the network under study.
    pub subject: &'a Config,
    /// Of those that it is compared with.
    pub others: Vec<&'a Config>,
    /// Whether tensors are computed elsewhere than in main memory.
    pub gpu: bool,
}

/// Whether the base's weights are looked at, or begin what is.
pub fn reads_base(job: &Inspect) -> bool {
    let begins = job.question.needs_origin() && job.subject.init != Init::Scratch;
    job.question.needs_base() || begins
}

impl Needs<'_> {
    /// At the fullest moment, with so much for activations.
    pub fn taken(&self, activations_mib: u32, free: Free) -> Taken {
        let read = host(self.read());
        // The bytes of a tensor, or its values, beside it.
        let reading = host(self.largest());
        let asking = self.asking(u64::from(activations_mib) << 20);
        free.fullest([reading, asking].map(|more| read.plus(more)))
    }

    /// Requires that the networks fit beside the activations.
    ///
    /// # Errors
    /// If they do not: with the way out.
    pub fn require(&self, free: Free) -> Result<(), JobError> {
        let fits = |mib: u32| free.holds(self.taken(mib, free));
        let (question, mib) = (self.job.question, self.job.memory_mib);
        if fits(mib) {
            return Ok(());
        }
        let of_them = match question {
            Question::Drift => String::new(),
            _ => format!(", {mib} MiB of them for activations"),
        };
        let way_out = match (1..mib).rev().find(|&mib| fits(mib)) {
            Some(mib) => format!("lower `inspect.memory_mib` to {mib}, or take"),
            None => "take".to_owned(),
        };
        let text = format!(
            "{question} takes about {}{of_them}, and {free}; {way_out} a machine with more memory",
            free.say(self.taken(mib, free))
        );
        Err(JobError::new(FailureReason::OutOfMemory, text))
    }

    /// Bytes of all weights that are read, and of θ⁰ what the base does not hold.
    fn read(&self) -> u64 {
        let base = reads_base(self.job).then_some(self.base);
        let networks = self
            .others
            .iter()
            .copied()
            .chain([self.subject])
            .chain(base);
        let subject = &self.job.subject;
        let origin = match self.job.question.needs_origin() {
            true => init::own_numbers(self.base, subject.init, subject.untie) as u64,
            false => 0,
        };
        networks.map(weights).sum::<u64>() + F32 * origin
    }

    /// Beside these, while the question is answered.
    fn asking(&self, activations: u64) -> Taken {
        let on_device = |bytes: u64| Taken {
            device: bytes,
            host: 0,
        };
        // Matrices of activations are made in main memory, of batches from the device.
        let matrices = Taken {
            device: if self.gpu { activations } else { 0 },
            host: activations,
        };
        let activations = on_device(activations);
        let (base, subject) = (self.hooked(self.base), self.hooked(self.subject));
        let others = self.others.iter().map(|config| self.hooked(config));
        match self.job.question {
            Question::Patching | Question::Lens => on_device(subject).plus(activations),
            Question::Tdr => on_device(subject).plus(matrices),
            Question::Reversion => {
                let mut origin = self.base.clone();
                if self.job.subject.untie {
                    origin = origin.untied();
                }
                // A head's network has a block's attention of its own.
                let mixed = 4 * F32 * (origin.width * origin.width) as u64;
                on_device(subject + self.hooked(&origin) + mixed).plus(activations)
            }
            Question::Transplant => {
                let other = others.chain([base]).max().unwrap_or(0);
                // One on the line between two shares nothing with them. While it is made
                // it needs two more of its largest tensor; then its ends are compared.
                let between = weights(&self.base.clone().untied());
                let twice = 2 * self.largest();
                let still = on_device(subject + other + between);
                let compared = host(if self.gpu { twice } else { 0 });
                let most = on_device(twice.max(activations.device));
                still.plus(most).plus(compared)
            }
            Question::Probes => {
                let random = host(weights(self.subject));
                on_device(2 * subject + base).plus(matrices).plus(random)
            }
            Question::Similarity => {
                let all = subject + base + others.sum::<u64>();
                on_device(all).plus(matrices)
            }
            // Values of a tensor of both sides; or those of a matrix, and their
            // differences in f64.
            Question::Drift => {
                let matrix = F32 * (self.base.width * self.base.inner) as u64;
                host((2 * self.largest()).max(4 * matrix))
            }
        }
    }

    /// Bytes of a network for hooks, beside its weights in main memory.
    fn hooked(&self, config: &Config) -> u64 {
        let packed = 3 * config.width * (config.width + 1);
        match self.gpu {
            true => weights(&config.clone().untied()),
            false => F32 * (config.layers * packed) as u64,
        }
    }

    /// Bytes of the largest tensor.
    fn largest(&self) -> u64 {
        let size = |(_, shape): (_, Vec<usize>)| shape.iter().product::<usize>() as u64;
        F32 * self.base.tensors().into_iter().map(size).max().unwrap_or(0)
    }
}

fn host(bytes: u64) -> Taken {
    Taken {
        device: 0,
        host: bytes,
    }
}

/// Bytes of a network's own tensors.
fn weights(config: &Config) -> u64 {
    let size = |(_, shape): (_, Vec<usize>)| shape.iter().product::<usize>() as u64;
    F32 * config.tensors().into_iter().map(size).sum::<u64>()
}

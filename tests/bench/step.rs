//! Training steps on demand, for `tests/bench/run` to time beside a peer's.
//!
//! Each line on standard input is a number of steps; it is answered by a line of
//! JSON with their processor time, their wall time and the last loss. The end of
//! the input is answered by the peak memory.

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::Context;
use candle_core::{Device, Tensor};
use seedbed_proto::job::{Dtype, Frozen, Init, Loss, Ops, Optim, Schedule, Shape};
use seedbed_worker::gpt2::{Config, Entry, Gpt2, init, trainable};
use seedbed_worker::memory;
use seedbed_worker::train::guards::{Gradients, finite_loss, finite_norm};
use seedbed_worker::train::optimizer::{AdamW, Target};

fn main() -> anyhow::Result<()> {
    memory::keep_pages();
    let mut trainer = Trainer::new(&Options::read()?)?;
    for line in std::io::stdin().lock().lines() {
        let steps: u32 = line?.trim().parse().context("a number of steps")?;
        let (cpu, wall) = (cpu_secs(), Instant::now());
        let mut loss = f64::NAN;
        for _ in 0..steps {
            loss = trainer.step()?;
        }
        answer(&serde_json::json!({
            "cpu_secs": cpu_secs() - cpu,
            "wall_secs": wall.elapsed().as_secs_f64(),
            "loss": loss,
        }))?;
    }
    answer(&serde_json::json!({ "peak_mib": peak_mib() }))
}

fn answer(line: &serde_json::Value) -> anyhow::Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

/// What is trained, as `key=value` arguments; the peer takes the same.
struct Options {
    shape: Shape,
    vocab: u32,
    batch: usize,
    tokens: usize,
    loss: Loss,
    frozen: Frozen,
}

impl Options {
    fn read() -> anyhow::Result<Self> {
        // Cargo adds `--bench`.
        let args: Vec<String> = std::env::args().skip(1).collect();
        let find = |key: &str| {
            let value = args.iter().find_map(|a| a.strip_prefix(&format!("{key}=")));
            value.with_context(|| format!("{key}=… is missing"))
        };
        let number = |key: &str| Ok::<u32, anyhow::Error>(find(key)?.parse()?);
        let frozen = number("frozen_blocks")?;
        Ok(Self {
            shape: Shape {
                layers: number("layers")?,
                heads: number("heads")?,
                width: number("width")?,
                positions: number("positions")?,
            },
            vocab: number("vocab")?,
            batch: number("batch")? as usize,
            tokens: number("tokens")? as usize,
            loss: serde_json::from_value(find("loss")?.into())?,
            frozen: if frozen == 0 {
                Frozen::None
            } else {
                Frozen::Prefix(frozen)
            },
        })
    }
}

struct Trainer {
    model: Gpt2,
    targets: Vec<Target>,
    adamw: AdamW,
    loss: Loss,
    entry: Entry,
    next: Tensor,
    answers: Tensor,
    steps: u64,
}

/// As the peer's.
const LEARNING_RATE: f64 = 1e-4;

impl Trainer {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let config = Config::new(&options.shape, options.vocab)?;
        let weights = init::weights(&config, Init::Scratch, None, 0, false)?;
        let trainable = trainable(&config, &options.frozen, false)?;
        let (ops, dtype) = (Ops::Fused, Dtype::F32);
        let model = Gpt2::new(&config, &weights, &trainable, ops, dtype, &Device::Cpu)?;
        let targets: Vec<Target> = (model.params().iter())
            .filter_map(|param| {
                Some(Target {
                    name: param.name.clone(),
                    var: param.var.clone()?,
                    decay: param.decay,
                    rate: 1.0,
                })
            })
            .collect();
        let optim = Optim {
            steps: u64::MAX,
            batch: u32::try_from(options.batch)?,
            learning_rate: LEARNING_RATE,
            schedule: Schedule::Constant,
            warmup: 0,
            clip: 1.0,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            loss: options.loss,
            eval_every: u64::MAX,
            dropout: 0.0,
            layer_decay: 1.0,
        };
        let (b, t) = (options.batch, options.tokens);
        // Any ids will do: the time does not depend on them.
        let id = |i: usize| (i as u32).wrapping_mul(2_654_435_761) % options.vocab;
        let ids: Vec<u32> = (0..b * t).map(id).collect();
        let next: Vec<u32> = (1..=b * t).map(id).collect();
        let last: Vec<u32> = (1..=b).map(|row| id(row * t)).collect();
        let ids = Tensor::from_vec(ids, (b, t), &Device::Cpu)?;
        // What training keeps of a fixed set of prompts under frozen blocks.
        let entry = match model.frozen_blocks() {
            0 => Entry::Ids(ids),
            block => Entry::Stream {
                x: model.stream(&ids, block)?,
                block,
            },
        };
        Ok(Self {
            adamw: AdamW::new(&optim, &targets)?,
            loss: options.loss,
            entry,
            next: Tensor::from_vec(next, (b, t), &Device::Cpu)?,
            answers: Tensor::from_vec(last, b, &Device::Cpu)?,
            targets,
            model,
            steps: 0,
        })
    }

    /// All that the training loop does for one update.
    fn step(&mut self) -> anyhow::Result<f64> {
        let graph = match self.loss {
            Loss::Full => self.model.full_loss(self.entry.clone(), &self.next)?,
            _ => self.model.answer_loss(self.entry.clone(), &self.answers)?,
        };
        let loss = f64::from(graph.to_scalar::<f32>()?);
        let gradients = Gradients::of(&self.model, &graph)?;
        finite_loss(loss, self.steps, &self.targets)?;
        let norm = gradients.norm()?;
        finite_norm(&norm, self.steps, &self.targets)?;
        self.adamw
            .update(&self.targets, &gradients, &norm, LEARNING_RATE)?;
        self.steps += 1;
        Ok(loss)
    }
}

fn usage() -> libc::rusage {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the call fills the structure that it is given, or fails, which it
    // does not for this process.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    }
}

/// Processor time of all threads.
fn cpu_secs() -> f64 {
    let usage = usage();
    let secs = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    secs(usage.ru_utime) + secs(usage.ru_stime)
}

fn peak_mib() -> f64 {
    usage().ru_maxrss as f64 / 1024.0
}

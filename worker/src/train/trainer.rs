//! The loop: batch, loss, gradient, update; measures and checkpoints in between.
//!
//! A run is a function of its spec alone. Batches are pure functions of (seed,
//! step), so there is no generator to save; gradients are added in the order of
//! the micro-batches; and a checkpoint holds all the rest. So a run that was
//! stopped anywhere and resumed ends with the bits of one that was not.

use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use seedbed_proto::JobKey;
use seedbed_proto::job::Optim;
use seedbed_proto::result::{FailureReason, Metric, Note};

use crate::gpt2::Gpt2;
use crate::job::{Directive, JobError, Progress, RunContext};
use crate::train::checkpoint::{Checkpoint, CheckpointError, Kept, Point, Record};
use crate::train::error::TrainError;
use crate::train::guards::{Gradients, finite_loss, finite_norm};
use crate::train::layer_decay::share;
use crate::train::optimizer::{AdamW, Target};
use crate::train::schedule::learning_rate;

/// What is learned: where batches come from and what is measured on the way.
pub trait Course {
    /// All sequences of one update.
    type Batch;

    /// The batch of update `step`: a pure function of it.
    ///
    /// # Errors
    /// If it can't be made.
    fn batch(&self, step: u64) -> Result<Self::Batch, TrainError>;

    /// Mean loss over some of the sequences of update `step`'s batch, as a graph.
    ///
    /// # Errors
    /// If the model can't run them.
    fn loss(
        &self,
        model: &Gpt2,
        batch: &Self::Batch,
        step: u64,
        rows: Range<usize>,
    ) -> Result<Tensor, TrainError>;

    /// Called once at every step, also at 0 and at the last one: measures what is
    /// due, and keeps files (in [`Visit::dir`], through [`Visit::keep`]).
    ///
    /// # Errors
    /// [`Halt`], handed on from [`Visit::pulse`], or a failure.
    fn visit(&self, model: &Gpt2, visit: &mut Visit<'_>) -> Result<Vec<Metric>, Halt>;
}

/// The loop stands between two updates.
pub struct Visit<'a> {
    /// Updates made.
    pub step: u64,
    /// Whether an evaluation is due.
    pub due: bool,
    /// Whether it is the end.
    pub last: bool,
    /// Where files of the result are written.
    pub dir: &'a Path,
    kept: &'a mut Vec<String>,
    notes: &'a mut Vec<Note>,
    pulse: &'a mut dyn FnMut() -> Result<(), Halt>,
}

impl Visit<'_> {
    /// To be called between the pieces of long work, so that the job can be
    /// stopped, or handed over, in the middle of it.
    ///
    /// # Errors
    /// [`Halt`]: to be handed on at once.
    pub fn pulse(&mut self) -> Result<(), Halt> {
        (self.pulse)()
    }

    /// Declares a file in [`Self::dir`] part of the result; checkpoints carry it.
    pub fn keep(&mut self, name: &str) {
        if !self.has(name) {
            self.kept.push(name.to_owned());
        }
    }

    /// Says what the result lacks, and why. Only what is said on the last visit
    /// stays: on the way there most is not yet what it will be.
    pub fn note(&mut self, notes: impl IntoIterator<Item = Note>) {
        self.notes.extend(notes);
    }

    /// Whether a file was kept before.
    pub fn has(&self, name: &str) -> bool {
        self.kept.iter().any(|kept| kept == name)
    }
}

/// Why the loop is left early.
#[derive(Debug)]
pub enum Halt {
    /// A directive said so; the checkpoint, if one was asked for, is handed over.
    Stopped,
    /// It can't go on.
    Failed(TrainError),
}

impl<E: Into<TrainError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// How a run is made, besides what it learns.
pub struct Settings<'a> {
    /// Whose checkpoints these are.
    pub key: JobKey,
    /// The optimizer's numbers.
    pub optim: &'a Optim,
    /// Most sequences in one forward and backward pass.
    pub micro_batch: usize,
    /// Metric of the evaluations that people watch: split and name.
    pub live: (&'static str, &'static str),
}

/// A run that came to its end.
pub struct Trained {
    /// What was measured.
    pub record: Record,
    /// Files in the work directory that belong to the result.
    pub kept: Vec<String>,
    /// What the last visit said that the result lacks.
    pub notes: Vec<Note>,
    /// The step from which this run started.
    pub resumed_from_step: u64,
}

/// Trains `model` until its last step, or until the host stops it (`None`).
///
/// With a checkpoint, `model` must have been made from its weights.
///
/// # Errors
/// If the job fails; what lies in the work directory then means nothing.
pub fn train<C: Course>(
    course: &C,
    model: &Gpt2,
    settings: &Settings<'_>,
    ctx: &RunContext<'_>,
    resume: Option<Checkpoint<'static>>,
) -> Result<Option<Trained>, JobError> {
    let mut run = Run::new(model, settings, ctx, resume)?;
    let resumed_from_step = run.record.step;
    match run.until_last(course) {
        Ok(()) => Ok(Some(Trained {
            record: run.record,
            kept: run.kept,
            notes: run.notes,
            resumed_from_step,
        })),
        Err(Halt::Stopped) => Ok(None),
        Err(Halt::Failed(error)) => Err(error.into()),
    }
}

/// The parameters that train, in the order of their names.
fn targets(model: &Gpt2, layer_decay: f64) -> Vec<Target> {
    let layers = model.config().layers;
    let target = |param: &crate::gpt2::Param| {
        Some(Target {
            name: param.name.clone(),
            var: param.var.clone()?,
            decay: param.decay,
            rate: share(&param.name, layers, layer_decay),
        })
    };
    model.params().iter().filter_map(target).collect()
}

struct Run<'a> {
    model: &'a Gpt2,
    settings: &'a Settings<'a>,
    ctx: &'a RunContext<'a>,
    targets: Vec<Target>,
    adamw: AdamW,
    record: Record,
    kept: Vec<String>,
    notes: Vec<Note>,
}

impl<'a> Run<'a> {
    fn new(
        model: &'a Gpt2,
        settings: &'a Settings<'a>,
        ctx: &'a RunContext<'a>,
        resume: Option<Checkpoint<'static>>,
    ) -> Result<Self, TrainError> {
        let targets = targets(model, settings.optim.layer_decay);
        let mut run = Self {
            adamw: AdamW::new(settings.optim, &targets)?,
            model,
            settings,
            ctx,
            targets,
            record: Record::default(),
            kept: vec![],
            notes: vec![],
        };
        if let Some(mut checkpoint) = resume {
            let moments = (run.targets.iter())
                .filter_map(|target| checkpoint.moments.remove(&target.name))
                .map(Cow::into_owned)
                .collect();
            run.adamw
                .restore(&run.targets, moments, checkpoint.record.step)?;
            run.record = checkpoint.record;
            for (name, kept) in checkpoint.kept {
                let path = ctx.work_dir.join(&name);
                fs::write(&path, kept.bytes()).map_err(|e| unwritable(&path, &e))?;
                run.kept.push(name);
            }
        }
        Ok(run)
    }

    fn until_last<C: Course>(&mut self, course: &C) -> Result<(), Halt> {
        loop {
            if !self.record.measured {
                self.visit(course)?;
            }
            let last = self.record.step >= self.settings.optim.steps;
            match self.ctx.host.step(&self.progress()) {
                Directive::Stop => return Err(Halt::Stopped),
                // What is left is less work than a checkpoint.
                _ if last => return Ok(()),
                directive => self.obey(directive)?,
            }
            self.update(course)?;
        }
    }

    /// Measures what is due. A stop in the middle leaves the record as it was,
    /// not measured; whoever resumes measures afresh.
    fn visit<C: Course>(&mut self, course: &C) -> Result<(), Halt> {
        let optim = self.settings.optim;
        let step = self.record.step;
        let last = step >= optim.steps;
        let due = last || step == 0 || step.checked_rem(optim.eval_every) == Some(0);
        let mut kept = self.kept.clone();
        let mut notes = vec![];
        let this = &*self;
        let mut visit = Visit {
            step,
            due,
            last,
            dir: &this.ctx.work_dir,
            kept: &mut kept,
            notes: &mut notes,
            pulse: &mut || this.obey(this.ctx.host.step(&this.progress())),
        };
        let metrics = course.visit(this.model, &mut visit)?;
        if due {
            self.record.metrics.extend(this_training(&self.record));
        }
        self.record.metrics.extend(metrics);
        self.record.measured = true;
        self.kept = kept;
        self.notes = notes;
        Ok(())
    }

    fn update<C: Course>(&mut self, course: &C) -> Result<(), TrainError> {
        let step = self.record.step;
        let rate = learning_rate(self.settings.optim, step);
        let (loss, gradients) = self.gradients(course, step)?;
        finite_loss(loss, step, &self.targets)?;
        let norm = gradients.norm()?;
        finite_norm(&norm, step, &self.targets)?;
        self.adamw.update(&self.targets, &gradients, &norm, rate)?;
        self.record.curve.push(Point {
            loss,
            learning_rate: rate,
            grad_norm: norm.total,
        });
        self.record.step += 1;
        self.record.measured = false;
        Ok(())
    }

    /// Loss and gradient of the whole batch, a micro-batch at a time.
    fn gradients<C: Course>(&self, course: &C, step: u64) -> Result<(f64, Gradients), TrainError> {
        let batch = course.batch(step)?;
        let rows = self.settings.optim.batch as usize;
        let piece = self.settings.micro_batch.clamp(1, rows);
        let mut sum: Option<(f64, Gradients)> = None;
        for from in (0..rows).step_by(piece) {
            let to = rows.min(from + piece);
            let graph = course.loss(self.model, &batch, step, from..to)?;
            let loss = f64::from(graph.to_scalar::<f32>()?);
            let gradients = Gradients::of(self.model, &graph)?;
            // Pieces may differ in length: each weighs by its sequences.
            let weight = (to - from) as f64 / rows as f64;
            sum = Some(match sum {
                None if to == rows => (loss, gradients),
                None => (loss * weight, gradients.scaled(weight)?),
                Some((total, before)) => (total + loss * weight, before.plus(gradients, weight)?),
            });
        }
        Ok(sum.expect("a batch has at least one sequence, checked when the sweep was read"))
    }

    fn obey(&self, directive: Directive) -> Result<(), Halt> {
        match directive {
            Directive::Continue => Ok(()),
            Directive::Checkpoint => Ok(self.hand_over()?),
            Directive::CheckpointAndStop => {
                self.hand_over()?;
                Err(Halt::Stopped)
            }
            Directive::Stop => Err(Halt::Stopped),
        }
    }

    fn hand_over(&self) -> Result<(), TrainError> {
        let path = self.ctx.work_dir.join("checkpoint.safetensors");
        let weight = |target: &Target| {
            let tensor = target.var.as_detached_tensor().to_device(&Device::Cpu)?;
            Ok((target.name.clone(), tensor.contiguous()?))
        };
        let names = self.targets.iter().map(|target| target.name.clone());
        let mut checkpoint = Checkpoint {
            record: self.record.clone(),
            weights: (self.targets.iter().map(weight)).collect::<candle_core::Result<_>>()?,
            moments: names.zip(self.adamw.moments()?).collect(),
            kept: Default::default(),
        };
        for name in &self.kept {
            let path = self.ctx.work_dir.join(name);
            // SAFETY: what is kept lies in the attempt's own directory, and is whole.
            let kept = unsafe { Kept::file(&path) };
            let kept = kept.map_err(|source| CheckpointError::Io { path, source })?;
            checkpoint.kept.insert(name.clone(), kept);
        }
        checkpoint.write(self.settings.key, &path)?;
        Ok(self.ctx.host.checkpoint(self.record.step, &path)?)
    }

    fn progress(&self) -> Progress {
        let (split, name) = self.settings.live;
        let newest = |m: &&Metric| m.split == split && m.name == name;
        let metric = self.record.metrics.iter().rev().find(newest);
        Progress {
            step: self.record.step,
            steps_total: self.settings.optim.steps,
            live: metric.map(|m| (format!("{split}.{name}"), m.value)),
        }
    }
}

/// Means of the updates since the evaluation before, and the last rate.
fn this_training(record: &Record) -> Vec<Metric> {
    let before = (record.metrics.iter().rev()).find(|m| m.split == "train");
    let from = before.map_or(0, |m| m.step as usize);
    let Some(points @ [.., last]) = record.curve.get(from..) else {
        return vec![];
    };
    let mean =
        |value: fn(&Point) -> f64| points.iter().map(value).sum::<f64>() / points.len() as f64;
    let metric = |name, value| Metric::of("train", record.step, name, value);
    vec![
        metric("loss", mean(|p| p.loss)),
        metric("grad_norm", mean(|p| p.grad_norm)),
        metric("learning_rate", last.learning_rate),
    ]
}

/// Writes `curve.csv`: one line per update, numbers in their shortest exact form.
///
/// # Errors
/// If the file can't be written.
pub fn write_curve(curve: &[Point], dir: &Path) -> Result<PathBuf, JobError> {
    let mut text = String::from("step,loss,lr,grad_norm\n");
    for (step, p) in curve.iter().enumerate() {
        text += &format!("{step},{},{},{}\n", p.loss, p.learning_rate, p.grad_norm);
    }
    let path = dir.join("curve.csv");
    fs::write(&path, text).map_err(|e| unwritable(&path, &e))?;
    Ok(path)
}

/// A file of the work directory that can't be written.
pub fn unwritable(path: &Path, error: &std::io::Error) -> JobError {
    JobError::new(
        FailureReason::Environment,
        format!("can't write {}: {error}", path.display()),
    )
}

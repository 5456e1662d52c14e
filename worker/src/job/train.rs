//! Train: one network learns the task, and its behaviour is measured.

use std::collections::BTreeSet;
use std::ops::Range;

use candle_core::Tensor;
use seedbed_proto::job::{Init, JobSpec, Keep, Loss, Optim, Train};
use seedbed_proto::result::Metric;

use crate::behaviour;
use crate::gpt2::{self, Config, Dropout, Entry, Gpt2, Weights};
use crate::job::pretrain::read_tokenizer;
use crate::job::{Directive, Inputs, JobError, Outcome, Output, Progress, RunContext};
use crate::mechanism::drift::{Moved, SPLIT, drift};
use crate::task::{Batch, EvalSplit, Prepared};
use crate::train::error::TrainError;
use crate::train::evaluate::{self, readouts};
use crate::train::footprint::{self, Footprint};
use crate::train::prefix::{Shelf, Streams};
use crate::train::resume;
use crate::train::trainer::{Course, Halt, Settings, Visit, train, write_curve};

/// Validation accuracy at which two arms count as matched.
const MATCHED: f64 = 0.95;

/// The file of [`Keep::Matched`].
const MATCHED_FILE: &str = "matched.safetensors";

/// Runs the job.
///
/// # Errors
/// If an input is wrong, or the training fails.
pub fn run(
    spec: &JobSpec,
    job: &Train,
    inputs: &Inputs,
    ctx: &RunContext<'_>,
) -> Result<Outcome, JobError> {
    let config = Config::read(inputs.file("config.json")?)?;
    let tokenizer = read_tokenizer(inputs.file("tokenizer.json")?)?;
    let task = Prepared::new(&job.task, &tokenizer, config.positions)
        .map_err(|error| JobError::invalid(error.to_string()))?;
    let trainable = gpt2::trainable(&config, &job.frozen, job.untie)?;
    let footprint = Footprint::of(&footprint::Job {
        config: &config,
        trainable: &trainable,
        engine: spec.engine,
        len: task.prompt_len(),
        batch: job.optim.batch,
        loss: job.optim.loss,
        eval_batch: evaluate::BATCH.min(job.task.eval_trials as usize) as u64,
        keeps: job.keep != Keep::None,
        drifts: true,
    });
    let micro_batch = spec.engine.micro_batch;
    footprint.require(micro_batch, ctx.free)?;
    learn(spec, job, inputs, ctx, &config, &trainable, task)
        .map_err(|error| footprint.advise(error, micro_batch, ctx.free))
}

/// The part that needs memory.
fn learn(
    spec: &JobSpec,
    job: &Train,
    inputs: &Inputs,
    ctx: &RunContext<'_>,
    config: &Config,
    trainable: &BTreeSet<String>,
    task: Prepared,
) -> Result<Outcome, JobError> {
    let mut weights = initial_weights(job, config, inputs)?;
    let key = spec.key();
    let checkpoint = resume::open(inputs, key, trainable, &mut weights);
    let engine = spec.engine;
    let model = Gpt2::new(
        config,
        &weights,
        trainable,
        engine.ops,
        engine.dtype,
        &ctx.device,
    )?;
    drop(weights);

    let at = checkpoint.as_ref().map_or(0, |c| c.record.step);
    let start = || initial_weights(job, config, inputs);
    let course = match Learning::new(task, job, &model, ctx, at, &start) {
        Ok(course) => course,
        Err(Halt::Stopped) => return Ok(Outcome::Stopped),
        Err(Halt::Failed(error)) => return Err(error.into()),
    };
    let settings = Settings {
        key,
        optim: &job.optim,
        micro_batch: engine.micro_batch as usize,
        live: ("val", "incongruent_accuracy"),
    };
    let Some(trained) = train(&course, &model, &settings, ctx, checkpoint)? else {
        return Ok(Outcome::Stopped);
    };

    let mut names = trained.kept;
    write_curve(&trained.record.curve, &ctx.work_dir)?;
    names.push("curve.csv".to_owned());
    if job.keep != Keep::None {
        model.config().write(&ctx.work_dir.join("config.json"))?;
        let path = ctx.work_dir.join("model.safetensors");
        gpt2::weights::write(&path, &model.weights()?)?;
        names.extend(["config.json", "model.safetensors"].map(String::from));
    }
    names.sort_unstable();
    let file = |name: String| {
        let path = ctx.work_dir.join(&name);
        (name, path)
    };
    Ok(Outcome::Finished(Output {
        metrics: trained.record.metrics,
        files: names.into_iter().map(file).collect(),
        notes: [course.task.notes(), &trained.notes].concat(),
        resumed_from_step: trained.resumed_from_step,
    }))
}

fn initial_weights(job: &Train, config: &Config, inputs: &Inputs) -> Result<Weights, JobError> {
    let base = match job.init {
        // The twin needs the base's shape and tokenizer only.
        Init::Scratch => None,
        _ => Some(gpt2::weights::read(inputs.weights()?, config)?),
    };
    Ok(gpt2::init::weights(
        config,
        job.init,
        base.as_ref(),
        job.seed,
        job.untie,
    )?)
}

/// Learning a task.
struct Learning<'a> {
    task: Prepared,
    job: &'a Train,
    /// Of the fixed training set, where blocks below stay as they are.
    train_streams: Option<Streams>,
    /// Of each evaluation split.
    eval_streams: Vec<Option<Streams>>,
    /// Makes the weights with which the run started anew: they are needed a few times
    /// in a run, and would be as large as the network.
    start: Start<'a>,
}

type Start<'a> = &'a dyn Fn() -> Result<Weights, JobError>;

impl Course for Learning<'_> {
    type Batch = Batch;

    fn batch(&self, step: u64) -> Result<Batch, TrainError> {
        let batch = self.job.optim.batch as usize;
        Ok(self.task.train_batch(self.job.seed, step, batch))
    }

    fn loss(
        &self,
        model: &Gpt2,
        batch: &Batch,
        step: u64,
        rows: Range<usize>,
    ) -> Result<Tensor, TrainError> {
        let (device, t) = (model.device(), batch.len);
        let prompts = &batch.ids[rows.start * t..rows.end * t];
        let right: Vec<u32> = batch.right[rows.clone()]
            .iter()
            .map(|&r| u32::from(r))
            .collect();
        let pair = self.task.answers();
        let answers: Vec<u32> = right.iter().map(|&r| pair[r as usize]).collect();
        let Optim { loss, dropout, .. } = self.job.optim;
        let dropout = Dropout::new(dropout, self.job.seed, step, rows.start);
        let ids = || Tensor::from_slice(prompts, (rows.len(), t), device); // (B, T)
        let entry = match (dropout, &self.train_streams, &batch.places) {
            (Some(dropout), ..) => Entry::Dropping(ids()?, dropout),
            (None, Some(streams), Some(places)) => {
                streams.rows(places[rows.clone()].iter().copied(), device)?
            }
            (None, ..) => Entry::Ids(ids()?),
        };
        Ok(match loss {
            Loss::Answer => {
                let answers = Tensor::from_vec(answers, rows.len(), device)?; // (B)
                model.answer_loss(entry, &answers)?
            }
            Loss::TwoWay => {
                let right = Tensor::from_vec(right, rows.len(), device)?; // (B)
                model.two_way_loss(entry, &right, pair)?
            }
            Loss::Full => {
                let next = |(prompt, answer): (&[u32], u32)| {
                    prompt[1..]
                        .iter()
                        .copied()
                        .chain([answer])
                        .collect::<Vec<_>>()
                };
                let targets: Vec<u32> = prompts.chunks(t).zip(answers).flat_map(next).collect();
                let targets = Tensor::from_vec(targets, (rows.len(), t), device)?; // (B, T)
                model.full_loss(entry, &targets)?
            }
        })
    }

    fn visit(&self, model: &Gpt2, visit: &mut Visit<'_>) -> Result<Vec<Metric>, Halt> {
        let keeps = match &self.job.keep {
            Keep::All => is_milestone(visit.step),
            Keep::Steps(steps) => steps.contains(&visit.step),
            Keep::None | Keep::Final | Keep::Matched => false,
        };
        if keeps {
            save(model, visit, &format!("step_{:08}.safetensors", visit.step))?;
        }
        let mut metrics = vec![];
        if visit.step > 0 && (is_milestone(visit.step) || visit.last) {
            metrics.extend(self.drift(model, visit.step)?);
        }
        if !visit.due {
            return Ok(metrics);
        }
        for (split, streams) in self.task.eval_splits().iter().zip(&self.eval_streams) {
            let is_val = split.name == "val";
            if is_val || visit.last {
                metrics.extend(self.measure(model, split, streams.as_ref(), visit)?);
            }
            // The shortcuts depend on the split alone: once is enough.
            if if is_val { visit.step == 0 } else { visit.last } {
                metrics.extend(behaviour::floors(split));
            }
        }
        let keeps = matches!(self.job.keep, Keep::Matched | Keep::All);
        if keeps && !visit.has(MATCHED_FILE) && accuracy(&metrics) >= MATCHED {
            save(model, visit, MATCHED_FILE)?;
        }
        Ok(metrics)
    }
}

impl<'a> Learning<'a> {
    /// `step` is where the run stands: the host is asked between two batches
    /// whether to go on.
    fn new(
        task: Prepared,
        job: &'a Train,
        model: &Gpt2,
        ctx: &RunContext<'_>,
        step: u64,
        start: Start<'a>,
    ) -> Result<Self, Halt> {
        let shelf = Shelf::new(ctx.shared_dir.join("streams"), ctx.shared_bytes_max);
        let progress = Progress {
            step,
            steps_total: job.optim.steps,
            live: None,
        };
        let mut pulse = || match ctx.host.step(&progress) {
            // Nothing is done yet that a checkpoint could hold.
            Directive::Continue | Directive::Checkpoint => Ok(()),
            Directive::CheckpointAndStop | Directive::Stop => Err(Halt::Stopped),
        };
        let len = task.prompt_len();
        let train_streams = match task.fixed_ids() {
            // What is dropped below differs from step to step.
            Some(_) if job.optim.dropout > 0.0 => None,
            Some(ids) => shelf.streams(model, &ids, len, &mut pulse)?,
            None => None,
        };
        // The other splits are measured once a job, so keeping theirs gains nothing.
        let kept = |split: &EvalSplit| matches!(split.name, "val" | "test_iid");
        let splits = task.eval_splits().iter();
        let eval_streams = splits
            .map(|split| match kept(split) {
                true => shelf.streams(model, &split.ids, len, &mut pulse),
                false => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            task,
            job,
            train_streams,
            eval_streams,
            start,
        })
    }

    /// How far each component moved from where the run started.
    fn drift(&self, model: &Gpt2, step: u64) -> Result<Vec<Metric>, TrainError> {
        let moved = drift(model.config(), &(self.start)()?, &model.weights()?)?;
        let metric = |moved: Moved| Metric {
            layer: moved.layer.map(|layer| layer as u32),
            ..Metric::of(
                SPLIT,
                step,
                &format!("drift.{}", moved.name),
                moved.relative,
            )
        };
        Ok(moved.into_iter().map(metric).collect())
    }

    fn measure(
        &self,
        model: &Gpt2,
        split: &EvalSplit,
        streams: Option<&Streams>,
        visit: &mut Visit<'_>,
    ) -> Result<Vec<Metric>, Halt> {
        let (len, answers) = (split.prompt_len, split.answers);
        let rows = readouts(model, &split.ids, len, streams, answers, &mut || {
            visit.pulse()
        })?;
        let mut metrics = behaviour::measure(split, answers, &rows, visit.step);
        let found = behaviour::psychometrics(split, &rows, visit.step);
        metrics.extend(found.metrics);
        let bins = &self.job.task.bins;
        metrics.extend(behaviour::binned(split, bins, answers, &rows, visit.step));
        visit.note(found.notes);
        Ok(metrics)
    }
}

fn accuracy(metrics: &[Metric]) -> f64 {
    let found = metrics
        .iter()
        .find(|m| m.split == "val" && m.name == "accuracy");
    found.map_or(f64::NAN, |m| m.value)
}

/// 0, 10, 30, 100, 300, 1000 …
fn is_milestone(step: u64) -> bool {
    let mut rest = step;
    while rest > 0 && rest.is_multiple_of(10) {
        rest /= 10;
    }
    step == 0 || (step >= 10 && (rest == 1 || rest == 3))
}

fn save(model: &Gpt2, visit: &mut Visit<'_>, name: &str) -> Result<(), TrainError> {
    gpt2::weights::write(&visit.dir.join(name), &model.weights()?)?;
    visit.keep(name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones() {
        let all: Vec<u64> = (0..20_000).filter(|&step| is_milestone(step)).collect();
        assert_eq!(all, [0, 10, 30, 100, 300, 1000, 3000, 10_000]);
    }
}

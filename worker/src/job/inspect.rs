//! Inspect: one question about finished networks, answered.
//!
//! The files of a network stand under `subject/` and `other/0/`, `other/1/` …,
//! those of the base as for a training. θ⁰ is made anew from the run's start, for
//! the questions that need it: it is never stored.

mod needs;

use std::path::Path;

use safetensors::tensor::TensorView;
use seedbed_proto::job::{Inspect, JobSpec, Network, Question, pairing};
use seedbed_proto::result::FailureReason;

use crate::gpt2::{self, Config, Weights};
use crate::job::pretrain::read_tokenizer;
use crate::job::{Directive, Inputs, JobError, Outcome, Output, Progress, RunContext};
use crate::mechanism::{self, Answer, Array, Budget, MechanismError, Stop, Study, Subject};
use crate::task::Prepared;
use needs::Needs;

/// The file of the maps.
pub const ARRAYS: &str = "arrays.safetensors";

/// The role of a file of the network under study.
pub fn subject_role(file: &str) -> String {
    format!("subject/{file}")
}

/// The role of a file of the i-th network that it is compared with.
pub fn other_role(i: usize, file: &str) -> String {
    format!("other/{i}/{file}")
}

/// Runs the job.
///
/// # Errors
/// If an input is wrong, the networks do not go together, or the question fails.
pub fn run(
    spec: &JobSpec,
    job: &Inspect,
    inputs: &Inputs,
    ctx: &RunContext<'_>,
) -> Result<Outcome, JobError> {
    let mut pulse = pulse(spec, ctx);
    if pulse(0.0).is_err() {
        return Ok(Outcome::Stopped);
    }
    let config = Config::read(inputs.file("config.json")?)?;
    let tokenizer = read_tokenizer(inputs.file("tokenizer.json")?)?;
    let subject = config_of(&job.subject, &config, inputs, subject_role)?;
    let mut others = vec![];
    for (i, other) in job.others.iter().enumerate() {
        let role = |file: &str| other_role(i, file);
        others.push(config_of(&other.network, &config, inputs, role)?);
    }
    let needs = Needs {
        job,
        base: &config,
        subject: &subject,
        others: others.iter().collect(),
        gpu: !ctx.device.is_cpu(),
    };
    needs.require(ctx.free)?;
    let task = Prepared::new(&job.task, &tokenizer, config.positions)
        .map_err(|error| JobError::invalid(error.to_string()))?;
    let split = task.eval_splits().iter().find(|s| s.name == job.split);
    let split = split.ok_or_else(|| {
        let names: Vec<_> = task.eval_splits().iter().map(|s| s.name).collect();
        JobError::invalid(format!(
            "the task has no split {:?}; there are {}",
            job.split,
            names.join(", ")
        ))
    })?;

    let base = match needs::reads_base(job) {
        true => Some(gpt2::weights::read(inputs.weights()?, &config)?),
        false => None,
    };
    let subject = network(&job.subject, subject, inputs, subject_role)?;
    let origin = match job.question.needs_origin() {
        true => Some(origin(&job.subject, &config, base.as_ref())?),
        false => None,
    };
    let mut partners = vec![];
    for (i, (other, config)) in job.others.iter().zip(others).enumerate() {
        let network = network(&other.network, config, inputs, |file| other_role(i, file))?;
        partners.push((other.pairing.clone(), network));
    }
    let base = base.map(|weights| Subject {
        label: "base".to_owned(),
        step: 0,
        config: config.clone(),
        weights,
    });
    let mut study = Study {
        subject: &subject,
        origin: origin.as_ref(),
        base: base.as_ref(),
        base_pairing: pairing(None, job.subject.init),
        others: &partners,
        task: &task,
        split,
        seed: job.seed,
        budget: Budget {
            bytes: u64::from(job.memory_mib) << 20,
            pairs: job.pairs as usize,
            items: (job.items as usize).min(split.trials.len()),
        },
        ops: spec.engine.ops,
        device: &ctx.device,
        pulse: &mut pulse,
    };
    let answer = match mechanism::ask(job.question, &mut study) {
        Ok(answer) => answer,
        Err(MechanismError::Stopped(Stop)) => return Ok(Outcome::Stopped),
        Err(error) => {
            let mut error = JobError::from(error);
            error.message = format!("{} of {}: {}", job.question, subject.label, error.message);
            return Err(error);
        }
    };
    finish(job.question, answer, ctx)
}

/// Tells the host of every percent, and asks whether to go on. There is nothing
/// that a checkpoint could hold: an answer takes minutes.
fn pulse<'a>(spec: &JobSpec, ctx: &'a RunContext<'_>) -> impl FnMut(f64) -> Result<(), Stop> + 'a {
    let steps_total = spec.steps();
    let mut step = 0;
    move |share| {
        // It never falls, and only a result is the whole.
        let now = (share.clamp(0.0, 1.0) * steps_total as f64) as u64;
        step = step.max(now.min(steps_total - 1));
        let progress = Progress {
            step,
            steps_total,
            live: None,
        };
        match ctx.host.step(&progress) {
            Directive::Continue | Directive::Checkpoint => Ok(()),
            Directive::CheckpointAndStop | Directive::Stop => Err(Stop),
        }
    }
}

/// The shape of a run's network, which must be the base's: tokens mean the same to
/// both, and layers can be set side by side.
fn config_of(
    network: &Network,
    base: &Config,
    inputs: &Inputs,
    role: impl Fn(&str) -> String,
) -> Result<Config, JobError> {
    let config = Config::read(inputs.file(&role("config.json"))?)?;
    let shape = |c: &Config| [c.layers, c.heads, c.width, c.inner, c.positions, c.vocab];
    if shape(&config) != shape(base) {
        let text = |c: &Config| {
            format!(
                "{} layers, {} heads, width {}, inner width {}, {} positions, vocabulary {}",
                c.layers, c.heads, c.width, c.inner, c.positions, c.vocab
            )
        };
        return Err(JobError::invalid(format!(
            "the run {} ({}) is a network of another shape than the base: {} instead of {}",
            network.job.short(),
            network.title(),
            text(&config),
            text(base)
        )));
    }
    Ok(config)
}

/// A network of a run.
fn network(
    network: &Network,
    config: Config,
    inputs: &Inputs,
    role: impl Fn(&str) -> String,
) -> Result<Subject, JobError> {
    let weights = gpt2::weights::read(inputs.file(&role("model.safetensors"))?, &config)?;
    Ok(Subject {
        label: network.title(),
        step: network.step,
        config,
        weights,
    })
}

/// θ⁰ of a run.
fn origin(network: &Network, config: &Config, base: Option<&Weights>) -> Result<Subject, JobError> {
    let weights = gpt2::init::weights(config, network.init, base, network.seed, network.untie)?;
    let config = match weights.contains_key(gpt2::LM_HEAD) {
        true => config.clone().untied(),
        false => config.clone(),
    };
    Ok(Subject {
        label: format!("{} seed={} at its start", network.init, network.seed),
        step: 0,
        config,
        weights,
    })
}

fn finish(question: Question, answer: Answer, ctx: &RunContext<'_>) -> Result<Outcome, JobError> {
    let infinite = answer.metrics.iter().find(|m| m.value.is_infinite());
    if let Some(metric) = infinite {
        return Err(JobError::new(
            FailureReason::NonFinite,
            format!("{question}: {} is infinite", metric.name),
        ));
    }
    let mut files = vec![];
    if !answer.arrays.is_empty() {
        let path = ctx.work_dir.join(ARRAYS);
        write(&path, &answer)?;
        files.push((ARRAYS.to_owned(), path));
    }
    Ok(Outcome::Finished(Output {
        metrics: answer.metrics,
        files,
        notes: answer.notes,
        resumed_from_step: 0,
    }))
}

/// Writes the maps, f32 in the order of their names.
fn write(path: &Path, answer: &Answer) -> Result<(), JobError> {
    let bytes: Vec<(&String, &Array, Vec<u8>)> = answer
        .arrays
        .iter()
        .map(|(name, array)| {
            let bytes = array.data.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, array, bytes)
        })
        .collect();
    let mut views = vec![];
    for (name, array, bytes) in &bytes {
        let view = TensorView::new(safetensors::Dtype::F32, array.shape.clone(), bytes);
        let view = view.map_err(|error| {
            JobError::new(
                FailureReason::Bug,
                format!("the map {name:?} of shape {:?}: {error}", array.shape),
            )
        })?;
        views.push((name.as_str(), view));
    }
    safetensors::serialize_to_file(views, None, path).map_err(|error| {
        JobError::new(
            FailureReason::Environment,
            format!("{}: {error}", path.display()),
        )
    })
}

#[cfg(test)]
pub(crate) mod tests;

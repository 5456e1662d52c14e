//! Inspect: one question about finished networks, answered.
//!
//! The files of a network stand under `subject/` and `other/0/`, `other/1/` …,
//! those of the base as for a training. θ⁰ is made anew from the run's start, for
//! the questions that need it: it is never stored.

use std::path::Path;

use safetensors::tensor::TensorView;
use seedbed_proto::job::{Init, Inspect, JobSpec, Network, Question, pairing};
use seedbed_proto::result::FailureReason;

use crate::gpt2::{self, Config, Weights};
use crate::job::pretrain::read_tokenizer;
use crate::job::{Directive, Inputs, JobError, Outcome, Output, Progress, RunContext};
use crate::mechanism::{self, Answer, Array, Budget, MechanismError, Stop, Study, Subject};
use crate::task::Prepared;
use crate::train::footprint::words;

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
    require_memory(job, &config, ctx.memory_bytes)?;
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

    let base = gpt2::weights::read(inputs.weights()?, &config)?;
    let subject = network(&job.subject, &config, inputs, subject_role)?;
    let origin = match job.question.needs_origin() {
        true => Some(origin(&job.subject, &config, &base)?),
        false => None,
    };
    let mut others = vec![];
    for (i, other) in job.others.iter().enumerate() {
        let network = network(&other.network, &config, inputs, |file| other_role(i, file))?;
        others.push((other.pairing.clone(), network));
    }
    let base = Subject {
        label: "base".to_owned(),
        step: 0,
        config: config.clone(),
        weights: base,
    };
    let mut study = Study {
        subject: &subject,
        origin: origin.as_ref(),
        base: Some(&base),
        base_pairing: pairing(None, job.subject.init),
        others: &others,
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

/// Requires that the networks fit beside the activations; `available_bytes` of 0 are
/// not known.
///
/// # Errors
/// If they do not, with what each of them takes.
fn require_memory(job: &Inspect, config: &Config, available_bytes: u64) -> Result<(), JobError> {
    let size = |(_, shape): (_, Vec<usize>)| shape.iter().product::<usize>() as u64;
    let numbers: u64 = config.tensors().into_iter().map(size).sum();
    // Queries, keys and values are taken apart for hooks: once more in memory.
    let apart = (config.layers * 3 * config.width * config.width) as u64;
    let network = 4 * (numbers + apart);
    // The base and the subject; θ⁰; one that is made to compare with.
    let made = matches!(job.question, Question::Probes | Question::Transplant);
    let networks =
        2 + job.others.len() as u64 + u64::from(job.question.needs_origin()) + u64::from(made);
    let bytes = networks * network + (u64::from(job.memory_mib) << 20);
    if available_bytes == 0 || bytes <= available_bytes {
        return Ok(());
    }
    let text = format!(
        "{} looks at {networks} networks of {} each with {} MiB for activations: about {}, and \
         {} are free on its device; lower `inspect.memory_mib`, or take a machine with more \
         memory",
        job.question,
        words(network),
        job.memory_mib,
        words(bytes),
        words(available_bytes)
    );
    Err(JobError::new(FailureReason::OutOfMemory, text))
}

/// A network of a run, which must have the base's shape: tokens mean the same to
/// both, and layers can be set side by side.
fn network(
    network: &Network,
    base: &Config,
    inputs: &Inputs,
    role: impl Fn(&str) -> String,
) -> Result<Subject, JobError> {
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
    let weights = gpt2::weights::read(inputs.file(&role("model.safetensors"))?, &config)?;
    Ok(Subject {
        label: network.title(),
        step: network.step,
        config,
        weights,
    })
}

/// θ⁰ of a run.
fn origin(network: &Network, config: &Config, base: &Weights) -> Result<Subject, JobError> {
    let base = (network.init != Init::Scratch).then_some(base);
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

//! Pretrain: a base model, downloaded, or trained here on text.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use seedbed_proto::job::{CorpusPretrain, Frozen, HubModel, Init, JobSpec, Loss};
use seedbed_proto::result::{FailureReason, Metric};
use tokenizers::Tokenizer;

use crate::gpt2::{self, Config, Dropout, Entry, Gpt2};
use crate::hub;
use crate::job::{Directive, Inputs, JobError, Outcome, Output, Progress, RunContext, WEIGHTS};
use crate::task;
use crate::train::bpe::{self, BpeError, END_OF_TEXT};
use crate::train::corpus::{Corpus, split};
use crate::train::error::TrainError;
use crate::train::footprint::{self, Footprint};
use crate::train::resume;
use crate::train::trainer::{Course, Halt, Settings, Visit, train, unwritable, write_curve};

/// Fetches published weights and checks that they can be used.
///
/// # Errors
/// If they can't be fetched, or are not a GPT-2.
pub fn from_hub(model: &HubModel, ctx: &RunContext<'_>) -> Result<Outcome, JobError> {
    let progress = Progress {
        step: 0,
        steps_total: 0,
        live: None,
    };
    if matches!(
        ctx.host.step(&progress),
        Directive::Stop | Directive::CheckpointAndStop
    ) {
        return Ok(Outcome::Stopped);
    }
    base_of(hub::fetch(model, &ctx.work_dir)?, &ctx.work_dir)
}

/// A base from its fetched files, which are checked; weights in shards become one
/// file in `dir`.
pub(super) fn base_of(
    [config, weights, tokenizer]: [PathBuf; 3],
    dir: &Path,
) -> Result<Outcome, JobError> {
    let parsed = Config::read(&config)?;
    let read = gpt2::weights::read(&weights, &parsed)?;
    read_tokenizer(&tokenizer)?;
    let single = dir.join(WEIGHTS);
    if weights != single {
        gpt2::weights::write(&single, &read)?;
    }
    let names = hub::FILES.map(String::from).into_iter();
    Ok(Outcome::Finished(Output {
        metrics: vec![],
        files: names.zip([config, single, tokenizer]).collect(),
        notes: vec![],
        resumed_from_step: 0,
    }))
}

/// Opens a `tokenizer.json`.
///
/// # Errors
/// If it can't be read or is not one.
pub fn read_tokenizer(path: &Path) -> Result<Tokenizer, JobError> {
    Tokenizer::from_file(path)
        .map_err(|e| JobError::invalid(format!("{}: not a tokenizer.json: {e}", path.display())))
}

/// Trains tokenizer and network on text.
///
/// # Errors
/// If an input is wrong, or the training fails.
pub fn from_corpus(
    spec: &JobSpec,
    job: &CorpusPretrain,
    inputs: &Inputs,
    ctx: &RunContext<'_>,
) -> Result<Outcome, JobError> {
    let texts = read_texts(job, inputs)?;
    let tokenizer = bpe::train(&texts, job.vocab as usize, &task::vocabulary())?;
    let corpus = Corpus::encode(&tokenizer, &texts, job.context as usize)?;
    drop(texts);

    let config = config(job, &tokenizer)?;
    let trainable = gpt2::trainable(&config, &Frozen::None, false)?;
    let micro_batch = spec.engine.micro_batch.max(1);
    let footprint = Footprint::of(&footprint::Job {
        config: &config,
        trainable: &trainable,
        engine: spec.engine,
        len: job.context as usize,
        batch: job.optim.batch,
        loss: Loss::Full,
        eval_batch: u64::from(micro_batch),
        keeps: true,
        drifts: false,
    });
    footprint.require(micro_batch, ctx.free)?;
    let read = Reading {
        corpus,
        job,
        micro_batch: micro_batch as usize,
    };
    learn(spec, read, inputs, ctx, &config, &trainable, &tokenizer)
        .map_err(|error| footprint.advise(error, micro_batch, ctx.free))
}

/// The part that needs memory.
fn learn(
    spec: &JobSpec,
    course: Reading<'_>,
    inputs: &Inputs,
    ctx: &RunContext<'_>,
    config: &Config,
    trainable: &BTreeSet<String>,
    tokenizer: &Tokenizer,
) -> Result<Outcome, JobError> {
    let job = course.job;
    let mut weights = gpt2::init::weights(config, Init::Scratch, None, job.seed, false)?;
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

    let settings = Settings {
        key,
        optim: &job.optim,
        micro_batch: course.micro_batch,
        live: ("val", "loss"),
    };
    let Some(trained) = train(&course, &model, &settings, ctx, checkpoint)? else {
        return Ok(Outcome::Stopped);
    };

    let path = |name: &str| ctx.work_dir.join(name);
    config.write(&path("config.json"))?;
    gpt2::weights::write(&path("model.safetensors"), &model.weights()?)?;
    let text = tokenizer.to_string(true).map_err(BpeError::Library)?;
    let tokenizer_path = path("tokenizer.json");
    fs::write(&tokenizer_path, text).map_err(|e| unwritable(&tokenizer_path, &e))?;
    write_curve(&trained.record.curve, &ctx.work_dir)?;
    let names = [
        "config.json",
        "curve.csv",
        "model.safetensors",
        "tokenizer.json",
    ];
    Ok(Outcome::Finished(Output {
        metrics: trained.record.metrics,
        files: names
            .into_iter()
            .map(|name| (name.to_owned(), path(name)))
            .collect(),
        notes: vec![],
        resumed_from_step: trained.resumed_from_step,
    }))
}

impl From<BpeError> for JobError {
    fn from(error: BpeError) -> Self {
        Self::invalid(error.to_string())
    }
}

fn read_texts(job: &CorpusPretrain, inputs: &Inputs) -> Result<Vec<String>, JobError> {
    let read = |index: usize| {
        let role = format!("corpus/{index}");
        let bytes = fs::read(inputs.file(&role)?).map_err(|e| {
            JobError::new(
                FailureReason::Environment,
                format!("can't read {role}: {e}"),
            )
        })?;
        String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            JobError::invalid(format!(
                "{role} is not UTF-8 from byte {at} on: convert it first"
            ))
        })
    };
    (0..job.corpus.len()).map(read).collect()
}

fn config(job: &CorpusPretrain, tokenizer: &Tokenizer) -> Result<Config, JobError> {
    if job.context > job.shape.positions {
        return Err(JobError::invalid(format!(
            "a context of {} tokens does not fit a network of {} positions",
            job.context, job.shape.positions
        )));
    }
    // A short text may teach fewer tokens than were asked for.
    let vocab = tokenizer.get_vocab_size(true) as u32;
    let end = tokenizer.token_to_id(END_OF_TEXT);
    let end = end.expect("every tokenizer made here has it");
    Ok(Config::new(&job.shape, vocab)?.with_end_of_text(end))
}

/// Learning to predict the next token of a corpus.
struct Reading<'a> {
    corpus: Corpus,
    job: &'a CorpusPretrain,
    micro_batch: usize,
}

impl Reading<'_> {
    /// Windows that lie one after the other → mean loss over some of them.
    fn loss_of(
        &self,
        model: &Gpt2,
        windows: &[u32],
        rows: Range<usize>,
        dropout: Option<Dropout>,
    ) -> Result<Tensor, TrainError> {
        let context = self.job.context as usize;
        let shape = (rows.len(), context);
        let (ids, targets) = split(windows, context, rows);
        let device = model.device();
        let ids = Tensor::from_vec(ids, shape, device)?; // (B, T)
        let targets = Tensor::from_vec(targets, shape, device)?; // (B, T)
        let entry = match dropout {
            Some(dropout) => Entry::Dropping(ids, dropout),
            None => Entry::Ids(ids),
        };
        Ok(model.full_loss(entry, &targets)?)
    }
}

impl Course for Reading<'_> {
    type Batch = Vec<u32>;

    fn batch(&self, step: u64) -> Result<Vec<u32>, TrainError> {
        let batch = self.job.optim.batch as usize;
        Ok(self.corpus.batch(self.job.seed, step, batch))
    }

    fn loss(
        &self,
        model: &Gpt2,
        batch: &Vec<u32>,
        step: u64,
        rows: Range<usize>,
    ) -> Result<Tensor, TrainError> {
        let CorpusPretrain { optim, seed, .. } = self.job;
        let dropout = Dropout::new(optim.dropout, *seed, step, rows.start);
        self.loss_of(model, batch, rows, dropout)
    }

    fn visit(&self, model: &Gpt2, visit: &mut Visit<'_>) -> Result<Vec<Metric>, Halt> {
        if !visit.due {
            return Ok(vec![]);
        }
        let places = self.corpus.val_places();
        let mut sum = 0.0;
        for piece in places.chunks(self.micro_batch) {
            let windows: Vec<u32> = piece
                .iter()
                .flat_map(|&at| self.corpus.window(at))
                .copied()
                .collect();
            let loss = self.loss_of(model, &windows, 0..piece.len(), None)?;
            let loss = loss.to_scalar::<f32>().map_err(TrainError::from)?;
            sum += f64::from(loss) * piece.len() as f64;
            visit.pulse()?;
        }
        let loss = sum / places.len() as f64;
        Ok(vec![Metric::of("val", visit.step, "loss", loss)])
    }
}

//! Text drawn from a base model, for people to look at.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling};
use seedbed_proto::job::{Dtype, Ops};

use crate::cli::SampleArgs;
use crate::gpt2::{self, Config, Gpt2};
use crate::job::JobError;
use crate::job::pretrain::read_tokenizer;
use crate::train::bpe::END_OF_TEXT;
use crate::train::error::TrainError;

/// Continues the prompt, token by token, and returns the continuation alone.
///
/// # Errors
/// If the model can't be read or run.
pub fn run(args: &SampleArgs) -> Result<String, JobError> {
    let config = Config::read(&args.model.join("config.json"))?;
    let weights = gpt2::weights::read(&gpt2::weights::of_folder(&args.model), &config)?;
    let tokenizer = read_tokenizer(&args.model.join("tokenizer.json"))?;
    let model = Gpt2::new(
        &config,
        &weights,
        &Default::default(),
        Ops::Fused,
        Dtype::F32,
        &Device::Cpu,
    )?;
    let unreadable = |e: tokenizers::Error| JobError::invalid(format!("the tokenizer failed: {e}"));
    let end = tokenizer.token_to_id(END_OF_TEXT);
    let encoding = tokenizer
        .encode(args.prompt.as_str(), false)
        .map_err(unreadable)?;
    let mut ids = encoding.get_ids().to_vec();
    if ids.is_empty() {
        // Nothing to continue: begin a document, if the model knows how.
        ids.extend(end);
    }
    if ids.is_empty() {
        return Err(JobError::invalid(
            "the prompt is empty: give some text to continue",
        ));
    }
    let from = ids.len();
    let sampling = match args.temperature {
        temperature if temperature <= 0.0 => Sampling::ArgMax,
        temperature if args.top_p >= 1.0 => Sampling::All { temperature },
        temperature => Sampling::TopP {
            p: args.top_p,
            temperature,
        },
    };
    let mut processor = LogitsProcessor::from_sampling(args.seed, sampling);
    for _ in 0..args.tokens {
        let id = next(&model, &ids, config.positions, &mut processor).map_err(JobError::from)?;
        if Some(id) == end {
            break;
        }
        ids.push(id);
    }
    tokenizer.decode(&ids[from..], false).map_err(unreadable)
}

fn next(
    model: &Gpt2,
    ids: &[u32],
    positions: usize,
    processor: &mut LogitsProcessor,
) -> Result<u32, TrainError> {
    // What does not fit any more is forgotten.
    let window = &ids[ids.len().saturating_sub(positions)..];
    let input = Tensor::new(window, model.device())?.unsqueeze(0)?; // (1, T)
    let logits = model.logits_last(&input)?.squeeze(0)?; // (V)
    Ok(processor.sample(&logits)?)
}

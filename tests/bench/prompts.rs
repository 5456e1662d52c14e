//! The prompts of a job, in the order in which it trains on them, for the peer that
//! `tests/bench/run` times beside it.
//!
//! `prompts base=DIR task=JSON seed=N steps=N batch=N out=FILE` writes a safetensors
//! file: ids (N, T) and answers (N) of "train" and of each evaluation split, and the
//! pair of answers.

use std::collections::HashMap;

use anyhow::Context;
use candle_core::{Device, Tensor};
use seedbed_worker::gpt2::Config;
use seedbed_worker::task::Prepared;
use tokenizers::Tokenizer;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let find = |key: &str| {
        let value = args.iter().find_map(|a| a.strip_prefix(&format!("{key}=")));
        value.with_context(|| format!("{key}=… is missing"))
    };
    let base = std::path::Path::new(find("base")?);
    let tokenizer = std::fs::read(base.join("tokenizer.json"))?;
    let tokenizer = Tokenizer::from_bytes(tokenizer).map_err(anyhow::Error::msg)?;
    let config = Config::read(&base.join("config.json"))?;
    let task = Prepared::new(
        &serde_json::from_str(find("task")?)?,
        &tokenizer,
        config.positions,
    )?;
    let (seed, steps) = (find("seed")?.parse()?, find("steps")?.parse()?);
    let batch = find("batch")?.parse()?;

    let mut all = HashMap::new();
    let pair = task.answers();
    let mut put = |name: &str, ids: Vec<u32>, right: &[u8]| {
        let answers: Vec<u32> = right.iter().map(|&r| pair[usize::from(r)]).collect();
        let shape = (right.len(), task.prompt_len());
        all.insert(
            format!("{name}.ids"),
            Tensor::from_vec(ids, shape, &Device::Cpu)?,
        );
        let answers = Tensor::from_vec(answers, right.len(), &Device::Cpu)?;
        all.insert(format!("{name}.answers"), answers);
        anyhow::Ok(())
    };
    let (mut ids, mut right) = (vec![], vec![]);
    for step in 0..steps {
        let batch = task.train_batch(seed, step, batch);
        ids.extend(batch.ids);
        right.extend(batch.right);
    }
    put("train", ids, &right)?;
    for split in task.eval_splits() {
        put(split.name, split.ids.clone(), &split.right)?;
    }
    all.insert("pair".to_owned(), Tensor::new(&pair, &Device::Cpu)?);
    Ok(candle_core::safetensors::save(&all, find("out")?)?)
}

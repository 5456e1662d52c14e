//! Activation patching on demand, for `tests/bench/run_patching` to time beside
//! TransformerLens.
//!
//! The first line of output is the pairs, as JSON, for the peer to patch the same.
//! Each line on standard input is answered by a line with the processor time and the
//! wall time of all maps of both directions; the end of the input by the maps.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use candle_core::Device;
use seedbed_proto::job::{Ops, Task};
use seedbed_worker::gpt2::hooks::{Hooked, Site};
use seedbed_worker::gpt2::{Config, weights};
use seedbed_worker::mechanism::patching::{Maps, Pairs, patch};
use seedbed_worker::memory;
use seedbed_worker::task::Prepared;
use tokenizers::Tokenizer;

/// What the peer's loop has: three sites by layer and position, one by head.
const SITES: [Site; 4] = [Site::ResidPre, Site::AttnOut, Site::MlpOut, Site::Z];

/// Activations that are held at once.
const BYTES: u64 = 512 << 20;

fn main() -> anyhow::Result<()> {
    memory::keep_pages();
    let base = PathBuf::from(option("base")?);
    let config = Config::read(&base.join("config.json"))?;
    let weights = weights::read(&base.join("model.safetensors"), &config)?;
    let net = Hooked::new(&config, &weights, Ops::Fused, &Device::Cpu)?;
    let tokenizer = Tokenizer::from_file(base.join("tokenizer.json"));
    let tokenizer = tokenizer.map_err(|error| anyhow::anyhow!("tokenizer.json: {error}"))?;
    let task = Prepared::new(&task()?, &tokenizer, config.positions)?;
    let pairs = pairs(&task, &option("counterfactual")?, option("pairs")?.parse()?)?;
    let answers = task.answers();
    let rows = |ids: &[u32]| {
        ids.chunks(pairs.len)
            .map(<[u32]>::to_vec)
            .collect::<Vec<_>>()
    };
    answer(&serde_json::json!({
        "clean": rows(&pairs.clean),
        "corrupt": rows(&pairs.corrupt),
        "right": pairs.right,
        "answers": answers,
    }))?;
    let mut maps = Maps::default();
    for line in std::io::stdin().lock().lines() {
        line?;
        let (cpu, wall) = (cpu_secs(), Instant::now());
        maps = patch(&net, &pairs, answers, &SITES, BYTES, &mut |_| Ok(()))?;
        answer(&serde_json::json!({
            "cpu_secs": cpu_secs() - cpu,
            "wall_secs": wall.elapsed().as_secs_f64(),
        }))?;
    }
    answer(&ratios(&maps))
}

/// The default task.
fn task() -> anyhow::Result<Task> {
    Ok(serde_json::from_value(serde_json::json!({
        "name": "ctxdm",
        "template": "T0",
        "range": [0, 99],
        "bins": [[1, 4], [5, 16], [17, 50]],
        "train": "online",
        "bos": false,
        "random_labels": false,
        "split_seed": 0,
        "eval_trials": 720,
    }))?)
}

/// The first pairs of test_iid; every position is a slot, as in the peer's maps.
fn pairs(task: &Prepared, counterfactual: &str, count: usize) -> anyhow::Result<Pairs> {
    let split = task.eval_splits().iter().find(|s| s.name == "test_iid");
    let split = split.context("there is a split test_iid")?;
    let mut pairs = Pairs::default();
    for trial in &split.trials {
        let Some(other) = task.kind().counterfactual(trial, counterfactual) else {
            continue;
        };
        if pairs.count() < count {
            let [clean, corrupt] = [trial, &other].map(|trial| task.prompt(trial));
            let places = (0..clean.len()).map(|at| (format!("{at}"), at));
            pairs.push([&clean, &corrupt], [trial.right, other.right], places);
        }
    }
    anyhow::ensure!(pairs.count() == count, "only {} pairs", pairs.count());
    Ok(pairs)
}

/// By direction and site, row by row: layer × position, or layer × head.
fn ratios(maps: &Maps) -> serde_json::Value {
    let span: f64 = maps.clean.iter().sum::<f64>() - maps.corrupt.iter().sum::<f64>();
    let mut all = BTreeMap::<String, Vec<f64>>::new();
    for (cell, effects) in &maps.cells {
        for (word, effect) in ["denoising", "noising"].iter().zip(effects) {
            let name = format!("{word}.{}", cell.site.short());
            all.entry(name).or_default().push(effect / span);
        }
    }
    serde_json::json!({ "span": span, "maps": all })
}

fn option(key: &str) -> anyhow::Result<String> {
    let mut args = std::env::args();
    let value = args.find_map(|a| a.strip_prefix(&format!("{key}=")).map(str::to_owned));
    value.with_context(|| format!("{key}=… is missing"))
}

fn answer(line: &serde_json::Value) -> anyhow::Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

/// Processor time of all threads.
fn cpu_secs() -> f64 {
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the call fills the structure that it is given, or fails, which it
    // does not for this process.
    let usage: libc::rusage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let secs = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    secs(usage.ru_utime) + secs(usage.ru_stime)
}

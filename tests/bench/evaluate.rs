//! How long an evaluation takes: 3,600 trials on the tiny base, with everything that
//! is computed from the answers.
//!
//!   RAYON_NUM_THREADS=1 cargo bench --workspace --bench evaluate
//!
//! Prints the milliseconds of each part: least, median and greatest of several
//! rounds.

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use seedbed_proto::job::{Dtype, Frozen, Ops, Task, TrainSet, first_splits};
use seedbed_worker::behaviour::{binned, floors, measure, psychometrics};
use seedbed_worker::gpt2::{Config, Gpt2, trainable, weights};
use seedbed_worker::job::pretrain::read_tokenizer;
use seedbed_worker::memory;
use seedbed_worker::task::Prepared;
use seedbed_worker::train::evaluate::readouts;

const ROUNDS: usize = 7;

fn main() -> anyhow::Result<()> {
    memory::keep_pages();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sweeps/bases/tiny");
    let config = Config::read(&base.join("config.json"))?;
    let tensors = weights::read(&weights::of_folder(&base), &config)?;
    let trained = trainable(&config, &Frozen::None, false)?;
    let (ops, dtype) = (Ops::Fused, Dtype::F32);
    let model = Gpt2::new(&config, &tensors, &trained, ops, dtype, &Device::Cpu)?;
    let spec = Task {
        name: "ctxdm".to_owned(),
        template: "T0".into(),
        range: [0, 99],
        bins: vec![[1, 4], [5, 16], [17, 50]],
        train: TrainSet::Online,
        bos: false,
        random_labels: false,
        split_seed: 0,
        eval_trials: 3600,
        splits: first_splits(),
        neutral: false,
        delay: None,
        test_template: None,
        test_cues: None,
        test_near: None,
        test_far: None,
    };
    let tokenizer = read_tokenizer(&base.join("tokenizer.json"))?;
    let task = Prepared::new(&spec, &tokenizer, config.positions)?;
    let split = &task.eval_splits()[0];
    let (len, answers) = (task.prompt_len(), task.answers());

    let names = [
        "network",
        "measures",
        "psychometrics",
        "bins",
        "floors",
        "all",
    ];
    let mut times: Vec<Vec<f64>> = vec![vec![]; names.len()];
    let mut values = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut last = start;
        let mut lap = |part: usize| {
            times[part].push(last.elapsed().as_secs_f64() * 1e3);
            last = Instant::now();
        };
        let rows = readouts(&model, &split.ids, len, None, answers, &mut || Ok(()))
            .map_err(|halt| anyhow::anyhow!("{halt:?}"))?;
        lap(0);
        let mut metrics = measure(split, answers, &rows, 0);
        lap(1);
        metrics.extend(psychometrics(split, &rows, 0).metrics);
        lap(2);
        metrics.extend(binned(split, &spec.bins, answers, &rows, 0));
        lap(3);
        metrics.extend(floors(split));
        lap(4);
        times[5].push(start.elapsed().as_secs_f64() * 1e3);
        values = metrics.len();
    }
    println!(
        "{} trials of {len} tokens, {values} metrics, {ROUNDS} rounds; ms",
        split.trials.len()
    );
    for (name, mut ms) in names.into_iter().zip(times) {
        ms.sort_by(f64::total_cmp);
        let [least, most] = [ms[0], ms[ROUNDS - 1]];
        println!("{name:>14} {least:8.1} {:8.1} {most:8.1}", ms[ROUNDS / 2]);
    }
    Ok(())
}

//! How fast trials are made: `cargo bench --workspace --bench trials`.
//!
//! For each task of the registry, a million trials drawn, kept apart from the
//! evaluation splits, and written as token ids of the tiny base's tokenizer, on
//! one core. Prints seconds of processor time; nothing hangs on them.

use std::path::Path;

use anyhow::Context;
use seedbed_proto::job::{Split, Task, TrainSet};
use seedbed_proto::task::plan::plan;
use seedbed_proto::task::registry::TASKS;
use seedbed_proto::task::{Definition, TaskError};
use seedbed_worker::job::pretrain::read_tokenizer;
use seedbed_worker::task::Prepared;

const TRIALS: usize = 1_000_000;
const BATCH: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tokenizer = read_tokenizer(&root.join("sweeps/bases/tiny/tokenizer.json"))?;
    println!("{TRIALS} trials, seconds of one core:");
    for task in TASKS {
        let prepared = Prepared::new(&spec(task)?, &tokenizer, 128)?;
        let start = cpu_secs();
        let mut tokens = 0;
        for step in 0..TRIALS / BATCH {
            tokens += prepared.train_batch(1, step as u64, BATCH).ids.len();
        }
        let secs = cpu_secs() - start;
        println!("{:12} {secs:.2} ({tokens} tokens)", task.name);
    }
    Ok(())
}

/// The task at its defaults, with every split held out, and evaluation splits of
/// one trial a cell.
fn spec(task: &Definition) -> anyhow::Result<Task> {
    let mut spec = Task {
        name: task.name.into(),
        template: "T0".into(),
        range: [0, 99],
        bins: vec![[1, 4], [5, 16], [17, 50]],
        train: TrainSet::Online,
        bos: false,
        random_labels: false,
        split_seed: 0,
        eval_trials: 1,
        splits: Split::ALL.to_vec(),
        neutral: false,
        delay: None,
        test_template: None,
        test_cues: None,
        test_near: None,
        test_far: None,
    };
    match plan(&spec) {
        Err(TaskError::EvalTrials { cells, .. }) => spec.eval_trials = cells as u32,
        other => drop(other.context("planning one trial")?),
    }
    Ok(spec)
}

/// Processor time of this process, all threads.
fn cpu_secs() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "every Linux has this clock");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

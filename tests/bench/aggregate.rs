//! Fills a store with a large sweep's results and times `coordinator aggregate` on
//! one core: wall time, processor time, peak memory.
//!
//!     cargo build --release --workspace --bins
//!     cargo bench --workspace --bench aggregate                  10,000 runs × 300 metrics
//!     cargo bench --workspace --bench aggregate -- runs=1000
//!
//! Not a test: it prints what it measured, and fails nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use seedbed_proto::result::{JobResult, Metric};
use seedbed_tests::stored;

/// 4 arms × 5 frozen sets × 5 rates × 10 batches = 1,000 cells.
const SWEEP: &str = "
name: large
model: {base: base}
axes:
  seed: {count: SEEDS}
  init: [pretrained, scratch, shuffled, embeddings_only]
  frozen: [none, {prefix: 1}, {prefix: 2}, {suffix: 1}, {suffix: 2}]
  learning_rate: [1.0e-4, 2.0e-4, 5.0e-4, 1.0e-3, 2.0e-3]
  train.batch: [8, 16, 24, 32, 40, 48, 56, 64, 72, 80]
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let given = |key: &str| {
        args.iter()
            .find_map(|a| a.strip_prefix(key)?.strip_prefix('='))
    };
    let runs: u64 = given("runs").unwrap_or("10000").parse()?;
    ensure!(
        runs.is_multiple_of(1000),
        "runs come in thousands: there are 1,000 cells"
    );
    let state: PathBuf = match given("state") {
        Some(state) => state.into(),
        None => std::env::temp_dir().join(format!("seedbed-aggregate-{}", std::process::id())),
    };
    if !state.join("seedbed.db").exists() {
        let start = Instant::now();
        let yaml = SWEEP.replace("SEEDS", &(runs / 1000).to_string());
        let mut done = 0;
        let metrics = stored::fill(&state, &yaml, |_| {
            done += 1;
            Some(result(done))
        })
        .await?;
        let secs = start.elapsed().as_secs_f64();
        println!("filled: {runs} runs, {metrics} metrics in {secs:.1} s");
    }
    let out = state.join("out");
    for round in 1..=3 {
        measure(&state, &out, round)?;
    }
    if given("state").is_none() {
        std::fs::remove_dir_all(&state)?;
    }
    Ok(())
}

/// 300 metrics as a run of the study has them.
fn result(run: u64) -> JobResult {
    let mut state = run.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut luck = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut metrics = Vec::with_capacity(300);
    for step in (0..=2400).step_by(100) {
        for name in [
            "accuracy",
            "incongruent_accuracy",
            "congruent_accuracy",
            "congruency_cost",
            "nll",
        ] {
            metrics.push(Metric::of("val", step, name, luck()));
        }
    }
    for step in (0..=2100).step_by(300) {
        metrics.push(Metric::of("train", step, "loss", luck()));
    }
    for name in [
        "accuracy",
        "incongruent_accuracy",
        "congruent_accuracy",
        "congruency_cost",
        "nll",
        "answer_mass",
        "vocab_accuracy",
    ] {
        metrics.push(Metric::of("test_iid", 2400, name, luck()));
    }
    for split in ["val", "test_iid"] {
        for shortcut in ["one_dimension", "sum", "global_maximum", "tens_digit"] {
            for name in ["accuracy", "incongruent_accuracy"] {
                metrics.push(Metric::of(
                    split,
                    2400,
                    &format!("floor.{shortcut}.{name}"),
                    0.75,
                ));
            }
        }
    }
    for context in ["color", "motion"] {
        for congruency in ["congruent", "incongruent"] {
            for relevant in ["1-4", "5-16", "17-50"] {
                for irrelevant in ["1-4", "5-16", "17-50"] {
                    for name in ["accuracy", "nll", "logit_difference", "answer_mass"] {
                        let mut m = Metric::of("test_iid", 2400, name, luck());
                        m.slot = Some(format!(
                            "{context}.{congruency}.rel{relevant}.irr{irrelevant}"
                        ));
                        metrics.push(m);
                    }
                }
            }
        }
    }
    JobResult {
        metrics,
        artifacts: vec![],
        notes: vec![],
    }
}

/// Runs the real program on one core.
fn measure(state: &Path, out: &Path, round: u32) -> anyhow::Result<()> {
    // target/PROFILE/deps/aggregate-… → target/PROFILE/coordinator
    let own = std::env::current_exe()?;
    let folder = own
        .parent()
        .and_then(Path::parent)
        .context("a target folder")?;
    let program = folder.join("coordinator");
    ensure!(program.exists(), "{} is not built", program.display());
    let start = Instant::now();
    let before = usage();
    let status = Command::new("taskset")
        .args(["-c", "0"])
        .arg(&program)
        .args(["aggregate", "--sweep", "large", "--json", "--state"])
        .arg(state)
        .arg("--out")
        .arg(out)
        .status()
        .context("taskset (util-linux) is needed")?;
    ensure!(status.success(), "aggregate failed");
    let (after, wall) = (usage(), start.elapsed().as_secs_f64());
    println!(
        "round {round}: {wall:.2} s wall, {:.2} s of processor time, peak {} MiB",
        after.0 - before.0,
        after.1 / 1024
    );
    Ok(())
}

/// Processor seconds of all children that ended, and the largest peak in KiB.
fn usage() -> (f64, i64) {
    // SAFETY: getrusage only writes the struct that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let secs = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (secs(usage.ru_utime) + secs(usage.ru_stime), usage.ru_maxrss)
}

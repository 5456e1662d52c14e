//! Wiring: options, threads, logging, signals, exit code.

use std::fs::{File, TryLockError};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use seedbed_worker::cli::{Cli, Command};
use seedbed_worker::config::{self, Config};
use seedbed_worker::{agent, job, memory};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code for options that can't be used, as clap has it.
const USAGE: u8 = 2;

/// Exit code of a process that was stopped by a second signal.
const STOPPED: i32 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: &Cli) -> anyhow::Result<ExitCode> {
    memory::keep_pages();
    set_threads(config::threads(&cli.agent));
    if let Some(Command::Sample(args)) = &cli.command {
        println!("{}", seedbed_worker::sample::run(args)?);
        return Ok(ExitCode::SUCCESS);
    }
    let config = match Config::new(&cli.agent) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    // Held until the process ends, however it ends.
    let _slot = match cli.agent.slot_lock.as_deref().map(take_slot).transpose()? {
        Some(None) => {
            eprintln!("another worker holds this slot, ending");
            return Ok(ExitCode::SUCCESS);
        }
        slot => slot,
    };
    // Two crypto providers may get into the build; rustls wants one named first.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed before the first line"))?;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(filter())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The network needs little; the processors belong to the job.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(async {
        let drain = CancellationToken::new();
        listen(drain.clone()).context("listening for signals")?;
        anyhow::Ok(agent::run(config, Arc::new(job::run), drain).await?)
    });
    // A job or download that is still at work must not keep the process.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// So many threads for products and kernels. The tensor library's own pool for
/// operations by element gets none beside them: its threads wait by spinning, and
/// take the cores from those that work.
fn set_threads(threads: u32) {
    for (name, count) in [("RAYON_NUM_THREADS", threads), ("CANDLE_NUM_THREADS", 1)] {
        // SAFETY: main has started no thread yet, so nobody reads the environment
        // at the same time.
        unsafe { std::env::set_var(name, count.to_string()) };
    }
}

fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("SEEDBED_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"))
}

/// The lock of a slot, or nothing if another worker holds it. While it is held the
/// file says by which process.
fn take_slot(path: &Path) -> anyhow::Result<Option<File>> {
    let place = || format!("--slot-lock {}", path.display());
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(place)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error).with_context(place),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .with_context(place)?;
    Ok(Some(file))
}

/// The first signal asks for an end in good order, the second one ends at once.
fn listen(drain: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for ask in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if ask {
                tracing::info!("asked to end: giving the job back (once more ends at once)");
                drain.cancel();
            } else {
                std::process::exit(STOPPED);
            }
        }
    });
    Ok(())
}

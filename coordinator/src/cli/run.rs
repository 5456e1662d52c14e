//! `--sweep FILE`: serve, submit, wait, aggregate, end.
//!
//! Whatever can be refused is refused first, before anything is made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use seedbed_proto::{convert, v1};
use serde_json::json;

use super::progress::Progress;
use super::submit::LocalSweep;
use super::{Global, RunArgs, Verdict, arrays, outputs, show, stop};
use crate::local_workers::{LocalWorkerOptions, LocalWorkers, find_worker};
use crate::report;
use crate::serve::Server;
use crate::tls;

/// Runs a sweep to its end.
///
/// # Errors
/// If the file, the results folder or the address is refused; if the workers
/// keep dying; if it was stopped.
pub async fn run(file: PathBuf, args: RunArgs, global: &Global) -> anyhow::Result<Verdict> {
    let local = LocalSweep::read(&file)?;
    let out = outputs::folder(args.out.as_deref(), &local.sweep.name);
    outputs::check_writable(&out)?;
    if args.local_workers > 0 {
        find_worker()?;
    }
    let stop = stop::on_signal().context("cannot handle signals")?;

    let options = args.listen.options(global.state.clone());
    let mut server = Server::start(&options).await?;
    let outcome = through(&mut server, &local, &args, global, &stop).await;
    let outcome = match outcome {
        Ok(status) => finish(&server, &local, &status, &out, global).await,
        Err(error) => Err(error),
    };
    server.stop().await;
    outcome
}

/// Submits the sweep and sees it through; answers with its last status.
async fn through(
    server: &mut Server,
    local: &LocalSweep,
    args: &RunArgs,
    global: &Global,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<v1::SweepStatus> {
    let coordinator = Arc::clone(server.coordinator());
    local.store_files(&coordinator).await?;
    let submitted = coordinator.submit(local.request()).await?;
    coordinator.only(convert::id("sweep_id", &submitted.sweep_id)?);
    let status = coordinator.status(&submitted.sweep_id).await?;
    if settled(&status) {
        // For workers of an earlier run: there is nothing left to wait for.
        coordinator.drain();
        return Ok(status);
    }
    eprintln!(
        "{}: {} jobs, {} of them done already; coordinator at {}",
        submitted.name,
        submitted.jobs,
        submitted.jobs_done,
        server.url()
    );
    let mut workers = LocalWorkers::start(&worker_options(server, args, global))?;
    let no_worker = format!(
        "no worker is connected; start one with: worker --coordinator {}",
        server.url()
    );
    let updates = Arc::clone(&coordinator).watch(&submitted.sweep_id).await?;
    let progress = Progress::new(global.json);
    let outcome = tokio::select! {
        latest = progress.follow(updates, &no_worker) => match latest {
            Ok(Some(status)) if settled(&status) => Ok(status),
            Ok(_) => Err(anyhow::anyhow!("the coordinator stopped")),
            Err(error) => Err(error.into()),
        },
        error = workers.all_failed() => Err(error.into()),
        error = server.ended() => Err(error.into()),
        () = stop.cancelled() => Err(anyhow::anyhow!(
            "stopped; the same command goes on from here"
        )),
    };
    if outcome.is_ok() {
        coordinator.drain();
        workers.drained().await;
    } else {
        workers.stop().await;
    }
    outcome
}

fn worker_options(server: &Server, args: &RunArgs, global: &Global) -> LocalWorkerOptions {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    LocalWorkerOptions {
        count: args.local_workers,
        threads: args
            .worker_threads
            .unwrap_or_else(|| (cores / args.local_workers.max(1)).max(1)),
        url: server.local_url().to_owned(),
        state: global.state.clone(),
        ca: args.listen.tls.as_deref().map(tls::trusted_certificate),
        token_file: server.local_token().map(ToOwned::to_owned),
    }
}

/// Whether nothing of a sweep is left to do.
pub fn settled(status: &v1::SweepStatus) -> bool {
    status.blocked + status.pending + status.running == 0
}

/// How a settled sweep ended.
pub fn verdict(status: &v1::SweepStatus) -> Verdict {
    if status.failed + status.cancelled == 0 {
        Verdict::Well
    } else {
        Verdict::JobsFailed
    }
}

/// Aggregates, prints and writes what the sweep has yielded.
async fn finish(
    server: &Server,
    local: &LocalSweep,
    status: &v1::SweepStatus,
    out: &Path,
    global: &Global,
) -> anyhow::Result<Verdict> {
    let coordinator = server.coordinator();
    let results = coordinator.results(&status.sweep_id).await?;
    let mut said = vec![];
    // Without a single finished run there is nothing to say about the networks.
    if outputs::any_done(&results) {
        let artifacts = coordinator.artifacts();
        let fetch = async |digest| Ok(artifacts.find_bytes(digest).await?);
        let analysis = outputs::write_report(&results, &local.sweep, out, &fetch).await?;
        let lacking = arrays::export(&results, &local.sweep.compare, out, &fetch).await?;
        said.push(report::terminal(&analysis));
        said.push(outputs::written_to(out, lacking));
    } else if results.runs.is_empty() && verdict(status) == Verdict::Well {
        let models = coordinator.models(&status.sweep_id).await?;
        let [model] = models.as_slice() else {
            bail!("the sweep made {} models; --out takes one", models.len());
        };
        outputs::export_model(coordinator.artifacts(), model, out).await?;
        said.push(format!("the model is in {}", out.display()));
    }
    if global.json {
        let mut summary = show::status_json(status);
        summary["out"] = json!((!said.is_empty()).then_some(out));
        show::print(&summary.to_string());
    } else {
        for text in said {
            show::print(&text);
        }
        for line in show::failures(status) {
            eprintln!("{line}");
        }
        if verdict(status) == Verdict::JobsFailed {
            eprintln!(
                "{} job(s) failed, {} cancelled; `coordinator retry {} --state {}` makes them ready again",
                status.failed,
                status.cancelled,
                status.name,
                global.state.display()
            );
        }
    }
    Ok(verdict(status))
}

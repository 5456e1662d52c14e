//! Stores that hold a sweep's results as if workers had delivered them: made-up
//! numbers through the real store.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use seedbed_coordinator::clock::Micros;
use seedbed_coordinator::lease::Capability;
use seedbed_coordinator::results::Point;
use seedbed_coordinator::store::sqlite::SqliteStore;
use seedbed_coordinator::store::{NewJob, NewSweep, NewWorker, Store};
use seedbed_coordinator::sweep::{self, Files, Role};
use seedbed_proto::result::{Artifact, JobResult, Provenance};
use seedbed_proto::{BlobDigest, WorkerId};

/// A base of four blocks.
const CONFIG: &str =
    r#"{"n_layer":4,"n_head":4,"n_embd":128,"n_positions":128,"n_ctx":128,"vocab_size":4096}"#;

/// Makes a database in the folder `state` with this sweep, and a result for each
/// of its runs; a run without one fails for good. Answers with the number of
/// metrics.
///
/// # Errors
/// If the sweep is wrong, or the store refuses something.
pub async fn fill(
    state: &Path,
    yaml: &str,
    mut result: impl FnMut(&Point) -> Option<JobResult>,
) -> anyhow::Result<u64> {
    std::fs::create_dir_all(state)?;
    let sweep = sweep::parse("stored.yaml", yaml)?;
    let mut files = Files::default();
    for file in sweep.files() {
        let artifact = Artifact {
            name: file.path.clone(),
            digest: BlobDigest::of(file.path.as_bytes()),
            size_bytes: 1,
        };
        files.artifacts.insert(file.path.clone(), artifact);
        if file.role == Role::Config {
            files.configs.insert(file.path, CONFIG.to_owned());
        }
    }
    let planned: Vec<_> = sweep::expand(&sweep, &files)?.collect();
    let points: BTreeMap<_, _> = planned
        .iter()
        .map(|job| (job.key, job.point.clone()))
        .collect();
    let jobs = planned
        .into_iter()
        .map(|job| NewJob::new(&job.spec, job.point, job.title));
    let store = SqliteStore::open(&state.join("seedbed.db")).await?;
    let new = NewSweep {
        name: sweep.name.clone(),
        yaml: yaml.to_owned(),
        files: BTreeMap::new(),
        inspects: sweep.inspect.is_some(),
    };
    let now = Micros(1_767_225_600_000_000);
    let jobs: Vec<NewJob> = jobs.collect();
    store
        .submit_sweep(new, Box::new(jobs.into_iter()), now)
        .await?;
    let worker = NewWorker {
        id: WorkerId::new(),
        host: "somewhere".into(),
        pid: 1,
        version: "0.1.0".into(),
        label: "made-up".into(),
        capability: Capability {
            device: "cpu".into(),
            ops: vec!["fused".into()],
            dtypes: vec!["f32".into()],
            ..Capability::default()
        },
    };
    let id = worker.id;
    store.register_worker(worker, now).await?;
    let mut metrics = 0;
    loop {
        let leased = store.acquire(id, 200, None, now, 1e6).await?;
        if leased.is_empty() {
            break;
        }
        for job in leased {
            let point = points.get(&job.lease.job).and_then(Option::as_ref);
            let provenance = Provenance {
                version: "0.1.0".into(),
                host: "somewhere".into(),
                device: "cpu".into(),
                cpu_fingerprint: "some processor".into(),
                threads: 1,
                wall_secs: 20.0,
                resumed_from_step: 0,
            };
            match result(point.context("a run has a point")?) {
                Some(result) => {
                    metrics += result.metrics.len() as u64;
                    store.complete(job.lease, result, provenance, now).await?;
                }
                None => {
                    let reason = seedbed_proto::result::FailureReason::NonFinite;
                    let message = "loss is NaN at step 17".to_owned();
                    store
                        .fail(job.lease, reason, message, provenance, now)
                        .await?;
                }
            }
        }
    }
    store.close().await;
    Ok(metrics)
}

//! From the text of a sweep file to stored jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use seedbed_proto::result::Artifact;

use crate::artifacts::Artifacts;
use crate::clock::Micros;
use crate::growth;
use crate::rpc::RpcError;
use crate::store::{NewJob, NewJobs, NewSweep, Revision, Store, StoreError, Submitted};
use crate::sweep::{self, Files, Role, Sweep};

/// Jobs that are expanded ahead of their storing: however large the sweep, only
/// so many are in memory.
const AHEAD: usize = 256;

/// A sweep file with the files that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// For messages.
    pub file_name: String,
    /// The text.
    pub yaml: String,
    /// The files by the path as it stands in the text; their blobs are stored.
    pub files: BTreeMap<String, Artifact>,
}

/// Validates, expands and stores; all or nothing. Answers with the sweep's name,
/// too.
///
/// A sweep that adds seeds by itself keeps those that it has.
pub async fn submit(
    store: &Arc<dyn Store>,
    artifacts: &Artifacts,
    submission: Submission,
    now: Micros,
) -> Result<(String, Submitted), RpcError> {
    let sweep = sweep::parse(&submission.file_name, &submission.yaml)?;
    let sweep = match &sweep.compare.until {
        Some(_) => match grown_to(&**store, &sweep).await? {
            Some(size) => sweep.grown(size),
            None => sweep,
        },
        None => sweep,
    };
    let (new, jobs) = prepare(artifacts, submission, sweep, now).await?;
    let name = new.name.clone();
    let submitted = store.submit_sweep(new, jobs, now).await?;
    Ok((name, submitted))
}

/// Gives a sweep on record this many seeds; refused if it has changed since.
pub(crate) async fn grow(
    store: &Arc<dyn Store>,
    artifacts: &Artifacts,
    submission: Submission,
    size: u64,
    read_at: Revision,
    now: Micros,
) -> Result<Submitted, RpcError> {
    let sweep = sweep::parse(&submission.file_name, &submission.yaml)?.grown(size);
    let (new, jobs) = prepare(artifacts, submission, sweep, now).await?;
    Ok(store.extend_sweep(new, read_at, jobs, now).await?)
}

/// What is stored of a sweep.
async fn prepare(
    artifacts: &Artifacts,
    submission: Submission,
    sweep: Sweep,
    now: Micros,
) -> Result<(NewSweep, NewJobs), RpcError> {
    let digests = submission.files.values().map(|file| file.digest).collect();
    let missing = artifacts.missing(digests, now).await?;
    if !missing.is_empty() {
        return Err(StoreError::MissingBlobs(missing).into());
    }
    let mut files = Files {
        artifacts: submission.files.clone(),
        configs: BTreeMap::new(),
    };
    for file in sweep.files() {
        if let (Role::Config, Some(stored)) = (file.role, submission.files.get(&file.path)) {
            let bytes = artifacts.get_bytes(stored.digest).await?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            files.configs.insert(file.path, text);
        }
    }
    // What does not fit its files shows here, before anything is stored.
    drop(sweep::expand(&sweep, &files)?);

    let new = NewSweep {
        name: sweep.name.clone(),
        yaml: submission.yaml,
        files: submission.files,
        inspects: sweep.inspect.is_some(),
    };
    Ok((new, expanded(sweep, files)))
}

/// How many seeds a sweep of this name has grown to; none if there is none.
async fn grown_to(store: &dyn Store, sweep: &Sweep) -> Result<Option<u64>, RpcError> {
    match store.results(&sweep.name).await {
        Ok(results) => Ok(Some(growth::listed(sweep, &results))),
        Err(StoreError::UnknownSweep(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The jobs, expanded on a thread of its own while they are stored.
fn expanded(sweep: Sweep, files: Files) -> NewJobs {
    let (sender, receiver) = sync_channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let jobs = sweep::expand(&sweep, &files).expect("it was expanded once before");
        for job in jobs {
            let job = NewJob::new(&job.spec, job.point, job.title);
            // The store has given up: its answer says why.
            if sender.send(Some(job)).is_err() {
                return;
            }
        }
        // A send that fails here means the same.
        drop(sender.send(None));
    });
    Box::new(Expanded(Some(receiver)))
}

struct Expanded(Option<Receiver<Option<NewJob>>>);

impl Iterator for Expanded {
    type Item = NewJob;

    fn next(&mut self) -> Option<NewJob> {
        let job = self.0.as_ref()?.recv();
        // A list that only breaks off must not be stored as if it were whole.
        let job = job.expect("the expansion sends its end, or has panicked itself");
        if job.is_none() {
            self.0 = None;
        }
        job
    }
}

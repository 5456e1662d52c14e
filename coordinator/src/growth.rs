//! Sweeps that add seeds by themselves (`replicate:`): when all runs of a sweep
//! have settled, its data are looked at, and if the interval is too wide, the next
//! block of seeds is submitted.
//!
//! Nothing is remembered beside the sweep's own jobs: how far it has grown is how
//! many seeds it lists, and a look is a function of the results. So whoever
//! starts after a crash looks again and comes to the same, and a block that was
//! submitted is not submitted again.

use std::collections::BTreeMap;
use std::sync::Arc;

use seedbed_proto::{SweepId, v1};

use crate::aggregate::Look;
use crate::aggregate::replication::{looks, next_size};
use crate::artifacts::Artifacts;
use crate::clock::Micros;
use crate::results::SweepResults;
use crate::rpc::RpcError;
use crate::settle::SettleError;
use crate::store::{Counts, Store, StoreError, Submitted, SweepStatus};
use crate::submission::{self, Submission};
use crate::sweep::{self, Sweep, Until};

/// What is known of the sweeps that grow.
#[derive(Debug, Default)]
pub struct Growth {
    sweeps: tokio::sync::Mutex<BTreeMap<SweepId, Known>>,
}

/// One sweep that grows.
#[derive(Debug, Clone)]
struct Known {
    /// The jobs when it was last looked at: while they are the same, so is the
    /// look.
    counts: Counts,
    state: v1::Replication,
}

/// No sweep has such counts: it is looked at anew.
const UNSEEN: Counts = Counts {
    blocked: 0,
    pending: 0,
    running: 0,
    done: 0,
    failed: 0,
    cancelled: u64::MAX,
};

/// A sweep's text, if it is one that grows.
///
/// # Errors
/// If there is no such sweep, or its text is not readable.
async fn ruled(store: &dyn Store, id: &str) -> Result<Option<(Sweep, Submission)>, RpcError> {
    let submission = store.submission(id).await?;
    // Most sweeps don't: their text need not be read.
    if !submission.yaml.contains("replicate") {
        return Ok(None);
    }
    let sweep = sweep::parse(&submission.file_name, &submission.yaml).map_err(SettleError::from)?;
    Ok(sweep.compare.until.is_some().then_some((sweep, submission)))
}

/// Notes a sweep with the rule that it has now.
async fn note(
    sweeps: &mut BTreeMap<SweepId, Known>,
    store: &dyn Store,
    id: SweepId,
) -> Result<(), RpcError> {
    let Some((sweep, _)) = ruled(store, &id.to_string()).await? else {
        sweeps.remove(&id);
        return Ok(());
    };
    let results = store.results(&id.to_string()).await?;
    let known = Known {
        counts: UNSEEN,
        state: replication(&sweep, &results, None).unwrap_or_default(),
    };
    sweeps.insert(id, known);
    Ok(())
}

impl Growth {
    /// Learns which of the sweeps on record grow. For the start of a coordinator.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn learn(&self, store: &dyn Store) -> Result<(), RpcError> {
        for status in store.list().await? {
            // A text that this program can't read grows nothing; whoever asks for
            // its results is told.
            match note(&mut *self.sweeps.lock().await, store, status.id).await {
                Ok(()) | Err(RpcError::Settle(SettleError::Sweep(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Stores a sweep and notes the rule that it has now. The lock is held
    /// throughout: a block of seeds that is being added must not bring the old text
    /// back.
    ///
    /// # Errors
    /// If the sweep has mistakes, or the store can't be written.
    pub async fn submit(
        &self,
        store: &Arc<dyn Store>,
        artifacts: &Artifacts,
        submission: Submission,
        now: Micros,
    ) -> Result<(String, Submitted), RpcError> {
        let mut sweeps = self.sweeps.lock().await;
        let (name, submitted) = submission::submit(store, artifacts, submission, now).await?;
        note(&mut sweeps, &**store, submitted.sweep).await?;
        Ok((name, submitted))
    }

    /// Ends a sweep; says how many jobs had no end yet. A block of seeds that is
    /// being added must not bring it back.
    ///
    /// # Errors
    /// If there is no such sweep, or the store can't be written.
    pub async fn cancel(
        &self,
        store: &dyn Store,
        sweep: &str,
        now: Micros,
    ) -> Result<u64, RpcError> {
        let _held = self.sweeps.lock().await;
        Ok(store.cancel(sweep, now).await?)
    }

    /// Makes what failed or was cancelled of a sweep ready again; says how many jobs.
    /// One that was cancelled grows again.
    ///
    /// # Errors
    /// If there is no such sweep, or the store can't be written.
    pub async fn retry(
        &self,
        store: &dyn Store,
        sweep: &str,
        now: Micros,
    ) -> Result<u64, RpcError> {
        let mut sweeps = self.sweeps.lock().await;
        let id = store.sweep_id(sweep).await?;
        let retried = store.retry(sweep, now).await?;
        // Its jobs may be as they were, and the answer is another.
        if let Some(known) = sweeps.get_mut(&id) {
            known.counts = UNSEEN;
        }
        Ok(retried)
    }

    /// The sweeps that grow.
    pub async fn all(&self) -> Vec<SweepId> {
        self.sweeps.lock().await.keys().copied().collect()
    }

    /// Where a sweep stands, with how far it has grown; none for one that does not
    /// grow. If its runs have all settled, it is looked at before, and a block of
    /// seeds is added if it needs one and was not cancelled: nobody sees it at rest
    /// between.
    ///
    /// The lock is held throughout: two callers at once must not add two blocks, and
    /// the jobs that are told of are those of the seeds that are told of.
    ///
    /// # Errors
    /// If there is no such sweep, it can't be read, or the jobs can't be stored; it
    /// may be called again.
    pub async fn status(
        &self,
        store: &Arc<dyn Store>,
        artifacts: &Artifacts,
        sweep: &str,
        now: Micros,
    ) -> Result<(SweepStatus, Option<v1::Replication>), RpcError> {
        let mut sweeps = self.sweeps.lock().await;
        let id = store.sweep_id(sweep).await?;
        let sweep = id.to_string();
        if let Some(known) = sweeps.get_mut(&id) {
            loop {
                let status = store.status(&sweep).await?;
                if status.counts.unsettled() > 0 || status.counts == known.counts {
                    return Ok((status, Some(known.state.clone())));
                }
                match look(known, store, artifacts, id, now).await {
                    // By another process: this one's submissions wait for the lock.
                    Ok(()) | Err(RpcError::Store(StoreError::SweepMoved(_))) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        drop(sweeps);
        // One that was not noted (nobody serves, the state folder is only read).
        let status = store.status(&sweep).await?;
        let replication = match ruled(&**store, &sweep).await? {
            Some((file, _)) => replication(&file, &store.results(&sweep).await?, None),
            None => None,
        };
        Ok((status, replication))
    }
}

/// One look at a sweep: seeds are added if it needs them. Whoever ended the sweep does
/// not want it to go on by itself, though another sweep has brought its runs to their
/// end.
async fn look(
    known: &mut Known,
    store: &Arc<dyn Store>,
    artifacts: &Artifacts,
    id: SweepId,
    now: Micros,
) -> Result<(), RpcError> {
    let sweep_id = id.to_string();
    // Before all that the block follows from: it is refused if a cancellation or
    // another text comes between.
    let read_at = store.revision(&sweep_id).await?;
    let counts = store.status(&sweep_id).await?.counts;
    if counts.unsettled() > 0 {
        return Ok(());
    }
    let Some((sweep, submission)) = ruled(&**store, &sweep_id).await? else {
        known.counts = counts;
        return Ok(());
    };
    let cancelled = store.is_cancelled(&sweep_id).await?;
    let results = store.results(&sweep_id).await?;
    let next = next_size(&results, &sweep.compare).filter(|_| !cancelled);
    if let Some(size) = next {
        submission::grow(store, artifacts, submission, size, read_at, now).await?;
        tracing::info!(
            sweep = results.name,
            seeds = size,
            "the interval is too wide: seeds are added"
        );
    }
    known.state = replication(&sweep, &results, next).unwrap_or_default();
    known.counts = counts;
    Ok(())
}

/// The state of a sweep from its results; `next` is the size that it grows to.
fn replication(
    sweep: &Sweep,
    results: &SweepResults,
    next: Option<u64>,
) -> Option<v1::Replication> {
    let until = sweep.compare.until.as_ref()?;
    let looks = looks(results, &sweep.compare);
    let seeds = next.unwrap_or_else(|| listed(sweep, results));
    Some(state(until, &looks, seeds))
}

fn state(until: &Until, looks: &[Look], seeds: u64) -> v1::Replication {
    let last = looks.last();
    v1::Replication {
        seeds,
        seeds_max: until.max_seeds,
        metric: until.metric.clone(),
        half_width: last.and_then(|l| l.half_width),
        half_width_wanted: until.half_width,
        looks: looks.len() as u32,
        looks_max: until.sizes().count() as u32,
        enough: last.is_some_and(|l| l.enough),
    }
}

/// How many seeds a sweep on record has grown to: the largest size of its
/// schedule of which every seed is listed.
pub(crate) fn listed(sweep: &Sweep, results: &SweepResults) -> u64 {
    let Some(until) = &sweep.compare.until else {
        return sweep.seeds().len() as u64;
    };
    let listed: std::collections::BTreeSet<u64> = results
        .runs
        .iter()
        .filter_map(|run| run.point.get("seed")?.as_u64())
        .collect();
    until
        .sizes()
        .take_while(|size| {
            let grown = sweep.clone().grown(*size);
            grown.seeds().iter().all(|seed| listed.contains(seed))
        })
        .last()
        .unwrap_or(until.initial)
}

#[cfg(test)]
mod tests;

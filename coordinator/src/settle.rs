//! What a settled sweep means: the choice on validation is put on record, test
//! metrics are unsealed by it, the questions about the chosen networks are listed,
//! and weights that nobody keeps are dropped.
//!
//! Each of these is one write, in this order, and each may be made again: whoever
//! is killed between two of them goes on from here. Each says of which sweep it has
//! read the results: where a submission, a retry or a cancellation came between, it
//! is refused, and all is read again.

use std::collections::BTreeSet;

use seedbed_proto::job::SpecError;

use crate::aggregate;
use crate::artifacts::retention;
use crate::clock::Micros;
use crate::inspection;
use crate::results::{Selection, SweepResults};
use crate::store::{Revision, Store, StoreError};
use crate::sweep::{self, KeepWeights, Sweep, SweepErrors};

/// Results that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sweep file on record is not one that this program can read.
    #[error("the sweep file on record is not readable:\n{0}")]
    Sweep(#[from] SweepErrors),
    /// A job of the sweep is not one that this program can read.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// The results of a sweep, by name or id. If all its runs have settled, the
/// selection is recorded before (a new version if it says something new), and the
/// questions that follow from it are listed.
///
/// # Errors
/// If there is no such sweep, or it cannot be read.
pub async fn settle(
    store: &dyn Store,
    sweep: &str,
    now: Micros,
) -> Result<SweepResults, SettleError> {
    // By id from here on: a name may be given to another text meanwhile.
    let id = store.sweep_id(sweep).await?.to_string();
    loop {
        match settle_once(store, &id, now).await {
            // Each turn takes another submission.
            Err(SettleError::Store(StoreError::SweepMoved(_))) => {}
            settled => return settled,
        }
    }
}

async fn settle_once(
    store: &dyn Store,
    id: &str,
    now: Micros,
) -> Result<SweepResults, SettleError> {
    let read_at = store.revision(id).await?;
    let cancelled = store.is_cancelled(id).await?;
    let results = store.results(id).await?;
    let file = sweep::parse(&results.name, &results.yaml)?;
    if !cancelled && aggregate::replication::next_size(&results, &file.compare).is_some() {
        // Seeds are still to come: no choice yet, and tests stay sealed. A cancelled
        // sweep has what it will have.
        return Ok(results);
    }
    let Some(selection) = aggregate::select(&results, &file.compare) else {
        let settled = results.runs.iter().all(|run| run.phase.is_settled());
        if settled && file.inspect.is_some() {
            // No run has yielded a network: there is nothing to ask of.
            store.list_inspections(id, read_at, 0, vec![], now).await?;
        }
        return Ok(results);
    };
    let recorded = store.record_selection(id, read_at, selection, now).await?;
    let sealed = results.selection() != Some(&recorded);
    let reading = Reading {
        id,
        read_at,
        file,
        results,
    };
    let listed = reading.list_questions(store, &recorded, now).await?;
    let dropped = reading.drop_weights(store, &recorded).await?;
    let results = reading.results;
    if sealed || listed || dropped > 0 {
        // A large sweep's results fit into memory once.
        drop(results);
        return Ok(store.results(id).await?);
    }
    Ok(results)
}

/// A settled sweep as it was read.
struct Reading<'a> {
    id: &'a str,
    read_at: Revision,
    file: Sweep,
    results: SweepResults,
}

impl Reading<'_> {
    /// Lists the questions that the sweep file asks; `false` if they are listed.
    async fn list_questions(
        &self,
        store: &dyn Store,
        selection: &Selection,
        now: Micros,
    ) -> Result<bool, SettleError> {
        let Some(asked) = &self.file.inspect else {
            return Ok(false);
        };
        let (compare, runs) = (&self.file.compare, &self.results.runs);
        let specs = store.train_specs(self.id).await?;
        let jobs = inspection::jobs(asked, compare, selection, runs, &specs)?;
        let count = jobs.len();
        let version = selection.version;
        let listed = store
            .list_inspections(self.id, self.read_at, version, jobs, now)
            .await?;
        if listed {
            tracing::info!(
                sweep = self.results.name,
                version,
                jobs = count,
                "the selection is on record; the networks are inspected"
            );
        }
        Ok(listed)
    }

    /// Drops the weights that `keep:` does not ask for. What a question still needs
    /// stays until it is answered.
    async fn drop_weights(
        &self,
        store: &dyn Store,
        selection: &Selection,
    ) -> Result<u64, SettleError> {
        let keep = match self.file.keep.weights {
            KeepWeights::All => return Ok(0),
            KeepWeights::Selected if selection.choices.is_empty() => return Ok(0),
            KeepWeights::Selected => retention::picked(selection, &self.results.runs),
            // Without questions no run has stored any.
            KeepWeights::None if self.file.inspect.is_none() => return Ok(0),
            KeepWeights::None => BTreeSet::new(),
        };
        let dropped = store.retain_weights(self.id, self.read_at, keep).await?;
        if dropped > 0 {
            tracing::info!(
                sweep = self.results.name,
                dropped,
                "weights that the sweep does not keep are dropped"
            );
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests;

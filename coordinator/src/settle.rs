//! What a settled sweep means: the choice on validation is put on record, test
//! metrics are unsealed by it, the questions about the chosen networks are listed,
//! and weights that nobody keeps are dropped.
//!
//! Each of these is one write, in this order, and each may be made again: whoever
//! is killed between two of them goes on from here.

use std::collections::BTreeSet;

use seedbed_proto::job::SpecError;

use crate::aggregate;
use crate::artifacts::retention;
use crate::clock::Micros;
use crate::inspection;
use crate::results::{Selection, SweepResults};
use crate::store::{Store, StoreError};
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
    let results = store.results(&id).await?;
    let file = sweep::parse(&results.name, &results.yaml)?;
    if aggregate::replication::next_size(&results, &file.compare).is_some() {
        // Seeds are still to come: no choice yet, and tests stay sealed.
        return Ok(results);
    }
    let Some(selection) = aggregate::select(&results, &file.compare) else {
        let settled = results.runs.iter().all(|run| run.phase.is_settled());
        if settled && file.inspect.is_some() {
            // No run has yielded a network: there is nothing to ask of.
            store.list_inspections(&id, 0, vec![], now).await?;
        }
        return Ok(results);
    };
    let sealed = results.selections.last() != Some(&selection);
    let recorded = store.record_selection(&id, selection, now).await?;
    let listed = list_questions(store, &id, &file, &results, &recorded, now).await?;
    let dropped = drop_weights(store, &id, &file, &results, &recorded).await?;
    if sealed || listed || dropped > 0 {
        // A large sweep's results fit into memory once.
        drop(results);
        return Ok(store.results(&id).await?);
    }
    Ok(results)
}

/// Lists the questions that the sweep file asks; `false` if they are listed.
async fn list_questions(
    store: &dyn Store,
    id: &str,
    file: &Sweep,
    results: &SweepResults,
    selection: &Selection,
    now: Micros,
) -> Result<bool, SettleError> {
    let Some(asked) = &file.inspect else {
        return Ok(false);
    };
    let specs = store.train_specs(id).await?;
    let jobs = inspection::jobs(asked, &file.compare, selection, &results.runs, &specs)?;
    let count = jobs.len();
    let version = selection.version;
    let listed = store.list_inspections(id, version, jobs, now).await?;
    if listed {
        tracing::info!(
            sweep = results.name,
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
    store: &dyn Store,
    id: &str,
    file: &Sweep,
    results: &SweepResults,
    selection: &Selection,
) -> Result<u64, SettleError> {
    let keep = match file.keep.weights {
        KeepWeights::All => return Ok(0),
        KeepWeights::Selected if selection.choices.is_empty() => return Ok(0),
        KeepWeights::Selected => retention::picked(selection, &results.runs),
        // Without questions no run has stored any.
        KeepWeights::None if file.inspect.is_none() => return Ok(0),
        KeepWeights::None => BTreeSet::new(),
    };
    let dropped = store.retain_weights(id, keep).await?;
    if dropped > 0 {
        tracing::info!(
            sweep = results.name,
            dropped,
            "weights that the sweep does not keep are dropped"
        );
    }
    Ok(dropped)
}

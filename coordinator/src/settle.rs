//! What a settled sweep means: the choice on validation is put on record, test
//! metrics are unsealed by it, and weights that nobody keeps are dropped.

use crate::aggregate;
use crate::artifacts::retention;
use crate::clock::Micros;
use crate::results::SweepResults;
use crate::store::{Store, StoreError};
use crate::sweep::{self, KeepWeights, SweepErrors};

/// Results that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sweep file on record is not one that this program can read.
    #[error("the sweep file on record is not readable:\n{0}")]
    Sweep(#[from] SweepErrors),
}

/// The results of a sweep, by name or id. If all its runs have settled, the
/// selection is recorded before (a new version if it says something new).
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
        return Ok(results);
    };
    let sealed = results.selections.last() != Some(&selection);
    let recorded = store.record_selection(&id, selection, now).await?;
    let keeps = file.keep.weights == KeepWeights::Selected && !recorded.choices.is_empty();
    if keeps {
        let keep = retention::picked(&recorded, &results.runs);
        let dropped = store.retain_weights(&id, keep).await?;
        if dropped > 0 {
            tracing::info!(
                sweep,
                dropped,
                "weights of runs that were not selected are dropped"
            );
        }
    }
    if keeps || sealed {
        // A large sweep's results fit into memory once.
        drop(results);
        return Ok(store.results(&id).await?);
    }
    Ok(results)
}

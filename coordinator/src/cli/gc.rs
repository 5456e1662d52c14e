//! `gc`: deletes stored files that nothing needs any more.

use serde_json::json;

use super::reach::Local;
use super::{Global, Verdict, show};
use crate::clock::{Clock, SystemClock};
use crate::serve;

/// Collects garbage in a state folder in which no coordinator runs.
///
/// # Errors
/// If there is no state, or one runs, or a file cannot be deleted.
pub async fn gc(min_age_secs: u32, global: &Global) -> anyhow::Result<Verdict> {
    if !serve::exists(&global.state) {
        anyhow::bail!("{} holds no state of a coordinator", global.state.display());
    }
    let local = Local::open(&global.state).await?;
    let collected = local
        .artifacts()
        .collect(SystemClock.now(), min_age_secs.into())
        .await;
    local.close().await;
    let collected = collected?;
    if global.json {
        let summary = json!({"files": collected.blobs, "bytes": collected.bytes});
        show::print(&summary.to_string());
    } else {
        show::print(&format!(
            "{} files deleted, {:.1} MB freed",
            collected.blobs,
            collected.bytes as f64 / 1e6
        ));
    }
    Ok(Verdict::Well)
}

//! `expand` and `--dry-run`: what a sweep file would run; touches nothing.

use std::path::Path;

use super::submit::LocalSweep;
use super::{Global, Verdict, show};
use crate::sweep;

/// Checks a sweep file and prints its plan.
///
/// # Errors
/// If the file has mistakes.
pub async fn expand(file: &Path, global: &Global) -> anyhow::Result<Verdict> {
    let local = LocalSweep::read(file)?;
    let jobs = sweep::expand(&local.sweep, &local.resolved.files)?;
    let done = crate::serve::done_jobs(&global.state).await?;
    let plan = sweep::plan(&local.sweep, &local.resolved.files, jobs, |key| {
        done.contains(key)
    });
    if global.json {
        show::print(&serde_json::to_string_pretty(&plan)?);
    } else {
        show::print(plan.render().trim_end());
    }
    Ok(Verdict::Well)
}

//! `aggregate`: the comparison of a sweep, as far as it has got.

use std::path::Path;

use serde_json::json;

use super::reach::Reach;
use super::{ClientArgs, Global, Verdict, arrays, client, outputs, show};
use crate::report::{self, Export};
use crate::sweep;

/// Computes, prints and writes the comparison of a sweep.
///
/// # Errors
/// If there is no such sweep, or the folder cannot be written.
pub async fn aggregate(
    given: &str,
    out: Option<&Path>,
    exports: &[Export],
    args: &ClientArgs,
    global: &Global,
) -> anyhow::Result<Verdict> {
    let name = client::sweep_name(given)?;
    if let Some(out) = out {
        outputs::check_writable(out)?;
    }
    let reach = Reach::new(args, &global.state).await?;
    let outcome = write(&reach, &name, out, exports, global).await;
    reach.close().await;
    outcome
}

async fn write(
    reach: &Reach,
    name: &str,
    out: Option<&Path>,
    exports: &[Export],
    global: &Global,
) -> anyhow::Result<Verdict> {
    let results = reach.results(name).await?;
    let out = outputs::folder(out, &results.name);
    let sweep = sweep::parse(&results.name, &results.yaml)?;
    if !outputs::any_done(&results) {
        anyhow::bail!(
            "no run of sweep {:?} is done yet: there is nothing to compare",
            results.name
        );
    }
    let fetch = async |digest| reach.bytes(digest).await;
    let analysis = outputs::write_report(&results, &sweep, &out, &fetch).await?;
    report::export(&analysis, &results, exports, &out)?;
    let lacking = arrays::export(&results, &sweep.compare, &out, &fetch).await?;
    if global.json {
        let summary = json!({"sweep": results.name, "runs": results.runs.len(), "out": out});
        show::print(&summary.to_string());
    } else {
        show::print(&report::terminal(&analysis));
        show::print(&outputs::written_to(&out, lacking));
    }
    Ok(Verdict::Well)
}

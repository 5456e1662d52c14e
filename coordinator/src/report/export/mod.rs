//! The same numbers for other programs: TensorBoard's event files, MLflow's file
//! store. Made only when asked for (`aggregate --export`).

mod mlflow;
mod tensorboard;

use std::fs;
use std::io;
use std::path::Path;

use super::rows::{Axes, runs};
use super::tidy::shown;
use super::write::ReportError;
use crate::aggregate::Analysis;
use crate::results::{Measured, Run, SweepResults};

/// For which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Export {
    /// `tensorboard/`: one folder with one event file for each run
    Tensorboard,
    /// `mlruns/`: MLflow's file store, one experiment
    Mlflow,
}

impl Export {
    /// Its folder below the results.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Tensorboard => "tensorboard",
            Self::Mlflow => "mlruns",
        }
    }
}

/// Writes the exports below `out`, each in place of an earlier one. Only runs that
/// are done, and no test metric that is sealed.
///
/// # Errors
/// If a file can't be written; the earlier export is then still there.
pub fn export(
    a: &Analysis,
    results: &SweepResults,
    exports: &[Export],
    out: &Path,
) -> Result<(), ReportError> {
    for kind in exports {
        let target = out.join(kind.folder());
        let failed = |source| ReportError {
            path: target.clone(),
            source,
        };
        let staging = tempfile::Builder::new()
            .prefix(".seedbed-")
            .tempdir_in(out)
            .map_err(failed)?;
        let new = staging.path().join("new");
        fs::create_dir(&new).map_err(failed)?;
        match kind {
            Export::Tensorboard => tensorboard::write(a, results, &new).map_err(failed)?,
            Export::Mlflow => mlflow::write(a, results, &new).map_err(failed)?,
        }
        if target.exists() {
            fs::rename(&target, staging.path().join("old")).map_err(failed)?;
        }
        fs::rename(&new, &target).map_err(failed)?;
    }
    Ok(())
}

/// A run that is done, with its name for people and its parameters.
struct Exported<'a> {
    run: &'a Run,
    name: String,
    params: Vec<(String, String)>,
}

/// The runs that are done, in the sweep's order.
fn exported<'a>(a: &Analysis, results: &'a SweepResults) -> Vec<Exported<'a>> {
    let axes = Axes::of(results, &a.compare);
    let done = runs(results)
        .into_iter()
        .filter(|run| run.phase == seedbed_proto::result::JobPhase::Done);
    done.map(|run| {
        let mut params = vec![("arm".to_owned(), axes.arm(&run.point))];
        let point = run.point.iter();
        params.extend(point.map(|(axis, value)| (axis.clone(), crate::results::label(value))));
        let rest: Vec<String> = run
            .point
            .iter()
            .filter(|(axis, _)| *axis != &a.compare.arms && *axis != &a.compare.replicate)
            .map(|(axis, value)| {
                let short = axis.rsplit('.').next().unwrap_or(axis);
                format!("{short}-{}", crate::results::label(value))
            })
            .collect();
        let seed = axes.seed(&run.point).unwrap_or_default();
        let name = format!("{} {} seed-{seed}", axes.arm(&run.point), rest.join(" "));
        Exported { run, name, params }
    })
    .collect()
}

/// The metrics of a run that may be seen and have a value, under the names that
/// both programs take: "val/incongruent_accuracy", "test_iid/reversion.block/layer-3".
fn tagged<'a>(a: &'a Analysis, run: &'a Run) -> impl Iterator<Item = (String, &'a Measured)> {
    let seen = run
        .metrics
        .iter()
        .filter(|m| shown(m, a) && m.value.is_finite());
    seen.map(|m| {
        let mut tag = format!("{}/{}", m.split, m.name);
        if let Some(layer) = m.layer {
            tag.push_str(&format!("/layer-{layer}"));
        }
        if let Some(head) = m.head {
            tag.push_str(&format!("/head-{head}"));
        }
        if let Some(slot) = &m.slot {
            tag.push_str(&format!("/{slot}"));
        }
        (plain(&tag), m)
    })
}

/// What MLflow allows in a name: letters, digits, `_`, `-`, `.`, space, `:` and `/`.
/// A plus becomes "pos", so that signed bins stay apart.
fn plain(name: &str) -> String {
    let name = name.replace('+', "pos").replace('−', "neg");
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || "_-. :/".contains(c) {
            c
        } else {
            '_'
        }
    };
    name.chars().map(keep).collect()
}

/// A name as one folder.
fn folder(name: &str) -> String {
    plain(name).replace(['/', ' ', ':'], "_")
}

/// Writes a file whole.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}

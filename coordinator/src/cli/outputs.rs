//! What a sweep leaves behind: tables and reports, or the model that it made.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use seedbed_proto::BlobDigest;
use seedbed_proto::result::{Artifact, JobPhase};
use tokio::io::AsyncWriteExt;

use super::arrays::Lacking;
use super::ceilings;
use crate::aggregate::{self, Analysis};
use crate::artifacts::Artifacts;
use crate::report;
use crate::results::SweepResults;
use crate::sweep::Sweep;

/// The folder of a sweep's results where none was given.
pub fn folder(out: Option<&Path>, sweep: &str) -> PathBuf {
    out.map_or_else(|| Path::new("results").join(sweep), Path::to_owned)
}

/// Refuses a results folder that cannot be written, before any work is done for
/// it. Leaves nothing behind.
///
/// # Errors
/// If the folder, or the one that it will be made in, cannot be written.
pub fn check_writable(out: &Path) -> anyhow::Result<()> {
    if out.exists() && !out.is_dir() {
        bail!(
            "{} is a file: give --out a folder for the results",
            out.display()
        );
    }
    // A folder that is not there yet is made in the nearest one that is.
    let absolute =
        std::path::absolute(out).with_context(|| format!("{} is not a folder", out.display()))?;
    let Some(parent) = absolute.ancestors().find(|dir| dir.exists()) else {
        bail!(
            "{} lies in no folder: give --out another one",
            out.display()
        );
    };
    let refused = || {
        format!(
            "cannot write results to {}: {} is not writable; give --out another folder",
            out.display(),
            parent.display()
        )
    };
    tempfile::tempfile_in(parent)
        .map(drop)
        .with_context(refused)
}

/// Whether there is anything to compare.
pub fn any_done(results: &SweepResults) -> bool {
    results.runs.iter().any(|run| run.phase == JobPhase::Done)
}

/// What is said when the comparison is written.
pub fn written_to(out: &Path, lacking: Lacking) -> String {
    let mut text = format!("tables, figures and reports are in {}", out.display());
    for (n, why) in [
        (lacking.too_large, "too large for it and stay in the store"),
        (lacking.gone, "not in the store any more"),
    ] {
        if n > 0 {
            text.push_str(&format!("; the arrays of {n} inspect job(s) are {why}"));
        }
    }
    text
}

/// Computes and writes the comparison. `fetch` gets a stored file's bytes, or
/// nothing if it is not stored any more.
///
/// # Errors
/// If a stored file can't be had, or the folder cannot be written; it is then as it
/// was.
pub async fn write_report(
    results: &SweepResults,
    sweep: &Sweep,
    out: &Path,
    fetch: impl AsyncFn(BlobDigest) -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<Analysis> {
    let mut analysis = aggregate::analyse(results, &sweep.compare);
    analysis.ceilings = ceilings::read(&analysis, results, fetch).await?;
    report::write(&analysis, results, out)?;
    Ok(analysis)
}

/// Writes the files of a model that the sweep made, each whole or not at all.
///
/// # Errors
/// If a file is not in the store, or cannot be written.
pub async fn export_model(
    artifacts: &Artifacts,
    files: &[Artifact],
    out: &Path,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for file in files {
        let path = out.join(&file.name);
        export(artifacts, file.digest, &path)
            .await
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn export(artifacts: &Artifacts, digest: BlobDigest, path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent)?;
    let mut file = tokio::fs::File::from_std(temporary.reopen()?);
    let mut hasher = blake3::Hasher::new();
    let (_, mut bytes) = artifacts.get(digest).await?;
    while let Some(piece) = bytes.try_next().await? {
        hasher.update(&piece);
        file.write_all(&piece).await?;
    }
    if BlobDigest::from_bytes(*hasher.finalize().as_bytes()) != digest {
        bail!("the stored file is damaged");
    }
    file.sync_all().await?;
    temporary.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("writable");
        let check = |out: &Path, expect: Option<&str>| match (check_writable(out), expect) {
            (Ok(()), None) => {}
            (Err(error), Some(expect)) => {
                assert!(format!("{error:#}").contains(expect), "{error:#}");
            }
            (verdict, _) => panic!("{}: {verdict:?}", out.display()),
        };
        check(&dir.path().join("new"), None);
        check(&dir.path().join("new/and/deeper"), None);
        check(dir.path(), None);
        check(&file, Some("is a file"));
        check(&file.join("below"), Some("not writable"));
        let left = std::fs::read_dir(dir.path()).expect("our folder").count();
        assert_eq!(left, 1, "only the file");
    }
}

//! The maps that inspect jobs yield, put beside the tables.

use std::path::Path;

use anyhow::{Context, bail};
use seedbed_proto::BlobDigest;

use crate::aggregate::ceilings::ARRAYS;
use crate::inspection::{AT, QUESTION};
use crate::results::{Run, SweepResults, label};
use crate::sweep::Compare;

/// Larger files stay in the store: a results folder is for reading.
const BYTES_MAX: u64 = 16 << 20;

/// How many files of maps a results folder does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// They are too large for it, and stay in the store.
    pub too_large: usize,
    /// The store does not have them any more.
    pub gone: usize,
}

/// Writes the maps of every inspection into `out/arrays/`; those that are there
/// are left alone. `fetch` gets a file's bytes, or nothing if it is not stored any
/// more. Says what is not there.
///
/// # Errors
/// If a file can't be had or written.
pub async fn export(
    results: &SweepResults,
    compare: &Compare,
    out: &Path,
    fetch: impl AsyncFn(BlobDigest) -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<Lacking> {
    let folder = out.join("arrays");
    let mut lacking = Lacking::default();
    for run in &results.inspections {
        let Some(artifact) = run.artifacts.iter().find(|a| a.name == ARRAYS) else {
            continue;
        };
        if artifact.size_bytes > BYTES_MAX {
            lacking.too_large += 1;
            continue;
        }
        let path = folder.join(name(run, compare));
        let there = std::fs::read(&path);
        if there.is_ok_and(|bytes| BlobDigest::of(&bytes) == artifact.digest) {
            continue;
        }
        let Some(bytes) = whole(artifact.digest, &fetch).await? else {
            lacking.gone += 1;
            continue;
        };
        write(&folder, &path, &bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(lacking)
}

/// The bytes of a file of maps as they were stored; nothing if it is not any more.
///
/// # Errors
/// If it can't be had, or came damaged.
pub async fn whole(
    digest: BlobDigest,
    fetch: impl AsyncFn(BlobDigest) -> anyhow::Result<Option<Vec<u8>>>,
) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = fetch(digest).await?;
    if bytes.as_ref().is_some_and(|b| BlobDigest::of(b) != digest) {
        bail!("the maps {} came damaged", digest);
    }
    Ok(bytes)
}

/// `patching_scratch_seed3_final_1f2e3d4c.safetensors`; the last part is the
/// beginning of the job's key, by which `inspections.csv` finds it.
fn name(run: &Run, compare: &Compare) -> String {
    let text = |axis: &str| run.point.get(axis).map(label).unwrap_or_default();
    let name = format!(
        "{}_{}_seed{}_{}_{}.safetensors",
        text(QUESTION),
        text(&compare.arms),
        text(&compare.replicate),
        text(AT),
        run.key.short()
    );
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
        _ => '-',
    };
    name.chars().map(plain).collect()
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let temporary = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    std::fs::write(temporary.path(), bytes)?;
    temporary.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use seedbed_proto::JobKey;
    use seedbed_proto::result::{Artifact, JobPhase};
    use serde_json::json;

    use super::*;
    use crate::aggregate::fixture::Fixture;

    #[tokio::test]
    async fn maps_are_fetched_once_and_damage_is_seen() {
        let mut results = Fixture::default().results();
        let mut run = results.runs[0].clone();
        run.key = JobKey::of(b"a question");
        run.phase = JobPhase::Done;
        run.point.insert(QUESTION.into(), json!("patching"));
        run.point.insert(AT.into(), json!("final"));
        run.artifacts = vec![Artifact {
            name: ARRAYS.into(),
            digest: BlobDigest::of(b"maps"),
            size_bytes: 4,
        }];
        results.inspections.push(run);
        let home = tempfile::tempdir().expect("a folder");
        let compare = Compare::default();
        let calls = Cell::new(0);
        let check = async |bytes: Option<&'static [u8]>| {
            let fetch = async |_| {
                calls.set(calls.get() + 1);
                Ok(bytes.map(<[u8]>::to_vec))
            };
            export(&results, &compare, home.path(), fetch).await
        };
        let damaged = check(Some(b"mops")).await.expect_err("damaged");
        assert!(damaged.to_string().contains("damaged"), "{damaged}");
        assert_eq!(check(None).await.expect("not there").gone, 1);
        let all = Lacking::default();
        assert_eq!(check(Some(b"maps")).await.expect("written"), all);
        assert_eq!(check(Some(b"mops")).await.expect("there already"), all);
        assert_eq!(calls.get(), 3);
        let names: Vec<_> = std::fs::read_dir(home.path().join("arrays"))
            .expect("made")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        let short = JobKey::of(b"a question").short();
        assert_eq!(
            names,
            [format!("patching_pretrained_seed1_final_{short}.safetensors").as_str()]
        );
    }
}

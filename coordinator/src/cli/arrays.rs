//! The maps that inspect jobs yield, put beside the tables.

use std::path::Path;

use anyhow::{Context, bail};
use seedbed_proto::BlobDigest;

use crate::inspection::{AT, QUESTION};
use crate::results::{Run, SweepResults, label};
use crate::sweep::Compare;

/// The file of an inspect job's maps, as its worker names it.
const ARRAYS: &str = "arrays.safetensors";
/// Larger files stay in the store: a results folder is for reading.
const BYTES_MAX: u64 = 16 << 20;

/// Writes the maps of every inspection into `out/arrays/`; those that are there
/// are left alone. `fetch` gets a file's bytes. Says how many were too large.
///
/// # Errors
/// If a file can't be had or written.
pub async fn export(
    results: &SweepResults,
    compare: &Compare,
    out: &Path,
    fetch: impl AsyncFn(BlobDigest) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<usize> {
    let folder = out.join("arrays");
    let mut too_large = 0;
    for run in &results.inspections {
        let Some(artifact) = run.artifacts.iter().find(|a| a.name == ARRAYS) else {
            continue;
        };
        if artifact.size_bytes > BYTES_MAX {
            too_large += 1;
            continue;
        }
        let path = folder.join(name(run, compare));
        let there = std::fs::read(&path);
        if there.is_ok_and(|bytes| BlobDigest::of(&bytes) == artifact.digest) {
            continue;
        }
        let bytes = fetch(artifact.digest).await?;
        if BlobDigest::of(&bytes) != artifact.digest {
            bail!("the maps of job {} came damaged", run.key.short());
        }
        write(&folder, &path, &bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(too_large)
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
        let check = async |bytes: &'static [u8]| {
            let fetch = async |_| {
                calls.set(calls.get() + 1);
                Ok(bytes.to_vec())
            };
            export(&results, &compare, home.path(), fetch).await
        };
        let damaged = check(b"mops").await.expect_err("damaged");
        assert!(damaged.to_string().contains("damaged"), "{damaged}");
        assert_eq!(check(b"maps").await.expect("written"), 0);
        assert_eq!(check(b"mops").await.expect("there already"), 0);
        assert_eq!(calls.get(), 2);
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

//! A sweep file on this machine, with the files that it names, on its way to a
//! coordinator.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::StreamExt;
use seedbed_proto::{CHUNK_BYTES, v1};
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::client::{self, Connection, explain};
use super::{ClientArgs, Global, Verdict, show};
use crate::service::Coordinator;
use crate::store::BlobInfo;
use crate::sweep::files::{self, Resolved};
use crate::sweep::{self, Sweep};

/// A sweep file, checked together with the files that it names.
pub struct LocalSweep {
    /// The sweep.
    pub sweep: Sweep,
    /// The files that it names.
    pub resolved: Resolved,
    file_name: String,
    yaml: String,
}

impl LocalSweep {
    /// Reads and checks; nothing is sent anywhere.
    ///
    /// # Errors
    /// If a file cannot be read, or with every mistake of the sweep file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file_name = path.display().to_string();
        let yaml = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the sweep file {file_name}"))?;
        let sweep = sweep::parse(&file_name, &yaml)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let resolved = files::resolve(folder, &sweep)?;
        // What does not fit its files is an error here, not at the coordinator.
        drop(sweep::expand(&sweep, &resolved.files)?);
        Ok(Self {
            sweep,
            resolved,
            file_name,
            yaml,
        })
    }

    /// The request, once the files are stored.
    pub fn request(&self) -> v1::SubmitRequest {
        let files = self.resolved.files.artifacts.iter();
        v1::SubmitRequest {
            file_name: self.file_name.clone(),
            yaml: self.yaml.clone(),
            files: files
                .map(|(path, file)| (path.clone(), file.clone().into()))
                .collect(),
        }
    }

    /// Each file once, with where it lies.
    fn blobs(&self) -> BTreeMap<BlobKey, (BlobInfo, PathBuf)> {
        let files = self.resolved.files.artifacts.iter();
        files
            .filter_map(|(path, file)| {
                let local = self.resolved.local.get(path)?.clone();
                let blob = BlobInfo {
                    digest: file.digest,
                    size_bytes: file.size_bytes,
                };
                Some((file.digest.to_string(), (blob, local)))
            })
            .collect()
    }

    /// Stores the files with a coordinator of this process.
    ///
    /// # Errors
    /// If one cannot be read or stored, or changed since it was hashed.
    pub async fn store_files(&self, coordinator: &Coordinator) -> anyhow::Result<()> {
        for (blob, path) in self.blobs().into_values() {
            coordinator
                .store_file(blob, &path)
                .await
                .with_context(|| format!("cannot store {}", path.display()))?;
        }
        Ok(())
    }

    /// Uploads the files that the coordinator lacks.
    async fn upload(&self, connection: &Connection) -> anyhow::Result<u64> {
        let mut client = client::blobs(connection.clone());
        let mut blobs = self.blobs();
        let digests = blobs.keys().cloned().collect();
        let asked = client.has_blobs(v1::HasBlobsRequest { digests }).await;
        let missing = asked.map_err(|s| explain(&s))?.into_inner().missing;
        let mut sent_bytes = 0;
        for digest in &missing {
            let Some((blob, path)) = blobs.remove(digest) else {
                continue;
            };
            let file = tokio::fs::File::open(&path)
                .await
                .with_context(|| format!("cannot read {}", path.display()))?;
            let head = v1::BlobChunk {
                digest: digest.clone(),
                size_bytes: blob.size_bytes,
                ..v1::BlobChunk::default()
            };
            // A read that fails ends the stream; the coordinator then says that
            // bytes are missing, and stores nothing.
            let pieces = ReaderStream::with_capacity(file, CHUNK_BYTES)
                .take_while(|piece| std::future::ready(piece.is_ok()))
                .filter_map(async |piece| piece.ok())
                .map(|data| v1::BlobChunk {
                    data,
                    ..v1::BlobChunk::default()
                });
            let chunks = futures::stream::iter([head]).chain(pieces);
            let answer = client.put_blob(chunks).await;
            answer
                .map_err(|s| explain(&s))
                .with_context(|| format!("cannot upload {}", path.display()))?;
            sent_bytes += blob.size_bytes;
        }
        Ok(sent_bytes)
    }
}

/// A digest in its text form.
type BlobKey = String;

/// `submit FILE`.
///
/// # Errors
/// If the file has mistakes, or the coordinator cannot be reached or refuses.
pub async fn submit(file: &Path, args: &ClientArgs, global: &Global) -> anyhow::Result<Verdict> {
    let local = LocalSweep::read(file)?;
    let connection = client::connect(args, &global.state).await?;
    let sent_bytes = local.upload(&connection).await?;
    let answer = client::sweeps(connection).submit(local.request()).await;
    let answer = answer.map_err(|s| explain(&s))?.into_inner();
    if global.json {
        let summary = json!({
            "sweep": answer.name,
            "id": answer.sweep_id,
            "jobs": answer.jobs,
            "jobs_new": answer.jobs_new,
            "jobs_done": answer.jobs_done,
            "uploaded_bytes": sent_bytes,
        });
        show::print(&summary.to_string());
    } else {
        show::print(&format!(
            "{}: {} jobs, {} new, {} done already; `coordinator watch {}` shows progress",
            answer.name, answer.jobs, answer.jobs_new, answer.jobs_done, answer.name
        ));
    }
    Ok(Verdict::Well)
}

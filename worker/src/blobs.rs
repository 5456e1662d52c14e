//! Blobs up and down: in pieces, hashed on the way, never whole in memory.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use seedbed_proto::{BlobDigest, CHUNK_BYTES, v1};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Status;

use crate::client::{CallError, Client};

/// Longest wait for the next piece.
const PIECE_MAX: Duration = Duration::from_secs(60);

impl Client {
    /// Uploads what the coordinator lacks of these blobs, calling until it has
    /// them.
    ///
    /// # Errors
    /// By the retry rule, or if a file can't be read.
    pub async fn put_blobs(&self, blobs: &[(BlobDigest, u64, PathBuf)]) -> Result<(), CallError> {
        self.until_answered(|| self.put_blobs_once(blobs)).await
    }

    /// One attempt at [`Self::put_blobs`].
    ///
    /// # Errors
    /// By the retry rule, or if a file can't be read.
    pub async fn put_blobs_once(
        &self,
        blobs: &[(BlobDigest, u64, PathBuf)],
    ) -> Result<(), CallError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let mut rpc = self.bulk.clone();
        let digests = blobs.iter().map(|(digest, ..)| digest.to_string());
        let request = v1::HasBlobsRequest {
            digests: digests.collect(),
        };
        let missing = self.once(PIECE_MAX, rpc.has_blobs(request)).await?.missing;
        for (digest, bytes, path) in blobs {
            if missing.contains(&digest.to_string()) {
                self.put_blob(*digest, *bytes, path).await?;
            }
        }
        Ok(())
    }

    async fn put_blob(&self, digest: BlobDigest, bytes: u64, path: &Path) -> Result<(), CallError> {
        let file = File::open(path).await.map_err(|e| local(path, &e))?;
        let mut rpc = self.bulk.clone();
        // The deadline of the whole grows with the size: a stream that stands
        // still is noticed, a slow network is not punished.
        let answer_max = PIECE_MAX + Duration::from_secs(bytes >> 17);
        self.once(answer_max, rpc.put_blob(pieces(file, digest, bytes)))
            .await
            .map(drop)
    }

    /// Downloads a blob to a new file, calling until it is there and verified.
    ///
    /// # Errors
    /// By the retry rule, if the file can't be written, or if the bytes are wrong
    /// again and again.
    pub async fn get_blob(&self, digest: BlobDigest, to: &Path) -> Result<(), CallError> {
        self.until_answered(|| async { self.noted(self.get_blob_once(digest, to).await) })
            .await
    }

    async fn get_blob_once(&self, digest: BlobDigest, to: &Path) -> Result<(), CallError> {
        let mut rpc = self.bulk.clone();
        let request = v1::GetBlobRequest {
            digest: digest.to_string(),
        };
        let mut stream = timely(rpc.get_blob(request)).await?.into_inner();
        let mut file = File::create(to).await.map_err(|e| local(to, &e))?;
        let mut hasher = blake3::Hasher::new();
        while let Some(piece) = timely(stream.message()).await? {
            hasher.update(&piece.data);
            let written = file.write_all(&piece.data).await;
            written.map_err(|e| local(to, &e))?;
        }
        file.flush().await.map_err(|e| local(to, &e))?;
        let actual = BlobDigest::from_bytes(*hasher.finalize().as_bytes());
        if actual == digest {
            Ok(())
        } else {
            Err(CallError::Damaged(format!(
                "blob {} came as {} ({} bytes)",
                digest.short(),
                actual.short(),
                hasher.count()
            )))
        }
    }
}

/// The file in messages of the contract; the first one names it.
fn pieces(file: File, digest: BlobDigest, bytes: u64) -> impl stream::Stream<Item = v1::BlobChunk> {
    let first = v1::BlobChunk {
        digest: digest.to_string(),
        size_bytes: bytes,
        data: Bytes::new(),
    };
    let rest = stream::unfold(file, |mut file| async move {
        let mut buffer = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        while buffer.len() < CHUNK_BYTES {
            let room = (CHUNK_BYTES - buffer.len()) as u64;
            match (&mut file).take(room).read_buf(&mut buffer).await {
                Ok(0) => break,
                Ok(_) => {}
                // A stream can't carry an error: it ends early, the hash does not
                // fit, and the coordinator refuses the blob.
                Err(error) => {
                    tracing::error!(%error, "reading a blob for upload");
                    return None;
                }
            }
        }
        let chunk = v1::BlobChunk {
            data: buffer.freeze(),
            ..Default::default()
        };
        (!chunk.data.is_empty()).then_some((chunk, file))
    });
    stream::iter([first]).chain(rest)
}

async fn timely<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(PIECE_MAX, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded("no data in time")),
    }
}

fn local(path: &Path, error: &io::Error) -> CallError {
    CallError::Local(format!("{}: {error}", path.display()))
}

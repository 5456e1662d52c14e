//! Content-addressed files: bytes in a [`Blobs`] folder, what is known of them in
//! the store, and [`Artifacts`], which keeps the two in step.
//!
//! A blob's row is written before its bytes and confirmed after them, and dooms
//! it before its bytes are deleted: whatever a crash leaves is either known, or
//! found by the next collection of garbage.

mod blobs;
pub mod retention;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, TryStreamExt};
use seedbed_proto::BlobDigest;

use crate::clock::Micros;
use crate::store::{BlobInfo, Store, StoreError};

pub use blobs::Blobs;

/// What can go wrong with blobs.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The bytes are not what they were said to be. Nothing was stored.
    #[error("the bytes of blob {claimed} hash to {actual}")]
    WrongDigest {
        /// What was announced.
        claimed: BlobDigest,
        /// What came.
        actual: BlobDigest,
    },
    /// More or fewer bytes than announced. Nothing was stored.
    #[error("blob {digest} was announced with {claimed_bytes} bytes, {actual_bytes} came")]
    WrongSize {
        /// The blob.
        digest: BlobDigest,
        /// What was announced.
        claimed_bytes: u64,
        /// What came, as far as it was read.
        actual_bytes: u64,
    },
    /// There is no such blob.
    #[error("there is no blob {0}")]
    NotFound(BlobDigest),
    /// The disk is full. Nothing was stored.
    #[error("the disk of {path} is full, free some space (`coordinator gc` helps): {why}")]
    DiskFull {
        /// The folder of the blobs.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Any other error of the disk.
    #[error("{path}: {why}")]
    Io {
        /// The folder of the blobs.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Whoever sends the bytes broke off. Nothing was stored.
    #[error("the upload of blob {digest} broke off: {why}")]
    BrokenOff {
        /// The blob.
        digest: BlobDigest,
        /// What the sender said.
        why: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a collection of garbage did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs that were deleted.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Bytes and what is known of them.
#[derive(Clone)]
pub struct Artifacts {
    store: Arc<dyn Store>,
    blobs: Blobs,
}

impl Artifacts {
    /// Blobs in this folder, known to this store.
    pub fn new(store: Arc<dyn Store>, blobs: Blobs) -> Self {
        Self { store, blobs }
    }

    /// Stores a blob; `true` if it was there already (the chunks are then not
    /// read). Once this returns it is on disk, and safe from [`Self::collect`]
    /// for its `age_secs`.
    ///
    /// # Errors
    /// If the bytes are not what `blob` says, or can't be stored; nothing is
    /// left then.
    pub async fn put<S, E>(
        &self,
        blob: BlobInfo,
        chunks: S,
        now: Micros,
    ) -> Result<bool, ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::fmt::Display,
    {
        let known = self.store.blob_coming(blob, now).await?;
        // Somebody may have deleted the file by hand: it is then taken anew.
        if known && self.blobs.has(blob.digest).await? {
            return Ok(true);
        }
        self.blobs.put(blob, chunks).await?;
        self.store.blob_stored(blob.digest).await?;
        Ok(false)
    }

    /// Stores a blob that is small enough for memory.
    ///
    /// # Errors
    /// If it can't be stored.
    pub async fn put_bytes(&self, bytes: Bytes, now: Micros) -> Result<BlobInfo, ArtifactError> {
        let blob = BlobInfo {
            digest: BlobDigest::of(&bytes),
            size_bytes: bytes.len() as u64,
        };
        let chunks = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
        self.put(blob, chunks, now).await?;
        Ok(blob)
    }

    /// The bytes of a blob, in pieces. The reader verifies the digest.
    ///
    /// # Errors
    /// If there is none, or it can't be read.
    pub async fn get(
        &self,
        digest: BlobDigest,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, ArtifactError>>), ArtifactError> {
        self.blobs.get(digest).await
    }

    /// The whole of a small blob, verified.
    ///
    /// # Errors
    /// If there is none, or it can't be read, or its bytes are damaged.
    pub async fn get_bytes(&self, digest: BlobDigest) -> Result<Vec<u8>, ArtifactError> {
        let (size, chunks) = self.get(digest).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut chunks = chunks;
        while let Some(chunk) = chunks.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        match BlobDigest::of(&bytes) {
            actual if actual == digest => Ok(bytes),
            actual => Err(ArtifactError::WrongDigest {
                claimed: digest,
                actual,
            }),
        }
    }

    /// The same, or nothing if there is none.
    ///
    /// # Errors
    /// If it can't be read, or its bytes are damaged.
    pub async fn find_bytes(&self, digest: BlobDigest) -> Result<Option<Vec<u8>>, ArtifactError> {
        match self.get_bytes(digest).await {
            Err(ArtifactError::NotFound(_)) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Which of these blobs are not there, in the order of the question.
    ///
    /// # Errors
    /// If the store can't be asked.
    pub async fn missing(
        &self,
        digests: Vec<BlobDigest>,
        now: Micros,
    ) -> Result<Vec<BlobDigest>, ArtifactError> {
        let unknown = self.store.missing_blobs(digests.clone(), now).await?;
        let mut missing = vec![];
        for digest in digests {
            // A file that was deleted by hand is asked for again.
            if unknown.contains(&digest) || !self.blobs.has(digest).await? {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    /// Deletes every blob that nothing refers to, and that nobody uploaded or
    /// asked for within `age_secs`: that long a worker has to name in a result
    /// what it uploaded. Call it at the start, too: it ends what a crash
    /// interrupted.
    ///
    /// # Errors
    /// If a file can't be deleted; the next call goes on.
    pub async fn collect(&self, now: Micros, age_secs: f64) -> Result<Collected, ArtifactError> {
        let before = now.plus_secs(-age_secs);
        self.blobs.remove_leftovers(before).await?;
        let doomed = self.store.doom_blobs(before).await?;
        let mut collected = Collected::default();
        for blob in &doomed {
            self.blobs.delete(blob.digest).await?;
            collected.blobs += 1;
            collected.bytes += blob.size_bytes;
        }
        let digests = doomed.iter().map(|blob| blob.digest).collect();
        self.store.forget_blobs(digests).await?;
        Ok(collected)
    }
}

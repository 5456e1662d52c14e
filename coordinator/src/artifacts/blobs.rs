//! A folder of content-addressed files.
//!
//! A blob is written beside its place, synced, verified, and renamed into it: its
//! place holds the whole of it or nothing. Files that a crash left beside their
//! place are removed with the garbage.

use std::error::Error as _;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use seedbed_proto::BlobDigest;

use super::ArtifactError;
use crate::clock::Micros;
use crate::store::BlobInfo;

/// Bytes that are gathered before they are written: object stores in clouds take
/// no smaller parts than 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// Blobs by their digest.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
    /// The folder, for error messages.
    place: String,
}

impl Blobs {
    /// Opens a folder of blobs, and makes it if it is not there.
    ///
    /// # Errors
    /// If it can't be made, read or written.
    pub fn open(folder: &FilePath) -> Result<Self, ArtifactError> {
        let place = folder.display().to_string();
        let io = |error: io::Error| failed(&place, &error, error.to_string());
        std::fs::create_dir_all(folder).map_err(io)?;
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(|error| from_store(&place, error))?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            folder: folder.to_owned(),
            place,
        })
    }

    /// Stores a blob, if its bytes are what `blob` says.
    ///
    /// # Errors
    /// If they are not, or the stream breaks off, or the disk refuses. Its place
    /// is then as it was.
    pub async fn put<S, E>(&self, blob: BlobInfo, chunks: S) -> Result<(), ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::fmt::Display,
    {
        let mut upload = self
            .store
            .put_multipart(&path(blob.digest))
            .await
            .map_err(|error| from_store(&self.place, error))?;
        let outcome = match self.write(&mut upload, blob, chunks).await {
            Ok(()) => upload
                .complete()
                .await
                .map(drop)
                .map_err(|error| from_store(&self.place, error)),
            Err(error) => Err(error),
        };
        if outcome.is_err()
            && let Err(error) = upload.abort().await
        {
            // The collection of garbage removes what could not be removed now.
            tracing::debug!(%error, digest = %blob.digest, "a broken upload was not cleared");
        }
        outcome
    }

    async fn write<S, E>(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        blob: BlobInfo,
        chunks: S,
    ) -> Result<(), ArtifactError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::fmt::Display,
    {
        let mut chunks = pin!(chunks);
        let mut hasher = blake3::Hasher::new();
        let mut part: Vec<Bytes> = vec![];
        let mut part_bytes = 0;
        let mut actual_bytes = 0;
        let wrong_size = |actual_bytes| ArtifactError::WrongSize {
            digest: blob.digest,
            claimed_bytes: blob.size_bytes,
            actual_bytes,
        };
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| ArtifactError::BrokenOff {
                digest: blob.digest,
                why: error.to_string(),
            })?;
            actual_bytes += chunk.len() as u64;
            // Checked on the way: an endless stream must not fill the disk.
            if actual_bytes > blob.size_bytes {
                return Err(wrong_size(actual_bytes));
            }
            hasher.update(&chunk);
            part_bytes += chunk.len();
            part.push(chunk);
            if part_bytes >= PART_BYTES {
                self.write_part(upload, &mut part).await?;
                part_bytes = 0;
            }
        }
        self.write_part(upload, &mut part).await?;
        if actual_bytes != blob.size_bytes {
            return Err(wrong_size(actual_bytes));
        }
        match BlobDigest::from_bytes(*hasher.finalize().as_bytes()) {
            actual if actual == blob.digest => Ok(()),
            actual => Err(ArtifactError::WrongDigest {
                claimed: blob.digest,
                actual,
            }),
        }
    }

    async fn write_part(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        part: &mut Vec<Bytes>,
    ) -> Result<(), ArtifactError> {
        let payload: PutPayload = part.drain(..).collect();
        upload
            .put_part(payload)
            .await
            .map_err(|error| from_store(&self.place, error))
    }

    /// The size and the bytes of a blob. The reader verifies the digest.
    ///
    /// # Errors
    /// If there is none, or it can't be read.
    pub async fn get(
        &self,
        digest: BlobDigest,
    ) -> Result<(u64, BoxStream<'static, Result<Bytes, ArtifactError>>), ArtifactError> {
        let found = match self.store.get(&path(digest)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ArtifactError::NotFound(digest));
            }
            Err(error) => return Err(from_store(&self.place, error)),
        };
        let size = found.meta.size;
        let place = self.place.clone();
        let chunks = found
            .into_stream()
            .map_err(move |error| from_store(&place, error));
        Ok((size, chunks.boxed()))
    }

    /// Whether there is such a blob.
    ///
    /// # Errors
    /// If the disk can't be asked.
    pub async fn has(&self, digest: BlobDigest) -> Result<bool, ArtifactError> {
        match self.store.head(&path(digest)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(from_store(&self.place, error)),
        }
    }

    /// Deletes a blob; one that is not there is fine.
    ///
    /// # Errors
    /// If it can't be deleted.
    pub async fn delete(&self, digest: BlobDigest) -> Result<(), ArtifactError> {
        match self.store.delete(&path(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_store(&self.place, error)),
        }
    }

    /// Every blob, by digest.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub async fn list(&self) -> Result<Vec<BlobInfo>, ArtifactError> {
        let mut blobs: Vec<_> = self
            .store
            .list(None)
            .map_err(|error| from_store(&self.place, error))
            .try_filter_map(|object| async move {
                let digest = object
                    .location
                    .filename()
                    .and_then(|name| name.parse().ok());
                Ok(digest.map(|digest| BlobInfo {
                    digest,
                    size_bytes: object.size,
                }))
            })
            .try_collect()
            .await?;
        blobs.sort_unstable_by_key(|blob| blob.digest);
        Ok(blobs)
    }

    /// Removes what interrupted uploads left before this moment.
    ///
    /// # Errors
    /// If the folder can't be read or written.
    pub async fn remove_leftovers(&self, before: Micros) -> Result<(), ArtifactError> {
        let folder = self.folder.clone();
        let removal = tokio::task::spawn_blocking(move || remove_leftovers(&folder, before));
        removal
            .await
            .unwrap_or_else(|panic| Err(io::Error::other(panic)))
            .map_err(|error| failed(&self.place, &error, error.to_string()))
    }
}

/// `ab/abcd…`: no folder gets too many entries.
fn path(digest: BlobDigest) -> Path {
    let digits = digest.to_string();
    Path::from_iter([&digits[..2], &digits])
}

/// An upload in progress is named `<digest>#<n>`.
fn remove_leftovers(folder: &FilePath, before: Micros) -> io::Result<()> {
    for shard in std::fs::read_dir(folder)? {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(shard.path())? {
            let file = file?;
            let written = file.metadata()?.modified()?.duration_since(UNIX_EPOCH);
            let written = written.map_or(0, |since| since.as_micros());
            let old = i64::try_from(written).is_ok_and(|written| written < before.0);
            if old && file.file_name().to_string_lossy().contains('#') {
                std::fs::remove_file(file.path())?;
            }
        }
    }
    Ok(())
}

fn from_store(place: &str, error: object_store::Error) -> ArtifactError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return failed(place, io, error.to_string());
        }
        source = inner.source();
    }
    ArtifactError::Io {
        path: place.to_owned(),
        why: error.to_string(),
    }
}

fn failed(place: &str, error: &io::Error, why: String) -> ArtifactError {
    let path = place.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ArtifactError::DiskFull { path, why }
        }
        _ => ArtifactError::Io { path, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(bytes: &[u8]) -> BlobInfo {
        BlobInfo {
            digest: BlobDigest::of(bytes),
            size_bytes: bytes.len() as u64,
        }
    }

    /// Puts these chunks as that blob and says what came of it.
    async fn check(blob: BlobInfo, chunks: &[Result<&'static str, &'static str>], expect: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path()).expect("opens");
        let stream = futures::stream::iter(chunks.to_vec())
            .map_ok(|text| Bytes::from_static(text.as_bytes()));
        let outcome = blobs.put(blob, stream).await;
        let actual = match &outcome {
            Ok(()) => "stored".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(actual.contains(expect), "{actual}");
        let listed = blobs.list().await.expect("lists");
        let stored = if outcome.is_ok() { vec![blob] } else { vec![] };
        assert_eq!(listed, stored);
        assert_eq!(blobs.has(blob.digest).await.expect("asks"), outcome.is_ok());
    }

    #[tokio::test]
    async fn only_the_announced_bytes_are_stored() {
        let blob = info(b"hello world");
        check(blob, &[Ok("hello "), Ok("world")], "stored").await;
        check(info(b""), &[], "stored").await;
        check(blob, &[Ok("hello "), Ok("w0rld")], "hash to").await;
        check(blob, &[Ok("hello ")], "6 came").await;
        check(blob, &[Ok("hello "), Ok("world"), Ok("!")], "12 came").await;
        check(blob, &[Ok("hello "), Err("gone")], "broke off: gone").await;
    }

    #[tokio::test]
    async fn blobs_come_back_and_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path()).expect("opens");
        let bytes = vec![7_u8; PART_BYTES + 1000];
        let blob = info(&bytes);
        let chunks: Vec<_> = bytes
            .chunks(1 << 20)
            .map(|c| Ok::<_, String>(Bytes::copy_from_slice(c)))
            .collect();
        for _ in 0..2 {
            let stream = futures::stream::iter(chunks.clone());
            blobs.put(blob, stream).await.expect("stored, twice");
        }
        let (size, stream) = blobs.get(blob.digest).await.expect("is there");
        assert_eq!(size, blob.size_bytes);
        let back: Vec<Bytes> = stream.try_collect().await.expect("reads");
        assert_eq!(back.concat(), bytes);

        blobs.delete(blob.digest).await.expect("deletes");
        blobs.delete(blob.digest).await.expect("gone already");
        let error = blobs.get(blob.digest).await.err().expect("gone");
        assert!(matches!(error, ArtifactError::NotFound(d) if d == blob.digest));
    }

    #[tokio::test]
    async fn what_a_crash_left_is_removed_once_it_is_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let shard = folder.path().join("ab");
        std::fs::create_dir_all(&shard).expect("a shard");
        std::fs::write(shard.join("abcd#1"), "half").expect("a leftover");
        std::fs::write(shard.join("abcd"), "whole").expect("a blob");
        let blobs = Blobs::open(folder.path()).expect("opens");
        let check = async |before, expect: &[&str]| {
            blobs.remove_leftovers(before).await.expect("removes");
            let mut left: Vec<_> = std::fs::read_dir(&shard)
                .expect("reads")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            left.sort();
            assert_eq!(left, expect);
        };
        check(Micros(0), &["abcd", "abcd#1"]).await;
        check(Micros(i64::MAX), &["abcd"]).await;
    }

    #[test]
    fn a_full_disk_and_an_impossible_folder_are_named() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = failed("/state/blobs", &full, full.to_string());
        assert!(error.to_string().contains("is full"), "{error}");

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("a file");
        let error = Blobs::open(&file.join("blobs")).expect_err("can't be made");
        assert!(error.to_string().contains("file/blobs"), "{error}");
    }
}

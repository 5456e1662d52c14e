//! Blobs on local disk, named by their BLAKE3 and shared by the workers of a host.
//!
//! Nothing leaves the cache unverified: a blob is hashed when it comes in and
//! again when this process first hands it out, so a truncated or damaged file is
//! noticed, removed and fetched anew. Jobs get hard links, never paths into the
//! cache: eviction by another worker can't pull a file from under them.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use seedbed_proto::BlobDigest;

/// Blobs from this size on are worth telling the coordinator about.
const LARGE_BYTES: u64 = 1 << 20;

/// Most digests that are told.
const TOLD_MAX: usize = 64;

/// A directory of blobs with a size limit.
pub struct Cache {
    root: PathBuf,
    bytes_max: u64,
    /// Size and modification time of what was verified by this process.
    verified: Mutex<BTreeMap<BlobDigest, (u64, SystemTime)>>,
}

struct Entry {
    path: PathBuf,
    digest: BlobDigest,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// Opens a cache, creating its directories.
    ///
    /// # Errors
    /// If the directory can't be made.
    pub fn open(root: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(root.join("blobs"))?;
        fs::create_dir_all(root.join("locks"))?;
        Ok(Self {
            root: root.to_owned(),
            bytes_max,
            verified: Mutex::default(),
        })
    }

    /// Links a blob to `to` if the cache has it, whole and undamaged.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn link(&self, digest: BlobDigest, to: &Path) -> io::Result<bool> {
        let path = self.path(digest);
        // The link first: it pins the bytes that are then verified.
        match fs::hard_link(&path, to) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Another file system, or one without links.
            Err(_) => match fs::copy(&path, to) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(e),
            },
        }
        if self.is_whole(digest, to)? {
            // Recency for eviction; a file system that refuses it only evicts less well.
            let times = FileTimes::new().set_accessed(SystemTime::now());
            let _ = File::open(&path).and_then(|f| f.set_times(times));
            return Ok(true);
        }
        tracing::warn!(blob = %digest.short(), "damaged blob in the cache, fetching it anew");
        fs::remove_file(to)?;
        remove_if_there(&path)?;
        Ok(false)
    }

    /// Takes over a file whose BLAKE3 was verified on the way in, then makes room.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn insert(&self, digest: BlobDigest, file: &Path) -> io::Result<()> {
        let path = self.path(digest);
        fs::create_dir_all(path.parent().expect("a blob lies in a shard directory"))?;
        fs::rename(file, &path)?;
        let meta = fs::metadata(&path)?;
        self.remember(digest, &meta)?;
        self.evict(digest)
    }

    /// Waits until no other worker of this host fetches this blob, so that it
    /// comes over the network once. Released on drop.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn lock(&self, digest: BlobDigest) -> io::Result<File> {
        let file = File::create(self.root.join("locks").join(digest.to_string()))?;
        file.lock()?;
        Ok(file)
    }

    /// Large blobs, the last used first: jobs are matched to them.
    pub fn large(&self) -> Vec<BlobDigest> {
        let mut entries = self.entries().unwrap_or_default();
        entries.retain(|e| e.bytes >= LARGE_BYTES);
        entries.sort_by_key(|e| std::cmp::Reverse(e.used));
        let digests = entries.iter().map(|e| e.digest);
        digests.take(TOLD_MAX).collect()
    }

    fn path(&self, digest: BlobDigest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("blobs").join(&name[..2]).join(name)
    }

    fn is_whole(&self, digest: BlobDigest, file: &Path) -> io::Result<bool> {
        let meta = fs::metadata(file)?;
        let seen = (meta.len(), meta.modified()?);
        let known = self.verified.lock().expect("no panic while held");
        if known.get(&digest) == Some(&seen) {
            return Ok(true);
        }
        drop(known);
        let (actual, _) = hash_file(file)?;
        if actual == digest {
            self.remember(digest, &meta)?;
        }
        Ok(actual == digest)
    }

    fn remember(&self, digest: BlobDigest, meta: &fs::Metadata) -> io::Result<()> {
        let seen = (meta.len(), meta.modified()?);
        let mut known = self.verified.lock().expect("no panic while held");
        known.insert(digest, seen);
        Ok(())
    }

    /// Removes the least recently used blobs until the rest fits; never `keep`.
    fn evict(&self, keep: BlobDigest) -> io::Result<()> {
        let mut entries = self.entries()?;
        let mut total: u64 = entries.iter().map(|e| e.bytes).sum();
        entries.sort_by_key(|e| e.used);
        for entry in entries {
            if total <= self.bytes_max {
                break;
            }
            if entry.digest != keep {
                remove_if_there(&entry.path)?;
                total -= entry.bytes;
            }
        }
        Ok(())
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = vec![];
        for shard in fs::read_dir(self.root.join("blobs"))? {
            for file in fs::read_dir(shard?.path())? {
                let file = file?;
                let name = file.file_name();
                let digest = name.to_str().and_then(|n| n.parse().ok());
                // Another worker may have evicted it in between.
                if let (Some(digest), Ok(meta)) = (digest, file.metadata()) {
                    entries.push(Entry {
                        path: file.path(),
                        digest,
                        bytes: meta.len(),
                        used: meta.accessed().or_else(|_| meta.modified())?,
                    });
                }
            }
        }
        Ok(entries)
    }
}

/// BLAKE3 and size of a file, read in pieces.
///
/// # Errors
/// If it can't be read.
pub fn hash_file(path: &Path) -> io::Result<(BlobDigest, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    let digest = BlobDigest::from_bytes(*hasher.finalize().as_bytes());
    Ok((digest, hasher.count()))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        cache: Cache,
    }

    fn fixture(bytes_max: u64) -> Fixture {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(&dir.path().join("cache"), bytes_max).expect("opens");
        Fixture { dir, cache }
    }

    impl Fixture {
        fn put(&self, bytes: &[u8]) -> BlobDigest {
            let file = self.dir.path().join("incoming");
            fs::write(&file, bytes).expect("written");
            let digest = BlobDigest::of(bytes);
            self.cache.insert(digest, &file).expect("inserted");
            digest
        }

        fn get(&self, digest: BlobDigest) -> Option<Vec<u8>> {
            let to = self.dir.path().join("out");
            let _ = fs::remove_file(&to);
            let there = self.cache.link(digest, &to).expect("no trouble");
            there.then(|| fs::read(&to).expect("linked"))
        }

        fn age(&self, digest: BlobDigest, secs: u64) {
            let then = SystemTime::now() - std::time::Duration::from_secs(secs);
            let file = File::open(self.cache.path(digest)).expect("there");
            file.set_times(FileTimes::new().set_accessed(then))
                .expect("times are settable");
        }
    }

    #[test]
    fn a_blob_comes_back() {
        let f = fixture(1 << 20);
        let digest = f.put(b"weights");
        assert_eq!(f.get(digest).as_deref(), Some(&b"weights"[..]));
        assert_eq!(f.get(BlobDigest::of(b"other")), None);
    }

    #[test]
    fn truncated_and_damaged_blobs_are_refused_and_removed() {
        for damage in [&b"weigh"[..], b"", b"wEights"] {
            let f = fixture(1 << 20);
            let digest = f.put(b"weights");
            let path = f.cache.path(digest);
            fs::write(&path, damage).expect("written");
            // Writing within one tick of the clock may keep the time stamp; a new
            // process, which remembers nothing, must notice in any case.
            f.cache.verified.lock().expect("free").clear();
            assert_eq!(f.get(digest), None, "{damage:?}");
            assert!(!path.exists(), "{damage:?}");
        }
    }

    #[test]
    fn the_least_recently_used_blob_goes_first() {
        let f = fixture(10);
        let (a, b) = (f.put(b"aaaa"), f.put(b"bbbb"));
        f.age(a, 200);
        f.age(b, 100);
        assert!(f.get(a).is_some(), "touches a");
        let c = f.put(b"cccc");
        assert!(f.get(a).is_some());
        assert!(f.get(b).is_none(), "b was the oldest");
        assert!(f.get(c).is_some());
    }

    #[test]
    fn a_blob_above_the_limit_is_kept_until_the_next() {
        let f = fixture(3);
        let big = f.put(b"larger than the limit");
        assert!(f.get(big).is_some());
        f.age(big, 100);
        f.put(b"x");
        assert!(f.get(big).is_none());
    }

    #[test]
    fn only_large_blobs_are_told() {
        let f = fixture(1 << 30);
        f.put(b"small");
        let large = f.put(&vec![7; LARGE_BYTES as usize]);
        assert_eq!(f.cache.large(), [large]);
    }
}

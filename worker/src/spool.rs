//! Reports of finished jobs, on disk until the coordinator has them.
//!
//! A report goes to disk before it is sent: a worker that is killed, or that
//! outlives its coordinator, loses no finished work. Each worker process holds a
//! home of its own under the cache directory, guarded by a lock; a worker that
//! starts takes over the undelivered reports of homes whose owner is gone.
//!
//! ```text
//! workers/.lock            held while homes are made or taken over
//! workers/ID.lock          held by the worker ID for its life
//! workers/ID/work/TOKEN/   the files of one attempt
//! workers/ID/spool/TOKEN/  report.bin and the artifacts, by digest
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use seedbed_proto::{BlobDigest, LeaseToken, WorkerId, v1};

/// What is to be delivered about one attempt. Kept as the messages themselves:
/// a metric's bits must not pass through decimal text.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    /// The coordinator that gave the job; no other one wants the report.
    #[prost(string, tag = "1")]
    pub coordinator: String,
    /// The result, if the job has one.
    #[prost(message, optional, tag = "2")]
    pub complete: Option<v1::CompleteRequest>,
    /// Else why it failed.
    #[prost(message, optional, tag = "3")]
    pub fail: Option<v1::FailRequest>,
}

impl Report {
    /// The lease under which it is delivered.
    pub fn lease(&self) -> Option<&v1::Lease> {
        match (&self.complete, &self.fail) {
            (Some(complete), _) => complete.lease.as_ref(),
            (None, Some(fail)) => fail.lease.as_ref(),
            (None, None) => None,
        }
    }
}

/// A report on disk.
#[derive(Debug, Clone)]
pub struct Entry {
    dir: PathBuf,
    /// What it says.
    pub report: Report,
}

impl Entry {
    /// Where an artifact's bytes lie.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.dir.join(digest)
    }

    /// Forgets a report that was delivered, or that nobody wants any more.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// The home of one worker process.
pub struct Home {
    dir: PathBuf,
    lock_path: PathBuf,
    /// Held until drop.
    lock: File,
}

impl Home {
    /// Makes a home, and takes over what workers that are gone left for this
    /// coordinator.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn open(root: &Path, id: WorkerId, coordinator: &str) -> io::Result<(Self, Vec<Entry>)> {
        let workers = root.join("workers");
        fs::create_dir_all(&workers)?;
        let guard = File::create(workers.join(".lock"))?;
        guard.lock()?;

        let lock_path = workers.join(format!("{id}.lock"));
        let lock = File::create(&lock_path)?;
        lock.lock()?;
        let dir = workers.join(id.to_string());
        fs::create_dir_all(dir.join("work"))?;
        fs::create_dir_all(dir.join("spool"))?;
        let home = Self {
            dir,
            lock_path,
            lock,
        };
        let mut entries = vec![];
        for file in fs::read_dir(&workers)? {
            let path = file?.path();
            // The guard itself, a name that starts with a dot, has no extension.
            if path.extension().is_some_and(|e| e == "lock") && path != home.lock_path {
                home.take_over(&path, coordinator, &mut entries)?;
            }
        }
        Ok((home, entries))
    }

    fn take_over(
        &self,
        lock_path: &Path,
        coordinator: &str,
        entries: &mut Vec<Entry>,
    ) -> io::Result<()> {
        let lock = match File::open(lock_path) {
            Ok(lock) => lock,
            // Its owner has just left in good order.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        if lock.try_lock().is_err() {
            // Its owner lives.
            return Ok(());
        }
        let left = lock_path.with_extension("");
        let mut foreign = false;
        for dir in subdirs(&left.join("spool"))? {
            match read_report(&dir) {
                Ok(report) if report.coordinator == coordinator => {
                    let name = dir.file_name().expect("an entry has a name");
                    let new = self.dir.join("spool").join(name);
                    fs::rename(&dir, &new)?;
                    entries.push(Entry { dir: new, report });
                }
                Ok(_) => foreign = true,
                // Cut off before it was durable: that job was never reported as
                // finished, and runs again.
                Err(_) => fs::remove_dir_all(&dir)?,
            }
        }
        if foreign {
            remove_dir(&left.join("work"))
        } else {
            remove_dir(&left)?;
            fs::remove_file(lock_path)
        }
    }

    /// A new, empty directory for one attempt.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn work_dir(&self, token: LeaseToken) -> io::Result<PathBuf> {
        let dir = self.dir.join("work").join(token.to_string());
        remove_dir(&dir)?;
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Makes a report durable. `files` are moved in, named by their digest.
    ///
    /// # Errors
    /// If the file system refuses; then nothing was spooled.
    pub fn put(
        &self,
        token: LeaseToken,
        report: Report,
        files: &[(BlobDigest, PathBuf)],
    ) -> io::Result<Entry> {
        let building = self.dir.join("spool").join(format!(".{token}"));
        remove_dir(&building)?;
        fs::create_dir_all(&building)?;
        for (digest, file) in files {
            let to = building.join(digest.to_string());
            if !to.exists() {
                fs::rename(file, &to).or_else(|_| fs::copy(file, &to).map(drop))?;
                File::open(&to)?.sync_all()?;
            }
        }
        let mut file = File::create(building.join(REPORT))?;
        file.write_all(&report.encode_to_vec())?;
        file.sync_all()?;
        File::open(&building)?.sync_all()?;

        let dir = self.dir.join("spool").join(token.to_string());
        fs::rename(&building, &dir)?;
        File::open(self.dir.join("spool"))?.sync_all()?;
        Ok(Entry { dir, report })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // An empty home is removed; one with reports waits for the next worker.
        let empty = subdirs(&self.dir.join("spool")).is_ok_and(|dirs| dirs.is_empty());
        if empty && remove_dir(&self.dir).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
        let _ = self.lock.unlock();
    }
}

const REPORT: &str = "report.bin";

fn read_report(dir: &Path) -> io::Result<Report> {
    // A name with a dot was still being built.
    let built = dir
        .file_name()
        .is_some_and(|n| !n.as_encoded_bytes().starts_with(b"."));
    let report = Report::decode(fs::read(dir.join(REPORT))?.as_slice())?;
    if built && report.lease().is_some() {
        Ok(report)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

fn subdirs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|e| e.map(|e| e.path()))
            .collect::<io::Result<Vec<_>>>()?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => vec![],
        Err(e) => return Err(e),
    };
    dirs.retain(|d| d.is_dir());
    dirs.sort();
    Ok(dirs)
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "http://here:1";

    fn report(token: LeaseToken, coordinator: &str, digest: BlobDigest) -> Report {
        Report {
            coordinator: coordinator.into(),
            complete: Some(v1::CompleteRequest {
                lease: Some(v1::Lease {
                    token: token.to_string(),
                    ..Default::default()
                }),
                metrics: vec![v1::Metric {
                    value: 0.1 + 0.2,
                    ..Default::default()
                }],
                artifacts: vec![v1::Artifact {
                    name: "curve.csv".into(),
                    digest: digest.to_string(),
                    size_bytes: 5,
                }],
                ..Default::default()
            }),
            fail: None,
        }
    }

    fn open(root: &Path, coordinator: &str) -> (Home, Vec<Entry>) {
        Home::open(root, WorkerId::new(), coordinator).expect("opens")
    }

    fn spool_one(root: &Path, coordinator: &str) -> Report {
        let (home, _) = open(root, coordinator);
        let token = LeaseToken::new();
        let file = home.work_dir(token).expect("made").join("curve.csv");
        fs::write(&file, "curve").expect("written");
        let digest = BlobDigest::of(b"curve");
        let report = report(token, coordinator, digest);
        home.put(
            token,
            report.clone(),
            &[(digest, file.clone()), (digest, file)],
        )
        .expect("spooled");
        report
    }

    #[test]
    fn a_report_outlives_its_worker_bit_by_bit() {
        let root = tempfile::tempdir().expect("a directory");
        let report = spool_one(root.path(), HERE);
        let (home, entries) = open(root.path(), HERE);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].report, report);
        let digest = BlobDigest::of(b"curve").to_string();
        assert_eq!(fs::read(entries[0].blob(&digest)).expect("there"), b"curve");
        entries[0].remove().expect("removed");
        entries[0].remove().expect("twice is fine");
        drop(home);
        let left = fs::read_dir(root.path().join("workers")).expect("there");
        assert_eq!(left.count(), 1, "only the guard's lock file stays");
    }

    #[test]
    fn a_living_workers_reports_are_its_own() {
        let root = tempfile::tempdir().expect("a directory");
        let (first, _) = open(root.path(), HERE);
        let token = LeaseToken::new();
        let digest = BlobDigest::of(b"");
        first
            .put(token, report(token, HERE, digest), &[])
            .expect("spooled");
        let (_second, entries) = open(root.path(), HERE);
        assert!(entries.is_empty());
    }

    #[test]
    fn another_coordinators_reports_wait_for_it() {
        let root = tempfile::tempdir().expect("a directory");
        spool_one(root.path(), "http://there:1");
        assert!(open(root.path(), HERE).1.is_empty());
        assert_eq!(open(root.path(), "http://there:1").1.len(), 1);
    }

    #[test]
    fn what_was_cut_off_is_cleared_away() {
        let root = tempfile::tempdir().expect("a directory");
        let dead = root.path().join("workers/dead");
        for (name, bytes) in [("unfinished", None), ("garbled", Some([0xff; 9]))] {
            let dir = dead.join("spool").join(name);
            fs::create_dir_all(&dir).expect("made");
            if let Some(bytes) = bytes {
                fs::write(dir.join(REPORT), bytes).expect("written");
            }
        }
        fs::create_dir_all(dead.join("work/attempt")).expect("made");
        File::create(root.path().join("workers/dead.lock")).expect("made");
        let (_home, entries) = open(root.path(), HERE);
        assert!(entries.is_empty());
        assert!(!dead.exists());
    }
}

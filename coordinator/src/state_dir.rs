//! The folder that one coordinator at a time works in.
//!
//! The lock is the operating system's and goes with the process, however that
//! ends; what stands in the lock file only tells people and clients who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A state folder that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another coordinator works in it.
    #[error(
        "another coordinator{holder} already works in {}: use that one, stop it first, or give --state another folder", dir.display()
    )]
    Held {
        /// The folder.
        dir: PathBuf,
        /// " (process 12 at http://…)", or nothing if it has not said yet.
        holder: String,
    },
    /// It cannot be made or written.
    #[error("cannot use {} as state folder: {source}", path.display())]
    Io {
        /// The folder or the file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Who works in a state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub url: String,
}

/// The right to work in a state folder.
#[derive(Debug)]
pub struct StateLock {
    file: File,
    path: PathBuf,
}

impl StateLock {
    /// Makes the folder if it is missing, and takes it.
    ///
    /// # Errors
    /// If another coordinator works in it, or it cannot be written.
    pub fn take(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join("lock");
        let io = |source| StateError::Io {
            path: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(io)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        let mut patience = 10;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file, path }),
                Err(TryLockError::WouldBlock) => match read_holder(&file) {
                    // Nameless: a process that only looks, or one that starts.
                    None if patience > 0 => {
                        patience -= 1;
                        std::thread::sleep(std::time::Duration::from_millis(50));
                    }
                    holder => return Err(held(dir, holder)),
                },
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
    }

    /// Says who holds the folder, for other processes to read.
    ///
    /// # Errors
    /// If the lock file cannot be written.
    pub fn announce(&mut self, url: &str) -> Result<(), StateError> {
        let holder = Holder {
            pid: std::process::id(),
            url: url.to_owned(),
        };
        let text = serde_json::to_string(&holder).expect("two plain fields");
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .map_err(|source| StateError::Io {
                path: self.path.clone(),
                source,
            })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // Only tidiness: without the lock nobody believes the text.
        drop(self.file.set_len(0));
    }
}

/// Refuses a folder in which a coordinator works now, without touching it.
///
/// # Errors
/// If there is one.
pub fn refuse_if_held(dir: &Path) -> Result<(), StateError> {
    match probe(dir) {
        Probe::Free => Ok(()),
        Probe::Held(holder) => Err(held(dir, holder)),
    }
}

/// The coordinator that works in this folder now.
pub fn holder(dir: &Path) -> Option<Holder> {
    match probe(dir) {
        Probe::Free => None,
        Probe::Held(holder) => holder,
    }
}

/// Whether some process holds the lock of this file. A file that is not there is
/// held by nobody.
pub fn is_locked(path: &Path) -> bool {
    File::open(path)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

enum Probe {
    Free,
    Held(Option<Holder>),
}

fn probe(dir: &Path) -> Probe {
    let Ok(file) = File::open(dir.join("lock")) else {
        return Probe::Free;
    };
    // Shared, so that two processes that only look don't see each other.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Probe::Held(read_holder(&file)),
        Ok(()) | Err(TryLockError::Error(_)) => Probe::Free,
    }
}

fn read_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn held(dir: &Path, holder: Option<Holder>) -> StateError {
    StateError::Held {
        dir: dir.to_owned(),
        holder: holder.map_or(String::new(), |h| {
            format!(" (process {} at {})", h.pid, h.url)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_coordinators_do_not_share_a_state() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let state = dir.path().join("state");
        assert!(refuse_if_held(&state).is_ok());
        assert!(!state.exists(), "looking must not create it");

        let mut lock = StateLock::take(&state).expect("nobody holds it");
        lock.announce("http://127.0.0.1:7070").expect("writable");
        for error in [
            StateLock::take(&state).expect_err("it is held"),
            refuse_if_held(&state).expect_err("it is held"),
        ] {
            let text = error.to_string();
            assert!(text.contains("http://127.0.0.1:7070"), "{text}");
            assert!(text.contains(&std::process::id().to_string()), "{text}");
        }
        assert_eq!(holder(&state).map(|h| h.pid), Some(std::process::id()));

        drop(lock);
        assert_eq!(holder(&state), None);
        StateLock::take(&state).expect("it is free again");
    }
}

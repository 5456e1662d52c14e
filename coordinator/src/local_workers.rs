//! `worker` processes on this machine, kept alive while a sweep runs.
//!
//! They are processes of their own, in a process group of their own: a
//! coordinator that dies leaves them at work, and they deliver to the next one.
//! Each holds its slot's lock file, so that the next one doesn't start a second
//! worker for the slot.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::state_dir;

/// A worker that ends sooner than this, uncalled, has crashed at its start.
const CRASH_WITHIN: Duration = Duration::from_secs(30);
/// So many crashes at the start in a row, and the slot is given up.
const CRASHES_MAX: u32 = 5;
/// First pause after a crash; doubled each time.
const BACKOFF: Duration = Duration::from_millis(500);
/// Time for a worker that was told to drain, then for one that got SIGTERM.
const DRAIN_GRACE: Duration = Duration::from_secs(10);
const STOP_GRACE: Duration = Duration::from_secs(20);
/// How often a slot that an earlier run's worker holds is looked at again.
const SURVIVOR_POLL: Duration = Duration::from_millis(500);
/// How long a worker looks for a coordinator that is gone before it ends.
const GIVE_UP_SECS: u32 = 120;

/// What local workers are told.
#[derive(Debug, Clone)]
pub struct LocalWorkerOptions {
    /// How many.
    pub count: u32,
    /// Compute threads of each.
    pub threads: u32,
    /// The coordinator's address as seen from this machine.
    pub url: String,
    /// State folder: slot locks and logs.
    pub state: PathBuf,
    /// Certificate that the coordinator is trusted by.
    pub ca: Option<PathBuf>,
    /// File with the workers' token.
    pub token_file: Option<PathBuf>,
}

/// Local workers that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalWorkerError {
    /// There is no such program.
    #[error(
        "cannot find the `worker` program beside {} or on PATH: build it with `cargo build --release`, or leave out --local-workers", beside.display()
    )]
    Missing {
        /// Where it was looked for first.
        beside: PathBuf,
    },
    /// It cannot be started.
    #[error("cannot start {}: {source}", path.display())]
    Start {
        /// The program or the log file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It ends again and again.
    #[error("local worker {slot} ended {CRASHES_MAX} times in a row ({status}); its log {} ends with:\n{tail}", log.display())]
    Crashing {
        /// The worker.
        slot: u32,
        /// How it ended last.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
}

/// The `worker` program: beside this one (as cargo builds them), else on PATH.
///
/// # Errors
/// If it is in neither place.
pub fn find_worker() -> Result<PathBuf, LocalWorkerError> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned))
        .unwrap_or_default();
    let name = format!("worker{}", std::env::consts::EXE_SUFFIX);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(beside.clone())
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(&name))
        .find(|candidate| candidate.is_file())
        .ok_or(LocalWorkerError::Missing { beside })
}

/// Running local workers.
#[derive(Debug)]
pub struct LocalWorkers {
    slots: JoinSet<Result<(), LocalWorkerError>>,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl LocalWorkers {
    /// Starts a worker in each slot that no worker of an earlier run holds.
    ///
    /// # Errors
    /// If there is no `worker` program.
    pub fn start(options: &LocalWorkerOptions) -> Result<Self, LocalWorkerError> {
        let program = find_worker()?;
        let logs = options.state.join("logs");
        std::fs::create_dir_all(&logs).map_err(|source| LocalWorkerError::Start {
            path: logs.clone(),
            source,
        })?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let mut slots = JoinSet::new();
        for number in 1..=options.count {
            let slot = Slot {
                number,
                program: program.clone(),
                lock: options.state.join(format!("local-worker-{number}.lock")),
                log: logs.join(format!("worker-{number}.log")),
                options: options.clone(),
                backoff: BACKOFF,
                drain: drain.clone(),
                stop: stop.clone(),
            };
            slots.spawn(slot.keep_alive());
        }
        Ok(Self { slots, drain, stop })
    }

    /// Waits until every slot has been given up; while one is alive there is
    /// hope.
    ///
    /// # Errors
    /// The first slot's reason, once the last is given up.
    pub async fn all_failed(&mut self) -> LocalWorkerError {
        let mut first = None;
        while let Some(slot) = self.slots.join_next().await {
            if let Ok(Err(error)) = slot {
                tracing::error!(%error, "a local worker was given up");
                first.get_or_insert(error);
            }
        }
        match first {
            Some(error) => error,
            // No slot at all, or all drained: nothing that this could report.
            None => std::future::pending().await,
        }
    }

    /// Waits for the workers to end by themselves, which they do once the
    /// coordinator answers "drain"; then asks them to stop.
    pub async fn drained(mut self) {
        self.drain.cancel();
        while self.slots.join_next().await.is_some() {}
    }

    /// Asks the workers to write a checkpoint, give back their jobs and end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.slots.join_next().await.is_some() {}
    }
}

struct Slot {
    number: u32,
    program: PathBuf,
    lock: PathBuf,
    log: PathBuf,
    options: LocalWorkerOptions,
    backoff: Duration,
    drain: CancellationToken,
    stop: CancellationToken,
}

impl Slot {
    async fn keep_alive(self) -> Result<(), LocalWorkerError> {
        let mut crashes = 0;
        loop {
            if !self.wait_for_survivor().await {
                return Ok(());
            }
            let mut child = self.spawn()?;
            let mut young = true;
            let status = loop {
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {
                        self.terminate(child).await;
                        return Ok(());
                    }
                    () = self.drain.cancelled() => {
                        if tokio::time::timeout(DRAIN_GRACE, child.wait()).await.is_err() {
                            self.terminate(child).await;
                        }
                        return Ok(());
                    }
                    status = child.wait() => break status,
                    () = tokio::time::sleep(CRASH_WITHIN), if young => young = false,
                }
            };
            let status = status.map_err(|source| self.start_error(source))?;
            crashes = if young { crashes + 1 } else { 1 };
            tracing::warn!(slot = self.number, %status, crashes, "a local worker ended");
            if crashes >= CRASHES_MAX {
                return Err(LocalWorkerError::Crashing {
                    slot: self.number,
                    status,
                    tail: tail(&self.log),
                    log: self.log,
                });
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = self.drain.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.backoff * 2u32.pow(crashes - 1)) => {}
            }
        }
    }

    /// Whether the slot became free before the workers were to end. The worker of
    /// an earlier run ends as ours do: it is told to drain by the coordinator, or
    /// to stop by a signal.
    async fn wait_for_survivor(&self) -> bool {
        if state_dir::is_locked(&self.lock) {
            tracing::info!(slot = self.number, "a worker of an earlier run goes on");
        }
        while state_dir::is_locked(&self.lock) {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => self.terminate_survivor().await,
                () = self.drain.cancelled() => {
                    if !self.is_free_within(DRAIN_GRACE).await {
                        self.terminate_survivor().await;
                    }
                }
                () = tokio::time::sleep(SURVIVOR_POLL) => continue,
            }
            return false;
        }
        !self.stop.is_cancelled() && !self.drain.is_cancelled()
    }

    async fn terminate_survivor(&self) {
        match std::fs::read_to_string(&self.lock).map(|text| text.trim().parse()) {
            Ok(Ok(pid)) if state_dir::is_locked(&self.lock) => terminate(pid),
            _ => {}
        }
        if !self.is_free_within(STOP_GRACE).await {
            tracing::warn!(
                slot = self.number,
                "a worker of an earlier run did not stop; it ends by itself \
                 {GIVE_UP_SECS} s after its job"
            );
        }
    }

    async fn is_free_within(&self, grace: Duration) -> bool {
        let free = async {
            while state_dir::is_locked(&self.lock) {
                tokio::time::sleep(SURVIVOR_POLL).await;
            }
        };
        tokio::time::timeout(grace, free).await.is_ok()
    }

    fn spawn(&self) -> Result<Child, LocalWorkerError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .and_then(|out| Ok((out.try_clone()?, out)));
        let (stdout, stderr) = log.map_err(|source| LocalWorkerError::Start {
            path: self.log.clone(),
            source,
        })?;
        let mut command = Command::new(&self.program);
        command
            .args(["--coordinator", &self.options.url])
            .args(["--threads", &self.options.threads.to_string()])
            .args(["--label", &format!("local-{}", self.number)])
            .args(["--give-up-secs", &GIVE_UP_SECS.to_string()])
            .arg("--exit-when-drained")
            .arg("--slot-lock")
            .arg(&self.lock)
            .arg("--cache")
            .arg(self.options.state.join("worker-cache"))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C on the terminal is for the coordinator, which then stops
            // its workers in good order.
            .process_group(0);
        for (flag, file) in [
            ("--ca", &self.options.ca),
            ("--token-file", &self.options.token_file),
        ] {
            if let Some(file) = file {
                command.arg(flag).arg(file);
            }
        }
        command.spawn().map_err(|source| self.start_error(source))
    }

    async fn terminate(&self, mut child: Child) {
        // The child was not waited for yet, so the id is still its own.
        if let Some(pid) = child.id() {
            terminate(pid);
        }
        if tokio::time::timeout(STOP_GRACE, child.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                slot = self.number,
                "a local worker did not stop; killing it"
            );
            drop(child.kill().await);
        }
    }

    fn start_error(&self, source: std::io::Error) -> LocalWorkerError {
        LocalWorkerError::Start {
            path: self.program.clone(),
            source,
        }
    }
}

/// Asks a process to end.
fn terminate(pid: u32) {
    // 0 and what is negative would mean whole groups of processes.
    match libc::pid_t::try_from(pid) {
        // SAFETY: plain system call without memory.
        Ok(pid) if pid > 0 => drop(unsafe { libc::kill(pid, libc::SIGTERM) }),
        _ => {}
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    const BYTES: u64 = 4096;
    const LINES: usize = 8;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let mut lines = VecDeque::with_capacity(LINES);
    for line in text.lines() {
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    Vec::from(lines).join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A slot whose worker is this shell script.
    fn slot(dir: &Path, script: &str) -> Slot {
        let program = dir.join("worker");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writable");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
            .expect("our file");
        Slot {
            number: 1,
            program,
            lock: dir.join("slot.lock"),
            log: dir.join("worker.log"),
            options: LocalWorkerOptions {
                count: 1,
                threads: 1,
                url: "http://127.0.0.1:1".into(),
                state: dir.into(),
                ca: None,
                token_file: None,
            },
            backoff: Duration::from_millis(1),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_worker_that_keeps_dying_is_given_up_with_its_last_words() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = slot(dir.path(), "echo no such device >&2; exit 3")
            .keep_alive()
            .await
            .expect_err("it always dies");
        let text = error.to_string();
        assert!(text.contains("no such device"), "{text}");
        let starts = std::fs::read_to_string(dir.path().join("worker.log")).expect("a log");
        assert_eq!(starts.lines().count(), CRASHES_MAX as usize);
    }

    #[tokio::test]
    async fn a_stopped_worker_gets_the_chance_to_put_its_work_away() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let slot = slot(
            dir.path(),
            "trap 'echo put away; exit 0' TERM; echo at work; while :; do sleep 0.05; done",
        );
        let (stop, log) = (slot.stop.clone(), slot.log.clone());
        let task = tokio::spawn(slot.keep_alive());
        while !std::fs::read_to_string(&log).is_ok_and(|t| t.contains("at work")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
        task.await
            .expect("no panic")
            .expect("stopped in good order");
        let text = std::fs::read_to_string(&log).expect("a log");
        assert!(text.contains("put away"), "{text}");
    }

    #[tokio::test]
    async fn a_slot_that_a_survivor_holds_is_left_to_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let slot = slot(dir.path(), "echo a second worker; exit 0");
        let lock = File::create(&slot.lock).expect("writable");
        lock.lock().expect("nobody holds it");
        let (drain, log) = (slot.drain.clone(), slot.log.clone());
        let task = tokio::spawn(slot.keep_alive());
        tokio::time::sleep(Duration::from_millis(100)).await;
        drain.cancel();
        drop(lock);
        task.await.expect("no panic").expect("nothing to give up");
        assert!(!log.exists(), "the slot was held");
    }

    #[tokio::test]
    async fn a_survivor_is_stopped_with_the_rest() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let slot = slot(dir.path(), "echo a second worker; exit 0");
        let mut survivor = Command::new("sleep").arg("600").spawn().expect("a sleep");
        let pid = survivor.id().expect("it runs");
        std::fs::write(&slot.lock, pid.to_string()).expect("writable");
        let lock = File::open(&slot.lock).expect("it is there");
        lock.lock().expect("nobody holds it");
        let (stop, log) = (slot.stop.clone(), slot.log.clone());
        let task = tokio::spawn(slot.keep_alive());
        stop.cancel();
        let status = survivor.wait().await.expect("our child");
        assert!(!status.success(), "it was asked to end");
        drop(lock);
        task.await.expect("no panic").expect("nothing to give up");
        assert!(!log.exists(), "no other worker was started");
    }
}

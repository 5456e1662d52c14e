//! The harness of the end-to-end tests: the real programs, real processes, real
//! signals, in a folder of the test's own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub mod answer;
pub mod base;
pub mod stored;

/// The two programs, built once per test process with the profile of the tests.
pub struct Programs {
    /// `coordinator`.
    pub coordinator: PathBuf,
    /// `worker`.
    pub worker: PathBuf,
}

/// Builds the programs if need be (a look at the time stamps, otherwise).
pub fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        // The test itself lies in target/PROFILE/deps.
        let own = std::env::current_exe().expect("a running program has a path");
        let folder = own
            .ancestors()
            .nth(2)
            .expect("cargo puts tests two folders below the profile's")
            .to_owned();
        let profile = match folder.file_name().and_then(|n| n.to_str()) {
            Some("debug") => "dev",
            Some(name) => name,
            None => "dev",
        };
        // The whole workspace: a part of it would turn off features of dependencies.
        let status = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["build", "--quiet", "--workspace", "--bins"])
            .args(["--profile", profile])
            .current_dir(repository())
            .status()
            .expect("cargo runs, since it runs this test");
        assert!(status.success(), "the programs do not build");
        Programs {
            coordinator: folder.join("coordinator"),
            worker: folder.join("worker"),
        }
    })
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
}

/// A port of the loopback that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("the loopback has a free port")
        .port()
}

/// A program that has run to its end.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Finished {
    /// Asserts success; shows what was printed otherwise.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs a program to its end, in a folder.
pub fn run(program: &Path, folder: &Path, args: &[&str]) -> Finished {
    run_with(program, folder, args, &[])
}

/// Runs a program to its end with these environment variables.
pub fn run_with(program: &Path, folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Finished {
    let output = command(program, folder, args, env)
        .output()
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
    Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn command(program: &Path, folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("RUST_LOG")
        .env_remove("SEEDBED_STATE")
        .env_remove("SEEDBED_COORDINATOR")
        // A cache of the test's own, unless it says otherwise.
        .env("SEEDBED_CACHE", folder.join("cache"))
        .envs(env.iter().copied());
    command
}

/// A program that runs beside the test, killed when the value is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes into `FOLDER/NAME.log`.
    pub fn start(name: &str, program: &Path, folder: &Path, args: &[&str]) -> Self {
        Self::start_with(name, program, folder, args, &[])
    }

    /// Starts a program with these environment variables.
    pub fn start_with(
        name: &str,
        program: &Path,
        folder: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the test's folder is writable");
        let child = command(program, folder, args, env)
            .stdout(file.try_clone().expect("an open file can be shared"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
        Self { child, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end.
    pub fn kill9(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        // SAFETY: a plain system call on a child that has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; panics with its log after `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(
                start.elapsed() < limit,
                "still running after {limit:?}; its log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended: fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `ready` answers `Some`; panics with `what` after `limit`.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < limit, "no {what} after {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every file below a folder: path relative to it, and content.
pub fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![];
    let mut todo = vec![folder.to_owned()];
    while let Some(next) = todo.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .expect("found below it")
                    .to_owned();
                files.push((name, fs::read(&path).unwrap_or_default()));
            }
        }
    }
    files.sort();
    files
}

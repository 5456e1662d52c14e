//! What the agent needs to know, checked once at the start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seedbed_proto::job::Ops;

use crate::cli::AgentArgs;
use crate::device::DeviceChoice;
use crate::host::CheckpointPolicy;

/// A complete, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the coordinator.
    pub server: Server,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Implementations of the operations to offer; none named: all of the device.
    pub ops: Vec<Ops>,
    /// Compute threads.
    pub threads: u32,
    /// Root of inputs, unfinished jobs and undelivered results.
    pub cache_dir: PathBuf,
    /// Largest size of the input cache.
    pub cache_bytes_max: u64,
    /// Largest size of the kept activations.
    pub shared_bytes_max: u64,
    /// Name for people.
    pub label: String,
    /// When a job hands over a checkpoint.
    pub checkpoint: CheckpointPolicy,
    /// Longest silence of the coordinator while no job runs.
    pub give_up: Option<Duration>,
    /// Longest time without work.
    pub idle_exit: Option<Duration>,
    /// Whether "nothing left to do" ends the worker.
    pub exit_when_drained: bool,
}

/// Address and credentials of the coordinator.
#[derive(Debug, Clone)]
pub struct Server {
    /// `http://…` or `https://…`.
    pub url: String,
    /// Certificate authority, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Bearer token.
    pub token: Option<String>,
}

/// An option that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No coordinator was named.
    #[error(
        "no coordinator is named: give its address with --coordinator http://HOST:PORT \
         (or in SEEDBED_COORDINATOR)"
    )]
    NoCoordinator,
    /// The address is not one.
    #[error("--coordinator {url:?}: must look like http://HOST:PORT or https://HOST:PORT")]
    Url {
        /// What was given.
        url: String,
    },
    /// TLS without an authority to check against.
    #[error("--coordinator {url}: https needs --ca FILE, the authority of its certificate")]
    NoCa {
        /// What was given.
        url: String,
    },
    /// A file can't be read.
    #[error("{option} {}: {source}", path.display())]
    File {
        /// The option that named it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The token file is empty or holds more than a token.
    #[error("--token-file {}: must hold one token on one line", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
}

impl Config {
    /// Checks the options and reads the files that they name.
    ///
    /// # Errors
    /// If an option can't be used; it is named.
    pub fn new(args: &AgentArgs) -> Result<Self, ConfigError> {
        let secs = |s: f64| (s > 0.0).then(|| Duration::from_secs_f64(s));
        let bytes = |gib: f64| (gib * f64::from(1 << 30)) as u64;
        Ok(Self {
            server: server(args)?,
            device: args.device,
            ops: args.ops.clone(),
            threads: threads(args),
            cache_dir: args.cache.clone().unwrap_or_else(default_cache_dir),
            cache_bytes_max: bytes(args.cache_gib),
            shared_bytes_max: bytes(args.activations_gib),
            label: args.label.clone(),
            checkpoint: CheckpointPolicy {
                every: secs(args.checkpoint_secs),
                every_steps: args.checkpoint_steps,
            },
            give_up: secs(args.give_up_secs),
            idle_exit: secs(args.idle_exit_secs),
            exit_when_drained: args.exit_when_drained,
        })
    }
}

/// The compute threads that the options ask for.
pub fn threads(args: &AgentArgs) -> u32 {
    args.threads.unwrap_or_else(|| {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        u32::try_from(all).unwrap_or(u32::MAX)
    })
}

fn server(args: &AgentArgs) -> Result<Server, ConfigError> {
    let url = args.coordinator.clone().ok_or(ConfigError::NoCoordinator)?;
    let url = url.trim_end_matches('/').to_owned();
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let parsed = url.parse::<tonic::transport::Uri>();
    if rest.is_none_or(str::is_empty) || !parsed.is_ok_and(|u| u.host().is_some()) {
        return Err(ConfigError::Url { url });
    }
    let ca_pem = match &args.ca {
        Some(path) => Some(std::fs::read(path).map_err(|e| unreadable("--ca", path, e))?),
        None if url.starts_with("https://") => return Err(ConfigError::NoCa { url }),
        None => None,
    };
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    Ok(Server { url, ca_pem, token })
}

fn read_token(path: &Path) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| unreadable("--token-file", path, e))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(ConfigError::Token { path: path.into() });
    }
    Ok(token.to_owned())
}

fn unreadable(option: &'static str, path: &Path, source: std::io::Error) -> ConfigError {
    ConfigError::File {
        option,
        path: path.into(),
        source,
    }
}

fn default_cache_dir() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    match base {
        Some(dir) => dir.join("seedbed"),
        None => PathBuf::from(".seedbed-cache"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn check(args: &[&str], expect: &str) {
        let line = [&["worker"], args].concat();
        let cli = Cli::try_parse_from(line).expect("clap takes it");
        let text = match Config::new(&cli.agent) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(expect), "{args:?}: {text}");
    }

    #[test]
    fn wrong_options_are_named() {
        check(&["--coordinator", "http://127.0.0.1:7070/"], "fine");
        check(
            &["--coordinator", "localhost:7070"],
            "must look like http://",
        );
        check(&["--coordinator", "http://"], "must look like http://");
        check(&["--coordinator", "https://head:7070"], "needs --ca FILE");
        check(
            &["--coordinator", "http://h:1", "--token-file", "no/such"],
            "--token-file no/such: ",
        );
    }

    #[test]
    fn a_token_is_one_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        for (text, good) in [
            ("abc\n", true),
            ("", false),
            ("a b", false),
            ("a\nb\n", false),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(read_token(&file).is_ok(), good, "{text:?}");
        }
    }
}

//! The download itself, by hf-hub.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use seedbed_proto::job::HubModel;
use seedbed_proto::result::FailureReason;

use super::FILES;
use crate::gpt2::shards;
use crate::job::{JobError, WEIGHTS_INDEX};

const PUBLIC_HUB: &str = "https://huggingface.co";

/// Attempts at one file; each goes on where the last one was cut off.
const ATTEMPTS: usize = 3;

/// What the environment says about the hub.
#[derive(Debug, Clone)]
pub struct Settings {
    endpoint: String,
    cache: PathBuf,
    token: Option<String>,
    offline: bool,
    /// Longest time without a byte; hf-hub itself would wait for ever.
    stall: Duration,
}

impl Settings {
    /// Reads the environment.
    pub fn from_env() -> Self {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(var: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| var(name).filter(|text| !text.is_empty());
        let is_on = |name| {
            let text = var(name).unwrap_or_default().to_ascii_lowercase();
            ["1", "true", "yes", "on"].contains(&text.as_str())
        };
        let home = var("HF_HOME").map(|home| PathBuf::from(home).join("hub"));
        let cache = var("HF_HUB_CACHE").map(PathBuf::from).or(home);
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| PUBLIC_HUB.into()),
            cache: cache.unwrap_or_else(|| Cache::default().path().clone()),
            token: var("HF_TOKEN"),
            offline: is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
            stall: Duration::from_secs(60),
        }
    }
}

/// Brings the files into `dir`; for weights in shards, the index and all of them.
///
/// # Errors
/// If one can't be had.
pub fn fetch(model: &HubModel, dir: &Path, settings: &Settings) -> Result<[PathBuf; 3], JobError> {
    let cache = Cache::new(settings.cache.clone());
    let (id, revision) = (model.repo.clone(), model.revision.clone());
    let repo = Repo::with_revision(id, RepoType::Model, revision);
    let obtain = |name: &str| -> Result<PathBuf, Trouble> {
        let to = dir.join(name);
        let found = match cached(&cache, &repo, name) {
            Some(found) => found,
            None if settings.offline => return Err(Trouble::NotCached),
            None => download(model, &cache, &repo, name, settings)?,
        };
        match place(&found, &to) {
            Ok(()) => Ok(to),
            Err(e) => Err(Trouble::Local(format!(
                "can't place {} at {}: {e}",
                found.display(),
                to.display()
            ))),
        }
    };
    let tell = |trouble: Trouble, name: &str| trouble.tell(model, name, settings);
    let get = |name: &str| obtain(name).map_err(|trouble| tell(trouble, name));
    let [config, weights, tokenizer] = FILES;
    let config = get(config)?;
    let weights = match obtain(weights) {
        Ok(file) => file,
        Err(first @ (Trouble::Status(404) | Trouble::NotCached)) => match obtain(WEIGHTS_INDEX) {
            Ok(index) => {
                for shard in shards::names(&index)? {
                    get(&shard)?;
                }
                index
            }
            // Neither is there: it is the usual one that is missed.
            Err(_) => return Err(tell(first, weights)),
        },
        Err(trouble) => return Err(tell(trouble, weights)),
    };
    Ok([config, weights, get(tokenizer)?])
}

fn cached(cache: &Cache, repo: &Repo, name: &str) -> Option<PathBuf> {
    let local = cache.repo(repo.clone());
    local.get(name).or_else(|| {
        // Other tools note no reference for a revision that is a commit.
        let direct = local.pointer_path(repo.revision()).join(name);
        direct.exists().then_some(direct)
    })
}

/// Why a file did not come.
enum Trouble {
    /// The hub answered with this status.
    Status(u16),
    /// Anything that another attempt may cure.
    Passing(String),
    /// Nothing may be downloaded, and it is not in the cache.
    NotCached,
    /// The disk of this worker refused it.
    Local(String),
}

fn download(
    model: &HubModel,
    cache: &Cache,
    repo: &Repo,
    name: &str,
    settings: &Settings,
) -> Result<PathBuf, Trouble> {
    let passing = |e: ApiError| Trouble::Passing(e.to_string());
    let mut builder = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(settings.endpoint.clone())
        .with_progress(false);
    if let Some(token) = &settings.token {
        builder = builder.with_token(Some(token.clone()));
    }
    let api = builder.build().map_err(passing)?;
    let mut last = Trouble::Passing(String::new());
    for _ in 0..ATTEMPTS {
        let repo = api.repo(repo.clone());
        match watched(repo, name, settings.stall) {
            Ok(file) => return Ok(file),
            Err(Trouble::Passing(cause)) => {
                tracing::warn!("{} {name}: {cause}", model.repo);
                last = Trouble::Passing(cause);
            }
            Err(final_one) => return Err(final_one),
        }
    }
    Err(last)
}

/// One attempt, given up when no byte comes for too long. The thread of an
/// attempt that was given up stays behind until its connection breaks.
fn watched(repo: ApiRepo, name: &str, stall: Duration) -> Result<PathBuf, Trouble> {
    let meter = Meter::default();
    let (bytes, total) = (meter.bytes.clone(), meter.total.clone());
    let (tx, rx) = mpsc::channel();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let _ = tx.send(repo.download_with_progress(&name, meter));
    });
    let mut seen = 0;
    let answer = loop {
        match rx.recv_timeout(stall) {
            Ok(answer) => break answer,
            Err(RecvTimeoutError::Timeout) => {
                let now = bytes.load(Ordering::Relaxed);
                if now == seen {
                    let text = format!("no data for {} s", stall.as_secs());
                    return Err(Trouble::Passing(text));
                }
                seen = now;
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Trouble::Passing("the download broke down".into()));
            }
        }
    };
    let file = answer.map_err(|error| match status(&error) {
        Some(code) if (400..500).contains(&code) && code != 408 && code != 429 => {
            Trouble::Status(code)
        }
        _ => Trouble::Passing(error.to_string()),
    })?;
    // hf-hub takes whatever came for the whole file.
    let expected = total.load(Ordering::Relaxed);
    match fs::metadata(&file) {
        Ok(meta) if meta.len() == expected => Ok(file),
        _ => {
            if let Ok(blob) = fs::canonicalize(&file) {
                let _ = fs::remove_file(blob);
            }
            let _ = fs::remove_file(&file);
            let text = format!("came incomplete ({expected} bytes were announced)");
            Err(Trouble::Passing(text))
        }
    }
}

/// Counts bytes, for the watch over a stall.
#[derive(Default)]
struct Meter {
    bytes: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Progress for Meter {
    fn init(&mut self, size: usize, _filename: &str) {
        self.total.store(size as u64, Ordering::Relaxed);
        self.bytes.fetch_add(1, Ordering::Relaxed);
    }

    fn update(&mut self, size: usize) {
        self.bytes.fetch_add(size as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

/// The HTTP status of an error; hf-hub shows it in its text alone.
fn status(error: &ApiError) -> Option<u16> {
    let text = error.to_string();
    let (_, code) = text.split_once("http status: ")?;
    code.get(..3)?.parse().ok()
}

/// A file of the attempt's own: its bytes are linked where that works.
fn place(found: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to.parent().expect("a file lies in a directory"))?;
    let bytes = fs::canonicalize(found)?;
    fs::hard_link(&bytes, to).or_else(|_| fs::copy(&bytes, to).map(drop))
}

impl Trouble {
    fn tell(self, model: &HubModel, name: &str, settings: &Settings) -> JobError {
        let HubModel { repo, revision } = model;
        let from = &settings.endpoint;
        let (reason, cause) = match self {
            Self::Status(404) if name.ends_with(".safetensors") => (
                FailureReason::Invalid,
                format!(
                    "{from} has no file {name} of {repo} at revision {revision}, nor an index of \
                     shards: weights of another format have to be saved as safetensors first"
                ),
            ),
            Self::Status(404) => (
                FailureReason::Invalid,
                format!("{from} has no file {name} of {repo} at revision {revision}"),
            ),
            Self::Status(code @ (401 | 403)) => (
                FailureReason::Invalid,
                format!(
                    "{from} denies {name} of {repo} at revision {revision} (status {code}): \
                     it does not exist, or needs a token"
                ),
            ),
            Self::Status(code) => (
                FailureReason::Environment,
                format!("{from} refuses {name} of {repo} (status {code})"),
            ),
            Self::Passing(cause) => (
                FailureReason::Environment,
                format!("can't download {name} of {repo} from {from}: {cause}"),
            ),
            Self::NotCached => (
                FailureReason::Environment,
                format!(
                    "offline (HF_HUB_OFFLINE), and {name} of {repo} at revision {revision} is \
                     not in {}",
                    settings.cache.display()
                ),
            ),
            Self::Local(cause) => return JobError::new(FailureReason::Environment, cause),
        };
        JobError::new(reason, format!("{cause}. {}", way_out()))
    }
}

fn way_out() -> &'static str {
    "To provide the weights: let this worker reach the hub or a mirror of it (HF_ENDPOINT), \
     set HF_TOKEN if the model is gated, or put config.json, model.safetensors and \
     tokenizer.json into a directory and name it in the sweep as `model: {path: DIR}`"
}

#[cfg(test)]
mod tests;

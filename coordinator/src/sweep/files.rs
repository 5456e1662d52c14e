//! The files that a sweep names: which they are, and reading them for a client.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use seedbed_proto::BlobDigest;
use seedbed_proto::job::BaseFiles;
use seedbed_proto::result::Artifact;
use serde::Deserialize;

use super::decode::Setting;
use super::document::Sweep;
use super::model::{Model, ModelShape};
use super::source::{Problems, SweepErrors};

/// Largest `config.json` that is read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Largest index of shards that is read.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Beside it lie weights in several files; it says which tensor is in which.
const INDEX: &str = "model.safetensors.index.json";

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `config.json` of a base; its text is needed for the expansion.
    Config,
    /// `model.safetensors` of a base, or the index of its shards, or one of them.
    Weights,
    /// `tokenizer.json` of a base.
    Tokenizer,
    /// Text to pretrain on.
    Corpus,
}

/// A file that a sweep names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// Its path as in the sweep file, relative to the sweep file's folder.
    pub path: String,
    /// What it is for.
    pub role: Role,
}

/// The files of a sweep, uploaded or about to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Files {
    /// Path as in the sweep file → what it holds.
    pub artifacts: BTreeMap<String, Artifact>,
    /// Path → text, of each file with [`Role::Config`].
    pub configs: BTreeMap<String, String>,
}

/// The files of a sweep, found on this machine.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolved {
    /// What they hold.
    pub files: Files,
    /// Path as in the sweep file → where it lies here.
    pub local: BTreeMap<String, PathBuf>,
}

/// The three files of a base in a folder.
pub(super) fn base_paths(folder: &str) -> [(String, Role); 3] {
    let folder = folder.trim_end_matches('/');
    [
        (format!("{folder}/config.json"), Role::Config),
        (format!("{folder}/model.safetensors"), Role::Weights),
        (format!("{folder}/tokenizer.json"), Role::Tokenizer),
    ]
}

impl Sweep {
    /// The files that the sweep names, each once, in the file's order.
    pub fn files(&self) -> Vec<FileRef> {
        let mut refs: Vec<FileRef> = vec![];
        for (reference, _) in self.references() {
            if !refs.iter().any(|r| r.path == reference.path) {
                refs.push(reference);
            }
        }
        refs
    }

    /// Every reference to a file, with the setting that makes it.
    fn references(&self) -> Vec<(FileRef, &Setting)> {
        let mut found = vec![];
        for setting in self.documents.iter().flat_map(|d| d.models()) {
            let model = Model::of(&setting.value);
            if let Some(folder) = model.folder() {
                for (path, role) in base_paths(folder) {
                    found.push((FileRef { path, role }, setting));
                }
            }
            if let Model::Pretrain { pretrain } = model {
                for path in pretrain.corpus {
                    found.push((
                        FileRef {
                            path,
                            role: Role::Corpus,
                        },
                        setting,
                    ));
                }
            }
        }
        found
    }
}

/// Finds and hashes the files of a sweep; `folder` is the sweep file's own.
///
/// # Errors
/// With every file that is missing or unreadable, at the place that names it.
pub fn resolve(folder: &Path, sweep: &Sweep) -> Result<Resolved, SweepErrors> {
    let mut problems = Problems::default();
    let mut resolved = Resolved::default();
    let mut references = vec![];
    for (reference, setting) in sweep.references() {
        match shards(folder, &reference) {
            Ok(None) => references.push((reference, setting)),
            Ok(Some(shards)) => references.extend(shards.into_iter().map(|s| (s, setting))),
            Err(message) => problems.push(setting.span, &setting.place, message),
        }
    }
    for (FileRef { path, role }, setting) in references {
        if resolved.local.contains_key(&path) {
            continue;
        }
        let local = folder.join(&path);
        match hash(&local, role) {
            Ok((digest, size_bytes, text)) => {
                let name = path.clone();
                let artifact = Artifact {
                    name,
                    digest,
                    size_bytes,
                };
                resolved.files.artifacts.insert(path.clone(), artifact);
                if let Some(text) = text {
                    resolved.files.configs.insert(path.clone(), text);
                }
                resolved.local.insert(path, local);
            }
            Err(error) => {
                let message = format!("can't read {}: {error}", local.display());
                let help = way_out(role);
                problems.push_help(setting.span, &setting.place, message, help);
            }
        }
    }
    problems.into_result(&sweep.source)?;
    Ok(resolved)
}

/// The files in the place of `model.safetensors`, where there is an index in its
/// place: the index, and the shards that it names.
fn shards(folder: &Path, reference: &FileRef) -> Result<Option<Vec<FileRef>>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Some(base) = reference.path.strip_suffix("model.safetensors") else {
        return Ok(None);
    };
    let path = format!("{base}{INDEX}");
    let local = folder.join(&path);
    if reference.role != Role::Weights || folder.join(&reference.path).exists() || !local.exists() {
        return Ok(None);
    }
    let refuse = |why: String| format!("{}: not an index of shards: {why}", local.display());
    let bytes = std::fs::metadata(&local).map_or(0, |meta| meta.len());
    if bytes > INDEX_BYTES_MAX {
        return Err(refuse(format!("{bytes} bytes are too many")));
    }
    let text = std::fs::read_to_string(&local).map_err(|e| refuse(e.to_string()))?;
    let index: Index = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let mut files = vec![path];
    for name in names {
        // An index that comes from elsewhere must not reach into other folders.
        if Path::new(&name).file_name() != Some(name.as_ref()) || !name.ends_with(SHARD) {
            return Err(refuse(format!("{name:?} is not the name of a shard")));
        }
        files.push(format!("{base}{name}"));
    }
    let role = Role::Weights;
    let files = files.into_iter().map(|path| FileRef { path, role });
    Ok(Some(files.collect()))
}

/// How the name of a shard ends.
const SHARD: &str = ".safetensors";

fn way_out(role: Role) -> &'static str {
    match role {
        Role::Config | Role::Weights | Role::Tokenizer => {
            "a base is a folder with config.json, model.safetensors and tokenizer.json; \
             paths are relative to the sweep file"
        }
        Role::Corpus => "paths are relative to the sweep file",
    }
}

/// Digest, size, and the text of a configuration.
fn hash(path: &Path, role: Role) -> std::io::Result<(BlobDigest, u64, Option<String>)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if role == Role::Config {
        if size > CONFIG_BYTES_MAX {
            let message = format!("{size} bytes are too many for a config.json");
            return Err(std::io::Error::other(message));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        return Ok((
            BlobDigest::of(text.as_bytes()),
            text.len() as u64,
            Some(text),
        ));
    }
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; 1 << 20];
    let mut read_bytes = 0;
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            break;
        }
        read_bytes += n as u64;
        hasher.update(&piece[..n]);
    }
    let digest = BlobDigest::from_bytes(*hasher.finalize().as_bytes());
    Ok((digest, read_bytes, None))
}

impl Files {
    /// The shape of a model: from its files, or as far as it is known without.
    ///
    /// # Errors
    /// If its `config.json` is not among the files, or is not a GPT-2's.
    pub fn shape(&self, model: &Model) -> Result<Option<ModelShape>, String> {
        let Some(folder) = model.folder() else {
            return Ok(model.known_shape());
        };
        let [(path, _), ..] = base_paths(folder);
        let text = self.configs.get(&path).ok_or_else(|| missing(&path))?;
        ModelShape::of_config(text)
            .map(Some)
            .map_err(|error| format!("{path} is not a GPT-2 configuration: {error}"))
    }

    /// The files of a base in a folder, its weights in one file or in shards.
    ///
    /// # Errors
    /// If one is not among the files.
    pub(super) fn base(&self, folder: &str) -> Result<BaseFiles, String> {
        let [config, weights, tokenizer] = base_paths(folder).map(|(path, _)| path);
        let within = weights.trim_end_matches("model.safetensors");
        let index = format!("{within}{INDEX}");
        let mut shards = BTreeMap::new();
        let weights = match self.artifacts.get(&index) {
            Some(index) if !self.artifacts.contains_key(&weights) => {
                for (path, artifact) in &self.artifacts {
                    if let Some(name) = path.strip_prefix(within)
                        && name.ends_with(SHARD)
                        && !name.contains('/')
                    {
                        shards.insert(name.to_owned(), artifact.digest);
                    }
                }
                index.digest
            }
            _ => self.digest(&weights)?,
        };
        Ok(BaseFiles {
            config: self.digest(&config)?,
            weights,
            tokenizer: self.digest(&tokenizer)?,
            shards,
        })
    }

    /// The digest of a file that the sweep names.
    pub(super) fn digest(&self, path: &str) -> Result<BlobDigest, String> {
        let artifact = self.artifacts.get(path).ok_or_else(|| missing(path))?;
        Ok(artifact.digest)
    }
}

fn missing(path: &str) -> String {
    format!("{path} is not among the files that came with the sweep")
}

//! Weights in several files, and the index that says which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ModelError;
use super::weights::PREFIX;

/// Name and shape of a tensor.
pub(super) type Wanted = (String, Vec<usize>);

/// `model.safetensors.index.json`, as far as it is needed.
#[derive(Deserialize)]
struct Index {
    /// Tensor → file.
    weight_map: BTreeMap<String, String>,
}

/// Whether this is the name of an index.
pub(super) fn is_index(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".index.json")
}

/// The files that an index names.
///
/// # Errors
/// If it is not an index, or names a file of another folder.
pub fn names(path: &Path) -> Result<BTreeSet<String>, ModelError> {
    let index = read(path)?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    match names.iter().find(|name| !is_file_name(name)) {
        Some(name) => Err(elsewhere(path, name)),
        None => Ok(names),
    }
}

fn read(path: &Path) -> Result<Index, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|e| ModelError::io(path, e))?;
    serde_json::from_str(&text).map_err(|e| refusal(path, e.to_string()))
}

/// An index that comes from elsewhere must not reach into other folders.
fn is_file_name(shard: &str) -> bool {
    Path::new(shard).file_name() == Some(shard.as_ref())
}

fn elsewhere(path: &Path, shard: &str) -> ModelError {
    refusal(path, format!("{shard:?} is not the name of a file"))
}

fn refusal(path: &Path, problem: String) -> ModelError {
    ModelError::Index {
        path: path.to_path_buf(),
        problem,
    }
}

/// Which of the wanted tensors to read from which file. A tensor that the index
/// doesn't name is in none of them.
pub(super) fn plan(
    path: &Path,
    wanted: &[Wanted],
) -> Result<BTreeMap<PathBuf, Vec<Wanted>>, ModelError> {
    let index = read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut plan = BTreeMap::<PathBuf, Vec<Wanted>>::new();
    for (name, shape) in wanted {
        let place = index.weight_map.get(name);
        let Some(shard) = place.or_else(|| index.weight_map.get(&format!("{PREFIX}{name}"))) else {
            continue;
        };
        if !is_file_name(shard) {
            return Err(elsewhere(path, shard));
        }
        let file = folder.join(shard);
        if !file.exists() {
            return Err(ModelError::Shard {
                index: path.to_path_buf(),
                shard: shard.clone(),
                tensor: name.clone(),
            });
        }
        plan.entry(file)
            .or_default()
            .push((name.clone(), shape.clone()));
    }
    Ok(plan)
}

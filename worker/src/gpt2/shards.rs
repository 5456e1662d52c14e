//! Weights in several files, and the index that says which tensor is in which.

use std::collections::BTreeMap;
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

/// Which of the wanted tensors to read from which file. A tensor that the index
/// doesn't name is in none of them.
pub(super) fn plan(
    path: &Path,
    wanted: &[Wanted],
) -> Result<BTreeMap<PathBuf, Vec<Wanted>>, ModelError> {
    let refuse = |problem: String| ModelError::Index {
        path: path.to_path_buf(),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(|e| ModelError::io(path, e))?;
    let index: Index = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut plan = BTreeMap::<PathBuf, Vec<Wanted>>::new();
    for (name, shape) in wanted {
        let place = index.weight_map.get(name);
        let Some(shard) = place.or_else(|| index.weight_map.get(&format!("{PREFIX}{name}"))) else {
            continue;
        };
        // An index that comes from elsewhere must not reach into other folders.
        if Path::new(shard).file_name() != Some(shard.as_ref()) {
            return Err(refuse(format!("{shard:?} is not the name of a file")));
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

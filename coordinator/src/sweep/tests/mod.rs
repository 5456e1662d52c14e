//! The language, seen from outside.

mod disk;
mod language;
mod plans;
mod schema;

use std::collections::BTreeMap;

use seedbed_proto::BlobDigest;
use seedbed_proto::result::Artifact;

use super::files::{Files, Role};
use super::{Planned, Sweep, expand, parse};

/// A base of four blocks, for sweeps that name a folder.
const CONFIG: &str =
    r#"{"n_layer":4,"n_head":4,"n_embd":128,"n_positions":128,"n_ctx":128,"vocab_size":4096}"#;

/// Files as they would be after an upload; contents follow from the names.
pub fn files(sweep: &Sweep) -> Files {
    let (mut artifacts, mut configs) = (BTreeMap::new(), BTreeMap::new());
    for file in sweep.files() {
        let digest = BlobDigest::of(file.path.as_bytes());
        let name = file.path.clone();
        artifacts.insert(
            file.path.clone(),
            Artifact {
                name,
                digest,
                size_bytes: 1,
            },
        );
        if file.role == Role::Config {
            configs.insert(file.path, CONFIG.to_owned());
        }
    }
    Files { artifacts, configs }
}

/// The jobs of a text that must be right.
pub fn jobs(text: &str) -> Vec<Planned> {
    let sweep = parse("sweep.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let jobs = expand(&sweep, &files(&sweep)).unwrap_or_else(|errors| panic!("{errors}"));
    jobs.collect()
}

/// `sweep` with `rest` below it: the shortest right file.
pub fn tiny(rest: &str) -> String {
    format!("name: t\nmodel: {{base: bases/tiny}}\n{rest}")
}

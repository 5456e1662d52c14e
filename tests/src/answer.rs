//! Two runs of a sweep must give the same answer.

use std::path::{Path, PathBuf};

use crate::tree;

/// The files that are functions of the sweep and its results alone; reports are
/// cut before their last part, the provenance.
pub fn canonical(out: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    tree(out)
        .into_iter()
        .filter(|(name, _)| name != Path::new("provenance.json"))
        .map(|(name, bytes)| {
            let marker: &[u8] = match name.extension().and_then(|e| e.to_str()) {
                Some("html") => b"id=\"provenance\"",
                Some("md") => b"## Provenance",
                _ => return (name, bytes),
            };
            let cut = bytes
                .windows(marker.len())
                .position(|w| w == marker)
                .unwrap_or_else(|| panic!("{}: no provenance", name.display()));
            (name, bytes[..cut].to_vec())
        })
        .collect()
}

/// Asserts that two results folders say the same, to the byte.
///
/// # Panics
/// With the first file that differs.
#[track_caller]
pub fn assert_same_answer(calm: &Path, other: &Path) {
    let (calm, other) = (canonical(calm), canonical(other));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert!(calm.len() >= 5, "too few result files: {:?}", names(&calm));
    assert_eq!(names(&calm), names(&other));
    for ((name, a), (_, b)) in calm.iter().zip(&other) {
        assert!(a == b, "{} differs", name.display());
    }
}

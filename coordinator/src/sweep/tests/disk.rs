//! Files that a sweep names, on a disk.

use std::fs;

use seedbed_proto::BlobDigest;

use super::{CONFIG, tiny};
use crate::sweep::files::{Role, resolve};
use crate::sweep::{expand, parse};

const RATE: &str = "axes: {learning_rate: [1e-3]}";

#[test]
fn the_files_of_a_base_are_found_beside_the_sweep() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = folder.path().join("bases/tiny");
    fs::create_dir_all(&base).expect("a writable folder");
    fs::write(base.join("config.json"), CONFIG).expect("a writable folder");
    fs::write(base.join("model.safetensors"), "weights").expect("a writable folder");
    fs::write(base.join("tokenizer.json"), "{}").expect("a writable folder");
    // A second spelling of the folder, and a second document, ask for no file twice.
    let text = tiny(&format!(
        "{RATE}\n---\nmodel: {{base: ./bases/tiny/}}\n{RATE}"
    ));
    let sweep = parse("f", &text).expect("a right file");
    let roles: Vec<_> = sweep
        .files()
        .into_iter()
        .map(|f| (f.path, f.role))
        .collect();
    let expected = [
        ("bases/tiny/config.json", Role::Config),
        ("bases/tiny/model.safetensors", Role::Weights),
        ("bases/tiny/tokenizer.json", Role::Tokenizer),
    ];
    assert_eq!(roles, expected.map(|(path, role)| (path.to_owned(), role)));

    let resolved = resolve(folder.path(), &sweep).expect("all files are there");
    let weights = &resolved.files.artifacts["bases/tiny/model.safetensors"];
    assert_eq!(
        (weights.digest, weights.size_bytes),
        (BlobDigest::of(b"weights"), 7)
    );
    assert_eq!(resolved.files.configs["bases/tiny/config.json"], CONFIG);
    assert!(expand(&sweep, &resolved.files).is_ok());
}

/// What is said of a base with this configuration and nothing else.
fn check(config: Option<&str>, expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = folder.path().join("bases/tiny");
    fs::create_dir_all(&base).expect("a writable folder");
    let text = tiny(RATE);
    let sweep = parse("f", &text).expect("a right file");
    let errors = match config {
        None => resolve(folder.path(), &sweep).expect_err("files are missing"),
        Some(config) => {
            for name in ["config.json", "model.safetensors", "tokenizer.json"] {
                fs::write(base.join(name), config).expect("a writable folder");
            }
            let resolved = resolve(folder.path(), &sweep).expect("all files are there");
            expand(&sweep, &resolved.files).expect_err("must be refused")
        }
    };
    let found: Vec<_> = errors
        .problems()
        .iter()
        .map(|p| p.message.as_str())
        .collect();
    assert_eq!(found.len(), expected.len(), "{errors}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{errors}");
    }
    assert!(errors.to_string().contains("f:2:8: model: "), "{errors}");
}

#[test]
fn what_a_base_lacks_is_named_at_the_place_that_names_the_base() {
    check(
        None,
        &[
            "bases/tiny/config.json: No such file",
            "bases/tiny/model.safetensors: No such file",
            "bases/tiny/tokenizer.json: No such file",
        ],
    );
    check(
        Some("{\"n_layer\": 4}"),
        &["config.json is not a GPT-2 configuration: missing field"],
    );
    check(
        Some("weights"),
        &["config.json is not a GPT-2 configuration: expected"],
    );
}

#[test]
fn a_base_whose_weights_are_in_shards_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = folder.path().join("bases/tiny");
    fs::create_dir_all(&base).expect("a writable folder");
    fs::write(base.join("config.json"), CONFIG).expect("a writable folder");
    fs::write(base.join("tokenizer.json"), "{}").expect("a writable folder");
    fs::write(base.join("model.safetensors.index.json"), "{}").expect("a writable folder");
    let sweep = parse("f", &tiny(RATE)).expect("a right file");
    let errors = resolve(folder.path(), &sweep).expect_err("not one file");
    let [problem] = errors.problems() else {
        panic!("{errors}");
    };
    assert!(
        problem
            .message
            .contains("bases/tiny/model.safetensors: No such file")
    );
    let help = problem.help.as_deref().expect("a way out");
    assert!(
        help.contains("in shards") && help.contains("max_shard_size"),
        "{help}"
    );
}

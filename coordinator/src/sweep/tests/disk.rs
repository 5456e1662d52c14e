//! Files that a sweep names, on a disk.

use std::fs;
use std::path::Path;

use seedbed_proto::BlobDigest;
use seedbed_proto::job::{Base, Work};

use super::{CONFIG, tiny};
use crate::sweep::files::{Resolved, Role, resolve};
use crate::sweep::{SweepErrors, expand, parse};

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

/// A base in a folder, with this index of shards in the place of its weights.
fn sharded(folder: &Path, index: &str) -> Result<Resolved, SweepErrors> {
    let base = folder.join("bases/tiny");
    fs::create_dir_all(&base).expect("a writable folder");
    fs::write(base.join("config.json"), CONFIG).expect("a writable folder");
    fs::write(base.join("tokenizer.json"), "{}").expect("a writable folder");
    fs::write(base.join("model.safetensors.index.json"), index).expect("a writable folder");
    resolve(folder, &parse("f", &tiny(RATE)).expect("a right file"))
}

#[test]
fn weights_in_shards_go_with_their_index() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let names = ["m-1-of-2.safetensors", "m-2-of-2.safetensors"];
    let index = format!(
        "{{\"weight_map\": {{\"a\": {0:?}, \"b\": {1:?}, \"c\": {0:?}}}}}",
        names[0], names[1]
    );
    let error = sharded(folder.path(), &index).expect_err("no shards yet");
    let missing = error.to_string();
    assert!(
        missing.contains("m-2-of-2.safetensors: No such file"),
        "{missing}"
    );
    for name in names {
        let path = folder.path().join("bases/tiny").join(name);
        fs::write(path, name).expect("a writable folder");
    }
    let resolved = sharded(folder.path(), &index).expect("all files are there");
    assert_eq!(resolved.local.len(), 5);

    let sweep = parse("f", &tiny(RATE)).expect("a right file");
    let mut jobs = expand(&sweep, &resolved.files).expect("fits");
    let spec = jobs.next().expect("a job").spec;
    let Work::Train(train) = &spec.work else {
        panic!("no base has to be made");
    };
    let Base::Files(files) = &train.base else {
        panic!("a folder is files");
    };
    assert_eq!(files.weights, BlobDigest::of(index.as_bytes()));
    let shards = names.map(|name| (name.to_owned(), BlobDigest::of(name.as_bytes())));
    assert_eq!(files.shards, shards.into());
    assert_eq!(spec.blobs().len(), 5);
}

#[test]
fn an_index_that_is_none_or_reaches_out_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (index, expected) in [
        (
            "{}",
            "model.safetensors.index.json: not an index of shards: missing field",
        ),
        (
            r#"{"weight_map": {"a": "../m.safetensors"}}"#,
            "\"../m.safetensors\" is not the name of a shard",
        ),
        (
            r#"{"weight_map": {"a": "config.json"}}"#,
            "\"config.json\" is not the name of a shard",
        ),
    ] {
        let error = sharded(folder.path(), index)
            .expect_err("no index")
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

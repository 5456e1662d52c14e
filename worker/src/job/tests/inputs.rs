//! Weights in shards, and jobs that are too large for their device.

use super::*;
use crate::gpt2::{Config, weights};
use crate::job::pretrain::base_of;

/// The inputs with their weights in two files and an index.
pub(super) fn in_shards(inputs: &Inputs, dir: &Path) -> Inputs {
    let config = Config::read(&inputs.files["config.json"]).expect("a base's");
    let mut first = weights::read(&inputs.files[WEIGHTS], &config).expect("a base's");
    let second = first.split_off("h.1");
    let mut map = BTreeMap::new();
    let mut files = inputs.files.clone();
    files.remove(WEIGHTS);
    for (name, part) in [
        ("1-of-2.safetensors", first),
        ("2-of-2.safetensors", second),
    ] {
        let path = dir.join(name);
        weights::write(&path, &part).expect("written");
        map.extend(
            part.into_keys()
                .map(|tensor| (format!("transformer.{tensor}"), name)),
        );
        files.insert(name.to_owned(), path);
    }
    let index = dir.join(WEIGHTS_INDEX);
    let text = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(&index, text).expect("written");
    files.insert(WEIGHTS_INDEX.to_owned(), index);
    Inputs {
        files,
        resume: vec![],
    }
}

#[test]
fn weights_in_shards_train_as_those_in_one_file() {
    let (_dir, inputs) = base();
    let dir = tempfile::tempdir().expect("a directory");
    let shards = in_shards(&inputs, dir.path());
    let mut spec = train_spec();
    train_mut(&mut spec).optim.steps = 2;
    assert_eq!(straight(&spec, &shards), straight(&spec, &inputs));
}

#[test]
fn fetched_shards_become_one_file() {
    let (_dir, inputs) = base();
    let dir = tempfile::tempdir().expect("a directory");
    let shards = in_shards(&inputs, dir.path());
    let fetched = ["config.json", WEIGHTS_INDEX, "tokenizer.json"];
    let fetched = fetched.map(|name| shards.files[name].clone());
    let Ok(Outcome::Finished(output)) = base_of(fetched, dir.path()) else {
        panic!("a whole base");
    };
    let joined: BTreeMap<_, _> = output.files.into_iter().collect();
    let bytes = |path: &Path| fs::read(path).expect("written");
    assert_eq!(bytes(&joined[WEIGHTS]), bytes(&inputs.files[WEIGHTS]));
}

#[test]
fn a_job_that_does_not_fit_fails_before_its_first_step() {
    let (_dir, inputs) = base();
    let keep = tempfile::tempdir().expect("a directory");
    let texts = corpus(keep.path());
    for (spec, inputs) in [(train_spec(), &inputs), (pretrain_spec(3), &texts)] {
        let (outcome, calls) = within(&spec, inputs, Free::Together(1 << 20));
        let error = outcome.expect_err("a MiB");
        assert_eq!(error.reason, FailureReason::OutOfMemory, "{error}");
        assert!(error.message.contains("at micro_batch 8"), "{error}");
        assert_eq!(calls, 0);
        let (outcome, _) = within(&spec, inputs, Free::Together(1 << 30));
        assert!(outcome.is_ok(), "a GiB");
    }
}

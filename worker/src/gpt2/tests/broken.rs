//! Weights that can't be used, one file or several: each has its error, which
//! names file, tensor and shape.

use std::path::Path;

use super::*;
use crate::gpt2::{ModelError, TensorProblem, weights};

const TENSOR: &str = "h.1.mlp.c_fc.weight";

/// Saves tensors under names without the prefix.
fn save(path: &Path, tensors: &Weights) {
    let tensors: std::collections::HashMap<_, _> = tensors.clone().into_iter().collect();
    candle_core::safetensors::save(&tensors, path).expect("written");
}

/// The error of these weights, whose text has the file's name and these parts.
#[track_caller]
fn refused(path: &Path, config: &Config, parts: &[&str]) -> ModelError {
    let error = weights::read(path, config).expect_err("broken");
    let text = error.to_string();
    let file = path.file_name().and_then(|n| n.to_str()).expect("a name");
    for part in [file].iter().chain(parts) {
        assert!(text.contains(part), "{text:?} has no {part:?}");
    }
    error
}

#[test]
fn a_file_that_is_not_there_or_not_whole() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    let config = config();
    let error = refused(&path, &config, &["No such file"]);
    assert!(matches!(error, ModelError::Io { .. }), "{error:?}");

    weights::write(&path, &lively(&config, 8)).expect("written");
    let bytes = std::fs::read(&path).expect("bytes");
    for keep in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).expect("cut");
        let error = refused(&path, &config, &["not a complete", "truncated"]);
        assert!(matches!(error, ModelError::Weights { .. }), "{error:?}");
    }
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").expect("written");
    refused(&path, &config, &["git-lfs"]);
}

#[test]
fn a_tensor_that_is_missing_or_wrong() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    let good = lively(&config(), 8);
    let check = |config: &Config, name: &str, tensor: Option<Tensor>, parts: &[&str]| {
        let mut weights = good.clone();
        weights.remove(name);
        weights.extend(tensor.map(|t| (name.to_owned(), t)));
        save(&path, &weights);
        let quoted = format!("{name:?}");
        let parts: Vec<&str> = parts.iter().copied().chain([quoted.as_str()]).collect();
        match refused(&path, config, &parts) {
            ModelError::Tensor { problem, .. } => problem,
            error => panic!("{error:?}"),
        }
    };
    use TensorProblem as P;

    let found = check(&config(), TENSOR, None, &["[16, 64] is missing"]);
    let expected = vec![16, 64];
    assert_eq!(found, P::Missing { expected });

    let turned = good[TENSOR].t().and_then(|t| t.contiguous()).expect("t");
    let found = check(&config(), TENSOR, Some(turned), &["[64, 16]", "[16, 64]"]);
    assert!(matches!(found, P::Shape { .. }), "{found:?}");

    let double = good[TENSOR]
        .to_dtype(candle_core::DType::F64)
        .expect("cast");
    let found = check(
        &config(),
        TENSOR,
        Some(double),
        &["[16, 64]", "F64", "BF16"],
    );
    assert!(matches!(found, P::Type { .. }), "{found:?}");

    for (value, said) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let mut bad = values(&good["ln_f.bias"]);
        bad[3] = value;
        let bad = Tensor::from_vec(bad, 16, &Device::Cpu).expect("16 values");
        let parts = ["[16]", said, "at element 3"];
        let found = check(&config(), "ln_f.bias", Some(bad), &parts);
        assert!(matches!(found, P::NotFinite { at: 3, .. }), "{found:?}");
    }

    let parts = ["[40, 16] is missing", "tie_word_embeddings"];
    let found = check(&config().untied(), LM_HEAD, None, &parts);
    assert!(matches!(found, P::MissingHead { .. }), "{found:?}");
    let other = (&good[WTE] * 1.5).expect("scale");
    let found = check(&config(), LM_HEAD, Some(other), &["tie_word_embeddings"]);
    assert!(matches!(found, P::NotTied { .. }), "{found:?}");

    // The same twice is no contradiction.
    let mut twice = good.clone();
    twice.insert(LM_HEAD.to_owned(), good[WTE].copy().expect("copy"));
    save(&path, &twice);
    let read = weights::read(&path, &config()).expect("tied");
    assert!(equal(&read, &good, |_| true));
}

#[test]
fn shards_that_are_missing_or_elsewhere() {
    let dir = tempfile::tempdir().expect("directory");
    let at = |name: &str| dir.path().join(name);
    let index = at("model.safetensors.index.json");
    let config = config();
    let mut first = lively(&config, 8);
    let all = first.clone();
    let second = first.split_off("h.1");
    let write = |skip: &str, second: &str| {
        let place = |name: &String| {
            let file = if name.as_str() < "h.1" {
                "1.safetensors"
            } else {
                second
            };
            (format!("transformer.{name}"), file.to_owned())
        };
        let map: BTreeMap<_, _> = all.keys().filter(|n| *n != skip).map(place).collect();
        let json = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
        std::fs::write(&index, json.to_string()).expect("written");
    };
    weights::write(&at("1.safetensors"), &first).expect("written");
    weights::write(&at("2.safetensors"), &second).expect("written");
    write("", "2.safetensors");
    assert_eq!(weights::of_folder(dir.path()), index);
    let read = weights::read(&index, &config).expect("both are there");
    assert!(equal(&read, &all, |_| true));

    write(TENSOR, "2.safetensors");
    let error = refused(&index, &config, &[TENSOR, "[16, 64] is missing"]);
    assert!(matches!(error, ModelError::Tensor { .. }), "{error:?}");
    // The index says so, the shard doesn't hold it.
    write("", "1.safetensors");
    refused(&index, &config, &["\"h.1.", "is missing"]);

    write("", "../2.safetensors");
    let error = refused(
        &index,
        &config,
        &["\"../2.safetensors\" is not the name of"],
    );
    assert!(matches!(error, ModelError::Index { .. }), "{error:?}");

    write("", "3.safetensors");
    let error = refused(&index, &config, &["\"3.safetensors\"", "\"h.1."]);
    assert!(matches!(error, ModelError::Shard { .. }), "{error:?}");

    write("", "2.safetensors");
    let bytes = std::fs::read(at("2.safetensors")).expect("bytes");
    std::fs::write(at("2.safetensors"), &bytes[..bytes.len() - 1]).expect("cut");
    let error = weights::read(&index, &config).expect_err("cut").to_string();
    assert!(error.contains("2.safetensors: not a complete"), "{error}");

    std::fs::write(&index, "{}").expect("written");
    let error = refused(&index, &config, &["weight_map"]);
    assert!(matches!(error, ModelError::Index { .. }), "{error:?}");
}

#[test]
fn an_activation_that_is_not_gpt2s() {
    let text = config().to_json().replace("gelu_new", "silu");
    let error = Config::parse(&text, Path::new("base/config.json")).expect_err("unknown");
    assert!(
        matches!(
            error,
            ModelError::Config {
                field: "activation_function",
                ..
            }
        ),
        "{error:?}"
    );
    let text = error.to_string();
    let expect = "base/config.json: activation_function: \"silu\" is not supported";
    assert!(text.starts_with(expect), "{text}");
}

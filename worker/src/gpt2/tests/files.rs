//! Weights in and out of files.

use super::*;
use crate::gpt2::weights;

#[test]
fn weights_survive_their_file() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    for untie in [false, true] {
        let config = if untie { config().untied() } else { config() };
        let base = untied(&lively(&super::config(), 8), untie);
        weights::write(&path, &base).expect("written");
        let again = weights::read(&path, &config).expect("read");
        assert!(equal(&base, &again, |_| true));
        let bytes = std::fs::read(&path).expect("bytes");
        weights::write(&path, &again).expect("written");
        assert_eq!(
            std::fs::read(&path).expect("bytes"),
            bytes,
            "equal weights, equal bytes"
        );
    }
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("listed").count(),
        1,
        "no temporary file"
    );
}

#[test]
fn half_precision_and_bare_names_are_read() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    let config = config();
    let base = lively(&config, 8);
    for dtype in [candle_core::DType::F16, candle_core::DType::BF16] {
        let mut half: std::collections::HashMap<String, Tensor> = base
            .iter()
            .map(|(name, t)| (name.clone(), t.to_dtype(dtype).expect("cast")))
            .collect();
        // The mask that the published GPT-2 files hold.
        half.insert("h.0.attn.bias".to_owned(), base[WPE].clone());
        candle_core::safetensors::save(&half, &path).expect("written");
        let read = weights::read(&path, &config).expect("read");
        assert_eq!(read.len(), base.len());
        assert!(distance(&base[WTE], &read[WTE]) < 1e-2);
    }
}

#[test]
fn broken_weights_are_named() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("model.safetensors");
    let config = config();
    let good = lively(&config, 8);
    let check = |expect: &[&str]| {
        let error = weights::read(&path, &config)
            .expect_err("broken")
            .to_string();
        for part in ["model.safetensors", ": "].iter().chain(expect) {
            assert!(error.contains(part), "{error:?} has no {part:?}");
        }
    };
    check(&["No such file"]);

    weights::write(&path, &good).expect("written");
    let bytes = std::fs::read(&path).expect("bytes");
    for keep in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..keep]).expect("cut");
        check(&["not a complete safetensors file", "truncated"]);
    }
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").expect("written");
    check(&["git-lfs"]);

    let with = |name: &str, tensor: Option<Tensor>| {
        let mut weights = good.clone();
        weights.remove(name);
        if let Some(tensor) = tensor {
            weights.insert(name.to_owned(), tensor);
        }
        weights::write(&path, &weights).expect("written");
    };
    with("h.1.mlp.c_fc.weight", None);
    check(&["\"h.1.mlp.c_fc.weight\"", "[16, 64]", "missing"]);
    let transposed = good["h.1.mlp.c_fc.weight"]
        .t()
        .and_then(|t| t.contiguous())
        .expect("t");
    with("h.1.mlp.c_fc.weight", Some(transposed));
    check(&["\"h.1.mlp.c_fc.weight\"", "[64, 16]", "[16, 64]"]);
    let nan = (&good["ln_f.bias"] * f64::NAN).expect("scale");
    with("ln_f.bias", Some(nan));
    check(&["\"ln_f.bias\"", "[16]", "NaN at element 0"]);
}

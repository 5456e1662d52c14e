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

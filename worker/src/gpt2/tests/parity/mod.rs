//! The network against Hugging Face transformers: stored references, made by
//! `tests/parity/references.py` in f64 and described in its README.md.
//!
//! `cargo test --workspace --lib -- parity --nocapture` prints how near we are.

mod course;
mod exchange;
mod network;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::gpt2::weights;

const SHAPES: [&str; 5] = ["one-head", "two-layers", "wide", "untied", "odd"];

/// Where the references are: the stored ones, or those of a folder that the
/// environment names, as `tests/run --python` does.
fn folder() -> PathBuf {
    match std::env::var_os("SEEDBED_PARITY") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/parity"),
    }
}

/// One shape: the network, and what it ought to compute.
struct Reference {
    config: Config,
    weights: Weights,
    tensors: HashMap<String, Tensor>,
    /// How the references were made.
    made: serde_json::Value,
}

impl Reference {
    fn read(shape: &str) -> Self {
        let folder = folder().join(shape);
        let config = Config::read(&folder.join("config.json")).expect("a configuration");
        let model = folder.join("model.safetensors");
        let weights = weights::read(&model, &config).expect("weights");
        let path = folder.join("reference.safetensors");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("references");
        let bytes = std::fs::read(&path).expect("just read");
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("just read");
        let metadata = metadata.metadata().as_ref().expect("the script writes it");
        Self {
            config,
            weights,
            tensors,
            made: serde_json::from_str(&metadata["made"]).expect("JSON"),
        }
    }

    fn network(&self, ops: Ops) -> Gpt2 {
        network(&self.config, &self.weights, &Frozen::None, ops)
    }

    fn get(&self, name: &str) -> &Tensor {
        let found = self.tensors.get(name);
        found.unwrap_or_else(|| panic!("the references have no tensor {name:?}"))
    }

    /// Batches by name, `BxT`, in order. One has T + 1 tokens: a target for each.
    fn batches(&self) -> Vec<&str> {
        let names = self
            .tensors
            .keys()
            .filter_map(|n| n.strip_suffix(".tokens"));
        let mut names: Vec<_> = names.filter(|n| n.contains('x')).collect();
        names.sort_unstable();
        names
    }

    fn tokens(&self, batch: &str) -> Tensor {
        let tokens = self.get(&format!("{batch}.tokens"));
        tokens.to_dtype(candle_core::DType::U32).expect("ids")
    }
}

/// The largest difference of two lists as a share of the largest expected value;
/// panics with the worst element when it is above `within`.
#[track_caller]
fn near(what: &str, found: &[f32], expect: &[f64], within: f64) -> f64 {
    assert_eq!(found.len(), expect.len(), "{what}: number of values");
    let scale = expect.iter().fold(1e-30_f64, |m, e| m.max(e.abs()));
    let mut worst = (0, 0.0);
    for (i, (f, e)) in found.iter().zip(expect).enumerate() {
        let error = (f64::from(*f) - e).abs() / scale;
        // A NaN is the worst that there is.
        if error > worst.1 || error.is_nan() {
            worst = (i, if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    let (at, error) = worst;
    assert!(
        error <= within,
        "{what}: element {at} is {}, not {}: off by {error:.1e} of the largest, {scale:.3e}; \
         {within:.1e} is allowed",
        found[at],
        expect[at]
    );
    error
}

/// [`near`] for tensors, whose shapes must be equal too.
#[track_caller]
fn close(what: &str, found: &Tensor, expect: &Tensor, within: f64) -> f64 {
    assert_eq!(found.dims(), expect.dims(), "{what}: shape");
    near(what, &values(found), &doubles(expect), within)
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(candle_core::DType::F64);
    let flat = tensor.and_then(|t| t.flatten_all()?.to_vec1());
    flat.expect("numbers")
}

#[test]
#[should_panic(expected = "gradient of wpe.weight: element 2 is 4.5, not 4: off by 1.2e-1")]
fn a_comparison_that_fails_names_the_tensor_and_the_worst_element() {
    let expect = [1.0, -2.0, 4.0, 0.0];
    near(
        "gradient of wpe.weight",
        &[1.1, -2.0, 4.5, 0.0],
        &expect,
        1e-6,
    );
}

/// Of (B, T + 1) tokens: the first T, the last T, and the last one.
fn split(tokens: &Tensor) -> (Tensor, Tensor, Tensor) {
    let t = tokens.dim(1).expect("(B, T + 1)") - 1;
    let cut = |from: usize| {
        let part = tokens.narrow(1, from, t);
        part.and_then(|p| p.contiguous()).expect("T of T + 1")
    };
    let last = tokens.narrow(1, t, 1).and_then(|p| p.flatten_all());
    (cut(0), cut(1), last.expect("the last column"))
}

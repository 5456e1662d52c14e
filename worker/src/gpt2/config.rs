//! `config.json` of a GPT-2 in the Hugging Face layout.

use std::path::Path;

use seedbed_proto::job::Shape;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{LM_HEAD, ModelError, WPE, WTE};

/// The shape of a network, validated: every field can be run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Blocks.
    pub layers: usize,
    /// Attention heads per block; divides `width`.
    pub heads: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Width of the MLP's hidden layer.
    pub inner: usize,
    /// Longest sequence.
    pub positions: usize,
    /// Tokens.
    pub vocab: usize,
    /// LayerNorm's epsilon.
    pub epsilon: f64,
    /// Standard deviation of fresh weights.
    pub init_std: f64,
    /// The unembedding is `wte`.
    pub tied: bool,
    /// Fields that the network doesn't need (token ids, dropout, …): kept, so
    /// that the file of a trained model says what the base's said.
    rest: Map<String, Value>,
}

/// The file's own names and defaults.
#[derive(Deserialize, Serialize)]
struct Raw {
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    #[serde(default)]
    n_inner: Option<usize>,
    n_positions: usize,
    vocab_size: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "default_init_std")]
    initializer_range: f64,
    #[serde(default = "default_activation")]
    activation_function: String,
    #[serde(default = "default_true")]
    tie_word_embeddings: bool,
    #[serde(default = "default_true")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default = "default_model_type")]
    model_type: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn default_epsilon() -> f64 {
    1e-5
}

fn default_init_std() -> f64 {
    0.02
}

fn default_activation() -> String {
    "gelu_new".to_owned()
}

fn default_true() -> bool {
    true
}

fn default_model_type() -> String {
    "gpt2".to_owned()
}

impl Config {
    /// A configuration with GPT-2's constants for a network of this shape.
    ///
    /// # Errors
    /// If the shape can't be run.
    pub fn new(shape: &Shape, vocab: u32) -> Result<Self, ModelError> {
        let config = Self {
            layers: shape.layers as usize,
            heads: shape.heads as usize,
            width: shape.width as usize,
            inner: 4 * shape.width as usize,
            positions: shape.positions as usize,
            vocab: vocab as usize,
            epsilon: default_epsilon(),
            init_std: default_init_std(),
            tied: true,
            rest: Map::new(),
        };
        config.validated(Path::new("shape"))
    }

    /// Reads and validates a file.
    ///
    /// # Errors
    /// If it can't be read, or describes a network that this program can't run.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|e| ModelError::io(path, e))?;
        Self::parse(&text, path)
    }

    /// Parses and validates the text of a file; `path` is for messages only.
    ///
    /// # Errors
    /// If it describes a network that this program can't run.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let raw: Raw = serde_json::from_str(text).map_err(|source| ModelError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        let refuse = |field, problem: String| {
            Err(ModelError::Config {
                path: path.to_path_buf(),
                field,
                problem,
            })
        };
        if raw.model_type != "gpt2" {
            return refuse(
                "model_type",
                format!("{:?} is not supported, only \"gpt2\"", raw.model_type),
            );
        }
        // Two names of one formula.
        if !["gelu_new", "gelu_pytorch_tanh"].contains(&raw.activation_function.as_str()) {
            return refuse(
                "activation_function",
                format!(
                    "{:?} is not supported, only \"gelu_new\" (the tanh form)",
                    raw.activation_function
                ),
            );
        }
        if !raw.scale_attn_weights {
            return refuse("scale_attn_weights", "only true is supported".to_owned());
        }
        if raw.scale_attn_by_inverse_layer_idx {
            return refuse(
                "scale_attn_by_inverse_layer_idx",
                "only false is supported".to_owned(),
            );
        }
        let config = Self {
            layers: raw.n_layer,
            heads: raw.n_head,
            width: raw.n_embd,
            inner: raw.n_inner.unwrap_or(raw.n_embd.saturating_mul(4)),
            positions: raw.n_positions,
            vocab: raw.vocab_size,
            epsilon: raw.layer_norm_epsilon,
            init_std: raw.initializer_range,
            tied: raw.tie_word_embeddings,
            rest: raw.rest,
        };
        config.validated(path)
    }

    fn validated(self, path: &Path) -> Result<Self, ModelError> {
        let refuse = |field, problem: String| {
            Err(ModelError::Config {
                path: path.to_path_buf(),
                field,
                problem,
            })
        };
        // Bounds far above any GPT-2, so that no product of two of them overflows.
        for (field, value, most) in [
            ("n_layer", self.layers, 1 << 10),
            ("n_head", self.heads, 1 << 10),
            ("n_embd", self.width, 1 << 16),
            ("n_inner", self.inner, 1 << 18),
            ("n_positions", self.positions, 1 << 20),
            ("vocab_size", self.vocab, 1 << 22),
        ] {
            if value == 0 || value > most {
                return refuse(field, format!("must be in 1..={most}, got {value}"));
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            return refuse(
                "n_head",
                format!("{} heads don't divide n_embd {}", self.heads, self.width),
            );
        }
        for (field, value) in [
            ("layer_norm_epsilon", self.epsilon),
            ("initializer_range", self.init_std),
        ] {
            if !(value > 0.0 && value < 1.0) {
                return refuse(field, format!("must be above 0 and below 1, got {value}"));
            }
        }
        Ok(self)
    }

    /// The same network with its own unembedding.
    #[must_use]
    pub fn untied(mut self) -> Self {
        self.tied = false;
        self
    }

    /// The same network, whose sequences begin and end with this token.
    #[must_use]
    pub fn with_end_of_text(mut self, id: u32) -> Self {
        for name in ["bos_token_id", "eos_token_id"] {
            self.rest.insert(name.to_owned(), Value::from(id));
        }
        self
    }

    /// The text of `config.json`, which `from_pretrained` opens.
    pub fn to_json(&self) -> String {
        let mut rest = self.rest.clone();
        // The newer name of torch_dtype: the base's files may have been of another type.
        rest.remove("dtype");
        for (name, value) in [
            ("architectures", Value::from(vec!["GPT2LMHeadModel"])),
            ("n_ctx", Value::from(self.positions)),
            ("torch_dtype", Value::from("float32")),
        ] {
            rest.insert(name.to_owned(), value);
        }
        let raw = Raw {
            n_layer: self.layers,
            n_head: self.heads,
            n_embd: self.width,
            n_inner: (self.inner != 4 * self.width).then_some(self.inner),
            n_positions: self.positions,
            vocab_size: self.vocab,
            layer_norm_epsilon: self.epsilon,
            initializer_range: self.init_std,
            activation_function: default_activation(),
            tie_word_embeddings: self.tied,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            model_type: default_model_type(),
            rest,
        };
        // Through a value: its keys are sorted, so equal configurations give equal bytes.
        let value = serde_json::to_value(raw).expect("numbers are finite: checked when parsed");
        let mut text = serde_json::to_string_pretty(&value).expect("a value has string keys");
        text.push('\n');
        text
    }

    /// Writes [`Self::to_json`], all of it or nothing.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        super::weights::write_atomically(path, |file| {
            std::io::Write::write_all(file, self.to_json().as_bytes())
        })
    }

    /// Every tensor with its shape, sorted by name.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (c, f) = (self.width, self.inner);
        let mut tensors = vec![
            (WTE.to_owned(), vec![self.vocab, c]),
            (WPE.to_owned(), vec![self.positions, c]),
            ("ln_f.weight".to_owned(), vec![c]),
            ("ln_f.bias".to_owned(), vec![c]),
        ];
        if !self.tied {
            tensors.push((LM_HEAD.to_owned(), vec![self.vocab, c]));
        }
        for layer in 0..self.layers {
            for (name, shape) in [
                ("ln_1.weight", vec![c]),
                ("ln_1.bias", vec![c]),
                ("attn.c_attn.weight", vec![c, 3 * c]),
                ("attn.c_attn.bias", vec![3 * c]),
                ("attn.c_proj.weight", vec![c, c]),
                ("attn.c_proj.bias", vec![c]),
                ("ln_2.weight", vec![c]),
                ("ln_2.bias", vec![c]),
                ("mlp.c_fc.weight", vec![c, f]),
                ("mlp.c_fc.bias", vec![f]),
                ("mlp.c_proj.weight", vec![f, c]),
                ("mlp.c_proj.bias", vec![c]),
            ] {
                tensors.push((format!("h.{layer}.{name}"), shape));
            }
        }
        tensors.sort();
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024,
        "vocab_size": 50257, "bos_token_id": 50256}"#;

    #[test]
    fn a_file_survives_and_keeps_what_the_network_does_not_need() {
        let config = Config::parse(SMALL, Path::new("c.json")).expect("valid");
        assert_eq!((config.inner, config.tied), (3072, true));
        let again = Config::parse(&config.to_json(), Path::new("c.json")).expect("valid");
        assert_eq!(again.to_json(), config.to_json());
        assert!(config.to_json().contains("\"bos_token_id\": 50256"));
        assert_eq!(config.tensors().len(), 4 + 12 * 12);
        let weights: usize = config
            .tensors()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(weights, 124_439_808, "GPT-2 small");
    }

    #[test]
    fn what_can_not_be_run_is_refused_with_its_field() {
        let check = |from: &str, to: &str, expect: &str| {
            let text = SMALL.replace(from, to);
            let error = Config::parse(&text, Path::new("dir/config.json"))
                .expect_err("invalid")
                .to_string();
            assert!(error.starts_with("dir/config.json: "), "{error}");
            assert!(error.contains(expect), "{error}");
        };
        check(
            "\"n_head\": 12",
            "\"n_head\": 7",
            "n_head: 7 heads don't divide n_embd 768",
        );
        check(
            "\"n_layer\": 12",
            "\"n_layer\": 0",
            "n_layer: must be in 1..=",
        );
        check(
            "{",
            "{\"activation_function\": \"relu\", ",
            "activation_function: \"relu\"",
        );
        check("{", "{\"model_type\": \"bert\", ", "model_type: \"bert\"");
        check(
            "{",
            "{\"layer_norm_epsilon\": 0, ",
            "layer_norm_epsilon: must be above 0",
        );
        check(
            "{",
            "{\"scale_attn_weights\": false, ",
            "scale_attn_weights",
        );
        check("\"n_layer\": 12, ", "", "missing field `n_layer`");
        check("768", "\"768\"", "invalid type");
    }
}

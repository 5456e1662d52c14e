//! `model:`: where a base comes from, and what is known of its shape.

use seedbed_proto::job::{Loss, Optim, Schedule, Shape};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::decode::{Setting, block, with_defaults};
use super::fields::PRETRAIN;
use super::kinds::{Field, Kind};
use super::source::{Problems, Span};
use super::tree::{Node, Tree, join};

/// Where a base comes from: the typed form of a `model:` value.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Model {
    /// A folder that goes with the sweep file.
    Base {
        /// The folder.
        base: String,
    },
    /// A folder anywhere.
    Path {
        /// The folder.
        path: String,
    },
    /// Published weights.
    Hub {
        /// The repository.
        hub: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// Trained here.
    Pretrain {
        /// How.
        pretrain: Pretrain,
    },
}

/// A `pretrain:` block with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[allow(missing_docs)] // documented in the language's table
pub struct Pretrain {
    pub corpus: Vec<String>,
    pub vocab: u32,
    pub layers: u32,
    pub heads: u32,
    pub width: u32,
    pub positions: u32,
    pub context: u32,
    pub steps: u64,
    pub batch: u32,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub warmup: u64,
    pub clip: f64,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub dropout: f64,
    pub layer_decay: f64,
    pub eval_every: u64,
    pub seed: u64,
}

impl Pretrain {
    /// The network that it makes.
    pub fn shape(&self) -> Shape {
        Shape {
            layers: self.layers,
            heads: self.heads,
            width: self.width,
            positions: self.positions,
        }
    }

    /// How it is trained: as a language model, on every token.
    pub fn optim(&self) -> Optim {
        Optim {
            steps: self.steps,
            batch: self.batch,
            learning_rate: self.learning_rate,
            schedule: self.schedule,
            warmup: self.warmup,
            clip: self.clip,
            weight_decay: self.weight_decay,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            loss: Loss::Full,
            eval_every: self.eval_every,
            dropout: self.dropout,
            layer_decay: self.layer_decay,
        }
    }
}

impl Model {
    /// The typed form of a decoded value.
    pub fn of(value: &Value) -> Self {
        Self::deserialize(value).expect("the decoder made the value in one of these forms")
    }

    /// The folder of a model on disk.
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::Base { base: folder } | Self::Path { path: folder } => Some(folder),
            Self::Hub { .. } | Self::Pretrain { .. } => None,
        }
    }

    /// For people: `bases/tiny`, `openai-community/gpt2`.
    pub fn title(&self) -> String {
        match self {
            Self::Base { base: folder } | Self::Path { path: folder } => folder.clone(),
            Self::Hub { hub, .. } => hub.clone(),
            Self::Pretrain { pretrain: p } => {
                format!("{} layers, width {}, {} steps", p.layers, p.width, p.steps)
            }
        }
    }

    /// The shape as far as it is known without any file.
    pub fn known_shape(&self) -> Option<ModelShape> {
        match self {
            Self::Base { .. } | Self::Path { .. } => None,
            Self::Hub { hub, .. } => ModelShape::of_hub(hub),
            Self::Pretrain { pretrain: p } => Some(ModelShape {
                shape: p.shape(),
                vocab: p.vocab,
                inner: 4 * p.width,
            }),
        }
    }
}

/// What the checks and the cost need to know of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Its shape.
    pub shape: Shape,
    /// Entries of its vocabulary.
    pub vocab: u32,
    /// Width of an MLP's middle.
    pub inner: u32,
}

impl ModelShape {
    /// From the text of a `config.json`.
    ///
    /// # Errors
    /// If it is not a GPT-2 configuration; says why.
    pub fn of_config(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Config {
            n_layer: u32,
            n_head: u32,
            n_embd: u32,
            #[serde(alias = "n_ctx")]
            n_positions: u32,
            vocab_size: u32,
            n_inner: Option<u32>,
        }
        // Older files have both names of the longest sequence, which an alias
        // takes for a double field.
        let mut value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if let Some(map) = value.as_object_mut()
            && map.contains_key("n_positions")
        {
            map.remove("n_ctx");
        }
        let config: Config = serde_json::from_value(value).map_err(|e| e.to_string())?;
        Ok(Self {
            shape: Shape {
                layers: config.n_layer,
                heads: config.n_head,
                width: config.n_embd,
                positions: config.n_positions,
            },
            vocab: config.vocab_size,
            inner: config.n_inner.unwrap_or(4 * config.n_embd),
        })
    }

    /// The published GPT-2s, by the last part of their repository's name.
    fn of_hub(repo: &str) -> Option<Self> {
        let (layers, heads, width) = match repo.rsplit('/').next()? {
            "distilgpt2" => (6, 12, 768),
            "gpt2" => (12, 12, 768),
            "gpt2-medium" => (24, 16, 1024),
            "gpt2-large" => (36, 20, 1280),
            "gpt2-xl" => (48, 25, 1600),
            _ => return None,
        };
        Some(Self {
            shape: Shape {
                layers,
                heads,
                width,
                positions: 1024,
            },
            vocab: 50_257,
            inner: 4 * width,
        })
    }

    /// Parameters of the blocks and of the final LayerNorm.
    pub fn block_parameters(&self) -> u64 {
        let (d, inner) = (u64::from(self.shape.width), u64::from(self.inner));
        let attention = d * 3 * d + 3 * d + d * d + d;
        let mlp = d * inner + inner + inner * d + d;
        let norms = 4 * d;
        u64::from(self.shape.layers) * (attention + mlp + norms) + 2 * d
    }

    /// All parameters; an unembedding of its own counts once more.
    pub fn parameters(&self, untie: bool) -> u64 {
        let d = u64::from(self.shape.width);
        let tables = u64::from(self.vocab) * if untie { 2 } else { 1 };
        self.block_parameters() + d * (tables + u64::from(self.shape.positions))
    }
}

/// Decodes a `model:` value: exactly one source, with what belongs to it.
pub fn decode(
    fields: &[Field],
    node: &Node,
    place: &str,
    problems: &mut Problems,
) -> Option<Value> {
    if let Tree::Text(text) = &node.value {
        let help =
            format!("write {{base: {text}}} for a folder, {{hub: {text}}} for published weights");
        problems.push_help(
            node.span,
            place,
            "must say what kind of model this is",
            help,
        );
        return None;
    }
    let before = problems.len();
    let others: Vec<Field> = fields
        .iter()
        .copied()
        .filter(|f| f.name != "pretrain")
        .collect();
    let mut sources = vec![];
    let mut model = Map::new();
    for (key, item) in super::decode::entries(node, place, problems)? {
        let inner = join(place, &key.name);
        if key.name == "pretrain" {
            sources.push("pretrain");
            if let Some(value) = pretrain(item, key.span, &inner, problems) {
                model.insert("pretrain".into(), value);
            }
            continue;
        }
        let Some(field) = others.iter().find(|f| f.name == key.name) else {
            let names = fields.iter().map(|f| f.name);
            super::decode::unknown(key, &inner, "key", names, problems);
            continue;
        };
        if field.name != "revision" {
            sources.push(field.name);
        }
        if let Some(value) = super::decode::value(&field.kind, item, &inner, problems) {
            if let (Kind::Path, Some(folder)) = (field.kind, value.as_str()) {
                let absolute = folder.starts_with('/');
                if field.name == "base" && absolute {
                    let help = "a base goes with its sweep file; use `path` for a folder elsewhere";
                    problems.push_help(item.span, &inner, "must be relative", help);
                }
                // One folder has one spelling, so that it is uploaded once.
                let plain = folder.trim_start_matches("./").trim_end_matches('/');
                let plain = match (plain, absolute) {
                    ("", true) => "/",
                    ("", false) => ".",
                    (plain, _) => plain,
                };
                model.insert(field.name.into(), json!(plain));
            } else {
                model.insert(field.name.into(), value);
            }
        }
    }
    if problems.len() == before {
        if sources.len() != 1 {
            let message = "must have exactly one of base, path, hub, pretrain";
            problems.push(node.span, place, message);
        } else if sources[0] == "hub" {
            model.entry("revision").or_insert_with(|| json!("main"));
            let repo = model["hub"].as_str().unwrap_or_default();
            if repo.split('/').count() > 2 || repo.contains(char::is_whitespace) {
                problems.push(
                    node.span,
                    place,
                    format!("`{repo}` is not the name of a repository"),
                );
            }
        } else if model.contains_key("revision") {
            problems.push(node.span, place, "a revision belongs to a hub model");
        }
    }
    (problems.len() == before).then_some(Value::Object(model))
}

fn pretrain(node: &Node, key: Span, place: &str, problems: &mut Problems) -> Option<Value> {
    let before = problems.len();
    let found = block(PRETRAIN, node, place, problems);
    let required = PRETRAIN.iter().filter(|f| f.default.is_none());
    for field in required {
        // A key that was given, but wrongly, was noted already.
        let given =
            matches!(&node.value, Tree::Map(m) if m.iter().any(|(k, _)| k.name == field.name));
        if !given && matches!(node.value, Tree::Map(_)) {
            problems.push_help(
                key,
                place,
                format!("`{}` is missing", field.name),
                field.doc,
            );
        }
    }
    if problems.len() > before {
        return None;
    }
    let mut all = with_defaults(PRETRAIN, &found);
    let stated = |name: &str| found.iter().find(|(n, _)| *n == name).map(|(_, s)| s);
    if stated("warmup").is_none() {
        all.insert(
            "warmup".into(),
            all["warmup"].as_u64().min(all["steps"].as_u64()).into(),
        );
    }
    let pretrain: Pretrain = serde_json::from_value(Value::Object(all.clone()))
        .expect("the table's kinds are those of the type, see the test of the defaults");
    let mut complain = |name: &str, wrong: bool, message: String| {
        if wrong {
            let (span, place) =
                stated(name).map_or((key, place), |s: &Setting| (s.span, s.place.as_str()));
            problems.push(span, place, message);
        }
    };
    let Pretrain {
        heads,
        width,
        positions,
        context,
        steps,
        warmup,
        ..
    } = pretrain;
    complain(
        "heads",
        width % heads != 0,
        format!("must divide the width {width}, got {heads}"),
    );
    complain(
        "context",
        context > positions,
        format!("must be ≤ positions ({positions}), got {context}"),
    );
    complain(
        "warmup",
        warmup > steps,
        format!("must be ≤ steps ({steps}), got {warmup}"),
    );
    (problems.len() == before).then_some(Value::Object(all))
}

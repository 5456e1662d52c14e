//! How far the weights moved: ‖W − W₀‖_F / ‖W₀‖_F of each component and block, and
//! the stable rank of what was added.
//!
//! A component is its weight together with its bias, as one vector; a matrix has
//! the stable rank ‖Δ‖_F² / ‖Δ‖₂², which is 1 for an outer product and the number
//! of rows for a rotation.

mod rank;

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::rows::{At, Rows};
use super::{Answer, MechanismError, Study};
use crate::gpt2::weights::values;
use crate::gpt2::{Config, LM_HEAD, ModelError, WPE, WTE, Weights};

/// The split under which numbers about weights are filed: they belong to no trials.
pub const SPLIT: &str = "weights";

/// A part of a tensor: all of it, or some of its columns.
struct Part {
    tensor: String,
    columns: Option<Range<usize>>,
}

/// A component of the network.
struct Component {
    name: &'static str,
    layer: Option<usize>,
    parts: Vec<Part>,
}

/// How far one component moved.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// "q", "k", "v", "o", "in", "out", "ln", "block", "wte", "wpe", "ln_f", "lm_head".
    pub name: &'static str,
    /// Block, where it belongs to one.
    pub layer: Option<usize>,
    /// ‖W − W₀‖_F / ‖W₀‖_F; NaN if W₀ is 0.
    pub relative: f64,
}

/// Answers [`Question::Drift`](seedbed_proto::job::Question::Drift).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer, MechanismError> {
    let Some(origin) = study.origin else {
        let text = "drift needs the weights with which the run started".to_owned();
        return Err(MechanismError::Invalid(text));
    };
    let (subject, config) = (study.subject, &study.subject.config);
    let mut out = Rows::new(SPLIT, subject.step);
    for moved in drift(config, &origin.weights, &subject.weights)? {
        let at = At {
            layer: moved.layer,
            ..At::WHOLE
        };
        out.push(&format!("drift.{}", moved.name), at, moved.relative);
    }
    let mut unmoved = vec![];
    for layer in 0..config.layers {
        for component in matrices(config, layer) {
            (study.pulse)(layer as f64 / config.layers as f64)?;
            let part = &component.parts[0];
            let [before, after] = [&origin.weights, &subject.weights].map(|w| part.values(w));
            let (before, after) = (before?, after?);
            let columns = part.width(&subject.weights)?;
            let difference: Vec<f64> = after
                .iter()
                .zip(&before)
                .map(|(&after, &before)| f64::from(after) - f64::from(before))
                .collect();
            let rank = rank::stable_rank(&difference, columns);
            let name = format!("drift.stable_rank.{}", component.name);
            out.push(&name, At::layer(layer), rank.unwrap_or(f64::NAN));
            if rank.is_none() {
                unmoved.push(format!("{} of layer {layer}", component.name));
            }
        }
    }
    if !unmoved.is_empty() {
        let reason = format!(
            "nothing moved in {}: what has no size has no rank",
            unmoved.join(", ")
        );
        out.note("drift.stable_rank", reason);
    }
    Ok(out.finish())
}

/// How far every component moved.
///
/// # Errors
/// If a tensor is missing on one side.
pub fn drift(config: &Config, before: &Weights, after: &Weights) -> Result<Vec<Moved>, ModelError> {
    let moved = |component: Component| {
        let (mut change, mut size) = (0.0, 0.0);
        for part in &component.parts {
            let (before, after) = (part.values(before)?, part.values(after)?);
            for (&before, &after) in before.iter().zip(&after) {
                change += (f64::from(after) - f64::from(before)).powi(2);
                size += f64::from(before).powi(2);
            }
        }
        let relative = (change / size).sqrt();
        Ok(Moved {
            name: component.name,
            layer: component.layer,
            relative: if size > 0.0 { relative } else { f64::NAN },
        })
    };
    components(config, after).into_iter().map(moved).collect()
}

/// The matrices of a block: those with a stable rank.
fn matrices(config: &Config, layer: usize) -> Vec<Component> {
    let c = config.width;
    let component = |name, tensor: &str, columns: Option<Range<usize>>| Component {
        name,
        layer: Some(layer),
        parts: ["weight", "bias"]
            .map(|kind| Part {
                tensor: format!("h.{layer}.{tensor}.{kind}"),
                columns: columns.clone(),
            })
            .into(),
    };
    vec![
        component("q", "attn.c_attn", Some(0..c)),
        component("k", "attn.c_attn", Some(c..2 * c)),
        component("v", "attn.c_attn", Some(2 * c..3 * c)),
        component("o", "attn.c_proj", None),
        component("in", "mlp.c_fc", None),
        component("out", "mlp.c_proj", None),
    ]
}

fn components(config: &Config, weights: &Weights) -> Vec<Component> {
    let whole = |tensor: String| Part {
        tensor,
        columns: None,
    };
    let mut all = vec![];
    for layer in 0..config.layers {
        all.extend(matrices(config, layer));
        let prefix = format!("h.{layer}.");
        let of = |name, inner: &str| Component {
            name,
            layer: Some(layer),
            parts: (weights.keys())
                .filter(|tensor| tensor.starts_with(&format!("{prefix}{inner}")))
                .map(|tensor| whole(tensor.clone()))
                .collect(),
        };
        all.push(of("ln", "ln_"));
        all.push(of("block", ""));
    }
    let end = |name, tensors: &[&str]| Component {
        name,
        layer: None,
        parts: tensors
            .iter()
            .map(|&tensor| whole(tensor.to_owned()))
            .collect(),
    };
    all.push(end("wte", &[WTE]));
    all.push(end("wpe", &[WPE]));
    all.push(end("ln_f", &["ln_f.weight", "ln_f.bias"]));
    if weights.contains_key(LM_HEAD) {
        all.push(end("lm_head", &[LM_HEAD]));
    }
    all
}

impl Part {
    /// The numbers, row by row.
    fn values(&self, weights: &Weights) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(weights)?;
        let tensor = match &self.columns {
            Some(columns) => tensor.narrow(tensor.rank() - 1, columns.start, columns.len())?,
            None => tensor.clone(),
        };
        Ok(values(&tensor)?)
    }

    fn width(&self, weights: &Weights) -> Result<usize, ModelError> {
        let tensor = self.tensor(weights)?;
        let last = tensor.rank() - 1;
        Ok(self.columns.as_ref().map_or(tensor.dim(last)?, Range::len))
    }

    fn tensor<'a>(&self, weights: &'a Weights) -> Result<&'a candle_core::Tensor, ModelError> {
        let given = match weights.get(&self.tensor) {
            // An unembedding that became one of its own began as what it was tied to.
            None if self.tensor == LM_HEAD => weights.get(WTE),
            given => given,
        };
        given.ok_or_else(|| {
            ModelError::Request(format!("the weights have no tensor {:?}", self.tensor))
        })
    }
}

//! What each part adds to the answer, and from which depth it can be read.
//!
//! *Direct logit attribution*: the stream at the last position is a sum (token and
//! position embedding, what each attention and each MLP adds), the final LayerNorm
//! is linear once its scale is frozen, and so is the unembedding: LD is a sum of
//! parts. `dla.embed`, `dla.attn` and `dla.mlp` of every layer and the `dla.bias`
//! that has no layer (the final LayerNorm's) add up to `dla.sum` = LD; within a
//! layer its `dla.head`s and its `dla.bias` (the output projection's) add up to its
//! `dla.attn`. Everything is a mean over trials of s times the part's share of Δ.
//!
//! *Logit lens*: the final LayerNorm and the unembedding applied at each depth.
//! *Decision depth*: the first from which the lens stays right in at least 95 %.
//!
//! *Attention* of the last position: to the relevant slots less to the irrelevant
//! ones (the gate), and its entropy in nats.
//!
//! B trials, T tokens, C width, H heads, D = C / H.

use candle_core::Tensor;

use super::readout::{Trials, deltas, floats, hooked, sign};
use super::rows::{At, Rows};
use super::{Answer, MechanismError, Study};
use crate::gpt2::hooks::{End, Hooked, Pass, Point, Site, Start, Trace};
use crate::gpt2::weights::values;

type Result<T> = std::result::Result<T, MechanismError>;

/// Lens accuracy at which the decision counts as made.
const DECIDED: f64 = 0.95;

/// Answers [`Question::Lens`](seedbed_proto::job::Question::Lens).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let net = hooked(study.subject, study.ops, study.device)?;
    let trials = Trials::of(study);
    let layers = net.config().layers;
    let sites = [
        Site::ResidPre,
        Site::Pattern,
        Site::Z,
        Site::AttnOut,
        Site::MlpOut,
    ];
    let block = |layer| sites.map(|site| Point::Block(layer, site));
    let reads: Vec<_> = (0..layers).flat_map(block).collect();
    let config = net.config();
    let held = layers * trials.len * (4 * config.width + config.heads * trials.len);

    let mut tally = Tally::new(&net, trials)?;
    for rows in trials.batches(held + floats(config, trials.len), study.budget.bytes)? {
        let ids = trials.prompts(&rows, net.device())?;
        let pass = Pass::new(Start::Ids(&ids), End::Block(layers)).reading(&reads);
        let trace = net.run(&pass)?;
        let places = rows
            .clone()
            .map(|trial| Places::of(study, trial))
            .collect::<Vec<_>>();
        let signs: Vec<_> = rows.clone().map(|i| sign(trials.right[i] == 1)).collect();
        tally.add(&trace, &signs, &places)?;
        (study.pulse)(rows.end as f64 / trials.count() as f64)?;
    }
    let mut out = Rows::of_split(study);
    tally.put(&mut out);
    Ok(out.finish())
}

/// Token positions of what matters to a trial, and of what does not.
#[derive(Debug, Clone, Default)]
struct Places {
    relevant: Vec<usize>,
    irrelevant: Vec<usize>,
}

impl Places {
    fn of(study: &Study<'_>, trial: usize) -> Self {
        let mut places = Self::default();
        for (slot, at) in study.task.slot_positions(&study.split.trials[trial]) {
            if slot.starts_with("rel_") {
                places.relevant.push(at);
            } else if slot.starts_with("irr_") {
                places.irrelevant.push(at);
            }
        }
        places
    }
}

/// Sums over trials.
struct Tally<'a> {
    net: &'a Hooked,
    answers: [u32; 2],
    /// From the centred stream over its scale to Δ: the unembedding's difference
    /// times the gain, less its mean (C).
    direction: Vec<f64>,
    /// The final LayerNorm's bias, as a share of Δ.
    bias: f64,
    layers: Vec<Layer>,
    embed: f64,
    final_bias: f64,
    /// At each depth: Σ LD, and how many are right.
    lens: Vec<[f64; 2]>,
    ld: f64,
    count: f64,
    has_slots: bool,
}

/// Sums of one layer.
struct Layer {
    /// The output projection's rows times the direction, head by head (C).
    outward: Vec<f64>,
    /// Its bias times the direction.
    outward_bias: f64,
    attn: f64,
    mlp: f64,
    bias: f64,
    /// Per head: attribution, attention to relevant and irrelevant slots, entropy.
    heads: Vec<[f64; 4]>,
}

impl<'a> Tally<'a> {
    fn new(net: &'a Hooked, trials: Trials<'_>) -> Result<Self> {
        let ends = values(&net.directions(&trials.answers)?)?; // (2, C)
        let (left, right) = ends.split_at(net.config().width);
        let difference: Vec<f64> = left
            .iter()
            .zip(right)
            .map(|(&l, &r)| f64::from(r) - f64::from(l))
            .collect();
        let (gain, bias) = net.final_norm();
        let (gain, bias) = (values(gain)?, values(bias)?);
        let mut direction: Vec<f64> = difference
            .iter()
            .zip(&gain)
            .map(|(d, &g)| d * f64::from(g))
            .collect();
        let mean = direction.iter().sum::<f64>() / direction.len() as f64;
        direction.iter_mut().for_each(|d| *d -= mean);
        let layer = |layer: usize| -> Result<Layer> {
            let (weight, bias) = net.output_projection(layer)?;
            let weight = values(weight)?; // (C, C)
            Ok(Layer {
                outward: weight
                    .chunks(direction.len())
                    .map(|row| dot(row, &direction))
                    .collect(),
                outward_bias: dot(&values(bias)?, &direction),
                attn: 0.0,
                mlp: 0.0,
                bias: 0.0,
                heads: vec![[0.0; 4]; net.config().heads],
            })
        };
        let layers = net.config().layers;
        Ok(Self {
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            bias: dot(&bias, &difference),
            net,
            answers: trials.answers,
            direction,
            embed: 0.0,
            final_bias: 0.0,
            lens: vec![[0.0; 2]; layers + 1],
            ld: 0.0,
            count: 0.0,
            has_slots: false,
        })
    }

    fn add(&mut self, trace: &Trace, signs: &[f64], places: &[Places]) -> Result<()> {
        let net = self.net;
        let c = net.config().width;
        let end = last(&trace.out)?; // (B, C)
        // s over the frozen scale of the final LayerNorm: what every share is times.
        let weights: Vec<f64> = values(&end)?
            .chunks_exact(c)
            .zip(signs)
            .map(|(row, sign)| sign / scale(row, net.config().epsilon))
            .collect();
        let direction = self.direction.clone();
        let share = |x: &Tensor| -> Result<f64> {
            let rows = values(&last(x)?)?;
            let rows = rows.chunks_exact(c).zip(&weights);
            Ok(rows
                .map(|(row, weight)| weight * dot(row, &direction))
                .sum())
        };
        let get = |layer, site| trace.get(Point::Block(layer, site));
        self.embed += share(get(0, Site::ResidPre)?)?;
        self.final_bias += signs.iter().sum::<f64>() * self.bias;
        for (layer, sums) in self.layers.iter_mut().enumerate() {
            sums.attn += share(get(layer, Site::AttnOut)?)?;
            sums.mlp += share(get(layer, Site::MlpOut)?)?;
            sums.bias += sums.outward_bias * weights.iter().sum::<f64>();
            let d = c / sums.heads.len();
            let z = values(&last(get(layer, Site::Z)?)?)?;
            for (z, weight) in z.chunks_exact(c).zip(&weights) {
                let parts = z.chunks_exact(d).zip(sums.outward.chunks_exact(d));
                for (head, (z, outward)) in sums.heads.iter_mut().zip(parts) {
                    head[0] += weight * dot(z, outward);
                }
            }
            let pattern = get(layer, Site::Pattern)?;
            let (_, heads, queries, t) = pattern.dims4()?;
            let rows = values(&pattern.narrow(2, queries - 1, 1)?.contiguous()?)?; // (B, H, 1, T)
            for (rows, places) in rows.chunks_exact(heads * t).zip(places) {
                for (head, row) in sums.heads.iter_mut().zip(rows.chunks_exact(t)) {
                    let to =
                        |slots: &[usize]| slots.iter().map(|&at| f64::from(row[at])).sum::<f64>();
                    head[1] += to(&places.relevant);
                    head[2] += to(&places.irrelevant);
                    head[3] += entropy(row);
                }
            }
        }
        for (depth, sums) in self.lens.iter_mut().enumerate() {
            let stream = match depth {
                depth if depth < self.layers.len() => get(depth, Site::ResidPre)?,
                _ => &trace.out,
            };
            let lds = deltas(net, &net.finish(&last(stream)?)?, self.answers)?;
            for (delta, sign) in lds.iter().zip(signs) {
                sums[0] += sign * delta;
                sums[1] += f64::from(u8::from(sign * delta > 0.0));
            }
        }
        self.ld = self.lens[self.layers.len()][0];
        self.count += signs.len() as f64;
        self.has_slots |= places
            .iter()
            .any(|p| !p.relevant.is_empty() && !p.irrelevant.is_empty());
        Ok(())
    }

    fn put(&self, out: &mut Rows) {
        let mean = |sum: f64| sum / self.count;
        out.push("dla.embed", At::WHOLE, mean(self.embed));
        let mut sum = self.embed + self.final_bias;
        for (layer, sums) in self.layers.iter().enumerate() {
            out.push("dla.attn", At::layer(layer), mean(sums.attn));
            out.push("dla.mlp", At::layer(layer), mean(sums.mlp));
            out.push("dla.bias", At::layer(layer), mean(sums.bias));
            for (head, sums) in sums.heads.iter().enumerate() {
                out.push("dla.head", At::head(layer, head), mean(sums[0]));
            }
            sum += sums.attn + sums.mlp;
        }
        out.push("dla.bias", At::WHOLE, mean(self.final_bias));
        out.push("dla.sum", At::WHOLE, mean(sum));

        for (depth, [ld, right]) in self.lens.iter().enumerate() {
            out.push("lens.accuracy", At::layer(depth), mean(*right));
            out.push("lens.logit_difference", At::layer(depth), mean(*ld));
        }
        let accuracies: Vec<_> = self.lens.iter().map(|[_, right]| mean(*right)).collect();
        let decided = decision_depth(&accuracies);
        out.push(
            "lens.decision_depth",
            At::WHOLE,
            decided.map_or(f64::NAN, |d| d as f64),
        );
        if decided.is_none() {
            let last = accuracies.last().copied().unwrap_or(f64::NAN);
            let reason =
                format!("the network itself is right in {last:.3} of the trials, not {DECIDED}");
            out.note("lens.decision_depth", reason);
        }

        if !self.has_slots {
            let reason = "the task has no relevant and irrelevant slots";
            out.note("attention.gate", reason);
        }
        for (layer, sums) in self.layers.iter().enumerate() {
            for (head, &[_, relevant, irrelevant, entropy]) in sums.heads.iter().enumerate() {
                let at = At::head(layer, head);
                if self.has_slots {
                    out.push("attention.relevant", at, mean(relevant));
                    out.push("attention.irrelevant", at, mean(irrelevant));
                    out.push("attention.gate", at, mean(relevant - irrelevant));
                }
                out.push("attention.entropy", at, mean(entropy));
            }
        }
    }
}

/// The first depth from which accuracies stay at or above [`DECIDED`].
fn decision_depth(accuracies: &[f64]) -> Option<usize> {
    let undecided = accuracies.iter().rposition(|&accuracy| accuracy < DECIDED);
    let depth = undecided.map_or(0, |depth| depth + 1);
    (depth < accuracies.len()).then_some(depth)
}

/// The last position of (B, T, C): (B, C).
fn last(x: &Tensor) -> Result<Tensor> {
    let t = x.dim(1)?;
    Ok(x.narrow(1, t - 1, 1)?.squeeze(1)?.contiguous()?)
}

fn dot(x: &[f32], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(&x, y)| f64::from(x) * y).sum()
}

/// √(variance + ε) of a row.
fn scale(row: &[f32], epsilon: f64) -> f64 {
    let n = row.len() as f64;
    let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = row
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        / n;
    (variance + epsilon).sqrt()
}

/// −Σ p ln p, in nats.
fn entropy(p: &[f32]) -> f64 {
    let terms = p.iter().map(|&p| f64::from(p)).filter(|&p| p > 0.0);
    -terms.map(|p| p * p.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_made_where_accuracy_stays_high() {
        for (accuracies, depth) in [
            (&[0.5, 0.96, 0.97][..], Some(1)),
            (&[0.99, 0.5, 0.95], Some(2)),
            (&[1.0, 1.0, 1.0], Some(0)),
            (&[1.0, 1.0, 0.9], None),
        ] {
            assert_eq!(decision_depth(accuracies), depth, "{accuracies:?}");
        }
    }

    #[test]
    fn entropy_is_that_of_the_formula() {
        assert!((entropy(&[0.25; 4]) - 4f64.ln()).abs() < 1e-12);
        assert_eq!(entropy(&[0.0, 1.0, 0.0]), 0.0);
    }
}

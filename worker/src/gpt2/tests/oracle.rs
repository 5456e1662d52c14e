//! The network against a plain one in f64, written from the formulas of GPT-2 with
//! nothing of the engine's: packing of q, k, v and heads, masks, constants.

use super::*;

type Rows = Vec<Vec<f64>>;

struct Oracle {
    config: Config,
    weights: BTreeMap<String, Vec<f64>>,
}

impl Oracle {
    fn new(config: Config, weights: &Weights) -> Self {
        let wide = |t: &Tensor| values(t).into_iter().map(f64::from).collect();
        let weights = weights.iter().map(|(name, t)| (name.clone(), wide(t)));
        Self {
            config,
            weights: weights.collect(),
        }
    }

    fn vector(&self, name: &str) -> &[f64] {
        &self.weights[name]
    }

    fn matrix(&self, name: &str, columns: usize) -> Rows {
        let rows = self.vector(name).chunks(columns);
        rows.map(<[f64]>::to_vec).collect()
    }

    fn norm(&self, x: &Rows, name: &str) -> Rows {
        let gain = self.vector(&format!("{name}.weight"));
        let bias = self.vector(&format!("{name}.bias"));
        let one = |row: &Vec<f64>| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let scale = (variance + 1e-5).sqrt();
            (0..row.len())
                .map(|i| (row[i] - mean) / scale * gain[i] + bias[i])
                .collect()
        };
        x.iter().map(one).collect()
    }

    fn linear(&self, x: &Rows, name: &str) -> Rows {
        let bias = self.vector(&format!("{name}.bias"));
        let w = self.matrix(&format!("{name}.weight"), bias.len());
        let one = |row: &Vec<f64>| {
            let sum = |o: usize| (0..row.len()).map(|i| row[i] * w[i][o]).sum::<f64>();
            (0..bias.len()).map(|o| sum(o) + bias[o]).collect()
        };
        x.iter().map(one).collect()
    }

    fn attention(&self, x: &Rows, block: &str) -> Rows {
        let (c, h) = (self.config.width, self.config.heads);
        let d = c / h;
        let qkv = self.linear(x, &format!("{block}.attn.c_attn"));
        let mut out = vec![vec![0.0; c]; x.len()];
        for head in 0..h {
            for i in 0..x.len() {
                let score = |key: &Vec<f64>| {
                    let of = |e: usize| qkv[i][head * d + e] * key[c + head * d + e];
                    ((0..d).map(of).sum::<f64>() / (d as f64).sqrt()).exp()
                };
                let seen = &qkv[..=i];
                let total: f64 = seen.iter().map(score).sum();
                for token in seen {
                    let share = score(token) / total;
                    for e in 0..d {
                        out[i][head * d + e] += share * token[2 * c + head * d + e];
                    }
                }
            }
        }
        self.linear(&out, &format!("{block}.attn.c_proj"))
    }

    fn mlp(&self, x: &Rows, block: &str) -> Rows {
        let mut hidden = self.linear(x, &format!("{block}.mlp.c_fc"));
        for v in hidden.iter_mut().flatten() {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (*v + 0.044_715 * v.powi(3));
            *v = 0.5 * *v * (1.0 + u.tanh());
        }
        self.linear(&hidden, &format!("{block}.mlp.c_proj"))
    }

    /// Logits at every position of one sequence.
    fn logits(&self, ids: &[u32]) -> Rows {
        let c = self.config.width;
        let (wte, wpe) = (self.matrix(WTE, c), self.matrix(WPE, c));
        let add = |x: &mut Rows, more: Rows| {
            for (x, more) in x.iter_mut().flatten().zip(more.iter().flatten()) {
                *x += more;
            }
        };
        let mut x: Rows = ids.iter().map(|&id| wte[id as usize].clone()).collect();
        add(&mut x, wpe);
        for layer in 0..self.config.layers {
            let block = format!("h.{layer}");
            let normed = self.norm(&x, &format!("{block}.ln_1"));
            add(&mut x, self.attention(&normed, &block));
            let normed = self.norm(&x, &format!("{block}.ln_2"));
            add(&mut x, self.mlp(&normed, &block));
        }
        let unembed = match self.weights.contains_key(LM_HEAD) {
            true => self.matrix(LM_HEAD, c),
            false => wte,
        };
        let dot = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum();
        let row = |x: &Vec<f64>| unembed.iter().map(|w| dot(x, w)).collect();
        self.norm(&x, "ln_f").iter().map(row).collect()
    }

    /// Logits at every position of each sequence of [`ids`].
    fn all(&self) -> Vec<Rows> {
        let sequences = ids().to_vec2::<u32>().expect("ids");
        sequences.iter().map(|ids| self.logits(ids)).collect()
    }

    /// The three losses on [`ids`], as in [`LOSSES`].
    fn losses(&self) -> [f64; 3] {
        let all = self.all();
        let mean = |terms: Vec<f64>| terms.iter().sum::<f64>() / terms.len() as f64;
        let last = |b: usize| &all[b][LEN - 1];
        let pair = |b: usize| PAIR.map(|token| last(b)[token as usize]);
        let every = all.iter().flatten().zip(targets());
        [
            mean((0..BATCH).map(|b| entropy(last(b), ANSWERS[b])).collect()),
            mean((0..BATCH).map(|b| entropy(&pair(b), SIDES[b])).collect()),
            mean(every.map(|(row, target)| entropy(row, target)).collect()),
        ]
    }
}

fn entropy(logits: &[f64], target: u32) -> f64 {
    let total: f64 = logits.iter().map(|l| l.exp()).sum();
    total.ln() - logits[target as usize]
}

#[test]
fn logits_and_losses_are_those_of_the_formulas() {
    for untie in [false, true] {
        let weights = untied(&lively(&config(), 21), untie);
        let oracle = Oracle::new(config(), &weights);
        let exact = oracle.all();
        for ops in [Ops::Fused, Ops::Composite] {
            let net = network(&config(), &weights, &Frozen::None, ops);
            let logits = net.logits_last(&ids()).expect("logits");
            let logits = logits.to_vec2::<f32>().expect("(B, V)");
            for (row, rows) in logits.iter().zip(&exact) {
                let within = 1e-6 * rows[LEN - 1].iter().fold(0.0_f64, |m, e| m.max(e.abs()));
                for (&found, expect) in row.iter().zip(&rows[LEN - 1]) {
                    let error = (f64::from(found) - expect).abs();
                    assert!(error < within, "{ops:?}: {found} {expect}");
                }
            }
            for (kind, expect) in LOSSES.into_iter().zip(oracle.losses()) {
                let found = f64::from(scalar(&loss(&net, kind)));
                let error = (found - expect).abs();
                assert!(error < 1e-6 * expect, "{ops:?} {kind:?}: {found} {expect}");
            }
        }
    }
}

/// Differences of the oracle's losses, in f64: the slope along a direction that
/// moves every element of a tensor, against the network's gradient along it.
#[test]
fn gradients_are_the_slopes_of_the_formulas() {
    for untie in [false, true] {
        let weights = untied(&lively(&config(), 22), untie);
        let mut oracle = Oracle::new(config(), &weights);
        let nets = [Ops::Fused, Ops::Composite]
            .map(|ops| network(&config(), &weights, &Frozen::None, ops));
        let grads = nets
            .each_ref()
            .map(|net| LOSSES.map(|kind| net.gradients(&loss(net, kind)).expect("gradients")));
        for (at, name) in weights.keys().enumerate() {
            let start = oracle.weights[name].clone();
            let wave = |i: usize| (1.3 * i as f64 + 0.5).sin();
            let mut moved = |step: f64| {
                let each = start.iter().enumerate().map(|(i, w)| w + step * wave(i));
                oracle.weights.insert(name.clone(), each.collect());
                oracle.losses()
            };
            let step = 1e-5;
            let (up, down) = (moved(step), moved(-step));
            moved(0.0);
            for (kind, &loss) in LOSSES.iter().enumerate() {
                let slope = (up[kind] - down[kind]) / (2.0 * step);
                for (net, grads) in nets.iter().zip(&grads) {
                    assert_eq!(&net.params()[at].name, name, "one order");
                    let grad = values(&grads[kind][at]);
                    let terms = grad.iter().enumerate();
                    let expect: f64 = terms.map(|(i, &g)| f64::from(g) * wave(i)).sum();
                    // Rounding of f32 in the gradient, then of the difference in f64.
                    let size: f64 = grad.iter().map(|&g| f64::from(g.abs())).sum();
                    let within = 2e-6 * size + 1e-8;
                    assert!(
                        (slope - expect).abs() < within,
                        "{loss:?}, {name}: the slope is {slope}, by the gradient {expect}"
                    );
                }
            }
        }
    }
}

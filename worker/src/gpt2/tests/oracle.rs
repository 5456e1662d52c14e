//! The network against a plain one in f64, written from the formulas of GPT-2 with
//! nothing of the engine's: packing of q, k, v and heads, masks, constants.

use super::*;

type Rows = Vec<Vec<f64>>;

struct Oracle<'a> {
    config: &'a Config,
    weights: &'a Weights,
}

impl Oracle<'_> {
    fn vector(&self, name: &str) -> Vec<f64> {
        values(&self.weights[name])
            .into_iter()
            .map(f64::from)
            .collect()
    }

    fn matrix(&self, name: &str) -> Rows {
        let columns = self.weights[name].dims()[1];
        self.vector(name)
            .chunks(columns)
            .map(<[f64]>::to_vec)
            .collect()
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
        let w = self.matrix(&format!("{name}.weight"));
        let bias = self.vector(&format!("{name}.bias"));
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
                let score = |j: usize| {
                    let of = |e: usize| qkv[i][head * d + e] * qkv[j][c + head * d + e];
                    ((0..d).map(of).sum::<f64>() / (d as f64).sqrt()).exp()
                };
                let total: f64 = (0..=i).map(score).sum();
                for j in 0..=i {
                    for e in 0..d {
                        out[i][head * d + e] += score(j) / total * qkv[j][2 * c + head * d + e];
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
        let (wte, wpe) = (self.matrix(WTE), self.matrix(WPE));
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
            true => self.matrix(LM_HEAD),
            false => wte,
        };
        let dot = |a: &Vec<f64>, b: &Vec<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum();
        let row = |x: &Vec<f64>| unembed.iter().map(|w| dot(x, w)).collect();
        self.norm(&x, "ln_f").iter().map(row).collect()
    }
}

fn entropy(logits: &[f64], target: u32) -> f64 {
    let total: f64 = logits.iter().map(|l| l.exp()).sum();
    total.ln() - logits[target as usize]
}

#[test]
fn logits_and_losses_are_those_of_the_formulas() {
    let config = config();
    for untie in [false, true] {
        let weights = untied(&lively(&config, 21), untie);
        let oracle = Oracle {
            config: &config,
            weights: &weights,
        };
        let ids = ids();
        let sequences = ids.to_vec2::<u32>().expect("ids");
        let exact: Vec<Rows> = sequences.iter().map(|ids| oracle.logits(ids)).collect();
        let answers: Vec<u32> = (0..BATCH as u32).map(|i| i * 9 + 1).collect();
        let mean = |terms: Vec<f64>| terms.iter().sum::<f64>() / terms.len() as f64;
        let last = exact.iter().map(|rows| &rows[LEN - 1]).zip(&answers);
        let answer_loss = mean(last.map(|(row, &answer)| entropy(row, answer)).collect());
        let tokens = exact.iter().flatten().zip(sequences.iter().flatten());
        let full_loss = mean(tokens.map(|(row, &id)| entropy(row, id)).collect());

        for ops in [Ops::Fused, Ops::Composite] {
            let net = network(&config, &weights, &Frozen::None, ops);
            let logits = net.logits_last(&ids).and_then(|t| Ok(t.to_vec2::<f32>()?));
            for (row, rows) in logits.expect("logits").iter().zip(&exact) {
                for (&found, expect) in row.iter().zip(&rows[LEN - 1]) {
                    assert!((f64::from(found) - expect).abs() < 1e-4, "{found} {expect}");
                }
            }
            let answers = Tensor::new(&answers[..], &Device::Cpu).expect("answers");
            let found = scalar(&net.answer_loss(&ids, &answers).expect("loss"));
            assert!(
                (f64::from(found) - answer_loss).abs() < 1e-5,
                "{found} {answer_loss}"
            );
            let found = scalar(&net.full_loss(&ids, &ids).expect("loss"));
            assert!(
                (f64::from(found) - full_loss).abs() < 1e-5,
                "{found} {full_loss}"
            );
        }
    }
}

//! Whole questions on small networks: the identities that must hold whatever the
//! weights are.

mod lens;
mod patching;
mod probes;
mod reversion;
mod similarity;
mod tdr;
mod transplant;

use candle_core::{Device, Tensor};
use seedbed_proto::job::{Ops, Shape};

use super::*;
use crate::gpt2::tests::lively;
use crate::gpt2::{LM_HEAD, WPE, WTE};
use crate::task::Trial;
use crate::task::tests::{spec, tokenizer};

const LAYERS: usize = 3;
const HEADS: usize = 2;

/// A task, its trials, and networks that were never trained on it.
struct Setting {
    task: Prepared,
    split: EvalSplit,
    subject: Subject,
    origin: Subject,
    others: Vec<(String, Subject)>,
    items: usize,
}

fn subject(label: &str, config: &Config, weights: Weights) -> Subject {
    Subject {
        label: label.to_owned(),
        step: 30,
        config: config.clone(),
        weights,
    }
}

impl Setting {
    fn new() -> Self {
        Self::of("ctxdm")
    }

    /// Of another task.
    fn of(task: &str) -> Self {
        let tokenizer = tokenizer();
        let vocab = u32::try_from(tokenizer.get_vocab_size(true)).expect("small");
        let shape = Shape {
            layers: LAYERS as u32,
            heads: HEADS as u32,
            width: 16,
            positions: 64,
        };
        let config = Config::new(&shape, vocab).expect("valid");
        let mut spec = spec("T0", [1, 10], &[[1, 2], [3, 5], [6, 9]]);
        spec.name = task.into();
        let task = Prepared::new(&spec, &tokenizer, config.positions).expect("a task");
        let split = task.eval_splits().iter().find(|s| s.name == "test_iid");
        Self {
            split: split.expect("there is one").clone(),
            task,
            subject: subject("subject", &config, lively(&config, 1)),
            origin: subject("origin", &config, lively(&config, 2)),
            others: vec![],
            items: 90,
        }
    }

    /// Calls right whatever the subject answers, so that its LD is not about 0.
    fn always_right(mut self) -> Self {
        let deltas = self.lds(&self.subject.weights, |_| 1.0);
        self.split.right = deltas.iter().map(|&delta| u8::from(delta > 0.0)).collect();
        self
    }

    /// Answers left and right equally often: a network that solves some pairs.
    fn centred(self) -> Self {
        let mut deltas = self.lds(&self.subject.weights, |_| 1.0);
        deltas.sort_by(f64::total_cmp);
        let median = deltas[deltas.len() / 2];
        self.leaning(-median)
    }

    /// Moves the final LayerNorm's bias so that every Δ is so much larger.
    fn leaning(mut self, by: f64) -> Self {
        let weights = &mut self.subject.weights;
        let [left, right] = self.task.answers().map(|id| id as usize);
        let row = |id| weights[WTE].get(id).expect("a row");
        let direction = (row(right) - row(left)).expect("a difference");
        let square = direction
            .sqr()
            .and_then(|s| s.sum_all()?.to_scalar::<f32>());
        let step = by / f64::from(square.expect("a number"));
        let bias = &weights["ln_f.bias"] + (direction * step).expect("scaled");
        weights.insert("ln_f.bias".to_owned(), bias.expect("a sum"));
        self
    }

    fn config(&self) -> &Config {
        &self.subject.config
    }

    /// LD of every trial by the plain network, `sign` of each trial given.
    fn lds(&self, weights: &Weights, sign: impl Fn(usize) -> f64) -> Vec<f64> {
        let none = std::collections::BTreeSet::new();
        let net = crate::gpt2::Gpt2::new(
            self.config(),
            weights,
            &none,
            Ops::Fused,
            seedbed_proto::job::Dtype::F32,
            &Device::Cpu,
        );
        let net = net.expect("a network");
        let shape = (self.split.trials.len(), self.split.prompt_len);
        let ids = Tensor::from_slice(&self.split.ids, shape, &Device::Cpu).expect("ids");
        let logits: Vec<Vec<f32>> = net
            .logits_last(&ids)
            .and_then(|l| Ok(l.to_vec2()?))
            .expect("logits");
        let [left, right] = self.task.answers().map(|id| id as usize);
        let delta = |row: &Vec<f32>| f64::from(row[right]) - f64::from(row[left]);
        logits
            .iter()
            .enumerate()
            .map(|(i, row)| sign(i) * delta(row))
            .collect()
    }

    /// Mean LD over the trials that are shown, of a network that was really made.
    fn ld(&self, weights: &Weights) -> f64 {
        let sign = |i: usize| if self.split.right[i] == 1 { 1.0 } else { -1.0 };
        let lds = self.lds(weights, sign);
        lds[..self.items].iter().sum::<f64>() / self.items as f64
    }

    fn ask(&self, question: Question) -> Answer {
        self.try_ask(question, 64 << 20).expect("an answer")
    }

    fn try_ask(&self, question: Question, bytes: u64) -> Result<Answer, MechanismError> {
        let mut done = 0.0;
        let mut pulse = |share: f64| {
            assert!(
                (done..=1.0).contains(&share),
                "progress {share} after {done}"
            );
            done = share;
            Ok(())
        };
        ask(
            question,
            &mut Study {
                subject: &self.subject,
                origin: Some(&self.origin),
                base: Some(&self.origin),
                base_pairing: "pt_ft".to_owned(),
                others: &self.others,
                task: &self.task,
                split: &self.split,
                seed: 5,
                budget: Budget {
                    bytes,
                    pairs: 40,
                    items: self.items,
                },
                ops: Ops::Fused,
                device: &Device::Cpu,
                pulse: &mut pulse,
            },
        )
    }
}

/// The number of this name and place.
#[track_caller]
fn value(answer: &Answer, name: &str, layer: Option<usize>, head: Option<usize>) -> f64 {
    let index = |i: Option<usize>| i.map(|i| i as u32);
    let mut found = (answer.metrics.iter())
        .filter(|m| m.name == name && m.layer == index(layer) && m.head == index(head));
    let metric = found
        .next()
        .unwrap_or_else(|| panic!("no {name} of {layer:?} {head:?}"));
    assert!(found.next().is_none(), "{name} of {layer:?} {head:?} twice");
    metric.value
}

#[track_caller]
fn near(what: &str, found: f64, expect: f64, within: f64) {
    assert!(
        (found - expect).abs() <= within,
        "{what}: {found}, not {expect}"
    );
}

/// `weights`, with the tensors of `other` that `which` chooses.
fn with(weights: &Weights, other: &Weights, which: impl Fn(&str) -> bool) -> Weights {
    let mut mixed = weights.clone();
    for (name, tensor) in other.iter().filter(|(name, _)| which(name)) {
        mixed.insert(name.clone(), tensor.clone());
    }
    mixed
}

/// With an unembedding of its own, so that the two can be mixed apart.
fn untied(weights: &Weights) -> Weights {
    let mut weights = weights.clone();
    weights.insert(LM_HEAD.to_owned(), weights[WTE].clone());
    weights
}

/// A block that adds nothing to the stream.
fn silenced(weights: &Weights, layer: usize) -> Weights {
    let mut weights = weights.clone();
    for name in [
        "attn.c_proj.weight",
        "attn.c_proj.bias",
        "mlp.c_proj.weight",
        "mlp.c_proj.bias",
    ] {
        let name = format!("h.{layer}.{name}");
        let zeros = weights[&name].zeros_like().expect("zeros");
        weights.insert(name, zeros);
    }
    weights
}

#[test]
fn a_network_of_another_shape_is_refused_with_what_differs() {
    let mut setting = Setting::new();
    let shape = Shape {
        layers: LAYERS as u32,
        heads: 4,
        width: 16,
        positions: 64,
    };
    let vocab = setting.config().vocab as u32;
    let config = Config::new(&shape, vocab).expect("valid");
    setting.origin = subject("four heads", &config, lively(&config, 2));
    for question in [Question::Reversion, Question::Transplant] {
        let error = setting
            .try_ask(question, 1 << 26)
            .expect_err("another shape");
        let text = error.to_string();
        assert!(
            text.contains("the number of heads is 2 in one and 4")
                || text.contains("is 4 in one and 2"),
            "{text}"
        );
        assert_eq!(JobError::from(error).reason, FailureReason::Invalid);
    }
}

#[test]
fn a_study_without_its_origin_says_so() {
    let setting = Setting::new();
    let mut go_on = |_: f64| Ok(());
    let mut stop = |_: f64| Err(Stop);
    let mut study = Study {
        subject: &setting.subject,
        origin: None,
        base: None,
        base_pairing: "pt_ft".to_owned(),
        others: &[],
        task: &setting.task,
        split: &setting.split,
        seed: 5,
        budget: Budget {
            bytes: 1 << 26,
            pairs: 4,
            items: 10,
        },
        ops: Ops::Fused,
        device: &Device::Cpu,
        pulse: &mut go_on,
    };
    for question in [Question::Reversion, Question::Drift] {
        let error = ask(question, &mut study)
            .expect_err("no origin")
            .to_string();
        assert!(
            error.contains("needs the weights with which the run started"),
            "{error}"
        );
    }
    let answer = ask(Question::Transplant, &mut study).expect("an answer");
    assert!(
        answer.metrics.is_empty() && answer.notes.len() == 1,
        "{answer:?}"
    );
    study.pulse = &mut stop;
    let stopped = ask(Question::Lens, &mut study).expect_err("stopped");
    assert!(matches!(stopped, MechanismError::Stopped(Stop)));
}

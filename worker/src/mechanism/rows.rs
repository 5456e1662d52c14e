//! Rows of an answer: one number each, with its place.

use seedbed_proto::result::{Metric, Note};

use super::{Answer, Study};

/// Collects the numbers of one question about one network.
pub(super) struct Rows {
    split: String,
    step: u64,
    answer: Answer,
}

/// Where a number belongs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At<'a> {
    /// Block.
    pub layer: Option<usize>,
    /// Attention head.
    pub head: Option<usize>,
    /// Slot or stratum.
    pub slot: Option<&'a str>,
}

impl At<'static> {
    /// The whole network.
    pub const WHOLE: Self = Self {
        layer: None,
        head: None,
        slot: None,
    };

    /// A block, or a depth.
    pub fn layer(layer: usize) -> Self {
        Self {
            layer: Some(layer),
            ..Self::WHOLE
        }
    }

    /// A head of a block.
    pub fn head(layer: usize, head: usize) -> Self {
        Self {
            layer: Some(layer),
            head: Some(head),
            slot: None,
        }
    }
}

impl<'a> At<'a> {
    /// A slot.
    pub fn slot(slot: &'a str) -> Self {
        Self {
            layer: None,
            head: None,
            slot: Some(slot),
        }
    }
}

impl Rows {
    /// Of a question about behaviour on the study's split.
    pub fn of_split(study: &Study<'_>) -> Self {
        Self::new(study.split.name, study.subject.step)
    }

    /// Of any split and step.
    pub fn new(split: &str, step: u64) -> Self {
        Self {
            split: split.to_owned(),
            step,
            answer: Answer::default(),
        }
    }

    /// Adds a number.
    pub fn push(&mut self, name: &str, at: At<'_>, value: f64) {
        let index = |i: usize| u32::try_from(i).expect("a network has at most 1024 layers");
        self.answer.metrics.push(Metric {
            layer: at.layer.map(index),
            head: at.head.map(index),
            slot: at.slot.map(str::to_owned),
            ..Metric::of(&self.split, self.step, name, value)
        });
    }

    /// Says why numbers of this name are NaN or missing.
    pub fn note(&mut self, place: &str, reason: impl Into<String>) {
        self.answer.notes.push(Note {
            place: place.to_owned(),
            reason: reason.into(),
        });
    }

    /// All that was added.
    pub fn finish(self) -> Answer {
        self.answer
    }
}

//! Inspect: one question about finished networks, and what its answer depends on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Base, Init, Task};
use crate::ids::JobKey;

/// One question about one network, and about what it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inspect {
    /// What is asked.
    pub question: Question,
    /// The network under study.
    pub subject: Network,
    /// Other networks that it is compared with, by pairing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Partner>,
    /// Shape, tokenizer and weights of the base from which the runs started.
    pub base: Base,
    /// What the subject learned.
    pub task: Task,
    /// The evaluation split whose trials are shown: "test_iid".
    pub split: String,
    /// Most counterfactual pairs of trials.
    pub pairs: u32,
    /// Most trials; never more than the split has.
    pub items: u32,
    /// Most memory for activations, in MiB. It shapes the batches, and so the
    /// last bits of the answer.
    pub memory_mib: u32,
    /// Fixes folds, resamples and the choice of trials: the subject's seed, so
    /// that the twins of a seed are shown the same.
    pub seed: u64,
}

/// A network that a train job yielded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The train job.
    pub job: JobKey,
    /// Which of its weights.
    pub weights: Moment,
    /// Optimizer steps that these weights have seen.
    pub step: u64,
    /// How the run started: its first weights are made anew from this.
    pub init: Init,
    /// The run's seed.
    pub seed: u64,
    /// Whether the unembedding had its own weights.
    pub untie: bool,
}

impl Network {
    /// Name of the artifact that holds the weights.
    ///
    /// ```
    /// # use seedbed_proto::{JobKey, job::{Init, Moment, Network}};
    /// # let job = JobKey::of(b"a job");
    /// # let of = |weights| Network { job, weights, step: 30, init: Init::Scratch, seed: 0, untie: false };
    /// assert_eq!(of(Moment::Final).file(), "model.safetensors");
    /// assert_eq!(of(Moment::Step).file(), "step_00000030.safetensors");
    /// ```
    pub fn file(&self) -> String {
        match self.weights {
            Moment::Final => "model.safetensors".to_owned(),
            Moment::Matched => "matched.safetensors".to_owned(),
            Moment::Step => format!("step_{:08}.safetensors", self.step),
        }
    }

    /// For people: `scratch seed=3 step=300`.
    pub fn title(&self) -> String {
        format!("{} seed={} step={}", self.init, self.seed, self.step)
    }
}

/// A network that the subject is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// Name of the pairing: "ft_ft", "sc_sc", "ft_sc" (see [`pairing`]).
    pub pairing: String,
    /// The other one.
    pub network: Network,
}

/// The name of a pairing of two arms: "ft" was fine-tuned, "sc" trained from
/// scratch, controls have their own name. "pt" is the base itself.
///
/// ```
/// use seedbed_proto::job::{Init, pairing};
///
/// assert_eq!(pairing(Some(Init::Pretrained), Init::Scratch), "ft_sc");
/// assert_eq!(pairing(None, Init::Pretrained), "pt_ft");
/// assert_eq!(pairing(None, Init::Shuffled), "pt_shuffled");
/// ```
pub fn pairing(first: Option<Init>, second: Init) -> String {
    let short = |init: Init| match init {
        Init::Pretrained => "ft".to_owned(),
        Init::Scratch => "sc".to_owned(),
        control => control.to_string(),
    };
    let first = first.map_or_else(|| "pt".to_owned(), short);
    format!("{first}_{}", short(second))
}

/// Which weights of a run.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Those of the last step.
    Final,
    /// Those of the first evaluation at or above .95 validation accuracy.
    Matched,
    /// Those of a step on the way.
    Step,
}

impl Moment {
    /// The name in tables and sweep files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Matched => "matched",
            Self::Step => "step",
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What can be asked of a network.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Which activations carry what a counterfactual changes.
    Patching,
    /// What is lost when parts go back to their first weights, or are ablated.
    Reversion,
    /// What is lost when parts come from another network; loss in between.
    Transplant,
    /// What can be decoded, where.
    Probes,
    /// How alike the representations of two networks are.
    Similarity,
    /// How far the weights moved.
    Drift,
    /// What each part adds to the answer, and from which depth it can be read.
    Lens,
    /// Trajectories through depth in a space of task axes.
    Tdr,
}

impl Question {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Patching,
        Self::Reversion,
        Self::Transplant,
        Self::Probes,
        Self::Similarity,
        Self::Drift,
        Self::Lens,
        Self::Tdr,
    ];

    /// The name in tables and sweep files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patching => "patching",
            Self::Reversion => "reversion",
            Self::Transplant => "transplant",
            Self::Probes => "probes",
            Self::Similarity => "similarity",
            Self::Drift => "drift",
            Self::Lens => "lens",
            Self::Tdr => "tdr",
        }
    }

    /// The question of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|question| question.name() == name)
    }

    /// Whether it compares the subject with networks of other runs.
    pub const fn compares(self) -> bool {
        matches!(self, Self::Transplant | Self::Similarity)
    }

    /// Whether it looks at the base.
    pub const fn needs_base(self) -> bool {
        matches!(self, Self::Probes | Self::Similarity | Self::Transplant)
    }

    /// Whether it compares the subject with the weights with which its run started.
    pub const fn needs_origin(self) -> bool {
        matches!(self, Self::Reversion | Self::Drift)
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

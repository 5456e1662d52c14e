//! Tasks as networks meet them: tokens, training batches, evaluation splits.
//!
//! What a task is, and which trials are for what, stands in `seedbed_proto::task`;
//! `tokens` turns trials into ids, `evaluation` makes the splits. [`Prepared`] is a
//! task made ready for one tokenizer.
//!
//! No state is kept between batches: each is a pure function of the run's seed
//! and the step, so a resumed run sees what an uninterrupted one sees.

pub mod evaluation;
#[cfg(test)]
pub(crate) mod tests;
pub mod tokens;
pub mod words;

pub use evaluation::EvalSplit;
pub use seedbed_proto::task::{Counterfactual, TaskError, TaskKind, Trial};
pub use words::vocabulary;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use seedbed_proto::job::{Task, TrainSet};
use seedbed_proto::result::Note;
use seedbed_proto::seed::{Purpose, derive_seed};
use seedbed_proto::task::permute::Permutation;
use seedbed_proto::task::plan::plan;
use seedbed_proto::task::splits::Partition;
use tokenizers::Tokenizer;

use tokens::Layout;

/// A task, ready for one tokenizer: training batches and evaluation splits.
pub struct Prepared {
    kind: Box<dyn TaskKind>,
    layout: Layout,
    partition: Partition,
    /// The fixed training set; `None` draws fresh trials.
    fixed: Option<Vec<Trial>>,
    /// Key of the random labels, for the control that has them.
    label_key: Option<[u8; 32]>,
    eval_splits: Vec<EvalSplit>,
    notes: Vec<Note>,
}

/// Prompts for one optimizer step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `(batch, len)` row by row.
    pub ids: Vec<u32>,
    /// For each prompt 0 where left is the answer, 1 where right is.
    pub right: Vec<u8>,
    /// For each prompt its place in the fixed training set, if there is one.
    pub places: Option<Vec<usize>>,
    /// Prompts.
    pub batch: usize,
    /// Tokens in each prompt.
    pub len: usize,
}

impl Prepared {
    /// Makes a task ready for a tokenizer and a network of so many positions.
    ///
    /// # Errors
    /// Whatever is wrong with the spec or the tokenizer, named.
    pub fn new(spec: &Task, tokenizer: &Tokenizer, positions: usize) -> Result<Self, TaskError> {
        let plan = plan(spec)?;
        let (kind, partition) = (plan.kind, plan.partition);
        let layout = Layout::new(kind.as_ref(), tokenizer, spec.bos, positions)?;
        let fixed = match spec.train {
            TrainSet::Online => None,
            TrainSet::Fixed(trials) => Some(partition.fixed(kind.as_ref(), trials)?),
        };
        let mut notes = plan.notes;
        let evaluation = evaluation::Evaluation {
            spec,
            kind: kind.as_ref(),
            layout: &layout,
            partition: &partition,
            tokenizer,
            positions,
        };
        let eval_splits = evaluation.splits(plan.splits, &mut notes)?;
        Ok(Self {
            kind,
            layout,
            partition,
            fixed,
            label_key: spec
                .random_labels
                .then(|| derive_seed(spec.split_seed, Purpose::Labels, "train")),
            eval_splits,
            notes,
        })
    }

    /// The task.
    pub fn kind(&self) -> &dyn TaskKind {
        self.kind.as_ref()
    }

    /// Tokens in every prompt.
    pub fn prompt_len(&self) -> usize {
        self.layout.prompt_len()
    }

    /// Token ids of the left and the right answer.
    pub fn answers(&self) -> [u32; 2] {
        self.layout.answers()
    }

    /// Token position of each slot for this trial, by what the slot is to it
    /// ("cue", "rel_left" …), and of the last token ("last").
    pub fn slot_positions(&self, trial: &Trial) -> Vec<(&'static str, usize)> {
        let roles = self.kind.roles(trial).into_iter();
        let last = ("last", self.prompt_len() - 1);
        roles.zip(self.layout.positions()).chain([last]).collect()
    }

    /// Token ids of any trial's prompt (T).
    pub fn prompt(&self, trial: &Trial) -> Vec<u32> {
        let mut ids = Vec::with_capacity(self.prompt_len());
        self.layout.write(trial, &mut ids);
        ids
    }

    /// The evaluation splits: `val`, `test_iid`, then the others that the spec asks
    /// for and that can be had. Fixed by `split_seed`; each item of a trial belongs
    /// to training, or to one of `val`, `test_iid`, `test_pair`, `test_number` and
    /// the ranges. `test_template` and `test_cueword` show the trials of `test_iid`
    /// in other words, the controls those of `val` with blanks.
    pub fn eval_splits(&self) -> &[EvalSplit] {
        &self.eval_splits
    }

    /// Which splits are left out, or smaller than asked for, and why.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The prompts of a training step: a pure function of its arguments.
    ///
    /// Online, each round through the cells is a fresh permutation of them, so
    /// cells are balanced exactly over whole rounds. A fixed set is gone through
    /// epoch by epoch, each in an order of its own.
    pub fn train_batch(&self, seed: u64, step: u64, batch: usize) -> Batch {
        let len = self.prompt_len();
        let mut ids = Vec::with_capacity(batch * len);
        let mut right = Vec::with_capacity(batch);
        let mut places = self.fixed.as_ref().map(|_| Vec::with_capacity(batch));
        let mut push = |trial: &Trial| {
            self.layout.write(trial, &mut ids);
            right.push(u8::from(self.label(trial)));
        };
        let round_len = match &self.fixed {
            Some(trials) => trials.len() as u64,
            None => self.kind.cells() as u64,
        };
        let name = format!("batch/{step}");
        let mut rng = ChaCha8Rng::from_seed(derive_seed(seed, Purpose::Data, &name));
        let first = step * batch as u64;
        let mut round = first / round_len;
        let mut order = epoch_order(seed, round, round_len);
        for draw in first..first + batch as u64 {
            if draw / round_len != round {
                round = draw / round_len;
                order = epoch_order(seed, round, round_len);
            }
            let index = order.at(draw % round_len) as usize;
            if let Some(places) = &mut places {
                places.push(index);
            }
            match &self.fixed {
                Some(trials) => push(&trials[index]),
                None => push(&self.partition.sample(self.kind.as_ref(), &mut rng, index)),
            }
        }
        Batch {
            ids,
            right,
            places,
            batch,
            len,
        }
    }

    /// The prompts of the fixed training set, in its order (N·T), if there is one.
    pub fn fixed_ids(&self) -> Option<Vec<u32>> {
        let trials = self.fixed.as_ref()?;
        let mut ids = Vec::with_capacity(trials.len() * self.prompt_len());
        for trial in trials {
            self.layout.write(trial, &mut ids);
        }
        Some(ids)
    }

    /// The label that training sees. A random one hangs on what the trial shows
    /// alone, so it is the same whenever the trial comes again, and can be
    /// memorised.
    fn label(&self, trial: &Trial) -> bool {
        match &self.label_key {
            None => trial.right,
            Some(key) => {
                let mut hasher = blake3::Hasher::new_keyed(key);
                for fill in &trial.fills {
                    hasher.update(&fill.to_le_bytes());
                }
                hasher.finalize().as_bytes()[0] & 1 == 1
            }
        }
    }
}

/// The order of one epoch (or one round through the cells) of a run.
fn epoch_order(seed: u64, epoch: u64, len: u64) -> Permutation {
    Permutation::new(
        len,
        derive_seed(seed, Purpose::Data, &format!("epoch/{epoch}")),
    )
}

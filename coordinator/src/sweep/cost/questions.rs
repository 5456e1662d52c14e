//! What it takes to inspect one network: an order of magnitude, from the number of
//! forward passes that each question's definition asks for.

use seedbed_proto::job::{Keep, Question, Train};

use super::prompt_tokens;
use crate::sweep::Inspect;
use crate::sweep::model::ModelShape;

/// Slots of a prompt, the last position included.
const SLOTS: f64 = 6.0;
/// Counterfactuals × directions of patching.
const PATCHINGS: f64 = 6.0;
/// Networks beside the subject: base, next seed, twin.
const OTHERS: f64 = 3.0;
/// Points on the line between two networks.
const ALPHAS: f64 = 11.0;
/// Variables that probes decode, and passes over the data for one of them: folds
/// within folds, a grid of penalties, tens of iterations.
const VARIABLES: f64 = 6.0;
const PASSES: f64 = 2000.0;

/// Inspect jobs of one run.
pub(super) fn jobs(asked: &Inspect, train: &Train) -> u64 {
    let of_moments = asked.at.len() * asked.ask.len();
    let along = match &train.keep {
        Keep::All | Keep::Steps(_) if asked.ask.contains(&Question::Drift) => {
            super::along(&train.keep, train.optim.steps)
        }
        _ => 0,
    };
    of_moments as u64 + along
}

/// Floating-point operations of all questions about one run.
pub(super) fn flops(asked: &Inspect, train: &Train, shape: &ModelShape) -> f64 {
    let of = |question: &Question| question_flops(asked, *question, train, shape);
    asked.at.len() as f64 * asked.ask.iter().map(of).sum::<f64>()
}

fn question_flops(asked: &Inspect, question: Question, train: &Train, shape: &ModelShape) -> f64 {
    let layers = f64::from(shape.shape.layers);
    let heads = f64::from(shape.shape.heads);
    let width = f64::from(shape.shape.width);
    let items = f64::from(asked.items(question, train.task.eval_trials));
    let pairs = f64::from(asked.pairs);
    // One trial, two operations per token and parameter.
    let forward = 2.0 * prompt_tokens(&train.task) * shape.block_parameters() as f64;
    let places = (layers + 1.0) * SLOTS;
    match question {
        Question::Patching => {
            // Half a pass for each cell: it starts at the cell's layer.
            let cells = layers * (4.0 * SLOTS + 4.0 * heads);
            PATCHINGS * pairs * cells * forward / 2.0
        }
        Question::Reversion => items * forward * layers * (7.0 + heads),
        Question::Transplant => items * forward * (2.0 * 3.0 * layers + OTHERS * ALPHAS),
        Question::Probes => {
            OTHERS * items * forward + places * VARIABLES * 4.0 * items * width * PASSES
        }
        Question::Similarity => OTHERS * (items * forward + places * 4.0 * items * items * width),
        Question::Drift => 0.0,
        Question::Lens | Question::Tdr => 2.0 * items * forward,
    }
}

//! How much a run measures: its result goes out in one message.

use seedbed_proto::MESSAGE_BYTES_MAX;
use seedbed_proto::task::definition;

use super::crossing::Spot;
use super::decode::Setting;
use super::model::Model;
use super::source::Problems;

/// Most bytes of a measure in that message: names of split, measure and stratum
/// ("motion.incongruent.rel17-50.irr17-50"), step and value.
const METRIC_BYTES: u64 = 96;

/// Measures of a split that no bins are behind: of all trials, of each cue and
/// congruency, of the psychometric fit, and those of the training since the last ones.
const WITHOUT_BINS: u64 = 64;

/// Measures at an evaluation of a pretraining.
const OF_PRETRAINING: u64 = 4;

/// Of the message, for what is not measured at evaluations: drift, floors, notes.
const ASIDE_BYTES: u64 = 1 << 20;

/// Notes runs of a point that evaluate so often that their result would be refused
/// when it is handed in, after all the work.
pub fn check(spot: &Spot, problems: &mut Problems) {
    let number = |path: &str| spot.get(path).value.as_u64().unwrap_or(0);
    let list = |path: &str| spot.get(path).value.as_array().map_or(0, Vec::len) as u64;
    let name = spot.get("task.name").value.as_str();
    let binned = name.is_some_and(|name| definition(name).is_ok_and(|task| task.has_bins));
    let bins = if binned { list("task.bins") } else { 0 };
    // Of both cues: accuracy, over both tokens and over all, by congruency and both
    // differences, one of which may be none; choices by either difference, signed.
    let strata = 4 * bins * (bins + 1);
    let strata = strata.min(number("task.eval_trials"));
    let choices = if bins > 0 { 4 * (2 * bins + 1) } else { 0 };
    let run = Course {
        measures: WITHOUT_BINS + 2 * strata + choices,
        steps: number("train.steps"),
        eval_every: number("train.eval_every"),
        // Every split once, at the end.
        more: list("task.splits"),
    };
    run.check(spot.get("train.eval_every"), "train.eval_every", problems);
}

/// The same of the pretraining of a model.
pub fn pretraining(model: &Setting, problems: &mut Problems) {
    if let Model::Pretrain { pretrain } = Model::of(&model.value) {
        let run = Course {
            measures: OF_PRETRAINING,
            steps: pretrain.steps,
            eval_every: pretrain.eval_every,
            more: 0,
        };
        run.check(model, "model.pretrain.eval_every", problems);
    }
}

/// What a job measures on its way.
struct Course {
    /// At an evaluation.
    measures: u64,
    steps: u64,
    eval_every: u64,
    /// Evaluations beside those on the way.
    more: u64,
}

impl Course {
    fn check(&self, place: &Setting, path: &str, problems: &mut Problems) {
        // At step 0, and at the last step whatever it is.
        let evaluations = 1 + self.steps.div_ceil(self.eval_every.max(1));
        let most = (MESSAGE_BYTES_MAX as u64 - ASIDE_BYTES) / (METRIC_BYTES * self.measures);
        let most = most.saturating_sub(self.more);
        if evaluations <= most {
            return;
        }
        let message = format!(
            "{evaluations} evaluations with up to {} measures each are more than the {} MiB \
             that a result can have",
            self.measures,
            MESSAGE_BYTES_MAX >> 20
        );
        let enough = self.steps.div_ceil(most.saturating_sub(1).max(1));
        let help = format!("raise `{path}` to {enough}");
        problems.push_help(place.span, path, message, help);
    }
}

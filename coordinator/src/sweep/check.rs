//! What must hold between the settings of a point.

use std::collections::BTreeSet;

use seedbed_proto::job::Task;
use seedbed_proto::task::plan::plan;
use seedbed_proto::task::{TaskError, definition};
use serde_json::Value;

use super::crossing::{Points, Spot};
use super::decode::Setting;
use super::document::Document;
use super::expand;
use super::model::{Model, ModelShape};
use super::results;
use super::source::{Problems, Span};

/// Points of one seed; a sweep of more would not be read by anyone.
const POINTS_MAX: u64 = 1_000_000;

/// Counts the points of a document and checks each, as far as no file is needed.
/// Conditions that never hold, and exclusions that match nothing, are mistakes.
/// `kept` are the steps whose weights are to be kept, and where each stands; `by`
/// is the metric that a selection goes by.
pub fn walk(
    document: &mut Document,
    kept: &[(u64, Span)],
    by: Option<&str>,
    problems: &mut Problems,
) {
    for model in document.models() {
        results::pretraining(model, problems);
    }
    let mut unused = vec![true; document.excludes.len()];
    let mut points = 0;
    let mut tasks = Tasks::default();
    let mut all = Points::new(document);
    while let Some(spot) = all.next_raw() {
        let mut excluded = false;
        for (pattern, unused) in document.excludes.iter().zip(&mut unused) {
            if pattern.matches(&spot) {
                *unused = false;
                excluded = true;
            }
        }
        if excluded {
            continue;
        }
        points += 1;
        if points > POINTS_MAX {
            let place = &document.settings["init"];
            let message = format!("more than {POINTS_MAX} points for each seed");
            problems.push(place.span, "axes", message);
            break;
        }
        if !problems.is_full() {
            let shape = Model::of(&spot.get("model").value).known_shape();
            check(&spot, shape.as_ref(), problems);
            tasks.check(&spot, by, problems);
            late(&spot, kept, problems);
            results::check(&spot, problems);
        }
    }
    for (pattern, unused) in document.excludes.iter().zip(unused) {
        if unused {
            problems.push(
                pattern.span,
                &pattern.place,
                "matches no point of the sweep",
            );
        }
    }
    if points == 0 && !document.seeds.is_empty() {
        let place = &document.settings["init"];
        problems.push(place.span, "exclude", "leaves no point of the sweep");
    }
    conditions(document, problems);
    document.points = points;
}

/// Notes conditions of `when:` that name a value which their axis never takes.
fn conditions(document: &Document, problems: &mut Problems) {
    let axes: Vec<_> = document.crossings.iter().flatten().collect();
    for condition in axes.iter().flat_map(|axis| &axis.when) {
        for value in &condition.values {
            let taken = axes.iter().any(|axis| {
                let column = axis.paths.iter().position(|p| *p == condition.path);
                column.is_some_and(|c| axis.tuples.iter().any(|t| t[c].value == value.value))
            });
            let fallback = document.settings.get(condition.path).map(|s| &s.value);
            if !taken && fallback != Some(&value.value) {
                let message = format!("`{}` never has this value", condition.path);
                problems.push(value.span, &value.place, message);
            }
        }
    }
}

/// Checks one point; `shape` is that of its base, where it is known.
pub fn check(spot: &Spot, shape: Option<&ModelShape>, problems: &mut Problems) {
    let number = |path: &str| spot.get(path).value.as_u64().unwrap_or(0);

    let (warmup, steps) = (spot.get("train.warmup"), number("train.steps"));
    if warmup.stated && number("train.warmup") > steps {
        complain(
            problems,
            warmup,
            format!("must be ≤ train.steps ({steps}), got {}", warmup.value),
        );
    }

    let [device, ops, dtype] =
        ["engine.device", "engine.ops", "engine.dtype"].map(|path| spot.get(path));
    let cpu = matches!(device.value.as_str(), Some("cpu" | "auto"));
    let fused = match ops.value.as_str() {
        Some("auto") => cpu && dtype.value != "bf16",
        name => name == Some("fused"),
    };
    if fused && !cpu {
        complain(
            problems,
            ops,
            "the fused kernels run on a cpu only; leave `ops` at auto".into(),
        );
    }
    if dtype.value == "tf32" && device.value != "cuda" {
        let message = "only an NVIDIA GPU rounds products to TF32; write `device: cuda`, or \
                       leave `dtype` at auto";
        complain(problems, dtype, message.into());
    }
    if dtype.value == "bf16" && device.value == "metal" {
        let message = "this program computes in f32 on a Mac's GPU; leave `dtype` at auto";
        complain(problems, dtype, message.into());
    }
    if fused && dtype.value == "bf16" {
        let message = "the fused kernels compute in f32; write `ops: composite`".into();
        complain(problems, dtype, message);
    }

    if let Some(shape) = shape {
        layers(spot.get("frozen"), shape, problems);
        layers(spot.get("init"), shape, problems);
    }
}

/// Steps that a run never reaches have no weights to keep.
fn late(spot: &Spot, kept: &[(u64, Span)], problems: &mut Problems) {
    let steps = spot.get("train.steps").value.as_u64().unwrap_or(0);
    for (i, (step, span)) in kept.iter().enumerate() {
        if *step > steps {
            let message = format!("must be ≤ train.steps ({steps}), got {step}");
            problems.push(*span, &format!("keep.checkpoints[{i}]"), message);
        }
    }
}

/// The tasks of a document's points: most points have the same one.
#[derive(Default)]
struct Tasks {
    seen: BTreeSet<String>,
}

impl Tasks {
    /// Plans the task of a point, as its worker will, unless that was done before:
    /// what the design or its numbers can't yield is refused before anything runs.
    fn check(&mut self, spot: &Spot, by: Option<&str>, problems: &mut Problems) {
        let task = expand::task(spot);
        let text = serde_json::to_string(&task).expect("a task has string keys");
        if !self.seen.insert(text) {
            return;
        }
        let [range, bins] = ["task.range", "task.bins"].map(|path| spot.get(path));
        let widest = task.range[1] - task.range[0];
        let largest = task.bins.last().map_or(0, |bin| bin[1]);
        let binned = definition(&task.name).is_ok_and(|task| task.has_bins);
        if binned && largest > widest {
            // The fault lies with whichever was written.
            let place = if bins.stated { bins } else { range };
            let [low, high] = task.range;
            let message = format!(
                "numbers from {low} to {high} differ by at most {widest}, but the last bin ends at \
                 {largest}"
            );
            let help = "set `task.bins` to fit the range";
            problems.push_help(place.span, &place.place, message, help);
            return;
        }
        let Ok(found) = definition(&task.name) else {
            unreachable!("the table's words are the registry's names");
        };
        if let Some(metric) = by
            && metric.contains("congru")
            && !found.has_congruency
        {
            let message = format!("the task {} has no {metric} to select by", task.name);
            let help = "add `compare: {select: {learning_rate: {by: val.accuracy}}}`";
            let name = spot.get("task.name");
            problems.push_help(name.span, &name.place, message, help);
        }
        if bins.stated && !found.has_bins {
            let message = format!("the task {} does not sort its trials by bins", task.name);
            complain(problems, bins, message);
        }
        if let Err(error) = plan(&task) {
            refused(spot, &task, error, problems);
        }
    }
}

/// Notes why a task can't be had, at the key that asks for too much.
fn refused(spot: &Spot, task: &Task, error: TaskError, problems: &mut Problems) {
    if let TaskError::EvalTrials { cells, .. } = error {
        let [bins, trials] = ["task.bins", "task.eval_trials"].map(|path| spot.get(path));
        let place = if trials.stated || !bins.stated {
            trials
        } else {
            bins
        };
        let (count, cells) = (u64::from(task.eval_trials), cells as u64);
        let below = count - count % cells;
        let near = if below == 0 { cells } else { below };
        let message =
            format!("`task.eval_trials` must be a multiple of the {cells} cells, got {count}");
        let help = format!("for example {near}");
        problems.push_help(place.span, &place.place, message, help);
        return;
    }
    let path = match &error {
        TaskError::UnknownTask { .. } => "task.name",
        TaskError::UnknownTemplate { .. } | TaskError::Wording(_) => "task.template",
        TaskError::NoSuchOption { option, .. } => match *option {
            "delay" => "task.delay",
            _ => "task.neutral",
        },
        TaskError::NoBins | TaskError::Bin { .. } | TaskError::BinBeyondRange { .. } => "task.bins",
        TaskError::TooFewTrials { field, .. } => field,
        TaskError::EmptyTrain => "task.train",
        TaskError::Splits => "task.splits",
        _ => "task.range",
    };
    let message = error.to_string();
    let message = message
        .strip_prefix(&format!("{path}: "))
        .unwrap_or(&message);
    complain(problems, spot.get(path), message.to_owned());
}

/// Blocks that a frozen set or an init type names must be there.
fn layers(setting: &Setting, shape: &ModelShape, problems: &mut Problems) {
    let layers = u64::from(shape.shape.layers);
    let too_many = |k: &Value| k.as_u64().is_some_and(|k| k > layers);
    let value = &setting.value;
    let counts = [
        &value["prefix"],
        &value["suffix"],
        &value["reinit"]["first"],
        &value["reinit"]["last"],
    ];
    if let Some(k) = counts.into_iter().find(|k| too_many(k)) {
        complain(
            problems,
            setting,
            format!("the base has {layers} blocks, got {k}"),
        );
    }
    for list in [&value["only"], &value["all_but"]] {
        let blocks = list.as_array().map_or(&[][..], Vec::as_slice);
        if let Some(k) = blocks
            .iter()
            .find(|k| k.as_u64().is_some_and(|k| k >= layers))
        {
            let message = format!("the base has the blocks 0 to {}, got {k}", layers - 1);
            complain(problems, setting, message);
        }
    }
}

fn complain(problems: &mut Problems, setting: &Setting, message: String) {
    problems.push(setting.span, &setting.place, message);
}

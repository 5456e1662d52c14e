//! What must hold between the settings of a point.

use serde_json::Value;

use super::crossing::{Points, Spot};
use super::decode::Setting;
use super::document::Document;
use super::model::{Model, ModelShape};
use super::source::{Problems, Span};

/// Points of one seed; a sweep of more would not be read by anyone.
const POINTS_MAX: u64 = 1_000_000;

/// Counts the points of a document and checks each, as far as no file is needed.
/// Conditions that never hold, and exclusions that match nothing, are mistakes.
/// `kept` are the steps whose weights are to be kept, and where each stands.
pub fn walk(document: &mut Document, kept: &[(u64, Span)], problems: &mut Problems) {
    let mut unused = vec![true; document.excludes.len()];
    let mut points = 0;
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
            late(&spot, kept, problems);
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

    task(spot, problems);

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

fn task(spot: &Spot, problems: &mut Problems) {
    let [range, bins, trials] =
        ["task.range", "task.bins", "task.eval_trials"].map(|path| spot.get(path));
    let widest = range.value[1].as_u64().unwrap_or(0) - range.value[0].as_u64().unwrap_or(0);
    let sizes = bins.value.as_array().map_or(&[][..], Vec::as_slice);
    let largest = sizes.last().and_then(|bin| bin[1].as_u64()).unwrap_or(0);
    if largest > widest {
        // The fault lies with whichever was written.
        let place = if bins.stated { bins } else { range };
        let message = format!(
            "numbers from {} to {} differ by at most {widest}, but the last bin ends at {largest}",
            range.value[0], range.value[1]
        );
        problems.push_help(
            place.span,
            &place.place,
            message,
            "set `task.bins` to fit the range",
        );
    }
    // cue × answer × congruency × two bins
    let cells = 8 * (sizes.len() * sizes.len()) as u64;
    let count = trials.value.as_u64().unwrap_or(0);
    if cells > 0 && !count.is_multiple_of(cells) {
        let place = if trials.stated || !bins.stated {
            trials
        } else {
            bins
        };
        let below = count - count % cells;
        let near = if below == 0 { cells } else { below };
        let message =
            format!("`task.eval_trials` must be a multiple of the {cells} cells, got {count}");
        problems.push_help(
            place.span,
            &place.place,
            message,
            format!("for example {near}"),
        );
    }
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

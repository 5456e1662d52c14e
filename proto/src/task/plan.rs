//! A task as a spec asks for it, against what there is: which pairs and numbers
//! are held out, how many trials each split has, and why a split is left out.

use super::error::TaskError;
use super::pairs::Held;
use super::registry::{self, Cues, Definition, TaskKind, Variant};
use super::setup;
use super::splits::{Part, Partition, each_cell};
use super::wording::names_dimensions;
use crate::job::{Split, Task, Template, TrainSet};
use crate::result::Note;

/// Numbers of `test_range_near` and `test_range_far` unless the spec says others:
/// in GPT-2's vocabulary 361 is the last one before the first gap.
pub const NEAR: [u32; 2] = [100, 199];
/// The same, farther away.
pub const FAR: [u32; 2] = [200, 361];

/// A task that can be had, before any token.
pub struct Plan {
    /// The task as training shows it.
    pub kind: Box<dyn TaskKind>,
    /// Which of its items are for what.
    pub partition: Partition,
    /// The splits that can be had, in the order of the spec.
    pub splits: Vec<Planned>,
    /// The others, and those that are smaller than asked for.
    pub notes: Vec<Note>,
}

/// A split that can be had.
pub struct Planned {
    /// Which.
    pub split: Split,
    /// Its trials; a multiple of the cells.
    pub trials: u32,
    /// The task over other numbers or in other words, where it is.
    pub elsewhere: Option<Box<dyn TaskKind>>,
}

/// Plans a task.
///
/// # Errors
/// If the spec is wrong, or `val`, `test_iid` or the training set can't be had.
pub fn plan(spec: &Task) -> Result<Plan, TaskError> {
    let definition = registry::definition(&spec.name)?;
    let asked = &spec.splits;
    let begins = asked.starts_with(&[Split::Val, Split::TestIid]);
    if !begins || !asked.is_sorted_by(|a, b| a < b) {
        return Err(TaskError::Splits);
    }
    let mut notes = vec![];
    let held = hold_out(spec, &mut notes)?;
    let kind = setup::build(spec, &Variant::default(), held)?;
    let partition = Partition::new(kind.as_ref(), spec.split_seed);
    require(spec, kind.as_ref(), &partition)?;
    let mut splits = vec![];
    for &split in asked {
        match planned(spec, definition, kind.as_ref(), &partition, split, held) {
            Ok(planned) => {
                if planned.trials < spec.eval_trials {
                    let reason = format!(
                        "has {} trials, not {}: there are no more of its scarcest cell",
                        planned.trials, spec.eval_trials
                    );
                    notes.push(Note::new(split.name(), reason));
                }
                splits.push(planned);
            }
            // Said already, by what holds out.
            Err(None) => {}
            Err(Some(reason)) => notes.push(Note::new(split.name(), reason)),
        }
    }
    notes.sort_by_key(|note| asked.iter().position(|split| split.name() == note.place));
    Ok(Plan {
        kind,
        partition,
        splits,
        notes,
    })
}

/// What is held out: as much of what the splits ask for as leaves training,
/// `val` and `test_iid` what they need, and gives every cell of the split a trial.
fn hold_out(spec: &Task, notes: &mut Vec<Note>) -> Result<Held, TaskError> {
    let asks = |split: Split| spec.splits.contains(&split);
    let wanted = Held {
        pairs: asks(Split::TestPair),
        numbers: asks(Split::TestNumber),
        split_seed: spec.split_seed,
    };
    let candidates = [
        wanted,
        Held {
            numbers: false,
            ..wanted
        },
        Held {
            pairs: false,
            ..wanted
        },
    ];
    let mut reason = None;
    for held in candidates {
        if !held.pairs && !held.numbers {
            continue;
        }
        match try_out(spec, held) {
            Ok(()) => {
                for (split, gone) in [
                    (Split::TestPair, wanted.pairs && !held.pairs),
                    (Split::TestNumber, wanted.numbers && !held.numbers),
                ] {
                    if gone {
                        notes.push(not_held(split, reason.as_ref()));
                    }
                }
                return Ok(held);
            }
            Err(error) => reason = reason.or(Some(error)),
        }
    }
    for split in [Split::TestPair, Split::TestNumber] {
        if asks(split) {
            notes.push(not_held(split, reason.as_ref()));
        }
    }
    Ok(Held {
        pairs: false,
        numbers: false,
        ..wanted
    })
}

fn not_held(split: Split, reason: Option<&TaskError>) -> Note {
    let what = if split == Split::TestPair {
        "pairs"
    } else {
        "numbers"
    };
    let why = reason.map(ToString::to_string).unwrap_or_default();
    let text =
        format!("no {what} are held out from training, the range is too short for it: {why}");
    Note::new(split.name(), text)
}

/// Whether a spec can be met with this held out.
fn try_out(spec: &Task, held: Held) -> Result<(), TaskError> {
    let kind = setup::build(spec, &Variant::default(), held)?;
    let partition = Partition::new(kind.as_ref(), spec.split_seed);
    require(spec, kind.as_ref(), &partition)?;
    for (split, holds) in [
        (Split::TestPair, held.pairs),
        (Split::TestNumber, held.numbers),
    ] {
        if holds {
            partition.check_capacity(kind.as_ref(), Part::Eval(split), 1)?;
        }
    }
    Ok(())
}

/// What no run can do without.
fn require(spec: &Task, kind: &dyn TaskKind, partition: &Partition) -> Result<(), TaskError> {
    let each = each_cell(spec.eval_trials, kind.cells())?;
    for split in [Split::Val, Split::TestIid] {
        partition.check_capacity(kind, Part::Eval(split), each)?;
    }
    match spec.train {
        TrainSet::Online => partition.check_capacity(kind, Part::Train, 1),
        TrainSet::Fixed(trials) => partition.check_fixed(kind, trials),
    }
}

/// A split, or why it can't be had (`None`: that was said).
fn planned(
    spec: &Task,
    definition: &Definition,
    kind: &dyn TaskKind,
    partition: &Partition,
    split: Split,
    held: Held,
) -> Result<Planned, Option<String>> {
    let whole = |elsewhere| Planned {
        split,
        trials: spec.eval_trials,
        elsewhere,
    };
    let own = |held: bool| {
        if !held {
            return Err(None);
        }
        let (possible, _) = partition.scarcest(kind, Part::Eval(split));
        Ok(Planned {
            trials: fitting(spec, kind, possible),
            ..whole(None)
        })
    };
    match split {
        Split::Val | Split::TestIid => Ok(whole(None)),
        Split::TestPair => own(held.pairs),
        Split::TestNumber => own(held.numbers),
        Split::TestRangeNear => {
            other_range(spec, definition, split, spec.test_near.unwrap_or(NEAR))
        }
        Split::TestRangeFar => other_range(spec, definition, split, spec.test_far.unwrap_or(FAR)),
        Split::TestTemplate => {
            let template = other_template(spec, definition)?;
            let variant = Variant {
                template: Some(template),
                ..Variant::default()
            };
            variant_of(spec, &variant, held).map(|kind| whole(Some(kind)))
        }
        Split::TestCueword => {
            let variant = Variant {
                words: Some(other_words(spec, definition)?),
                ..Variant::default()
            };
            variant_of(spec, &variant, held).map(|kind| whole(Some(kind)))
        }
        Split::ControlNoCue if definition.cue_slots.is_empty() => {
            Err(Some(format!("the task {} has no cue", definition.name)))
        }
        Split::ControlNoCue | Split::ControlNoNumbers => Ok(whole(None)),
    }
}

/// The largest multiple of the cells that there are trials for.
fn fitting(spec: &Task, kind: &dyn TaskKind, possible: u64) -> u32 {
    let cells = kind.cells() as u32;
    let each = u64::from(spec.eval_trials / cells).min(possible);
    each as u32 * cells
}

fn variant_of(
    spec: &Task,
    variant: &Variant,
    held: Held,
) -> Result<Box<dyn TaskKind>, Option<String>> {
    setup::build(spec, variant, held).map_err(|error| Some(error.to_string()))
}

fn other_range(
    spec: &Task,
    definition: &Definition,
    split: Split,
    range: [u32; 2],
) -> Result<Planned, Option<String>> {
    if !definition.shifts {
        let name = definition.name;
        return Err(Some(format!(
            "the rule of the task {name} hangs on its range, so it has no other"
        )));
    }
    let [low, high] = spec.range;
    if range[0] <= high && range[1] >= low {
        return Err(Some(format!(
            "the numbers {} to {} are partly those of task.range [{low}, {high}]",
            range[0], range[1]
        )));
    }
    let variant = Variant {
        range: Some(range),
        ..Variant::default()
    };
    let kind = variant_of(spec, &variant, Held::NOTHING)?;
    let partition = Partition::elsewhere(kind.as_ref(), spec.split_seed);
    let (possible, _) = partition.scarcest(kind.as_ref(), Part::Eval(split));
    if possible == 0 {
        return Err(Some("a cell has no trial in it".into()));
    }
    Ok(Planned {
        split,
        trials: fitting(spec, kind.as_ref(), possible),
        elsewhere: Some(kind),
    })
}

/// The wording of `test_template`: what the spec says, or the task's first one
/// that is not that of training.
fn other_template(spec: &Task, definition: &Definition) -> Result<Template, Option<String>> {
    let other = match &spec.test_template {
        Some(template) => Some(template.clone()),
        None => {
            let mut names = definition
                .templates
                .iter()
                .map(|(name, _)| Template::from(*name));
            names.find(|template| *template != spec.template)
        }
    };
    match other {
        Some(template) if template == spec.template => Err(Some(
            "task.test_template is the template of training".into(),
        )),
        Some(template) => Ok(template),
        None => Err(Some(format!(
            "the task {} has one template",
            definition.name
        ))),
    }
}

/// The words of `test_cueword`.
fn other_words(spec: &Task, definition: &Definition) -> Result<[String; 2], Option<String>> {
    let unseen = match definition.cues {
        Cues::None => {
            return Err(Some(format!("the task {} has no cue", definition.name)));
        }
        Cues::Dimensions(_, unseen) => Some(unseen),
        Cues::Words(_, unseen) => unseen,
    };
    let (_, text) = setup::text(definition, &spec.template).map_err(|e| Some(e.to_string()))?;
    let by_dimension = matches!(definition.cues, Cues::Dimensions(..));
    if by_dimension && !names_dimensions(text, definition.dimensions) {
        let names = definition.dimensions.join("} and {");
        return Err(Some(format!(
            "the template has its dimension words in its text; with {{{names}}} in their places \
             others could stand there"
        )));
    }
    match (&spec.test_cues, unseen) {
        (Some(words), _) => Ok(words.clone()),
        (None, Some(words)) => Ok(words.map(str::to_owned)),
        (None, None) => Err(Some(format!(
            "the cues of the task {} are arbitrary labels: no other word means the same",
            definition.name
        ))),
    }
}

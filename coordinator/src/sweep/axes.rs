//! `axes:`, `include:` and `exclude:`: what varies, over which values, and when.

use std::collections::BTreeSet;

use serde_json::Value;

use super::decode::{Setting, entries, show, unknown};
use super::paths::{self, AxisField};
use super::source::{Problems, Span};
use super::tree::{Key, Node, Tree, join};
use super::values::{axis_values, one_or_many};

/// Seeds of a sweep that names none: a power of .81 at an effect of one
/// standard deviation.
const SEEDS_DEFAULT: u64 = 10;

/// An axis, or several that vary together.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What varies; more than one for a zip group.
    pub paths: Vec<&'static str>,
    /// The values, each as long as `paths`.
    pub tuples: Vec<Vec<Setting>>,
    /// Where it varies; everywhere if empty. Elsewhere its paths keep the
    /// document's own values.
    pub when: Vec<Condition>,
    /// Where it stands.
    pub span: Span,
}

/// A path with the values that meet it.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// What is looked at.
    pub path: &'static str,
    /// Any of these will do.
    pub values: Vec<Setting>,
    /// Where it stands.
    pub span: Span,
    /// The same in the structure.
    pub place: String,
}

impl Condition {
    /// Whether this value meets it.
    pub fn holds(&self, value: &Value) -> bool {
        self.values.iter().any(|s| s.value == *value)
    }
}

/// An entry of `exclude:`: all conditions at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// What a point must meet to be left out.
    pub conditions: Vec<Condition>,
    /// Where it stands.
    pub span: Span,
    /// The same in the structure.
    pub place: String,
}

/// The axes of a document. The seed stands apart: it is the outermost, and the
/// same for all that is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Axes {
    /// Seeds, in the order of the file.
    pub seeds: Vec<u64>,
    /// All other axes, in the order of the file.
    pub axes: Vec<Axis>,
}

impl Axes {
    /// The axes of a document that only has `include:`.
    pub fn none() -> Self {
        Self {
            seeds: (0..SEEDS_DEFAULT).collect(),
            axes: vec![],
        }
    }

    /// Decodes `axes:`.
    pub fn decode(node: &Node, problems: &mut Problems) -> Self {
        let mut axes = Self::none();
        for (key, item) in entries(node, "axes", problems).unwrap_or(&[]) {
            let place = join("axes", &key.name);
            if key.name == "zip" {
                let groups = match &item.value {
                    Tree::List(groups) => groups.as_slice(),
                    _ => std::slice::from_ref(item),
                };
                for (i, group) in groups.iter().enumerate() {
                    let place = match item.value {
                        Tree::List(_) => format!("{place}[{i}]"),
                        _ => place.clone(),
                    };
                    axes.zip(group, &place, problems);
                }
                continue;
            }
            let Some(field) = field_of(key, &place, problems) else {
                continue;
            };
            let Some((values, when)) = axis_values(&field, item, &place, problems) else {
                continue;
            };
            if field.path == "seed" {
                if let Some(when) = when {
                    let message = "seeds are the same everywhere, else arms are not paired";
                    problems.push(when.span, &join(&place, "when"), message);
                }
                axes.seeds = values.iter().filter_map(|s| s.value.as_u64()).collect();
                continue;
            }
            let axis = Axis {
                paths: vec![field.path],
                tuples: values.into_iter().map(|s| vec![s]).collect(),
                when: when.map_or(vec![], |w| axes.when(w, &join(&place, "when"), problems)),
                span: key.span,
            };
            axes.add(axis, &place, problems);
        }
        axes
    }

    fn add(&mut self, axis: Axis, place: &str, problems: &mut Problems) {
        for path in &axis.paths {
            if self.axes.iter().any(|a| a.paths.contains(path)) {
                problems.push(axis.span, place, format!("`{path}` varies twice"));
                return;
            }
        }
        self.axes.push(axis);
    }

    fn zip(&mut self, group: &Node, place: &str, problems: &mut Problems) {
        let Some(entries) = entries(group, place, problems) else {
            return;
        };
        let mut columns: Vec<(&'static str, Vec<Setting>)> = vec![];
        let mut conditions = vec![];
        let mut good = true;
        for (key, item) in entries {
            let inner = join(place, &key.name);
            if key.name == "when" {
                conditions = self.when(item, &inner, problems);
                continue;
            }
            let Some(field) = field_of(key, &inner, problems) else {
                good = false;
                continue;
            };
            if field.path == "seed" {
                let message = "the seed is crossed with everything, else arms are not paired";
                problems.push(key.span, &inner, message);
                good = false;
                continue;
            }
            match axis_values(&field, item, &inner, problems) {
                Some((_, Some(when))) => {
                    let message = "a condition belongs to the whole group";
                    problems.push(when.span, &join(&inner, "when"), message);
                    good = false;
                }
                Some((values, None)) => columns.push((field.path, values)),
                None => good = false,
            }
        }
        if !good {
            return;
        }
        let Some((_, first)) = columns.first() else {
            problems.push(group.span, place, "must name the axes that vary together");
            return;
        };
        let rows = first.len();
        if let Some((path, column)) = columns.iter().find(|(_, c)| c.len() != rows) {
            let message = format!(
                "axes that vary together need equally many values: `{}` has {rows}, `{path}` has {}",
                columns[0].0,
                column.len()
            );
            problems.push(group.span, place, message);
            return;
        }
        let tuples = (0..rows)
            .map(|row| {
                columns
                    .iter()
                    .map(|(_, column)| column[row].clone())
                    .collect()
            })
            .collect();
        let axis = Axis {
            paths: columns.iter().map(|(path, _)| *path).collect(),
            tuples,
            when: conditions,
            span: group.span,
        };
        self.add(axis, place, problems);
    }

    /// Conditions look at axes that stand above: so they can't go in a circle.
    fn when(&self, node: &Node, place: &str, problems: &mut Problems) -> Vec<Condition> {
        let conditions = conditions(node, place, problems);
        for condition in &conditions {
            if !self.axes.iter().any(|a| a.paths.contains(&condition.path)) {
                let message = format!("`{}` is not an axis above this one", condition.path);
                problems.push(condition.span, &condition.place, message);
            }
        }
        conditions
    }
}

/// The axis that a key names; its absence is noted.
fn field_of(key: &Key, place: &str, problems: &mut Problems) -> Option<AxisField> {
    if key.name == "task.split_seed" {
        let message = "the splits are one for a whole sweep, else its arms do not compare";
        problems.push_help(key.span, place, message, "set it under `task:`");
        return None;
    }
    let field = paths::axis(&key.name);
    if field.is_none() {
        unknown(key, place, "axis", paths::axes().map(|a| a.path), problems);
    }
    field
}

/// Decodes a mapping of path → value or values.
fn conditions(node: &Node, place: &str, problems: &mut Problems) -> Vec<Condition> {
    let mut found = vec![];
    for (key, item) in entries(node, place, problems).unwrap_or(&[]) {
        let inner = join(place, &key.name);
        let Some(field) = field_of(key, &inner, problems) else {
            continue;
        };
        if field.path == "seed" {
            let message = "all points have the same seeds, else arms are not paired";
            problems.push(key.span, &inner, message);
            continue;
        }
        if let Some(values) = one_or_many(&field, item, &inner, problems) {
            found.push(Condition {
                path: field.path,
                values,
                span: key.span,
                place: inner,
            });
        }
    }
    found
}

/// Decodes `exclude:`.
pub fn patterns(node: &Node, place: &str, problems: &mut Problems) -> Vec<Pattern> {
    let Tree::List(items) = &node.value else {
        let message = format!("must be a list of points, got {}", show(&node.value));
        problems.push(node.span, place, message);
        return vec![];
    };
    let mut found = vec![];
    for (i, item) in items.iter().enumerate() {
        let place = format!("{place}[{i}]");
        let before = problems.len();
        let conditions = conditions(item, &place, problems);
        if problems.len() > before {
            continue;
        }
        if conditions.is_empty() {
            problems.push(item.span, &place, "must name at least one axis");
            continue;
        }
        found.push(Pattern {
            conditions,
            span: item.span,
            place,
        });
    }
    found
}

/// The crossing that an entry of `include:` makes with the axes that it does
/// not mention. What it mentions takes the place of the axis of that name.
pub fn included(axes: &[Axis], pattern: &Pattern, problems: &mut Problems) -> Vec<Axis> {
    let mentioned: BTreeSet<_> = pattern.conditions.iter().map(|c| c.path).collect();
    let fixed = |condition: &Condition| Axis {
        paths: vec![condition.path],
        tuples: condition.values.iter().map(|s| vec![s.clone()]).collect(),
        when: vec![],
        span: condition.span,
    };
    let mut crossing = vec![];
    for axis in axes {
        let hit = axis.paths.iter().filter(|p| mentioned.contains(*p)).count();
        if hit == 0 {
            crossing.push(axis.clone());
        } else if hit < axis.paths.len() {
            let message = format!(
                "must mention all of {} or none: they vary together",
                axis.paths.join(", ")
            );
            problems.push(pattern.span, &pattern.place, message);
        } else {
            let of_axis = pattern
                .conditions
                .iter()
                .filter(|c| axis.paths.contains(&c.path));
            crossing.extend(of_axis.map(fixed));
        }
    }
    let known: BTreeSet<_> = axes.iter().flat_map(|a| &a.paths).collect();
    let further = pattern
        .conditions
        .iter()
        .filter(|c| !known.contains(&c.path));
    crossing.extend(further.map(fixed));
    crossing
}

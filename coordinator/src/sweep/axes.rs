//! `axes:`, `include:` and `exclude:`: what varies, over which values, and when.

use std::collections::BTreeSet;

use serde_json::Value;

use super::decode::{Setting, entries, show, suggestion, unknown, value};
use super::fields::{self, AxisField, Kind};
use super::source::{Problems, Span};
use super::tree::{Key, Node, Tree, join};

/// Most values of one axis.
const VALUES_MAX: u64 = 100_000;
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
    let field = fields::axis(&key.name);
    if field.is_none() {
        unknown(key, place, "axis", fields::axes().map(|a| a.path), problems);
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

/// A value, or a list of values, of an axis. Some kinds are lists themselves.
fn one_or_many(
    field: &AxisField,
    node: &Node,
    place: &str,
    problems: &mut Problems,
) -> Option<Vec<Setting>> {
    let lists_in_value = match field.kind {
        Kind::Pair => 1,
        Kind::Bins => 2,
        _ => 0,
    };
    if depth(node) > lists_in_value {
        return match &node.value {
            Tree::List(items) => values(field, items, node.span, place, problems),
            _ => unreachable!("a depth above 0 is a list's"),
        };
    }
    let one = value(&field.kind, node, place, problems)?;
    Some(vec![Setting {
        value: one,
        span: node.span,
        place: place.to_owned(),
        stated: true,
    }])
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Tree::List(items) => 1 + items.first().map_or(0, depth),
        _ => 0,
    }
}

fn values(
    field: &AxisField,
    items: &[Node],
    span: Span,
    place: &str,
    problems: &mut Problems,
) -> Option<Vec<Setting>> {
    if items.is_empty() {
        problems.push(span, place, "must have at least one value");
        return None;
    }
    let mut found: Vec<Setting> = vec![];
    let mut seen = BTreeSet::new();
    let mut good = true;
    for (i, item) in items.iter().enumerate() {
        let place = format!("{place}[{i}]");
        let Some(value) = value(&field.kind, item, &place, problems) else {
            good = false;
            continue;
        };
        if seen.insert(value.to_string()) {
            found.push(Setting {
                value,
                span: item.span,
                place,
                stated: true,
            });
        } else {
            let what = if field.path == "seed" {
                "seed"
            } else {
                "value"
            };
            problems.push(
                item.span,
                &place,
                format!("the {what} {value} stands here twice"),
            );
            good = false;
        }
    }
    good.then_some(found)
}

const FORMS: &[&str] = &["values", "range", "log", "count"];

/// The values of an axis and its condition.
fn axis_values<'n>(
    field: &AxisField,
    node: &'n Node,
    place: &str,
    problems: &mut Problems,
) -> Option<(Vec<Setting>, Option<&'n Node>)> {
    let form = match &node.value {
        Tree::List(items) => {
            return Some((values(field, items, node.span, place, problems)?, None));
        }
        Tree::Map(entries)
            if entries
                .iter()
                .any(|(k, _)| FORMS.contains(&k.name.as_str())) =>
        {
            entries
        }
        other => {
            let message = format!("must be a list of values, got {}", show(other));
            let help = "write [a, b], {range: [first, last, step]}, {log: [first, last, n]}, or {values: […], when: {…}}";
            problems.push_help(node.span, place, message, help);
            return None;
        }
    };
    let find = |name: &str| form.iter().find(|(k, _)| k.name == name).map(|(_, n)| n);
    let before = problems.len();
    for (key, _) in form {
        let known = FORMS.iter().copied().chain(["when", "from"]);
        if !known.clone().any(|name| name == key.name) {
            unknown(key, &join(place, &key.name), "key", known, problems);
        }
    }
    let given: Vec<_> = FORMS.iter().filter(|name| find(name).is_some()).collect();
    if given.len() != 1 {
        problems.push(
            node.span,
            place,
            format!("must have exactly one of {}", FORMS.join(", ")),
        );
    }
    if let (Some(from), None) = (find("from"), find("count")) {
        problems.push(from.span, &join(place, "from"), "belongs to `count`");
    }
    if problems.len() > before {
        return None;
    }
    let inner = join(place, given[0]);
    let body = find(given[0]).expect("it was found above");
    let found = match *given[0] {
        "values" => match &body.value {
            Tree::List(items) => values(field, items, body.span, &inner, problems)?,
            other => {
                problems.push(
                    body.span,
                    &inner,
                    format!("must be a list, got {}", show(other)),
                );
                return None;
            }
        },
        form => {
            let numbers = generated(field, form, body, find("from"), &inner, problems)?;
            let items: Vec<_> = numbers
                .into_iter()
                .map(|value| Node {
                    value,
                    span: body.span,
                })
                .collect();
            values(field, &items, body.span, &inner, problems)?
        }
    };
    Some((found, find("when")))
}

/// Whether an axis takes whole numbers, other numbers, or none.
fn whole(kind: &Kind) -> Option<bool> {
    match kind {
        Kind::Uint(..) | Kind::TrainSet => Some(true),
        Kind::Float(_) => Some(false),
        Kind::Auto(inner) => whole(inner),
        _ => None,
    }
}

/// The numbers of a `range`, `log` or `count`.
fn generated(
    field: &AxisField,
    form: &str,
    node: &Node,
    from: Option<&Node>,
    place: &str,
    problems: &mut Problems,
) -> Option<Vec<Tree>> {
    let Some(whole) = whole(&field.kind) else {
        let message = format!("`{}` does not take numbers", field.path);
        let names = match field.kind {
            Kind::Word(words) => suggestion("", words.iter().copied()),
            _ => "write its values as a list".into(),
        };
        problems.push_help(node.span, place, message, names);
        return None;
    };
    let mut fail = |message: &str| {
        problems.push(node.span, place, message);
        None
    };
    if form == "count" {
        let count = match node.value {
            Tree::Int(n) if n >= 1 && n as u64 <= VALUES_MAX => n,
            _ => return fail("must be a whole number from 1 to 100000"),
        };
        if !whole {
            return fail("counts whole numbers; write a range with a step");
        }
        let from = match from.map(|n| &n.value) {
            None => 0,
            Some(Tree::Int(from)) if (0..1 << 53).contains(from) => *from,
            Some(_) => return fail("`from` must be a whole number"),
        };
        return Some((from..from + count).map(Tree::Int).collect());
    }
    let Tree::List(items) = &node.value else {
        return fail("must be a list of numbers");
    };
    let mut numbers = vec![];
    for item in items {
        match item.value {
            Tree::Int(i) => numbers.push(i as f64),
            Tree::Float(x) => numbers.push(x),
            _ => return fail("must be a list of numbers"),
        }
    }
    let made = match (form, numbers.as_slice()) {
        ("range", [first, last]) if whole => range(*first, *last, 1.0, whole),
        ("range", [_, _]) => Err("must be [first, last, step]"),
        ("range", [first, last, step]) => range(*first, *last, *step, whole),
        ("range", _) => Err("must be [first, last] or [first, last, step]"),
        (_, [first, last, n]) => log_range(*first, *last, *n, whole),
        _ => Err("must be [first, last, how many]"),
    };
    made.or_else(|message| fail(message).ok_or(())).ok()
}

fn range(first: f64, last: f64, step: f64, whole: bool) -> Result<Vec<Tree>, &'static str> {
    if step <= 0.0 || last < first {
        return Err("must ascend: [first, last] or [first, last, step], both ends included");
    }
    if whole && [first, last, step].iter().any(|x| x.fract() != 0.0) {
        return Err("must be whole numbers");
    }
    // The end counts if it is met but for rounding.
    let count = ((last - first) / step + 1e-9).floor() + 1.0;
    if count > VALUES_MAX as f64 {
        return Err("has more than 100000 values");
    }
    Ok((0..count as u64)
        .map(|i| tree(round(first + i as f64 * step, 12), whole))
        .collect())
}

/// Rounded to three digits: so are the rates that people write, and so no two
/// machines' logarithms can disagree on a job key.
fn log_range(first: f64, last: f64, n: f64, whole: bool) -> Result<Vec<Tree>, &'static str> {
    if first <= 0.0 || last <= first {
        return Err("must be [first, last, how many] with 0 < first < last");
    }
    if n.fract() != 0.0 || !(2.0..=1000.0).contains(&n) {
        return Err("must have from 2 to 1000 values");
    }
    let ratio = (last / first).ln();
    let inner = (1..n as u64 - 1).map(|i| {
        let x = round(first * (ratio * i as f64 / (n - 1.0)).exp(), 3);
        if whole { x.round() } else { x }
    });
    Ok(std::iter::once(first)
        .chain(inner)
        .chain([last])
        .map(|x| tree(x, whole))
        .collect())
}

fn tree(x: f64, whole: bool) -> Tree {
    // Whole numbers were bounded, and are exact.
    if whole {
        Tree::Int(x as i64)
    } else {
        Tree::Float(x)
    }
}

/// To so many significant decimal digits, through text: correctly rounded on
/// every machine.
fn round(x: f64, digits: usize) -> f64 {
    format!("{x:.*e}", digits - 1)
        .parse()
        .expect("a formatted float is a float")
}

//! The values of an axis: lists, ranges, logarithmic ranges, counts.

use std::collections::BTreeSet;

use super::decode::{Setting, show, suggestion, unknown, value};
use super::kinds::Kind;
use super::paths::AxisField;
use super::source::{Problems, Span};
use super::tree::{Node, Tree, join};

/// Most values of one axis.
const VALUES_MAX: u64 = 100_000;
/// A value, or a list of values, of an axis. Some kinds are lists themselves.
pub fn one_or_many(
    field: &AxisField,
    node: &Node,
    place: &str,
    problems: &mut Problems,
) -> Option<Vec<Setting>> {
    let lists_in_value = match field.kind {
        Kind::Pair | Kind::Splits | Kind::TwoTexts => 1,
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
pub fn axis_values<'n>(
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

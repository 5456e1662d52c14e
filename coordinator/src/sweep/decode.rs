//! Node × kind → checked value. Every mistake is noted and the walk goes on.

use std::collections::BTreeSet;

use seedbed_proto::job::Split;
use seedbed_proto::task::registry::TASKS;
use serde_json::{Map, Value, json};

use super::fields::{MODEL, TEMPLATE, UINT_MAX};
use super::kinds::{Bounds, Field, Kind};
use super::source::{Problems, Span};
use super::tree::{Key, Node, Tree, join};

/// A decoded value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The value in its canonical JSON form.
    pub value: Value,
    /// Where it stands; for a default, the place that it is missing from.
    pub span: Span,
    /// `train.batch`, `axes.frozen[2]`.
    pub place: String,
    /// False for a default.
    pub stated: bool,
}

/// The entries of a mapping.
pub fn entries<'n>(
    node: &'n Node,
    place: &str,
    problems: &mut Problems,
) -> Option<&'n [(Key, Node)]> {
    match &node.value {
        Tree::Map(entries) => Some(entries),
        other => {
            let message = format!("must be a mapping of keys, got {}", other.kind());
            problems.push(node.span, place, message);
            None
        }
    }
}

/// The keys of a block, checked against its table; defaults are not filled in.
pub fn block(
    fields: &[Field],
    node: &Node,
    place: &str,
    problems: &mut Problems,
) -> Vec<(&'static str, Setting)> {
    let mut found = vec![];
    for (key, item) in entries(node, place, problems).unwrap_or(&[]) {
        let inner = join(place, &key.name);
        let Some(field) = fields.iter().find(|f| f.name == key.name) else {
            let names = fields.iter().map(|f| f.name);
            unknown(key, &inner, "key", names, problems);
            continue;
        };
        if let Some(value) = value(&field.kind, item, &inner, problems) {
            let span = item.span;
            let setting = Setting {
                value,
                span,
                place: inner,
                stated: true,
            };
            found.push((field.name, setting));
        }
    }
    found
}

/// Notes an unknown name, with the nearest known one or all of them.
pub fn unknown<'a>(
    key: &Key,
    place: &str,
    what: &str,
    known: impl Iterator<Item = &'a str>,
    problems: &mut Problems,
) {
    let help = suggestion(&key.name, known);
    problems.push_help(
        key.span,
        place,
        format!("unknown {what} `{}`", key.name),
        help,
    );
}

/// "did you mean `batch`?" or "one of …".
pub fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    // A name may be meant by its last part: `batch` for `train.batch`.
    let near = |candidate: &str| {
        let last = candidate.rsplit('.').next().unwrap_or(candidate);
        let whole = strsim::jaro_winkler(name, candidate);
        whole.max(strsim::jaro_winkler(name, last))
    };
    let best = known
        .iter()
        .map(|candidate| (near(candidate), *candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, candidate)) if score >= 0.8 => format!("did you mean `{candidate}`?"),
        _ => format!("known: {}", known.join(", ")),
    }
}

/// The value of a node under its kind, in canonical form; none if it is wrong
/// (which was noted).
pub fn value(kind: &Kind, node: &Node, place: &str, problems: &mut Problems) -> Option<Value> {
    let mut fail = |message: String, help: Option<&str>| {
        match help {
            Some(help) => problems.push_help(node.span, place, message, help),
            None => problems.push(node.span, place, message),
        }
        None
    };
    match (kind, &node.value) {
        (Kind::Bool, Tree::Bool(b)) => Some(json!(b)),
        (Kind::Bool, other) => fail(format!("must be true or false, got {}", show(other)), None),
        (Kind::Uint(min, max), Tree::Int(i)) => match u64::try_from(*i) {
            Ok(n) if (*min..=*max).contains(&n) => Some(json!(n)),
            _ if i < &(*min).try_into().unwrap_or(i64::MAX) => {
                fail(format!("must be ≥ {min}, got {i}"), None)
            }
            _ => fail(format!("must be ≤ {max}, got {i}"), None),
        },
        (Kind::Uint(..), other) => {
            let message = format!("must be a whole number, got {}", show(other));
            fail(message, number_help(other))
        }
        (Kind::Float(bounds), Tree::Int(i)) => match in_bounds(bounds, *i as f64) {
            Ok(x) => Some(json!(x)),
            Err(rule) => fail(format!("must be {rule}, got {i}"), None),
        },
        (Kind::Float(bounds), Tree::Float(x)) => match in_bounds(bounds, *x) {
            Ok(x) => Some(json!(x)),
            Err(rule) => fail(format!("must be {rule}, got {x}"), None),
        },
        (Kind::Float(_), other) => fail(
            format!("must be a number, got {}", show(other)),
            number_help(other),
        ),
        (Kind::Word(words), Tree::Text(text)) => {
            if words.contains(&text.as_str()) {
                return Some(json!(text));
            }
            let help = suggestion(text, words.iter().copied());
            let all = words.join(", ");
            fail(format!("must be one of {all}, got `{text}`"), Some(&help))
        }
        (Kind::Word(words), other) => fail(
            format!("must be one of {}, got {}", words.join(", "), show(other)),
            None,
        ),
        (Kind::Words(words), Tree::List(items)) if !items.is_empty() => {
            words_once(words, items, place, problems)
        }
        (Kind::Words(words), other) => fail(
            format!(
                "must be a list of {}, got {}",
                words.join(", "),
                show(other)
            ),
            None,
        ),
        (Kind::Text | Kind::Path | Kind::AxisName, Tree::Text(text)) if !text.trim().is_empty() => {
            Some(json!(text))
        }
        (Kind::Text | Kind::Path | Kind::AxisName, other) => {
            fail(format!("must be a text, got {}", show(other)), None)
        }
        (Kind::Name, Tree::Text(text)) if is_name(text) => Some(json!(text)),
        (Kind::Name, other) => fail(
            format!("must be a name, got {}", show(other)),
            Some(
                "a name has at most 64 letters, digits, `.`, `_` and `-`, and begins with a letter",
            ),
        ),
        (Kind::Paths, Tree::Text(_)) => {
            Some(json!([self::value(&Kind::Path, node, place, problems)?]))
        }
        (Kind::Paths, Tree::List(items)) if !items.is_empty() => {
            list(&Kind::Path, items, place, problems)
        }
        (Kind::Paths, other) => fail(
            format!("must be a list of paths, got {}", show(other)),
            None,
        ),
        (Kind::Auto(_), Tree::Text(text)) if text == "auto" => Some(json!("auto")),
        (Kind::Auto(inner), _) => self::value(inner, node, place, problems),
        (Kind::Pair, Tree::List(items)) if items.len() == 2 => {
            let pair = list(&Kind::Uint(0, 1_000_000), items, place, problems)?;
            if pair[0].as_u64() < pair[1].as_u64() {
                return Some(pair);
            }
            let message = format!(
                "must be [smallest, largest], got [{}, {}]",
                pair[0], pair[1]
            );
            problems.push(node.span, place, message);
            None
        }
        (Kind::Pair, other) => fail(
            format!("must be [smallest, largest], got {}", show(other)),
            None,
        ),
        (Kind::Bins, Tree::List(items)) if !items.is_empty() => bins(node, items, place, problems),
        (Kind::Bins, other) => fail(
            format!(
                "must be a list of bins [[1, 4], [5, 16]], got {}",
                show(other)
            ),
            None,
        ),
        (Kind::TrainSet, Tree::Text(text)) if text == "online" => Some(json!("online")),
        (Kind::TrainSet, Tree::Int(n @ 1..=4_294_967_295)) => Some(json!(n)),
        (Kind::TrainSet, other) => fail(
            format!(
                "must be `online` or a number of trials, got {}",
                show(other)
            ),
            number_help(other),
        ),
        (Kind::Template, Tree::Map(_)) => own_template(node, place, problems),
        (Kind::Template, Tree::Text(text)) => {
            let names = template_names();
            if names.contains(&text.as_str()) {
                return Some(json!(text));
            }
            let help = suggestion(text, names.into_iter());
            fail(
                format!("no task has a template `{text}`"),
                Some(&format!("{help}, or write {{text: …}}")),
            )
        }
        (Kind::Template, other) => fail(
            format!("must be the name of a template, got {}", show(other)),
            Some("or write {text: …}"),
        ),
        (Kind::Splits, Tree::List(items)) => splits(items, place, problems),
        (Kind::Splits, other) => fail(
            format!("must be a list of splits, got {}", show(other)),
            None,
        ),
        (Kind::TwoTexts, Tree::List(items)) if items.len() == 2 => {
            list(&Kind::Text, items, place, problems)
        }
        (Kind::TwoTexts, other) => fail(format!("must be two texts, got {}", show(other)), None),
        (Kind::Checkpoints, Tree::List(items)) => steps(node, items, place, problems),
        (Kind::Checkpoints, _) => self::value(&Kind::Word(CHECKPOINTS), node, place, problems),
        (Kind::Init, _) => init(node, place, problems),
        (Kind::Frozen, _) => frozen(node, place, problems),
        (Kind::Model, _) => super::model::decode(MODEL, node, place, problems),
        (Kind::Block(fields), _) => {
            let found = block(fields, node, place, problems);
            Some(
                found
                    .into_iter()
                    .map(|(name, s)| (name.to_owned(), s.value))
                    .collect(),
            )
        }
        (Kind::Select | Kind::Axes | Kind::Patterns, _) => {
            unreachable!("these depend on the axes, and are decoded with them")
        }
    }
}

fn list(kind: &Kind, items: &[Node], place: &str, problems: &mut Problems) -> Option<Value> {
    let decoded: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(i, item)| value(kind, item, &format!("{place}[{i}]"), problems))
        .collect();
    decoded
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .map(Value::Array)
}

fn words_once(
    words: &'static [&'static str],
    items: &[Node],
    place: &str,
    problems: &mut Problems,
) -> Option<Value> {
    let found = list(&Kind::Word(words), items, place, problems)?;
    let all = found.as_array()?;
    let mut good = true;
    for (i, word) in all.iter().enumerate() {
        if all[..i].contains(word) {
            let message = format!("names {word} twice");
            problems.push(items[i].span, &format!("{place}[{i}]"), message);
            good = false;
        }
    }
    good.then_some(found)
}

fn bins(node: &Node, items: &[Node], place: &str, problems: &mut Problems) -> Option<Value> {
    let mut edge = 0;
    let mut good = true;
    let mut found = vec![];
    for (i, item) in items.iter().enumerate() {
        let inner = format!("{place}[{i}]");
        let Tree::List(ends) = &item.value else {
            let message = format!("must be [smallest, largest], got {}", show(&item.value));
            problems.push(item.span, &inner, message);
            good = false;
            continue;
        };
        let Some(pair) = list(&Kind::Uint(1, 1_000_000), ends, &inner, problems) else {
            good = false;
            continue;
        };
        let [Some(low), Some(high)] = [&pair[0], &pair[1]].map(Value::as_u64) else {
            problems.push(item.span, &inner, "must be [smallest, largest]");
            good = false;
            continue;
        };
        if ends.len() != 2 || low > high || low <= edge {
            let message = format!("must be ascending and apart from the bin before, got {pair}");
            problems.push(item.span, &inner, message);
            good = false;
        }
        edge = high;
        found.push(pair);
    }
    if items.len() > 16 {
        problems.push(node.span, place, "must be at most 16 bins");
        good = false;
    }
    good.then_some(Value::Array(found))
}

/// The names of all tasks' templates; which ones a task has is checked with it.
pub(super) fn template_names() -> BTreeSet<&'static str> {
    let templates = TASKS.iter().flat_map(|task| task.templates);
    templates.map(|(name, _)| *name).collect()
}

fn own_template(node: &Node, place: &str, problems: &mut Problems) -> Option<Value> {
    let before = problems.len();
    let found = block(TEMPLATE, node, place, problems);
    if problems.len() == before && !found.iter().any(|(name, _)| *name == "text") {
        problems.push(node.span, &join(place, "text"), "is missing");
    }
    let entries = found
        .into_iter()
        .map(|(name, s)| (name.to_owned(), s.value));
    (problems.len() == before).then(|| entries.collect())
}

/// The splits in the order in which they are evaluated, so that one set has one
/// job key; `val` and `test_iid` are always among them.
fn splits(items: &[Node], place: &str, problems: &mut Problems) -> Option<Value> {
    let mut found = BTreeSet::from(["val", "test_iid"]);
    let before = problems.len();
    for (i, item) in items.iter().enumerate() {
        let word = value(
            &Kind::Word(&Split::NAMES),
            item,
            &format!("{place}[{i}]"),
            problems,
        );
        let known = Split::NAMES.iter().find(|name| word == Some(json!(name)));
        found.extend(known);
    }
    let ordered = Split::NAMES.iter().filter(|name| found.contains(**name));
    (problems.len() == before).then(|| ordered.map(|name| json!(name)).collect())
}

/// Ascending steps, so that one set has one job key.
fn steps(node: &Node, items: &[Node], place: &str, problems: &mut Problems) -> Option<Value> {
    if items.is_empty() || items.len() > STEPS_MAX {
        let message = format!("must name 1 to {STEPS_MAX} steps, got {}", items.len());
        let help = "without steps in between, write `final`";
        problems.push_help(node.span, place, message, help);
        return None;
    }
    let found = list(&Kind::Uint(0, UINT_MAX), items, place, problems)?;
    let steps: Vec<_> = found.as_array()?.iter().map(Value::as_u64).collect();
    let mut good = true;
    for (i, pair) in steps.windows(2).enumerate() {
        if pair[0] >= pair[1] {
            let message = format!("must be ascending, got {} after {}", found[i + 1], found[i]);
            problems.push(items[i + 1].span, &format!("{place}[{}]", i + 1), message);
            good = false;
        }
    }
    good.then_some(found)
}

/// Most steps in a list of checkpoints: each costs a network's bytes for each run.
pub(super) const STEPS_MAX: usize = 256;
pub(super) const CHECKPOINTS: &[&str] = &["final", "matched", "all"];
pub(super) const INITS: &[&str] = &[
    "pretrained",
    "scratch",
    "shuffled",
    "embeddings_only",
    "blocks_only",
];
pub(super) const COMPONENTS: &[&str] = &["attn", "mlp", "ln", "wte", "wpe"];
const FROZEN: &[&str] = &["prefix", "suffix", "only", "all_but", "component"];
const LAYERS: Kind = Kind::Uint(1, 256);

fn init(node: &Node, place: &str, problems: &mut Problems) -> Option<Value> {
    let Tree::Map(_) = node.value else {
        if node.value == Tree::Text("reinit".into()) {
            let help = "write {reinit: {first: 1}} or {reinit: {last: 1}}";
            problems.push_help(
                node.span,
                place,
                "must say which blocks are drawn anew",
                help,
            );
            return None;
        }
        return value(&Kind::Word(INITS), node, place, problems);
    };
    let (key, item) = single(node, place, &["reinit"], problems)?;
    let inner = join(place, key);
    let (edge, k) = single(item, &inner, &["first", "last"], problems)?;
    let k = value(&LAYERS, k, &join(&inner, edge), problems)?;
    Some(json!({ "reinit": { edge: k } }))
}

fn frozen(node: &Node, place: &str, problems: &mut Problems) -> Option<Value> {
    match &node.value {
        Tree::Text(text) if text == "none" => return Some(json!("none")),
        Tree::Map(_) => {}
        Tree::Text(text) if COMPONENTS.contains(&text.as_str()) => {
            let help = format!("write {{component: {text}}}");
            problems.push_help(node.span, place, "must be `none` or a mapping", help);
            return None;
        }
        other => {
            let message = format!(
                "must be `none` or one of {}, got {}",
                FROZEN.join(", "),
                show(other)
            );
            problems.push_help(node.span, place, message, "write none, or {prefix: 2}");
            return None;
        }
    }
    let (key, item) = single(node, place, FROZEN, problems)?;
    let inner = join(place, key);
    let value = match key {
        "prefix" | "suffix" => value(&LAYERS, item, &inner, problems)?,
        "component" => value(&Kind::Word(COMPONENTS), item, &inner, problems)?,
        _ => layers(item, &inner, problems)?,
    };
    Some(json!({ key: value }))
}

/// A list of block indices; sorted, so that one set has one job key.
fn layers(node: &Node, place: &str, problems: &mut Problems) -> Option<Value> {
    let Tree::List(items) = &node.value else {
        let message = format!("must be a list of blocks, got {}", show(&node.value));
        problems.push_help(node.span, place, message, "blocks count from 0: [0, 3]");
        return None;
    };
    if items.is_empty() {
        problems.push(node.span, place, "must name at least one block");
        return None;
    }
    let found = list(&Kind::Uint(0, 255), items, place, problems)?;
    let mut sorted: Vec<u64> = found.as_array()?.iter().filter_map(Value::as_u64).collect();
    sorted.sort_unstable();
    let unique = sorted.len();
    sorted.dedup();
    if sorted.len() < unique {
        problems.push(node.span, place, "names a block twice");
        return None;
    }
    Some(json!(sorted))
}

/// The one entry of a mapping that must have one.
fn single<'n>(
    node: &'n Node,
    place: &str,
    known: &'static [&'static str],
    problems: &mut Problems,
) -> Option<(&'static str, &'n Node)> {
    let entries = entries(node, place, problems)?;
    let [(key, item)] = entries else {
        let message = format!("must have exactly one of the keys {}", known.join(", "));
        problems.push(node.span, place, message);
        return None;
    };
    match known.iter().find(|name| **name == key.name) {
        Some(name) => Some((name, item)),
        None => {
            unknown(
                key,
                &join(place, &key.name),
                "key",
                known.iter().copied(),
                problems,
            );
            None
        }
    }
}

fn in_bounds(bounds: &Bounds, x: f64) -> Result<f64, String> {
    let Bounds {
        min,
        above,
        max,
        below,
    } = bounds;
    if x < *min || (*above && x == *min) {
        return Err(format!("{} {min}", if *above { ">" } else { "≥" }));
    }
    if x > *max || (*below && x == *max) {
        return Err(format!("{} {max}", if *below { "<" } else { "≤" }));
    }
    // −0 and 0 are one value, and must be one job.
    Ok(x + 0.0)
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// What stands there, short enough for a message.
pub fn show(tree: &Tree) -> String {
    match tree {
        Tree::Bool(b) => b.to_string(),
        Tree::Int(i) => i.to_string(),
        Tree::Float(x) => x.to_string(),
        Tree::Text(text) if text.chars().count() <= 40 => format!("`{text}`"),
        other => other.kind().to_owned(),
    }
}

fn number_help(tree: &Tree) -> Option<&'static str> {
    let Tree::Text(text) = tree else { return None };
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    if digits && text.contains('_') {
        Some("write numbers without underscores")
    } else if digits && text.contains(',') {
        Some("write numbers with a point and without separators")
    } else {
        None
    }
}

/// The fields of a block with their defaults, as a JSON object.
pub fn with_defaults(fields: &[Field], found: &[(&'static str, Setting)]) -> Map<String, Value> {
    let mut all = Map::new();
    for field in fields {
        let stated = found.iter().find(|(name, _)| *name == field.name);
        let value = match (stated, field.default) {
            (Some((_, setting)), _) => setting.value.clone(),
            (None, Some(text)) => default(text),
            (None, None) => continue,
        };
        all.insert(field.name.to_owned(), value);
    }
    all
}

/// The value of a default of the table.
pub fn default(text: &str) -> Value {
    serde_json::from_str(text).expect("defaults of the table are JSON, see its test")
}

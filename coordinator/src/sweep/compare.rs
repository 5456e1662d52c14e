//! `compare:`: what is compared with what.

use std::collections::BTreeSet;

use super::decode::{block, entries, show, suggestion, unknown, value};
use super::fields::{COMPARE, METRICS};
use super::kinds::{Field, Kind};
use super::paths::axis;
use super::replicate::Until;
use super::source::Problems;
use super::tree::{Node, Tree, join};

/// The `compare:` block of a sweep file.
#[derive(Debug, Clone, PartialEq)]
pub struct Compare {
    /// The axis whose values are the arms: "init".
    pub arms: String,
    /// The axis whose values are replicates: "seed".
    pub replicate: String,
    /// The axis of which one value is chosen per group, if any.
    pub select: Option<Select>,
    /// When to stop adding seeds, if the sweep grows by itself (`replicate:`).
    pub until: Option<Until>,
}

/// One value of an axis is chosen per group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// The axis: "learning_rate".
    pub axis: String,
    /// Split and metric that decide: "val.incongruent_accuracy".
    pub by: String,
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            arms: "init".into(),
            replicate: "seed".into(),
            select: Some(Select {
                axis: "learning_rate".into(),
                by: "val.incongruent_accuracy".into(),
            }),
            until: None,
        }
    }
}

/// Decodes `compare:`; the axes that it names must vary.
pub fn decode(node: &Node, varied: &BTreeSet<&'static str>, problems: &mut Problems) -> Compare {
    let mut compare = Compare::default();
    let plain: Vec<Field> = COMPARE
        .iter()
        .copied()
        .filter(|f| f.name != "select")
        .collect();
    let select = match &node.value {
        Tree::Map(entries) => entries.iter().find(|(k, _)| k.name == "select"),
        _ => None,
    };
    let rest = match &node.value {
        Tree::Map(entries) => {
            let rest = entries.iter().filter(|(k, _)| k.name != "select");
            Node {
                value: Tree::Map(rest.cloned().collect()),
                span: node.span,
            }
        }
        _ => node.clone(),
    };
    for (name, setting) in block(&plain, &rest, "compare", problems) {
        let text = setting.value.as_str().unwrap_or_default().to_owned();
        match name {
            "arms" => {
                let path = axis(&text).map_or(text.as_str(), |a| a.path);
                if text == "seed" || !varied.contains(path) {
                    let help = suggestion(&text, varied.iter().copied());
                    let message = format!("`{text}` is not an axis that arms can differ in");
                    problems.push_help(setting.span, &setting.place, message, help);
                }
                compare.arms = path.to_owned();
            }
            _ => compare.replicate = text,
        }
    }
    if let Some((_, node)) = select {
        compare.select = decode_select(node, varied, problems);
    }
    if let Some(select) = &compare.select
        && select.axis == compare.arms
    {
        let message = format!(
            "`{}` can't be both the arms and what is chosen",
            compare.arms
        );
        problems.push(node.span, "compare", message);
    }
    compare
}

fn decode_select(
    node: &Node,
    varied: &BTreeSet<&'static str>,
    problems: &mut Problems,
) -> Option<Select> {
    let place = "compare.select";
    if node.value == Tree::Text("none".into()) {
        return None;
    }
    let [(key, item)] = entries(node, place, problems)? else {
        problems.push(node.span, place, "must name exactly one axis, or be `none`");
        return None;
    };
    let inner = join(place, &key.name);
    let path = axis(&key.name).map_or(key.name.as_str(), |a| a.path);
    if matches!(path, "seed" | "init") || !varied.contains(path) {
        unknown(
            key,
            &inner,
            "axis",
            varied.iter().copied().filter(|p| *p != "init"),
            problems,
        );
    }
    let [(by, metric)] = entries(item, &inner, problems)? else {
        problems.push_help(
            item.span,
            &inner,
            "must say by what",
            "write {by: val.incongruent_accuracy}",
        );
        return None;
    };
    if by.name != "by" {
        unknown(
            by,
            &join(&inner, &by.name),
            "key",
            ["by"].into_iter(),
            problems,
        );
        return None;
    }
    let inner = join(&inner, "by");
    let text = value(&Kind::Text, metric, &inner, problems)?;
    let text = text.as_str()?;
    match text.split_once('.') {
        Some(("val", name)) if METRICS.contains(&name) => Some(Select {
            axis: path.to_owned(),
            by: text.to_owned(),
        }),
        Some(("val", name)) => {
            let help = suggestion(name, METRICS.iter().copied());
            problems.push_help(
                metric.span,
                &inner,
                format!("unknown metric `{name}`"),
                help,
            );
            None
        }
        _ => {
            let message = format!(
                "must be a metric of the val split, got {}",
                show(&metric.value)
            );
            let help =
                "a choice on test trials would spoil the test: write val.incongruent_accuracy";
            problems.push_help(metric.span, &inner, message, help);
            None
        }
    }
}

//! Text → tree of YAML nodes, each with its place.
//!
//! The sweep language is decoded from this tree by hand, and not through serde:
//! serde stops at the first mistake, and loses places inside enums.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::granit_parser::{self as granit, Event, Parser, ScalarStyle};

use super::source::{Problems, Span};

/// Largest sweep file. A sweep is written by people; anything larger is a
/// mistake (or an attack on the coordinator's memory).
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Most nodes of a file, aliases counted at their full size.
const NODES_MAX: usize = 200_000;
/// Deepest nesting.
const DEPTH_MAX: usize = 32;

/// A YAML node and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Tree,
    /// Where it stands.
    pub span: Span,
}

/// A YAML node, by the rules of YAML 1.2's core schema made strict: only `true`
/// and `false` are booleans, and a number is digits without underscores.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// Any other scalar.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// Key of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it stands.
    pub span: Span,
}

impl Tree {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// The documents of a YAML text. Empty documents are left out.
///
/// What could be read is returned even if `problems` grew: a syntax error ends
/// the reading, a double key does not.
pub fn parse(text: &str, problems: &mut Problems) -> Vec<Node> {
    if text.len() > FILE_BYTES_MAX {
        let start = Span { start: 0, end: 1 };
        problems.push(
            start,
            "",
            format!(
                "the file has {} bytes, at most {FILE_BYTES_MAX} are read",
                text.len()
            ),
        );
        return vec![];
    }
    let options = granit::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        anchors: BTreeMap::new(),
        nodes: 0,
        problems,
        text_bytes: text.len(),
    };
    let mut documents = vec![];
    while let Some((event, span)) = builder.next() {
        if let Event::DocumentStart(..) = event {
            let Some(next) = builder.next() else { break };
            let Some(node) = builder.node(next, span_of(&span), "") else {
                break;
            };
            if node.value != Tree::Null {
                documents.push(node);
            }
        }
    }
    documents
}

struct Builder<'t, 'p> {
    events: Parser<'t, granit::StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    problems: &'p mut Problems,
    text_bytes: usize,
}

type Spanned<'t> = (Event<'t>, granit::Span);

fn span_of(span: &granit::Span) -> Span {
    let bytes = span.byte_range().unwrap_or(0..0);
    Span {
        start: bytes.start,
        end: bytes.end,
    }
}

impl<'t> Builder<'t, '_> {
    /// The next event; none at the end or after a syntax error.
    fn next(&mut self) -> Option<Spanned<'t>> {
        match self.events.next_event()? {
            Ok(event) => Some(event),
            Err(error) => {
                let start = error.marker().byte_offset().unwrap_or(self.text_bytes);
                let span = Span {
                    start,
                    end: start + 1,
                };
                let message = format!("not valid YAML: {}", error.info());
                self.problems.push(span, "", message);
                None
            }
        }
    }

    /// The node that begins with this event. None: the reading must end.
    fn node(&mut self, (event, span): Spanned<'t>, outer: Span, place: &str) -> Option<Node> {
        let span = span_of(&span);
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            self.problems.push(
                span,
                place,
                format!("more than {NODES_MAX} values in one file"),
            );
            return None;
        }
        let (value, anchor, end) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    self.problems.push_help(
                        span,
                        place,
                        "tags are not part of the sweep language",
                        "leave the `!…` out",
                    );
                }
                (scalar(&text, style), anchor, span.end)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = vec![];
                loop {
                    let next = self.next()?;
                    if next.0 == Event::SequenceEnd {
                        let end = span_of(&next.1).end;
                        break (Tree::List(items), anchor, end);
                    }
                    let place = format!("{place}[{}]", items.len());
                    items.push(self.node(next, span, &place)?);
                }
            }
            Event::MappingStart(_, anchor, _) => {
                let mut entries: Vec<(Key, Node)> = vec![];
                let mut seen = BTreeSet::new();
                loop {
                    let next = self.next()?;
                    if next.0 == Event::MappingEnd {
                        let end = span_of(&next.1).end;
                        break (Tree::Map(entries), anchor, end);
                    }
                    let key = self.key(next, place)?;
                    let inner = join(place, &key.name);
                    let next = self.next()?;
                    let node = self.node(next, key.span, &inner)?;
                    if seen.insert(key.name.clone()) {
                        entries.push((key, node));
                    } else {
                        self.problems.push(key.span, &inner, "stands here twice");
                    }
                }
            }
            Event::Alias(id) => {
                // An alias to a node that it stands in has no anchor yet.
                let Some(node) = self.anchors.get(&id) else {
                    self.problems.push(span, place, "refers to itself");
                    return None;
                };
                let mut node = node.clone();
                self.nodes += size(&node);
                node.span = span;
                return Some(node);
            }
            _ => {
                self.problems
                    .push(outer, place, "not valid YAML: a value is missing");
                return None;
            }
        };
        let node = Node {
            value,
            // An empty scalar has no text of its own: show what it belongs to.
            span: if end > span.start {
                Span {
                    start: span.start,
                    end,
                }
            } else {
                outer
            },
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Some(node)
    }

    fn key(&mut self, (event, span): Spanned<'t>, place: &str) -> Option<Key> {
        let span = span_of(&span);
        match event {
            Event::Scalar(text, ..) if text == "<<" => {
                self.problems.push_help(
                    span,
                    place,
                    "merge keys are not part of the sweep language",
                    "write the keys out, or use an alias for a whole value",
                );
                Some(Key {
                    name: "<<".into(),
                    span,
                })
            }
            Event::Scalar(text, ..) => Some(Key {
                name: text.into_owned(),
                span,
            }),
            _ => {
                self.problems
                    .push(span, place, "a key must be a plain name");
                None
            }
        }
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Tree::List(items) => items.iter().map(size).sum(),
        Tree::Map(entries) => entries.iter().map(|(_, n)| size(n)).sum(),
        _ => 0,
    }
}

/// `axes` + `seed` → `axes.seed`.
pub fn join(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}.{name}")
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Tree {
    if style != ScalarStyle::Plain {
        return Tree::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" => Tree::Null,
        "true" => Tree::Bool(true),
        "false" => Tree::Bool(false),
        _ => number(text).unwrap_or_else(|| Tree::Text(text.to_owned())),
    }
}

/// Digits, with sign, point and exponent; not `.inf`, `0x10` or `1_000`.
fn number(text: &str) -> Option<Tree> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shaped = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if !shaped {
        return None;
    }
    if let Ok(whole) = text.parse() {
        return Some(Tree::Int(whole));
    }
    let float: f64 = text.parse().ok()?;
    float.is_finite().then_some(Tree::Float(float))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::source::Source;

    fn check(text: &str, expected: &str) {
        let mut problems = Problems::default();
        let documents = parse(text, &mut problems);
        let source = Source {
            file_name: "f".into(),
            text: text.into(),
        };
        let found = match problems.into_result(&source) {
            Ok(()) => documents
                .iter()
                .map(print)
                .collect::<Vec<_>>()
                .join(" --- "),
            Err(errors) => errors
                .problems()
                .iter()
                .map(|p| format!("{:?} {}: {}", errors.position(p), p.place, p.message))
                .collect::<Vec<_>>()
                .join("; "),
        };
        assert_eq!(found, expected, "of {text:?}");
    }

    fn print(node: &Node) -> String {
        match &node.value {
            Tree::Null => "null".into(),
            Tree::Bool(b) => b.to_string(),
            Tree::Int(i) => i.to_string(),
            Tree::Float(x) => format!("{x:?}"),
            Tree::Text(t) => format!("{t:?}"),
            Tree::List(items) => {
                format!(
                    "[{}]",
                    items.iter().map(print).collect::<Vec<_>>().join(" ")
                )
            }
            Tree::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(k, n)| format!("{}={}", k.name, print(n)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn scalars_are_strict() {
        check(
            "[1, -2, 1.5, 5e-4, 1_000, 0x10, yes, true, 'true', ~, .inf, 1.2.3, e5, 1e999]",
            r#"[1 -2 1.5 0.0005 "1_000" "0x10" "yes" true "true" null ".inf" "1.2.3" "e5" "1e999"]"#,
        );
    }

    #[test]
    fn documents_aliases_and_order_are_kept() {
        check(
            "a: &x [1]\nb: *x\n---\nz: 1\na: 2\n---\n",
            "{a=[1] b=[1]} --- {z=1 a=2}",
        );
    }

    #[test]
    fn mistakes_have_places() {
        check(
            "a: 1\nb: {c: 1, c: 2}\na: 3\n",
            "(2, 11) b.c: stands here twice; (3, 1) a: stands here twice",
        );
        check(
            "a: [1, 2\nb: 3\n",
            "(2, 2) : not valid YAML: illegal placement of ':' indicator",
        );
        check("a: &x [*x]\n", "(1, 8) a[0]: refers to itself");
        check(
            "a: !t 1\n",
            "(1, 7) a: tags are not part of the sweep language",
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        let mut problems = Problems::default();
        parse(&text, &mut problems);
        assert_eq!(problems.len(), 1);
    }
}

//! A file's documents → a checked [`Sweep`].

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::job;
use serde_json::{Value, json};

use super::axes::{Axes, Axis, Pattern, included, patterns};
use super::check;
use super::compare::{self, Compare};
use super::decode::{self, Setting, unknown, value};
use super::fields::{KEEP, SWEEP};
use super::inspect::{self, Inspect};
use super::kinds::{Field, Kind};
use super::paths;
use super::replicate;
use super::source::{Problems, Source, Span, SweepErrors};
use super::tree::{self, Key, Node, Tree};

/// Most jobs of a file.
const JOBS_MAX: u64 = 10_000_000;

/// A sweep file, parsed and checked as far as its text alone allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Its name.
    pub name: String,
    /// What is compared with what.
    pub compare: Compare,
    /// Whose weights are stored.
    pub keep: Keep,
    /// What is asked of the trained networks.
    pub inspect: Option<Inspect>,
    /// Its documents.
    pub documents: Vec<Document>,
    /// What differs between points, beside the seed: part of every point.
    pub varied: BTreeSet<&'static str>,
    /// The text, for messages about files that it names.
    pub source: Source,
}

/// The `keep:` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Whose weights stay in the store.
    pub weights: KeepWeights,
    /// Which weights a run's result holds.
    pub checkpoints: job::Keep,
}

/// Whose weights stay in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepWeights {
    /// Those of every run.
    All,
    /// Those of the runs that the selection chose; the others' are dropped when
    /// it is recorded.
    Selected,
    /// Nobody's: no run uploads any, or, where networks are inspected, all are
    /// dropped when that is done.
    None,
}

/// One document of the file: settings and what varies around them.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Every setting by its path, defaults included.
    pub settings: BTreeMap<&'static str, Setting>,
    /// Seeds; empty if the document only makes its base model.
    pub seeds: Vec<u64>,
    /// The crossing of its axes, then one for each entry of `include:`.
    pub crossings: Vec<Vec<Axis>>,
    /// Points that are left out.
    pub excludes: Vec<Pattern>,
    /// Points of each seed.
    pub points: u64,
}

impl Document {
    /// The models of the document, in its order.
    pub fn models(&self) -> Vec<&Setting> {
        let mut models: Vec<&Setting> = vec![];
        let axes = self.crossings.iter().flatten();
        let varied = axes
            .filter_map(|axis| {
                let column = axis.paths.iter().position(|p| *p == "model")?;
                Some(axis.tuples.iter().map(move |t| &t[column]))
            })
            .flatten();
        for model in self.settings.get("model").into_iter().chain(varied) {
            if !models.iter().any(|m| m.value == model.value) {
                models.push(model);
            }
        }
        models
    }
}

/// Reads a sweep file. `file_name` is for messages only.
///
/// # Errors
/// With every mistake of the file at once (a syntax error ends the reading).
pub fn parse(file_name: &str, text: &str) -> Result<Sweep, SweepErrors> {
    let source = Source {
        file_name: file_name.into(),
        text: text.into(),
    };
    let mut problems = Problems::default();
    let nodes = tree::parse(text, &mut problems);
    if nodes.is_empty() && problems.is_empty() {
        let start = Span { start: 0, end: 0 };
        problems.push_help(
            start,
            "",
            "the file has no sweep",
            "it needs `name:`, `model:` and `axes:`",
        );
    }
    if !problems.is_empty() {
        problems.into_result(&source)?;
        unreachable!("there are problems");
    }
    let sweep = Reader {
        problems: &mut problems,
    }
    .file(&nodes, &source);
    problems.into_result(&source)?;
    Ok(sweep.expect("a file without a problem has a sweep"))
}

struct Reader<'p> {
    problems: &'p mut Problems,
}

/// The keys of a document, before they are put together.
#[derive(Default)]
struct Raw<'n> {
    keys: BTreeMap<&'static str, (&'n Key, &'n Node)>,
    stated: BTreeMap<&'static str, Setting>,
}

impl Reader<'_> {
    fn file(&mut self, nodes: &[Node], source: &Source) -> Option<Sweep> {
        let raws: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(i, n)| self.raw(n, i))
            .collect();
        let first = raws.first()?;
        let mut documents: Vec<Document> = vec![];
        for (raw, node) in raws.iter().zip(nodes) {
            documents.push(self.document(raw, first, node));
        }
        self.same_split(&documents);

        let name = self.name(&raws, &nodes[0]);
        let inspect = first
            .keys
            .get("inspect")
            .map(|(key, node)| inspect::decode(key, node, &documents, self.problems));
        let keep = self.keep(first, inspect.as_ref());
        let varied = varied(&documents);
        let compare = match first.keys.get("compare") {
            Some((_, node)) => compare::decode(node, &varied, self.problems),
            None => Compare::default(),
        };
        let until = first.keys.get("replicate").and_then(|(_, node)| {
            let training = documents.iter().filter(|d| !d.seeds.is_empty());
            let seeds: Vec<&[u64]> = training.map(|d| d.seeds.as_slice()).collect();
            replicate::decode(node, &seeds, self.problems)
        });
        let compare = Compare { until, ..compare };
        // What a wrong axis does to the crossing would only confuse.
        if self.problems.is_empty() {
            let kept = kept_steps(first);
            let by = compare.select.as_ref().map(|select| select.by.as_str());
            for document in &mut documents {
                check::walk(document, &kept, by, self.problems);
            }
            let jobs = |d: &Document| d.points.saturating_mul(d.seeds.len() as u64);
            let jobs: u64 = documents.iter().map(jobs).sum();
            if jobs > JOBS_MAX {
                let message = format!("the file has {jobs} jobs, at most {JOBS_MAX} are taken");
                self.problems.push(Span::default(), "", message);
            }
        }
        Some(Sweep {
            name: name?,
            compare,
            keep,
            inspect,
            documents,
            varied,
            source: source.clone(),
        })
    }

    /// The known keys of a document, and the settings that its blocks state.
    fn raw<'n>(&mut self, node: &'n Node, index: usize) -> Raw<'n> {
        let mut raw = Raw::default();
        for (key, item) in decode::entries(node, "", self.problems).unwrap_or(&[]) {
            let Some(field) = SWEEP.iter().find(|f| f.name == key.name) else {
                let names = SWEEP.iter().map(|f| f.name);
                unknown(key, &key.name, "key", names, self.problems);
                continue;
            };
            if index > 0 && matches!(field.name, "keep" | "inspect" | "compare" | "replicate") {
                let message = "belongs to the first document: it is one for the whole file";
                self.problems.push(key.span, field.name, message);
                continue;
            }
            raw.keys.insert(field.name, (key, item));
            match field.kind {
                Kind::Block(block) if !paths::block(field.name).is_empty() => {
                    for (name, setting) in decode::block(block, item, field.name, self.problems) {
                        let path = paths::path_of(field.name, name)
                            .expect("every key of these blocks has a path, see the table's test");
                        raw.stated.insert(path, setting);
                    }
                }
                Kind::Model => {
                    if let Some(value) = value(&field.kind, item, field.name, self.problems) {
                        let setting = Setting {
                            value,
                            span: item.span,
                            place: field.name.into(),
                            stated: true,
                        };
                        raw.stated.insert("model", setting);
                    }
                }
                _ => {}
            }
        }
        raw
    }

    /// A document's settings are its own, over the first document's, over the
    /// defaults. What varies is each document's own.
    fn document(&mut self, raw: &Raw, first: &Raw, node: &Node) -> Document {
        let start = Span {
            start: node.span.start,
            end: node.span.start + 1,
        };
        let mut settings = defaults(start);
        for (path, setting) in first.stated.iter().chain(&raw.stated) {
            settings.insert(path, setting.clone());
        }
        let before = self.problems.len();
        let axes = raw
            .keys
            .get("axes")
            .map(|(_, n)| Axes::decode(n, self.problems));
        let mut read = |name: &'static str| match raw.keys.get(name) {
            Some((_, node)) => patterns(node, name, self.problems),
            None => vec![],
        };
        let (includes, excludes) = (read("include"), read("exclude"));
        let trains = axes.is_some() || !includes.is_empty();
        let axes = axes.unwrap_or_else(Axes::none);
        let mut crossings = vec![];
        if raw.keys.contains_key("axes") {
            crossings.push(axes.axes.clone());
        }
        for pattern in &includes {
            crossings.push(included(&axes.axes, pattern, self.problems));
        }
        let document = Document {
            settings,
            seeds: if trains { axes.seeds } else { vec![] },
            crossings,
            excludes,
            points: 0,
        };
        if self.problems.len() == before {
            self.complete(&document, raw, first, start, trains);
        }
        document
    }

    /// What must be there in one place or another.
    fn complete(&mut self, document: &Document, raw: &Raw, first: &Raw, start: Span, trains: bool) {
        let given = |key: &str| raw.keys.contains_key(key) || first.keys.contains_key(key);
        let varies = |path: &str| {
            let mut crossings = document.crossings.iter();
            crossings.all(|axes| {
                axes.iter()
                    .any(|a| a.when.is_empty() && a.paths.contains(&path))
            })
        };
        let has_model = given("model") || (trains && varies("model"));
        if !has_model {
            let help = "add `model: {base: FOLDER}`, {hub: REPOSITORY} or {pretrain: {…}}";
            self.problems.push_help(start, "model", "is missing", help);
        }
        if trains {
            if !document.settings.contains_key("learning_rate") && !varies("learning_rate") {
                let help = "add it to `axes:`, or to `train:`; there is no default";
                self.problems
                    .push_help(start, "axes.learning_rate", "is missing", help);
            }
            return;
        }
        let makes_model = document
            .settings
            .get("model")
            .is_some_and(|m| m.value.get("hub").is_some() || m.value.get("pretrain").is_some());
        let idle = ["task", "train", "exclude"]
            .iter()
            .find_map(|key| raw.keys.get(key));
        if let Some((key, _)) = idle {
            let message = "there are no `axes:`, so nothing is trained";
            self.problems
                .push_help(key.span, &key.name, message, "add `axes:`");
        } else if given("model") && !makes_model {
            let message = "the sweep has no jobs: its base is there, and there are no `axes:`";
            self.problems.push_help(start, "", message, "add `axes:`");
        }
    }

    fn same_split(&mut self, documents: &[Document]) {
        let splits = documents
            .iter()
            .filter_map(|d| d.settings.get("task.split_seed"));
        let splits: Vec<_> = splits.collect();
        if let Some(other) = splits.iter().find(|s| s.value != splits[0].value) {
            let message = "the splits are one for the whole file, else its arms do not compare";
            self.problems.push(other.span, &other.place, message);
        }
    }

    fn name(&mut self, raws: &[Raw], node: &Node) -> Option<String> {
        let mut name = None;
        for (i, raw) in raws.iter().enumerate() {
            let Some((_, item)) = raw.keys.get("name") else {
                if i == 0 && matches!(node.value, Tree::Map(_)) {
                    let start = Span {
                        start: node.span.start,
                        end: node.span.start + 1,
                    };
                    self.problems
                        .push_help(start, "name", "is missing", "add `name: my-sweep`");
                }
                continue;
            };
            let Some(found) = value(&Kind::Name, item, "name", self.problems) else {
                continue;
            };
            match &name {
                None => name = Some(found),
                Some(first) if *first != found => {
                    let first = first.as_str().unwrap_or_default();
                    let message = format!("the file is one sweep, and begins as `{first}`");
                    let help = "leave the name out here, or make it a file of its own";
                    self.problems.push_help(item.span, "name", message, help);
                }
                Some(_) => {}
            }
        }
        name?.as_str().map(str::to_owned)
    }

    fn keep(&mut self, first: &Raw, inspect: Option<&Inspect>) -> Keep {
        let found = first
            .keys
            .get("keep")
            .map(|(_, node)| decode::block(KEEP, node, "keep", self.problems))
            .unwrap_or_default();
        let all = decode::with_defaults(KEEP, &found);
        let weights = match all["weights"].as_str() {
            Some("all") => KeepWeights::All,
            Some("selected") => KeepWeights::Selected,
            _ => KeepWeights::None,
        };
        let steps = all["checkpoints"].as_array().map(Vec::as_slice);
        let asked = inspect.is_some();
        let checkpoints = match (weights, steps, all["checkpoints"].as_str()) {
            // What is inspected is stored until it was.
            (KeepWeights::None, ..) if !asked => job::Keep::None,
            (_, Some(steps), _) => {
                job::Keep::Steps(steps.iter().filter_map(Value::as_u64).collect())
            }
            (.., Some("matched")) => job::Keep::Matched,
            (.., Some("all")) => job::Keep::All,
            _ => job::Keep::Final,
        };
        let stated = found.iter().find(|(name, _)| *name == "checkpoints");
        let checkpoints = match inspect {
            Some(inspect) => inspect.keep(checkpoints, stated.map(|s| &s.1), self.problems),
            None => checkpoints,
        };
        if let (KeepWeights::None, false, Some((_, setting))) = (weights, asked, stated) {
            let message = "no weights are kept, so there are no checkpoints to choose";
            let help = "add `weights: selected` or `weights: all`";
            self.problems
                .push_help(setting.span, &setting.place, message, help);
        }
        Keep {
            weights,
            checkpoints,
        }
    }
}

/// The steps of `keep.checkpoints`, and where each stands.
fn kept_steps(first: &Raw) -> Vec<(u64, Span)> {
    let Some(Tree::Map(keep)) = first.keys.get("keep").map(|(_, node)| &node.value) else {
        return vec![];
    };
    let list = keep.iter().find(|(key, _)| key.name == "checkpoints");
    let Some(Tree::List(items)) = list.map(|(_, node)| &node.value) else {
        return vec![];
    };
    let step = |item: &Node| match item.value {
        Tree::Int(step) => Some((u64::try_from(step).ok()?, item.span)),
        _ => None,
    };
    items.iter().filter_map(step).collect()
}

/// Every setting that has a default.
fn defaults(span: Span) -> BTreeMap<&'static str, Setting> {
    let setting = |value: Value, place: &str| Setting {
        value,
        span,
        place: place.to_owned(),
        stated: false,
    };
    let mut all = BTreeMap::new();
    all.insert("init", setting(json!("pretrained"), "init"));
    all.insert("frozen", setting(json!("none"), "frozen"));
    for block in ["task", "train", "engine"] {
        for Field { name, default, .. } in paths::block(block) {
            if let (Some(path), Some(text)) = (paths::path_of(block, name), default) {
                all.insert(path, setting(decode::default(text), path));
            }
        }
    }
    all
}

/// The axes of all documents, and what differs between their settings: without
/// the latter, two different jobs would stand at the same point.
fn varied(documents: &[Document]) -> BTreeSet<&'static str> {
    let training: Vec<_> = documents.iter().filter(|d| !d.seeds.is_empty()).collect();
    let mut varied = BTreeSet::from(["init", "frozen", "learning_rate"]);
    for document in &training {
        let axes = document.crossings.iter().flatten();
        varied.extend(axes.flat_map(|axis| &axis.paths));
        let first = &training[0].settings;
        let paths = document.settings.keys().chain(first.keys());
        let differs = paths.filter(|path| {
            document.settings.get(*path).map(|s| &s.value) != first.get(*path).map(|s| &s.value)
        });
        varied.extend(differs);
    }
    varied
}

impl Sweep {
    /// Points of the whole file: training jobs, those that stand in it twice
    /// counted twice.
    pub fn points(&self) -> u64 {
        let points = |d: &Document| d.points * d.seeds.len() as u64;
        self.documents.iter().map(points).sum()
    }
}

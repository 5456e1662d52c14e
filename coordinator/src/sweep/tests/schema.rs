//! The schema and the decoder say the same.

use serde_json::Value;

use crate::sweep::source::Problems;
use crate::sweep::tree::{self, Node, Tree};
use crate::sweep::{parse, schema};

/// A value that a schema allows, of each of its alternatives.
fn examples(schema: &Value) -> Vec<String> {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().flat_map(examples).collect();
    }
    if let Some(word) = schema.get("const") {
        return vec![word.to_string()];
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(Value::to_string).collect();
    }
    let least = |name: &str| schema[name].as_f64().unwrap_or(0.0);
    match schema["type"].as_str() {
        Some("boolean") => vec!["true".into(), "false".into()],
        Some("integer") => vec![format!("{}", least("minimum"))],
        Some("number") => match schema["exclusiveMinimum"].as_f64() {
            Some(_) => vec!["0.5".into()],
            None => vec![format!("{:?}", least("minimum"))],
        },
        Some("string") => vec!["x".into()],
        // Of these the keys alone are known: they have tests of their own.
        Some("object") => vec![],
        Some("array") => examples(&schema["items"])
            .iter()
            .map(|item| format!("[{item}]"))
            .collect(),
        other => panic!("no examples of {other:?}: {schema}"),
    }
}

/// Whether a node has the shape that the schema asks for: enough of JSON Schema
/// for what `schema()` uses.
fn fits(schema: &Value, node: &Node) -> bool {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|s| fits(s, node));
    }
    let number = match node.value {
        Tree::Int(i) => Some(i as f64),
        Tree::Float(x) => Some(x),
        _ => None,
    };
    if let Some(word) = schema.get("const") {
        return matches!(&node.value, Tree::Text(t) if word == t);
    }
    if let Some(words) = schema["enum"].as_array() {
        return matches!(&node.value, Tree::Text(t) if words.iter().any(|w| w == t));
    }
    let in_bounds = || {
        let x = number.expect("asked of numbers");
        schema["minimum"].as_f64().is_none_or(|m| x >= m)
            && schema["maximum"].as_f64().is_none_or(|m| x <= m)
            && schema["exclusiveMinimum"].as_f64().is_none_or(|m| x > m)
            && schema["exclusiveMaximum"].as_f64().is_none_or(|m| x < m)
    };
    match (schema["type"].as_str(), &node.value) {
        (Some("boolean"), Tree::Bool(_)) | (Some("string"), Tree::Text(_)) => true,
        (Some("integer"), Tree::Int(_)) => in_bounds(),
        (Some("number"), Tree::Int(_) | Tree::Float(_)) => in_bounds(),
        (Some("array"), Tree::List(items)) => {
            let count = items.len() as u64;
            schema["minItems"].as_u64().is_none_or(|m| count >= m)
                && schema["maxItems"].as_u64().is_none_or(|m| count <= m)
                && items.iter().all(|item| fits(&schema["items"], item))
        }
        (Some("object"), Tree::Map(entries)) => {
            let count = entries.len() as u64;
            schema["minProperties"].as_u64().is_none_or(|m| count >= m)
                && schema["maxProperties"].as_u64().is_none_or(|m| count <= m)
                && entries
                    .iter()
                    .all(|(key, item)| match schema["properties"].get(&key.name) {
                        Some(inner) => fits(inner, item),
                        None => {
                            let rest = &schema["additionalProperties"];
                            rest.is_object() && fits(rest, item)
                        }
                    })
        }
        _ => false,
    }
}

fn sweep_files() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../sweeps");
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).expect("the repository has sweeps") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            found.push((
                name,
                std::fs::read_to_string(path).expect("a readable file"),
            ));
        }
    }
    found.sort();
    found
}

#[test]
fn every_sweep_of_the_repository_parses_and_fits_the_schema() {
    let schema = schema();
    let files = sweep_files();
    assert!(files.len() >= 3, "{files:?}");
    for (name, text) in files {
        parse(&name, &text).unwrap_or_else(|errors| panic!("{errors}"));
        let mut problems = Problems::default();
        for node in tree::parse(&text, &mut problems) {
            assert!(fits(&schema, &node), "{name} does not fit the schema");
        }
    }
}

/// Each key of each block, with each kind of value that the schema shows, is
/// taken by the decoder.
#[test]
fn every_key_of_the_schema_is_decoded() {
    let schema = schema();
    let mut tried = 0;
    for (block, keys) in [
        (
            "task",
            &["range", "bins", "test_near", "test_far", "test_cues"][..],
        ),
        ("train", &[]),
        ("engine", &[]),
        ("keep", &[]),
    ] {
        let properties = schema["properties"][block]["properties"].as_object();
        for (key, inner) in properties.expect("a block has keys") {
            if keys.contains(&key.as_str()) {
                continue; // lists, tried in the tests of the language
            }
            for value in examples(inner) {
                let text = format!(
                    "name: t\nmodel: {{base: b}}\n{block}: {{{key}: {value}}}\naxes: {{learning_rate: [1e-3]}}"
                );
                accepted(&text);
                tried += 1;
            }
        }
    }
    let axes = schema["properties"]["axes"]["properties"].as_object();
    for (path, inner) in axes.expect("axes have names") {
        if matches!(
            path.as_str(),
            "zip"
                | "init"
                | "frozen"
                | "model"
                | "task.range"
                | "task.bins"
                | "task.test_near"
                | "task.test_far"
                | "task.test_cues"
        ) {
            continue; // tried in the tests of the language
        }
        for value in examples(&inner["anyOf"][0]["items"]) {
            let rate = if path.ends_with("learning_rate") {
                ""
            } else {
                ", learning_rate: [1e-3]"
            };
            accepted(&format!(
                "name: t\nmodel: {{base: b}}\naxes: {{{path}: [{value}]{rate}}}"
            ));
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
}

/// No complaint about a key or a single value; how values go together is
/// another matter.
fn accepted(text: &str) {
    if let Err(errors) = parse("f", text) {
        for problem in errors.problems() {
            let together = [
                "multiple of",
                "fused kernels",
                "must be ≤ train.steps",
                "no checkpoints",
                "distinct trials",
                "to select by",
                "no such option",
                "no template",
            ];
            assert!(
                together.iter().any(|t| problem.message.contains(t)),
                "{errors}"
            );
        }
    }
}

//! JSON Schema of the sweep language, made from the decoder's own table.

use serde_json::{Map, Value, json};

use super::fields::{METRICS, MODEL, SWEEP, TEMPLATE, TRAIN};
use super::kinds::{Bounds, Field, Kind};
use super::paths;

/// The schema of one document of a sweep file.
pub fn schema() -> Value {
    let mut schema = block(SWEEP);
    let map = schema
        .as_object_mut()
        .expect("a block's schema is an object");
    map.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    map.insert("title".into(), json!("Seedbed sweep"));
    map.insert(
        "description".into(),
        json!("One document of a sweep file. Later documents inherit the first one's settings."),
    );
    schema
}

fn block(fields: &[Field]) -> Value {
    let properties: Map<_, _> = fields
        .iter()
        .map(|f| (f.name.to_owned(), property(&f.kind, f.doc, f.default)))
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property(kind: &Kind, doc: &str, default: Option<&str>) -> Value {
    let mut schema = of(kind);
    let map = schema
        .as_object_mut()
        .expect("every kind's schema is an object");
    map.insert("description".into(), json!(doc));
    if let Some(text) = default {
        map.insert("default".into(), super::decode::default(text));
    }
    schema
}

fn of(kind: &Kind) -> Value {
    let count = json!({ "type": "integer", "minimum": 1, "maximum": 256 });
    let blocks =
        json!({ "type": "array", "minItems": 1, "items": { "type": "integer", "minimum": 0 } });
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Uint(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Float(bounds) => number(bounds),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Words(words) => json!({
            "type": "array",
            "minItems": 1,
            "maxItems": words.len(),
            "uniqueItems": true,
            "items": { "enum": words },
        }),
        Kind::Text | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._-]{0,63}$" }),
        Kind::Paths => json!({ "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } },
        ]}),
        Kind::Auto(inner) => json!({ "anyOf": [{ "const": "auto" }, of(inner)] }),
        Kind::Pair => pair(0),
        Kind::Bins => json!({ "type": "array", "minItems": 1, "maxItems": 16, "items": pair(1) }),
        Kind::TrainSet => json!({ "anyOf": [
            { "const": "online" },
            { "type": "integer", "minimum": 1, "maximum": u32::MAX },
        ]}),
        Kind::Template => {
            let mut own = block(TEMPLATE);
            own["required"] = json!(["text"]);
            json!({ "anyOf": [{ "enum": super::decode::template_names() }, own] })
        }
        Kind::Splits => json!({
            "type": "array",
            "items": { "enum": seedbed_proto::job::Split::NAMES },
        }),
        Kind::TwoTexts => json!({
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": { "type": "string", "minLength": 1 },
        }),
        Kind::Checkpoints => json!({ "anyOf": [
            { "enum": super::decode::CHECKPOINTS },
            {
                "type": "array",
                "minItems": 1,
                "maxItems": super::decode::STEPS_MAX,
                "items": { "type": "integer", "minimum": 0 },
            },
        ]}),
        Kind::Init => json!({ "anyOf": [
            { "enum": super::decode::INITS },
            one_of([("reinit", one_of([("first", count.clone()), ("last", count)]))]),
        ]}),
        Kind::Frozen => json!({ "anyOf": [
            { "const": "none" },
            one_of([
                ("prefix", count.clone()),
                ("suffix", count),
                ("only", blocks.clone()),
                ("all_but", blocks),
                ("component", json!({ "enum": super::decode::COMPONENTS })),
            ]),
        ]}),
        Kind::Block(fields) => block(fields),
        Kind::Model => block(MODEL),
        Kind::AxisName => json!({ "enum": paths::axes().map(|a| a.path).collect::<Vec<_>>() }),
        Kind::Select => {
            let metrics: Vec<_> = METRICS.iter().map(|m| format!("val.{m}")).collect();
            let by = json!({
                "type": "object",
                "properties": { "by": { "enum": metrics } },
                "required": ["by"],
                "additionalProperties": false,
            });
            json!({ "anyOf": [
                { "const": "none" },
                { "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": by },
            ]})
        }
        Kind::Axes => axes(),
        Kind::Patterns => json!({ "type": "array", "items": pattern() }),
    }
}

fn number(bounds: &Bounds) -> Value {
    let low = if bounds.above {
        "exclusiveMinimum"
    } else {
        "minimum"
    };
    let high = if bounds.below {
        "exclusiveMaximum"
    } else {
        "maximum"
    };
    json!({ "type": "number", low: bounds.min, high: bounds.max })
}

fn pair(min: u64) -> Value {
    let end = json!({ "type": "integer", "minimum": min, "maximum": 1_000_000 });
    json!({ "type": "array", "minItems": 2, "maxItems": 2, "items": end })
}

/// A mapping with exactly one of these keys.
fn one_of<const N: usize>(keys: [(&str, Value); N]) -> Value {
    let properties: Map<_, _> = keys.map(|(k, v)| (k.to_owned(), v)).into_iter().collect();
    json!({
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": false,
    })
}

/// Axis → value or values.
fn pattern() -> Value {
    let properties: Map<_, _> = paths::axes()
        .filter(|axis| axis.path != "seed")
        .map(|axis| {
            let value = of(&axis.kind);
            let many = json!({ "type": "array", "minItems": 1, "items": value });
            (axis.path.to_owned(), json!({ "anyOf": [value, many] }))
        })
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "additionalProperties": false,
    })
}

fn axes() -> Value {
    let learning_rate = TRAIN.iter().find(|f| f.name == "learning_rate");
    let learning_rate = learning_rate.expect("the table has a learning rate").kind;
    let numbers =
        json!({ "type": "array", "minItems": 2, "maxItems": 3, "items": { "type": "number" } });
    let mut all: Map<String, Value> = Map::new();
    let mut zipped: Map<String, Value> = Map::new();
    let named = paths::axes().map(|a| (a.path, a.kind, a.doc));
    let long_name = (
        "train.learning_rate",
        learning_rate,
        "The long name of `learning_rate`.",
    );
    for (path, kind, doc) in named.chain([long_name]) {
        let values = json!({ "type": "array", "minItems": 1, "items": of(&kind) });
        let axis = json!({ "description": doc, "anyOf": [
            values,
            {
                "type": "object",
                "properties": {
                    "values": values,
                    "range": numbers,
                    "log": numbers,
                    "count": { "type": "integer", "minimum": 1 },
                    "from": { "type": "integer", "minimum": 0 },
                    "when": pattern(),
                },
                "additionalProperties": false,
            },
        ]});
        if path != "seed" {
            zipped.insert(path.to_owned(), axis.clone());
        }
        all.insert(path.to_owned(), axis);
    }
    zipped.insert("when".into(), pattern());
    let group = json!({ "type": "object", "properties": zipped, "additionalProperties": false });
    all.insert(
        "zip".into(),
        json!({
            "description": "Axes that vary together: equally many values each.",
            "anyOf": [group, { "type": "array", "items": group }],
        }),
    );
    json!({ "type": "object", "properties": all, "additionalProperties": false })
}

//! Which runs a selection picked: those whose weights `keep: {weights: selected}`
//! keeps.

use std::collections::BTreeSet;

use seedbed_proto::JobKey;

use crate::results::{Point, Run, Selection};

/// Whether the selection picked this point: it lies in the group of a choice,
/// and has the value that won there.
pub fn picks(selection: &Selection, point: &Point) -> bool {
    selection.choices.iter().any(|choice| {
        let in_group = choice
            .group
            .iter()
            .all(|(axis, value)| point.get(axis) == Some(value));
        in_group && point.get(&selection.axis) == Some(&choice.value)
    })
}

/// The jobs of the runs that the selection picked.
pub fn picked(selection: &Selection, runs: &[Run]) -> BTreeSet<JobKey> {
    runs.iter()
        .filter(|run| picks(selection, &run.point))
        .map(|run| run.key)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Choice;
    use serde_json::{Value, json};

    fn point(value: Value) -> Point {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn the_winner_of_each_group_is_picked() {
        let choice = |init: &str, rate: f64| Choice {
            group: point(json!({"init": init})),
            value: json!(rate),
            mean: 0.9,
            seeds: vec![1],
            at_edge: false,
            without: Default::default(),
        };
        let selection = Selection {
            version: 1,
            axis: "learning_rate".into(),
            by: "val.incongruent_accuracy".into(),
            choices: vec![choice("scratch", 1e-3), choice("pretrained", 1e-4)],
        };
        let check = |init: &str, rate: f64, expect: bool| {
            let point = point(json!({"init": init, "learning_rate": rate, "seed": 3}));
            assert_eq!(picks(&selection, &point), expect, "{init} {rate}");
        };
        check("scratch", 1e-3, true);
        check("scratch", 1e-4, false);
        check("pretrained", 1e-4, true);
        check("pretrained", 1e-3, false);
        check("shuffled", 1e-3, false);
    }
}

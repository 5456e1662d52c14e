//! What linear probes decode at each depth, beside what they decode by memory.

use super::{Figure, Scene, WIDTH, by_layer, curve_words, line};
use crate::aggregate::Cell;
use crate::report::figure::profile::{Line, Panel, draw};

/// One panel for each variable, at the last position.
pub(super) fn decoded(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("probe.");
    let mut panels = vec![];
    for variable in variables(&cells) {
        let name = |what: &str| format!("probe.{variable}.{what}");
        let is_class = cells
            .iter()
            .any(|c| !by_layer(c, &name("accuracy"), Some("last")).is_empty());
        let measure = if is_class { "accuracy" } else { "r2" };
        let mut lines: Vec<Line<'_>> = vec![];
        for cell in &cells {
            for (what, suffix, dash) in [
                (measure, "", ""),
                ("control", " control", "2 4"),
                ("transfer", " transfer", "8 4"),
            ] {
                let points = by_layer(cell, &name(what), Some("last"));
                lines.extend(line(
                    scene,
                    cell,
                    format!("{}{suffix}", cell.arm),
                    dash,
                    points,
                ));
            }
        }
        if !lines.is_empty() {
            panels.push(Panel {
                title: variable.clone(),
                y_name: if is_class { "accuracy" } else { "R²" }.to_owned(),
                x_name: "depth".to_owned(),
                bounds: (if is_class { 0.0 } else { -1.0 }, 1.0),
                reference: is_class.then_some(0.5),
                ceiling: vec![],
                lines,
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    Some(Figure {
        title: "What can be decoded at the last position".to_owned(),
        svg: draw(WIDTH, &panels, 2, "Probe accuracy by depth and variable"),
        caption: format!(
            "Cross-validated linear probes of the residual stream by depth (0: embeddings). \
             Control: the same probe of labels that only memory can know. Transfer: the \
             probe of the base, not fitted again. Dashed line: chance. Other slots: \
             mechanisms.csv. {}",
            curve_words(&panels)
        ),
    })
}

/// The variables that are decoded, those of the task before its numbers.
fn variables(cells: &[&Cell]) -> Vec<String> {
    let mut found: Vec<(bool, String)> = cells
        .iter()
        .flat_map(|c| c.summaries.keys())
        .filter_map(|id| {
            let (variable, what) = id.name.strip_prefix("probe.")?.rsplit_once('.')?;
            match what {
                "accuracy" => Some((false, variable.to_owned())),
                "r2" => Some((true, variable.to_owned())),
                _ => None,
            }
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|f| f.1).collect()
}

//! What linear probes decode at each depth, beside what they decode by memory.

use super::{Figure, Scene, WIDTH, by_layer, curve_words, line};
use crate::aggregate::Cell;
use crate::report::figure::profile::{Line, Panel, draw};

/// The lowest R² that is shown: a probe that does worse than the mean by so much has
/// decoded nothing, however much worse it does.
const LEAST_R2: f64 = -1.0;

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
            let of = |what: &str, suffix: &str| {
                let points = by_layer(cell, &name(what), Some("last"));
                line(scene, cell, format!("{}{suffix}", cell.arm), "", points)
            };
            lines.extend(of(measure, ""));
            lines.extend(of("control", " control").map(|line| line.aside("2 4")));
            lines.extend(of("transfer", " transfer").map(|line| line.aside("8 4")));
        }
        if !lines.is_empty() {
            panels.push(Panel {
                title: variable.clone(),
                y_name: if is_class { "accuracy" } else { "R²" }.to_owned(),
                x_name: "depth".to_owned(),
                bounds: (if is_class { 0.0 } else { LEAST_R2 }, 1.0),
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
             Whole lines: the probe; dotted: the same of labels that only memory can know \
             (control); dashed: the probe of the base, not fitted again (transfer). Thin dashes \
             across: chance.{} Other slots: mechanisms.csv. {}",
            beyond(&panels),
            curve_words(&panels)
        ),
    })
}

/// Says so where a mean lies below what is shown.
fn beyond(panels: &[Panel<'_>]) -> &'static str {
    let mut points = panels.iter().flat_map(|panel| {
        let points = panel.lines.iter().flat_map(|line| &line.points);
        points.map(|(_, s)| (panel.bounds.0, s.estimate.as_ref().map(|e| e.mean)))
    });
    match points.any(|(least, mean)| mean.is_some_and(|mean| mean < least)) {
        true => " An R² below −1 stands at the lower edge.",
        false => "",
    }
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

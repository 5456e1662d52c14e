//! Activation patching: which activations carry what a counterfactual changes.

use super::{Figure, Scene, WIDTH, heat_cells, layers, map_words, means, slots};
use crate::aggregate::{Cell, MetricId};
use crate::report::figure::heat::{Colours, Map, draw};

/// Counterfactuals with what they change.
const CHANGES: [(&str, &str); 3] = [
    ("cue", "the cue (the answer turns)"),
    ("rel", "the relevant numbers (the answer turns)"),
    ("irr", "the irrelevant numbers (the answer stays)"),
];
/// Sites, from below to above.
const SITES: [&str; 3] = ["resid_pre", "attn_out", "mlp_out"];

/// One figure for each counterfactual: a row of maps for each arm.
pub(super) fn maps(scene: &Scene<'_>) -> Vec<Figure> {
    let mut figures = vec![];
    for (change, words) in CHANGES {
        let prefix = format!("patching.{change}.denoising.");
        let cells = scene.with(&prefix);
        if cells.is_empty() {
            continue;
        }
        let shown = |id: &MetricId| {
            let site = id.name.strip_prefix(&prefix);
            site.is_some_and(|site| SITES.contains(&site)) && id.slot.is_some()
        };
        let colours = Colours::diverging(means(&cells, shown).into_iter(), 1.0);
        let ids: Vec<&MetricId> = cells
            .iter()
            .flat_map(|c| c.summaries.keys())
            .filter(|id| shown(id))
            .collect();
        let columns = slots(ids.iter().copied());
        let layers = layers(ids.iter().copied());
        let row = |cell: &&Cell| -> Vec<Map> {
            let one = |site: &&str| map(cell, &format!("{prefix}{site}"), site, &layers, &columns);
            SITES.iter().map(one).collect()
        };
        let maps: Vec<Vec<Map>> = cells.iter().map(row).collect();
        let solved: Vec<String> = cells.iter().filter_map(|c| solved(c, change)).collect();
        let figure = Figure {
            title: format!("Denoising after a change of {words}"),
            svg: draw(WIDTH, &maps, colours, &format!("Patching maps: {change}")),
            caption: format!(
                "{} when one activation of the changed prompt is replaced by the clean one, by \
                 layer (upwards) and slot. {} Pairs solved both ways: {}.",
                match change {
                    // It has no denominator of its own.
                    "irr" =>
                        "Change of the logit difference, over what a change of the relevant \
                              numbers takes away,",
                    _ => "How much of the logit difference comes back (1: all of it)",
                },
                map_words(&cells, &prefix),
                solved.join(", ")
            ),
        };
        figures.push(figure);
    }
    figures
}

fn map(cell: &Cell, name: &str, site: &str, layers: &[u32], columns: &[String]) -> Map {
    let value = |layer: u32, slot: &String| {
        let found = super::of(cell, name).find(|(id, _)| {
            id.layer == Some(layer) && id.slot.as_ref() == Some(slot) && id.head.is_none()
        });
        found.map(|f| f.1)
    };
    let values = layers
        .iter()
        .map(|layer| columns.iter().map(|slot| value(*layer, slot)).collect())
        .collect();
    Map {
        title: format!("{}: {site}", cell.arm),
        rows: layers.iter().map(u32::to_string).collect(),
        columns: columns.to_vec(),
        cells: heat_cells(values, &format!("{} {name}", cell.arm)),
    }
}

fn solved(cell: &Cell, change: &str) -> Option<String> {
    let name = format!("patching.{change}.solved_fraction");
    let (_, summary) = super::of(cell, &name).next()?;
    let mean = summary.estimate.as_ref()?.mean;
    Some(format!("{} {:.0} %", cell.arm, 100.0 * mean))
}

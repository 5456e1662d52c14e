//! How far the weights moved, by component.

use super::{Figure, Scene, WIDTH, heat_cell, layers, means, of, replicates};
use crate::aggregate::{Cell, MetricId};
use crate::report::figure::heat::{Colours, Map, draw};
use crate::report::format::number;
use crate::report::tables::n_words;

/// Components of a block, in the order of the computation, then the block.
const PARTS: [&str; 8] = ["ln", "q", "k", "v", "o", "in", "out", "block"];
/// What stands outside the blocks.
const OUTSIDE: [&str; 3] = ["wte", "wpe", "ln_f"];

/// A map for each arm.
pub(super) fn drift(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("drift.");
    let shown = |id: &MetricId| {
        let part = id.name.strip_prefix("drift.");
        part.is_some_and(|part| PARTS.contains(&part))
    };
    let ids = cells.iter().flat_map(|c| c.summaries.keys());
    let layers = layers(ids.filter(|id| shown(id)));
    if layers.is_empty() {
        return None;
    }
    let map = |cell: &&Cell| {
        let value = |part: &str, layer: u32| {
            let mut all = of(cell, &format!("drift.{part}"));
            let found = all.find(|(id, _)| id.layer == Some(layer));
            heat_cell(found.map(|f| f.1))
        };
        Map {
            title: cell.arm.clone(),
            rows: layers.iter().map(u32::to_string).collect(),
            columns: PARTS.iter().map(|part| (*part).to_owned()).collect(),
            cells: layers
                .iter()
                .map(|layer| PARTS.iter().map(|part| value(part, *layer)).collect())
                .collect(),
        }
    };
    let maps: Vec<Map> = cells.iter().map(map).collect();
    let rows: Vec<Vec<Map>> = maps.chunks(2).map(<[Map]>::to_vec).collect();
    let outside: Vec<String> = cells.iter().map(|cell| outside(cell)).collect();
    let colours = Colours::sequential(means(&cells, shown).into_iter());
    Some(Figure {
        title: "How far the weights moved".to_owned(),
        svg: draw(WIDTH, &rows, colours, "Weight drift by layer and component"),
        caption: format!(
            "‖W_T − W_0‖ / ‖W_0‖ (Frobenius) by block (upwards) and component. Outside the \
             blocks: {}. Mean over seeds ({}). Not tested: a norm is \
             never below zero.",
            outside.join("; "),
            n_words(replicates(&cells, "drift.").into_iter())
        ),
    })
}

/// "scratch: wte .120, wpe .034, ln_f .210".
fn outside(cell: &Cell) -> String {
    let part = |part: &&str| {
        let (_, summary) = of(cell, &format!("drift.{part}")).find(|(id, _)| id.layer.is_none())?;
        let mean = summary.estimate.as_ref()?.mean;
        Some(format!("{part} {}", number(mean)))
    };
    let parts: Vec<String> = OUTSIDE.iter().filter_map(part).collect();
    format!("{}: {}", cell.arm, parts.join(", "))
}

//! How far the weights moved, by component.

use super::{Figure, Scene, WIDTH, heat_cell, layers, map_words, means, of};
use crate::aggregate::{Cell, MetricId};
use crate::report::figure::heat::{Colours, Map, draw};

/// Components of a block, in the order of the computation, then the block.
const PARTS: [&str; 8] = ["ln", "q", "k", "v", "o", "in", "out", "block"];
/// What stands outside the blocks.
const OUTSIDE: [&str; 3] = ["wte", "wpe", "ln_f"];

/// A map for each arm.
pub(super) fn drift(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("drift.");
    let shown = |id: &MetricId| {
        let part = id.name.strip_prefix("drift.");
        part.is_some_and(|part| PARTS.contains(&part) || OUTSIDE.contains(&part))
    };
    let ids = cells.iter().flat_map(|c| c.summaries.keys());
    let layers = layers(ids.filter(|id| shown(id)));
    if layers.is_empty() {
        return None;
    }
    let map = |cell: &&Cell| {
        let value = |part: &str, layer: Option<u32>| {
            let found = of(cell, &format!("drift.{part}")).find(|(id, _)| id.layer == layer);
            // A part that did not move has drifted by zero: that is told.
            let mut cell = heat_cell(found.map(|f| f.1));
            cell.faint = false;
            cell
        };
        let mut rows: Vec<String> = layers.iter().map(u32::to_string).collect();
        let mut grid: Vec<Vec<_>> = layers
            .iter()
            .map(|layer| PARTS.iter().map(|part| value(part, Some(*layer))).collect())
            .collect();
        for part in OUTSIDE {
            rows.push(part.to_owned());
            let whole = value(part, None);
            // One number: it stands under the last column, that of the whole.
            let mut row = vec![None; PARTS.len() - 1];
            row.push(Some(whole));
            grid.push(row.into_iter().map(|c| c.unwrap_or_default()).collect());
        }
        Map {
            title: cell.arm.clone(),
            rows,
            columns: PARTS.iter().map(|part| (*part).to_owned()).collect(),
            cells: grid,
        }
    };
    let maps: Vec<Map> = cells.iter().map(map).collect();
    let rows: Vec<Vec<Map>> = maps.chunks(2).map(<[Map]>::to_vec).collect();
    let colours = Colours::sequential(means(&cells, shown).into_iter());
    Some(Figure {
        title: "How far the weights moved".to_owned(),
        svg: draw(WIDTH, &rows, colours, "Weight drift by layer and component"),
        caption: format!(
            "‖W_T − W_0‖ / ‖W_0‖ (Frobenius) by block (upwards) and component; above them the \
             embeddings and the final LayerNorm as a whole. {}",
            map_words(&cells, "drift.")
        ),
    })
}

//! Maps of layer × head: what patching a head brings back, and where heads look.

use super::{Figure, Scene, WIDTH, heat_cells, layers, map_words, means};
use crate::aggregate::{Cell, MetricId};
use crate::report::figure::heat::{Colours, Map, draw};

/// Denoising of each head's output, for the cue and the relevant numbers.
pub(super) fn patched(scene: &Scene<'_>) -> Option<Figure> {
    let names = [
        ("patching.cue.denoising.z", "cue"),
        ("patching.rel.denoising.z", "relevant numbers"),
    ];
    let svg = maps(scene, &names)?;
    let cells = scene.with("patching.");
    Some(Figure {
        title: "Denoising of single heads".to_owned(),
        svg,
        caption: format!(
            "The same as above for the output of one head at the last position (or at all, where \
             it was patched so), by layer and head. {}",
            map_words(&cells, names[0].0)
        ),
    })
}

/// Where heads look from the last position.
pub(super) fn attention(scene: &Scene<'_>) -> Option<Figure> {
    let names = [
        ("attention.gate", "gate"),
        ("attention.relevant", "to relevant"),
        ("attention.irrelevant", "to irrelevant"),
    ];
    let svg = maps(scene, &names)?;
    let cells = scene.with("attention.");
    Some(Figure {
        title: "Attention from the last position to the numbers".to_owned(),
        svg,
        caption: format!(
            "Attention to the relevant and to the irrelevant numbers, and the gate: the first \
             minus the second. {}",
            map_words(&cells, names[0].0)
        ),
    })
}

/// One row of maps for each arm; none if no arm has any of the metrics.
fn maps(scene: &Scene<'_>, names: &[(&str, &str)]) -> Option<String> {
    let shown = |id: &MetricId| {
        id.head.is_some() && is_last(id) && names.iter().any(|(name, _)| id.name == *name)
    };
    let cells: Vec<&Cell> = scene
        .cells
        .iter()
        .filter(|c| c.summaries.keys().any(shown))
        .copied()
        .collect();
    if cells.is_empty() {
        return None;
    }
    let ids: Vec<&MetricId> = cells
        .iter()
        .flat_map(|c| c.summaries.keys())
        .filter(|id| shown(id))
        .collect();
    let layers = layers(ids.iter().copied());
    let heads = ids.iter().filter_map(|id| id.head).max()?;
    let map = |cell: &Cell, (name, words): &(&str, &str)| {
        let value = |layer: u32, head: u32| {
            let found = super::of(cell, name)
                .find(|(id, _)| id.layer == Some(layer) && id.head == Some(head) && is_last(id));
            found.map(|f| f.1)
        };
        let values = layers
            .iter()
            .map(|layer| (0..=heads).map(|head| value(*layer, head)).collect())
            .collect();
        Map {
            title: format!("{}: {words}", cell.arm),
            rows: layers.iter().map(u32::to_string).collect(),
            columns: (0..=heads).map(|head| format!("h{head}")).collect(),
            cells: heat_cells(values, &format!("{} {name}", cell.arm)),
        }
    };
    let rows: Vec<Vec<Map>> = cells
        .iter()
        .map(|cell| names.iter().map(|name| map(cell, name)).collect())
        .collect();
    let colours = Colours::diverging(means(&cells, shown).into_iter(), 0.0);
    Some(draw(WIDTH, &rows, colours, names[0].0))
}

/// Of the last position, or of all together.
fn is_last(id: &MetricId) -> bool {
    id.slot.as_deref().is_none_or(|slot| slot == "last")
}

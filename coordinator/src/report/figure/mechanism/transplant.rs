//! Transplants between networks, and the line between their weights.

use super::{Figure, Scene, WIDTH, by_layer, curve_words, of};
use crate::aggregate::{Cell, Summary};
use crate::report::figure::profile::{Line, Panel, draw};

const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
const COLOURS: [&str; 7] = [
    "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#000000",
];

/// Blocks, suffixes and prefixes of another network.
pub(super) fn transplants(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("transplant.");
    let pairings = pairings(&cells, "transplant.");
    let mut panels = vec![];
    for (what, title, axis) in [
        ("block", "one block from the other network", "block"),
        (
            "suffix",
            "blocks k … and the head from the other",
            "first other block k",
        ),
        (
            "prefix",
            "embeddings and blocks below k from the other",
            "first own block k",
        ),
    ] {
        let lines: Vec<Line<'_>> = pairings
            .iter()
            .zip(COLOURS)
            .filter_map(|(pairing, colour)| {
                let name = format!("transplant.{pairing}.{what}");
                let points = cells.iter().map(|c| by_layer(c, &name, None));
                curve(pairing, colour, points.into_iter().find(|p| !p.is_empty())?)
            })
            .collect();
        if !lines.is_empty() {
            panels.push(Panel {
                title: title.to_owned(),
                y_name: "share of LD lost".to_owned(),
                x_name: axis.to_owned(),
                bounds: ANY,
                reference: Some(0.0),
                ceiling: vec![],
                lines,
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    Some(Figure {
        title: "What parts of another network cost".to_owned(),
        svg: draw(WIDTH, &panels, 2, "Transplants by block and pairing"),
        caption: format!(
            "Share of the logit difference that is lost. pt_ft, pt_sc: from the base; ft_ft, sc_sc: \
             from the next seed of the same arm; ft_sc: from the twin from scratch, a negative \
             control. {}",
            curve_words(&panels)
        ),
    })
}

/// Loss and accuracy on the line between two networks.
pub(super) fn interpolation(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("interpolation.");
    let pairings = pairings(&cells, "interpolation.");
    let mut panels = vec![];
    for (what, bounds) in [("loss", (0.0, f64::INFINITY)), ("accuracy", (0.0, 1.0))] {
        let lines: Vec<Line<'_>> = pairings
            .iter()
            .zip(COLOURS)
            .filter_map(|(pairing, colour)| {
                let name = format!("interpolation.{pairing}.{what}");
                let points = cells.iter().map(|c| by_alpha(c, &name));
                curve(pairing, colour, points.into_iter().find(|p| !p.is_empty())?)
            })
            .collect();
        if !lines.is_empty() {
            panels.push(Panel {
                title: what.to_owned(),
                y_name: what.to_owned(),
                x_name: "share of the second network".to_owned(),
                bounds,
                reference: None,
                ceiling: vec![],
                lines,
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    Some(Figure {
        title: "On the line between two networks".to_owned(),
        svg: draw(
            WIDTH,
            &panels,
            2,
            "Loss and accuracy of interpolated weights",
        ),
        caption: format!(
            "Weights (1 − α)·first + α·second. A hill in the loss: the two lie in different \
             basins. {}",
            curve_words(&panels)
        ),
    })
}

fn curve<'a>(pairing: &str, colour: &'a str, points: Vec<(f64, &'a Summary)>) -> Option<Line<'a>> {
    (!points.is_empty()).then(|| Line::new(pairing.to_owned(), colour, points))
}

fn by_alpha<'a>(cell: &'a Cell, name: &str) -> Vec<(f64, &'a Summary)> {
    let mut points: Vec<(f64, &Summary)> = of(cell, name)
        .filter_map(|(id, s)| Some((id.slot.as_ref()?.parse().ok()?, s)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The pairings that a question was asked of, each once.
fn pairings(cells: &[&Cell], prefix: &str) -> Vec<String> {
    let mut found: Vec<String> = cells
        .iter()
        .flat_map(|c| c.summaries.keys())
        .filter_map(|id| Some(id.name.strip_prefix(prefix)?.split_once('.')?.0.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found
}

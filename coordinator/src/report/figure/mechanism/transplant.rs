//! Transplants between networks, and the line between their weights.

use super::pairing::{self, Pairing};
use super::{Figure, Scene, WIDTH, by_layer, curve_words, of};
use crate::aggregate::{Cell, Summary};
use crate::report::figure::profile::{Line, Panel, draw};

const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Blocks, suffixes and prefixes of another network.
pub(super) fn transplants(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("transplant.");
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
        let lines: Vec<Line<'_>> = pairing::all()
            .filter_map(|pairing| {
                let name = format!("transplant.{}.{what}", pairing.key);
                curve(pairing, cells.iter().map(|c| by_layer(c, &name, None)))
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
            "Share of the logit difference that is lost when parts come from another network: the \
             base, the next seed of the same arm, or (fine-tuned – scratch, a negative control) the \
             twin from scratch. {}",
            curve_words(&panels)
        ),
    })
}

/// Loss and accuracy on the line between two networks.
pub(super) fn interpolation(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("interpolation.");
    let mut panels = vec![];
    for (what, bounds) in [("loss", (0.0, f64::INFINITY)), ("accuracy", (0.0, 1.0))] {
        let lines: Vec<Line<'_>> = pairing::all()
            .filter_map(|pairing| {
                let name = format!("interpolation.{}.{what}", pairing.key);
                curve(pairing, cells.iter().map(|c| by_alpha(c, &name)))
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
            "Weights (1 − α)·first + α·second, of the networks as the curve names them. A hill in the loss: the two lie in different \
             basins. {}",
            curve_words(&panels)
        ),
    })
}

/// The curve of a pairing, which one of the cells has: that of its first network.
fn curve<'a>(
    pairing: Pairing,
    mut points: impl Iterator<Item = Vec<(f64, &'a Summary)>>,
) -> Option<Line<'a>> {
    let points = points.find(|points| !points.is_empty())?;
    Some(Line::new(pairing.words.to_owned(), pairing.colour, points))
}

fn by_alpha<'a>(cell: &'a Cell, name: &str) -> Vec<(f64, &'a Summary)> {
    let mut points: Vec<(f64, &Summary)> = of(cell, name)
        .filter_map(|(id, s)| Some((id.slot.as_ref()?.parse().ok()?, s)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

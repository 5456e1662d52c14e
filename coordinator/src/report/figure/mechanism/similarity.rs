//! How alike the representations of two networks are, layer by layer.

use super::pairing::{self, Pairing};
use super::{Figure, Scene, WIDTH, by_layer, curve_words};
use crate::aggregate::Cell;
use crate::report::figure::profile::{Line, Panel, draw};

/// CKA and RSA at the last position, a curve for each pairing.
pub(super) fn similarity(scene: &Scene<'_>) -> Option<Figure> {
    let mut cells = scene.with("cka.");
    cells.extend(scene.with("rsa."));
    let mut panels = vec![];
    for (measure, words) in [("cka", "linear CKA, debiased"), ("rsa", "RSA, Spearman")] {
        let lines: Vec<Line<'_>> = pairing::all()
            .filter_map(|pairing| one(&cells, measure, pairing))
            .collect();
        if !lines.is_empty() {
            panels.push(Panel {
                title: words.to_owned(),
                y_name: "similarity".to_owned(),
                x_name: "depth".to_owned(),
                bounds: (-1.0, 1.0),
                reference: Some(0.0),
                lines,
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    Some(Figure {
        title: "How alike networks represent the trials at the last position".to_owned(),
        svg: draw(WIDTH, &panels, 1, "Similarity by depth and pairing"),
        caption: format!(
            "By depth (0: embeddings). Pairs of one arm are a seed and the next. {}",
            curve_words(&panels)
        ),
    })
}

/// A pairing is asked about its first network, so one cell has it.
fn one<'a>(cells: &[&'a Cell], measure: &str, pairing: Pairing) -> Option<Line<'a>> {
    let name = format!("{measure}.{}", pairing.key);
    let points = cells
        .iter()
        .map(|cell| by_layer(cell, &name, Some("last")))
        .find(|points| !points.is_empty())?;
    Some(Line::new(pairing.words.to_owned(), pairing.colour, points))
}

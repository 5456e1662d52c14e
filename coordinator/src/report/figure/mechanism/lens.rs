//! From which depth the answer can be read, and what each part adds to it.

use super::{Figure, Scene, WIDTH, by_layer, curve_words, line};
use crate::report::figure::profile::{Line, Panel, draw};

const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The logit lens: accuracy and logit difference by depth.
pub(super) fn lens(scene: &Scene<'_>) -> Option<Figure> {
    figure(
        scene,
        &[
            ("lens.accuracy", "accuracy", "depth", (0.0, 1.0), Some(0.5)),
            (
                "lens.logit_difference",
                "logit difference",
                "depth",
                ANY,
                Some(0.0),
            ),
        ],
        "The answer as read from each depth",
        "The residual stream of the last position through the final LayerNorm and the \
         unembedding, by depth (0: embeddings).",
    )
}

/// Direct logit attribution of attention and MLP.
pub(super) fn attribution(scene: &Scene<'_>) -> Option<Figure> {
    figure(
        scene,
        &[
            ("dla.attn", "attention", "block", ANY, Some(0.0)),
            ("dla.mlp", "MLP", "block", ANY, Some(0.0)),
        ],
        "What each block adds to the logit difference",
        "Direct logit attribution; with those of the embeddings and biases \
         (mechanisms.csv) the parts sum to the logit difference.",
    )
}

type Row<'a> = (&'a str, &'a str, &'a str, (f64, f64), Option<f64>);

fn figure(scene: &Scene<'_>, rows: &[Row<'_>], title: &str, words: &str) -> Option<Figure> {
    let cells = scene.with(rows[0].0);
    let mut panels = vec![];
    for (name, words, axis, bounds, reference) in rows {
        let lines: Vec<Line<'_>> = cells
            .iter()
            .filter_map(|cell| {
                let points = by_layer(cell, name, None);
                line(scene, cell, cell.arm.clone(), "", points)
            })
            .collect();
        if !lines.is_empty() {
            panels.push(Panel {
                title: (*words).to_owned(),
                y_name: (*words).to_owned(),
                x_name: (*axis).to_owned(),
                bounds: *bounds,
                reference: *reference,
                ceiling: vec![],
                lines,
            });
        }
    }
    if panels.is_empty() {
        return None;
    }
    Some(Figure {
        title: title.to_owned(),
        svg: draw(WIDTH, &panels, 2, title),
        caption: format!("{words} {}", curve_words(&panels)),
    })
}

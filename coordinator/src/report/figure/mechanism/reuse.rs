//! Reversion and ablation: what a block does, and whether it did so before.

use super::{Figure, Scene, WIDTH, by_layer, curve_words, line};
use crate::aggregate::Cell;
use crate::report::figure::profile::{Line, Panel, draw};

const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// R and A by layer, one panel for each arm, and the parts of a block.
pub(super) fn reuse(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("reversion.");
    let mut panels = vec![];
    for cell in &cells {
        let of = |name: &str, words: &str, dash| {
            line(
                scene,
                cell,
                words.to_owned(),
                dash,
                by_layer(cell, name, None),
            )
        };
        let lines: Vec<Line<'_>> = [
            of("reversion.block", "reverted", ""),
            of("ablation.block", "ablated", "6 4"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !lines.is_empty() {
            panels.push(block_panel(cell, lines));
        }
    }
    if panels.is_empty() {
        return None;
    }
    Some(Figure {
        title: "What reverting and what ablating a block costs".to_owned(),
        svg: draw(WIDTH, &panels, 2, "Reversion and ablation by layer"),
        caption: format!(
            "Share of the logit difference that is lost when a block goes back to the run's own \
             first weights (reverted), and when what it writes is replaced by its mean (ablated). \
             Little lost by reversion where much is lost by ablation: the block computes what it \
             computed before training. {}",
            curve_words(&panels)
        ),
    })
}

fn block_panel<'a>(cell: &Cell, lines: Vec<Line<'a>>) -> Panel<'a> {
    Panel {
        title: cell.arm.clone(),
        y_name: "share of LD lost".to_owned(),
        x_name: "block".to_owned(),
        bounds: ANY,
        reference: Some(0.0),
        ceiling: vec![],
        lines,
    }
}

/// The suffix and prefix curves.
pub(super) fn cumulative(scene: &Scene<'_>) -> Option<Figure> {
    let cells = scene.with("reversion.");
    let mut panels = vec![];
    for (name, words, axis) in [
        (
            "reversion.suffix",
            "blocks k … and the head reverted",
            "first reverted block k",
        ),
        (
            "reversion.prefix",
            "embeddings and blocks below k reverted",
            "first kept block k",
        ),
    ] {
        let lines: Vec<Line<'_>> = cells
            .iter()
            .filter_map(|cell| {
                line(
                    scene,
                    cell,
                    cell.arm.clone(),
                    "",
                    by_layer(cell, name, None),
                )
            })
            .collect();
        if !lines.is_empty() {
            panels.push(Panel {
                title: words.to_owned(),
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
        title: "Reverting from the top and from the bottom".to_owned(),
        svg: draw(WIDTH, &panels, 2, "Suffix and prefix reversion by block"),
        caption: curve_words(&panels),
    })
}

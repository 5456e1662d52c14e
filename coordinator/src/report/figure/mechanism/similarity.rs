//! How alike the representations of two networks are, layer by layer.

use super::pairing::{self, Pairing};
use super::{Figure, Scene, WIDTH, by_layer, curve_words};
use crate::aggregate::Cell;
use crate::report::ceilings::LAST;
use crate::report::figure::profile::{Line, Panel, draw};
use crate::report::tables::n_words;

/// CKA and RSA at the last position, a curve for each pairing. RSA arm by arm: each
/// has a noise ceiling of its own.
pub(super) fn similarity(scene: &Scene<'_>) -> Option<Figure> {
    let mut panels = Vec::from_iter(panel(
        &scene.with("cka."),
        "cka",
        "linear CKA, debiased".to_owned(),
    ));
    let mut ceilings = Ceilings::default();
    for cell in scene.with("rsa.") {
        let title = format!("RSA, Spearman: {}", cell.arm);
        if let Some(panel) = panel(&[cell], "rsa", title) {
            panels.push(Panel {
                ceiling: ceilings.of(scene, cell),
                ..panel
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
            "By depth (0: embeddings). Pairs of one arm are a seed and the next. {}{}",
            curve_words(&panels),
            ceilings.words()
        ),
    })
}

/// The pairings of some cells; none without a curve.
fn panel<'a>(cells: &[&'a Cell], measure: &str, title: String) -> Option<Panel<'a>> {
    let lines: Vec<Line<'_>> = pairing::all()
        .filter_map(|pairing| one(cells, measure, pairing))
        .collect();
    (!lines.is_empty()).then(|| Panel {
        title,
        y_name: "similarity".to_owned(),
        x_name: "depth".to_owned(),
        bounds: (-1.0, 1.0),
        reference: Some(0.0),
        ceiling: vec![],
        lines,
    })
}

/// A pairing is asked about its first network, so one cell has it.
fn one<'a>(cells: &[&'a Cell], measure: &str, pairing: Pairing) -> Option<Line<'a>> {
    let name = format!("{measure}.{}", pairing.key);
    let points = cells
        .iter()
        .map(|cell| by_layer(cell, &name, Some(LAST)))
        .find(|points| !points.is_empty())?;
    Some(Line::new(pairing.words.to_owned(), pairing.colour, points))
}

/// What the noise ceilings that are drawn stand on, and why others are not.
#[derive(Default)]
struct Ceilings {
    n: Vec<usize>,
    /// Arms with a ceiling at no depth, with the reason at the last one: at the first,
    /// the last position shows all networks the same.
    none: Vec<String>,
}

impl Ceilings {
    /// The noise ceiling of a cell by depth, where it has one.
    fn of(&mut self, scene: &Scene<'_>, cell: &Cell) -> Vec<(f64, f64, f64)> {
        let here = scene.ceilings.iter().find(|c| c.point == cell.point);
        let places = || here.into_iter().flat_map(|c| &c.places);
        let last = |slot: &Option<String>| slot.as_deref().is_none_or(|slot| slot == LAST);
        let mut drawn = vec![];
        for at in places().filter(|at| last(&at.slot)) {
            if let (Some(layer), Ok(ceiling)) = (at.layer, &at.ceiling) {
                self.n.push(at.n);
                drawn.push((f64::from(layer), ceiling.lower, ceiling.upper));
            }
        }
        if drawn.is_empty() {
            let why = places()
                .filter(|at| last(&at.slot))
                .filter_map(|at| at.ceiling.as_ref().err())
                .next_back();
            let why = why.map_or("its dissimilarities were not read", String::as_str);
            self.none.push(format!("{}: {why}", cell.arm));
        }
        drawn
    }

    fn words(&self) -> String {
        let mut words = String::new();
        if !self.n.is_empty() {
            words.push_str(&format!(
                " Grey, dashed: noise ceiling over seeds ({}) of the arm whose networks are \
                 compared, after Nili et al. 2014: mean Spearman correlation of each seed's \
                 dissimilarities with the mean of the ranks of all seeds (upper edge) and of the \
                 other seeds (lower edge). No one model's mean over seeds can lie above it; what \
                 lies in it differs from these networks by no more than their seeds differ.",
                n_words(self.n.iter().copied())
            ));
        }
        if !self.none.is_empty() {
            words.push_str(&format!(" No noise ceiling, {}.", self.none.join("; ")));
        }
        words
    }
}

//! How alike the representations of two networks are, layer by layer.

use super::{Figure, Scene, WIDTH, by_layer, curve_words};
use crate::aggregate::Cell;
use crate::report::ceilings::LAST;
use crate::report::figure::profile::{Line, Panel, draw};
use crate::report::tables::n_words;

/// Pairings with their colours and what they pair.
const PAIRINGS: [(&str, &str, &str); 5] = [
    ("pt_ft", "#0072B2", "base – fine-tuned"),
    ("ft_ft", "#56B4E9", "fine-tuned – fine-tuned"),
    ("sc_sc", "#D55E00", "scratch – scratch"),
    ("ft_sc", "#CC79A7", "fine-tuned – scratch"),
    ("pt_sc", "#009E73", "base – scratch"),
];

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
    let line = |(pairing, colour, words): &(&str, &'static str, &str)| {
        one(cells, &format!("{measure}.{pairing}"), colour, words)
    };
    let lines: Vec<Line<'_>> = PAIRINGS.iter().filter_map(line).collect();
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
fn one<'a>(cells: &[&'a Cell], name: &str, colour: &'a str, words: &str) -> Option<Line<'a>> {
    let points = cells
        .iter()
        .map(|cell| by_layer(cell, name, Some(LAST)))
        .find(|points| !points.is_empty())?;
    Some(Line::new(words.to_owned(), colour, points))
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

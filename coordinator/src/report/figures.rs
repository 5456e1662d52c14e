//! Every figure of a report, each with the name of its file and its place in the
//! page.

use super::behaviour;
use super::figure::{self, Figure, Styles};
use crate::aggregate::Analysis;

/// Metrics of the selection's split that get curves of their own.
const FURTHER_CURVES: [&str; 2] = ["accuracy", "nll"];

/// The part of the page that a figure stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The verdict.
    Verdict,
    /// The twins of each seed.
    Seeds,
    /// Learning.
    Learning,
    /// Behaviour beyond the headline.
    Behaviour,
    /// The whole grid of the selected axis.
    Grid,
    /// What was found inside the networks.
    Mechanisms,
}

/// A figure with its file's name, without ending.
pub(super) type Named = (Part, String, Figure);

/// The figures, in the order of the page.
pub(super) fn all(a: &Analysis) -> Vec<Named> {
    let styles = Styles::new(&a.arms);
    let mut figures = Vec::new();
    let mut add = |part, name: String, figure: Option<Figure>| {
        figures.extend(figure.map(|f| (part, name, f)));
    };
    add(Part::Verdict, "reuse".to_owned(), figure::reuse(a, &styles));
    add(
        Part::Seeds,
        "paired_dots".to_owned(),
        figure::paired_dots(a, &styles),
    );
    add(
        Part::Seeds,
        "differences".to_owned(),
        figure::forest(a, &styles),
    );
    let metrics = [a.primary.as_str()].into_iter().chain(FURTHER_CURVES);
    for (i, metric) in metrics.enumerate() {
        if i == 0 || metric != a.primary {
            let curves = figure::learning_curves(a, &styles, &a.selection_split, metric);
            add(Part::Learning, format!("learning_{metric}"), curves);
        }
    }
    let loss = figure::learning_curves(a, &styles, "train", "loss");
    add(Part::Learning, "learning_train_loss".to_owned(), loss);
    for (name, figure) in behaviour::figures(a, &styles) {
        add(Part::Behaviour, name.to_owned(), Some(figure));
    }
    add(Part::Grid, "grid".to_owned(), figure::surface(a, &styles));
    for (name, figure) in figure::mechanisms(a, &styles) {
        add(Part::Mechanisms, name, Some(figure));
    }
    figures
}

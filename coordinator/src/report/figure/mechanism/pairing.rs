//! Which two networks were compared: the same words and colour in every figure.

/// Short name in the metrics, colour, and words.
const PAIRINGS: [(&str, &str, &str); 5] = [
    ("pt_ft", "#0072B2", "base – fine-tuned"),
    ("ft_ft", "#56B4E9", "fine-tuned – fine-tuned"),
    ("sc_sc", "#D55E00", "scratch – scratch"),
    ("ft_sc", "#CC79A7", "fine-tuned – scratch"),
    ("pt_sc", "#009E73", "base – scratch"),
];

/// A pairing as figures show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pairing {
    /// Its part of a metric's name: "ft_sc".
    pub key: &'static str,
    /// Of its curve.
    pub colour: &'static str,
    /// "fine-tuned – scratch"
    pub words: &'static str,
}

/// All pairings, in the order in which they are drawn.
pub(super) fn all() -> impl Iterator<Item = Pairing> {
    PAIRINGS
        .into_iter()
        .map(|(key, colour, words)| Pairing { key, colour, words })
}

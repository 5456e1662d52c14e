//! Figures as SVG text: no scripts, no fonts to load, the same bytes each time.
//!
//! An arm has one colour and one marker in every figure (Okabe and Ito's palette:
//! told apart by colour-blind readers; the marker tells them apart in print).

mod band;
mod curves;
mod domain;
mod dots;
mod efficiency;
mod forest;
mod frame;
mod heat;
mod labels;
mod mechanism;
mod profile;
mod psychometric;
mod reuse;
mod scale;
mod splits;
mod style;
mod surface;
mod svg;

pub(super) use curves::learning_curves;
pub(super) use dots::paired_dots;
pub(super) use efficiency::sample_efficiency;
pub(super) use forest::forest;
pub(super) use mechanism::mechanisms;
pub(super) use psychometric::psychometric;
pub(super) use reuse::reuse;
pub(super) use splits::splits;
pub(super) use style::Styles;
pub(super) use surface::surface;

/// A figure with what must be said of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// What it shows, one line.
    pub title: String,
    /// The drawing.
    pub svg: String,
    /// n, method and interval, and how to read it.
    pub caption: String,
}

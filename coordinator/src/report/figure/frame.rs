//! A panel: axes with ticks and grid.

use super::scale::Scale;
use super::style::{AXIS, FLOOR, GRID, INK, MUTED};
use super::svg::{Anchor, Font, Stroke, Svg};

/// The rectangle in which values are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Lower edge.
    pub bottom: f64,
}

impl Frame {
    /// Horizontal pixels, for a scale.
    pub fn across(&self) -> (f64, f64) {
        (self.left, self.right)
    }

    /// Vertical pixels for a scale that grows upwards.
    pub fn upwards(&self) -> (f64, f64) {
        (self.bottom, self.top)
    }

    /// Its title; smaller where many axes make it longer than the drawing is wide.
    pub fn title(&self, svg: &mut Svg, text: &str) {
        let at = (self.left, self.top - 12.0);
        // A semi-bold character is about this share of its height wide.
        let fits = (svg.width() - self.left) / (0.6 * text.chars().count().max(1) as f64);
        let size = fits.clamp(7.0, 13.0);
        svg.text(at, Anchor::Start, Font::new(size, INK).bold(), text);
    }

    /// Horizontal grid lines with the vertical axis' ticks at the left.
    pub fn y_axis(&self, svg: &mut Svg, y: &Scale, name: &str) {
        for (value, text) in y.ticks(5) {
            let at = y.at(value);
            svg.line((self.left, at), (self.right, at), Stroke::new(GRID, 1.0));
            let font = Font::new(12.0, MUTED);
            svg.text((self.left - 8.0, at + 4.0), Anchor::End, font, &text);
        }
        let middle = (self.left - 44.0, (self.top + self.bottom) / 2.0);
        svg.text(middle, Anchor::Middle, Font::new(12.0, INK).upright(), name);
    }

    /// The horizontal axis with ticks below.
    pub fn x_axis(&self, svg: &mut Svg, ticks: &[(f64, String)], name: &str) {
        let end = (self.right, self.bottom);
        svg.line((self.left, self.bottom), end, Stroke::new(AXIS, 1.0));
        for (at, text) in ticks {
            let (from, to) = ((*at, self.bottom), (*at, self.bottom + 4.0));
            svg.line(from, to, Stroke::new(AXIS, 1.0));
            let font = Font::new(12.0, MUTED);
            svg.text((*at, self.bottom + 18.0), Anchor::Middle, font, text);
        }
        let middle = ((self.left + self.right) / 2.0, self.bottom + 36.0);
        svg.text(middle, Anchor::Middle, Font::new(12.0, INK), name);
    }

    /// A floor: a dashed line across.
    pub fn floor(&self, svg: &mut Svg, at: f64) {
        let stroke = Stroke::new(FLOOR, 1.2).dash("5 4");
        svg.line((self.left, at), (self.right, at), stroke);
    }
}

/// How far the mark of arm `k` of `arms` stands from its place, so that intervals
/// don't lie upon each other: at most 9 pixels from the next one, all within
/// `room`.
pub(super) fn aside(k: usize, arms: usize, room: f64) -> f64 {
    let gaps = arms.saturating_sub(1) as f64;
    (k as f64 - gaps / 2.0) * (room / gaps.max(1.0)).min(9.0)
}

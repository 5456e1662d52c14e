//! Labels beside a panel that must not lie upon each other.

use super::svg::{Anchor, Font, Stroke, Svg};

/// Height of a label's line.
const LINE: f64 = 15.0;

/// A label with the height at which it would like to stand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    /// Where what it names is.
    pub y: f64,
    /// Its text.
    pub text: String,
    /// Its colour.
    pub colour: String,
    /// Semi-bold.
    pub bold: bool,
}

/// From a panel to its first letter.
const LEAD: f64 = 18.0;
/// Width of a letter, on average and a little more.
const LETTER: f64 = 7.2;

/// The room that labels take at the right of a panel.
pub(super) fn room<'a>(texts: impl Iterator<Item = &'a str>) -> f64 {
    let letters = texts.map(|text| text.chars().count()).max().unwrap_or(0);
    LEAD + LETTER * letters as f64 + 12.0
}

/// Draws labels at the right of a panel, moved apart as far as need be, each
/// joined to its place by a thin line.
pub(super) fn draw(svg: &mut Svg, x: f64, range: (f64, f64), mut labels: Vec<Label>) {
    labels.sort_by(|a, b| a.y.total_cmp(&b.y));
    let places = spread(&labels.iter().map(|l| l.y).collect::<Vec<_>>(), range);
    for (label, place) in labels.iter().zip(places) {
        let stroke = Stroke::new(&label.colour, 1.0).opacity(0.6);
        svg.polyline(
            &[(x + 2.0, label.y), (x + 8.0, label.y), (x + 14.0, place)],
            stroke,
        );
        let mut font = Font::new(12.0, &label.colour);
        font.bold = label.bold;
        svg.text((x + LEAD, place + 4.0), Anchor::Start, font, &label.text);
    }
}

/// Places near the wanted ones, ascending, at least a line apart, within a range
/// as long as they fit.
fn spread(wanted: &[f64], range: (f64, f64)) -> Vec<f64> {
    let mut places = wanted.to_vec();
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + LINE);
    }
    let mut ceiling = range.1;
    for place in places.iter_mut().rev() {
        *place = place.min(ceiling);
        ceiling = *place - LINE;
    }
    // Pushed above the range, they don't fit: rather too low than lying upon
    // each other.
    if let Some(first) = places.first().copied().filter(|p| *p < range.0) {
        for place in &mut places {
            *place += range.0 - first;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_line_apart() {
        for wanted in [
            vec![10.0, 12.0, 13.0, 90.0],
            vec![98.0, 99.0, 100.0],
            vec![0.0, 0.0],
            vec![],
        ] {
            let places = spread(&wanted, (0.0, 100.0));
            assert_eq!(places.len(), wanted.len());
            for pair in places.windows(2) {
                assert!(pair[1] - pair[0] >= LINE - 1e-9, "{places:?}");
            }
            assert!(
                places.iter().all(|p| (0.0..=100.0).contains(p)),
                "{places:?}"
            );
        }
    }
}

//! Colours and markers.

use std::collections::BTreeMap;

use super::svg::{Stroke, Svg};

/// Text.
pub(super) const INK: &str = "#222222";
/// Text that is not the point.
pub(super) const MUTED: &str = "#5f6368";
/// Lines of the grid.
pub(super) const GRID: &str = "#e4e6ea";
/// Axes.
pub(super) const AXIS: &str = "#9aa0a6";
/// Floors.
pub(super) const FLOOR: &str = "#6b7076";

/// Okabe and Ito's palette without yellow, which is lost on white.
const PALETTE: [(&str, Marker); 7] = [
    ("#0072B2", Marker::Circle),
    ("#D55E00", Marker::Square),
    ("#CC79A7", Marker::Triangle),
    ("#009E73", Marker::Diamond),
    ("#E69F00", Marker::Wedge),
    ("#56B4E9", Marker::Hexagon),
    ("#000000", Marker::Pentagon),
];

/// Arms whose place in the palette is the same in every report.
const KNOWN: [(&str, usize); 7] = [
    ("pretrained", 0),
    ("scratch", 1),
    ("shuffled", 2),
    ("embeddings_only", 3),
    ("blocks_only", 4),
    ("reinit_first", 5),
    ("reinit_last", 6),
];

/// The shape of a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Wedge,
    Hexagon,
    Pentagon,
}

/// The look of one arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct ArmStyle {
    /// Its colour.
    pub colour: &'static str,
    marker: Marker,
}

/// The look of every arm of a report.
#[derive(Debug, Clone)]
pub(in super::super) struct Styles(BTreeMap<String, ArmStyle>);

impl Styles {
    /// Known arms get their place, the others what is left, in order; two arms
    /// share a look only when there are more of them than looks.
    pub fn new(arms: &[String]) -> Self {
        let mut places: BTreeMap<&String, usize> = BTreeMap::new();
        for arm in arms {
            let known = KNOWN.iter().find(|(name, _)| arm.starts_with(name));
            if let Some((_, place)) = known.filter(|k| places.values().all(|taken| *taken != k.1)) {
                places.insert(arm, *place);
            }
        }
        let mut free: Vec<usize> = (0..PALETTE.len())
            .filter(|i| places.values().all(|taken| taken != i))
            .collect();
        if free.is_empty() {
            free = (0..PALETTE.len()).collect();
        }
        let mut free = free.into_iter().cycle();
        let styles = arms.iter().map(|arm| {
            let place = places.get(arm).copied().or_else(|| free.next());
            let (colour, marker) = PALETTE[place.unwrap_or(0)];
            (arm.clone(), ArmStyle { colour, marker })
        });
        Self(styles.collect())
    }

    /// The look of an arm.
    pub fn of(&self, arm: &str) -> ArmStyle {
        self.0.get(arm).copied().unwrap_or(ArmStyle {
            colour: MUTED,
            marker: Marker::Circle,
        })
    }
}

impl ArmStyle {
    /// Draws the arm's marker.
    pub(super) fn dot(self, svg: &mut Svg, at: (f64, f64), radius: f64, title: &str) {
        let edge = Stroke::new("#ffffff", 1.0);
        let regular = |n: usize, turn: f64, r: f64| -> Vec<(f64, f64)> {
            (0..n)
                .map(|i| {
                    let angle = turn + i as f64 * std::f64::consts::TAU / n as f64;
                    (at.0 + r * angle.sin(), at.1 - r * angle.cos())
                })
                .collect()
        };
        let half = std::f64::consts::PI;
        let points = match self.marker {
            Marker::Circle => return svg.circle(at, radius, self.colour, edge, title),
            Marker::Square => regular(4, half / 4.0, radius * 1.25),
            Marker::Diamond => regular(4, 0.0, radius * 1.3),
            Marker::Triangle => regular(3, 0.0, radius * 1.35),
            Marker::Wedge => regular(3, half, radius * 1.35),
            Marker::Hexagon => regular(6, 0.0, radius * 1.15),
            Marker::Pentagon => regular(5, 0.0, radius * 1.2),
        };
        svg.shape(&points, self.colour, edge, title);
    }

    /// A drawing of the marker alone, for legends in text.
    pub fn swatch(self) -> String {
        let mut svg = Svg::new(14.0, 14.0);
        self.dot(&mut svg, (7.0, 7.0), 5.0, "");
        svg.finish("marker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn an_arm_keeps_its_colour_whatever_stands_beside_it() {
        let one = Styles::new(&arms(&["scratch", "pretrained"]));
        let other = Styles::new(&arms(&["shuffled", "pretrained", "mine", "scratch"]));
        for arm in ["scratch", "pretrained"] {
            assert_eq!(one.of(arm), other.of(arm));
        }
        let twice = Styles::new(&arms(&["reinit_last_1", "reinit_last_2"]));
        assert_ne!(twice.of("reinit_last_1"), twice.of("reinit_last_2"));
        let mine = other.of("mine");
        assert!(
            ["scratch", "pretrained", "shuffled"]
                .iter()
                .all(|a| other.of(a) != mine)
        );
    }
}

//! Maps: a grid of coloured cells with its legend. What is not available is hatched,
//! what can't be told from zero is pale.

use super::style::{AXIS, INK, MUTED};
use super::svg::{Anchor, Font, Stroke, Svg};
use crate::report::format::number;

/// Height of a row of cells.
const ROW: f64 = 20.0;
/// Room for the names of rows.
const NAMES: f64 = 58.0;
/// Room above a map for its title, and below it for the names of columns, level or
/// upright.
const HEAD: f64 = 24.0;
const LEVEL_FOOT: f64 = 30.0;
const UPRIGHT_FOOT: f64 = 62.0;
const GAP: f64 = 26.0;
/// What is not available.
const MISSING: &str = "#d5d8dc";

/// A map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    /// What it is of: an arm, a site.
    pub title: String,
    /// Names of the rows, the lowest first.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Row by row; as many as rows and columns.
    pub cells: Vec<Vec<HeatCell>>,
}

impl Map {
    /// Width of a column, where the map has so much.
    fn step(&self, width: f64) -> f64 {
        (width - NAMES) / self.columns.len().max(1) as f64
    }

    /// Whether the name of a column has room from side to side.
    fn is_level(name: &str, step: f64) -> bool {
        step >= 7.0 * name.chars().count() as f64
    }

    fn height(&self, width: f64) -> f64 {
        let step = self.step(width);
        let level = self.columns.iter().all(|name| Self::is_level(name, step));
        let foot = if level { LEVEL_FOOT } else { UPRIGHT_FOOT };
        HEAD + self.rows.len() as f64 * ROW + foot
    }
}

/// A cell of a map.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct HeatCell {
    /// Its value; none where it is not available.
    pub value: Option<f64>,
    /// It can't be told from zero.
    pub faint: bool,
    /// What shows on hovering, after the value.
    pub tip: String,
}

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Colours {
    /// Blue below zero, white at zero, red above; the end of the scale.
    Diverging(f64),
    /// White at zero to blue at the end of the scale.
    Sequential(f64),
}

impl Colours {
    /// A scale about zero that holds the values, at least up to `least`.
    pub fn diverging(values: impl Iterator<Item = f64>, least: f64) -> Self {
        Self::Diverging(values.map(f64::abs).fold(least, f64::max))
    }

    /// A scale from zero that holds the values.
    pub fn sequential(values: impl Iterator<Item = f64>) -> Self {
        let end = values.fold(0.0, f64::max);
        Self::Sequential(if end > 0.0 { end } else { 1.0 })
    }

    fn ends(self) -> (f64, f64) {
        match self {
            Self::Diverging(end) => (-end, end),
            Self::Sequential(end) => (0.0, end),
        }
    }

    fn of(self, value: f64) -> String {
        let (_, end) = self.ends();
        let share = (value / end).clamp(-1.0, 1.0);
        let full = match (self, share < 0.0) {
            (Self::Diverging(_), false) => [178.0, 24.0, 43.0],
            (Self::Diverging(_), true) | (Self::Sequential(_), _) => [33.0, 102.0, 172.0],
        };
        // The root spreads the small values apart.
        let depth = share.abs().sqrt();
        let mix = full.map(|c| (255.0 + (c - 255.0) * depth).round() as u8);
        format!("#{:02x}{:02x}{:02x}", mix[0], mix[1], mix[2])
    }
}

/// Rows of maps, each row's maps side by side in equal widths, and the legend.
pub(super) fn draw(width: f64, maps: &[Vec<Map>], colours: Colours, label: &str) -> String {
    let share = |row: &[Map]| (width - GAP * (row.len() as f64 - 1.0)) / row.len().max(1) as f64;
    let height_of = |row: &Vec<Map>| {
        let heights = row.iter().map(|map| map.height(share(row)));
        heights.fold(0.0, f64::max)
    };
    let rows: Vec<f64> = maps.iter().map(height_of).collect();
    let height = rows.iter().sum::<f64>() + 40.0;
    let mut svg = Svg::new(width, height);
    let mut top = 0.0;
    for (row, height) in maps.iter().zip(rows) {
        let share = share(row);
        for (i, map) in row.iter().enumerate() {
            one(
                &mut svg,
                (i as f64 * (share + GAP), top),
                share,
                map,
                colours,
            );
        }
        top += height;
    }
    let cells = maps
        .iter()
        .flatten()
        .flat_map(|map| map.cells.iter().flatten());
    let (missing, faint) = cells.fold((false, false), |(missing, faint), cell| {
        (missing || cell.value.is_none(), faint || cell.faint)
    });
    legend(&mut svg, (NAMES, top + 6.0), colours, missing, faint);
    svg.finish(label)
}

fn one(svg: &mut Svg, (left, top): (f64, f64), width: f64, map: &Map, colours: Colours) {
    let at = (left + NAMES, top + 14.0);
    svg.text(at, Anchor::Start, Font::new(13.0, INK).bold(), &map.title);
    let step = map.step(width);
    let foot = top + HEAD + map.rows.len() as f64 * ROW;
    for (r, name) in map.rows.iter().enumerate() {
        // Depth grows upwards, as in the curves it grows to the right.
        let y = foot - (r + 1) as f64 * ROW;
        let place = (left + NAMES - 6.0, y + ROW / 2.0 + 4.0);
        svg.text(place, Anchor::End, Font::new(11.0, MUTED), name);
        for (c, column) in map.columns.iter().enumerate() {
            let cell = map.cells.get(r).and_then(|row| row.get(c));
            let cell = cell.cloned().unwrap_or_default();
            let x = left + NAMES + c as f64 * step;
            let corners = [(x, y), (x + step, y), (x + step, y + ROW), (x, y + ROW)];
            let edge = Stroke::new("#ffffff", 1.0);
            let place = format!("{name}, {column}");
            match cell.value {
                Some(value) => {
                    let tip = format!("{place}: {}{}", number(value), cell.tip);
                    svg.shape(&corners, &colours.of(value), edge, &tip);
                    if cell.faint {
                        svg.line(
                            (x + 3.0, y + ROW - 3.0),
                            (x + step - 3.0, y + 3.0),
                            Stroke::new(AXIS, 0.8),
                        );
                    }
                }
                None => {
                    let tip = format!("{place}: not available{}", cell.tip);
                    svg.shape(&corners, MISSING, edge, &tip);
                }
            }
        }
    }
    for (c, name) in map.columns.iter().enumerate() {
        let x = left + NAMES + (c as f64 + 0.5) * step;
        let font = Font::new(11.0, MUTED);
        if Map::is_level(name, step) {
            svg.text((x, foot + 14.0), Anchor::Middle, font, name);
        } else {
            svg.text((x + 4.0, foot + 6.0), Anchor::End, font.upright(), name);
        }
    }
}

/// The scale, and what the marks mean that there are.
fn legend(svg: &mut Svg, (left, top): (f64, f64), colours: Colours, missing: bool, faint: bool) {
    const STEPS: usize = 24;
    const STEP: f64 = 7.0;
    let square = |x: f64, width: f64| {
        [
            (x, top),
            (x + width, top),
            (x + width, top + 14.0),
            (x, top + 14.0),
        ]
    };
    let (low, high) = colours.ends();
    let font = Font::new(11.0, MUTED);
    svg.text((left - 6.0, top + 11.0), Anchor::End, font, &number(low));
    let mut x = left;
    for i in 0..STEPS {
        let value = low + (high - low) * (i as f64 + 0.5) / STEPS as f64;
        let colour = colours.of(value);
        svg.shape(&square(x, STEP), &colour, Stroke::new(&colour, 0.5), "");
        x += STEP;
    }
    svg.text((x + 6.0, top + 11.0), Anchor::Start, font, &number(high));
    x += 70.0;
    if missing {
        svg.shape(&square(x, 14.0), MISSING, Stroke::new(MISSING, 0.5), "");
        svg.text((x + 20.0, top + 11.0), Anchor::Start, font, "not available");
        x += 120.0;
    }
    if faint {
        let stroke = Stroke::new(AXIS, 0.8);
        svg.line((x, top + 13.0), (x + 14.0, top + 1.0), stroke);
        let at = (x + 20.0, top + 11.0);
        svg.text(at, Anchor::Start, font, "not told from zero");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_white_and_the_ends_are_full() {
        let check = |colours: Colours, value: f64, expect: &str| {
            assert_eq!(colours.of(value), expect, "{colours:?} {value}");
        };
        let about = Colours::diverging([0.5, -2.0].into_iter(), 1.0);
        assert_eq!(about, Colours::Diverging(2.0));
        check(about, 0.0, "#ffffff");
        check(about, 2.0, "#b2182b");
        check(about, -9.0, "#2166ac");
        check(Colours::sequential([0.0].into_iter()), 1.0, "#2166ac");
    }

    #[test]
    fn what_is_missing_is_said_and_not_coloured() {
        let map = Map {
            title: "scratch".into(),
            rows: vec!["0".into()],
            columns: vec!["cue".into(), "last".into()],
            cells: vec![vec![
                HeatCell {
                    value: Some(0.25),
                    faint: true,
                    tip: ", n = 3".into(),
                },
                HeatCell {
                    tip: ": no pair is solved both ways".into(),
                    ..HeatCell::default()
                },
            ]],
        };
        let svg = draw(600.0, &[vec![map]], Colours::Diverging(1.0), "a map");
        assert!(svg.contains("<title>0, cue: .250, n = 3</title>"), "{svg}");
        let missing = "0, last: not available: no pair is solved both ways";
        assert!(svg.contains(missing), "{svg}");
    }
}

//! Curves over depth: the mean over seeds with its band, each seed as a thin line.

use super::domain::{cuts, domain};
use super::frame::Frame;
use super::labels::{self, Label};
use super::scale::Scale;
use super::style::{INK, MUTED};
use super::svg::{Stroke, Svg};
use crate::aggregate::{self, Band, Summary};
use crate::report::format::number;

const PANEL: f64 = 250.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;

/// One curve.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    /// Its name at the right of the panel.
    pub name: String,
    /// Its colour.
    pub colour: &'a str,
    /// `stroke-dasharray`; empty for a whole line.
    pub dash: &'a str,
    /// Place on the horizontal axis, and what was measured there.
    pub points: Vec<(f64, &'a Summary)>,
    /// About their means.
    pub band: Option<Band>,
    /// Draw the single seeds, too.
    pub seeds: bool,
    /// Write its name beside the panel.
    pub named: bool,
}

impl<'a> Line<'a> {
    /// A curve with its band and its seeds.
    pub fn new(name: String, colour: &'a str, points: Vec<(f64, &'a Summary)>) -> Self {
        let values = points
            .iter()
            .map(|(_, s)| (&*s.values, s.estimate.as_ref()));
        Self {
            band: Some(aggregate::band(values, &name)),
            name,
            colour,
            dash: "",
            points,
            seeds: true,
            named: true,
        }
    }

    /// The same dashed, without the single seeds.
    pub fn dashed(self, dash: &'static str) -> Self {
        Self {
            dash,
            seeds: dash.is_empty(),
            ..self
        }
    }

    /// The same dashed, as what others are read against: a mean alone, which the
    /// caption names by its dashes.
    pub fn aside(self, dash: &'static str) -> Self {
        Self {
            band: None,
            named: false,
            ..self.dashed(dash)
        }
    }

    /// The ends of its band at each point; none without a band.
    fn ends(&self) -> &[Option<(f64, f64)>] {
        self.band.as_ref().map_or(&[], |band| &band.ends)
    }
}

/// One panel.
#[derive(Debug, Clone)]
pub(super) struct Panel<'a> {
    /// What it is of.
    pub title: String,
    /// Of the vertical axis.
    pub y_name: String,
    /// Of the horizontal axis.
    pub x_name: String,
    /// What values can't be beyond.
    pub bounds: (f64, f64),
    /// A value at which a line is drawn across.
    pub reference: Option<f64>,
    /// Between which heights a value lies that no model could exceed, as far as noise
    /// lets one tell: place, lower and upper edge, ascending; empty where there is none.
    pub ceiling: Vec<(f64, f64, f64)>,
    /// The curves.
    pub lines: Vec<Line<'a>>,
}

impl Panel<'_> {
    fn bands(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines.iter().flat_map(Line::ends).copied().flatten()
    }

    fn domain(&self) -> (f64, f64) {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let values = points.flat_map(|(_, s)| s.values.iter().map(|v| v.1));
        let values = values.chain(self.ceiling.iter().flat_map(|c| [c.1, c.2]));
        domain(values.chain(self.reference), self.bands(), self.bounds)
    }

    /// Whether a band is cut at its edge.
    pub fn cuts(&self) -> bool {
        cuts(self.domain(), self.bands())
    }
}

/// Panels, `columns` side by side.
pub(super) fn draw(width: f64, panels: &[Panel<'_>], columns: usize, label: &str) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns);
    let mut svg = Svg::new(width, rows as f64 * PANEL);
    let share = width / columns as f64;
    let names = || {
        panels
            .iter()
            .flat_map(|panel| panel.lines.iter().filter(|line| line.named))
    };
    let right = labels::room(names().map(|line| line.name.as_str()));
    for (i, panel) in panels.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let frame = Frame {
            left: column as f64 * share + LEFT,
            top: row as f64 * PANEL + TOP,
            right: (column + 1) as f64 * share - right,
            bottom: (row + 1) as f64 * PANEL - BOTTOM,
        };
        one(&mut svg, frame, panel);
    }
    svg.finish(label)
}

fn one(svg: &mut Svg, frame: Frame, panel: &Panel<'_>) {
    frame.title(svg, &panel.title);
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let y = Scale::linear(panel.domain(), frame.upwards());
    let ends = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| {
        (low.min(*x), high.max(*x))
    });
    let x = Scale::linear(ends, frame.across());
    frame.y_axis(svg, &y, &panel.y_name);
    let mut ticks: Vec<f64> = points().map(|p| p.0).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    // A tick's text is as wide as three digits, and stands apart from the next.
    let room = ((frame.right - frame.left) / 28.0).max(2.0) as usize;
    let every = ticks.len().div_ceil(room);
    let ticks: Vec<_> = ticks
        .iter()
        .step_by(every)
        .map(|v| (x.at(*v), v.to_string()))
        .collect();
    frame.x_axis(svg, &ticks, &panel.x_name);
    if let Some(value) = panel.reference {
        frame.floor(svg, y.at(value));
    }
    let mut marks = Vec::from_iter(ceiling(svg, panel, &x, &y));
    for line in &panel.lines {
        band(svg, frame, line, &x, &y);
    }
    for line in &panel.lines {
        let mean = |(at, s): &(f64, &Summary)| {
            let mean = s.estimate.as_ref()?.mean;
            Some(((x.at(*at), y.at(mean)), mean, *at))
        };
        let means: Vec<_> = line.points.iter().filter_map(mean).collect();
        let places: Vec<_> = means.iter().map(|m| m.0).collect();
        svg.polyline(&places, Stroke::new(line.colour, 2.2).dash(line.dash));
        for (place, value, at) in &means {
            let tip = format!("{}, {at}: {}", line.name, number(*value));
            svg.circle(*place, 3.0, line.colour, Stroke::new("#ffffff", 0.8), &tip);
        }
        if let Some(end) = places.last().filter(|_| line.named) {
            marks.push(Label {
                y: end.1,
                text: line.name.clone(),
                colour: line.colour.to_owned(),
                bold: line.dash.is_empty(),
            });
        }
    }
    if points().all(|(_, s)| s.estimate.is_none()) {
        let at = (
            (frame.left + frame.right) / 2.0,
            (frame.top + frame.bottom) / 2.0,
        );
        let font = super::svg::Font::new(12.0, INK);
        svg.text(at, super::svg::Anchor::Middle, font, "not available");
    }
    labels::draw(svg, frame.right, (frame.top, frame.bottom), marks);
}

/// A grey band between thin dashed lines, behind everything else; its label.
fn ceiling(svg: &mut Svg, panel: &Panel<'_>, x: &Scale, y: &Scale) -> Option<Label> {
    let edge = |pick: fn(&(f64, f64, f64)) -> f64| {
        let at = |c: &(f64, f64, f64)| (x.at(c.0), y.at(pick(c)));
        panel.ceiling.iter().map(at).collect::<Vec<_>>()
    };
    let (lower, upper) = (edge(|c| c.1), edge(|c| c.2));
    let last = lower.last()?.1.midpoint(upper.last()?.1);
    let around: Vec<_> = upper.iter().chain(lower.iter().rev()).copied().collect();
    svg.area(&around, MUTED, 0.22);
    for edge in [lower, upper] {
        svg.polyline(&edge, Stroke::new(MUTED, 0.9).dash("4 3"));
    }
    Some(Label {
        y: last,
        text: "noise ceiling over seeds".to_owned(),
        colour: MUTED.to_owned(),
        bold: false,
    })
}

fn band(svg: &mut Svg, frame: Frame, line: &Line<'_>, x: &Scale, y: &Scale) {
    let edge = |pick: fn((f64, f64)) -> f64| {
        let both = line.points.iter().zip(line.ends());
        both.filter_map(move |((at, s), ends)| {
            let mean = s.estimate.as_ref()?.mean;
            // What is beyond the panel ends at its edge.
            let height = y.at(ends.map_or(mean, pick));
            Some((x.at(*at), height.clamp(frame.top, frame.bottom)))
        })
    };
    let mut area: Vec<_> = edge(|i| i.1).collect();
    area.extend(edge(|i| i.0).collect::<Vec<_>>().into_iter().rev());
    svg.area(&area, line.colour, 0.12);
    if !line.seeds {
        return;
    }
    let mut seeds: Vec<u64> = line
        .points
        .iter()
        .flat_map(|(_, s)| s.values.iter().map(|v| v.0))
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    for seed in seeds {
        let places: Vec<_> = line
            .points
            .iter()
            .filter_map(|(at, s)| {
                let value = s.values.iter().find(|v| v.0 == seed)?.1;
                Some((x.at(*at), y.at(value)))
            })
            .collect();
        if places.len() > 1 {
            svg.polyline(&places, Stroke::new(line.colour, 0.9).opacity(0.35));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::stats::estimate;

    fn summary(values: [f64; 2]) -> Summary {
        Summary {
            step: Some(1),
            values: (1..).zip(values).collect(),
            unavailable: vec![],
            estimate: estimate(&values, ""),
        }
    }

    #[track_caller]
    fn check(values: [f64; 2], ends: [(f64, f64); 2], cut: bool) {
        let (a, b) = (summary(values), summary(values));
        let points = vec![(0.0, &a), (1.0, &b)];
        let mut line = Line::new("one".to_owned(), "#000", points);
        line.band.as_mut().expect("a band").ends = ends.map(Some).to_vec();
        let panel = Panel {
            title: String::new(),
            y_name: String::new(),
            x_name: String::new(),
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
            ceiling: vec![],
            reference: None,
            lines: vec![line],
        };
        assert_eq!(panel.cuts(), cut);
        let svg = draw(400.0, &[panel], 1, "");
        let (_, area) = svg.split_once("<polygon points=\"").expect("a band");
        let (area, _) = area.split_once('"').expect("its points");
        let heights = area
            .split(' ')
            .filter_map(|p| p.split_once(',')?.1.parse::<f64>().ok());
        let edges = [TOP, PANEL - BOTTOM];
        let beyond = heights.filter(|y| edges.iter().any(|edge| (edge - y).abs() < 0.05));
        assert_eq!(beyond.count() > 0, cut, "{values:?}: {area}");
    }

    #[test]
    fn a_band_is_shown_whole_unless_it_flattens_what_it_is_about() {
        for scale in [0.01, 1.0, 100.0] {
            let ends = |low: f64, high: f64| [(0.0, scale), (low * scale, high * scale)];
            check([0.0, scale], ends(-1.3, 2.3), false);
            // As two seeds make it.
            check([0.0, scale], ends(-5.9, 6.9), true);
        }
    }
}

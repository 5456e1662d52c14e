//! Trajectories through depth in the space of task axes, after Mante et al. 2013.

use super::{Figure, Scene, WIDTH, of};
use crate::aggregate::{Cell, MetricId};
use crate::report::figure::frame::Frame;
use crate::report::figure::scale::{Scale, round_domain};
use crate::report::figure::style::{AXIS, INK};
use crate::report::figure::svg::{Anchor, Font, Stroke, Svg};
use crate::report::format::number;

const PANEL: f64 = 330.0;
const LEGEND_ROW: f64 = 20.0;
const LEGEND_COLUMNS: usize = 4;
/// The axis of the choice, which every panel has across.
const CHOICE: &str = "choice";
const COLOURS: [&str; 8] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
];

/// One row of panels for each arm: choice against every other axis, a path for each
/// condition.
pub(super) fn trajectories(scene: &Scene<'_>) -> Option<Figure> {
    let cells: Vec<&Cell> = scene
        .with("tdr.")
        .into_iter()
        .filter(|cell| !axes(cell).is_empty())
        .collect();
    let columns = cells.iter().map(|cell| axes(cell).len()).max()?;
    let share = WIDTH / columns as f64;
    let conditions = conditions(&cells);
    let foot = conditions.len().div_ceil(LEGEND_COLUMNS) as f64 * LEGEND_ROW;
    let height = cells.len() as f64 * PANEL;
    let mut svg = Svg::new(WIDTH, height + foot);
    for (row, cell) in cells.iter().enumerate() {
        for (column, axis) in axes(cell).iter().enumerate() {
            let frame = Frame {
                left: column as f64 * share + 56.0,
                top: row as f64 * PANEL + 34.0,
                right: (column + 1) as f64 * share - 12.0,
                bottom: (row + 1) as f64 * PANEL - 52.0,
            };
            frame.title(&mut svg, &format!("{}: {CHOICE} and {axis}", cell.arm));
            panel(&mut svg, frame, cell, axis, &conditions);
        }
    }
    for (i, name) in conditions.iter().enumerate() {
        let (row, column) = (i / LEGEND_COLUMNS, i % LEGEND_COLUMNS);
        let x = 56.0 + column as f64 * (WIDTH - 56.0) / LEGEND_COLUMNS as f64;
        let y = height + (row as f64 + 0.5) * LEGEND_ROW;
        let colour = colour_of(name, &conditions);
        svg.line((x, y - 4.0), (x + 16.0, y - 4.0), Stroke::new(colour, 2.4));
        svg.text((x + 22.0, y), Anchor::Start, Font::new(12.0, INK), name);
    }
    Some(Figure {
        title: "Trajectories through depth".to_owned(),
        svg: svg.finish("State-space trajectories by condition"),
        caption: "Condition means of the residual stream at the last position, projected on the \
                  axes of choice, evidence and context (targeted dimensionality reduction); one \
                  path for each condition, from the embeddings (hollow) to the last block \
                  (filled). Mean over seeds."
            .to_owned(),
    })
}

/// The axes beside the choice.
fn axes(cell: &Cell) -> Vec<String> {
    let mut axes: Vec<String> = cell
        .summaries
        .keys()
        .filter_map(axis_of)
        .filter(|axis| *axis != CHOICE)
        .map(str::to_owned)
        .collect();
    axes.sort();
    axes.dedup();
    axes
}

fn axis_of(id: &MetricId) -> Option<&str> {
    id.name.strip_prefix("tdr.")?.strip_suffix(".projection")
}

/// Every condition that a path has, each once.
fn conditions(cells: &[&Cell]) -> Vec<String> {
    let ids = cells.iter().flat_map(|cell| cell.summaries.keys());
    let mut names: Vec<String> = ids
        .filter(|id| axis_of(id).is_some())
        .filter_map(|id| id.slot.clone())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn colour_of(condition: &str, conditions: &[String]) -> &'static str {
    let place = conditions.iter().position(|name| name == condition);
    COLOURS[place.unwrap_or(0) % COLOURS.len()]
}

/// Points of a condition by depth.
type Path = (String, Vec<(f64, f64)>);

fn paths(cell: &Cell, axis: &str) -> Vec<Path> {
    /// With the depth of each point.
    type Unsorted = (String, Vec<(u32, f64, f64)>);
    let mut paths: Vec<Unsorted> = vec![];
    for (id, s) in of(cell, &format!("tdr.{axis}.projection")) {
        let choice = MetricId {
            name: format!("tdr.{CHOICE}.projection"),
            ..id.clone()
        };
        let across = cell.summaries.get(&choice);
        let mean = |s: &crate::aggregate::Summary| s.estimate.as_ref().map(|e| e.mean);
        let (Some(condition), Some(depth), Some(x), Some(y)) =
            (&id.slot, id.layer, across.and_then(mean), mean(s))
        else {
            continue;
        };
        match paths.iter_mut().find(|(name, _)| name == condition) {
            Some((_, points)) => points.push((depth, x, y)),
            None => paths.push((condition.clone(), vec![(depth, x, y)])),
        }
    }
    paths
        .into_iter()
        .map(|(name, mut points)| {
            points.sort_by_key(|p| p.0);
            (name, points.into_iter().map(|p| (p.1, p.2)).collect())
        })
        .collect()
}

fn panel(svg: &mut Svg, frame: Frame, cell: &Cell, axis: &str, conditions: &[String]) {
    const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);
    let paths = paths(cell, axis);
    let all = || paths.iter().flat_map(|p| &p.1);
    let x = Scale::linear(round_domain(all().map(|p| p.0), ANY), frame.across());
    let y = Scale::linear(round_domain(all().map(|p| p.1), ANY), frame.upwards());
    frame.y_axis(svg, &y, axis);
    let ticks: Vec<_> = x
        .ticks(4)
        .into_iter()
        .map(|(v, text)| (x.at(v), text))
        .collect();
    frame.x_axis(svg, &ticks, CHOICE);
    let zero = x.at(0.0);
    svg.line(
        (zero, frame.top),
        (zero, frame.bottom),
        Stroke::new(AXIS, 0.8),
    );
    for (name, path) in &paths {
        let colour = colour_of(name, conditions);
        let places: Vec<_> = path.iter().map(|(a, b)| (x.at(*a), y.at(*b))).collect();
        svg.polyline(&places, Stroke::new(colour, 1.8).opacity(0.85));
        for (depth, (place, value)) in places.iter().zip(path).enumerate() {
            let fill = if depth == 0 { "#ffffff" } else { colour };
            let tip = format!(
                "{name}, depth {depth}: {}, {}",
                number(value.0),
                number(value.1)
            );
            let radius = if depth + 1 == places.len() { 4.0 } else { 2.6 };
            svg.circle(*place, radius, fill, Stroke::new(colour, 1.0), &tip);
        }
    }
}

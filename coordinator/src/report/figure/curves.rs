//! Learning curves: the mean over seeds with its band, each seed as a thin line,
//! the floors as dashed lines.

use super::Figure;
use super::band;
use super::domain::{CUT, cuts, domain};
use super::frame::Frame;
use super::labels::{self, Label};
use super::scale::Scale;
use super::style::{FLOOR, Styles};
use super::svg::{Stroke, Svg};
use crate::aggregate::{self, Analysis, Band, Curve, MetricId};
use crate::report::format::{number, sentence, words};
use crate::report::tables::n_words;
use crate::results::Point;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 208.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;

/// The curves of one metric at the chosen values, one panel for each block;
/// `None` if nothing was measured at two steps.
pub(in super::super) fn learning_curves(
    a: &Analysis,
    styles: &Styles,
    split: &str,
    metric: &str,
) -> Option<Figure> {
    let id = MetricId::whole(split, metric);
    let curves: Vec<&Curve> = a
        .curves
        .iter()
        .filter(|c| c.chosen && c.metric == id && c.points.len() > 1)
        .collect();
    let blocks: Vec<&Point> = a
        .blocks()
        .into_iter()
        .filter(|b| curves.iter().any(|c| &c.block == *b))
        .collect();
    if blocks.is_empty() {
        return None;
    }
    let bands: Vec<Band> = curves.iter().map(|c| band_of(c)).collect();
    let name = format!("{} ({split})", words(metric));
    let mut svg = Svg::new(WIDTH, blocks.len() as f64 * PANEL);
    let mut cut = false;
    for (i, block) in blocks.iter().enumerate() {
        let frame = Frame {
            left: LEFT,
            top: i as f64 * PANEL + TOP,
            right: WIDTH - RIGHT,
            bottom: (i + 1) as f64 * PANEL - BOTTOM,
        };
        let here: Vec<&Curve> = curves
            .iter()
            .copied()
            .filter(|c| &c.block == *block)
            .collect();
        frame.title(&mut svg, &a.block_label(block));
        cut |= panel(&mut svg, frame, a, styles, &here, &name);
    }
    let seeds = curves
        .iter()
        .flat_map(|c| c.points.iter().map(|p| p.estimate.n));
    let counted = |c: &&Curve| c.points.iter().map(|p| p.estimate.n).collect();
    Some(Figure {
        title: format!("{} on {split} while learning", sentence(&words(metric))),
        svg: svg.finish(&format!("Learning curves of {name} by arm")),
        caption: format!(
            "Thick line: mean over {} seeds; {}; thin lines: each seed.{}{}{}",
            n_words(seeds),
            band::words(bands.iter().zip(curves.iter().map(counted))),
            if a.floors
                .iter()
                .any(|f| f.split == split && f.metric == metric)
            {
                " Dashed: what shortcuts score on the same trials."
            } else {
                ""
            },
            if cut { CUT } else { "" },
            at_chosen(a)
        ),
    })
}

/// " Each arm at its chosen learning rate." where something is chosen.
pub(super) fn at_chosen(a: &Analysis) -> String {
    a.compare.select.as_ref().map_or_else(String::new, |s| {
        format!(" Each arm at its chosen {}.", words(&s.axis))
    })
}

/// The band about the means of a curve.
fn band_of(curve: &Curve) -> Band {
    let points = curve.points.iter();
    let values = points.map(|p| (&*p.values, Some(&p.estimate)));
    aggregate::band(values, &format!("{} {:?}", curve.arm, curve.metric))
}

/// Draws the curves of a block; whether a band is cut at the panel's edge.
fn panel(
    svg: &mut Svg,
    frame: Frame,
    a: &Analysis,
    styles: &Styles,
    curves: &[&Curve],
    name: &str,
) -> bool {
    let Some(first) = curves.first() else {
        return false;
    };
    let floors: Vec<(f64, String)> = a
        .floors
        .iter()
        .filter(|f| {
            f.block == first.block && f.split == first.metric.split && f.metric == first.metric.name
        })
        .map(|f| (f.range.1, f.words()))
        .collect();
    let points = || curves.iter().flat_map(|c| &c.points);
    let values = points()
        .flat_map(|p| p.values.iter().map(|v| v.1))
        .chain(floors.iter().map(|f| f.0));
    let bands: Vec<Band> = curves.iter().map(|c| band_of(c)).collect();
    let ends = || bands.iter().flat_map(|b| &b.ends).copied().flatten();
    let domain = domain(values, ends(), bounds(&first.metric.name));
    let y = Scale::linear(domain, frame.upwards());
    let last = points().map(|p| p.step).max().unwrap_or(1);
    let x = Scale::linear((0.0, last as f64), frame.across());

    frame.y_axis(svg, &y, name);
    let ticks: Vec<_> = x
        .ticks(6)
        .into_iter()
        .map(|(v, text)| (x.at(v), text))
        .collect();
    frame.x_axis(svg, &ticks, "optimizer steps");
    for (floor, _) in &floors {
        frame.floor(svg, y.at(*floor));
    }

    let place = |step: u64, value: f64| (x.at(step as f64), y.at(value));
    for (curve, around) in curves.iter().zip(&bands) {
        let colour = styles.of(&curve.arm).colour;
        let edge = |pick: fn((f64, f64)) -> f64| {
            let both = curve.points.iter().zip(&around.ends);
            both.map(move |(p, ends)| {
                let (x, y) = place(p.step, ends.map_or(p.estimate.mean, pick));
                // What is beyond the panel ends at its edge.
                (x, y.clamp(frame.top, frame.bottom))
            })
        };
        let mut band: Vec<_> = edge(|i| i.1).collect();
        band.extend(edge(|i| i.0).collect::<Vec<_>>().into_iter().rev());
        svg.area(&band, colour, 0.14);
    }
    for curve in curves {
        let colour = styles.of(&curve.arm).colour;
        for seed in &a.seeds {
            let line: Vec<_> = curve
                .points
                .iter()
                .filter_map(|p| Some((p.step, p.values.iter().find(|v| v.0 == *seed)?.1)))
                .map(|(step, value)| place(step, value))
                .collect();
            if line.len() > 1 {
                svg.polyline(&line, Stroke::new(colour, 1.0).opacity(0.35));
            }
        }
    }
    let mut marks = Vec::new();
    for curve in curves {
        let style = styles.of(&curve.arm);
        let mean = |p: &crate::aggregate::CurvePoint| place(p.step, p.estimate.mean);
        let line: Vec<_> = curve.points.iter().map(mean).collect();
        svg.polyline(&line, Stroke::new(style.colour, 2.4));
        // Markers at a few steps only: they tell arms apart in print.
        let every = curve.points.len().div_ceil(8);
        for p in curve.points.iter().rev().step_by(every) {
            let tip = format!(
                "{}, step {}: {}",
                curve.arm,
                p.step,
                number(p.estimate.mean)
            );
            style.dot(svg, mean(p), 3.6, &tip);
        }
        if let Some(end) = line.last() {
            marks.push(Label {
                y: end.1,
                text: curve.arm.clone(),
                colour: style.colour.to_owned(),
                bold: true,
            });
        }
    }
    marks.extend(floor_labels(&floors, &y));
    labels::draw(svg, frame.right, (frame.top, frame.bottom), marks);
    cuts(domain, ends())
}

/// One label for floors whose lines lie upon each other.
pub(super) fn floor_labels(floors: &[(f64, String)], y: &Scale) -> Vec<Label> {
    let mut sorted = floors.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    let mut clusters: Vec<(f64, Vec<String>)> = Vec::new();
    for (value, name) in sorted {
        match clusters.last_mut() {
            Some((first, names)) if (y.at(*first) - y.at(value)).abs() < 6.0 => names.push(name),
            _ => clusters.push((value, vec![name])),
        }
    }
    clusters
        .into_iter()
        .map(|(value, names)| Label {
            y: y.at(value),
            text: format!("floor: {}", joined(&names)),
            colour: FLOOR.to_owned(),
            bold: false,
        })
        .collect()
}

/// As many names as fit beside a panel, and how many more there are.
fn joined(names: &[String]) -> String {
    const ROOM: usize = 20;
    let fit = |shown: &usize| names[..*shown].join(", ").chars().count() <= ROOM;
    let shown = (1..=names.len()).rev().find(fit).unwrap_or(1);
    let text = names[..shown].join(", ");
    match names.len() - shown {
        0 => text,
        more => format!("{text}, {more} more"),
    }
}

/// What values of a metric can't be beyond.
pub(super) fn bounds(metric: &str) -> (f64, f64) {
    if metric.ends_with("accuracy") || metric.ends_with("mass") {
        (0.0, 1.0)
    } else if metric.ends_with("nll") || metric.ends_with("loss") {
        (0.0, f64::INFINITY)
    } else {
        (f64::NEG_INFINITY, f64::INFINITY)
    }
}

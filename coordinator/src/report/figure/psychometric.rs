//! The psychometric curves as in Mante et al. 2013: P(right) by relevant and by
//! irrelevant evidence, under each cue, with every seed and the mean.

use super::Figure;
use super::curves::at_chosen;
use super::frame::{Frame, aside};
use super::labels::{self, Label};
use super::scale::Scale;
use super::style::{GRID, Styles};
use super::svg::{Stroke, Svg};
use crate::aggregate::Analysis;
use crate::aggregate::behaviour::{Psychometric, PsychometricPoint, psychometric_curves};
use crate::report::format::number;
use crate::report::tables::{methods_words, n_words};
use crate::results::Point;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 140.0;
/// Between panels of a row: holds the axis of the right one.
const GAP: f64 = 66.0;
const PANEL: f64 = 240.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;
/// Above each block.
const HEAD: f64 = 30.0;

/// For each block a row of panels for relevant evidence and one for irrelevant
/// evidence, a column for each cue; `None` where nothing was measured.
pub(in super::super) fn psychometric(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let split = &a.headline_split;
    let curves = psychometric_curves(a, split);
    let blocks: Vec<&Point> = a
        .blocks()
        .into_iter()
        .filter(|b| curves.iter().any(|c| &c.block == *b))
        .collect();
    let seeds = curves
        .iter()
        .flat_map(|c| c.points.iter().map(|p| p.estimate.n));
    seeds.clone().next()?;
    let block_height = HEAD + 2.0 * PANEL;
    let mut svg = Svg::new(WIDTH, blocks.len() as f64 * block_height);
    for (i, block) in blocks.iter().enumerate() {
        let top = i as f64 * block_height;
        let title = Frame {
            left: LEFT,
            top: top + HEAD,
            right: WIDTH,
            bottom: top + HEAD,
        };
        title.title(&mut svg, &a.block_label(block));
        let here: Vec<&Psychometric> = curves.iter().filter(|c| &c.block == *block).collect();
        let mut cues: Vec<&str> = Vec::new();
        for c in &here {
            if !cues.contains(&c.cue.as_str()) {
                cues.push(&c.cue);
            }
        }
        let columns = cues.len() as f64;
        let width = (WIDTH - LEFT - RIGHT - (columns - 1.0) * GAP) / columns;
        for (row, (dimension, words)) in [("rel", "relevant"), ("irr", "irrelevant")]
            .into_iter()
            .enumerate()
        {
            for (column, cue) in cues.iter().enumerate() {
                let left = LEFT + column as f64 * (width + GAP);
                let above = top + HEAD + row as f64 * PANEL;
                let frame = Frame {
                    left,
                    top: above + TOP,
                    right: left + width,
                    bottom: above + PANEL - BOTTOM,
                };
                let panel: Vec<&Psychometric> = here
                    .iter()
                    .copied()
                    .filter(|c| c.cue == *cue && c.dimension == dimension)
                    .collect();
                frame.title(&mut svg, &format!("cue {cue}: {words} evidence"));
                let last = column + 1 == cues.len();
                draw(&mut svg, frame, styles, &panel, words, last);
            }
        }
    }
    Some(Figure {
        title: format!("Psychometric curves on {split}"),
        svg: svg.finish("Psychometric curves by cue and evidence"),
        caption: format!(
            "Mean soft choice σ(Δ) of right by the difference right − left in the dimension that \
             the cue names (relevant) and in the other one (irrelevant), in bins, on the scale of \
             the fit. Thick line: mean over {} seeds; bars: 95 % interval ({}); thin lines: each \
             seed. A network that follows the cue is steep above and flat below; one that is \
             blind to it has the same slope in both.{}",
            n_words(seeds.clone()),
            methods_words(seeds),
            at_chosen(a)
        ),
    })
}

/// Where a difference stands: sign(x)·ln(1 + |x|).
fn place(x: f64) -> f64 {
    x.signum() * x.abs().ln_1p()
}

fn middle(p: &PsychometricPoint) -> f64 {
    (place(p.range.0) + place(p.range.1)) / 2.0
}

/// Round differences that fit on an axis up to `most`.
fn ticks(most: f64) -> Vec<f64> {
    let round = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
    let shown: Vec<f64> = round.into_iter().filter(|t| *t <= most).collect();
    // Every second one, the largest among them: else they touch.
    let right: Vec<f64> = shown.into_iter().rev().step_by(2).collect();
    let left = right.iter().map(|t| -t);
    left.chain([0.0])
        .chain(right.iter().rev().copied())
        .collect()
}

fn draw(
    svg: &mut Svg,
    frame: Frame,
    styles: &Styles,
    curves: &[&Psychometric],
    words: &str,
    named: bool,
) {
    let points = || curves.iter().flat_map(|c| &c.points);
    let most = points()
        .map(|p| p.range.0.abs().max(p.range.1.abs()))
        .fold(1.0, f64::max);
    let x = Scale::linear((-place(most), place(most)), frame.across());
    let y = Scale::linear((0.0, 1.0), frame.upwards());
    frame.y_axis(svg, &y, "P(right)");
    let marks: Vec<_> = ticks(most)
        .into_iter()
        .map(|t| (x.at(place(t)), t.to_string().replace('-', "−")))
        .collect();
    frame.x_axis(svg, &marks, &format!("{words} difference, right − left"));
    let zero = x.at(0.0);
    svg.line(
        (zero, frame.top),
        (zero, frame.bottom),
        Stroke::new(GRID, 1.0),
    );
    for c in curves {
        let colour = styles.of(&c.arm).colour;
        let mut seeds: Vec<u64> = c
            .points
            .iter()
            .flat_map(|p| p.values.iter().map(|v| v.0))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        for seed in seeds {
            let line: Vec<_> = c
                .points
                .iter()
                .filter_map(|p| Some((p, p.values.iter().find(|v| v.0 == seed)?.1)))
                .map(|(p, value)| (x.at(middle(p)), y.at(value)))
                .collect();
            svg.polyline(&line, Stroke::new(colour, 1.0).opacity(0.35));
        }
    }
    let mut ends = Vec::new();
    for (k, c) in curves.iter().enumerate() {
        let style = styles.of(&c.arm);
        let aside = aside(k, curves.len(), 8.0);
        let line: Vec<_> = c
            .points
            .iter()
            .map(|p| (x.at(middle(p)) + aside, y.at(p.estimate.mean)))
            .collect();
        svg.polyline(&line, Stroke::new(style.colour, 2.4));
        for (p, at) in c.points.iter().zip(&line) {
            if let Some((low, high)) = p.estimate.interval {
                let stroke = Stroke::new(style.colour, 1.6);
                svg.line((at.0, y.at(low)), (at.0, y.at(high)), stroke);
            }
            let tip = format!("{}, {}: {}", c.arm, p.bin, number(p.estimate.mean));
            style.dot(svg, *at, 3.8, &tip);
        }
        if let Some(end) = line.last() {
            ends.push(Label {
                y: end.1,
                text: c.arm.clone(),
                colour: style.colour.to_owned(),
                bold: true,
            });
        }
    }
    if named {
        labels::draw(svg, frame.right, (frame.top, frame.bottom), ends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_symmetric() {
        assert_eq!(ticks(50.0), [-50.0, -10.0, -2.0, 0.0, 2.0, 10.0, 50.0]);
        assert_eq!(ticks(9.0), [-5.0, -1.0, 0.0, 1.0, 5.0]);
    }
}

//! Accuracy on every split: each seed as a dot, the mean with its interval, the
//! floors of the very trials as dashes.

use super::Figure;
use super::curves::{at_chosen, bounds};
use super::frame::Frame;
use super::labels::{self, Label};
use super::scale::{Scale, round_domain};
use super::style::{FLOOR, GRID, MUTED, Styles};
use super::svg::{Anchor, Font, Stroke, Svg};
use crate::aggregate::{Analysis, Cell, Summary};
use crate::report::format::{number, sentence, words};
use crate::report::tables::{methods_words, n_words};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 310.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 140.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;

/// One panel for each block; `None` below two splits besides that of the
/// selection: those two stand in other figures.
pub(in super::super) fn splits(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let splits = a.splits();
    if splits.len() < 3 {
        return None;
    }
    let blocks = a.blocks();
    let mut svg = Svg::new(WIDTH, blocks.len() as f64 * PANEL);
    let mut seeds = Vec::new();
    let domain = domain(a, &splits);
    for (i, block) in blocks.iter().enumerate() {
        let frame = Frame {
            left: LEFT,
            top: i as f64 * PANEL + TOP,
            right: WIDTH - RIGHT,
            bottom: (i + 1) as f64 * PANEL - BOTTOM,
        };
        let metric = a.measure_of(block);
        frame.title(&mut svg, &a.block_label(block));
        let cells: Vec<&Cell> = a.chosen().filter(|c| &c.block == *block).collect();
        let shown: Vec<(usize, &Cell, &Summary)> = cells
            .iter()
            .flat_map(|cell| {
                let of = |(at, split): (usize, &String)| {
                    let summary = cell.summary(split, metric)?;
                    Some((at, *cell, summary))
                };
                splits.iter().enumerate().filter_map(of).collect::<Vec<_>>()
            })
            .collect();
        seeds.extend(shown.iter().map(|s| s.2.values.len()));
        let floors: Vec<(usize, f64)> = splits
            .iter()
            .enumerate()
            .flat_map(|(at, split)| {
                a.floors_of(block, split, metric)
                    .map(move |f| (at, f.range.1))
            })
            .collect();
        let y = Scale::linear(domain, frame.upwards());
        frame.y_axis(&mut svg, &y, &words(metric));
        frame.x_axis(&mut svg, &[], "");
        let room = (frame.right - frame.left) / splits.len() as f64;
        let centre = |at: usize| frame.left + (at as f64 + 0.5) * room;
        for (at, split) in splits.iter().enumerate() {
            name(&mut svg, (centre(at), frame.bottom + 18.0), split);
            if at > 0 {
                let x = frame.left + at as f64 * room;
                let stroke = Stroke::new(GRID, 1.0);
                svg.line((x, frame.top), (x, frame.bottom), stroke);
            }
        }
        for (at, floor) in &floors {
            let (from, to) = (centre(*at) - 0.42 * room, centre(*at) + 0.42 * room);
            let height = y.at(*floor);
            let stroke = Stroke::new(FLOOR, 1.2).dash("5 4");
            svg.line((from, height), (to, height), stroke);
        }
        let step = (0.72 * room / cells.len().max(1) as f64).min(30.0);
        let mut ends = Vec::new();
        for (at, cell, summary) in &shown {
            let k = cells.iter().position(|c| std::ptr::eq(*c, *cell));
            let aside = (k.unwrap_or(0) as f64 - (cells.len() - 1) as f64 / 2.0) * step;
            let x = centre(*at) + aside;
            let style = styles.of(&cell.arm);
            for (seed, value) in &summary.values {
                let at = (x - 0.22 * step, y.at(*value));
                let tip = format!("{}, seed {seed}: {}", cell.arm, number(*value));
                let edge = Stroke::new("#ffffff", 0.6);
                svg.circle(at, 2.4, style.colour, edge, &tip);
            }
            let Some(e) = &summary.estimate else { continue };
            let x = x + 0.16 * step;
            if let Some((low, high)) = e.interval {
                let stroke = Stroke::new(style.colour, 2.0);
                svg.line((x, y.at(low)), (x, y.at(high)), stroke);
            }
            let tip = format!("{}: mean {}", cell.arm, number(e.mean));
            style.dot(&mut svg, (x, y.at(e.mean)), 4.4, &tip);
            if *at + 1 == splits.len() {
                ends.push(Label {
                    y: y.at(e.mean),
                    text: cell.arm.clone(),
                    colour: style.colour.to_owned(),
                    bold: true,
                });
            }
        }
        labels::draw(&mut svg, frame.right, (frame.top, frame.bottom), ends);
    }
    seeds.first()?;
    Some(Figure {
        title: format!("{} by split", sentence(&words(&a.primary))),
        svg: svg.finish("Accuracy by split and arm"),
        caption: format!(
            "Small dots: each seed; large: mean over {} seeds with its 95 % interval ({}). \
             Dashed: what shortcuts score on the trials of the split.{}{}",
            n_words(seeds.iter().copied()),
            methods_words(seeds.iter().copied()),
            if blocks.iter().any(|b| a.measure_of(b) != a.primary) {
                " Plain accuracy where a task has no incongruent trials."
            } else {
                ""
            },
            at_chosen(a)
        ),
    })
}

/// One scale for all panels, so that they compare.
fn domain(a: &Analysis, splits: &[String]) -> (f64, f64) {
    let mut values = Vec::new();
    for cell in a.chosen() {
        let metric = a.measure_of(&cell.block);
        for split in splits {
            let summary = cell.summary(split, metric);
            values.extend(
                summary
                    .into_iter()
                    .flat_map(|s| s.values.iter().map(|v| v.1)),
            );
            values.extend(a.floors_of(&cell.block, split, metric).map(|f| f.range.1));
        }
    }
    round_domain(values, bounds(&a.primary))
}

/// "test_range_near" as "test" over "range near".
fn name(svg: &mut Svg, at: (f64, f64), split: &str) {
    let font = Font::new(12.0, MUTED);
    match split.split_once('_') {
        Some((first, rest)) => {
            svg.text(at, Anchor::Middle, font, first);
            let below = (at.0, at.1 + 15.0);
            svg.text(below, Anchor::Middle, font, &rest.replace('_', " "));
        }
        None => svg.text(at, Anchor::Middle, font, split),
    }
}

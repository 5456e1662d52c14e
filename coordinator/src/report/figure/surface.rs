//! The criterion of the selection over the whole grid of the selected axis.

use super::Figure;
use super::curves::bounds;
use super::frame::Frame;
use super::labels::{self, Label};
use super::scale::{Scale, round_domain};
use super::style::{INK, Styles};
use super::svg::{Stroke, Svg};
use crate::aggregate::stats::Estimate;
use crate::aggregate::{Analysis, Cell};
use crate::report::format::{number, sentence, words};
use crate::report::tables::{methods_words, n_words};
use crate::results::Point;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 270.0;

/// One panel for each block; `None` unless a grid of numbers has several values.
pub(in super::super) fn surface(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let axis = &a.compare.select.as_ref()?.axis;
    let cells: Vec<(&Cell, f64, &Estimate)> = a
        .cells
        .iter()
        .filter_map(|c| {
            let value = c.value.as_ref()?.as_f64().filter(|v| *v > 0.0)?;
            Some((c, value, c.estimate(&a.selection_split, &a.primary)?))
        })
        .collect();
    let mut grid: Vec<f64> = cells.iter().map(|c| c.1).collect();
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let (low, high) = (*grid.first()?, *grid.last()?);
    if grid.len() < 2 {
        return None;
    }
    let blocks: Vec<&Point> = a
        .blocks()
        .into_iter()
        .filter(|b| cells.iter().any(|c| &c.0.block == *b))
        .collect();
    let name = format!("{} ({})", words(&a.primary), a.selection_split);
    let mut svg = Svg::new(WIDTH, blocks.len() as f64 * PANEL);
    for (i, block) in blocks.iter().enumerate() {
        let frame = Frame {
            left: 64.0,
            top: i as f64 * PANEL + 34.0,
            right: WIDTH - 208.0,
            bottom: (i + 1) as f64 * PANEL - 52.0,
        };
        frame.title(&mut svg, &a.block_label(block));
        let here = || cells.iter().filter(|c| &c.0.block == *block);
        let ends = here().flat_map(|(_, _, e)| {
            let (low, high) = e.interval.unwrap_or((e.mean, e.mean));
            [low, high]
        });
        let y = Scale::linear(round_domain(ends, bounds(&a.primary)), frame.upwards());
        // Half a grid step of room at both ends.
        let room = (high / low).powf(0.5 / (grid.len() - 1) as f64);
        let x = Scale::log((low / room, high * room), frame.across());
        frame.y_axis(&mut svg, &y, &name);
        let ticks: Vec<_> = grid.iter().map(|v| (x.at(*v), v.to_string())).collect();
        frame.x_axis(&mut svg, &ticks, &words(axis));
        let mut marks = Vec::new();
        for (k, arm) in a.arms.iter().enumerate() {
            let style = styles.of(arm);
            // Arms stand beside each other so that intervals don't lie upon
            // each other.
            let aside = (k as f64 - (a.arms.len() - 1) as f64 / 2.0) * 7.0;
            let mut line: Vec<(f64, &Cell, &Estimate)> = here()
                .filter(|c| c.0.arm == *arm)
                .map(|(cell, value, e)| (x.at(*value) + aside, *cell, *e))
                .collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0));
            let means: Vec<_> = line.iter().map(|(x, _, e)| (*x, y.at(e.mean))).collect();
            svg.polyline(&means, Stroke::new(style.colour, 1.6).opacity(0.6));
            for (x, cell, e) in &line {
                if let Some((low, high)) = e.interval {
                    let stroke = Stroke::new(style.colour, 2.0);
                    svg.line((*x, y.at(low)), (*x, y.at(high)), stroke);
                }
                let at = (*x, y.at(e.mean));
                let tip = format!("{arm}, {}: {}", cell.value_label(), number(e.mean));
                style.dot(&mut svg, at, 4.6, &tip);
                if cell.chosen {
                    svg.circle(at, 9.0, "none", Stroke::new(INK, 1.4), "chosen");
                }
            }
            if let Some(end) = means.last() {
                marks.push(Label {
                    y: end.1,
                    text: arm.clone(),
                    colour: style.colour.to_owned(),
                    bold: true,
                });
            }
        }
        labels::draw(&mut svg, frame.right, (frame.top, frame.bottom), marks);
    }
    let seeds = cells.iter().map(|c| c.2.n);
    Some(Figure {
        title: format!(
            "{} on {} over the whole grid",
            sentence(&words(&a.primary)),
            a.selection_split
        ),
        svg: svg.finish(&format!("{name} by {axis} and arm")),
        caption: format!(
            "Mean over {} seeds at the final step with its 95 % interval ({}). \
             Ringed: the chosen value.",
            n_words(seeds.clone()),
            methods_words(seeds)
        ),
    })
}

//! Sample efficiency: accuracy by size of the training set.

use super::Figure;
use super::curves::{at_chosen, bounds, floor_labels};
use super::frame::{Frame, aside};
use super::labels::{self, Label};
use super::scale::{Scale, round_domain};
use super::style::Styles;
use super::svg::{Stroke, Svg};
use crate::aggregate::behaviour::{Efficiency, TRAIN_SET, TrainSet, efficiency};
use crate::aggregate::{Analysis, Floor};
use crate::report::format::{number, sentence, words};
use crate::report::tables::{methods_words, n_words};
use crate::results::Point;

const WIDTH: f64 = 900.0;
const PANEL: f64 = 300.0;

/// One panel for each block; `None` unless the size of the training set varies.
pub(in super::super) fn sample_efficiency(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let all = efficiency(a);
    let mut blocks: Vec<&Point> = Vec::new();
    for e in &all {
        if !blocks.contains(&&e.block) {
            blocks.push(&e.block);
        }
    }
    let mut svg = Svg::new(WIDTH, blocks.len() as f64 * PANEL);
    let mut seeds = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let frame = Frame {
            left: 64.0,
            top: i as f64 * PANEL + 34.0,
            right: WIDTH - 208.0,
            bottom: (i + 1) as f64 * PANEL - 52.0,
        };
        let title: Vec<String> = a
            .block_axes
            .iter()
            .filter(|axis| axis.as_str() != TRAIN_SET && block.contains_key(*axis))
            .map(|axis| format!("{axis} {}", a.axis_label(block, axis)))
            .collect();
        frame.title(&mut svg, &title.join(", "));
        let here: Vec<&Efficiency<'_>> = all.iter().filter(|e| &e.block == *block).collect();
        panel(&mut svg, frame, a, styles, &here);
        seeds.extend(
            here.iter()
                .flat_map(|e| e.curve(a))
                .map(|(_, s)| s.values.len()),
        );
    }
    seeds.first()?;
    let metric = words(&a.primary);
    Some(Figure {
        title: format!(
            "{} on {} by trials in the training set",
            sentence(&metric),
            a.headline_split
        ),
        svg: svg.finish("Sample efficiency by arm"),
        caption: format!(
            "Line: mean over {} seeds with its 95 % interval ({}); small dots: each seed; dashed: \
             floors. Online: fresh trials in every batch. All sizes are trained for the steps that \
             the sweep says.{}",
            n_words(seeds.iter().copied()),
            methods_words(seeds.iter().copied()),
            at_chosen(a)
        ),
    })
}

fn panel(svg: &mut Svg, frame: Frame, a: &Analysis, styles: &Styles, here: &[&Efficiency<'_>]) {
    let Some(cell) = here.first().and_then(|e| e.sizes.first()).map(|s| s.1) else {
        return;
    };
    let metric = a.measure_of(&cell.block);
    let floors: Vec<&Floor> = a
        .floors_of(&cell.block, &a.headline_split, metric)
        .collect();
    let mut sizes: Vec<TrainSet> = here
        .iter()
        .flat_map(|e| e.sizes.iter().map(|s| s.0))
        .collect();
    sizes.sort_by(|x, y| x.partial_cmp(y).unwrap_or(std::cmp::Ordering::Equal));
    sizes.dedup();
    let numbers: Vec<f64> = sizes
        .iter()
        .filter_map(|s| match s {
            TrainSet::Trials(n) => Some(*n),
            TrainSet::Online => None,
        })
        .collect();
    let (Some(&low), Some(&high)) = (numbers.first(), numbers.last()) else {
        return;
    };
    // Online stands one step of the grid beyond the largest set.
    let step = if numbers.len() > 1 {
        (high / low).powf(1.0 / (numbers.len() - 1) as f64)
    } else {
        10.0
    };
    let beyond = if sizes.len() > numbers.len() {
        step
    } else {
        1.0
    };
    let room = step.powf(0.3);
    let x = Scale::log((low / room, high * beyond * room), frame.across());
    let at = |size: TrainSet| match size {
        TrainSet::Trials(n) => x.at(n),
        TrainSet::Online => x.at(high * step),
    };
    let curves: Vec<_> = here.iter().map(|e| (e, e.curve(a))).collect();
    let values = curves
        .iter()
        .flat_map(|(_, c)| c.iter().flat_map(|(_, s)| s.values.iter().map(|v| v.1)))
        .chain(floors.iter().map(|f| f.range.1));
    let y = Scale::linear(round_domain(values, bounds(metric)), frame.upwards());
    let name = format!("{} ({})", words(metric), a.headline_split);
    frame.y_axis(svg, &y, &name);
    let ticks: Vec<_> = sizes.iter().map(|s| (at(*s), s.to_string())).collect();
    frame.x_axis(svg, &ticks, "trials in the training set");
    for floor in &floors {
        frame.floor(svg, y.at(floor.range.1));
    }
    let mut marks = Vec::new();
    for (k, (e, curve)) in curves.iter().enumerate() {
        let style = styles.of(&e.arm);
        let aside = aside(k, curves.len(), 30.0);
        let mean = |(size, s): &(TrainSet, &crate::aggregate::Summary)| {
            let e = s.estimate.as_ref()?;
            Some((at(*size) + aside, y.at(e.mean)))
        };
        let line: Vec<_> = curve.iter().filter_map(mean).collect();
        svg.polyline(&line, Stroke::new(style.colour, 2.4));
        for (size, summary) in curve {
            let x = at(*size) + aside;
            for (seed, value) in &summary.values {
                let tip = format!("{}, {size}, seed {seed}: {}", e.arm, number(*value));
                let edge = Stroke::new("#ffffff", 0.6);
                svg.circle((x, y.at(*value)), 2.2, style.colour, edge, &tip);
            }
            let Some(estimate) = &summary.estimate else {
                continue;
            };
            if let Some((low, high)) = estimate.interval {
                let stroke = Stroke::new(style.colour, 1.8);
                svg.line((x, y.at(low)), (x, y.at(high)), stroke);
            }
            let tip = format!("{}, {size}: mean {}", e.arm, number(estimate.mean));
            style.dot(svg, (x, y.at(estimate.mean)), 4.4, &tip);
        }
        if let Some(end) = line.last() {
            marks.push(Label {
                y: end.1,
                text: e.arm.clone(),
                colour: style.colour.to_owned(),
                bold: true,
            });
        }
    }
    let floors: Vec<_> = floors.iter().map(|f| (f.range.1, f.words())).collect();
    marks.extend(floor_labels(&floors, &y));
    labels::draw(svg, frame.right, (frame.top, frame.bottom), marks);
}

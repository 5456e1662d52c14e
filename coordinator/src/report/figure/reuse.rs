//! Reuse by layer: U of the fine-tuned network and of its twin from scratch, with
//! intervals, at the final step and at matched accuracy.

use super::Figure;
use super::frame::Frame;
use super::labels::{self, Label};
use super::scale::Scale;
use super::style::Styles;
use super::svg::{Stroke, Svg};
use crate::aggregate::Analysis;
use crate::aggregate::verdict::{Judgement, LayerReuse};
use crate::report::format::{number, percent, sentence};

const WIDTH: f64 = 900.0;
const PANEL: f64 = 260.0;

/// One panel for each kind of weights; `None` without a verdict, or where no layer
/// was inspected.
pub(in super::super) fn reuse(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let verdict = a.verdict.as_ref()?;
    let judged = verdict.judgements.iter().filter(|j| !j.layers.is_empty());
    let judged: Vec<&Judgement> = judged.collect();
    let depth = judged
        .iter()
        .flat_map(|j| &j.layers)
        .map(|l| l.layer + 1)
        .max()?;
    let mut svg = Svg::new(WIDTH, judged.len() as f64 * PANEL);
    for (i, judgement) in judged.iter().enumerate() {
        let frame = Frame {
            left: 64.0,
            top: i as f64 * PANEL + 34.0,
            right: WIDTH - 208.0,
            bottom: (i + 1) as f64 * PANEL - 52.0,
        };
        let seeds: Vec<String> = judgement
            .seeds
            .iter()
            .map(|(arm, seeds)| format!("{arm} n = {}", seeds.len()))
            .collect();
        let title = format!("{}: {}", sentence(judgement.when.words()), seeds.join(", "));
        frame.title(&mut svg, &title);
        panel(&mut svg, frame, &judgement.layers, depth, styles);
    }
    Some(Figure {
        title: "Reuse of pretrained computation by layer".to_owned(),
        svg: svg.finish("Reuse by layer and arm"),
        caption: format!(
            "U = 1 − clip(R/A, 0, 1) with its {} interval (joint bootstrap over seeds, 10,000 \
             resamples, each layer by itself). Open marks at the lower edge: not available, \
             because removing the layer is not shown to cost anything.",
            percent(a.confidence)
        ),
    })
}

fn panel(svg: &mut Svg, frame: Frame, layers: &[LayerReuse], depth: usize, styles: &Styles) {
    let y = Scale::linear((0.0, 1.0), frame.upwards());
    let x = Scale::linear((-0.5, depth as f64 - 0.5), frame.across());
    frame.y_axis(svg, &y, "reuse U");
    let ticks: Vec<_> = (0..depth)
        .map(|l| (x.at(l as f64), l.to_string()))
        .collect();
    frame.x_axis(svg, &ticks, "layer");
    let mut arms: Vec<&str> = Vec::new();
    for layer in layers {
        if !arms.contains(&layer.arm) {
            arms.push(layer.arm);
        }
    }
    let mut marks = Vec::new();
    for (k, arm) in arms.iter().enumerate() {
        let style = styles.of(arm);
        // Beside each other, so that intervals don't lie upon each other.
        let aside = (k as f64 - (arms.len() - 1) as f64 / 2.0) * 9.0;
        let of: Vec<&LayerReuse> = layers.iter().filter(|l| l.arm == *arm).collect();
        let place = |l: &LayerReuse, u: f64| (x.at(l.layer as f64) + aside, y.at(u));
        let line: Vec<_> = of.iter().filter_map(|l| Some(place(l, l.reuse?))).collect();
        svg.polyline(&line, Stroke::new(style.colour, 1.6).opacity(0.6));
        for l in &of {
            if let Some((low, high)) = l.interval {
                let stroke = Stroke::new(style.colour, 2.0);
                svg.line(place(l, low), place(l, high), stroke);
            }
            match l.reuse {
                Some(u) => {
                    let tip = format!("{arm}, layer {}: {}", l.layer, number(u));
                    style.dot(svg, place(l, u), 4.8, &tip);
                }
                None => {
                    let tip = format!("{arm}, layer {}: not available", l.layer);
                    svg.circle(
                        place(l, 0.0),
                        4.0,
                        "#ffffff",
                        Stroke::new(style.colour, 1.4),
                        &tip,
                    );
                }
            }
        }
        if let Some(end) = line.last() {
            marks.push(Label {
                y: end.1,
                text: (*arm).to_owned(),
                colour: style.colour.to_owned(),
                bold: true,
            });
        }
    }
    labels::draw(svg, frame.right, (frame.top, frame.bottom), marks);
}

//! Paired dots: each seed's twins joined by a line, and beside them the
//! differences with their mean and interval.

use super::Figure;
use super::curves::{at_chosen, bounds};
use super::frame::Frame;
use super::scale::{Scale, round_domain};
use super::style::{AXIS, ArmStyle, INK, MUTED, Styles};
use super::svg::{Anchor, Font, Stroke, Svg};
use crate::aggregate::stats::Estimate;
use crate::aggregate::{Analysis, Comparison};
use crate::report::format::{number, percent, sentence, signed, words};
use crate::report::tables::{methods_words, n_words};

const WIDTH: f64 = 900.0;
const PANEL_WIDTH: f64 = 450.0;
const PANEL_HEIGHT: f64 = 340.0;

/// One panel for each comparison that answers the question; `None` without any.
pub(in super::super) fn paired_dots(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let comparisons: Vec<&Comparison> = a.headline().filter(|c| !c.pairs.is_empty()).collect();
    let pairs = comparisons.iter().map(|c| c.pairs.len());
    pairs.clone().next()?;
    let floors = |c: &Comparison| -> Vec<f64> {
        let here = |f: &&crate::aggregate::Floor| {
            f.block == c.block && f.split == c.metric.split && f.metric == c.metric.name
        };
        a.floors.iter().filter(here).map(|f| f.range.1).collect()
    };
    let values = comparisons.iter().flat_map(|c| {
        let pairs = c.pairs.iter().flat_map(|p| [p.arm, p.baseline]);
        pairs.chain(floors(c))
    });
    let domain = round_domain(values, bounds(&a.primary));
    let differences = comparisons.iter().flat_map(|c| {
        let interval = c.result.as_ref().and_then(|r| r.difference.interval);
        let ends = interval.into_iter().flat_map(|(low, high)| [low, high]);
        c.pairs
            .iter()
            .map(|p| p.arm - p.baseline)
            .chain(ends)
            .chain([0.0])
    });
    let difference_domain = round_domain(differences, (f64::NEG_INFINITY, f64::INFINITY));

    let per_row = (WIDTH / PANEL_WIDTH) as usize;
    let rows = comparisons.len().div_ceil(per_row);
    let mut svg = Svg::new(WIDTH, rows as f64 * PANEL_HEIGHT);
    for (i, c) in comparisons.iter().enumerate() {
        let left = (i % per_row) as f64 * PANEL_WIDTH;
        let top = (i / per_row) as f64 * PANEL_HEIGHT;
        let twins = Frame {
            left: left + 64.0,
            top: top + 34.0,
            right: left + 270.0,
            bottom: top + PANEL_HEIGHT - 56.0,
        };
        // The axis names the arms; where blocks differ, a title says what it must.
        let block = a.block_label(&c.block);
        let title = match a.blocks().len() {
            1 => format!("{} and {}, {block}", c.arm, c.baseline),
            _ => block,
        };
        twins.title(&mut svg, &title);
        let y = Scale::linear(domain, twins.upwards());
        let name = format!("{} ({})", words(&a.primary), a.headline_split);
        twins.y_axis(&mut svg, &y, &name);
        for floor in floors(c) {
            twins.floor(&mut svg, y.at(floor));
        }
        draw_twins(&mut svg, twins, &y, a, c, styles);

        let aside = Frame {
            left: left + 340.0,
            right: left + 430.0,
            ..twins
        };
        let y = Scale::linear(difference_domain, aside.upwards());
        draw_differences(&mut svg, aside, &y, c, styles.of(&c.arm));
    }
    Some(Figure {
        title: format!(
            "{} on {}, by seed",
            sentence(&words(&a.primary)),
            a.headline_split
        ),
        svg: svg.finish("Paired dots by seed with differences"),
        caption: format!(
            "Left: each seed's twins, joined by a line; outside of them the mean over \
             all of an arm's seeds with its 95 % interval; dashed: floors. Right: the difference \
             within each seed, {} pairs, its mean and {} interval ({}).{}",
            n_words(pairs.clone()),
            percent(a.confidence),
            methods_words(pairs),
            at_chosen(a)
        ),
    })
}

fn draw_twins(
    svg: &mut Svg,
    frame: Frame,
    y: &Scale,
    a: &Analysis,
    c: &Comparison,
    styles: &Styles,
) {
    let width = frame.right - frame.left;
    let (left, right) = (frame.left + 0.3 * width, frame.left + 0.7 * width);
    frame.x_axis(
        svg,
        &[(left, c.baseline.clone()), (right, c.arm.clone())],
        "",
    );
    for p in &c.pairs {
        let ends = ((left, y.at(p.baseline)), (right, y.at(p.arm)));
        svg.line(ends.0, ends.1, Stroke::new(AXIS, 1.2).opacity(0.8));
    }
    let own = |arm: &str| -> Option<&Estimate> {
        let cell = |cell: &&crate::aggregate::Cell| {
            cell.chosen && cell.arm == arm && cell.block == c.block
        };
        a.cells
            .iter()
            .find(cell)?
            .estimate(&c.metric.split, &c.metric.name)
    };
    for (x, aside, arm) in [
        (left, frame.left + 0.1 * width, &c.baseline),
        (right, frame.left + 0.9 * width, &c.arm),
    ] {
        let style = styles.of(arm);
        for p in &c.pairs {
            let value = if *arm == c.arm { p.arm } else { p.baseline };
            let tip = format!("{arm}, seed {}: {}", p.seed, number(value));
            style.dot(svg, (x, y.at(value)), 4.6, &tip);
        }
        if let Some(e) = own(arm) {
            bar(svg, aside, y, e, style);
        }
    }
}

fn draw_differences(svg: &mut Svg, frame: Frame, y: &Scale, c: &Comparison, style: ArmStyle) {
    frame.y_axis(svg, y, "difference");
    let zero = y.at(0.0);
    svg.line(
        (frame.left, zero),
        (frame.right, zero),
        Stroke::new(INK, 1.2),
    );
    let x = frame.left + 0.35 * (frame.right - frame.left);
    for p in &c.pairs {
        let d = p.arm - p.baseline;
        let tip = format!("seed {}: {}", p.seed, signed(d));
        svg.circle((x, y.at(d)), 3.6, MUTED, Stroke::new("#ffffff", 1.0), &tip);
    }
    if let Some(r) = &c.result {
        let aside = frame.left + 0.72 * (frame.right - frame.left);
        bar(svg, aside, y, &r.difference, style);
    }
    let middle = ((frame.left + frame.right) / 2.0, frame.bottom + 18.0);
    let below = (middle.0, middle.1 + 15.0);
    let font = Font::new(12.0, MUTED);
    svg.text(middle, Anchor::Middle, font, &format!("{} −", c.arm));
    svg.text(below, Anchor::Middle, font, &c.baseline);
}

/// A mean with its interval, upright.
fn bar(svg: &mut Svg, x: f64, y: &Scale, e: &Estimate, style: ArmStyle) {
    if let Some((low, high)) = e.interval {
        let stroke = Stroke::new(style.colour, 2.4);
        svg.line((x, y.at(low)), (x, y.at(high)), stroke);
    }
    style.dot(
        svg,
        (x, y.at(e.mean)),
        5.6,
        &format!("mean {}", number(e.mean)),
    );
}

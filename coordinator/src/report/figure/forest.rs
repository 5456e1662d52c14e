//! Every paired difference in one view.

use super::Figure;
use super::curves::at_chosen;
use super::frame::Frame;
use super::scale::{Scale, round_domain};
use super::style::{INK, Styles};
use super::svg::{Anchor, Font, Stroke, Svg};
use crate::aggregate::{Analysis, Comparison};
use crate::report::format::{percent, sentence, signed, signed_with_interval, words};
use crate::report::tables::{methods_words, n_words};

const WIDTH: f64 = 900.0;
const ROW: f64 = 30.0;
/// A character of a name, about.
const CHARACTER: f64 = 6.4;

/// One row for each comparison; `None` below two: one difference is told by the
/// paired dots.
pub(in super::super) fn forest(a: &Analysis, styles: &Styles) -> Option<Figure> {
    let rows: Vec<(&Comparison, _)> = a
        .headline()
        .filter_map(|c| Some((c, &c.result.as_ref()?.difference)))
        .collect();
    if rows.len() < 2 {
        return None;
    }
    let baseline = a.baseline.as_deref()?;
    let ends = rows.iter().flat_map(|(_, e)| {
        let (low, high) = e.interval.unwrap_or((e.mean, e.mean));
        [low, high, 0.0]
    });
    let domain = round_domain(ends, (f64::NEG_INFINITY, f64::INFINITY));
    let height = 14.0 + rows.len() as f64 * ROW + 52.0;
    let name = |c: &Comparison| format!("{}, {}", c.arm, a.block_label(&c.block));
    let longest = rows.iter().map(|(c, _)| name(c).chars().count()).max();
    let frame = Frame {
        left: (longest.unwrap_or(0) as f64 * CHARACTER + 30.0).clamp(150.0, 420.0),
        top: 14.0,
        right: WIDTH - 200.0,
        bottom: height - 52.0,
    };
    let mut svg = Svg::new(WIDTH, height);
    let x = Scale::linear(domain, frame.across());
    let ticks: Vec<_> = x
        .ticks(6)
        .into_iter()
        .map(|(v, text)| (x.at(v), text))
        .collect();
    let about = format!("{}: arm − {baseline}", words(&a.primary));
    frame.x_axis(&mut svg, &ticks, &about);
    let zero = x.at(0.0);
    svg.line(
        (zero, frame.top),
        (zero, frame.bottom),
        Stroke::new(INK, 1.2),
    );
    for (i, (c, e)) in rows.iter().enumerate() {
        let y = frame.top + (i as f64 + 0.5) * ROW;
        let style = styles.of(&c.arm);
        let at = (frame.left - 16.0, y + 4.0);
        svg.text(at, Anchor::End, Font::new(12.0, INK), &name(c));
        if let Some((low, high)) = e.interval {
            let stroke = Stroke::new(style.colour, 2.4);
            svg.line((x.at(low), y), (x.at(high), y), stroke);
        }
        style.dot(&mut svg, (x.at(e.mean), y), 5.0, &signed(e.mean));
        let at = (frame.right + 14.0, y + 4.0);
        svg.text(
            at,
            Anchor::Start,
            Font::new(12.0, INK),
            &signed_with_interval(e),
        );
    }
    let pairs = rows.iter().map(|(c, _)| c.pairs.len());
    Some(Figure {
        title: format!(
            "{} on {}: every arm against {baseline}",
            sentence(&words(&a.primary)),
            a.headline_split
        ),
        svg: svg.finish("Paired differences with intervals"),
        caption: format!(
            "Mean paired difference over {} pairs with its {} interval ({}).{}",
            n_words(pairs.clone()),
            percent(a.confidence),
            methods_words(pairs),
            at_chosen(a)
        ),
    })
}

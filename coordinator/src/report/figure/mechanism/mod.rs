//! What was found inside the networks: one figure per question and file.
//!
//! All read the cells of the analysis: the chosen networks, averaged over seeds.
//! Final and matched weights have figures of their own.

mod drift;
mod heads;
mod lens;
mod pairing;
mod patching;
mod probes;
mod reuse;
mod similarity;
mod tdr;
mod transplant;

use std::collections::BTreeMap;

use seedbed_proto::job::Moment;

use super::Figure;
use super::band;
use super::domain::CUT;
use super::heat::HeatCell;
use super::profile::{Line, Panel};
use super::style::Styles;
use crate::aggregate::stats::max_t;
use crate::aggregate::{Analysis, Cell, MetricId, NoiseCeiling, Summary};
use crate::inspection::is_mechanism;
use crate::report::tables::n_words;
use crate::results::Point;

/// Width of every figure.
const WIDTH: f64 = 900.0;

/// The figures of all questions that were asked, each with a name for its file: of
/// the final weights, then of the matched ones.
pub(in super::super) fn mechanisms(a: &Analysis, styles: &Styles) -> Vec<(String, Figure)> {
    let mut figures = vec![];
    for weights in [Moment::Final, Moment::Matched] {
        let cells = inside(a, weights);
        if cells.is_empty() {
            continue;
        }
        for (mut name, mut figure) in of_weights(a, styles, &cells, weights) {
            if weights == Moment::Matched {
                name.push_str("_matched");
                figure.title.push_str(", at matched accuracy");
                figure.caption.push_str(
                    " Weights: those of each seed's first evaluation at or above .95 validation \
                     accuracy; seeds that never got there are left out.",
                );
            }
            figures.push((name, figure));
        }
    }
    figures
}

/// The chosen cells with what was found inside such weights and nothing else; those
/// without any left out.
fn inside(a: &Analysis, weights: Moment) -> Vec<Cell> {
    let of =
        |id: &MetricId| is_mechanism(&id.name) && id.weights.unwrap_or(Moment::Final) == weights;
    let inspected = |cell: &Cell| {
        let found = cell.summaries.iter().filter(|(id, _)| of(id));
        let summaries: BTreeMap<_, _> = found.map(|(id, s)| (id.clone(), s.clone())).collect();
        (!summaries.is_empty()).then(|| Cell {
            point: cell.point.clone(),
            arm: cell.arm.clone(),
            block: cell.block.clone(),
            value: cell.value.clone(),
            chosen: cell.chosen,
            at_edge: cell.at_edge,
            seeds: cell.seeds.clone(),
            summaries,
        })
    };
    let chosen = a.cells.iter().filter(|cell| cell.chosen);
    chosen.filter_map(inspected).collect()
}

/// The figures of one kind of weights, block by block.
fn of_weights(
    a: &Analysis,
    styles: &Styles,
    cells: &[Cell],
    weights: Moment,
) -> Vec<(String, Figure)> {
    let blocks = a.blocks();
    let mut figures = vec![];
    for (at, block) in blocks.iter().enumerate() {
        let scene = Scene::new(a, styles, cells, block, weights);
        let found: [(&str, Vec<Figure>); 13] = [
            ("reversion_ablation", Vec::from_iter(reuse::reuse(&scene))),
            (
                "reversion_curves",
                Vec::from_iter(reuse::cumulative(&scene)),
            ),
            ("patching", Vec::from_iter(patching::maps(&scene))),
            ("patching_heads", Vec::from_iter(heads::patched(&scene))),
            ("probes", Vec::from_iter(probes::decoded(&scene))),
            ("similarity", Vec::from_iter(similarity::similarity(&scene))),
            (
                "transplant",
                Vec::from_iter(transplant::transplants(&scene)),
            ),
            (
                "interpolation",
                Vec::from_iter(transplant::interpolation(&scene)),
            ),
            ("drift", Vec::from_iter(drift::drift(&scene))),
            ("lens", Vec::from_iter(lens::lens(&scene))),
            ("attribution", Vec::from_iter(lens::attribution(&scene))),
            ("attention", Vec::from_iter(heads::attention(&scene))),
            ("tdr", Vec::from_iter(tdr::trajectories(&scene))),
        ];
        for (question, several) in found {
            let alone = several.len() == 1;
            for (i, mut figure) in several.into_iter().enumerate() {
                let mut name = question.to_owned();
                if !alone {
                    name.push_str(&format!("_{}", i + 1));
                }
                if blocks.len() > 1 {
                    name.push_str(&format!("_block_{}", at + 1));
                    figure.title = format!("{} ({})", figure.title, a.block_label(block));
                }
                figures.push((name, figure));
            }
        }
    }
    figures
}

/// The chosen cells of one block, in the order of the arms.
struct Scene<'a> {
    styles: &'a Styles,
    cells: Vec<&'a Cell>,
    /// Of the same cells and weights.
    ceilings: Vec<&'a NoiseCeiling>,
}

impl<'a> Scene<'a> {
    fn new(
        a: &'a Analysis,
        styles: &'a Styles,
        cells: &'a [Cell],
        block: &Point,
        weights: Moment,
    ) -> Self {
        let of = |arm: &String| {
            let here = move |c: &&Cell| &c.block == block && &c.arm == arm;
            cells.iter().find(here)
        };
        let read = |c: &&NoiseCeiling| c.chosen && &c.block == block && c.weights == weights;
        Self {
            styles,
            cells: a.arms.iter().filter_map(of).collect(),
            ceilings: a.ceilings.iter().filter(read).collect(),
        }
    }

    /// The cells that know a metric whose name begins so.
    fn with(&self, prefix: &str) -> Vec<&'a Cell> {
        let knows = |cell: &&&Cell| cell.summaries.keys().any(|id| id.name.starts_with(prefix));
        self.cells.iter().filter(knows).copied().collect()
    }

    fn colour(&self, cell: &Cell) -> &'static str {
        self.styles.of(&cell.arm).colour
    }
}

/// A cell's values of a metric.
fn of<'a>(
    cell: &'a Cell,
    name: &str,
) -> impl Iterator<Item = (&'a MetricId, &'a Summary)> + use<'a> {
    let name = name.to_owned();
    cell.summaries.iter().filter(move |(id, _)| id.name == name)
}

/// A metric by layer, at a slot or without one.
fn by_layer<'a>(cell: &'a Cell, name: &str, slot: Option<&str>) -> Vec<(f64, &'a Summary)> {
    let mut points: Vec<_> = of(cell, name)
        .filter(|(id, _)| id.slot.as_deref() == slot && id.head.is_none())
        .filter_map(|(id, s)| Some((f64::from(id.layer?), s)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// A curve of an arm; none without a point.
fn line<'a>(
    scene: &Scene<'_>,
    cell: &'a Cell,
    name: String,
    dash: &'static str,
    points: Vec<(f64, &'a Summary)>,
) -> Option<Line<'a>> {
    (!points.is_empty()).then(|| Line::new(name, scene.colour(cell), points).dashed(dash))
}

/// The cells of a map, row by row. What can't be told from zero is marked so: by the
/// largest |t| under sign flips over the whole map, over the seeds that have all of it.
fn heat_cells(rows: Vec<Vec<Option<&Summary>>>, stream: &str) -> Vec<Vec<HeatCell>> {
    let known = || rows.iter().flatten().copied().flatten();
    let seeds: Vec<u64> = known().next().map_or_else(Vec::new, |first| {
        let has = |s: &Summary, seed: u64| s.values.iter().any(|v| v.0 == seed);
        let seeds = first.values.iter().map(|v| v.0);
        // Positions without any value take no part.
        seeds
            .filter(|seed| known().all(|s| s.values.is_empty() || has(s, *seed)))
            .collect()
    });
    let measured = |s: &&Summary| !s.values.is_empty();
    let replicate = |seed: &u64| -> Vec<f64> {
        let value = |s: &Summary| s.values.iter().find(|v| v.0 == *seed).map(|v| v.1);
        known().filter(measured).filter_map(value).collect()
    };
    let replicates: Vec<Vec<f64>> = seeds.iter().map(replicate).collect();
    let mut told = max_t(&replicates, stream)
        .unwrap_or_default()
        .into_iter()
        .map(|position| position.p.is_some_and(|p| p <= 0.05));
    let mut cell = |summary: &Option<&Summary>| {
        let mut cell = heat_cell(*summary);
        if summary.is_some_and(|s| measured(&s)) {
            // What was not tested is not told from zero either.
            cell.faint = !told.next().unwrap_or(false);
        }
        cell
    };
    rows.iter()
        .map(|row| row.iter().map(&mut cell).collect())
        .collect()
}

/// A cell of a map.
fn heat_cell(summary: Option<&Summary>) -> HeatCell {
    let Some(summary) = summary else {
        return HeatCell {
            tip: ": not measured".to_owned(),
            ..HeatCell::default()
        };
    };
    let Some(estimate) = &summary.estimate else {
        return HeatCell {
            tip: ": in no seed, see the notes".to_owned(),
            ..HeatCell::default()
        };
    };
    HeatCell {
        value: Some(estimate.mean),
        faint: false,
        tip: format!(", n = {}", estimate.n),
    }
}

/// The means of metrics, for the scale of colours.
fn means<'a>(cells: &'a [&'a Cell], matches: impl Fn(&MetricId) -> bool) -> Vec<f64> {
    let all = cells.iter().flat_map(|cell| &cell.summaries);
    all.filter(|(id, _)| matches(id))
        .filter_map(|(_, s)| s.estimate.as_ref().map(|e| e.mean))
        .collect()
}

/// Slots in the order in which a reader thinks of them: the cue, the relevant
/// numbers, the irrelevant ones, what else there is, the last position.
fn slots<'a>(ids: impl Iterator<Item = &'a MetricId>) -> Vec<String> {
    const FIRST: [&str; 5] = ["cue", "rel_left", "rel_right", "irr_left", "irr_right"];
    let mut slots: Vec<String> = ids.filter_map(|id| id.slot.clone()).collect();
    slots.sort_by_key(|slot| {
        let place = FIRST.iter().position(|first| first == slot);
        let place = place.unwrap_or(FIRST.len() + usize::from(slot == "last"));
        (place, slot.clone())
    });
    slots.dedup();
    slots
}

/// Layers that a metric has, ascending.
fn layers<'a>(ids: impl Iterator<Item = &'a MetricId>) -> Vec<u32> {
    let mut layers: Vec<u32> = ids.filter_map(|id| id.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// "Lines: mean over seeds (n = 8); band: simultaneous 95 % …; thin lines: each seed."
fn curve_words(panels: &[Panel<'_>]) -> String {
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let points = || lines().flat_map(|line| &line.points);
    let n = |(_, s): &(f64, &Summary)| s.estimate.as_ref().map(|e| e.n);
    let along = |line: &Line<'_>| line.points.iter().filter_map(n).collect::<Vec<_>>();
    let all: Vec<usize> = points().filter_map(n).collect();
    let banded = lines().filter_map(|line| Some((line.band.as_ref()?, along(line))));
    format!(
        "Lines: mean over seeds ({}); {}; thin lines: each seed.{}",
        n_words(all.iter().copied()),
        band::words(banded),
        if panels.iter().any(Panel::cuts) {
            CUT
        } else {
            ""
        }
    )
}

/// The same of maps.
fn map_words(cells: &[&Cell], name: &str) -> String {
    let n = replicates(cells, name);
    format!(
        "Mean over seeds ({}); crossed out: not told from zero (p > .05 by the largest |t| \
         under sign flips over each map; below six seeds nothing can be), or not tested (fewer \
         than two seeds with the whole map, or the same value in each).",
        n_words(n.into_iter())
    )
}

fn replicates(cells: &[&Cell], prefix: &str) -> Vec<usize> {
    let all = cells.iter().flat_map(|cell| &cell.summaries);
    all.filter(|(id, _)| id.name.starts_with(prefix))
        .filter_map(|(_, s)| s.estimate.as_ref().map(|e| e.n))
        .collect()
}

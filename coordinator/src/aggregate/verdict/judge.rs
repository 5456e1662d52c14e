//! The three conditions, one by one.

use std::collections::BTreeMap;

use super::evidence::{Layers, depth, layers, lost, step, value};
use super::{
    Condition, FINE_TUNED, FROM_SCRATCH, Judgement, LayerReuse, Outcome, Unused, Verdict, When,
};
use crate::aggregate::cells::{Cell, MetricId, key};
use crate::aggregate::curves::{ByCell, by_cell, done};
use crate::aggregate::measure::{less_is_better, scale};
use crate::aggregate::reuse::{late_minus_early, reuse, third};
use crate::aggregate::stats::{JointEstimate, estimate_at, joint, paired_at};
use crate::results::{Point, Run};
use crate::sweep::Compare;

/// Where and by what the verdict is judged.
pub(in crate::aggregate) struct Splits<'a> {
    /// The split of matching: "val".
    pub selection: &'a str,
    /// The split of accuracies at the final step: "test_iid".
    pub headline: &'a str,
    /// "incongruent_accuracy".
    pub primary: &'a str,
}

/// The verdict, of the first block that names a pretrained and a scratch network;
/// none where the sweep does not ask for it: no block names both, or none of those
/// that do inspected blocks or re-initialised any.
pub(in crate::aggregate) fn judge(
    runs: &[&Run],
    cells: &[Cell],
    compare: &Compare,
    splits: &Splits<'_>,
) -> Option<Verdict> {
    let runs = by_cell(runs, compare);
    let named = |block: &Point, arm: &str| {
        let here = |c: &&Cell| &c.block == block && c.arm == arm;
        cells.iter().any(|c| here(&c))
    };
    let mut blocks: Vec<&Point> = Vec::new();
    for cell in cells {
        if !blocks.contains(&&cell.block) {
            blocks.push(&cell.block);
        }
    }
    blocks.retain(|b| named(b, FINE_TUNED) && named(b, FROM_SCRATCH));
    if !blocks.iter().any(|b| asked(b, cells, &runs)) {
        return None;
    }
    // Which one it is must not hang on what came of it.
    let (block, others) = blocks.split_first()?;
    let block = *block;
    let chosen = |arm: &str| {
        let here = |c: &&Cell| c.chosen && &c.block == block && c.arm == arm;
        cells.iter().find(here).ok_or_else(|| {
            let axis = compare.select_axis();
            format!("no {axis} of {arm} was chosen: no seed has what it is chosen by")
        })
    };
    let both = chosen(FINE_TUNED).and_then(|ft| Ok((ft, chosen(FROM_SCRATCH)?)));
    let judgements = match both {
        Ok((fine_tuned, scratch)) => {
            let scene = Scene {
                runs: &runs,
                fine_tuned,
                scratch,
                cells: cells
                    .iter()
                    .filter(|c| c.chosen && &c.block == block)
                    .collect(),
                splits,
                confidence: compare.confidence(),
            };
            [When::Final, When::Matched].map(|when| scene.judgement(when))
        }
        Err(reason) => [When::Final, When::Matched].map(|when| Judgement::open(when, &reason)),
    };
    let others = others.iter().map(|b| (*b).clone()).collect();
    Some(Verdict::of(block.clone(), others, judgements))
}

/// Whether a block has what a verdict is made of: blocks that were inspected in one
/// of the two arms, or arms whose first and last blocks were re-initialised.
fn asked(block: &Point, cells: &[Cell], runs: &ByCell<'_>) -> bool {
    let mut here = cells.iter().filter(|c| &c.block == block);
    let redone = |edge: &str| {
        let name = format!("reinit_{edge}_");
        let mut here = here.clone();
        here.any(|c| c.arm.starts_with(&name))
    };
    let both = redone("first") && redone("last");
    let judged = |c: &&Cell| c.chosen && matches!(c.arm.as_str(), FINE_TUNED | FROM_SCRATCH);
    both || here.any(|c| judged(&c) && depth(runs, c) > 0)
}

struct Scene<'a> {
    runs: &'a ByCell<'a>,
    fine_tuned: &'a Cell,
    scratch: &'a Cell,
    cells: Vec<&'a Cell>,
    splits: &'a Splits<'a>,
    confidence: f64,
}

impl Scene<'_> {
    fn depth(&self) -> usize {
        depth(self.runs, self.fine_tuned).max(depth(self.runs, self.scratch))
    }

    fn judgement(&self, when: When) -> Judgement {
        let depth = self.depth();
        let thirds = move |l: usize| l < third(depth) || l + third(depth) >= depth;
        let read = |cell| layers(self.runs, cell, depth, thirds, self.splits.selection, when);
        let (mut ft, mut sc) = (read(self.fine_tuned), read(self.scratch));
        if when == When::Matched {
            // A seed of which one twin never gets there is left out of both.
            (ft, sc) = (twins(&ft, &sc), twins(&sc, &ft));
        }
        let conditions = [
            self.late_reuse(&ft, depth),
            self.more_than_scratch(&ft, &sc, depth),
            self.late_blocks_matter(when, depth),
        ];
        let mut by_layer = by_layer(FINE_TUNED, &ft, depth, self.confidence);
        by_layer.extend(self::by_layer(FROM_SCRATCH, &sc, depth, self.confidence));
        Judgement {
            when,
            outcome: Outcome::of(conditions.iter().map(|c| c.holds)),
            conditions,
            layers: by_layer,
            seeds: vec![(FINE_TUNED, ft.seeds), (FROM_SCRATCH, sc.seeds)],
        }
    }

    fn late_reuse(&self, ft: &Layers, depth: usize) -> Condition {
        let name = (
            "late_reuse",
            format!("L(U) in {FINE_TUNED}: reuse in the last third of layers − in the first"),
        );
        let n = ft.seeds.len();
        if let Err(reason) = usable(&[(FINE_TUNED, ft)], depth, self.confidence) {
            return Condition::open(name, None, n, ft.left_out.clone(), reason);
        }
        let stream = format!("L(U) {}", key(&self.fine_tuned.point));
        let [got] = joint(n, &stream, self.confidence, |seeds| {
            [late_minus_early(&reuse(&ft.reversion, &ft.ablation, seeds))]
        });
        let equal = "L(U) is 0, with or without any of the seeds";
        self.finish(name, got, n, ft.left_out.clone(), equal)
    }

    fn more_than_scratch(&self, ft: &Layers, sc: &Layers, depth: usize) -> Condition {
        let name = (
            "more_than_scratch",
            format!("L(U) in {FINE_TUNED} − L(U) in {FROM_SCRATCH}, paired by seed"),
        );
        let both: Vec<u64> = ft
            .seeds
            .iter()
            .copied()
            .filter(|s| sc.seeds.contains(s))
            .collect();
        let (ft, sc) = (ft.only(&both), sc.only(&both));
        let n = both.len();
        let left_out = merged(&ft.left_out, &sc.left_out);
        let arms = [(FINE_TUNED, &ft), (FROM_SCRATCH, &sc)];
        if let Err(reason) = usable(&arms, depth, self.confidence) {
            return Condition::open(name, None, n, left_out, reason);
        }
        let stream = format!("L(U) − L(U) {}", key(&self.fine_tuned.point));
        let [got] = joint(n, &stream, self.confidence, |seeds| {
            let of = |l: &Layers| late_minus_early(&reuse(&l.reversion, &l.ablation, seeds));
            [of(&ft) - of(&sc)]
        });
        let equal = "L(U) is equal in both, with or without any of the seeds";
        self.finish(name, got, n, left_out, equal)
    }

    fn late_blocks_matter(&self, when: When, depth: usize) -> Condition {
        let arms = self.reinitialised(depth);
        let (split, what) = match when {
            When::Final => (self.splits.headline, "at the final step".to_owned()),
            When::Matched => (
                self.splits.selection,
                format!("when the {FINE_TUNED} twin first passed .95"),
            ),
        };
        let id = MetricId::whole(split, self.splits.primary);
        // Harm is less of what is better when more, and more of what is better when
        // less.
        let less = less_is_better(&id.name);
        let claim = |first: &str, last: &str| {
            let (one, other) = if less { (last, first) } else { (first, last) };
            (
                "late_blocks_matter",
                format!(
                    "{} on {split} {what}: {one} − {other}, paired by seed",
                    id.name
                ),
            )
        };
        let (first, last) = match arms {
            Ok(arms) => arms,
            Err(reason) => {
                let name = claim("reinit_first", "reinit_last");
                return Condition::open(name, None, 0, vec![], reason);
            }
        };
        let name = claim(&first.arm, &last.arm);
        let mut left_out = merged(&lost(first), &lost(last));
        let (first, last) = (self.by_seed(first), self.by_seed(last));
        let tuned = self.by_seed(self.fine_tuned);
        let mut differences = Vec::new();
        for (seed, run) in &first {
            let Some(other) = last.get(seed) else {
                continue;
            };
            let of = |run: &Run| match when {
                When::Final => step(run, self.splits.selection, when).and_then(|s| {
                    value(run, &id, s).ok_or_else(|| format!("no {} there", id.name))
                }),
                When::Matched => {
                    let twin = tuned.get(seed).ok_or(format!("no {FINE_TUNED} twin"))?;
                    let at = step(twin, self.splits.selection, when)
                        .map_err(|why| format!("{FINE_TUNED}: {why}"))?;
                    value(run, &id, at).ok_or_else(|| format!("not evaluated at step {at}"))
                }
            };
            match (of(run), of(other)) {
                (Ok(a), Ok(b)) => differences.push(if less { b - a } else { a - b }),
                (Err(why), _) | (_, Err(why)) => left_out.push(Unused { seed: *seed, why }),
            }
        }
        let n = differences.len();
        let stream = format!("reinit {when:?} {}", key(&self.fine_tuned.block));
        let result = paired_at(&differences, &stream, self.confidence, scale(&id.name));
        match result.map(|r| r.difference) {
            Some(d) if d.interval.is_some() => {
                let interval = d.interval.unwrap_or_default();
                let judged = (d.mean, interval, self.confidence);
                Condition::judged(name, judged, n, d.method, left_out)
            }
            Some(d) if d.sd == Some(0.0) && d.mean == 0.0 => Condition::equal(
                name,
                n,
                left_out,
                "the re-initialised arms are equal in every seed".to_owned(),
            ),
            Some(d) => Condition::open(
                name,
                Some(d.mean),
                n,
                left_out,
                "the re-initialised arms differ by the same in every seed".to_owned(),
            ),
            None => Condition::open(
                name,
                None,
                n,
                left_out,
                format!("the re-initialised arms have {n} common seed(s), at least 2 are needed"),
            ),
        }
    }

    /// The arms whose first and whose last third was re-initialised.
    fn reinitialised(&self, depth: usize) -> Result<(&Cell, &Cell), String> {
        let of = |edge: &str, k: usize| {
            let name = format!("reinit_{edge}_{k}");
            self.cells.iter().copied().find(|c| c.arm == name)
        };
        // Without an inspection the depth is not known: any pair of thirds then.
        let thirds: Vec<usize> = if depth > 0 {
            vec![third(depth)]
        } else {
            (1..256).collect()
        };
        let pair = |k: &usize| Some((of("first", *k)?, of("last", *k)?));
        thirds
            .iter()
            .find_map(pair)
            .ok_or_else(|| match thirds.as_slice() {
                [k] => {
                    format!("the sweep has no pair of arms reinit_first_{k} and reinit_last_{k}")
                }
                _ => "the sweep has no arms that re-initialise the first and the last third"
                    .to_owned(),
            })
    }

    fn by_seed<'s>(&'s self, cell: &'s Cell) -> BTreeMap<u64, &'s Run> {
        done(self.runs, cell).collect()
    }

    /// The condition from its estimate; `equal` says what it means that it is zero
    /// in every resample.
    fn finish(
        &self,
        name: (&'static str, String),
        got: Option<JointEstimate>,
        n: usize,
        left_out: Vec<Unused>,
        equal: &str,
    ) -> Condition {
        match got {
            Some(e) if e.interval.is_some() => {
                let interval = e.interval.unwrap_or_default();
                let judged = (e.value, interval, self.confidence);
                Condition::judged(name, judged, n, e.method, left_out)
            }
            Some(e) if e.se == Some(0.0) && e.value == 0.0 => {
                Condition::equal(name, n, left_out, equal.to_owned())
            }
            Some(e) => {
                let reason =
                    "reuse has no interval: no spread, or not defined in too many resamples";
                Condition::open(name, Some(e.value), n, left_out, reason.to_owned())
            }
            None => {
                let reason = "reuse is not defined on these seeds";
                Condition::open(name, None, n, left_out, reason.to_owned())
            }
        }
    }
}

/// The seeds that both have; those that one lacks are left out with its reason.
fn twins(of: &Layers, other: &Layers) -> Layers {
    let mut kept = of.only(&other.seeds);
    kept.left_out = merged(&of.left_out, &other.left_out);
    kept
}

fn merged(a: &[Unused], b: &[Unused]) -> Vec<Unused> {
    let mut all = a.to_vec();
    all.extend(b.iter().filter(|u| !a.contains(u)).cloned());
    all.sort_by(|a, b| (a.seed, &a.why).cmp(&(b.seed, &b.why)));
    all
}

/// Whether reuse is defined in every layer that is needed.
fn usable(arms: &[(&str, &Layers)], depth: usize, confidence: f64) -> Result<(), String> {
    if depth < 2 {
        return Err("no block was reset or removed (inspect: reversion)".to_owned());
    }
    for (arm, layers) in arms {
        if layers.seeds.len() < 2 {
            return Err(format!(
                "{arm} has {} seed(s) with every layer that is needed, at least 2 are",
                layers.seeds.len()
            ));
        }
        let k = third(depth);
        for layer in (0..k).chain(depth - k..depth) {
            if let Some(interval) = unshown(layers, layer, confidence) {
                return Err(format!(
                    "removing layer {layer} of {arm} is not shown to cost anything ({interval}), so its reuse is not defined"
                ));
            }
        }
    }
    Ok(())
}

/// The interval of a layer's ablation, in words, where it does not lie above zero:
/// a layer whose removal improves the answer is no more shown to cost anything than
/// one whose removal changes nothing. The confidence is that of the conditions that
/// rest on it.
fn unshown(layers: &Layers, layer: usize, confidence: f64) -> Option<String> {
    let values: Vec<f64> = layers.ablation.iter().map(|row| row[layer]).collect();
    let e = estimate_at(&values, &format!("ablation {layer}"), confidence)?;
    match e.interval {
        Some((low, high)) if low <= 0.0 => Some(format!("[{low:.3}, {high:.3}]")),
        Some(_) => None,
        // The same in every seed: it is what it is.
        None if e.n > 1 && e.mean > 0.0 => None,
        None => Some(format!("{:.3}", e.mean)),
    }
}

fn by_layer(arm: &'static str, layers: &Layers, depth: usize, confidence: f64) -> Vec<LayerReuse> {
    let n = layers.seeds.len();
    if n == 0 {
        return vec![];
    }
    let all: Vec<usize> = (0..n).collect();
    let whole = reuse(&layers.reversion, &layers.ablation, &all);
    let mean = |rows: &[Vec<f64>], l: usize| rows.iter().map(|r| r[l]).sum::<f64>() / n as f64;
    (0..depth)
        .map(|layer| {
            let shown = || unshown(layers, layer, confidence).is_none();
            let defined = n > 1 && !whole[layer].is_nan() && shown();
            let interval = defined.then(|| {
                let column = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
                    rows.iter().map(|r| vec![r[layer]]).collect()
                };
                let (r, a) = (column(&layers.reversion), column(&layers.ablation));
                let [got] = joint(n, &format!("U {arm} {layer}"), confidence, |seeds| {
                    [reuse(&r, &a, seeds)[0]]
                });
                let (low, high) = got?.interval?;
                // U lies between 0 and 1 by its definition.
                Some((low.clamp(0.0, 1.0), high.clamp(0.0, 1.0)))
            });
            LayerReuse {
                arm,
                layer,
                reversion: mean(&layers.reversion, layer),
                ablation: mean(&layers.ablation, layer),
                reuse: defined.then_some(whole[layer]),
                interval: interval.flatten(),
            }
        })
        .collect()
}

//! Adding seeds until the paired interval is narrow enough: what each look at the
//! data saw, and whether there is another.
//!
//! Looking again and again and stopping where it looks good makes a plain 95 %
//! interval cover less than that. So the looks are counted beforehand (K, from
//! the sweep file), and at each of them, the last one too, the interval has
//! confidence 1 − .05/K. By Boole's inequality all K intervals hold at once with
//! at least 95 %, whatever decides where one stops: repeated confidence intervals
//! (Jennison and Turnbull 1989) with the error spent in equal parts (Lan and
//! DeMets 1983). Looks read validation alone: tests stay sealed meanwhile.
//!
//! A look is a function of the results of its first n seeds, so that it can be
//! made again at any time and says the same.

use std::collections::{BTreeMap, BTreeSet};

use seedbed_proto::result::JobPhase;
use serde::Serialize;

use super::measure::scale;
use super::select::{choices, final_value};
use super::stats::paired_at;
use super::{arms, baseline, cells::key, in_order};
use crate::results::{Run, SweepResults};
use crate::sweep::{Compare, Until};

/// One look at the data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Look {
    /// Seeds of the look.
    pub seeds: usize,
    /// Half the width of the widest paired interval; none where arms have fewer
    /// than two common seeds.
    pub half_width: Option<f64>,
    /// It is as narrow as was asked for.
    pub enough: bool,
}

/// The looks that the seeds of the sweep allow so far, the latest last; empty
/// while the first is not complete, or if the sweep does not grow by itself.
pub fn looks(results: &SweepResults, compare: &Compare) -> Vec<Look> {
    let Some(until) = &compare.until else {
        return vec![];
    };
    let runs = in_order(results);
    let mut seeds: Vec<u64> = Vec::new();
    for run in &runs {
        if let Some(seed) = compare.seed(&run.point)
            && !seeds.contains(&seed)
        {
            seeds.push(seed);
        }
    }
    let mut looks = Vec::new();
    for size in until.sizes() {
        let size = size as usize;
        let first: BTreeSet<u64> = seeds.iter().take(size).copied().collect();
        let of: Vec<&Run> = runs
            .iter()
            .copied()
            .filter(|r| compare.seed(&r.point).is_some_and(|s| first.contains(&s)))
            .collect();
        if first.len() < size || !of.iter().all(|r| settled(r.phase)) {
            break;
        }
        let half_width = widest(&of, compare, until);
        looks.push(Look {
            seeds: size,
            half_width,
            enough: half_width.is_some_and(|h| h <= until.half_width),
        });
    }
    looks
}

/// How many seeds the sweep must have next; none if it has what it needs, has as
/// many as it may, waits for runs, was cancelled, or can't be judged.
pub fn next_size(results: &SweepResults, compare: &Compare) -> Option<u64> {
    let until = compare.until.as_ref()?;
    let cancelled = |r: &Run| r.phase == JobPhase::Cancelled;
    if results.runs.iter().any(cancelled) || !results.runs.iter().all(|r| settled(r.phase)) {
        return None;
    }
    let last = looks(results, compare).pop()?;
    if last.enough || last.half_width.is_none() {
        return None;
    }
    until.sizes().find(|size| *size as usize > last.seeds)
}

const fn settled(phase: JobPhase) -> bool {
    matches!(
        phase,
        JobPhase::Done | JobPhase::Failed | JobPhase::Cancelled
    )
}

/// Half the width of the widest interval of an arm's difference from the
/// baseline, over all blocks, each arm at the value that these seeds choose.
fn widest(runs: &[&Run], compare: &Compare, until: &Until) -> Option<f64> {
    let chosen = choices(runs, compare);
    let (split, name) = until.split_and_name();
    let arms = arms(runs, compare);
    let baseline = baseline(&arms)?;
    let mut values: BTreeMap<String, BTreeMap<String, BTreeMap<u64, f64>>> = BTreeMap::new();
    for run in runs {
        let group = compare.group(&run.point);
        let choice = chosen.iter().find(|c| c.group == group);
        let value = run.point.get(compare.select_axis());
        if compare.select.is_some() && choice.map(|c| &c.value) != value {
            continue;
        }
        if let (Some(seed), Some(v)) = (compare.seed(&run.point), final_value(run, split, name)) {
            let block = values.entry(key(&compare.block(&run.point))).or_default();
            let arm = block.entry(compare.arm(&run.point)).or_default();
            arm.insert(seed, v);
        }
    }
    let mut widest: Option<f64> = None;
    for (block, arms) in &values {
        let Some(base) = arms.get(baseline) else {
            continue;
        };
        for (arm, of) in arms.iter().filter(|(arm, _)| *arm != baseline) {
            let differences: Vec<f64> = of
                .iter()
                .filter_map(|(seed, v)| Some(v - base.get(seed)?))
                .collect();
            let stream = format!("look {block} {arm}");
            let result = paired_at(&differences, &stream, compare.confidence(), scale(name))?;
            // Without spread the difference is known as well as can be.
            let half = result
                .difference
                .interval
                .map_or(0.0, |(low, high)| (high - low) / 2.0);
            widest = Some(widest.map_or(half, |w| w.max(half)));
        }
    }
    widest
}

#[cfg(test)]
mod tests {
    use seedbed_proto::result::FailureReason;

    use super::*;
    use crate::aggregate::fixture::{Fixture, fail, run_of};
    use crate::aggregate::{analyse, select};

    fn compare(half_width: f64) -> Compare {
        let until = Until {
            half_width,
            metric: "val.incongruent_accuracy".to_owned(),
            initial: 4,
            block: 3,
            max_seeds: 12,
        };
        Compare {
            until: Some(until),
            ..Compare::default()
        }
    }

    fn results(seeds: u64) -> SweepResults {
        Fixture {
            seeds,
            ..Fixture::default()
        }
        .results()
    }

    #[test]
    fn a_look_is_a_function_of_its_first_seeds() {
        let few = looks(&results(4), &compare(1e-9));
        let more = looks(&results(12), &compare(1e-9));
        assert_eq!(few.iter().map(|l| l.seeds).collect::<Vec<_>>(), [4]);
        assert_eq!(
            more.iter().map(|l| l.seeds).collect::<Vec<_>>(),
            [4, 7, 10, 12]
        );
        assert_eq!(few[0], more[0]);
        assert!(more.iter().all(|l| !l.enough && l.half_width.is_some()));
    }

    #[test]
    fn the_interval_is_that_of_the_report_and_wider_than_an_uncorrected_one() {
        let (results, compare) = (results(7), compare(1e-9));
        let look = looks(&results, &compare).pop().unwrap();
        let plain = Compare::default();
        let half = |compare: &Compare| {
            let a = analyse(&results, compare);
            let c = a.headline().next().unwrap().result.clone().unwrap();
            let (low, high) = c.difference.interval.unwrap();
            (high - low) / 2.0
        };
        assert!((look.half_width.unwrap() - half(&compare)).abs() < 1e-12);
        assert!(half(&compare) > 1.3 * half(&plain));
    }

    #[test]
    fn seeds_are_added_until_it_is_enough_or_there_are_no_more() {
        let next = |seeds, width| next_size(&results(seeds), &compare(width));
        assert_eq!(next(4, 1e-9), Some(7));
        assert_eq!(next(10, 1e-9), Some(12));
        assert_eq!(next(12, 1e-9), None);
        assert_eq!(next(4, 1.0), None);
        assert_eq!(next_size(&results(4), &Compare::default()), None);
    }

    #[test]
    fn it_waits_for_runs_and_stops_where_it_can_t_be_judged() {
        let mut waiting = results(4);
        waiting.runs[7].phase = JobPhase::Running;
        assert_eq!(next_size(&waiting, &compare(1e-9)), None);
        let mut cancelled = results(4);
        cancelled.runs[7].phase = JobPhase::Cancelled;
        assert_eq!(next_size(&cancelled, &compare(1e-9)), None);
        let mut failed = results(4);
        for seed in 1..=4 {
            fail(run_of(&mut failed, "scratch", seed), FailureReason::Bug);
        }
        assert_eq!(next_size(&failed, &compare(1e-9)), None);
        fail(run_of(&mut failed, "pretrained", 1), FailureReason::Bug);
        assert_eq!(looks(&failed, &compare(1e-9))[0].half_width, None);
        assert!(select(&failed, &compare(1e-9)).is_some());
    }
}

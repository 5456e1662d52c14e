//! Question and answer in plain words.

use super::SEALED;
use super::format::{
    count, number, p_value, percent, sentence, signed_with_interval, with_interval, words,
};
use super::tables::{tests_words, unknown};
use crate::aggregate::stats::{CONFIRMATORY_FROM, Estimate, Paired};
use crate::aggregate::{Analysis, Comparison, Reach};
use crate::results::SweepResults;

/// The question that the sweep asks.
pub(super) fn question(a: &Analysis) -> String {
    if a.verdict.is_some() {
        return "Does fine-tuning reuse the computation that pretraining gave the network, above \
                all in late layers, or does it build what the same network builds from scratch? \
                And does the network decide better for it?"
            .to_owned();
    }
    if a.compare.arms == "init" && a.baseline.as_deref() == Some("scratch") {
        "Does the network that starts from pretrained weights decide by context better than the \
         same network trained from scratch, and does it learn sooner?"
            .to_owned()
    } else {
        format!(
            "How do the arms of {:?} differ in {}?",
            a.compare.arms,
            words(&a.primary)
        )
    }
}

/// The answer: a sentence or two per comparison, and how soon the arms learnt.
pub(super) fn answer(a: &Analysis) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if a.sealed() {
        lines.push(format!(
            "No answer yet: test results are {SEALED}. What follows is validation."
        ));
    }
    let comparisons: Vec<&Comparison> = a.headline().collect();
    match comparisons.as_slice() {
        [] if a.baseline.is_none() => {
            lines.push("There is one arm only: nothing is compared.".to_owned());
        }
        [] => lines.push("No arm can be compared yet: no finished pair of twins.".to_owned()),
        [c] => lines.push(format!("{}: {}", subject(a), in_full(a, c))),
        [first, ..] => {
            lines.push(format!(
                "{}, mean difference within seeds from {}:",
                subject(a),
                first.baseline
            ));
            lines.extend(comparisons.iter().map(|c| in_short(a, c)));
        }
    }
    if let [block] = a.blocks().as_slice() {
        let reach: Vec<&Reach> = a
            .reach
            .iter()
            .filter(|r| r.chosen && &&r.block == block)
            .collect();
        lines.extend(speed(a, &reach));
    }
    if let Some(v) = &a.verdict {
        if let Some(unjudged) = v.unjudged(|block| a.block_label(block)) {
            lines.push(format!("{}.", sentence(&unjudged)));
        }
        for reason in v.reasons() {
            lines.push(format!("The verdict is open: {reason}."));
        }
    }
    if a.exploratory() {
        lines.push(format!(
            "Exploratory: {}; a confirmatory claim needs at least {CONFIRMATORY_FROM}.",
            replicates(a)
        ));
    }
    lines
}

/// What the claim rests on: "4 pairs", "as few as 4 pairs", "5 seeds".
pub(super) fn replicates(a: &Analysis) -> String {
    match a.pairs() {
        None => count(a.seeds.len(), "seed"),
        Some((fewest, most)) if fewest < most => format!("as few as {}", count(fewest, "pair")),
        Some((fewest, _)) => count(fewest, "pair"),
    }
}

/// How a sweep that adds seeds by itself keeps its intervals honest.
pub(super) fn looks(a: &Analysis) -> Option<String> {
    let until = a.compare.until.as_ref()?;
    let looks = until.sizes().count();
    Some(format!(
        "Seeds were added {} at a time, from {} to at most {}, until half the width of the widest \
         paired interval of {} was at most {}. Each interval of a difference has confidence \
         {}, so that the intervals at all {looks} possible looks hold at once with at least \
         95 % (Bonferroni over looks; Jennison and Turnbull 1989); p (Holm) is multiplied by \
         {looks}.",
        until.block,
        until.initial,
        until.max_seeds,
        until.metric,
        until.half_width,
        percent(a.confidence),
    ))
}

/// That test results had been open when the choice was made; none where this is the
/// first choice. The sweep has been extended since then, so the choice reads
/// validation alone, but the person who widened a grid may have read the tests.
pub(super) fn reopened(results: &SweepResults) -> Option<String> {
    let version = results.selection()?.version;
    (results.selections.len() > 1).then(|| {
        format!(
            "This is version {version} of the choice: test results had been open under an earlier \
             one."
        )
    })
}

/// "Incongruent accuracy on test_iid".
fn subject(a: &Analysis) -> String {
    format!("{} on {}", sentence(&words(&a.primary)), a.headline_split)
}

fn in_full(a: &Analysis, c: &Comparison) -> String {
    let Some(r) = &c.result else {
        return refusal(c);
    };
    let mean = |arm: &str| own(a, c, arm).map_or_else(|| "NA".to_owned(), with_interval);
    format!(
        "{}. {} {}, {} {}; difference within seeds {} over {} ({} p = {}).",
        side(c, r),
        sentence(&c.arm),
        mean(&c.arm),
        c.baseline,
        mean(&c.baseline),
        signed_with_interval(&r.difference),
        count(c.pairs.len(), "pair"),
        tests_words([c.pairs.len()]),
        p_value(r.p),
    )
}

fn in_short(a: &Analysis, c: &Comparison) -> String {
    let place = if a.blocks().len() > 1 {
        format!("{}: ", a.block_label(&c.block))
    } else {
        String::new()
    };
    match &c.result {
        Some(r) => format!(
            "{place}{}, {}.",
            side(c, r),
            signed_with_interval(&r.difference)
        ),
        None => format!("{place}{} {}", c.arm, refusal(c)),
    }
}

fn refusal(c: &Comparison) -> String {
    format!(
        "not compared with {}: {} with both twins, at least 2 are needed.",
        c.baseline,
        count(c.pairs.len(), "seed")
    )
}

/// What the interval of the difference allows to say.
fn side(c: &Comparison, r: &Paired) -> String {
    match r.difference.interval {
        Some((low, _)) if low > 0.0 => format!("{} is higher than {}", c.arm, c.baseline),
        Some((_, high)) if high < 0.0 => format!("{} is lower than {}", c.arm, c.baseline),
        Some(_) => format!(
            "no difference between {} and {} is shown",
            c.arm, c.baseline
        ),
        None if r.difference.sd == Some(0.0) && r.difference.mean == 0.0 => {
            format!("{} and {} are equal in every seed", c.arm, c.baseline)
        }
        None => format!(
            "{} and {} differ by the same in every seed",
            c.arm, c.baseline
        ),
    }
}

/// An arm's own mean.
fn own<'a>(a: &'a Analysis, c: &Comparison, arm: &str) -> Option<&'a Estimate> {
    let here =
        |cell: &&crate::aggregate::Cell| cell.chosen && cell.arm == arm && cell.block == c.block;
    a.cells
        .iter()
        .find(here)?
        .estimate(&a.headline_split, &a.primary)
}

/// How soon the arms passed the highest threshold that any seed passed.
fn speed(a: &Analysis, reach: &[&Reach]) -> Option<String> {
    let passed = reach.iter().filter(|r| r.reached.hits > 0);
    let threshold = passed.map(|r| r.threshold).max_by(f64::total_cmp)?;
    let arms = reach.iter().filter(|r| r.threshold == threshold).map(|r| {
        let of = count(r.reached.of, "seed");
        let unknown: String = unknown(r).iter().map(|u| format!(", {u}")).collect();
        format!(
            "{} {} ({} of {of}{unknown})",
            r.arm, r.median, r.reached.hits
        )
    });
    Some(format!(
        "Median number of steps to {} accuracy on {}: {}.",
        number(threshold),
        a.selection_split,
        arms.collect::<Vec<_>>().join(", ")
    ))
}

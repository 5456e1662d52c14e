//! Question and answer in plain words.

use super::SEALED;
use super::format::{count, p_value, signed_with_interval, with_interval, words};
use super::tables::test_words;
use crate::aggregate::stats::CONFIRMATORY_FROM;
use crate::aggregate::{Analysis, Comparison};

/// The question that the sweep asks.
pub(super) fn question(a: &Analysis) -> String {
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

/// The answer, a sentence or two per comparison.
pub(super) fn answer(a: &Analysis) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if a.sealed() {
        lines.push(format!(
            "No answer yet: test results are {SEALED}. What follows is validation."
        ));
    }
    let several = a.headline().count() > 1 && a.blocks().len() > 1;
    lines.extend(a.headline().map(|c| verdict(a, c, several)));
    if a.baseline.is_none() {
        lines.push("There is one arm only: nothing is compared.".to_owned());
    } else if a.headline().next().is_none() {
        lines.push("No arm can be compared yet: no finished pair of twins.".to_owned());
    }
    if a.exploratory() {
        lines.push(format!(
            "Exploratory: {}; a confirmatory claim needs at least {CONFIRMATORY_FROM}.",
            count(a.seeds.len(), "seed")
        ));
    }
    lines
}

fn verdict(a: &Analysis, c: &Comparison, several: bool) -> String {
    let place = if several {
        format!(" ({})", a.block_label(&c.block))
    } else {
        String::new()
    };
    let metric = words(&a.primary);
    let split = &a.headline_split;
    let Some(r) = &c.result else {
        return format!(
            "{} against {}{place}: not compared, {} with both twins.",
            c.arm,
            c.baseline,
            count(c.pairs.len(), "seed")
        );
    };
    let side = match r.difference.interval {
        Some((low, _)) if low > 0.0 => format!("{} is higher than {}", c.arm, c.baseline),
        Some((_, high)) if high < 0.0 => format!("{} is lower than {}", c.arm, c.baseline),
        Some(_) => format!(
            "no difference between {} and {} is shown",
            c.arm, c.baseline
        ),
        None => format!(
            "{} and {} differ by the same in every seed",
            c.arm, c.baseline
        ),
    };
    format!(
        "{metric} on {split}{place}: {side}. {} {}, {} {}; paired difference {} over {} \
         ({} p = {}).",
        c.arm,
        own(a, c, &c.arm),
        c.baseline,
        own(a, c, &c.baseline),
        signed_with_interval(&r.difference),
        count(c.pairs.len(), "seed"),
        test_words(c.pairs.len()),
        p_value(r.p),
    )
}

/// An arm's own mean.
fn own(a: &Analysis, c: &Comparison, arm: &str) -> String {
    let cell = a
        .cells
        .iter()
        .find(|cell| cell.chosen && cell.arm == arm && cell.block == c.block);
    let Some(e) = cell.and_then(|cell| cell.estimate(&a.headline_split, &a.primary)) else {
        return "NA".to_owned();
    };
    with_interval(e)
}

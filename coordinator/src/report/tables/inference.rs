//! What rests on more than one mean: the verdict, reuse by layer, equivalence,
//! selection without each seed, looks.

use std::collections::{BTreeMap, BTreeSet};

use super::super::format::{
    number, or_na, p_value, percent, sentence, signed, signed_with_interval, words,
};
use super::super::table::Table;
use super::{block_labels, with_block_axes};
use crate::aggregate::stats::equivalence::MARGIN;
use crate::aggregate::verdict::{Condition, Judgement};
use crate::aggregate::{Analysis, Basis};

/// The three conditions, at the final step and at matched accuracy.
pub(in super::super) fn verdict(a: &Analysis) -> Table {
    let Some(v) = &a.verdict else {
        return Table::default();
    };
    let title = verdict_title(a).unwrap_or_default();
    let mut table = Table::new(format!("{title}: {}", v.outcome.words()))
        .text("condition")
        .number("estimate")
        .number("n")
        .text("holds");
    for judgement in &v.judgements {
        let mut rows: Vec<Vec<String>> = judgement.conditions.iter().map(condition).collect();
        let words = format!(
            "{}: {}",
            sentence(judgement.when.words()),
            judgement.outcome.words()
        );
        rows.insert(0, vec![words, String::new(), String::new(), String::new()]);
        table.section(rows);
    }
    table.note(verdict_note(a))
}

/// "Verdict", or "Verdict for frozen none" in a sweep of several blocks; none
/// without a verdict.
pub(in super::super) fn verdict_title(a: &Analysis) -> Option<String> {
    let v = a.verdict.as_ref()?;
    Some(match a.blocks().as_slice() {
        [_] => "Verdict".to_owned(),
        _ => format!("Verdict for {}", a.block_label(&v.block)),
    })
}

fn condition(c: &Condition) -> Vec<String> {
    let estimate = match (c.estimate, c.interval) {
        (Some(e), Some((low, high))) => {
            format!("{} [{}, {}]", signed(e), signed(low), signed(high))
        }
        (e, _) => or_na(e, signed),
    };
    let lost: BTreeSet<u64> = c.left_out.iter().map(|u| u.seed).collect();
    let n = match lost.len() {
        0 => c.n.to_string(),
        out => format!("{} of {}", c.n, c.n + out),
    };
    let holds = match (c.holds, &c.reason) {
        (Some(true), _) => "yes".to_owned(),
        (Some(false), Some(reason)) => format!("no: {reason}"),
        (Some(false), None) => "no".to_owned(),
        (None, Some(reason)) => format!("NA: {reason}"),
        (None, None) => "NA".to_owned(),
    };
    vec![c.claim.clone(), estimate, n, holds]
}

fn verdict_note(a: &Analysis) -> String {
    let Some(v) = &a.verdict else {
        return String::new();
    };
    let mut methods: Vec<&str> = Vec::new();
    let mut level = None;
    for c in v.judgements.iter().flat_map(|j| &j.conditions) {
        level = level.or(c.confidence);
        if let Some(method) = c.method
            && !methods.contains(&method)
        {
            methods.push(method);
        }
    }
    let mut note = String::from("A condition holds if its interval lies above zero.");
    if let Some(level) = level {
        note.push_str(&format!(
            " Intervals: {}, {}.",
            percent(level),
            methods.join(", ").replace('_', " ")
        ));
    }
    for judgement in &v.judgements {
        // One clause for each reason, with its seeds.
        let mut reasons: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for unused in judgement.conditions.iter().flat_map(|c| &c.left_out) {
            reasons.entry(&unused.why).or_default().insert(unused.seed);
        }
        let clauses: Vec<String> = reasons
            .into_iter()
            .map(|(why, seeds)| {
                let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
                format!("{why} (seed {})", seeds.join(", "))
            })
            .collect();
        if !clauses.is_empty() {
            let words = judgement.when.words();
            note.push_str(&format!(" Left out {words}: {}.", clauses.join("; ")));
        }
    }
    if v.exploratory {
        note.push_str(" Exploratory: fewer than 6 seeds.");
    }
    note
}

/// R, A and U by arm and layer.
pub(in super::super) fn reuse(a: &Analysis) -> Table {
    let Some(v) = &a.verdict else {
        return Table::default();
    };
    let mut table = Table::new("Reuse by layer")
        .text("arm")
        .number("layer")
        .number("reset (R)")
        .number("removed (A)")
        .number("reuse (U)")
        .number("seeds");
    for judgement in &v.judgements {
        table.section(layers(judgement));
    }
    table.note(format!(
        "First at the final step, then at matched accuracy. R, A: share of the logit difference \
         that is lost, mean over seeds. U = 1 − clip(R/A, 0, 1) with its {} interval by a joint \
         bootstrap over seeds; NA where A's interval does not lie above zero.",
        percent(a.confidence)
    ))
}

fn layers(judgement: &Judgement) -> Vec<Vec<String>> {
    let seeds = |arm: &str| {
        let of = judgement.seeds.iter().find(|s| s.0 == arm);
        of.map_or(0, |s| s.1.len()).to_string()
    };
    let rows = judgement.layers.iter().map(|l| {
        let u = match (l.reuse, l.interval) {
            (Some(u), Some((low, high))) => {
                format!("{} [{}, {}]", number(u), number(low), number(high))
            }
            (u, _) => or_na(u, number),
        };
        vec![
            l.arm.to_owned(),
            l.layer.to_string(),
            or_na(Some(l.reversion).filter(|v| !v.is_nan()), number),
            or_na(Some(l.ablation).filter(|v| !v.is_nan()), number),
            u,
            seeds(l.arm),
        ]
    });
    rows.collect()
}

/// Which differences are shown to be none, within two points.
pub(in super::super) fn equivalence(a: &Analysis) -> Table {
    let Some(baseline) = &a.baseline else {
        return Table::default();
    };
    let title = format!(
        "Within ± {} of {baseline} in {} on {}?",
        number(MARGIN),
        words(&a.primary),
        a.headline_split
    );
    let mut table = with_block_axes(Table::new(title).text("arm"), a)
        .number("difference")
        .number("p (no loss)")
        .number("p (equal)");
    // Only where it says something: a difference that is shown is no equality.
    let tested = a.headline().filter_map(|c| {
        let result = c.result.as_ref()?;
        let equivalence = result.equivalence?;
        let clear = result
            .difference
            .interval
            .is_some_and(|(low, high)| low > 0.0 || high < 0.0);
        (!clear).then_some((c, result, equivalence))
    });
    let rows = tested.map(|(c, result, e)| {
        let mut row = vec![c.arm.clone()];
        row.extend(block_labels(a, &c.block));
        row.extend([
            signed_with_interval(&result.difference),
            p_value(e.p_lower),
            p_value(e.p()),
        ]);
        row
    });
    table.section(rows.collect());
    table.note(format!(
        "Two one-sided t tests on the paired differences, margin {}: the smaller p, the surer that \
         no more than the margin is lost, or that the arms are equal within it.",
        number(MARGIN)
    ))
}

/// The differences with each seed at the value that the others choose.
pub(in super::super) fn leave_one_out(a: &Analysis) -> Table {
    let Some(select) = &a.compare.select else {
        return Table::default();
    };
    let title = format!(
        "{} chosen without the seed itself",
        sentence(&words(&select.axis))
    );
    let mut table = with_block_axes(Table::new(title).text("arm"), a)
        .number("difference")
        .number("p")
        .number("pairs");
    let rows = a
        .comparisons
        .iter()
        .filter(|c| c.basis == Basis::LeaveOneOut);
    let rows = rows.map(|c| {
        let mut row = vec![c.arm.clone()];
        row.extend(block_labels(a, &c.block));
        let result = c.result.as_ref();
        row.extend([
            result.map_or_else(|| "NA".to_owned(), |r| signed_with_interval(&r.difference)),
            or_na(result.map(|r| r.p), p_value),
            c.pairs.len().to_string(),
        ]);
        row
    });
    table.section(rows.collect());
    let moved: Vec<String> = a
        .selection
        .iter()
        .flat_map(|s| &s.choices)
        .flat_map(|c| {
            let group = crate::results::label(
                c.group
                    .get(&a.compare.arms)
                    .unwrap_or(&serde_json::Value::Null),
            );
            c.without.iter().map(move |(seed, value)| {
                format!(
                    "{group} without seed {seed}: {}",
                    crate::results::label(value)
                )
            })
        })
        .collect();
    table.note(if moved.is_empty() {
        "Every choice is the same without any one seed.".to_owned()
    } else {
        format!("Choices that hang on one seed: {}.", moved.join("; "))
    })
}

/// The looks of a sweep that adds seeds by itself.
pub(in super::super) fn looks(a: &Analysis) -> Table {
    let Some(until) = &a.compare.until else {
        return Table::default();
    };
    let mut table = Table::new(format!(
        "Looks at the width of the interval of {}",
        until.metric
    ))
    .number("seeds")
    .number("half-width")
    .text("enough");
    let rows = a.looks.iter().map(|l| {
        let enough = if l.enough { "yes" } else { "no" };
        vec![
            l.seeds.to_string(),
            or_na(l.half_width, number),
            enough.to_owned(),
        ]
    });
    table.section(rows.collect());
    table.note(super::super::answer::looks(a).unwrap_or_default())
}

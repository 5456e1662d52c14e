//! `methods.txt`: a paragraph for a paper, with the numbers of this sweep.

use seedbed_proto::result::JobPhase;

use super::answer;
use super::format::{count, sentence, words};
use super::tables::{compared, methods_words, replicates, tests_words};
use crate::aggregate::{Analysis, Grid};
use crate::results::SweepResults;

/// The paragraph, in lines of at most 80 columns.
pub(super) fn methods(a: &Analysis, results: &SweepResults) -> String {
    let mut text = sentences(a, results).join(" ");
    if a.sealed() {
        text.push_str(" Runs are still under way: these numbers are not final.");
    }
    wrapped(&text)
}

fn sentences(a: &Analysis, results: &SweepResults) -> Vec<String> {
    let n = a.seeds.len();
    let mut all = vec![format!(
        "Each configuration was run with {} ({}), a seed fixing initial weights and the order of \
         the training data; the data splits were the same for all runs.",
        count(n, "random seed"),
        seeds(&a.seeds)
    )];
    if let Some(baseline) = &a.baseline {
        let others: Vec<&str> = a
            .arms
            .iter()
            .filter(|x| *x != baseline)
            .map(String::as_str)
            .collect();
        all.push(format!(
            "We compared {} with {baseline} ({}) on {} of the {} split.",
            list(&others),
            words(&a.compare.arms),
            words(&a.primary),
            a.headline_split
        ));
    }
    all.push(runs(a, results));
    if let Some(select) = &a.compare.select {
        all.push(selection(a, select, answer::reopened(results)));
    }
    let behind = replicates(
        &a.cells,
        std::slice::from_ref(&a.headline_split),
        &a.primary,
    );
    all.push(format!(
        "We report means over seeds with intervals ({}); arms were compared within seeds, by the \
         mean paired difference with its interval ({}) and a two-sided {}, and effect sizes are \
         Hedges' g_z.",
        methods_words(behind),
        methods_words(compared(a)),
        tests_words(compared(a))
    ));
    all.push(format!(
        "P values were adjusted by Holm's method over the {} on the {} split, and by Benjamini \
         and Hochberg's over all other comparisons, which are exploratory.",
        count(a.headline().count(), "comparison"),
        a.headline_split
    ));
    all.extend(answer::looks(a));
    if let Some(v) = &a.verdict {
        let place = match a.blocks().as_slice() {
            [_] => String::new(),
            _ => format!(" ({})", a.block_label(&v.block)),
        };
        all.push(format!(
            "Reuse of pretrained computation was judged by three conditions fixed beforehand \
             (rising reuse in late layers, more so than in the twin from scratch, and more harm \
             from re-initialising the last third of blocks than the first), at the final step and \
             at .95 validation accuracy{place}, with a joint bootstrap over seeds; the outcome is: {}.",
            v.outcome.words()
        ));
        if let Some(unjudged) = v.unjudged(|block| a.block_label(block)) {
            all.push(format!("{}.", sentence(&unjudged)));
        }
    }
    if a.exploratory() {
        all.push(format!(
            "With {} the results are exploratory.",
            answer::replicates(a)
        ));
    }
    all
}

fn runs(a: &Analysis, results: &SweepResults) -> String {
    let (all, done) = (a.runs(), a.in_phase(JobPhase::Done));
    let failed = a.in_phase(JobPhase::Failed);
    let mut text = format!("Of {}, {done} finished", count(all, "run"));
    if failed > 0 {
        let mut reasons: Vec<&str> = Vec::new();
        for run in &results.runs {
            if let Some((reason, _)) = &run.failure
                && !reasons.contains(&reason.name())
            {
                reasons.push(reason.name());
            }
        }
        reasons.sort_unstable();
        text.push_str(&format!(
            " and {failed} failed ({}); seeds without both twins were left out of the paired \
             comparison and are listed",
            reasons.join(", ").replace('_', " ")
        ));
    }
    text.push('.');
    text
}

fn selection(a: &Analysis, select: &crate::sweep::Select, reopened: Option<String>) -> String {
    let grids = a.grids();
    let at_edge = a.cells.iter().filter(|c| c.at_edge).count();
    let edge = if at_edge > 0 {
        format!(" {at_edge} of the choices lie at an end of their grid.")
    } else {
        String::new()
    };
    let values = |g: &Grid| list(&g.values.iter().map(String::as_str).collect::<Vec<_>>());
    let differ = grids.iter().any(|g| !g.equals(&grids[0]));
    let from = match grids.first() {
        Some(first) if !differ => match first.values.as_slice() {
            [only] => return format!("The {} was {only} throughout.", words(&select.axis)),
            _ => format!("from {} ", values(first)),
        },
        _ => String::new(),
    };
    let mut text = format!(
        "The {} was chosen {from}for each arm and configuration by the mean of {} over seeds{}\
         {edge}",
        words(&select.axis),
        select.by,
        match reopened {
            None => ", before any test result was read.".to_owned(),
            Some(words) => format!(". {words}"),
        }
    );
    if differ {
        let each: Vec<String> = grids
            .iter()
            .map(|g| format!("{} ({}): {}", g.arm, a.block_label(&g.block), values(g)))
            .collect();
        text.push_str(&format!(" The grids differ: {}.", each.join("; ")));
    }
    text
}

/// "0 to 9", or each of them.
fn seeds(seeds: &[u64]) -> String {
    match seeds {
        [first, .., last] if last - first + 1 == seeds.len() as u64 => format!("{first} to {last}"),
        all => {
            let all: Vec<String> = all.iter().map(u64::to_string).collect();
            all.join(", ")
        }
    }
}

/// "a, b and c".
fn list(items: &[&str]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 80 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

//! What captions and notes say of replicates, methods and ends of intervals.

use crate::aggregate::stats::{BOOTSTRAP_FROM, Method};
use crate::aggregate::{Analysis, Cell};

/// "Student's t", for captions: by the numbers of replicates behind the intervals,
/// not by those that were planned.
pub(in super::super) fn methods_words(n: impl IntoIterator<Item = usize>) -> String {
    let (many, few): (Vec<usize>, Vec<usize>) = n.into_iter().partition(|n| *n >= BOOTSTRAP_FROM);
    match (few.is_empty(), many.is_empty()) {
        (false, false) => format!(
            "{} below {} seeds, {} from there on",
            Method::StudentT.words(),
            BOOTSTRAP_FROM,
            Method::Bca.words()
        ),
        (true, false) => Method::Bca.words().to_owned(),
        (_, true) => Method::StudentT.words().to_owned(),
    }
}

/// "n = 6", "n = 4 to 6": the replicates behind the numbers of a figure.
pub(in super::super) fn n_words(n: impl Iterator<Item = usize> + Clone) -> String {
    match (n.clone().min(), n.max()) {
        (Some(least), Some(most)) if least < most => format!("n = {least} to {most}"),
        (_, most) => format!("n = {}", most.unwrap_or(0)),
    }
}

/// "exact sign-flip test", for captions: by the numbers of pairs.
pub(in super::super) fn tests_words(n: impl IntoIterator<Item = usize>) -> &'static str {
    let (many, few): (Vec<usize>, Vec<usize>) = n.into_iter().partition(|n| *n >= BOOTSTRAP_FROM);
    match (few.is_empty(), many.is_empty()) {
        (false, false) => "sign-flip test, exact below 20 pairs, 10,000 draws from there on",
        (true, false) => "sign-flip test, 10,000 draws",
        (_, true) => "exact sign-flip test",
    }
}

/// Replicates behind the intervals of a metric on these splits, cell by cell.
pub(in super::super) fn replicates<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    splits: &[String],
    metric: &str,
) -> Vec<usize> {
    let of = |cell: &'a Cell| splits.iter().filter_map(|s| cell.estimate(s, metric));
    let n = cells.into_iter().flat_map(of).map(|e| e.n);
    // Of one seed there is no interval.
    n.filter(|n| *n > 1).collect()
}

/// A remark for tables in which an interval of an accuracy ends beyond 0 or 1: it
/// is shown as it was computed.
pub(in super::super) fn beyond_words<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    splits: &[String],
    metric: &str,
) -> &'static str {
    let of = |cell: &'a Cell| splits.iter().filter_map(|s| cell.estimate(s, metric));
    let beyond = |(low, high): (f64, f64)| low < 0.0 || high > 1.0;
    let mut intervals = cells.into_iter().flat_map(of).filter_map(|e| e.interval);
    if metric.ends_with("accuracy") && intervals.any(beyond) {
        " Student's t intervals are symmetric, and may pass 0 or 1 near them."
    } else {
        ""
    }
}

/// Pairs of each comparison that answers the question and has a result.
pub(in super::super) fn compared(a: &Analysis) -> impl Iterator<Item = usize> {
    a.headline()
        .filter(|c| c.result.is_some())
        .map(|c| c.pairs.len())
}

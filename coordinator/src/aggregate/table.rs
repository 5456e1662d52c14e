//! The metrics of a cell's runs side by side: one column for each metric and step,
//! or, of what was found inside networks, for each metric and kind of weights.

use std::collections::BTreeMap;

use seedbed_proto::job::Moment;

use super::cells::MetricId;
use crate::results::Measured;

/// Metrics of one run: its own, and those of its weights at a moment.
pub(super) type Source<'a> = (Option<Moment>, &'a [Measured]);

/// Which number, borrowed from a run: in the order of [`MetricId`], then the step;
/// 0 where weights are named, because the same kind of weights stands at another
/// step in each seed.
type Key<'a> = (
    &'a str,
    &'a str,
    Option<u32>,
    Option<u32>,
    Option<&'a str>,
    Option<Moment>,
    u64,
);

/// Values by seed of one metric at one step, or of one kind of weights.
#[derive(Debug)]
pub(super) struct Column<'a> {
    key: Key<'a>,
    /// The step; none where the weights stand at different ones.
    pub step: Option<u64>,
    /// Value by seed, in the order of the runs; those that are not available left
    /// out.
    pub values: Vec<(u64, f64)>,
}

impl Column<'_> {
    /// Whether both are the same metric, at whatever step.
    pub fn same_metric(&self, other: &Self) -> bool {
        let ((a, b, c, d, e, f, _), (u, v, w, x, y, z, _)) = (self.key, other.key);
        (a, b, c, d, e, f) == (u, v, w, x, y, z)
    }

    /// The metric.
    pub fn id(&self) -> MetricId {
        let (split, name, layer, head, slot, weights, _) = self.key;
        MetricId {
            split: split.to_owned(),
            name: name.to_owned(),
            layer,
            head,
            slot: slot.map(str::to_owned),
            weights,
        }
    }
}

/// The columns of these runs, by metric, then by step; of a metric that a run has
/// twice at one step, the first value.
///
/// Runs of a cell list their metrics in the same order, so each metric is looked
/// for where the run before had it, and only then in the index: with millions of
/// metrics that is most of the time.
pub(super) fn columns<'a>(
    runs: &[(u64, Vec<Source<'a>>)],
    keep: impl Fn(&Measured) -> bool,
) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    let mut index: BTreeMap<Key<'a>, usize> = BTreeMap::new();
    for (seed, sources) in runs {
        let mut next = 0;
        let all = sources
            .iter()
            .flat_map(|(weights, metrics)| metrics.iter().map(move |m| (*weights, m)));
        for (weights, m) in all.filter(|(_, m)| keep(m)) {
            let slot = m.slot.as_deref();
            let step = if weights.is_some() { 0 } else { m.step };
            let key: Key<'a> = (&m.split, &m.name, m.layer, m.head, slot, weights, step);
            let at = match columns.get(next) {
                Some(column) if column.key == key => next,
                _ => *index.entry(key).or_insert_with(|| {
                    columns.push(Column {
                        key,
                        step: Some(m.step),
                        values: Vec::with_capacity(runs.len()),
                    });
                    columns.len() - 1
                }),
            };
            next = at + 1;
            let column = &mut columns[at];
            column.step = column.step.filter(|step| *step == m.step);
            if !m.value.is_nan() && column.values.last().is_none_or(|(s, _)| s != seed) {
                column.values.push((*seed, m.value));
            }
        }
    }
    columns.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    columns
}

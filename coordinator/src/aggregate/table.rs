//! The metrics of a cell's runs side by side: one column for each metric and step.

use std::collections::BTreeMap;

use seedbed_proto::result::Metric;

use super::cells::MetricId;
use crate::results::Run;

/// Which number, borrowed from a run: in the order of [`MetricId`], then the step.
type Key<'a> = (
    &'a str,
    &'a str,
    Option<u32>,
    Option<u32>,
    Option<&'a str>,
    u64,
);

/// Values by seed of one metric at one step.
#[derive(Debug)]
pub(super) struct Column<'a> {
    key: Key<'a>,
    /// Value by seed, in the order of the runs; those that are not available left
    /// out.
    pub values: Vec<(u64, f64)>,
}

impl Column<'_> {
    /// The step.
    pub fn step(&self) -> u64 {
        self.key.5
    }

    /// Whether both are the same metric, at whatever step.
    pub fn same_metric(&self, other: &Self) -> bool {
        let ((a, b, c, d, e, _), (v, w, x, y, z, _)) = (self.key, other.key);
        (a, b, c, d, e) == (v, w, x, y, z)
    }

    /// The metric.
    pub fn id(&self) -> MetricId {
        let (split, name, layer, head, slot, _) = self.key;
        MetricId {
            split: split.to_owned(),
            name: name.to_owned(),
            layer,
            head,
            slot: slot.map(str::to_owned),
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
    runs: &[(u64, &'a Run)],
    keep: impl Fn(&Metric) -> bool,
) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    let mut index: BTreeMap<Key<'a>, usize> = BTreeMap::new();
    for (seed, run) in runs {
        let mut next = 0;
        for m in run.metrics.iter().filter(|m| keep(m)) {
            let slot = m.slot.as_deref();
            let key: Key<'a> = (&m.split, &m.name, m.layer, m.head, slot, m.step);
            let at = match columns.get(next) {
                Some(column) if column.key == key => next,
                _ => *index.entry(key).or_insert_with(|| {
                    let values = Vec::with_capacity(runs.len());
                    columns.push(Column { key, values });
                    columns.len() - 1
                }),
            };
            next = at + 1;
            let values = &mut columns[at].values;
            if !m.value.is_nan() && values.last().is_none_or(|(s, _)| s != seed) {
                values.push((*seed, m.value));
            }
        }
    }
    columns.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    columns
}

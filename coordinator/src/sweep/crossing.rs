//! The points of a document, one after another: axes crossed in the file's
//! order, the last one fastest.

use super::axes::Axis;
use super::decode::Setting;
use super::document::Document;

/// A point: what an axis says in the place of the document's settings.
#[derive(Debug, Clone)]
pub struct Spot<'a> {
    document: &'a Document,
    chosen: Vec<(&'static str, &'a Setting)>,
}

impl<'a> Spot<'a> {
    /// The setting of a path at this point. Only `learning_rate` and `model`
    /// have no default, and the parser requires both.
    pub fn find(&self, path: &str) -> Option<&'a Setting> {
        let chosen = self.chosen.iter().rev().find(|(p, _)| *p == path);
        chosen
            .map(|(_, setting)| *setting)
            .or_else(|| self.document.settings.get(path))
    }

    /// The same, of a path that has a value at every point.
    pub fn get(&self, path: &str) -> &'a Setting {
        self.find(path)
            .unwrap_or_else(|| panic!("`{path}` has a default or was required by the parser"))
    }
}

/// Iterator over the points of one seed.
#[derive(Debug)]
pub struct Points<'a> {
    document: &'a Document,
    crossing: usize,
    /// The index into each axis of the current crossing; none before its first
    /// point.
    odometer: Option<Vec<usize>>,
}

impl<'a> Points<'a> {
    /// From the first point on. Points that the document excludes are left out.
    pub fn new(document: &'a Document) -> Self {
        Self {
            document,
            crossing: 0,
            odometer: None,
        }
    }

    /// The next point, excluded or not.
    pub fn next_raw(&mut self) -> Option<Spot<'a>> {
        loop {
            let axes = self.document.crossings.get(self.crossing)?;
            if let Some(spot) = self.step(axes) {
                return Some(spot);
            }
            self.crossing += 1;
            self.odometer = None;
        }
    }

    fn step(&mut self, axes: &'a [Axis]) -> Option<Spot<'a>> {
        let document = self.document;
        let odometer = match self.odometer.take() {
            None => vec![0; axes.len()],
            Some(mut odometer) => {
                // The last axis that can still go on; those behind it begin anew.
                let turned = (0..axes.len()).rev().find(|i| {
                    let before = spot(document, &axes[..*i], &odometer);
                    odometer[*i] + 1 < axes[*i].len_at(&before)
                })?;
                odometer[turned] += 1;
                odometer[turned + 1..].fill(0);
                odometer
            }
        };
        let spot = spot(document, axes, &odometer);
        self.odometer = Some(odometer);
        Some(spot)
    }
}

impl<'a> Iterator for Points<'a> {
    type Item = Spot<'a>;

    fn next(&mut self) -> Option<Spot<'a>> {
        loop {
            let spot = self.next_raw()?;
            if !self
                .document
                .excludes
                .iter()
                .any(|pattern| pattern.matches(&spot))
            {
                return Some(spot);
            }
        }
    }
}

fn spot<'a>(document: &'a Document, axes: &'a [Axis], odometer: &[usize]) -> Spot<'a> {
    let mut spot = Spot {
        document,
        chosen: Vec::with_capacity(axes.len()),
    };
    for (axis, index) in axes.iter().zip(odometer) {
        if axis.active(&spot) {
            let tuple = axis.paths.iter().copied().zip(&axis.tuples[*index]);
            spot.chosen.extend(tuple);
        }
    }
    spot
}

impl Axis {
    /// Whether it varies here; `spot` holds the axes above it.
    fn active(&self, spot: &Spot) -> bool {
        self.when.iter().all(|condition| {
            let setting = spot.find(condition.path);
            setting.is_some_and(|s| condition.holds(&s.value))
        })
    }

    /// How many values it has here.
    fn len_at(&self, spot: &Spot) -> usize {
        if self.active(spot) {
            self.tuples.len()
        } else {
            1
        }
    }
}

impl super::axes::Pattern {
    /// Whether the point meets every condition.
    pub fn matches(&self, spot: &Spot) -> bool {
        self.conditions.iter().all(|condition| {
            let setting = spot.find(condition.path);
            setting.is_some_and(|s| condition.holds(&s.value))
        })
    }
}

//! A named change of an activation, and how it is made.

use candle_core::{D, Tensor};

use super::point::Axes;
use super::{HookError, Hooked, Point, Result};

/// Replaces an activation, or a part of it, by a value.
///
/// The value has the shape of what it replaces, with 1 instead of B if it is the
/// same for all sequences: (B, positions, C), for a head (B, positions, D), for
/// scores and patterns (B, H or 1, positions, T).
#[derive(Debug, Clone)]
pub struct Edit {
    pub(super) point: Point,
    pub(super) positions: Option<Vec<usize>>,
    pub(super) head: Option<usize>,
    pub(super) value: Tensor,
}

impl Edit {
    /// Replaces all of an activation.
    pub fn new(point: Point, value: Tensor) -> Self {
        Self {
            point,
            positions: None,
            head: None,
            value,
        }
    }

    /// Only at this position of the prompt (of queries, for scores and patterns).
    #[must_use]
    pub fn position(self, position: usize) -> Self {
        self.positions(&[position])
    }

    /// Only at these positions, in the order in which the value has them.
    #[must_use]
    pub fn positions(mut self, positions: &[usize]) -> Self {
        self.positions = Some(positions.to_vec());
        self
    }

    /// Only of this head.
    #[must_use]
    pub fn head(mut self, head: usize) -> Self {
        self.head = Some(head);
        self
    }

    /// Whether nothing of what it replaces is left.
    pub(super) fn is_whole(&self) -> bool {
        self.positions.is_none() && self.head.is_none()
    }

    /// Checks it against a pass of `batch` sequences over positions `from..to`.
    pub(super) fn check(&self, net: &Hooked, batch: usize, from: usize, to: usize) -> Result<()> {
        let config = &net.config;
        let point = || self.point.to_string();
        if let Some(layer) = self.point.layer() {
            net.block(layer, &point())?;
        }
        let axes = self.point.axes();
        if let Some(head) = self.head {
            let reason = match axes {
                Axes::Stream => "this place has none".to_owned(),
                _ if head < config.heads => String::new(),
                _ => format!("there are {}", config.heads),
            };
            if !reason.is_empty() {
                let point = point();
                return Err(HookError::Head {
                    point,
                    head,
                    reason,
                });
            }
        }
        let positions = self.positions.iter().flatten();
        if let Some(&position) = positions.clone().find(|p| !(from..to).contains(*p)) {
            return Err(HookError::Position {
                point: point(),
                position,
                from,
                to,
            });
        }
        let count = self.positions.as_ref().map_or(to - from, Vec::len);
        let width = net.width(self.point);
        let mut expected = match (axes, self.head) {
            (Axes::Stream, _) | (Axes::Heads, None) => vec![batch, count, width],
            (Axes::Heads, Some(_)) => vec![batch, count, width / config.heads],
            (Axes::Scores, None) => vec![batch, config.heads, count, to],
            (Axes::Scores, Some(_)) => vec![batch, 1, count, to],
        };
        let found = self.value.dims().to_vec();
        if found.first() == Some(&1) {
            expected[0] = 1;
        }
        if found != expected {
            let what = point();
            return Err(HookError::Shape {
                what,
                found,
                expected,
            });
        }
        Ok(())
    }

    /// The whole of it, for `batch` sequences, from position `first` on, where the
    /// value begins at `from`.
    pub(super) fn whole(&self, batch: usize, from: usize, first: usize) -> Result<Tensor> {
        let axis = self.axis();
        let rest = self.value.dim(axis)? - (first - from);
        self.spread(&self.value.narrow(axis, first - from, rest)?, batch)
    }

    /// Changes `x`, which begins at position `first`; its value begins at `from`.
    pub(super) fn apply(
        &self,
        x: &Tensor,
        heads: usize,
        from: usize,
        first: usize,
    ) -> Result<Tensor> {
        let (axis, batch) = (self.axis(), x.dim(0)?);
        let Some(positions) = &self.positions else {
            return self.of_head(x, &self.whole(batch, from, first)?, heads);
        };
        let mut x = x.clone();
        for (i, &position) in positions.iter().enumerate() {
            // What lies before is not computed, because nothing later reads it.
            let Some(at) = position.checked_sub(first) else {
                continue;
            };
            let value = self.spread(&self.value.narrow(axis, i, 1)?, batch)?;
            let row = self.of_head(&x.narrow(axis, at, 1)?, &value, heads)?;
            x = replaced(&x, axis, at, &row)?;
        }
        Ok(x)
    }

    /// The axis of positions.
    fn axis(&self) -> usize {
        match self.point.axes() {
            Axes::Scores => 2,
            Axes::Stream | Axes::Heads => 1,
        }
    }

    fn of_head(&self, x: &Tensor, value: &Tensor, heads: usize) -> Result<Tensor> {
        match (self.head, self.point.axes()) {
            (None, _) => Ok(value.clone()),
            (Some(head), Axes::Scores) => replaced(x, 1, head, value),
            (Some(head), _) => {
                let width = x.dim(D::Minus1)? / heads;
                replaced(x, 2, head * width, value)
            }
        }
    }

    fn spread(&self, value: &Tensor, batch: usize) -> Result<Tensor> {
        let mut shape = value.dims().to_vec();
        shape[0] = batch;
        Ok(value.broadcast_as(shape)?.contiguous()?)
    }
}

/// `x` with `value` instead of what begins at `at` along an axis.
fn replaced(x: &Tensor, axis: usize, at: usize, value: &Tensor) -> Result<Tensor> {
    let end = at + value.dim(axis)?;
    let rest = x.dim(axis)? - end;
    let mut parts = vec![];
    if at > 0 {
        parts.push(x.narrow(axis, 0, at)?);
    }
    parts.push(value.clone());
    if rest > 0 {
        parts.push(x.narrow(axis, end, rest)?);
    }
    Ok(Tensor::cat(&parts, axis)?.contiguous()?)
}

//! One way through a network, as data.
//!
//! B batch, W positions of the window `from..from + W`, T = from + W, C width.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::{Edit, HookError, Point, Result};

/// What to compute, what to change, what to read.
#[derive(Clone)]
pub struct Pass<'a> {
    pub(super) start: Start<'a>,
    pub(super) end: End,
    pub(super) from: usize,
    pub(super) past: Option<&'a Past>,
    pub(super) edits: &'a [Edit],
    pub(super) reads: &'a [Point],
}

/// Where a pass enters.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// Token ids (B, W) u32.
    Ids(&'a Tensor),
    /// The stream at the entrance of a block: (B, W, C).
    Stream(&'a Tensor, usize),
}

/// Where a pass ends, and what it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The stream at the entrance of a block: (B, W, C). The one after the last
    /// block is what the final LayerNorm reads.
    Block(usize),
    /// What is unembedded, of all positions: (B, W, C).
    All,
    /// What is unembedded, of the last position: (B, C). In the last block only that
    /// position is computed, unless something in it is read.
    Last,
}

/// Keys and values of the positions before a window.
#[derive(Debug, Clone, Default)]
pub struct Past {
    layers: BTreeMap<usize, [Tensor; 2]>,
}

impl Past {
    /// Adds those of a layer: k and v (B, from, C).
    pub fn insert(&mut self, layer: usize, k: Tensor, v: Tensor) {
        self.layers.insert(layer, [k, v]);
    }

    /// Those of a layer before position `from`, in front of the window's own.
    pub(super) fn before(
        &self,
        layer: usize,
        part: usize,
        own: &Tensor,
        from: usize,
    ) -> Result<Tensor> {
        let (b, _, c) = own.dims3()?;
        let expected = vec![b, from, c];
        let found = self.layers.get(&layer).map(|parts| &parts[part]);
        match found {
            Some(past) if past.dims() == expected => Ok(Tensor::cat(&[past, own], 1)?),
            _ => Err(HookError::Shape {
                what: format!("keys and values of layer {layer} before position {from}"),
                found: found.map_or(vec![], |past| past.dims().to_vec()),
                expected,
            }),
        }
    }
}

impl<'a> Pass<'a> {
    /// A pass that changes and reads nothing, over all positions.
    pub fn new(start: Start<'a>, end: End) -> Self {
        Self {
            start,
            end,
            from: 0,
            past: None,
            edits: &[],
            reads: &[],
        }
    }

    /// With these edits; several of one point are made in this order.
    #[must_use]
    pub fn editing(mut self, edits: &'a [Edit]) -> Self {
        self.edits = edits;
        self
    }

    /// Keeps these activations, as they are after the edits.
    #[must_use]
    pub fn reading(mut self, reads: &'a [Point]) -> Self {
        self.reads = reads;
        self
    }

    /// Over positions from `from` on alone. Layers whose attention is not replaced
    /// need the past of theirs.
    #[must_use]
    pub fn window(mut self, from: usize, past: &'a Past) -> Self {
        self.from = from;
        self.past = Some(past);
        self
    }
}

/// What a pass gave.
#[derive(Debug)]
pub struct Trace {
    pub(super) reads: BTreeMap<Point, Tensor>,
    /// What [`End`] says.
    pub out: Tensor,
}

impl Trace {
    /// An activation that was read.
    ///
    /// # Errors
    /// If the pass was not asked to read it.
    pub fn get(&self, point: Point) -> Result<&Tensor> {
        let not_read = || HookError::NotRead {
            point: point.to_string(),
        };
        self.reads.get(&point).ok_or_else(not_read)
    }

    /// Takes an activation out.
    ///
    /// # Errors
    /// If the pass was not asked to read it, or it was taken before.
    pub fn take(&mut self, point: Point) -> Result<Tensor> {
        let not_read = || HookError::NotRead {
            point: point.to_string(),
        };
        self.reads.remove(&point).ok_or_else(not_read)
    }
}

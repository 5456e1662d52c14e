//! What can be wrong with a pass through a hooked network.

use crate::gpt2::ModelError;

/// A pass that can't be made, or that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A name that no place has.
    #[error("no hook point {name:?}; there are {known}")]
    UnknownPoint {
        /// As it was given.
        name: String,
        /// All names.
        known: String,
    },
    /// A block that the network does not have.
    #[error("{what}: no layer {layer} in a network of {layers}")]
    Layer {
        /// The hook point, or what else was asked for.
        what: String,
        /// The layer.
        layer: usize,
        /// Layers that there are.
        layers: usize,
    },
    /// A head that the network does not have, or a place without heads.
    #[error("{point}: no head {head}; {reason}")]
    Head {
        /// The hook point.
        point: String,
        /// The head.
        head: usize,
        /// How many there are, or that there are none.
        reason: String,
    },
    /// A position outside the pass.
    #[error("{point}: position {position} is not among those of this pass, {from} to {to}")]
    Position {
        /// The hook point.
        point: String,
        /// The position.
        position: usize,
        /// The first of the pass.
        from: usize,
        /// One after the last.
        to: usize,
    },
    /// A tensor of another shape.
    #[error("{what}: shape {found:?} where {expected:?} is needed")]
    Shape {
        /// The hook point, or the input.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// An edit that changed nothing because the pass never came there.
    #[error(
        "{point}: the edit did not fire: the pass enters after it, ends before it, or another \
         edit replaces all that it leads to"
    )]
    NotFired {
        /// The hook point.
        point: String,
    },
    /// A place that was to be read and was not reached.
    #[error(
        "{point}: nothing to read: the pass enters after it, ends before it, or an edit replaces \
         all that it leads to"
    )]
    NotRead {
        /// The hook point.
        point: String,
    },
    /// Two networks that can't exchange parts.
    #[error("networks of different shape: {field} is {one} in one and {other} in the other")]
    Shapes {
        /// What differs.
        field: &'static str,
        /// Of the first network.
        one: usize,
        /// Of the second.
        other: usize,
    },
    /// The network can't be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tensor library failed.
    #[error("tensor library: {0}")]
    Tensors(#[from] candle_core::Error),
}

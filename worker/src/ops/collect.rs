//! Gradients of parameters, taken where they are computed.
//!
//! The tensor library adds every gradient to zeros of its own, and a second one to
//! the sum in a third place. For parameters, which are larger than all else in a
//! step, that traffic costs more than the optimizer. So while [`collecting`] runs a
//! backward pass, the fused operations hand the gradients of the parameters that it
//! names straight over; the library sees none of them.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{Tensor, TensorId};

thread_local! {
    /// Of the backward pass that this thread runs: the library calls operations on
    /// the thread that called it.
    static SINK: RefCell<Option<HashMap<TensorId, Option<Vec<f32>>>>> = const { RefCell::new(None) };
}

/// Runs `backward` and answers with what it returns, and with the gradient of each
/// of `params` as far as fused operations computed it. What others computed of the
/// same parameter is in the library's own store, to be added.
pub fn collecting<R>(
    params: &[&Tensor],
    backward: impl FnOnce() -> R,
) -> (R, Vec<Option<Vec<f32>>>) {
    /// Also when `backward` panics, and the panic is caught further up.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            SINK.take();
        }
    }
    let _reset = Reset;
    SINK.set(Some(params.iter().map(|p| (p.id(), None)).collect()));
    let result = backward();
    let mut found = SINK.take().unwrap_or_default();
    let gradients = params.iter().map(|p| found.remove(&p.id()).flatten());
    (result, gradients.collect())
}

/// Lets `add` compute the gradient of `of`, given what was collected of it before,
/// and collects it; or gives `add` back if nobody collects for `of`.
pub(super) fn hand_over<F>(of: &Tensor, add: F) -> Option<F>
where
    F: FnOnce(Option<Vec<f32>>) -> Vec<f32>,
{
    // Out of its place while `add` runs, which may share the work among threads.
    let before = SINK.with_borrow_mut(|sink| Some(sink.as_mut()?.get_mut(&of.id())?.take()));
    let Some(before) = before else {
        return Some(add);
    };
    let gradient = add(before);
    SINK.with_borrow_mut(|sink| {
        if let Some(sink) = sink {
            sink.insert(of.id(), Some(gradient));
        }
    });
    None
}

//! Softmax and cross-entropy of one row.

use super::{dispatch, exp, fma, largest, sum_of, sum_of_pairs};

dispatch! {
    /// row = softmax(scale·row), in place; tells ln Σ exp(scale·row).
    pub fn softmax(row: &mut [f32], scale: f32) -> f32 = forward;
}

dispatch! {
    /// row = exp(scale·row - log_sum): [`softmax`] again from its log-sum.
    pub fn probabilities(row: &mut [f32], scale: f32, log_sum: f32) = again;
}

dispatch! {
    /// grad = scale·p·(grad - Σ p·grad): from the gradient of the probabilities to
    /// that of the unscaled scores.
    pub fn softmax_backward(p: &[f32], grad: &mut [f32], scale: f32) = backward;
}

dispatch! {
    /// Cross-entropy of a row of logits. The row becomes its own gradient,
    /// `weight`·(softmax - onehot).
    pub fn cross_entropy_row(row: &mut [f32], target: usize, weight: f32) -> f32 = entropy;
}

#[inline(always)]
fn forward<const FMA: bool>(row: &mut [f32], scale: f32) -> f32 {
    let top = largest(row);
    for v in &mut *row {
        *v = exp::<FMA>(scale * (*v - top));
    }
    let sum = sum_of(row, |v| v);
    let share = 1.0 / sum;
    for v in row {
        *v *= share;
    }
    scale * top + sum.ln()
}

#[inline(always)]
fn again<const FMA: bool>(row: &mut [f32], scale: f32, log_sum: f32) {
    for v in row {
        *v = exp::<FMA>(fma::<FMA>(scale, *v, -log_sum));
    }
}

#[inline(always)]
fn backward<const FMA: bool>(p: &[f32], grad: &mut [f32], scale: f32) {
    let mean = sum_of_pairs(p, grad, |p, g| p * g);
    for (g, &p) in grad.iter_mut().zip(p) {
        *g = scale * p * (*g - mean);
    }
}

#[inline(always)]
fn entropy<const FMA: bool>(row: &mut [f32], target: usize, weight: f32) -> f32 {
    let of_target = row[target];
    let loss = forward::<FMA>(row, 1.0) - of_target;
    for v in &mut *row {
        *v *= weight;
    }
    row[target] -= weight;
    loss
}

//! Gradients that are used only when they are all there and finite.
//!
//! That every parameter gets one is the model's own guard ([`Gpt2::gradients`]);
//! here loss and norm are watched, and what is not finite ends the job.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::gpt2::Gpt2;
use crate::train::error::TrainError;
use crate::train::host::with_f32;
use crate::train::optimizer::Target;

/// Values that are summed on their own, so that a sum has the same order, and
/// the same bits, on any number of threads.
const CHUNK: usize = 1 << 16;

/// One f32 gradient per trainable parameter, in the order of the parameters.
#[derive(Debug, Clone)]
pub struct Gradients(Vec<Tensor>);

/// The length of all gradients as one vector, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// The length.
    pub total: f64,
    /// The sum of squares of each gradient.
    pub squares: Vec<f64>,
}

impl Gradients {
    /// The gradients of a loss.
    ///
    /// # Errors
    /// If a parameter has none: the optimizer must not skip it in silence.
    pub fn of(model: &Gpt2, loss: &Tensor) -> Result<Self, TrainError> {
        let plain = |grad: Tensor| grad.to_dtype(DType::F32)?.contiguous();
        let tensors = model.gradients(loss)?.into_iter().map(plain);
        Ok(Self(tensors.collect::<Result<_, _>>()?))
    }

    /// These tensors, f32 and contiguous, as gradients.
    #[cfg(test)]
    pub(super) fn given(tensors: Vec<Tensor>) -> Self {
        Self(tensors)
    }

    /// The tensors, in the order of the parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0
    }

    /// These gradients times `weight`.
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn scaled(self, weight: f64) -> Result<Self, TrainError> {
        let scale = |grad: Tensor| grad.affine(weight, 0.0);
        let tensors = self.0.into_iter().map(scale).collect::<Result<_, _>>()?;
        Ok(Self(tensors))
    }

    /// These gradients plus `other` times `weight`.
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn plus(self, other: Self, weight: f64) -> Result<Self, TrainError> {
        let sum = |(a, b): (Tensor, Tensor)| a + b.affine(weight, 0.0)?;
        let pairs = self.0.into_iter().zip(other.0);
        Ok(Self(pairs.map(sum).collect::<Result<_, _>>()?))
    }

    /// The norm, summed in f64; a GPU sums each gradient's squares in f32.
    ///
    /// # Errors
    /// If the tensor library refuses.
    pub fn norm(&self) -> Result<Norm, TrainError> {
        let squares = sums_of_squares(&self.0)?;
        Ok(Norm {
            total: squares.iter().sum::<f64>().sqrt(),
            squares,
        })
    }
}

fn sums_of_squares(grads: &[Tensor]) -> candle_core::Result<Vec<f64>> {
    if grads.iter().all(|grad| grad.device().is_cpu()) {
        return grads.iter().map(sum_of_squares).collect();
    }
    let sum = |grad: &Tensor| grad.sqr()?.sum_all();
    let sums: Vec<Tensor> = grads.iter().map(sum).collect::<candle_core::Result<_>>()?;
    // One transfer for all: each is a wait for the device.
    let sums = Tensor::stack(&sums, 0)?.to_vec1::<f32>()?;
    Ok(sums.into_iter().map(f64::from).collect())
}

fn sum_of_squares(grad: &Tensor) -> candle_core::Result<f64> {
    if !grad.device().is_cpu() {
        return Ok(f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    with_f32(grad, |values| {
        let parts: Vec<f64> = values.par_chunks(CHUNK).map(chunk_of_squares).collect();
        parts.iter().sum()
    })
}

/// The sum of some squares, in wide vectors where the machine has them: the same
/// operations, and so the same bits.
fn chunk_of_squares(values: &[f32]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide(values: &[f32]) -> f64 {
            squares(values)
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: this machine has the feature, as was asked above.
            return unsafe { wide(values) };
        }
    }
    squares(values)
}

/// Eight running sums, so that the additions do not wait for each other.
#[inline(always)]
fn squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (lane, &value) in lanes.iter_mut().zip(eight) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    let rest: f64 = rest.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Requires a finite loss.
///
/// # Errors
/// If it is not: with the step, and the first parameter that is not finite.
pub fn finite_loss(loss: f64, step: u64, targets: &[Target]) -> Result<(), TrainError> {
    if loss.is_finite() {
        return Ok(());
    }
    let mut culprit = "the activations: every parameter is finite".to_owned();
    for target in targets {
        if !sum_of_squares(target.var.as_tensor())?.is_finite() {
            culprit.clone_from(&target.name);
            break;
        }
    }
    Err(TrainError::NonFinite {
        what: "loss",
        value: loss,
        step,
        culprit,
    })
}

/// Requires a finite gradient norm.
///
/// # Errors
/// If it is not: with the step, and the first gradient that is not finite.
pub fn finite_norm(norm: &Norm, step: u64, targets: &[Target]) -> Result<(), TrainError> {
    if norm.total.is_finite() {
        return Ok(());
    }
    let culprit = (targets.iter().zip(&norm.squares))
        .find(|(_, square)| !square.is_finite())
        .map_or_else(
            || "the sum over all gradients".to_owned(),
            |(target, _)| format!("the gradient of {}", target.name),
        );
    Err(TrainError::NonFinite {
        what: "gradient norm",
        value: norm.total,
        step,
        culprit,
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn targets(values: &[(&str, Vec<f32>)]) -> Vec<Target> {
        let target = |(name, values): &(&str, Vec<f32>)| Target {
            name: (*name).to_owned(),
            var: Var::new(values.as_slice(), &Device::Cpu).expect("a small tensor"),
            decay: true,
            rate: 1.0,
        };
        values.iter().map(target).collect()
    }

    #[test]
    fn what_is_not_finite_is_named_with_its_step() {
        let targets = targets(&[("a", vec![1.0, 2.0]), ("b", vec![1.0, f32::NAN])]);
        let error = finite_loss(f64::INFINITY, 3, &targets).expect_err("infinite");
        let text = error.to_string();
        assert!(
            text.contains("loss is inf at step 3, first seen in b"),
            "{text}"
        );
        finite_loss(1.0, 3, &targets).expect("finite");

        let tensors = targets.iter().map(|t| t.var.as_tensor().clone()).collect();
        let norm = Gradients(tensors).norm().expect("a norm");
        let text = finite_norm(&norm, 9, &targets)
            .expect_err("NaN")
            .to_string();
        assert!(
            text.contains("gradient norm is NaN at step 9, first seen in the gradient of b"),
            "{text}"
        );
    }

    #[test]
    fn the_norm_has_the_same_bits_on_any_number_of_threads() {
        let values: Vec<f32> = (0..300_001).map(|i| ((i % 977) as f32).sin()).collect();
        let exact: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
        let gradients = Gradients(vec![
            Tensor::from_vec(values, 300_001, &Device::Cpu).expect("a tensor"),
        ]);
        let norm = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a pool");
            pool.install(|| gradients.norm().expect("a norm").total)
        };
        assert_eq!(norm(1).to_bits(), norm(3).to_bits());
        assert!((norm(1) / exact.sqrt() - 1.0).abs() < 1e-12);
    }
}

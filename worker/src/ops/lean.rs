//! Products for the composite path that compute no gradient which nobody needs.
//!
//! The library's own backward pass of a product always computes both sides: the
//! gradient of a frozen weight above a trainable one, at half the cost of the
//! backward pass, and that of a constant mask. Detaching does not help, because
//! it looks at the product and not at its arguments. These look.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, Layout, MetalStorage, Result, Shape, Tensor, bail, op,
};

/// x·w: x (N, I), w (I, O) → (N, O), on any device.
pub(super) fn product(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.apply_op2(w, Product)
}

/// x times a constant of its shape, element by element; no gradient of the
/// constant.
pub(super) fn times_constant(x: &Tensor, constant: &Tensor) -> Result<Tensor> {
    x.apply_op2(&constant.detach(), TimesConstant)
}

struct Product;

impl Product {
    fn forward<S: BackendStorage>(
        x: &S,
        x_layout: &Layout,
        w: &S,
        w_layout: &Layout,
    ) -> Result<(S, Shape)> {
        let (n, inner) = x_layout.shape().dims2()?;
        let (w_inner, o) = w_layout.shape().dims2()?;
        if inner != w_inner {
            bail!(
                "product: x {:?} and weight {:?} don't fit",
                x_layout.shape(),
                w_layout.shape()
            );
        }
        for (name, layout) in [("x", x_layout), ("weight", w_layout)] {
            if !is_dense(layout)? {
                bail!("product: {name} must be a dense matrix or its transpose, got {layout:?}");
            }
        }
        let out = x.matmul(w, (1, n, o, inner), x_layout, w_layout)?;
        Ok((out, (n, o).into()))
    }
}

/// Whether a matrix is dense, or the transpose of a dense one: what a GPU's product
/// takes. The processor's takes any strides; asking the same of it shows on every
/// machine what would fail on a GPU alone.
fn is_dense(layout: &Layout) -> Result<bool> {
    let (rows, columns) = layout.shape().dims2()?;
    let &[down, across] = layout.stride() else {
        bail!("a matrix has two strides, got {layout:?}");
    };
    let plain = (across == 1 || columns == 1) && (down == columns || rows == 1);
    let turned = (down == 1 || rows == 1) && (across == rows || columns == 1);
    Ok(plain || turned)
}

struct TimesConstant;

impl TimesConstant {
    fn forward<S: BackendStorage>(
        x: &S,
        x_layout: &Layout,
        constant: &S,
        constant_layout: &Layout,
    ) -> Result<(S, Shape)> {
        if x_layout.shape() != constant_layout.shape() {
            bail!(
                "a constant of shape {:?} does not fit {:?}",
                constant_layout.shape(),
                x_layout.shape()
            );
        }
        let out = x.binary_impl::<op::Mul>(constant, x_layout, constant_layout)?;
        Ok((out, x_layout.shape().clone()))
    }
}

/// The three devices' forward passes, which are one: the storage knows how.
macro_rules! on_every_device {
    () => {
        fn cpu_fwd(
            &self,
            a: &CpuStorage,
            a_layout: &Layout,
            b: &CpuStorage,
            b_layout: &Layout,
        ) -> Result<(CpuStorage, Shape)> {
            Self::forward(a, a_layout, b, b_layout)
        }

        fn cuda_fwd(
            &self,
            a: &CudaStorage,
            a_layout: &Layout,
            b: &CudaStorage,
            b_layout: &Layout,
        ) -> Result<(CudaStorage, Shape)> {
            Self::forward(a, a_layout, b, b_layout)
        }

        fn metal_fwd(
            &self,
            a: &MetalStorage,
            a_layout: &Layout,
            b: &MetalStorage,
            b_layout: &Layout,
        ) -> Result<(MetalStorage, Shape)> {
            Self::forward(a, a_layout, b, b_layout)
        }
    };
}

/// Computes a gradient if `of` leads to something that trains.
fn wanted(of: &Tensor, gradient: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
    of.track_op().then(gradient).transpose()
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    on_every_device!();

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((
            wanted(x, || product(grad, &w.detach().t()?))?,
            wanted(w, || product(&x.detach().t()?, grad))?,
        ))
    }
}

impl CustomOp2 for TimesConstant {
    fn name(&self) -> &'static str {
        "times-constant"
    }

    on_every_device!();

    fn bwd(
        &self,
        x: &Tensor,
        constant: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((wanted(x, || grad * constant)?, None))
    }
}

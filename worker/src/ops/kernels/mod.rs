//! Loops over slices of f32, compiled twice: for any machine, and for AVX2 with
//! FMA, chosen when the program runs. A body is written once, over `FMA`; the
//! compiler turns its fixed-size arrays into vectors.
//!
//! Every sum has one fixed order, so results don't depend on threads.

mod gelu;
pub(super) mod matrix;
mod norm;
mod rows;
pub(super) mod small;
mod softmax;

pub(super) use gelu::{gelu, gelu_and_slope};
pub(super) use norm::{Moments, norm, norm_backward};
pub(super) use rows::{add_columns, add_to, column_sums, dots, outer, sum_into, times, transpose};
pub(super) use softmax::{cross_entropy_row, probabilities, softmax, softmax_backward};

/// Declares a function that runs `body::<true>` where AVX2 and FMA are, and
/// `body::<FMA_IS_BASELINE>` elsewhere. Kernels take their shapes and slices one by
/// one: a struct for each would be built and taken apart in the hot loop's caller.
macro_rules! dispatch {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident;) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "shapes and slices, one by one")]
        pub(in crate::ops) fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "shapes and slices, one by one")]
                fn wide($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: this machine has both features, as was asked above.
                    return unsafe { wide($($arg),*) };
                }
            }
            $body::<{ crate::ops::kernels::FMA_IS_BASELINE }>($($arg),*)
        }
    };
}
pub(in crate::ops::kernels) use dispatch;

/// Whether the target has fused multiply-add without asking. Where it has none,
/// `mul_add` would be a library call per element.
const FMA_IS_BASELINE: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// a·b + c, rounded once with `FMA`, else twice.
#[inline(always)]
fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x to 2 units in the last place; x is held within [-87, 88], where the result
/// is a normal number. NaN stays NaN. Cephes' polynomial, without branches.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let n = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let k = n - ROUND;
    // ln 2 in two parts, the first with few bits: k times it is exact.
    let r = fma::<FMA>(k, 2.121_944_4e-4, fma::<FMA>(k, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    p = fma::<FMA>(p, r, 1.398_199_9e-3);
    p = fma::<FMA>(p, r, 8.333_452e-3);
    p = fma::<FMA>(p, r, 4.166_579_6e-2);
    p = fma::<FMA>(p, r, 1.666_666_5e-1);
    p = fma::<FMA>(p, r, 5e-1);
    let p = fma::<FMA>(p, r * r, r) + 1.0;
    let power = f32::from_bits((n.to_bits() << 23).wrapping_add(127 << 23));
    p * power
}

/// Lanes of a reduction: two AVX2 vectors.
const LANES: usize = 16;

/// Folds `f` over all elements in `LANES` parts, the parts in order.
#[inline(always)]
fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f(v);
        }
    }
    lanes.iter().sum::<f32>() + tail.iter().map(|&v| f(v)).sum::<f32>()
}

/// Σ f(xᵢ, yᵢ), in the order of [`sum_of`].
#[inline(always)]
fn sum_of_pairs(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((xs, x_tail), (ys, y_tail)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (a, b) in xs.iter().zip(ys) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    let tail = x_tail
        .iter()
        .zip(y_tail)
        .map(|(&a, &b)| f(a, b))
        .sum::<f32>();
    lanes.iter().sum::<f32>() + tail
}

/// The largest element, -∞ if there is none. A NaN may go unseen; sums show it.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, tail) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, v);
        }
    }
    lanes
        .iter()
        .chain(tail)
        .fold(f32::NEG_INFINITY, |m, &v| larger(m, v))
}

#[cfg(test)]
mod tests {
    use super::*;

    dispatch! {
        /// e^x of every element.
        pub fn exp_all(x: &mut [f32]) = exp_body;
    }

    #[inline(always)]
    fn exp_body<const FMA: bool>(x: &mut [f32]) {
        for v in x {
            *v = exp::<FMA>(*v);
        }
    }

    #[test]
    fn the_exponential_is_one() {
        let at: Vec<f32> = (-8700..8800).map(|i| i as f32 * 0.01).collect();
        let (mut chosen, mut plain) = (at.clone(), at.clone());
        exp_all(&mut chosen);
        exp_body::<false>(&mut plain);
        for (i, &x) in at.iter().enumerate() {
            let exact = f64::from(x).exp();
            for found in [chosen[i], plain[i]] {
                let error = (f64::from(found) - exact).abs() / exact;
                assert!(error < 2.5e-7, "e^{x}: {found}, relative error {error}");
            }
        }
        let mut edge = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
        exp_all(&mut edge);
        assert!(
            edge[0].is_nan() && edge[1] < 1e-37 && edge[2] > 1e38,
            "{edge:?}"
        );
    }
}

//! GELU in its tanh form (`gelu_new`), over slices.
//!
//! ½x(1 + tanh u) = x·σ(2u) with u = √(2/π)·(x + .044715x³): one exponential
//! instead of a hyperbolic tangent.

use super::{dispatch, exp, fma};

/// 2·√(2/π)
const SCALE: f32 = 1.595_769_2;
const CUBIC: f32 = 0.044_715;

dispatch! {
    /// x = gelu(x).
    pub fn gelu(x: &mut [f32]) = alone;
}

dispatch! {
    /// out = gelu(x) and x = gelu'(x): the slope is all that the way back needs, and
    /// shares the exponential.
    pub fn gelu_and_slope(x: &mut [f32], out: &mut [f32]) = both;
}

/// σ(2u)
#[inline(always)]
fn gate<const FMA: bool>(x: f32) -> f32 {
    let twice = SCALE * x * fma::<FMA>(CUBIC * x, x, 1.0);
    1.0 / (1.0 + exp::<FMA>(-twice))
}

#[inline(always)]
fn alone<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x *= gate::<FMA>(*x);
    }
}

#[inline(always)]
fn both<const FMA: bool>(x: &mut [f32], out: &mut [f32]) {
    for (out, at) in out.iter_mut().zip(x) {
        let x = *at;
        let s = gate::<FMA>(x);
        // d(2u)/dx
        let inner = SCALE * fma::<FMA>(3.0 * CUBIC * x, x, 1.0);
        *out = x * s;
        *at = fma::<FMA>(x * s * (1.0 - s), inner, s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_slopes_are_those_of_the_formula() {
        let at: Vec<f32> = (-1200..1200).map(|i| i as f32 * 0.01).collect();
        let exact = |x: f64| {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        };
        let (mut value, mut slope) = (vec![0.0; at.len()], at.clone());
        gelu_and_slope(&mut slope, &mut value);
        let mut in_place = at.clone();
        gelu(&mut in_place);
        assert_eq!(in_place, value, "the same bits with and without the slope");
        for ((&x, &value), &slope) in at.iter().zip(&value).zip(&slope) {
            let x = f64::from(x);
            assert!((f64::from(value) - exact(x)).abs() < 2e-6, "gelu({x})");
            let difference = (exact(x + 1e-5) - exact(x - 1e-5)) / 2e-5;
            assert!((f64::from(slope) - difference).abs() < 2e-6, "gelu'({x})");
        }
    }
}

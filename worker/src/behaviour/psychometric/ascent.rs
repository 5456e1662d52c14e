//! The maximum of a smooth function of five bounded parameters, by damped Newton
//! steps. No randomness: equal data give equal bits.

use super::linear::Cholesky;

/// A parameter this near to a bound, pushed towards it, is put on it.
const NEAR: f64 = 1e-4;
const STEPS_MAX: usize = 200;
const HALVINGS_MAX: usize = 50;
/// Share of the promised gain that a step must bring (Armijo).
const GAIN_MIN: f64 = 1e-4;
/// A promised gain below this share of the value can't be told from rounding.
const ROUNDING: f64 = 1e-14;

/// What is maximised.
pub(super) trait Target {
    /// Lowest and highest value of each parameter.
    fn bounds(&self) -> [(f64, f64); 5];
    /// The function.
    fn value(&self, at: &[f64; 5]) -> f64;
    /// Its derivatives.
    fn derivatives(&self, at: &[f64; 5]) -> Derivatives;
}

/// Derivatives of a log-likelihood.
#[derive(Debug, Clone, Default)]
pub(super) struct Derivatives {
    /// First ones.
    pub gradient: [f64; 5],
    /// Second ones with the sign turned: the observed information.
    pub observed: [[f64; 5]; 5],
    /// Their expectation: positive semi-definite everywhere.
    pub expected: [[f64; 5]; 5],
}

/// A maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Maximum {
    /// Where it is.
    pub at: [f64; 5],
    /// How high.
    pub value: f64,
}

/// Climbs from `start`; `None` if no maximum is reached within the steps.
///
/// Bounds as in Bertsekas 1982: parameters at a bound, or near it and pushed
/// towards it, leave the Newton system and move by their own curvature; every
/// trial point is put back between the bounds.
pub(super) fn maximum(target: &impl Target, start: [f64; 5]) -> Option<Maximum> {
    let bounds = target.bounds();
    let within = |at: [f64; 5]| -> [f64; 5] {
        std::array::from_fn(|k| at[k].clamp(bounds[k].0, bounds[k].1))
    };
    let mut at = within(start);
    let mut value = target.value(&at);
    for _ in 0..STEPS_MAX {
        let d = target.derivatives(&at);
        let held: [bool; 5] = std::array::from_fn(|k| {
            let (low, high) = bounds[k];
            (at[k] - low <= NEAR && d.gradient[k] <= 0.0)
                || (high - at[k] <= NEAR && d.gradient[k] >= 0.0)
        });
        let step = step(&d, &held)?;
        let trial = |share: f64| within(std::array::from_fn(|k| at[k] + share * step[k]));
        let rounding = ROUNDING * (1.0 + value.abs());
        let mut share = 1.0;
        let mut next = None;
        for _ in 0..HALVINGS_MAX {
            let to = trial(share);
            let promised: f64 = (0..5).map(|k| d.gradient[k] * (to[k] - at[k])).sum();
            let reached = target.value(&to);
            if promised.abs() <= rounding {
                // The step is still taken: it doubles the digits.
                let better = reached.is_finite() && reached >= value - rounding;
                let (at, value) = if better { (to, reached) } else { (at, value) };
                return Some(Maximum { at, value });
            }
            if reached.is_finite() && reached >= value + GAIN_MIN * promised {
                next = Some((to, reached));
                break;
            }
            share /= 2.0;
        }
        (at, value) = next?;
    }
    None
}

/// A direction in which the function grows: by the observed information where it
/// is positive definite, else by the expected one, damped as far as needed.
fn step(d: &Derivatives, held: &[bool; 5]) -> Option<[f64; 5]> {
    let mut gradient = d.gradient;
    let mut alone = [0.0; 5];
    let mut systems = [d.observed, d.expected];
    for k in (0..5).filter(|&k| held[k]) {
        let curvature = d.expected[k][k];
        alone[k] = if curvature > 0.0 {
            gradient[k] / curvature
        } else {
            0.0
        };
        gradient[k] = 0.0;
        for system in &mut systems {
            hold(system, k);
        }
    }
    let [observed, expected] = systems;
    let most = (0..5).map(|k| expected[k][k]).fold(0.0, f64::max);
    let damped = [0.0, 1e-8, 1e-6, 1e-4, 1e-2].map(|damping| {
        let mut system = expected;
        for (k, row) in system.iter_mut().enumerate() {
            row[k] += damping * most;
        }
        system
    });
    let factor = [observed].iter().chain(&damped).find_map(Cholesky::of)?;
    let mut step = factor.solve(gradient);
    for k in (0..5).filter(|&k| held[k]) {
        step[k] = alone[k];
    }
    Some(step)
}

/// Takes a parameter out of a system.
pub(super) fn hold(system: &mut [[f64; 5]; 5], k: usize) {
    for row in system.iter_mut() {
        row[k] = 0.0;
    }
    system[k] = [0.0; 5];
    system[k][k] = 1.0;
}

//! One fit: L-BFGS over weights and intercept, a step for each gradient.

use std::collections::VecDeque;

use super::{Design, Family, NotConverged, Problem, Solution};
use crate::mechanism::numerics::matrix::{add_scaled, dot};

/// Gradients of one fit; a dozen are usual.
const EVALUATIONS_MAX: usize = 200;
/// … and of one in f64.
const EXACT_EVALUATIONS_MAX: usize = 5000;
/// Pairs of steps and gradients that L-BFGS remembers.
pub(super) const MEMORY: usize = 10;
/// Squared Newton decrement, twice the distance to the minimum of the objective, at
/// which a fit ends: the weights are then within √(this/λ).
const DECREMENT: f64 = 1e-7;
/// … and at which it may end when f32 resolves no better step.
const DECREMENT_STALLED: f64 = 1e-4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Under,
    Converged,
    Failed,
}

/// In what scores and gradients come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Single,
    Double,
}

impl Precision {
    fn evaluations_max(self) -> usize {
        match self {
            Self::Single => EVALUATIONS_MAX,
            Self::Double => EXACT_EVALUATIONS_MAX,
        }
    }
}

/// A step s, the change y of the gradient over it, and 1/(sᵀy).
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    rho: f64,
}

/// A fit under way. Vectors are weights, then the intercept.
pub(super) struct Fit<'a> {
    pub(super) problem: Problem<'a>,
    at: Vec<f64>,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    /// The next point is `at + length·direction`.
    length: f64,
    /// Derivative along the direction, at `at`.
    slope: f64,
    memory: VecDeque<Pair>,
    /// Σ over training rows of the second derivative of the loss.
    pub(super) curvature: f64,
    evaluations: usize,
    shrunk: u32,
    /// Has taken a step and waits for a direction.
    pub(super) waits: bool,
    state: State,
    precision: Precision,
}

/// Of the residuals of one fit.
#[derive(Clone, Copy)]
pub(super) struct Slope {
    /// Σ of residuals: the derivative by the intercept.
    pub(super) intercept: f64,
    /// Σ of second derivatives.
    pub(super) curvature: f64,
}

impl<'a> Fit<'a> {
    pub(super) fn new(design: &Design, problem: Problem<'a>, start: Option<&Solution>) -> Self {
        let d = design.x.columns;
        assert_eq!(
            (
                problem.labels.len(),
                problem.train.len(),
                problem.variance.len()
            ),
            (design.x.rows, design.x.rows, d),
            "a problem of the design's size"
        );
        let mut at = vec![0.0; d + 1];
        if let Some(start) = start {
            at[..d].copy_from_slice(&start.weights);
            at[d] = start.intercept;
        }
        Self {
            problem,
            at,
            gradient: vec![],
            direction: vec![0.0; d + 1],
            length: 0.0,
            slope: 0.0,
            memory: VecDeque::new(),
            curvature: 0.0,
            evaluations: 0,
            shrunk: 0,
            waits: false,
            state: State::Under,
            precision: Precision::Single,
        }
    }

    /// Goes on from where it failed, with scores and gradients in f64 from now on.
    pub(super) fn again_in_double(self) -> Self {
        Self {
            gradient: vec![],
            direction: vec![0.0; self.at.len()],
            length: 0.0,
            slope: 0.0,
            memory: VecDeque::new(),
            evaluations: 0,
            shrunk: 0,
            waits: false,
            state: State::Under,
            precision: Precision::Double,
            ..self
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.state == State::Under
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// The weights to be evaluated next, then the intercept.
    pub(super) fn point(&self) -> impl Iterator<Item = f64> {
        let step = self.direction.iter().map(|d| self.length * d);
        self.at.iter().zip(step).map(|(at, step)| at + step)
    }

    pub(super) fn write_point(&self, out: &mut [f32]) {
        for (out, v) in out.iter_mut().zip(self.point()) {
            *out = v as f32;
        }
    }

    /// wᵀx of all rows → derivatives of the loss.
    pub(super) fn residuals(&self, scores: &mut [f32]) -> Slope {
        let intercept = self.point().last().expect("there is an intercept") as f32;
        let Problem { labels, train, .. } = self.problem;
        match self.problem.family {
            Family::Logistic => residuals(scores, labels, train, |z, y| {
                let p = sigmoid(z + intercept);
                (p - y, p * (1.0 - p))
            }),
            Family::Gaussian => residuals(scores, labels, train, |z, y| (z + intercept - y, 1.0)),
        }
    }

    /// The same of one row, in f64.
    pub(super) fn residual(&self, row: usize, score: f64) -> (f64, f64) {
        let (y, train) = (self.problem.labels[row], self.problem.train[row]);
        let (first, second) = match self.problem.family {
            Family::Logistic => {
                let p = 1.0 / (1.0 + (-score).exp());
                (p - f64::from(y), p * (1.0 - p))
            }
            Family::Gaussian => (score - f64::from(y), 1.0),
        };
        (first * f64::from(train), second * f64::from(train))
    }

    /// Takes the step, or shortens it, now that the gradient at its end is known.
    pub(super) fn evaluated(&mut self, of_loss: impl ExactSizeIterator<Item = f64>, slope: Slope) {
        self.evaluations += 1;
        self.waits = false;
        let d = of_loss.len();
        let point: Vec<f64> = self.point().collect();
        let Problem {
            variance, penalty, ..
        } = self.problem;
        let mut gradient = Vec::with_capacity(d + 1);
        let weights = of_loss.zip(&point).zip(variance);
        gradient.extend(weights.map(|((g, w), v)| g + penalty * v * w));
        gradient.push(slope.intercept);
        debug_assert_eq!(gradient.len(), d + 1);
        if self.evaluations > 1 {
            let now = dot(&gradient, &self.direction);
            // Convex: beyond the minimum along the line the derivative is above 0.
            // A step that ends where it climbs half as steeply as it fell is too long.
            if now > -0.5 * self.slope {
                let to = (self.slope / (self.slope - now)).clamp(0.1, 0.8);
                self.length *= to;
                self.shrunk += 1;
                if self.shrunk > 12 {
                    self.stall();
                }
                return;
            }
            let step: Vec<f64> = self.direction.iter().map(|v| v * self.length).collect();
            let change: Vec<f64> = (gradient.iter().zip(&self.gradient))
                .map(|(new, old)| new - old)
                .collect();
            let along = dot(&step, &change);
            if along > 1e-12 * dot(&change, &change).sqrt() * dot(&step, &step).sqrt() {
                if self.memory.len() == MEMORY {
                    self.memory.pop_front();
                }
                let rho = 1.0 / along;
                self.memory.push_back(Pair { step, change, rho });
            }
        }
        self.at = point;
        self.gradient = gradient;
        // Not 0 where all rows are answered with certainty.
        self.curvature = slope.curvature.max(1e-6);
        self.shrunk = 0;
        self.waits = true;
    }

    /// Neither a better point nor a better direction is to be had.
    fn stall(&mut self) {
        self.state = match -self.slope <= DECREMENT_STALLED {
            true => State::Converged,
            false => State::Failed,
        };
    }

    /// The first of the two loops over the memory: q, and the share of each pair.
    pub(super) fn first_loop(&self) -> (Vec<f64>, Vec<f64>) {
        let mut q = self.gradient.clone();
        let mut shares = vec![0.0; self.memory.len()];
        for (pair, share) in self.memory.iter().zip(&mut shares).rev() {
            *share = pair.rho * dot(&pair.step, &q);
            add_scaled(&mut q, -*share, &pair.change);
        }
        (q, shares)
    }

    /// The second one, from the metric's answer to q.
    pub(super) fn second_loop(&mut self, mut direction: Vec<f64>, shares: &[f64]) {
        for (pair, share) in self.memory.iter().zip(shares) {
            let back = pair.rho * dot(&pair.change, &direction);
            add_scaled(&mut direction, share - back, &pair.step);
        }
        direction.iter_mut().for_each(|v| *v = -*v);
        self.slope = dot(&self.gradient, &direction);
        self.direction = direction;
        self.length = 1.0;
        if self.slope.is_nan() {
            self.state = State::Failed;
        } else if -self.slope <= DECREMENT {
            self.state = State::Converged;
        } else if self.evaluations >= self.precision.evaluations_max() {
            self.stall();
        }
    }

    pub(super) fn finish(self) -> Result<Solution, NotConverged> {
        let mut weights = self.at;
        let intercept = weights.pop().expect("there is an intercept");
        match self.state {
            State::Converged => Ok(Solution { weights, intercept }),
            State::Under | State::Failed => Err(NotConverged),
        }
    }
}

const LANES: usize = 8;

/// Scores → first derivatives by them, 0 where a row does not train.
#[inline(always)]
fn residuals(
    scores: &mut [f32],
    labels: &[f32],
    train: &[f32],
    of: impl Fn(f32, f32) -> (f32, f32),
) -> Slope {
    let (mut first, mut second) = ([0.0_f64; LANES], [0.0_f64; LANES]);
    let (scores, rest) = scores.as_chunks_mut::<LANES>();
    let ((labels, label_rest), (train, train_rest)) =
        (labels.as_chunks::<LANES>(), train.as_chunks::<LANES>());
    for ((z, y), m) in scores.iter_mut().zip(labels).zip(train) {
        for lane in 0..LANES {
            let (r, c) = of(z[lane], y[lane]);
            z[lane] = r * m[lane];
            first[lane] += f64::from(r * m[lane]);
            second[lane] += f64::from(c * m[lane]);
        }
    }
    for ((z, &y), &m) in rest.iter_mut().zip(label_rest).zip(train_rest) {
        let (r, c) = of(*z, y);
        *z = r * m;
        first[0] += f64::from(r * m);
        second[0] += f64::from(c * m);
    }
    Slope {
        intercept: first.iter().sum(),
        curvature: second.iter().sum(),
    }
}

/// 1/(1 + e^−z) to 3e-7, without a branch or a call, so that it becomes vectors.
/// Cephes' polynomial for the exponential.
#[inline(always)]
fn sigmoid(z: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = (-z).clamp(-87.0, 87.0);
    let n = x * std::f32::consts::LOG2_E + ROUND;
    let k = n - ROUND;
    // ln 2 in two parts, the first with few bits: k times it is exact.
    let r = (x - k * 0.693_359_4) + k * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let p = p * (r * r) + r + 1.0;
    let power = f32::from_bits((n.to_bits() << 23).wrapping_add(127 << 23));
    1.0 / (1.0 + p * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sigmoid_is_one() {
        for i in -4000..4000 {
            let z = i as f32 * 0.025;
            let exact = 1.0 / (1.0 + (-f64::from(z)).exp());
            let off = (f64::from(sigmoid(z)) - exact).abs();
            assert!(off < 3e-7, "{z}: off by {off}");
        }
        assert!(sigmoid(f32::NAN).is_nan());
        assert_eq!(sigmoid(1e30), 1.0);
        assert!(sigmoid(-1e30) < 1e-37);
    }
}

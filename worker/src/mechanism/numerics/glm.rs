//! Penalised linear models, logistic and Gaussian, many at once over one matrix.
//!
//! minimise Σ loss(yᵢ, b + wᵀxᵢ) + λ/2 Σ vⱼ wⱼ² over the training rows i; loss is
//! the logistic one, or half the squared error; vⱼ is the variance of column j over
//! these rows, so the penalty is that of standardised columns. It is scikit-learn's
//! `StandardScaler` with `LogisticRegression(C=1/λ)` or `Ridge(alpha=λ)`.
//!
//! A cross-validation asks for hundreds of fits to subsets of the same rows. So all
//! share the matrix, a fit's training rows are a mask, and each round is two matrix
//! products for all fits: scores and gradients. Each fit is then one step of L-BFGS
//! (Nocedal and Wright, Numerical Optimization, 7.2), whose first metric is the
//! Hessian with the mean curvature of the loss: with the eigenvectors of XᵀX, known
//! once, it is diagonal for any fit and any penalty. Half a dozen rounds suffice.
//!
//! Scores and gradients are f32, all else f64.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::eigen::{self, Eigen};
use super::matrix::{Matrix, View, add_scaled, dot, product, product_into};
use super::standard::Scale;

/// The loss of a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Labels 0 and 1, logistic loss.
    Logistic,
    /// Any numbers, half the squared error.
    Gaussian,
}

/// The matrix that all fits share.
pub struct Design {
    /// Columns with mean 0 and standard deviation 1 over all rows: (N, D).
    pub x: Matrix<f32>,
    /// How they were standardised.
    pub scale: Scale,
    /// Of XᵀX / N.
    eigen: Eigen,
}

/// One fit.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The loss.
    pub family: Family,
    /// The label of each row.
    pub labels: &'a [f32],
    /// 1 for each row that trains, 0 for the others.
    pub train: &'a [f32],
    /// The variance of each column over the rows that train, above 0.
    pub variance: &'a [f64],
    /// λ, above 0.
    pub penalty: f64,
}

/// A linear function of the standardised columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// One for each column.
    pub weights: Vec<f64>,
    /// The value at 0.
    pub intercept: f64,
}

/// A fit whose gradient did not vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the fit did not converge in {EVALUATIONS_MAX} steps")]
pub struct NotConverged;

/// Fits in one matrix product.
const BATCH: usize = 128;
/// Gradients of one fit; a dozen are usual.
const EVALUATIONS_MAX: usize = 200;
/// Pairs of steps and gradients that L-BFGS remembers.
const MEMORY: usize = 10;
/// Squared Newton decrement, twice the distance to the minimum of the objective, at
/// which a fit ends: the weights are then within √(this/λ).
const DECREMENT: f64 = 1e-7;
/// … and at which it may end when f32 resolves no better step.
const DECREMENT_STALLED: f64 = 1e-4;

/// Bytes of a batch of fits of so many columns, beside those of the design and of the
/// scores of its rows.
pub const fn batch_bytes(width: usize) -> usize {
    // Pairs of a step and a change; point, gradient, direction, the two that the next
    // one is made from, and in f32 the points and gradients of the products.
    let vectors = 2 * MEMORY + 6;
    size_of::<f64>() * BATCH * vectors * (width + 1)
}

impl Design {
    /// Standardises activations (N, D). `None` if one is not finite.
    pub fn new(x: &Matrix<f32>) -> Option<Self> {
        let scale = Scale::of(x);
        let x = scale.apply_f32(x);
        let mut gram = product(x.t(), x.view()).wide();
        let n = x.rows as f64;
        gram.data.iter_mut().for_each(|v| *v /= n);
        let eigen = eigen::symmetric(&gram)?;
        Some(Self { x, scale, eigen })
    }

    /// The value of each solution at each row of `x`, which is standardised as the
    /// design is: (K, N).
    pub fn scores(x: &Matrix<f32>, solutions: &[&Solution]) -> Matrix<f32> {
        let weights = solutions.iter().flat_map(|s| &s.weights);
        let weights: Vec<f32> = weights.map(|&w| w as f32).collect();
        let weights = View::new(&weights, solutions.len(), x.columns);
        let mut scores = product(weights, x.t());
        for (row, solution) in solutions.iter().enumerate() {
            let intercept = solution.intercept as f32;
            scores.row_mut(row).iter_mut().for_each(|z| *z += intercept);
        }
        scores
    }

    /// Fits all problems, each from its own start (or from 0 where there is none).
    ///
    /// # Errors
    /// Of `pulse`, which is called before each batch.
    pub fn solve<E>(
        &self,
        problems: &[Problem<'_>],
        start: &[Option<&Solution>],
        pulse: &mut impl FnMut() -> Result<(), E>,
    ) -> Result<Vec<Result<Solution, NotConverged>>, E> {
        let mut solved = Vec::with_capacity(problems.len());
        for (problems, start) in problems.chunks(BATCH).zip(start.chunks(BATCH)) {
            pulse()?;
            let fits = problems.iter().zip(start);
            let mut fits: Vec<Fit<'_>> = fits.map(|(p, s)| Fit::new(self, *p, *s)).collect();
            self.descend(&mut fits);
            solved.extend(fits.into_iter().map(Fit::finish));
        }
        Ok(solved)
    }

    /// Rounds over all fits that are still under way.
    fn descend(&self, fits: &mut [Fit<'_>]) {
        let (n, d) = (self.x.rows, self.x.columns);
        let mut points = vec![0.0_f32; fits.len() * d];
        let mut scores = vec![0.0_f32; fits.len() * n];
        let mut gradients = vec![0.0_f32; fits.len() * d];
        loop {
            let mut active: Vec<_> = fits
                .iter_mut()
                .filter(|f| f.state == State::Under)
                .collect();
            let k = active.len();
            if k == 0 {
                return;
            }
            for (point, fit) in points.chunks_mut(d).zip(&active) {
                fit.write_point(point);
            }
            let at = View::new(&points[..k * d], k, d);
            product_into(&mut scores, at, self.x.t()); // (K, N)
            let slopes: Vec<_> = (scores[..k * n].par_chunks_mut(n).zip(&active))
                .map(|(scores, fit)| fit.residuals(scores))
                .collect();
            let residuals = View::new(&scores[..k * n], k, n);
            product_into(&mut gradients, residuals, self.x.view()); // (K, D)
            for ((fit, gradient), slope) in active.iter_mut().zip(gradients.chunks(d)).zip(slopes) {
                fit.evaluated(gradient, slope);
            }
            active.retain(|fit| fit.waits);
            self.directions(&mut active);
        }
    }

    /// New directions −H g for fits that have taken a step.
    fn directions(&self, fits: &mut [&mut Fit<'_>]) {
        let d = self.x.columns;
        let first: Vec<_> = fits.iter().map(|fit| fit.first_loop()).collect();
        let weights = first.iter().flat_map(|(q, _)| &q[..d]).copied().collect();
        let weights = Matrix::new(fits.len(), d, weights);
        let mut along = product(weights.view(), self.eigen.vectors.t()); // (K, D)
        for (row, fit) in fits.iter().enumerate() {
            let curvature = fit.curvature;
            for (v, value) in along.row_mut(row).iter_mut().zip(&self.eigen.values) {
                *v /= curvature * value.max(0.0) + fit.problem.penalty;
            }
        }
        let back = product(along.view(), self.eigen.vectors.view());
        for ((row, fit), (q, shares)) in fits.iter_mut().enumerate().zip(first) {
            let mut direction = back.row(row).to_vec();
            direction.push(q[d] / fit.curvature);
            fit.second_loop(direction, &shares);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Under,
    Converged,
    Failed,
}

/// A step s, the change y of the gradient over it, and 1/(sᵀy).
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    rho: f64,
}

/// A fit under way. Vectors are weights, then the intercept.
struct Fit<'a> {
    problem: Problem<'a>,
    at: Vec<f64>,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    /// The next point is `at + length·direction`.
    length: f64,
    /// Derivative along the direction, at `at`.
    slope: f64,
    memory: VecDeque<Pair>,
    /// Σ over training rows of the second derivative of the loss.
    curvature: f64,
    evaluations: usize,
    shrunk: u32,
    /// Has taken a step and waits for a direction.
    waits: bool,
    state: State,
}

/// Of the residuals of one fit.
#[derive(Clone, Copy)]
struct Slope {
    /// Σ of residuals: the derivative by the intercept.
    intercept: f64,
    /// Σ of second derivatives.
    curvature: f64,
}

impl<'a> Fit<'a> {
    fn new(design: &Design, problem: Problem<'a>, start: Option<&Solution>) -> Self {
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
        }
    }

    fn point(&self) -> impl Iterator<Item = f64> {
        let step = self.direction.iter().map(|d| self.length * d);
        self.at.iter().zip(step).map(|(at, step)| at + step)
    }

    fn write_point(&self, out: &mut [f32]) {
        for (out, v) in out.iter_mut().zip(self.point()) {
            *out = v as f32;
        }
    }

    /// wᵀx of all rows → derivatives of the loss.
    fn residuals(&self, scores: &mut [f32]) -> Slope {
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

    /// Takes the step, or shortens it, now that the gradient at its end is known.
    fn evaluated(&mut self, of_loss: &[f32], slope: Slope) {
        self.evaluations += 1;
        self.waits = false;
        let d = of_loss.len();
        let point: Vec<f64> = self.point().collect();
        let Problem {
            variance, penalty, ..
        } = self.problem;
        let mut gradient: Vec<f64> = (of_loss.iter().zip(&point).zip(variance))
            .map(|((&g, w), v)| f64::from(g) + penalty * v * w)
            .collect();
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
    fn first_loop(&self) -> (Vec<f64>, Vec<f64>) {
        let mut q = self.gradient.clone();
        let mut shares = vec![0.0; self.memory.len()];
        for (pair, share) in self.memory.iter().zip(&mut shares).rev() {
            *share = pair.rho * dot(&pair.step, &q);
            add_scaled(&mut q, -*share, &pair.change);
        }
        (q, shares)
    }

    /// The second one, from the metric's answer to q.
    fn second_loop(&mut self, mut direction: Vec<f64>, shares: &[f64]) {
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
        } else if self.evaluations >= EVALUATIONS_MAX {
            self.stall();
        }
    }

    fn finish(self) -> Result<Solution, NotConverged> {
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
    use super::super::tests::{narrow, random};
    use super::*;

    fn go_on() -> Result<(), std::convert::Infallible> {
        Ok(())
    }

    /// The largest derivative of the objective, in f64, at a solution.
    fn gradient(design: &Design, problem: &Problem<'_>, solution: &Solution) -> f64 {
        let mut gradient: Vec<f64> = (solution.weights.iter().zip(problem.variance))
            .map(|(w, v)| problem.penalty * v * w)
            .collect();
        gradient.push(0.0);
        for (row, x) in design.x.iter_rows().enumerate() {
            let x: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            let z = solution.intercept + dot(&x, &solution.weights);
            let y = f64::from(problem.labels[row]);
            let residual = match problem.family {
                Family::Logistic => 1.0 / (1.0 + (-z).exp()) - y,
                Family::Gaussian => z - y,
            };
            let residual = residual * f64::from(problem.train[row]);
            add_scaled(&mut gradient[..x.len()], residual, &x);
            gradient[x.len()] += residual;
        }
        gradient.iter().fold(0.0, |m, g| m.max(g.abs()))
    }

    /// Solves 400 rows of 30 columns, of which 300 train; the label is what `label`
    /// makes of the first column.
    #[track_caller]
    fn check(family: Family, label: impl Fn(f32, f64) -> f32) {
        let (n, d) = (400, 30);
        let mut x = random(n, d, 1);
        // Columns that say nearly the same, and columns of very different sizes.
        for row in 0..n {
            let first = x.row(row)[0];
            x.row_mut(row)[1] = first + 0.01 * x.row(row)[1];
            x.row_mut(row)[2] = 1e4 * x.row(row)[2] + 1e6;
        }
        let x = narrow(&x);
        let noise = random(n, 1, 2);
        let labels: Vec<f32> = (0..n)
            .map(|row| label(x.row(row)[0], noise.data[row]))
            .collect();
        let train: Vec<f32> = (0..n).map(|row| f32::from(row % 4 > 0)).collect();
        let design = Design::new(&x).expect("finite");
        let variance = vec![0.9; d];
        let problems: Vec<_> = [1e4, 1e2, 1.0]
            .map(|penalty| Problem {
                family,
                labels: &labels,
                train: &train,
                variance: &variance,
                penalty,
            })
            .into();
        let solved = design
            .solve(&problems, &[None; 3], &mut go_on)
            .expect("infallible");
        for (problem, solution) in problems.iter().zip(&solved) {
            let solution = solution.as_ref().expect("converged");
            let left = gradient(&design, problem, solution);
            assert!(
                left < 2e-2,
                "penalty {}: a gradient of {left}",
                problem.penalty
            );
        }
        // From a start that is far off, and beside others, the same is found.
        let far = Solution {
            weights: vec![3.0; d],
            intercept: -5.0,
        };
        let again = design
            .solve(&problems, &[Some(&far); 3], &mut go_on)
            .expect("infallible");
        for (one, other) in solved.iter().zip(&again) {
            let (one, other) = (
                one.as_ref().expect("converged"),
                other.as_ref().expect("converged"),
            );
            for (a, b) in one.weights.iter().zip(&other.weights) {
                assert!((a - b).abs() < 1e-3, "{a} and {b}");
            }
        }
    }

    #[test]
    fn noisy_classes_are_fitted() {
        check(Family::Logistic, |x, noise| {
            f32::from(f64::from(x) + noise > 0.3)
        });
    }

    #[test]
    fn classes_that_are_apart_are_fitted_too() {
        check(Family::Logistic, |x, _| f32::from(x > 0.0));
    }

    #[test]
    fn rare_classes_too() {
        check(Family::Logistic, |x, noise| {
            f32::from(f64::from(x) + noise > 3.0)
        });
    }

    #[test]
    fn numbers_are_fitted() {
        check(Family::Gaussian, |x, noise| x + noise as f32);
    }

    #[test]
    fn an_activation_that_is_not_finite_has_no_design() {
        let mut x = narrow(&random(20, 3, 3));
        x.data[10] = f32::NAN;
        assert!(Design::new(&x).is_none());
    }

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

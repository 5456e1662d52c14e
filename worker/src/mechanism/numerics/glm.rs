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
//! Scores and gradients are f32, all else f64. Where f32 resolves no better step, as
//! where columns hardly vary over the rows that train, a fit goes on by itself in f64.

mod fit;

use rayon::prelude::*;

use super::eigen::{self, Eigen};
use super::matrix::{Matrix, View, product, product_into};
use super::standard::Scale;
use fit::{Fit, MEMORY, Slope};

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
#[error("the fit did not converge")]
pub struct NotConverged;

/// Fits in one matrix product.
const BATCH: usize = 128;
/// Bytes of a design of so many columns and of a batch of fits to it, at the fuller of
/// two moments, beside the standardised activations and the scores of their rows.
pub const fn workspace(width: usize) -> usize {
    let made = eigen::bytes(width);
    // The eigenvectors stay. Of a fit: pairs of a step and a change; point, gradient,
    // direction, the four that the next one is made from, and in f32 the point and the
    // gradient of the products.
    let vectors = 2 * MEMORY + 8;
    let fits = size_of::<f64>() * (width * width + BATCH * vectors * (width + 1));
    if made > fits { made } else { fits }
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
            let fits = fits.into_par_iter().map(|fit| match fit.has_failed() {
                true => self.descend_in_double(fit.again_in_double()),
                false => fit,
            });
            solved.par_extend(fits.map(Fit::finish));
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
            let mut active: Vec<_> = fits.iter_mut().filter(|fit| fit.is_under_way()).collect();
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
                fit.evaluated(gradient.iter().map(|&g| f64::from(g)), slope);
            }
            active.retain(|fit| fit.waits);
            self.directions(&mut active);
        }
    }

    /// One fit to its end, row by row in f64.
    fn descend_in_double<'a>(&self, mut fit: Fit<'a>) -> Fit<'a> {
        while fit.is_under_way() {
            let mut weights: Vec<f64> = fit.point().collect();
            let intercept = weights.pop().expect("there is an intercept");
            let mut gradient = vec![0.0; weights.len()];
            let mut slope = Slope {
                intercept: 0.0,
                curvature: 0.0,
            };
            for (row, x) in self.x.iter_rows().enumerate() {
                if fit.problem.train[row] == 0.0 {
                    continue;
                }
                let score: f64 = x.iter().zip(&weights).map(|(&x, w)| f64::from(x) * w).sum();
                let (first, second) = fit.residual(row, score + intercept);
                slope.intercept += first;
                slope.curvature += second;
                for (g, &x) in gradient.iter_mut().zip(x) {
                    *g += first * f64::from(x);
                }
            }
            fit.evaluated(gradient.into_iter(), slope);
            if fit.waits {
                self.directions(&mut [&mut fit]);
            }
        }
        fit
    }

    /// New directions −H g for fits that have taken a step.
    fn directions(&self, fits: &mut [&mut Fit<'_>]) {
        let d = self.x.columns;
        let first: Vec<_> = fits.iter().map(|fit| fit.first_loop()).collect();
        let mut weights = Matrix::zeros(fits.len(), d);
        for (row, (q, _)) in first.iter().enumerate() {
            weights.row_mut(row).copy_from_slice(&q[..d]);
        }
        let mut along = product(weights.view(), self.eigen.vectors.t()); // (K, D)
        for (row, fit) in fits.iter().enumerate() {
            let curvature = fit.curvature;
            for (v, value) in along.row_mut(row).iter_mut().zip(&self.eigen.values) {
                *v /= curvature * value.max(0.0) + fit.problem.penalty;
            }
        }
        let back = product(along.view(), self.eigen.vectors.view());
        for ((row, fit), (q, shares)) in fits.iter_mut().enumerate().zip(first) {
            let mut direction = Vec::with_capacity(d + 1);
            direction.extend_from_slice(back.row(row));
            direction.push(q[d] / fit.curvature);
            fit.second_loop(direction, &shares);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::{add_scaled, dot};
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
    fn columns_that_hardly_vary_over_the_training_rows_are_fitted() {
        let (n, d) = (200, 20);
        let mut x = random(n, d, 1);
        let noise = |x: &Matrix<f64>, row: usize| x.row(row)[..3].iter().sum::<f64>();
        let labels: Vec<f32> = (0..n).map(|row| f32::from(noise(&x, row) > 0.0)).collect();
        let context = |row: usize| if row < n / 2 { -1.0 } else { 1.0 };
        for row in 0..n {
            let values = x.row_mut(row).iter_mut();
            values.for_each(|v| *v = 1e-4 * *v + context(row));
        }
        let design = Design::new(&narrow(&x)).expect("finite");
        let train: Vec<f32> = (0..n).map(|row| f32::from(row < n / 2)).collect();
        let variance: Vec<f64> = (0..d)
            .map(|column| {
                let values = || (0..n / 2).map(|row| f64::from(design.x.row(row)[column]));
                let mean = values().sum::<f64>() / (n / 2) as f64;
                values().map(|v| (v - mean).powi(2)).sum::<f64>() / (n / 2) as f64
            })
            .collect();
        for penalty in [1e2, 1.0, 1e-2, 1e-4] {
            let problem = Problem {
                family: Family::Logistic,
                labels: &labels,
                train: &train,
                variance: &variance,
                penalty,
            };
            let solved = design.solve(&[problem], &[None], &mut go_on);
            let [solution] = &solved.expect("infallible")[..] else {
                panic!("one problem");
            };
            let solution = solution.as_ref().expect("converged");
            let left = gradient(&design, &problem, solution);
            assert!(left < 1e-2, "penalty {penalty}: a gradient of {left}");
        }
    }

    /// Rows and columns of the cases whose memory is measured: the eigenvectors are
    /// the most of the first, the fits of the second.
    #[cfg(target_os = "linux")]
    const MEASURED: [[usize; 2]; 2] = [[64, 1024], [2048, 512]];

    /// A design, and a batch of fits that take long.
    #[cfg(target_os = "linux")]
    fn batch_of_fits(x: &Matrix<f32>) {
        let (n, d) = (x.rows, x.columns);
        let design = Design::new(x).expect("finite");
        let labels: Vec<f32> = (0..n).map(|row| f32::from(x.row(row)[0] > 0.0)).collect();
        let (train, variance) = (vec![1.0; n], vec![1.0; d]);
        let problem = Problem {
            family: Family::Logistic,
            labels: &labels,
            train: &train,
            variance: &variance,
            penalty: 0.01,
        };
        let far = Solution {
            weights: vec![1.0; d],
            intercept: 1.0,
        };
        let solved = design.solve(&[problem; BATCH], &[Some(&far); BATCH], &mut go_on);
        assert_eq!(solved.expect("infallible").len(), BATCH);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_workspace_is_near_the_measured_peak() {
        use crate::memory::{peak::peaks, words};
        let name = "mechanism::numerics::glm::tests::the_workspace_is_near_the_measured_peak";
        let Some(peaks) = peaks(name, MEASURED.len(), |at| {
            let [n, d] = MEASURED[at];
            let x = narrow(&random(n, d, 7));
            // The program's own pages are there then.
            batch_of_fits(&narrow(&random(40, 8, 7)));
            move || batch_of_fits(&x)
        }) else {
            return;
        };
        for ([n, d], measured) in MEASURED.into_iter().zip(peaks) {
            let counted = (4 * n * (d + BATCH) + workspace(d)) as u64;
            let ratio = counted as f64 / measured as f64;
            println!(
                "{ratio:.2}: {} counted, {} measured",
                words(counted),
                words(measured)
            );
            assert!(
                (0.9..=1.4).contains(&ratio),
                "{n} rows, {d} columns: {ratio:.2}"
            );
        }
    }

    #[test]
    fn an_activation_that_is_not_finite_has_no_design() {
        let mut x = narrow(&random(20, 3, 3));
        x.data[10] = f32::NAN;
        assert!(Design::new(&x).is_none());
    }
}

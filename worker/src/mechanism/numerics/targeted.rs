//! Targeted dimensionality reduction (Mante et al. 2013, supplementary 6.4–6.7):
//! axes of activation space along which task variables are encoded.
//!
//! Units are z-scored over all trials and depths. At each depth every unit is
//! regressed on the variables; the coefficients, a vector for each variable and
//! depth, are denoised by projection on the first principal components of the
//! condition means; each variable takes its vector at the depth where that is
//! longest; and these are made orthogonal in the order of the variables. Depth takes
//! the place of Mante's time.
//!
//! Regression and means are linear, so the units may be scaled afterwards: what is
//! kept of a depth is small, and activations are seen once. N trials, D units,
//! P variables, C conditions.

use super::matrix::{Matrix, dot, product, sum_of_squares};
use super::pca::{self, Components};
use super::rsa::condition_means;
use super::solve::{Dependent, least_squares, orthonormal};
use super::standard::Scale;

/// Less than this share of an axis is left beside those before it: it is theirs.
const PARALLEL: f64 = 1e-6;

/// What trials are regressed on.
#[derive(Debug, Clone)]
pub struct Variables {
    /// (P, N): one row for each variable.
    pub values: Matrix<f64>,
    /// The condition of each trial, below `condition_count`.
    pub conditions: Vec<usize>,
    /// C.
    pub condition_count: usize,
}

/// What is kept of the activations of one depth.
#[derive(Debug, Clone)]
pub struct Depth {
    /// Mean and spread of each unit over trials.
    scale: Scale,
    /// Coefficients (P, D), per unit of activation.
    beta: Matrix<f64>,
    /// Condition means (C, D); NaN where a condition has no trial.
    means: Matrix<f64>,
}

/// The axes and what they show.
#[derive(Debug, Clone)]
pub struct Axes {
    /// (P, D): orthonormal, in z-scored units.
    pub axes: Matrix<f64>,
    /// For each variable the depth whose vector became its axis.
    pub depth: Vec<usize>,
    /// (depths, P): length of the denoised vector.
    pub norm: Matrix<f64>,
    /// (depths, P): the coefficient along the variable's own axis.
    pub encoding: Matrix<f64>,
    /// (depths, P): share of the variance of condition means along the axis; NaN
    /// where they do not vary.
    pub variance: Matrix<f64>,
    /// For each depth (C, P): the condition means in the space of the axes.
    pub trajectories: Vec<Matrix<f64>>,
    /// Spread of each unit over trials and depths; 0 where it is constant.
    pub deviation: Vec<f64>,
}

/// Why there are no axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// The regression is singular: this variable, by its place, or 0 for the constant
    /// if there is no trial.
    #[error("variable {0} is a combination of the variables before it")]
    Singular(usize),
    /// Nothing varies between conditions, at any depth.
    #[error("the condition means do not vary")]
    Constant,
    /// The axis of this variable lies in the space of those before it.
    #[error("the axis of variable {0} lies in the space of the axes before it")]
    Parallel(usize),
}

impl Variables {
    /// Coefficients (P, D) of activations (N, D) on the variables and a constant.
    ///
    /// # Errors
    /// [`Undefined::Singular`].
    pub fn regress(&self, x: &Matrix<f64>) -> Result<Matrix<f64>, Undefined> {
        let (p, n) = (self.values.rows, self.values.columns);
        let constant = std::iter::repeat_n(1.0, n);
        let all = constant.chain(self.values.data.iter().copied()).collect();
        let beta = least_squares(&Matrix::new(p + 1, n, all), x)
            .map_err(|Dependent(at)| Undefined::Singular(at.saturating_sub(1)))?;
        Ok(Matrix::new(p, x.columns, beta.data[x.columns..].to_vec()))
    }

    /// The same variables for the trials that `which` names.
    pub fn of_trials(&self, which: &[usize]) -> Self {
        let values = self.values.iter_rows();
        let values = values.flat_map(|row| which.iter().map(|&trial| row[trial]));
        Self {
            values: Matrix::new(self.values.rows, which.len(), values.collect()),
            conditions: which.iter().map(|&trial| self.conditions[trial]).collect(),
            condition_count: self.condition_count,
        }
    }
}

impl Depth {
    /// Regresses the activations (N, D) of a depth.
    ///
    /// # Errors
    /// [`Undefined::Singular`].
    pub fn new(x: &Matrix<f32>, variables: &Variables) -> Result<Self, Undefined> {
        let beta = variables.regress(&x.wide())?;
        let (means, _) = condition_means(x, &variables.conditions, variables.condition_count);
        Ok(Self {
            scale: Scale::of(x),
            beta,
            means,
        })
    }
}

/// Mean and spread of each unit over the trials of all depths.
fn pooled(depths: &[Depth]) -> Scale {
    let count = depths.len() as f64;
    let units = depths.first().map_or(0, |d| d.scale.mean.len());
    let over =
        |of: &dyn Fn(&Scale) -> f64| depths.iter().map(|d| of(&d.scale)).sum::<f64>() / count;
    let mean: Vec<f64> = (0..units).map(|unit| over(&|s| s.mean[unit])).collect();
    let deviation = (0..units)
        .map(|unit| {
            let off = |s: &Scale| s.mean[unit] - mean[unit];
            over(&|s| s.deviation[unit].powi(2) + off(s).powi(2)).sqrt()
        })
        .collect();
    Scale { mean, deviation }
}

/// Finds the axes; `components_max` principal components denoise them.
///
/// # Errors
/// If nothing varies, or an axis lies in the space of those before it.
///
/// # Panics
/// If there is no depth.
pub fn axes(depths: &[Depth], components_max: usize) -> Result<Axes, Undefined> {
    let (p, d) = (depths[0].beta.rows, depths[0].beta.columns);
    let scale = pooled(depths);
    let divided = |beta: &Matrix<f64>| {
        let mut beta = beta.clone();
        for row in 0..p {
            for (b, &deviation) in beta.row_mut(row).iter_mut().zip(&scale.deviation) {
                *b = if deviation > 0.0 { *b / deviation } else { 0.0 };
            }
        }
        beta
    };
    let betas: Vec<_> = depths.iter().map(|depth| divided(&depth.beta)).collect();
    let means: Vec<_> = depths
        .iter()
        .map(|depth| scale.apply(&depth.means))
        .collect();

    let seen: Vec<f64> = (means.iter().flat_map(Matrix::iter_rows))
        .filter(|row| row.iter().all(|v| !v.is_nan()))
        .flatten()
        .copied()
        .collect();
    let seen = Matrix::new(seen.len() / d, d, seen);
    let space: Components = pca::components(&seen, components_max).ok_or(Undefined::Constant)?;
    let denoised: Vec<_> = betas.iter().map(|beta| space.project(beta)).collect();

    let mut norm = Matrix::zeros(depths.len(), p);
    for (t, denoised) in denoised.iter().enumerate() {
        for v in 0..p {
            norm.row_mut(t)[v] = sum_of_squares(denoised.row(v)).sqrt();
        }
    }
    let longest = |v: usize| {
        let longer = |best: usize, t: usize| {
            if norm.row(t)[v] > norm.row(best)[v] {
                t
            } else {
                best
            }
        };
        (0..depths.len()).fold(0, longer)
    };
    let depth: Vec<usize> = (0..p).map(longest).collect();
    let chosen = depth
        .iter()
        .enumerate()
        .flat_map(|(v, &t)| denoised[t].row(v).iter().copied());
    let chosen = Matrix::new(p, d, chosen.collect());
    let axes = orthonormal(&chosen, PARALLEL)
        .map_err(|Dependent(v)| Undefined::Parallel(v))?
        .q;

    let (mut encoding, mut variance) = (norm.clone(), norm.clone());
    let mut trajectories = vec![];
    for (t, (beta, means)) in betas.iter().zip(&means).enumerate() {
        let trajectory = product(means.view(), axes.t()); // (C, P)
        let total = spread(means);
        let along = column_spreads(&trajectory);
        for (v, along) in along.into_iter().enumerate() {
            encoding.row_mut(t)[v] = dot(axes.row(v), beta.row(v));
            variance.row_mut(t)[v] = if total > 0.0 { along / total } else { f64::NAN };
        }
        trajectories.push(trajectory);
    }
    Ok(Axes {
        axes,
        depth,
        norm,
        encoding,
        variance,
        trajectories,
        deviation: scale.deviation,
    })
}

/// Σ over columns of their squared deviations; 0 where that is rounding.
fn spread(x: &Matrix<f64>) -> f64 {
    let size: f64 = x.data.iter().filter(|v| !v.is_nan()).map(|v| v * v).sum();
    let spread = column_spreads(x).iter().sum();
    if spread > 1e-20 * size { spread } else { 0.0 }
}

/// Squared deviations of each column from its mean, over rows without NaN.
fn column_spreads(x: &Matrix<f64>) -> Vec<f64> {
    let column = |j: usize| {
        let values = x.iter_rows().map(|row| row[j]).filter(|v| !v.is_nan());
        let (count, sum) = values
            .clone()
            .fold((0.0, 0.0), |(n, s), v| (n + 1.0, s + v));
        values.map(|v| (v - sum / count).powi(2)).sum()
    };
    (0..x.columns).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::super::matrix::add_scaled;
    use super::super::tests::{narrow, random, rotation};
    use super::*;

    const N: usize = 240;
    const D: usize = 30;

    /// Three variables of two or four values, and the 16 conditions that they make.
    fn variables() -> Variables {
        let sign = |bit: usize| move |trial: usize| if trial & bit == 0 { -1.0 } else { 1.0 };
        let graded = |trial: usize| sign(2)(trial) * if trial & 4 == 0 { 0.4 } else { 1.0 };
        let rows = [
            (0..N).map(sign(1)).collect::<Vec<f64>>(),
            (0..N).map(graded).collect(),
            (0..N).map(sign(8)).collect(),
        ];
        Variables {
            values: Matrix::new(3, N, rows.concat()),
            conditions: (0..N).map(|trial| trial % 16).collect(),
            condition_count: 16,
        }
    }

    /// Activations of two depths: variables along planted axes, as strong as
    /// `strengths` says at each depth, and noise.
    fn planted(strengths: [[f64; 3]; 2], noise: f64) -> (Matrix<f64>, Vec<Depth>) {
        let axes = rotation(D, 1);
        let variables = variables();
        let depth = |(t, strengths): (usize, [f64; 3])| {
            let mut x = random(N, D, 2 + t as u64);
            x.data.iter_mut().for_each(|v| *v *= noise);
            for trial in 0..N {
                for (v, strength) in strengths.iter().enumerate() {
                    let by = strength * variables.values.row(v)[trial];
                    add_scaled(x.row_mut(trial), by, axes.row(v));
                }
            }
            Depth::new(&narrow(&x), &variables).expect("regular")
        };
        let depths = strengths.into_iter().enumerate().map(depth).collect();
        (axes, depths)
    }

    #[test]
    fn planted_axes_are_found_where_they_are_strongest() {
        let (planted, depths) = planted([[0.5, 3.0, 1.0], [2.0, 1.0, 4.0]], 0.02);
        let found = axes(&depths, 12).expect("axes");
        assert_eq!(found.depth, [1, 0, 1]);
        for v in 0..3 {
            // Planted axes are of raw units, found ones of z-scored units.
            let raw = planted.row(v).iter().zip(&found.deviation);
            let scaled: Vec<f64> = raw.map(|(axis, s)| axis / s).collect();
            let size = sum_of_squares(&scaled).sqrt();
            // The first axis is what was planted; later ones are what is left of theirs.
            let cosine = dot(found.axes.row(v), &scaled) / size;
            let least = if v == 0 { 0.999 } else { 0.7 };
            assert!(cosine > least, "variable {v}: {cosine}");
            let of = |t: usize| found.encoding.row(t)[v];
            let (strong, weak) = (found.depth[v], 1 - found.depth[v]);
            assert!(
                of(strong) > 2.0 * of(weak),
                "{} and {}",
                of(strong),
                of(weak)
            );
        }
        // A condition's place is the sum of its variables' parts.
        let variables = variables();
        for (condition, path) in found.trajectories[1].iter_rows().enumerate() {
            let side = variables.values.row(0)[condition];
            assert_eq!(path[0].signum(), side, "condition {condition}");
        }
        let shares: f64 = found.variance.row(1).iter().sum();
        assert!((0.95..1.0 + 1e-9).contains(&shares), "{shares}");
    }

    #[test]
    fn what_is_undefined_is_named() {
        let mut same = variables();
        same.values.row_mut(0).fill(1.0);
        let x = narrow(&random(N, D, 7));
        let why = |variables: &Variables| Depth::new(&x, variables).err();
        assert_eq!(why(&same), Some(Undefined::Singular(0)));
        let mut twice = variables();
        let first = twice.values.row(0).to_vec();
        twice.values.row_mut(2).copy_from_slice(&first);
        assert_eq!(why(&twice), Some(Undefined::Singular(2)));

        // Without noise the third variable is nowhere: nothing is left of its vector.
        let (_, depths) = planted([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0]], 0.0);
        assert_eq!(axes(&depths, 12).err(), Some(Undefined::Parallel(2)));
        let (_, depths) = planted([[0.0; 3]; 2], 0.0);
        assert_eq!(axes(&depths, 12).err(), Some(Undefined::Constant));
    }
}

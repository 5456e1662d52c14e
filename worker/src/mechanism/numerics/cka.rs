//! Linear centred kernel alignment (Kornblith et al. 2019).
//!
//! Debiased with the unbiased estimator of HSIC (Song et al. 2007), in the form of
//! google-research's `representation_similarity` notebook: without it two unrelated
//! representations of 2,048 trials and 768 units have a CKA of .27.

use super::matrix::{Matrix, dot, product, sum_of_squares};
use super::standard::Scale;

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// The unbiased estimator divides by n − 3.
    #[error("{0} trials: CKA needs 4 or more")]
    TooFew(usize),
    /// All trials have the same activation.
    #[error("the activation is the same in all trials")]
    Constant,
    /// The unbiased self-similarity is not above 0.
    #[error("the activation varies less than its estimate of HSIC resolves")]
    Unresolved,
}

/// Centred activations, ready to be compared.
#[derive(Debug, Clone)]
pub struct Centred {
    /// (N, D), each column with mean 0.
    x: Matrix<f64>,
    /// Σ of squares of each row.
    rows: Vec<f64>,
    /// HSIC of x with itself, up to a factor that cancels.
    own: f64,
    /// N × N products of rows, where they are smaller than D × D ones.
    gram: Option<Matrix<f64>>,
    debiased: bool,
}

impl Centred {
    /// Centres activations (N, D).
    ///
    /// # Errors
    /// If there are too few trials, or they do not vary.
    pub fn new(x: &Matrix<f32>, debiased: bool) -> Result<Self, Undefined> {
        if x.rows < 4 {
            return Err(Undefined::TooFew(x.rows));
        }
        let scale = Scale::of(x);
        if scale.is_constant() {
            return Err(Undefined::Constant);
        }
        let mut centred = x.wide();
        for row in 0..x.rows {
            for (v, mean) in centred.row_mut(row).iter_mut().zip(&scale.mean) {
                *v -= mean;
            }
        }
        // The scale cancels; without it fourth powers may leave the range of f64.
        let size = (sum_of_squares(&centred.data) / x.rows as f64).sqrt();
        centred.data.iter_mut().for_each(|v| *v /= size);
        let rows = centred.iter_rows().map(sum_of_squares).collect();
        let gram = (x.rows < x.columns).then(|| product(centred.view(), centred.t()));
        let mut made = Self {
            x: centred,
            rows,
            own: 0.0,
            gram,
            debiased,
        };
        made.own = made.hsic(&made);
        match made.own > 0.0 {
            true => Ok(made),
            false => Err(Undefined::Unresolved),
        }
    }

    /// CKA of two activations for the same trials.
    ///
    /// # Panics
    /// If they are not of the same number of trials.
    pub fn similarity(&self, other: &Self) -> f64 {
        assert_eq!(self.x.rows, other.x.rows, "the same trials");
        self.hsic(other) / (self.own * other.own).sqrt()
    }

    /// ‖XᵀY‖²_F, debiased if asked for: HSIC up to a factor that depends on n alone.
    fn hsic(&self, other: &Self) -> f64 {
        // ‖XᵀY‖² = Σ (XXᵀ)∘(YYᵀ): the way with the smaller matrices.
        let raw = match (&self.gram, &other.gram) {
            (Some(a), Some(b)) => dot(&a.data, &b.data),
            _ => sum_of_squares(&product(self.x.t(), other.x.view()).data),
        };
        if !self.debiased {
            return raw;
        }
        let n = self.x.rows as f64;
        let norm = |c: &Self| c.rows.iter().sum::<f64>();
        raw - n / (n - 2.0) * dot(&self.rows, &other.rows)
            + norm(self) * norm(other) / ((n - 1.0) * (n - 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{narrow, random, rotation};
    use super::*;

    fn cka(x: &Matrix<f64>, y: &Matrix<f64>, debiased: bool) -> f64 {
        let centred = |x: &Matrix<f64>| Centred::new(&narrow(x), debiased).expect("it varies");
        centred(x).similarity(&centred(y))
    }

    /// For both estimators, and for more trials than units and fewer.
    #[track_caller]
    fn check(x: impl Fn(usize, usize) -> (Matrix<f64>, Matrix<f64>), expect: f64, within: f64) {
        for (n, d) in [(300, 16), (40, 64)] {
            for debiased in [true, false] {
                let (x, y) = x(n, d);
                let found = cka(&x, &y, debiased);
                let off = (found - expect).abs();
                assert!(off <= within, "n {n}, d {d}, debiased {debiased}: {found}");
            }
        }
    }

    #[test]
    fn a_rotation_changes_nothing() {
        let rotated = |n, d| {
            let x = random(n, d, 1);
            let y = product(x.view(), rotation(d, 2).view());
            (x, y)
        };
        check(rotated, 1.0, 1e-6);
    }

    #[test]
    fn neither_do_scale_nor_shift() {
        let moved = |n, d| {
            let x = random(n, d, 3);
            let y = x.data.iter().map(|v| -1e3 * v + 50.0).collect();
            let y = Matrix::new(n, d, y);
            (x, y)
        };
        check(moved, 1.0, 1e-6);
    }

    #[test]
    fn trials_in_another_order_have_nothing_in_common() {
        let x = random(500, 20, 4);
        let mut shuffled = Matrix::zeros(500, 20);
        for row in 0..500 {
            shuffled
                .row_mut((row * 7 + 3) % 500)
                .copy_from_slice(x.row(row));
        }
        let debiased = cka(&x, &shuffled, true);
        assert!(debiased.abs() < 0.02, "{debiased}");
        // What the bias would have said.
        let biased = cka(&x, &shuffled, false);
        assert!(biased > 0.03, "{biased}");
    }

    #[test]
    fn what_is_undefined_has_a_reason() {
        let refused = |x: &Matrix<f64>| Centred::new(&narrow(x), true).err();
        assert_eq!(refused(&random(3, 5, 5)), Some(Undefined::TooFew(3)));
        let same = Matrix::new(6, 2, [0.1, -7.0].repeat(6));
        assert_eq!(refused(&same), Some(Undefined::Constant));
    }
}

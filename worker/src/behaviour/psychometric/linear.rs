//! Small systems of linear equations, solved by Cholesky's decomposition.

/// Pivots below this share of their diagonal element count as zero.
const PIVOT_MIN: f64 = 1e-11;

/// A symmetric, positive definite matrix as L·Lᵀ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cholesky<const N: usize>([[f64; N]; N]);

impl<const N: usize> Cholesky<N> {
    /// `None` unless the matrix is positive definite (to rounding).
    pub fn of(a: &[[f64; N]; N]) -> Option<Self> {
        let mut l = [[0.0; N]; N];
        for i in 0..N {
            for j in 0..=i {
                let rest: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
                let value = a[i][j] - rest;
                l[i][j] = if i > j {
                    value / l[j][j]
                } else if value > PIVOT_MIN * a[i][i].abs() && value > 0.0 {
                    value.sqrt()
                } else {
                    return None;
                };
            }
        }
        Some(Self(l))
    }

    /// x of A·x = b.
    pub fn solve(&self, mut b: [f64; N]) -> [f64; N] {
        let l = &self.0;
        for i in 0..N {
            let known: f64 = (0..i).map(|k| l[i][k] * b[k]).sum();
            b[i] = (b[i] - known) / l[i][i];
        }
        for i in (0..N).rev() {
            let known: f64 = (i + 1..N).map(|k| l[k][i] * b[k]).sum();
            b[i] = (b[i] - known) / l[i][i];
        }
        b
    }

    /// The element of A⁻¹ at (`at`, `at`).
    pub fn inverse_diagonal(&self, at: usize) -> f64 {
        let mut unit = [0.0; N];
        unit[at] = 1.0;
        self.solve(unit)[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved_and_singular_ones_refused() {
        let a = [[4.0, 2.0, 0.6], [2.0, 5.0, 1.0], [0.6, 1.0, 3.0]];
        let x = [1.0, -2.0, 0.5];
        let b = a.map(|row| (0..3).map(|k| row[k] * x[k]).sum());
        let found = Cholesky::of(&a).expect("positive definite").solve(b);
        assert!(
            found.iter().zip(x).all(|(f, x)| (f - x).abs() < 1e-12),
            "{found:?}"
        );
        assert!(Cholesky::of(&[[1.0, 2.0], [2.0, 4.0]]).is_none());
        assert!(Cholesky::of(&[[0.0]]).is_none());
        assert!(
            (Cholesky::of(&[[4.0, 2.0], [2.0, 5.0]])
                .unwrap()
                .inverse_diagonal(1)
                - 0.25)
                .abs()
                < 1e-15
        );
    }
}

//! Orthonormal bases and least squares of a few vectors.

use super::matrix::{Matrix, add_scaled, dot, product, sum_of_squares};

/// A = Q R of vectors that are kept as rows.
#[derive(Debug, Clone)]
pub struct Qr {
    /// The orthonormal vectors as rows.
    pub q: Matrix<f64>,
    /// Upper triangular, above 0 on the diagonal: an axis points where its vector
    /// does.
    pub r: Matrix<f64>,
}

/// A vector lies, within rounding, in the space of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependent(
    /// Its place.
    pub usize,
);

/// Gram and Schmidt's orthonormal basis of rows, in their order. Each is projected
/// twice, which makes them orthogonal to rounding (Giraud and Langou 2002).
///
/// # Errors
/// The first row of which less than the share `tolerance` is outside the space of
/// the rows before it.
pub fn orthonormal(rows: &Matrix<f64>, tolerance: f64) -> Result<Qr, Dependent> {
    let count = rows.rows;
    let mut q = Matrix::zeros(count, rows.columns);
    let mut r = Matrix::zeros(count, count);
    for j in 0..count {
        let mut v = rows.row(j).to_vec();
        let size = sum_of_squares(&v).sqrt();
        for _ in 0..2 {
            for i in 0..j {
                let along = dot(q.row(i), &v);
                r.row_mut(i)[j] += along;
                add_scaled(&mut v, -along, q.row(i));
            }
        }
        let left = sum_of_squares(&v).sqrt();
        // Also where a number is not finite.
        if size.is_nan() || left.is_nan() || left <= tolerance * size {
            return Err(Dependent(j));
        }
        r.row_mut(j)[j] = left;
        for (q, v) in q.row_mut(j).iter_mut().zip(&v) {
            *q = v / left;
        }
    }
    Ok(Qr { q, r })
}

/// Least squares of many columns on a few regressors: regressors (P, N) as rows,
/// y (N, D) → coefficients (P, D).
///
/// # Errors
/// The first regressor that depends on those before it.
pub fn least_squares(regressors: &Matrix<f64>, y: &Matrix<f64>) -> Result<Matrix<f64>, Dependent> {
    let Qr { q, r } = orthonormal(regressors, 1e-8)?;
    let mut beta = product(q.view(), y.view()); // (P, D)
    for i in (0..r.rows).rev() {
        for j in i + 1..r.rows {
            let (upper, lower) = beta.data.split_at_mut(j * beta.columns);
            let target = &mut upper[i * beta.columns..][..beta.columns];
            add_scaled(target, -r.row(i)[j], &lower[..beta.columns]);
        }
        let pivot = r.row(i)[i];
        beta.row_mut(i).iter_mut().for_each(|x| *x /= pivot);
    }
    Ok(beta)
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;

    #[test]
    fn what_is_planted_is_found() {
        let regressors = random(4, 50, 1);
        let beta = random(4, 7, 2);
        let y = product(regressors.t(), beta.view());
        let found = least_squares(&regressors, &y).expect("independent");
        for (found, planted) in found.data.iter().zip(&beta.data) {
            assert!((found - planted).abs() < 1e-12);
        }
    }

    #[test]
    fn residuals_are_orthogonal_to_the_regressors() {
        let (regressors, y) = (random(3, 40, 3), random(40, 5, 4));
        let beta = least_squares(&regressors, &y).expect("independent");
        let mut residual = product(regressors.t(), beta.view());
        for (r, y) in residual.data.iter_mut().zip(&y.data) {
            *r = y - *r;
        }
        let left = product(regressors.view(), residual.view());
        assert!(left.data.iter().all(|x| x.abs() < 1e-12), "{left:?}");
    }

    #[test]
    fn a_dependent_vector_is_named() {
        let mut rows = random(4, 30, 5);
        let sum: Vec<f64> = (rows.row(0).iter().zip(rows.row(1)))
            .map(|(a, b)| 2.0 * a - b)
            .collect();
        rows.row_mut(2).copy_from_slice(&sum);
        assert_eq!(orthonormal(&rows, 1e-8).err(), Some(Dependent(2)));
        rows.row_mut(0).fill(0.0);
        assert_eq!(orthonormal(&rows, 1e-8).err(), Some(Dependent(0)));
        rows.row_mut(0).fill(f64::NAN);
        assert_eq!(orthonormal(&rows, 1e-8).err(), Some(Dependent(0)));
    }

    #[test]
    fn axes_point_where_their_vectors_do() {
        let rows = random(5, 12, 6);
        let Qr { q, r } = orthonormal(&rows, 1e-8).expect("independent");
        let again = product(r.t(), q.view());
        for (a, b) in again.data.iter().zip(&rows.data) {
            assert!((a - b).abs() < 1e-13);
        }
        assert!((0..5).all(|i| r.row(i)[i] > 0.0));
    }
}

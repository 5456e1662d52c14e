//! Eigenvectors of a symmetric matrix.
//!
//! Householder's reduction to a tridiagonal matrix, then the QL algorithm with
//! implicit shifts (Golub and Van Loan, Matrix Computations, 8.3; EISPACK's tred2
//! and tql2). Vectors are kept as rows, so that every inner loop is contiguous.

use super::matrix::{Matrix, add_scaled, dot};

/// QL iterations per eigenvalue; two are usual.
const ITERATIONS_MAX: usize = 64;

/// A = Σ λᵢ vᵢ vᵢᵀ.
#[derive(Debug, Clone)]
pub struct Eigen {
    /// Eigenvalues, the largest first.
    pub values: Vec<f64>,
    /// The eigenvector of each as a row; orthonormal.
    pub vectors: Matrix<f64>,
}

/// Bytes that are held at once to decompose a matrix of n rows, which is among them:
/// itself, the reflections (a triangle), the vectors, and these in order.
pub const fn bytes(n: usize) -> usize {
    (8 + 4 + 8 + 8) * n * n
}

/// Decomposes a symmetric matrix. `None` if it holds a number that is not finite.
///
/// # Panics
/// If it is not square.
pub fn symmetric(a: &Matrix<f64>) -> Option<Eigen> {
    assert_eq!(a.rows, a.columns, "a symmetric matrix is square");
    if !a.data.iter().all(|x| x.is_finite()) {
        return None;
    }
    let (mut diagonal, mut beside, reflections) = tridiagonal(a.clone());
    let mut vectors = identity(a.rows);
    ql(&mut diagonal, &mut beside, &mut vectors)?;
    for row in 0..a.rows {
        let vector = vectors.row_mut(row);
        for (v, beta) in reflections.iter().rev() {
            let part = &mut vector[a.rows - v.len()..];
            let share = -beta * dot(v, part);
            add_scaled(part, share, v);
        }
    }
    let mut order: Vec<usize> = (0..a.rows).collect();
    order.sort_by(|&i, &j| diagonal[j].total_cmp(&diagonal[i]));
    let mut ordered = Matrix::zeros(a.rows, a.rows);
    for (to, &from) in order.iter().enumerate() {
        ordered.row_mut(to).copy_from_slice(vectors.row(from));
    }
    Some(Eigen {
        values: order.iter().map(|&i| diagonal[i]).collect(),
        vectors: ordered,
    })
}

fn identity(n: usize) -> Matrix<f64> {
    let mut out = Matrix::zeros(n, n);
    for i in 0..n {
        out.row_mut(i)[i] = 1.0;
    }
    out
}

/// The k-th reflection I − β v vᵀ acts on the last `v.len()` coordinates.
type Reflection = (Vec<f64>, f64);

/// Q T Qᵀ = A: the diagonal of T, the elements beside it, the reflections whose
/// product in order is Q.
fn tridiagonal(mut a: Matrix<f64>) -> (Vec<f64>, Vec<f64>, Vec<Reflection>) {
    let n = a.rows;
    let mut beside = vec![0.0; n];
    let mut reflections = vec![];
    for k in 0..n.saturating_sub(1) {
        let mut v = a.row(k)[k + 1..].to_vec();
        let size = dot(&v, &v).sqrt();
        beside[k] = v[0];
        if v.len() == 1 || size == 0.0 || v[1..].iter().all(|&x| x == 0.0) {
            continue;
        }
        // The sign that does not cancel.
        let to = if v[0] > 0.0 { -size } else { size };
        v[0] -= to;
        beside[k] = to;
        let beta = 2.0 / dot(&v, &v);
        let mut w: Vec<f64> = (k + 1..n)
            .map(|row| beta * dot(&a.row(row)[k + 1..], &v))
            .collect();
        let half = -0.5 * beta * dot(&w, &v);
        add_scaled(&mut w, half, &v);
        for row in k + 1..n {
            let (vi, wi) = (v[row - k - 1], w[row - k - 1]);
            let part = &mut a.row_mut(row)[k + 1..];
            add_scaled(part, -vi, &w);
            add_scaled(part, -wi, &v);
        }
        reflections.push((v, beta));
    }
    let diagonal = (0..n).map(|i| a.row(i)[i]).collect();
    (diagonal, beside, reflections)
}

/// Makes a tridiagonal matrix diagonal; `z`, the identity at first, becomes its
/// eigenvectors. `beside[i]` stands between i and i + 1.
fn ql(d: &mut [f64], beside: &mut [f64], z: &mut Matrix<f64>) -> Option<()> {
    let n = d.len();
    let e = beside;
    for l in 0..n {
        for iteration in 0.. {
            let small = |&m: &usize| e[m].abs() <= f64::EPSILON * (d[m].abs() + d[m + 1].abs());
            let m = (l..n - 1).find(small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if iteration == ITERATIONS_MAX {
                return None;
            }
            let mut g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            g = d[m] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut split = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    split = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                rotate(z, i, c, s);
            }
            if !split {
                d[l] -= p;
                e[l] = g;
            }
            e[m] = 0.0;
        }
    }
    Some(())
}

/// Rotates rows i and i + 1.
fn rotate(z: &mut Matrix<f64>, i: usize, c: f64, s: f64) {
    let n = z.columns;
    let (low, high) = z.data[i * n..(i + 2) * n].split_at_mut(n);
    for (a, b) in low.iter_mut().zip(high) {
        (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
    }
}

#[cfg(test)]
mod tests {
    use super::super::matrix::product;
    use super::super::tests::random;
    use super::*;

    #[track_caller]
    fn check(a: &Matrix<f64>) -> Eigen {
        let n = a.rows;
        let eigen = symmetric(a).expect("finite");
        let scale = a.data.iter().fold(1e-300_f64, |m, x| m.max(x.abs())) * n as f64;
        let v = &eigen.vectors;
        let gram = product(v.view(), v.t());
        for i in 0..n {
            for j in 0..n {
                let expect = f64::from(u8::from(i == j));
                assert!((gram.row(i)[j] - expect).abs() < 1e-12, "orthonormal");
            }
            let image = product(a.view(), Matrix::new(n, 1, v.row(i).to_vec()).view());
            for (av, v) in image.data.iter().zip(v.row(i)) {
                assert!(
                    (av - eigen.values[i] * v).abs() < 1e-14 * scale,
                    "A v = λ v"
                );
            }
        }
        assert!(eigen.values.is_sorted_by(|a, b| a >= b));
        eigen
    }

    #[test]
    fn a_matrix_is_the_sum_of_its_parts() {
        for n in [1, 2, 3, 17, 64] {
            let x = random(n, n + 3, n as u64);
            check(&product(x.view(), x.t()));
        }
    }

    #[test]
    fn degenerate_matrices_are_no_trouble() {
        check(&identity(5));
        check(&Matrix::zeros(4, 4));
        let x = random(3, 9, 1); // rank 3 of 9
        let eigen = check(&product(x.t(), x.view()));
        assert!(eigen.values[3] < 1e-12 * eigen.values[0]);
        // Diagonal, with its values out of order, one of them below 0.
        let mut a = Matrix::zeros(3, 3);
        for (i, value) in [2.0, -1.0, 5.0].into_iter().enumerate() {
            a.row_mut(i)[i] = value;
        }
        assert_eq!(check(&a).values, [5.0, 2.0, -1.0]);
        a.row_mut(1)[1] = f64::NAN;
        assert!(symmetric(&a).is_none());
    }
}

//! The numerics against the libraries of the field, and random matrices for the
//! tests of their parts.

mod references;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;

/// Independent standard normal numbers.
pub(crate) fn random(rows: usize, columns: usize, seed: u64) -> Matrix<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let data = (0..rows * columns).map(|_| normal()).collect();
    Matrix::new(rows, columns, data)
}

/// The same numbers in f32.
pub(crate) fn narrow(x: &Matrix<f64>) -> Matrix<f32> {
    let data = x.data.iter().map(|&x| x as f32).collect();
    Matrix::new(x.rows, x.columns, data)
}

/// A random rotation of a space of this many dimensions.
pub(crate) fn rotation(dimensions: usize, seed: u64) -> Matrix<f64> {
    let columns = random(dimensions, dimensions, seed);
    super::solve::orthonormal(&columns, 1e-9)
        .expect("independent")
        .q
}

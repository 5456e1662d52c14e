//! Columns brought to mean 0 and standard deviation 1.

use super::matrix::{Matrix, Number};

/// A column whose spread is below this share of its size is constant: what is left
/// is rounding, and would be blown up to noise of size 1.
const CONSTANT: f64 = 1e-6;

/// How each column is standardised; from some rows, for any.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Mean of each column.
    pub mean: Vec<f64>,
    /// Standard deviation of each column (divided by n); 0 where it is constant.
    pub deviation: Vec<f64>,
}

impl Scale {
    /// Of all rows.
    pub fn of<T: Number + Into<f64>>(x: &Matrix<T>) -> Self {
        Self::of_rows(x, |_| true)
    }

    /// Of the rows that `which` names.
    pub fn of_rows<T: Number + Into<f64>>(x: &Matrix<T>, which: impl Fn(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..x.rows).filter(|&row| which(row)).collect();
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0; x.columns];
        for &row in &rows {
            for (sum, &v) in mean.iter_mut().zip(x.row(row)) {
                *sum += v.into();
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= n);
        // In a second pass: a difference of two sums of squares would lose all of
        // its digits in a unit that is large and varies little.
        let mut deviation = vec![0.0; x.columns];
        for &row in &rows {
            for ((sum, &v), mean) in deviation.iter_mut().zip(x.row(row)).zip(&mean) {
                let off = v.into() - mean;
                *sum += off * off;
            }
        }
        for (deviation, mean) in deviation.iter_mut().zip(&mean) {
            *deviation = (*deviation / n).sqrt();
            if *deviation <= CONSTANT * mean.abs() {
                *deviation = 0.0;
            }
        }
        Self { mean, deviation }
    }

    /// Whether no column varies.
    pub fn is_constant(&self) -> bool {
        self.deviation.iter().all(|&deviation| deviation == 0.0)
    }

    /// The standardised matrix; a constant column is 0.
    pub fn apply<T: Number + Into<f64>>(&self, x: &Matrix<T>) -> Matrix<f64> {
        let mut out = Matrix::zeros(x.rows, x.columns);
        for row in 0..x.rows {
            for (column, (out, &v)) in out.row_mut(row).iter_mut().zip(x.row(row)).enumerate() {
                *out = self.one(column, v.into());
            }
        }
        out
    }

    /// [`Self::apply`], rounded to f32.
    pub fn apply_f32(&self, x: &Matrix<f32>) -> Matrix<f32> {
        let mut out = Matrix::zeros(x.rows, x.columns);
        for row in 0..x.rows {
            for (column, (out, &v)) in out.row_mut(row).iter_mut().zip(x.row(row)).enumerate() {
                *out = self.one(column, f64::from(v)) as f32;
            }
        }
        out
    }

    fn one(&self, column: usize, v: f64) -> f64 {
        match self.deviation[column] {
            0.0 => 0.0,
            deviation => (v - self.mean[column]) / deviation,
        }
    }
}

//! Principal components.

use super::eigen;
use super::matrix::{Matrix, product};

/// The directions in which rows vary most.
#[derive(Debug, Clone)]
pub struct Components {
    /// Orthonormal rows, the strongest first.
    pub axes: Matrix<f64>,
    /// Share of the variance that each explains.
    pub shares: Vec<f64>,
}

/// A direction with a smaller share of the largest one's variance is rounding.
const NOTHING: f64 = 1e-12;

/// The first principal components of the rows of x (N, D), at most `most`, fewer
/// where the rows vary in fewer directions. `None` if nothing varies, or a number
/// is not finite.
pub fn components(x: &Matrix<f64>, most: usize) -> Option<Components> {
    let mut centred = x.clone();
    for column in 0..x.columns {
        let mean = x.iter_rows().map(|row| row[column]).sum::<f64>() / x.rows as f64;
        for row in 0..x.rows {
            centred.row_mut(row)[column] -= mean;
        }
    }
    // The smaller of the two matrices that have the same eigenvalues.
    let by_rows = x.rows < x.columns;
    let gram = match by_rows {
        true => product(centred.view(), centred.t()),
        false => product(centred.t(), centred.view()),
    };
    let total: f64 = (0..gram.rows).map(|i| gram.row(i)[i]).sum();
    let eigen = eigen::symmetric(&gram)?;
    let largest = eigen.values.first().copied()?;
    let size: f64 = x.data.iter().map(|v| v * v).sum();
    if largest <= NOTHING * size {
        return None;
    }
    let count = (eigen.values.iter().take(most))
        .take_while(|&&value| value > NOTHING * largest)
        .count();
    let kept = Matrix::new(
        count,
        gram.rows,
        eigen.vectors.data[..count * gram.rows].to_vec(),
    );
    let mut axes = match by_rows {
        true => product(kept.view(), centred.view()),
        false => kept,
    };
    if by_rows {
        for (i, value) in eigen.values[..count].iter().enumerate() {
            axes.row_mut(i).iter_mut().for_each(|v| *v /= value.sqrt());
        }
    }
    let shares = eigen.values[..count].iter().map(|v| v / total).collect();
    Some(Components { axes, shares })
}

impl Components {
    /// The part of each row of b (M, D) that lies in the space of the components.
    pub fn project(&self, b: &Matrix<f64>) -> Matrix<f64> {
        let along = product(b.view(), self.axes.t()); // (M, K)
        product(along.view(), self.axes.view())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;

    #[test]
    fn both_ways_find_the_same_space() {
        let x = random(30, 12, 1);
        let tall = components(&x, 4).expect("it varies");
        // The same rows in a larger space: more columns than rows.
        let mut wide = Matrix::zeros(30, 40);
        for row in 0..30 {
            wide.row_mut(row)[..12].copy_from_slice(x.row(row));
        }
        let wide = components(&wide, 4).expect("it varies");
        for i in 0..4 {
            assert!((tall.shares[i] - wide.shares[i]).abs() < 1e-12);
            let (a, b) = (tall.axes.row(i), &wide.axes.row(i)[..12]);
            let cosine: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!((cosine.abs() - 1.0).abs() < 1e-9, "{cosine}");
        }
    }

    #[test]
    fn what_lies_in_the_space_stays() {
        let (base, mix) = (random(3, 20, 2), random(50, 3, 3));
        let x = product(mix.view(), base.view());
        let found = components(&x, 12).expect("it varies");
        assert_eq!(found.axes.rows, 3, "three directions are all there are");
        assert!((found.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let same = found.project(&base);
        for (a, b) in same.data.iter().zip(&base.data) {
            assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn what_does_not_vary_has_none() {
        let same = Matrix::new(5, 3, [1.0, -2.0, 0.1].repeat(5));
        assert!(components(&same, 2).is_none());
        let mut broken = random(5, 3, 4);
        broken.data[7] = f64::INFINITY;
        assert!(components(&broken, 2).is_none());
    }
}

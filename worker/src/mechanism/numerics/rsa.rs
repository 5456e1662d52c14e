//! Representational similarity analysis (Kriegeskorte et al. 2008).

use super::matrix::{Matrix, dot, sum_of_squares};

/// Mean activation of each condition: x (N, D), the condition of each row →
/// (conditions, D) and how many rows each has. A condition without a row is NaN.
pub fn condition_means(
    x: &Matrix<f32>,
    conditions: &[usize],
    count: usize,
) -> (Matrix<f64>, Vec<usize>) {
    let mut means = Matrix::zeros(count, x.columns);
    let mut rows = vec![0; count];
    for (row, &condition) in conditions.iter().enumerate() {
        rows[condition] += 1;
        for (mean, &v) in means.row_mut(condition).iter_mut().zip(x.row(row)) {
            *mean += f64::from(v);
        }
    }
    for (condition, &rows) in rows.iter().enumerate() {
        for mean in means.row_mut(condition) {
            *mean /= rows as f64; // 0/0: NaN
        }
    }
    (means, rows)
}

/// Distances 1 − r (Pearson, over units) between the patterns of all pairs of
/// conditions, in the order (0,1), (0,2), …, (1,2), …, as scipy's `pdist`. NaN where
/// a pattern is the same in all units, or there is none.
pub fn rdm(patterns: &Matrix<f64>) -> Vec<f64> {
    let mut centred = patterns.clone();
    for row in 0..patterns.rows {
        let pattern = centred.row_mut(row);
        let mean = pattern.iter().sum::<f64>() / pattern.len() as f64;
        pattern.iter_mut().for_each(|v| *v -= mean);
        let size = sum_of_squares(pattern).sqrt();
        let size = if size > 0.0 { size } else { f64::NAN };
        pattern.iter_mut().for_each(|v| *v /= size);
    }
    let mut distances = Vec::with_capacity(patterns.rows * patterns.rows.saturating_sub(1) / 2);
    for i in 0..patterns.rows {
        for j in i + 1..patterns.rows {
            let distance = 1.0 - dot(centred.row(i), centred.row(j));
            // Not below 0 by rounding; a NaN stays one.
            distances.push(if distance < 0.0 { 0.0 } else { distance });
        }
    }
    distances
}

/// Similarity of two matrices of distances: Spearman's correlation over the pairs
/// that both have. Distances that differ by less than 1e-5 of the largest are ties:
/// where a position holds one of two words, all else is rounding, and the order of
/// rounding errors would be compared. So are all where the largest is below 1e-10,
/// which f32 patterns can't resolve. `None` if fewer than 3 pairs are left, or all
/// distances are equal.
pub fn similarity(a: &[f64], b: &[f64]) -> Option<f64> {
    let both = |(a, b): &(&f64, &f64)| !a.is_nan() && !b.is_nan();
    let (a, b): (Vec<f64>, Vec<f64>) = a.iter().zip(b).filter(both).unzip();
    spearman(&with_ties(&a), &with_ties(&b))
}

fn with_ties(distances: &[f64]) -> Vec<f64> {
    let largest = distances.iter().copied().fold(0.0, f64::max);
    let step = if largest > 1e-10 { 1e-5 * largest } else { 1.0 };
    distances.iter().map(|d| (d / step).round()).collect()
}

/// Spearman's rank correlation, ties with their mean rank. `None` for fewer than 3
/// values, or where all are equal.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    assert_eq!(a.len(), b.len(), "a correlation of pairs");
    if a.len() < 3 {
        return None;
    }
    let centred = |x: &[f64]| {
        let middle = (x.len() as f64 + 1.0) / 2.0;
        let mut ranks = ranks(x);
        ranks.iter_mut().for_each(|r| *r -= middle);
        ranks
    };
    let (a, b) = (centred(a), centred(b));
    let size = (sum_of_squares(&a) * sum_of_squares(&b)).sqrt();
    (size > 0.0).then(|| dot(&a, &b) / size)
}

/// The rank of each value, from 1; ties share the mean of their ranks.
pub fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&i, &j| x[i].total_cmp(&x[j]));
    let mut ranks = vec![0.0; x.len()];
    for tied in order.chunk_by(|&i, &j| x[i] == x[j]) {
        // The chunks follow each other: a chunk's first rank is what is ranked so far.
        let first = order.partition_point(|&i| x[i] < x[tied[0]]);
        let rank = first as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&i| ranks[i] = rank);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::super::matrix::product;
    use super::super::tests::{narrow, random};
    use super::*;

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[-0.5]), [1.0]);
    }

    #[test]
    fn order_is_all_that_counts() {
        let check = |a: &[f64], b: &[f64], expect: Option<f64>| {
            let found = spearman(a, b);
            let near = found.zip(expect).map(|(f, e)| (f - e).abs() < 1e-12);
            assert!(near.unwrap_or(found == expect), "{found:?}, not {expect:?}");
        };
        check(&[1.0, 2.0, 3.0], &[1e-9, 5.0, 1e9], Some(1.0));
        check(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0], Some(-1.0));
        check(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0], Some(0.8));
        check(&[1.0, 2.0, 3.0], &[7.0, 7.0, 7.0], None);
        check(&[1.0, 2.0], &[1.0, 2.0], None);
    }

    #[test]
    fn distances_are_those_of_the_patterns() {
        // r of rows: (0,1) 1, (0,2) -1, (1,2) -1; the last is constant.
        let patterns = [1., 2., 3., 10., 20., 30., 3., 2., 1., 4., 4., 4.];
        let found = rdm(&Matrix::new(4, 3, patterns.to_vec()));
        let expect = [0.0, 2.0, f64::NAN, 2.0, f64::NAN, f64::NAN];
        for (found, expect) in found.iter().zip(expect) {
            assert!((found - expect).abs() < 1e-12 || (found.is_nan() && expect.is_nan()));
        }
    }

    #[test]
    fn rounding_does_not_count() {
        // Two words at this position: one distance, and noise.
        let noise = random(2, 66, 1);
        let distances = |row: usize| -> Vec<f64> {
            let group = |i: usize| i % 2;
            let pairs = (0..12).flat_map(|i| (i + 1..12).map(move |j| (i, j)));
            pairs
                .zip(noise.row(row))
                .map(|((i, j), e)| {
                    (f64::from(u8::from(group(i) != group(j))) * 0.01 + 1e-9 * e).max(0.0)
                })
                .collect()
        };
        let found = similarity(&distances(0), &distances(1)).expect("defined");
        assert!((found - 1.0).abs() < 1e-12, "{found}");
        assert!(spearman(&distances(0), &distances(1)).expect("defined") < 0.9);
        // One word: nothing but noise.
        let same = Matrix::new(5, 7, [0.3, -1.7, 2.2, 0.9, 5.1, 0.0, -0.4].repeat(5));
        assert_eq!(similarity(&rdm(&same), &rdm(&same)), None);
    }

    #[test]
    fn means_are_of_their_conditions() {
        let x = narrow(&random(9, 4, 2));
        let conditions = [0, 2, 2, 0, 0, 2, 2, 2, 0];
        let (means, rows) = condition_means(&x, &conditions, 3);
        assert_eq!(rows, [4, 0, 5]);
        assert!(means.row(1).iter().all(|v| v.is_nan()));
        let mut weights = Matrix::zeros(1, 9);
        for (row, _) in conditions.iter().enumerate().filter(|(_, c)| **c == 2) {
            weights.row_mut(0)[row] = 0.2;
        }
        let expect = product(weights.view(), x.wide().view());
        for (mean, expect) in means.row(2).iter().zip(&expect.data) {
            assert!((mean - expect).abs() < 1e-12);
        }
        // A condition that has no trial has no distances, and the rest still compares.
        let distances = rdm(&means);
        assert!(distances[0].is_nan() && !distances[1].is_nan() && distances[2].is_nan());
    }
}

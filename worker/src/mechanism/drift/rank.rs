//! Stable rank: ‖A‖_F² / ‖A‖₂².
//!
//! The spectral norm is the root of the largest eigenvalue of AᵀA, by Lanczos with
//! full reorthogonalisation (Golub and Van Loan, Matrix Computations, 10.1): it
//! converges from below, fast also where the first singular values are near each
//! other, and is the same on every run.

/// Most Lanczos steps; enough for the last digits on any matrix of weights.
const STEPS: usize = 200;

/// Relative change of the eigenvalue at which it counts as found.
const TOLERANCE: f64 = 1e-12;

/// Of a dense matrix, row by row; `None` if it is 0.
pub(super) fn stable_rank(a: &[f64], columns: usize) -> Option<f64> {
    let squares: f64 = a.iter().map(|v| v * v).sum();
    if squares == 0.0 {
        return None;
    }
    Some(squares / largest_eigenvalue(a, columns))
}

/// AᵀA·x.
fn gram(a: &[f64], columns: usize, x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; columns];
    for row in a.chunks_exact(columns) {
        let along = dot(row, x);
        out.iter_mut()
            .zip(row)
            .for_each(|(out, v)| *out += along * v);
    }
    out
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn normalised(mut x: Vec<f64>) -> Option<Vec<f64>> {
    let norm = dot(&x, &x).sqrt();
    x.iter_mut().for_each(|v| *v /= norm);
    (norm > 0.0).then_some(x)
}

/// Of AᵀA, for a matrix that is not 0.
fn largest_eigenvalue(a: &[f64], columns: usize) -> f64 {
    // The row of most weight is never at right angles to what is sought by design
    // of the matrix; the golden ratio's multiples keep it from being so by chance.
    let rows = a.chunks_exact(columns);
    let longest = rows.max_by(|x, y| dot(x, x).total_cmp(&dot(y, y)));
    let longest = normalised(longest.unwrap_or_default().to_vec());
    let spread = (1..=columns).map(|i| (i as f64 * 0.618_033_988_749_894_9).fract() - 0.5);
    let spread = normalised(spread.collect());
    let start = match (longest, spread) {
        (Some(x), Some(y)) => x.iter().zip(&y).map(|(x, y)| x + 0.5 * y).collect(),
        (Some(x), None) | (None, Some(x)) => x,
        (None, None) => vec![1.0; columns],
    };
    let mut basis: Vec<Vec<f64>> = vec![];
    let (mut diagonal, mut beside): (Vec<f64>, Vec<f64>) = (vec![], vec![]);
    let mut next = normalised(start);
    let mut found = 0.0;
    while let Some(v) = next {
        let mut w = gram(a, columns, &v);
        diagonal.push(dot(&w, &v));
        basis.push(v);
        // Twice: once leaves what rounding puts back.
        for _ in 0..2 {
            for v in &basis {
                let along = dot(&w, v);
                w.iter_mut().zip(v).for_each(|(w, v)| *w -= along * v);
            }
        }
        let value = largest_of_tridiagonal(&diagonal, &beside);
        let left = dot(&w, &w).sqrt();
        let done = (value - found).abs() <= TOLERANCE * value || left <= 1e-14 * value;
        found = value;
        if done || basis.len() == columns.min(STEPS) {
            break;
        }
        beside.push(left);
        next = normalised(w);
    }
    found
}

/// By bisection: the number of eigenvalues below x is that of negative pivots of
/// T − x (Sturm).
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> f64 {
    let n = diagonal.len();
    let reach = |i: usize| {
        let before = if i > 0 { beside[i - 1] } else { 0.0 };
        diagonal[i] + before.abs() + beside.get(i).filter(|_| i + 1 < n).map_or(0.0, |b| b.abs())
    };
    let mut high = (0..n).map(reach).fold(f64::MIN, f64::max);
    let mut low = diagonal.iter().copied().fold(f64::MIN, f64::max);
    let all_below = |x: f64| {
        let mut pivot = 1.0;
        (0..n).all(|i| {
            let above = if i > 0 {
                beside[i - 1].powi(2) / pivot
            } else {
                0.0
            };
            pivot = diagonal[i] - x - above;
            pivot < 0.0
        })
    };
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if all_below(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &[f64], columns: usize, expect: f64) {
        let found = stable_rank(a, columns).expect("not 0");
        assert!((found / expect - 1.0).abs() < 1e-9, "{found}, not {expect}");
    }

    /// Numbers without a pattern.
    fn noise(count: usize) -> Vec<f64> {
        (1..=count).map(|i| ((i * i) as f64 * 0.37).sin()).collect()
    }

    #[test]
    fn known_ranks() {
        let outer: Vec<f64> = (0..35)
            .map(|i| noise(7)[i / 5] * noise(20)[10 + i % 5])
            .collect();
        check(&outer, 5, 1.0);
        let identity: Vec<f64> = (0..64).map(|i| f64::from(u8::from(i % 9 == 0))).collect();
        check(&identity, 8, 8.0);
        // Singular values 3, 2, 1.
        check(
            &[0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, -1.0],
            3,
            14.0 / 9.0,
        );
        check(&[5.0], 1, 1.0);
        assert_eq!(stable_rank(&[0.0; 6], 3), None);
    }

    #[test]
    fn wide_and_tall_agree_and_near_values_are_told_apart() {
        let (rows, columns) = (60, 90);
        let a = noise(rows * columns);
        let transposed: Vec<f64> = (0..rows * columns)
            .map(|i| a[i % rows * columns + i / rows])
            .collect();
        let one = stable_rank(&a, columns).expect("not 0");
        let other = stable_rank(&transposed, rows).expect("not 0");
        assert!((one / other - 1.0).abs() < 1e-9, "{one} and {other}");
        let size = 120;
        let diagonal = |i: usize| {
            if i == 77 {
                1.001
            } else {
                1.0 - 1e-3 * (i % 7) as f64
            }
        };
        let a: Vec<f64> = (0..size * size)
            .map(|i| {
                if i % (size + 1) == 0 {
                    diagonal(i / size)
                } else {
                    0.0
                }
            })
            .collect();
        let squares: f64 = (0..size).map(|i| diagonal(i).powi(2)).sum();
        check(&a, size, squares / 1.001f64.powi(2));
    }
}

//! Adjusted p values for families of tests.

/// Holm's step-down adjustment (family-wise error), in the order given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = vec![0.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

/// Benjamini and Hochberg's adjustment (false discovery rate), in the order given.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = vec![0.0; p.len()];
    let mut smallest: f64 = 1.0;
    for (rank, &i) in order.iter().enumerate().rev() {
        smallest = smallest.min(p.len() as f64 / (rank + 1) as f64 * p[i]);
        adjusted[i] = smallest;
    }
    adjusted
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-12, "got {got:?}, want {want:?}");
        }
    }

    // numpy 2.4.6, scipy 1.17.1, statsmodels 0.15.0: multipletests(p, method="holm"), method="fdr_bh".
    #[test]
    fn agrees_with_statsmodels() {
        let p = [0.01, 0.04, 0.03, 0.5, 0.03125];
        check(&holm(&p), &[0.05, 0.12, 0.12, 0.5, 0.12]);
        check(
            &benjamini_hochberg(&p),
            &[
                0.049999999999999996,
                0.049999999999999996,
                0.049999999999999996,
                0.5,
                0.049999999999999996,
            ],
        );
    }

    #[test]
    fn an_empty_family_is_fine() {
        check(&holm(&[]), &[]);
        check(&benjamini_hochberg(&[]), &[]);
    }
}

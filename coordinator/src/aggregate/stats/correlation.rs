//! Correlations, and the ranks that Spearman's is made of.

use super::mean;

/// a·b / (‖a‖‖b‖); none where one of them is zero.
pub fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let size = (dot(a, a) * dot(b, b)).sqrt();
    (size > 0.0).then(|| (dot(a, b) / size).clamp(-1.0, 1.0))
}

/// The cosine about the means; none where one of them does not vary.
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let centred = |x: &[f64]| -> Option<Vec<f64>> {
        let centre = mean(x)?;
        Some(x.iter().map(|v| v - centre).collect())
    };
    cosine(&centred(a)?, &centred(b)?)
}

/// Ranks from 1, of equal values their mean.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = below as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|at| ranks[*at] = rank);
        below += equal.len();
    }
    ranks
}

//! Gating: how much each dimension moves Δ under each cue.

use super::linear::Cholesky;

/// Ordinary least squares of Δ = a + w_rel·z_rel + w_irr·z_irr over the trials of
/// one cue; `None` where the evidence varies in too few directions.
pub fn weights(trials: &[([f64; 2], f64)]) -> Option<[f64; 2]> {
    let n = trials.len() as f64;
    // Centred, so that the intercept drops out.
    let mut centre = [0.0; 3];
    for (z, delta) in trials {
        for (sum, value) in centre.iter_mut().zip([z[0], z[1], *delta]) {
            *sum += value / n;
        }
    }
    let mut gram = [[0.0; 2]; 2];
    let mut moment = [0.0; 2];
    for (z, delta) in trials {
        let z = [z[0] - centre[0], z[1] - centre[1]];
        for i in 0..2 {
            moment[i] += z[i] * (delta - centre[2]);
            for j in 0..2 {
                gram[i][j] += z[i] * z[j];
            }
        }
    }
    let weights = Cholesky::of(&gram)?.solve(moment);
    weights.iter().all(|w| w.is_finite()).then_some(weights)
}

/// W\[cue\]\[dimension\]: the first cue names the first dimension, the second cue the
/// second one. `by_cue` holds each cue's \[w_rel, w_irr\].
pub fn matrix(by_cue: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    let [[rel_1, irr_1], [rel_2, irr_2]] = by_cue;
    [[rel_1, irr_1], [irr_2, rel_2]]
}

/// G = (|W₁₁| + |W₂₂| − |W₁₂| − |W₂₁|)/Σ|W|: 1 where only the cued dimension
/// counts, 0 where both count alike, −1 where only the other one does. `None`
/// where nothing counts.
pub fn index(w: [[f64; 2]; 2]) -> Option<f64> {
    let [[a, b], [c, d]] = w.map(|row| row.map(f64::abs));
    let all = a + b + c + d;
    (all > 0.0).then(|| (a + d - b - c) / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_tells_gating_from_blindness() {
        let check = |by_cue, expect| assert_eq!(index(matrix(by_cue)), expect, "{by_cue:?}");
        check([[4.0, 0.0], [3.0, 0.0]], Some(1.0));
        check([[2.0, 2.0], [2.0, 2.0]], Some(0.0));
        check([[0.0, 2.0], [0.0, -1.0]], Some(-1.0));
        // One fixed dimension, the first, under either cue.
        check([[3.0, 0.0], [0.0, 3.0]], Some(0.0));
        check([[0.0; 2]; 2], None);
        assert_eq!(matrix([[1.0, 2.0], [3.0, 4.0]]), [[1.0, 2.0], [4.0, 3.0]]);
    }

    #[test]
    fn weights_need_evidence_that_varies() {
        let line: Vec<_> = [-1.0, 0.5, 1.0].map(|z| ([z, 2.0 * z], z)).to_vec();
        assert_eq!(weights(&line), None);
        assert_eq!(weights(&[]), None);
        let plane = [[-1.0, 0.3], [0.5, 0.4], [1.0, -0.8], [0.1, 0.1]];
        let [rel, irr] = weights(&plane.map(|z| (z, 0.7 + 3.0 * z[0] - 0.5 * z[1]))).unwrap();
        assert!((rel - 3.0).abs() < 1e-12 && (irr + 0.5).abs() < 1e-12);
    }
}

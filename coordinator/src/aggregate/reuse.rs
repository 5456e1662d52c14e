//! Reuse of pretrained computation, layer by layer: what reversion takes away,
//! measured against what ablation takes away.

/// U_l = 1 − clip(R̄_l / Ā_l, 0, 1) over the means of these seeds, for each layer.
///
/// `reversion` and `ablation` hold one row a seed, one column a layer; `seeds`
/// are indices of rows, with repetitions. 1: resetting the block to its own
/// initial weights costs nothing of what losing it costs, so what it does was
/// there before training. 0: it costs as much. NaN where the mean of a layer is
/// not a number, or nothing is lost by ablation: Ā_l of zero or less.
///
/// An ablation that is told from zero is not enough: where it makes the answer
/// *better* the ratio is negative whatever reversion costs, and clipping it would
/// call such a block wholly reused. Reuse is said of blocks that the answer needs.
pub fn reuse(reversion: &[Vec<f64>], ablation: &[Vec<f64>], seeds: &[usize]) -> Vec<f64> {
    let layers = reversion.first().map_or(0, Vec::len);
    let mean = |rows: &[Vec<f64>], layer: usize| {
        seeds.iter().map(|s| rows[*s][layer]).sum::<f64>() / seeds.len() as f64
    };
    (0..layers)
        .map(|layer| {
            let lost = mean(ablation, layer);
            if lost <= 0.0 {
                return f64::NAN;
            }
            // `clamp` keeps a NaN.
            1.0 - (mean(reversion, layer) / lost).clamp(0.0, 1.0)
        })
        .collect()
}

/// L(x): the mean over the last third of layers minus that over the first third,
/// ⌊layers/3⌋ of each and at least one.
pub fn late_minus_early(by_layer: &[f64]) -> f64 {
    let third = third(by_layer.len());
    if by_layer.len() < 2 {
        return f64::NAN;
    }
    let mean = |layers: &[f64]| layers.iter().sum::<f64>() / layers.len() as f64;
    mean(&by_layer[by_layer.len() - third..]) - mean(&by_layer[..third])
}

/// Layers of a third.
pub fn third(layers: usize) -> usize {
    (layers / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_reused_and_built_anew() {
        let check = |r: f64, a: f64, want: f64| {
            let got = reuse(&[vec![r]], &[vec![a]], &[0])[0];
            assert!(
                got == want || (got.is_nan() && want.is_nan()),
                "{r}/{a}: {got}"
            );
        };
        check(0.0, 0.8, 1.0);
        check(0.8, 0.8, 0.0);
        check(0.2, 0.8, 0.75);
        check(-0.1, 0.8, 1.0);
        check(0.9, 0.8, 0.0);
        check(f64::NAN, 0.8, f64::NAN);
        check(0.0, 0.0, f64::NAN);
    }

    #[test]
    fn a_block_that_does_harm_is_not_called_reused() {
        let got = |r: f64| reuse(&[vec![r]], &[vec![-0.2]], &[0])[0];
        assert!(got(0.5).is_nan() && got(-0.1).is_nan() && got(-0.4).is_nan());
    }

    #[test]
    fn means_are_taken_before_the_ratio() {
        let (r, a) = ([vec![0.1], vec![0.5]], [vec![0.2], vec![1.0]]);
        assert_eq!(reuse(&r, &a, &[0, 1])[0], 0.5);
        assert!((reuse(&r, &a, &[0, 0, 1])[0] - 0.5).abs() < 1e-12);
    }

    #[test]
    fn thirds_are_those_of_the_definition() {
        let twelve: Vec<f64> = (0..12).map(f64::from).collect();
        assert_eq!(late_minus_early(&twelve), 9.5 - 1.5);
        assert_eq!(late_minus_early(&[1.0, 5.0, 5.0, 2.0]), 1.0);
        assert!(late_minus_early(&[1.0]).is_nan());
        assert_eq!((third(12), third(4), third(2)), (4, 1, 1));
    }
}

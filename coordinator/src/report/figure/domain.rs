//! The vertical domain of a panel with curves and their bands.

use super::scale::round_domain;

/// A band that is wider than so many ranges of the values would flatten them.
const WIDE: f64 = 4.0;

/// Stands in captions of figures in which a band is cut.
pub(super) const CUT: &str = " A band that ends at the edge of its panel goes on beyond it.";

/// The domain of a panel: all values, and the ends of the bands about them, but for
/// bands that are very much wider than the values are apart.
pub(super) fn domain(
    values: impl IntoIterator<Item = f64>,
    bands: impl IntoIterator<Item = (f64, f64)>,
    bounds: (f64, f64),
) -> (f64, f64) {
    let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let within = |(a, b): (f64, f64)| (a.max(bounds.0), b.min(bounds.1));
    let ends = bands.into_iter().map(within);
    let ends = ends.filter(|(a, b)| b - a <= WIDE * (high - low));
    values.extend(ends.flat_map(|(a, b)| [a, b]));
    round_domain(values, bounds)
}

/// Whether a band does not lie within a domain.
pub(super) fn cuts(domain: (f64, f64), bands: impl IntoIterator<Item = (f64, f64)>) -> bool {
    let slack = 1e-9 * (domain.1 - domain.0);
    let beyond = |(a, b): (f64, f64)| a < domain.0 - slack || b > domain.1 + slack;
    bands.into_iter().any(beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

    #[track_caller]
    fn check(values: [f64; 2], band: (f64, f64), bounds: (f64, f64), cut: bool) {
        let got = domain(values, [band], bounds);
        assert!(got.0 <= values[0] && got.1 >= values[1], "{got:?}");
        assert!(got.0 >= bounds.0 && got.1 <= bounds.1, "{got:?}");
        assert_eq!(cuts(got, [band]), cut, "{band:?} in {got:?}");
    }

    #[test]
    fn bands_are_shown_whole_unless_they_flatten_the_values() {
        for scale in [0.001, 1.0, 1000.0] {
            let by = |(a, b): (f64, f64)| (a * scale, b * scale);
            check([0.0, scale], by((-1.4, 2.4)), ANY, false);
            check([0.0, scale], by((-6.0, 7.0)), ANY, true);
        }
        check([0.5, 0.9], (0.4, 1.2), (0.0, 1.0), true);
        check([0.5, 0.9], (0.3, 1.0), (0.0, 1.0), false);
        // What is beyond the bounds does not make a band a wide one.
        let wide = domain([0.5, 0.7], [(0.3, 5.0)], (0.0, 1.0));
        assert!(wide.0 <= 0.3 && wide.1 == 1.0, "{wide:?}");
    }
}

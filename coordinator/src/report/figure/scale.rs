//! From values to pixels, and where ticks stand.

/// A linear or logarithmic scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    domain: (f64, f64),
    pixels: (f64, f64),
    log: bool,
}

impl Scale {
    /// A linear scale.
    pub fn linear(domain: (f64, f64), pixels: (f64, f64)) -> Self {
        Self {
            domain: widen(domain),
            pixels,
            log: false,
        }
    }

    /// A logarithmic scale over positive values.
    pub fn log(domain: (f64, f64), pixels: (f64, f64)) -> Self {
        Self {
            domain: widen((domain.0.log10(), domain.1.log10())),
            pixels,
            log: true,
        }
    }

    /// The pixel of a value; values beyond the domain stand at its ends.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        let share = (value - self.domain.0) / (self.domain.1 - self.domain.0);
        self.pixels.0 + share.clamp(0.0, 1.0) * (self.pixels.1 - self.pixels.0)
    }

    /// About `n` round values within a linear domain, with their texts.
    pub fn ticks(&self, n: usize) -> Vec<(f64, String)> {
        let (low, high) = self.domain;
        let step = step(high - low, n);
        let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        (first..=last)
            .map(|i| {
                let value = i as f64 * step;
                (value, tick(value, decimals))
            })
            .collect()
    }
}

/// A domain that holds the values, with room at both ends, on round numbers;
/// never beyond `bounds`.
pub(super) fn round_domain(
    values: impl IntoIterator<Item = f64>,
    bounds: (f64, f64),
) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.into_iter().filter(|v| v.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        (low, high) = (0.0, 1.0);
    }
    let (low, high) = widen((low.max(bounds.0), high.min(bounds.1)));
    let step = step(high - low, 5);
    (
        ((low / step - 0.05).floor() * step).max(bounds.0),
        ((high / step + 0.05).ceil() * step).min(bounds.1),
    )
}

/// 1, 2 or 5 times a power of ten, so that about `n` of them fill the span.
fn step(span: f64, n: usize) -> f64 {
    let rough = span / n as f64;
    let power = 10f64.powf(rough.log10().floor());
    let digit = rough / power;
    let digit = match digit {
        d if d < 1.5 => 1.0,
        d if d < 3.5 => 2.0,
        d if d < 7.5 => 5.0,
        _ => 10.0,
    };
    digit * power
}

/// A domain without width gets some.
fn widen((low, high): (f64, f64)) -> (f64, f64) {
    if high > low {
        (low, high)
    } else {
        let room = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
        (low - room, low + room)
    }
}

/// `.5`, `1.0`, `3,000`, `−.2`.
fn tick(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(w, r)| (w, r));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let number = match (zero, rest.is_empty()) {
        (true, _) => "0".to_owned(),
        (_, true) => grouped,
        _ if whole == "0" => format!(".{rest}"),
        _ => format!("{grouped}.{rest}"),
    };
    if value < 0.0 && !zero {
        format!("−{number}")
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(domain: (f64, f64), n: usize, want: &[&str]) {
        let ticks = Scale::linear(domain, (0.0, 100.0)).ticks(n);
        let got: Vec<_> = ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(got, want, "{domain:?}");
    }

    #[test]
    fn ticks_are_round() {
        check(
            (0.0, 300.0),
            6,
            &["0", "50", "100", "150", "200", "250", "300"],
        );
        check((0.4, 1.0), 6, &[".4", ".5", ".6", ".7", ".8", ".9", "1.0"]);
        check(
            (0.0, 3000.0),
            6,
            &["0", "500", "1,000", "1,500", "2,000", "2,500", "3,000"],
        );
        check((-0.1, 0.3), 4, &["−.1", "0", ".1", ".2", ".3"]);
    }

    #[test]
    fn domains_hold_their_values_within_bounds() {
        assert_eq!(round_domain([0.46, 0.97], (0.0, 1.0)), (0.4, 1.0));
        assert_eq!(round_domain([0.5, 1.2], (0.0, 1.0)).1, 1.0);
        let (low, high) = round_domain([0.5], (0.0, 1.0));
        assert!(low < 0.5 && high > 0.5);
        assert_eq!(round_domain([], (0.0, 1.0)), (0.0, 1.0));
    }

    #[test]
    fn values_beyond_the_domain_stand_at_its_ends() {
        let scale = Scale::linear((0.0, 1.0), (100.0, 0.0));
        assert_eq!(
            (scale.at(0.25), scale.at(2.0), scale.at(-1.0)),
            (75.0, 0.0, 100.0)
        );
        let log = Scale::log((0.001, 0.1), (0.0, 100.0));
        assert!((log.at(0.01) - 50.0).abs() < 1e-9);
    }
}

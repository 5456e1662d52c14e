//! Numbers and names as people read them.

use crate::aggregate::stats::Estimate;

/// Three decimals without a leading zero, as is usual for quantities that end at
/// one: `.912`, `−.021`, `3.142`; two decimals from ten on.
pub(super) fn number(value: f64) -> String {
    let text = if value.abs() < 10.0 {
        format!("{:.3}", value.abs())
    } else {
        format!("{:.2}", value.abs())
    };
    let bare = text.strip_prefix("0.").map(|rest| format!(".{rest}"));
    let text = bare.unwrap_or(text);
    let zero = text.chars().all(|c| matches!(c, '0' | '.'));
    if value < 0.0 && !zero {
        format!("−{text}")
    } else {
        text
    }
}

/// A number that always shows its sign.
pub(super) fn signed(value: f64) -> String {
    let text = number(value);
    if text.starts_with('−') {
        text
    } else {
        format!("+{text}")
    }
}

/// `.912 [.850, .974]`; without an interval the mean alone.
pub(super) fn with_interval(e: &Estimate) -> String {
    match e.interval {
        Some((low, high)) => format!("{} [{}, {}]", number(e.mean), number(low), number(high)),
        None => number(e.mean),
    }
}

/// `+.312 [+.250, +.374]`.
pub(super) fn signed_with_interval(e: &Estimate) -> String {
    match e.interval {
        Some((low, high)) => format!("{} [{}, {}]", signed(e.mean), signed(low), signed(high)),
        None => signed(e.mean),
    }
}

/// A confidence: `95 %`, `98.75 %`.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.2}", 100.0 * share);
    let short = text.trim_end_matches('0').trim_end_matches('.');
    format!("{short} %")
}

/// `.031`, `<.001`.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.0005 {
        "<.001".to_owned()
    } else {
        number(p)
    }
}

/// A quantity that may not be available.
pub(super) fn or_na(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| "NA".to_owned(), show)
}

/// A metric's or an axis' name in words: `incongruent accuracy`.
pub(super) fn words(name: &str) -> String {
    match name {
        "nll" => "negative log-likelihood".to_owned(),
        name => name.replace('_', " "),
    }
}

/// `1 seed`, `6 seeds`.
pub(super) fn count(n: usize, what: &str) -> String {
    if n == 1 {
        format!("{n} {what}")
    } else {
        format!("{n} {what}s")
    }
}

/// The first letter in upper case.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, want) in [
            (0.9124, ".912"),
            (-0.0214, "−.021"),
            (1.0, "1.000"),
            (-0.0001, ".000"),
            (std::f64::consts::PI, "3.142"),
            (31.4159, "31.42"),
        ] {
            assert_eq!(number(value), want);
        }
        assert_eq!(signed(0.5), "+.500");
        assert_eq!(signed(-0.5), "−.500");
        assert_eq!(p_value(1e-9), "<.001");
        let levels = [0.95, 1.0 - 0.05 / 4.0, 1.0 - 0.05 / 3.0, 0.9].map(percent);
        assert_eq!(levels, ["95 %", "98.75 %", "98.33 %", "90 %"]);
    }
}

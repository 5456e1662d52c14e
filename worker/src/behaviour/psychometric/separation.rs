//! Whether choices can be told apart by a plane, without an error.
//!
//! Then a logistic regression on them has no finite maximum (Albert & Anderson
//! 1984), and what a fit gives hangs on more than the choices.

/// What lies this far on the wrong side of a plane still lies on it.
const ROUNDING: f64 = 1e-12;

/// Whether some (c₀, c₁, c₂) ≠ 0 has s·(c₀ + c₁·z₁ + c₂·z₂) ≥ 0 for every trial,
/// s = +1 for a choice of the right and −1 for one of the left: complete or
/// quasi-complete separation, the latter with trials of both choices on the plane.
///
/// `None` for a choice is a tie, which no plane puts on either side.
///
/// The coefficients that a trial allows are a half-space through 0; what all of
/// them allow is a cone, and it is more than {0} iff it meets the surface of the
/// cube [−1, 1]³. So each face, a square, is cut by one half-space after another.
pub fn is_separated(trials: &[([f64; 2], Option<bool>)]) -> bool {
    let allowed: Vec<[f64; 3]> = trials
        .iter()
        .flat_map(|&([z1, z2], right)| {
            let a = [1.0, z1, z2];
            match right {
                Some(true) => vec![a],
                Some(false) => vec![a.map(|v| -v)],
                None => vec![a, a.map(|v| -v)],
            }
        })
        .collect();
    (0..3).any(|axis| {
        [-1.0, 1.0]
            .into_iter()
            .any(|side| meets(axis, side, &allowed))
    })
}

/// Whether the cone meets the face of the cube at which coordinate `axis` is `side`.
fn meets(axis: usize, side: f64, allowed: &[[f64; 3]]) -> bool {
    let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
    let mut corners = vec![[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]];
    for a in allowed {
        let height = |c: &[f64; 2]| a[axis] * side + a[u] * c[0] + a[v] * c[1];
        corners = cut(&corners, height);
        if corners.is_empty() {
            return false;
        }
    }
    true
}

/// What is left of a convex polygon where `height` is not below 0 (Sutherland &
/// Hodgman 1974); it may shrink to an edge or a point.
fn cut(corners: &[[f64; 2]], height: impl Fn(&[f64; 2]) -> f64) -> Vec<[f64; 2]> {
    let mut left = Vec::with_capacity(corners.len() + 1);
    for (i, from) in corners.iter().enumerate() {
        let to = &corners[(i + 1) % corners.len()];
        let (h_from, h_to) = (height(from), height(to));
        if h_from >= -ROUNDING {
            left.push(*from);
        }
        if (h_from > ROUNDING && h_to < -ROUNDING) || (h_from < -ROUNDING && h_to > ROUNDING) {
            let share = h_from / (h_from - h_to);
            left.push([0, 1].map(|k| from[k] + share * (to[k] - from[k])));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expect: bool, trials: &[([f64; 2], Option<bool>)]) {
        assert_eq!(is_separated(trials), expect, "{trials:?}");
        // The plane may lie anywhere, and right be either side.
        let moved: Vec<_> = trials
            .iter()
            .map(|&([a, b], right)| ([3.0 * a - b + 7.0, a + 2.0 * b - 4.0], right.map(|r| !r)))
            .collect();
        assert_eq!(is_separated(&moved), expect, "moved: {trials:?}");
    }

    #[test]
    fn planes_are_found_where_there_are_any() {
        let grid = |choice: fn(f64, f64) -> Option<bool>| -> Vec<_> {
            let values = [-1.0, -0.5, 0.25, 0.5, 1.0];
            let at = |a: f64| values.map(move |b| ([a, b], choice(a, b)));
            values.into_iter().flat_map(at).collect()
        };
        check(true, &grid(|a, _| Some(a > 0.0)));
        check(true, &grid(|a, b| Some(a + 0.3 * b > 0.1)));
        check(true, &grid(|_, _| Some(true)));
        // XOR, and one trial on the wrong side.
        check(false, &grid(|a, b| Some((a > 0.0) == (b > 0.0))));
        check(
            false,
            &grid(|a, b| Some(a > 0.0 && (a, b) != (1.0, 1.0) || (a, b) == (-1.0, 1.0))),
        );
    }

    #[test]
    fn on_the_plane_both_choices_are_quasi_complete_separation() {
        let mut trials = vec![
            ([0.5, 0.3], Some(true)),
            ([0.5, -0.3], Some(true)),
            ([-0.5, 0.3], Some(false)),
            ([-0.5, -0.2], Some(false)),
            ([0.0, 0.4], Some(true)),
            ([0.0, -0.4], Some(false)),
            ([0.0, -0.1], Some(true)),
            ([0.0, 0.1], Some(false)),
        ];
        check(true, &trials);
        trials.push(([0.5, 0.3], Some(false)));
        trials.push(([-0.5, 0.3], Some(true)));
        check(false, &trials);
    }

    #[test]
    fn a_tie_is_on_neither_side() {
        let trials = vec![
            ([1.0, 1.0], Some(true)),
            ([1.0, -1.0], Some(true)),
            ([-1.0, 1.0], Some(false)),
            ([-1.0, -1.0], Some(false)),
        ];
        check(true, &trials);
        let mut tied = trials.clone();
        tied.extend([([1.0, 0.0], None), ([-1.0, 0.0], None)]);
        check(false, &tied);
    }
}

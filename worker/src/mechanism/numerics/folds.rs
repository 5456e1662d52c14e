//! Cross-validation folds that keep groups together.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The fold of each row; `None` for rows that take no part.
pub type Folds = Vec<Option<u8>>;

/// Shares out the rows over `k` folds, all rows of a group in the same fold: the
/// largest groups first, each to the fold that has fewest rows (scikit-learn's
/// `GroupKFold`), groups of one size in an order that `seed` draws. `None` if there
/// are fewer groups than folds.
///
/// `groups` has the group of each row that takes part.
///
/// # Panics
/// If `k` is above 255.
pub fn grouped(groups: &[Option<u64>], k: usize, seed: [u8; 32]) -> Option<Folds> {
    assert!(k <= usize::from(u8::MAX), "a fold's number is one byte");
    let mut sizes = BTreeMap::new();
    for group in groups.iter().flatten() {
        *sizes.entry(*group).or_insert(0_usize) += 1;
    }
    if sizes.len() < k {
        return None;
    }
    let mut order: Vec<(u64, usize)> = sizes.into_iter().collect();
    order.shuffle(&mut ChaCha8Rng::from_seed(seed));
    order.sort_by_key(|&(_, size)| std::cmp::Reverse(size)); // stable
    let mut rows = vec![0; k];
    let mut fold_of = BTreeMap::new();
    for (group, size) in order {
        let lightest = (0..k).min_by_key(|&fold| rows[fold]).expect("k folds");
        rows[lightest] += size;
        fold_of.insert(group, lightest as u8);
    }
    Some(
        groups
            .iter()
            .map(|group| group.map(|group| fold_of[&group]))
            .collect(),
    )
}

/// Outer folds, and within the training rows of each the inner ones.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedFolds {
    /// How many folds, outer and inner.
    pub k: usize,
    /// The outer fold of each row.
    pub outer: Folds,
    /// For each outer fold the inner fold of each of its training rows.
    pub inner: Vec<Folds>,
}

impl NestedFolds {
    /// Folds by group, outer and inner. `None` if there are too few groups.
    pub fn grouped(
        groups: &[Option<u64>],
        k: usize,
        seed: impl Fn(&str) -> [u8; 32],
    ) -> Option<Self> {
        let outer = grouped(groups, k, seed("outer"))?;
        let inner = (0..k)
            .map(|fold| {
                let train: Vec<_> = (groups.iter().zip(&outer))
                    .map(|(group, &at)| group.filter(|_| at != Some(fold as u8)))
                    .collect();
                grouped(&train, k, seed(&format!("inner/{fold}")))
            })
            .collect::<Option<_>>()?;
        Some(Self { k, outer, inner })
    }

    /// Whether a row trains the probe of an outer fold.
    pub fn trains(&self, outer: usize, row: usize) -> bool {
        self.outer[row].is_some_and(|fold| usize::from(fold) != outer)
    }

    /// Whether a row tests the probe of an outer fold.
    pub fn tests(&self, outer: usize, row: usize) -> bool {
        self.outer[row].is_some_and(|fold| usize::from(fold) == outer)
    }

    /// Whether a row trains the probe of an inner fold.
    pub fn trains_inner(&self, outer: usize, inner: usize, row: usize) -> bool {
        self.inner[outer][row].is_some_and(|fold| usize::from(fold) != inner)
    }

    /// Whether a row tests the probe of an inner fold.
    pub fn tests_inner(&self, outer: usize, inner: usize, row: usize) -> bool {
        self.inner[outer][row].is_some_and(|fold| usize::from(fold) == inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_together_and_folds_are_even() {
        // 40 groups of 1 to 8 rows: 180 rows.
        let groups: Vec<_> = (0..40u64)
            .flat_map(|g| std::iter::repeat_n(Some(g * 7 + 3), 1 + g as usize % 8))
            .collect();
        let seed = |name: &str| *blake3::hash(name.as_bytes()).as_bytes();
        let folds = NestedFolds::grouped(&groups, 5, seed).expect("40 groups for 5 folds");
        for outer in 0..5 {
            let rows: Vec<_> = (0..groups.len())
                .filter(|&r| folds.tests(outer, r))
                .collect();
            assert_eq!(rows.len(), 36, "outer fold {outer}");
            for &row in &rows {
                assert!(!folds.trains(outer, row));
                assert!(
                    folds.inner[outer][row].is_none(),
                    "tested rows are in no inner fold"
                );
                let of_group = (0..groups.len()).filter(|&r| groups[r] == groups[row]);
                assert!(of_group.into_iter().all(|r| folds.tests(outer, r)));
            }
            for inner in 0..5 {
                let tested = (0..groups.len()).filter(|&r| folds.tests_inner(outer, inner, r));
                let tested: Vec<_> = tested.collect();
                assert!((28..=29).contains(&tested.len()), "{}", tested.len());
                for &row in &tested {
                    assert!(folds.trains(outer, row) && !folds.trains_inner(outer, inner, row));
                }
                let trained = (0..groups.len()).filter(|&r| folds.trains_inner(outer, inner, r));
                assert!(
                    trained
                        .into_iter()
                        .all(|r| tested.iter().all(|&t| groups[t] != groups[r])),
                    "a group on both sides"
                );
            }
        }
        let again = NestedFolds::grouped(&groups, 5, seed);
        assert_eq!(again, Some(folds), "the same seed gives the same folds");
    }

    #[test]
    fn too_few_groups_have_no_folds() {
        let groups = [Some(1), Some(2), Some(1), None, Some(3)];
        assert_eq!(grouped(&groups, 4, [0; 32]), None);
        assert!(grouped(&groups, 3, [0; 32]).is_some_and(|folds| folds[3].is_none()));
        // Enough for the outer folds, too few within one.
        assert_eq!(NestedFolds::grouped(&groups[..3], 2, |_| [0; 32]), None);
    }
}

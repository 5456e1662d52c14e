//! Nested cross-validation of linear probes: the outer folds say how well a
//! variable is decoded, the inner ones choose the penalty for each of them.
//!
//! All variables of one activation go together, so that fits share their matrix
//! products. The choice is scikit-learn's `GridSearchCV` over an ascending C: the
//! best mean score of the inner folds, and the strongest penalty of those that tie.

use super::folds::NestedFolds;
use super::glm::{Design, Family, NotConverged, Problem, Solution};
use super::matrix::{Matrix, View, product};

/// Penalties, the strongest first: C from 1e-4 to 1.
pub const PENALTIES: [f64; 5] = [1e4, 1e3, 1e2, 1e1, 1.0];

/// Solutions whose scores are held at once.
const BATCH: usize = 128;

/// Why a probe has no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// Nothing to tell apart.
    #[error("the label is the same in all trials")]
    Constant,
    /// The rows can't be shared out without tearing groups apart.
    #[error("too few different pairs of numbers for {0} folds within {0} folds")]
    TooFewGroups(usize),
    /// As with [`Self::Constant`], in a part of the rows.
    #[error("the label is the same in all trials of a fold's training or test part")]
    ConstantInFold,
    /// An activation is NaN or infinite.
    #[error("an activation is not finite")]
    NotFinite,
    /// See [`NotConverged`].
    #[error(transparent)]
    NotConverged(#[from] NotConverged),
}

/// Folds, and a mask for each set of rows that trains a probe.
pub struct Split {
    /// The folds.
    pub folds: NestedFolds,
    /// (sets, N), 1 for a row that trains: those of the outer folds, then those of
    /// the inner folds of the first, of the second …
    masks: Matrix<f32>,
}

/// What is to be decoded.
pub struct Target {
    /// Logistic for labels 0 and 1.
    pub family: Family,
    /// One for each row; numbers are standardised.
    pub labels: Vec<f32>,
    /// Which of the splits keeps this variable's groups together.
    pub split: usize,
}

/// A cross-validated probe.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Of each outer fold: the probe that was trained on the others.
    pub solutions: Vec<Solution>,
    /// The penalty that was chosen for it.
    pub penalties: Vec<f64>,
    /// Accuracy or R² on the outer folds' test rows, their mean.
    pub score: f64,
}

impl Split {
    /// Prepares folds for use.
    pub fn new(folds: NestedFolds) -> Self {
        let (k, n) = (folds.k, folds.outer.len());
        let mut masks = Matrix::zeros(k + k * k, n);
        for outer in 0..k {
            for row in 0..n {
                masks.row_mut(outer)[row] = f32::from(folds.trains(outer, row));
                for inner in 0..k {
                    let mask = masks.row_mut(k + outer * k + inner);
                    mask[row] = f32::from(folds.trains_inner(outer, inner, row));
                }
            }
        }
        Self { folds, masks }
    }
}

impl Target {
    /// A variable with a value for each row. Numbers are standardised: neither the
    /// choice of a penalty nor R² hangs on their unit, but the rounding of f32 does.
    pub fn new(family: Family, values: &[f64], split: usize) -> Self {
        let n = values.len() as f64;
        let (mean, deviation) = match family {
            Family::Logistic => (0.0, 1.0),
            Family::Gaussian => {
                let mean = values.iter().sum::<f64>() / n;
                let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                (mean, square.sqrt())
            }
        };
        let unit = if deviation > 0.0 { deviation } else { 1.0 };
        Self {
            family,
            labels: values.iter().map(|v| ((v - mean) / unit) as f32).collect(),
            split,
        }
    }

    /// Checks that every part of every fold has something to tell apart.
    ///
    /// # Errors
    /// Why no probe can be scored.
    pub fn check(&self, split: &Split) -> Result<(), Undefined> {
        let varies = |which: &dyn Fn(usize) -> bool| varies(&self.labels, which);
        if !varies(&|_| true) {
            return Err(Undefined::Constant);
        }
        let folds = &split.folds;
        for outer in 0..folds.k {
            // Accuracy is defined where a fold tests one class only, R² is not.
            let test = self.family == Family::Gaussian;
            let fine = varies(&|row| folds.trains(outer, row))
                && (!test || varies(&|row| folds.tests(outer, row)))
                && (0..folds.k).all(|inner| {
                    varies(&|row| folds.trains_inner(outer, inner, row))
                        && (!test || varies(&|row| folds.tests_inner(outer, inner, row)))
                });
            if !fine {
                return Err(Undefined::ConstantInFold);
            }
        }
        Ok(())
    }
}

/// Whether the labels of these rows are not all the same.
pub fn varies(labels: &[f32], which: impl Fn(usize) -> bool) -> bool {
    let mut those = (0..labels.len()).filter(|&row| which(row));
    let Some(first) = those.next() else {
        return false;
    };
    those.any(|row| labels[row] != labels[first])
}

/// Accuracy, or R², of the scores of these rows.
pub fn score(family: Family, labels: &[f32], z: &[f32], which: impl Fn(usize) -> bool) -> f64 {
    let rows: Vec<usize> = (0..labels.len()).filter(|&row| which(row)).collect();
    let n = rows.len() as f64;
    match family {
        Family::Logistic => {
            let hit = |&&row: &&usize| (z[row] > 0.0) == (labels[row] > 0.5);
            rows.iter().filter(hit).count() as f64 / n
        }
        Family::Gaussian => {
            let label = |&row: &usize| f64::from(labels[row]);
            let mean = rows.iter().map(label).sum::<f64>() / n;
            let spread: f64 = rows.iter().map(|row| (label(row) - mean).powi(2)).sum();
            let error: f64 = (rows
                .iter()
                .map(|row| (label(row) - f64::from(z[*row])).powi(2)))
            .sum();
            1.0 - error / spread
        }
    }
}

/// The variance of each column of x (N, D), which is standardised, over the rows of
/// each mask (S, N): (S, D). 1 where a column does not vary in these rows, as
/// scikit-learn's `StandardScaler` has it.
pub fn variances(x: &Matrix<f32>, masks: &Matrix<f32>) -> Matrix<f64> {
    const ROWS: usize = 512;
    let (n, d, sets) = (x.rows, x.columns, masks.rows);
    let mut sums = [Matrix::zeros(sets, d), Matrix::zeros(sets, d)];
    let mut counts = vec![0.0; sets];
    for from in (0..n).step_by(ROWS) {
        let rows = ROWS.min(n - from);
        let mask = masks.iter_rows().flat_map(|mask| &mask[from..from + rows]);
        let mask: Vec<f64> = mask.map(|&m| f64::from(m)).collect();
        for (count, mask) in counts.iter_mut().zip(mask.chunks(rows)) {
            *count += mask.iter().sum::<f64>();
        }
        let piece = &x.data[from * d..(from + rows) * d];
        for (sum, power) in sums.iter_mut().zip([1, 2]) {
            let values: Vec<f64> = piece.iter().map(|&v| f64::from(v).powi(power)).collect();
            let part = product(View::new(&mask, sets, rows), View::new(&values, rows, d));
            sum.data
                .iter_mut()
                .zip(part.data)
                .for_each(|(s, p)| *s += p);
        }
    }
    let [sums, mut squares] = sums;
    for (set, count) in counts.into_iter().enumerate() {
        for (square, sum) in squares.row_mut(set).iter_mut().zip(sums.row(set)) {
            let (mean, size) = (sum / count, *square / count);
            // Columns have mean 0 over all rows: nothing cancels but in a column that
            // varies in other rows only.
            let variance = size - mean * mean;
            *square = if variance > 1e-9 * size {
                variance
            } else {
                1.0
            };
        }
    }
    squares
}

/// Cross-validates a probe of each target.
///
/// # Errors
/// Of `pulse`, which is called before each batch of fits.
pub fn cross_validate<E>(
    design: &Design,
    splits: &[Split],
    targets: &[Target],
    pulse: &mut impl FnMut() -> Result<(), E>,
) -> Result<Vec<Result<Probe, Undefined>>, E> {
    let variances: Vec<_> = (splits.iter())
        .map(|split| variances(&design.x, &split.masks))
        .collect();
    let mut courses: Vec<_> = (targets.iter())
        .map(|target| Course::new(target, &splits[target.split], &variances[target.split]))
        .collect();
    for penalty in PENALTIES {
        let under: Vec<usize> = (0..courses.len())
            .filter(|&i| courses[i].problem.is_none())
            .collect();
        let mut problems = vec![];
        let mut start = vec![];
        for &i in &under {
            let course = &courses[i];
            problems.extend(course.problems(penalty));
            start.extend((0..course.split.masks.rows).map(|set| course.path.get(set)));
        }
        let mut solved = design.solve(&problems, &start, pulse)?.into_iter();
        for i in under {
            let course = &mut courses[i];
            let path = solved.by_ref().take(course.split.masks.rows).collect();
            match path {
                Ok(path) => course.take(design, path, penalty),
                Err(problem) => course.problem = Some(Undefined::NotConverged(problem)),
            }
        }
    }
    Ok(courses
        .into_iter()
        .map(|course| course.finish(design))
        .collect())
}

/// The fits of one target, from the strongest penalty to the weakest.
struct Course<'a> {
    target: &'a Target,
    split: &'a Split,
    variances: &'a Matrix<f64>,
    /// The solution of each training set at the penalty before.
    path: Vec<Solution>,
    /// For each outer fold the best inner score, its penalty and solution.
    best: Vec<Option<(f64, f64, Solution)>>,
    problem: Option<Undefined>,
}

impl<'a> Course<'a> {
    fn new(target: &'a Target, split: &'a Split, variances: &'a Matrix<f64>) -> Self {
        Self {
            target,
            split,
            variances,
            path: vec![],
            best: vec![None; split.folds.k],
            problem: target.check(split).err(),
        }
    }

    fn problems(&self, penalty: f64) -> impl Iterator<Item = Problem<'a>> {
        let (target, split, variances) = (self.target, self.split, self.variances);
        (0..split.masks.rows).map(move |set| Problem {
            family: target.family,
            labels: &target.labels,
            train: split.masks.row(set),
            variance: variances.row(set),
            penalty,
        })
    }

    /// Keeps what is best so far.
    fn take(&mut self, design: &Design, path: Vec<Solution>, penalty: f64) {
        let Target { family, labels, .. } = self.target;
        let folds = &self.split.folds;
        let k = folds.k;
        for (outer, best) in self.best.iter_mut().enumerate() {
            let inner: Vec<_> = path[k + outer * k..][..k].iter().collect();
            let z = Design::scores(&design.x, &inner); // (k, N)
            let sum: f64 = (0..k)
                .map(|i| {
                    score(*family, labels, z.row(i), |row| {
                        folds.tests_inner(outer, i, row)
                    })
                })
                .sum();
            let mean = sum / k as f64;
            if best.as_ref().is_none_or(|(most, ..)| mean > *most) {
                *best = Some((mean, penalty, path[outer].clone()));
            }
        }
        self.path = path;
    }

    fn finish(self, design: &Design) -> Result<Probe, Undefined> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let best = self.best.into_iter().flatten();
        let (penalties, solutions) = best
            .map(|(_, penalty, solution)| (penalty, solution))
            .unzip();
        let mut probe = Probe {
            solutions,
            penalties,
            score: f64::NAN,
        };
        probe.score = probe.tested(&design.x, self.target, &self.split.folds);
        Ok(probe)
    }
}

impl Probe {
    /// The mean score over outer folds on activations x (N, D) of the same trials,
    /// standardised as those on which the probe was trained: each fold's test rows,
    /// with the probe that has not seen their groups.
    pub fn tested(&self, x: &Matrix<f32>, target: &Target, folds: &NestedFolds) -> f64 {
        let z = Design::scores(x, &self.solutions.iter().collect::<Vec<_>>());
        let scores = (0..folds.k).map(|outer| {
            let tests = |row| folds.tests(outer, row);
            score(target.family, &target.labels, z.row(outer), tests)
        });
        scores.sum::<f64>() / folds.k as f64
    }
}

/// One fit whose penalty is given, and the rows on which it is scored.
pub struct HeldOut<'a> {
    /// The loss.
    pub family: Family,
    /// One for each row.
    pub labels: &'a [f32],
    /// 1 for each row that trains.
    pub train: Vec<f32>,
    /// Whether a row is tested.
    pub test: Vec<bool>,
    /// λ.
    pub penalty: f64,
}

/// Fits and scores each.
///
/// # Errors
/// Of `pulse`.
pub fn held_out<E>(
    design: &Design,
    all: &[HeldOut<'_>],
    pulse: &mut impl FnMut() -> Result<(), E>,
) -> Result<Vec<Result<f64, Undefined>>, E> {
    let mut scores = Vec::with_capacity(all.len());
    for all in all.chunks(BATCH) {
        let masks = all.iter().flat_map(|one| one.train.iter().copied());
        let masks = Matrix::new(all.len(), design.x.rows, masks.collect());
        let variances = variances(&design.x, &masks);
        let problems: Vec<_> = (all.iter().enumerate())
            .map(|(set, one)| Problem {
                family: one.family,
                labels: one.labels,
                train: masks.row(set),
                variance: variances.row(set),
                penalty: one.penalty,
            })
            .collect();
        let solved = design.solve(&problems, &vec![None; all.len()], pulse)?;
        for (one, solution) in all.iter().zip(solved) {
            scores.push(one.score(design, solution));
        }
    }
    Ok(scores)
}

impl HeldOut<'_> {
    fn score(
        &self,
        design: &Design,
        solution: Result<Solution, NotConverged>,
    ) -> Result<f64, Undefined> {
        let test = |row: usize| self.test[row];
        if !varies(self.labels, |row| self.train[row] > 0.0)
            || !self.test.contains(&true)
            || (self.family == Family::Gaussian && !varies(self.labels, test))
        {
            return Err(Undefined::ConstantInFold);
        }
        let z = Design::scores(&design.x, &[&solution?]);
        Ok(score(self.family, self.labels, z.row(0), test))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{narrow, random};
    use super::*;

    fn go_on() -> Result<(), std::convert::Infallible> {
        Ok(())
    }

    const N: usize = 300;

    fn split() -> Split {
        let groups: Vec<_> = (0..N as u64).map(|i| Some(i % 43)).collect();
        let seed = |name: &str| *blake3::hash(name.as_bytes()).as_bytes();
        Split::new(NestedFolds::grouped(&groups, 5, seed).expect("43 groups"))
    }

    fn probe(x: &Matrix<f64>, family: Family, values: &[f64]) -> Result<Probe, Undefined> {
        let design = Design::new(&narrow(x)).expect("finite");
        let target = Target::new(family, values, 0);
        let mut found =
            cross_validate(&design, &[split()], &[target], &mut go_on).expect("infallible");
        found.pop().expect("one target")
    }

    fn classes(of: impl Fn(usize) -> bool) -> Vec<f64> {
        (0..N).map(|row| f64::from(u8::from(of(row)))).collect()
    }

    #[test]
    fn what_is_planted_is_decoded() {
        let mut x = random(N, 40, 1);
        let labels = classes(|row| row * row % 7 < 3);
        let direction = random(1, 40, 2);
        for (row, label) in labels.iter().enumerate() {
            for (v, w) in x.row_mut(row).iter_mut().zip(&direction.data) {
                *v += 3.0 * (label - 0.5) * w;
            }
        }
        let found = probe(&x, Family::Logistic, &labels).expect("decoded");
        assert_eq!(found.score, 1.0);
        let found = probe(&x, Family::Gaussian, &labels).expect("decoded");
        assert!(found.score > 0.9, "R² {}", found.score);
    }

    #[test]
    fn what_is_not_there_is_not_decoded() {
        let x = random(N, 20, 3);
        let noise = random(N, 1, 4).data;
        let score = probe(&x, Family::Logistic, &classes(|row| noise[row] > 0.0))
            .expect("defined")
            .score;
        assert!((0.4..0.6).contains(&score), "{score}");
        let score = probe(&x, Family::Gaussian, &noise).expect("defined").score;
        assert!(score < 0.05, "{score}");
    }

    #[test]
    fn what_can_not_be_scored_has_a_reason() {
        let x = random(N, 5, 5);
        let why = |family, values: &[f64]| probe(&x, family, values).expect_err("undefined");
        assert_eq!(why(Family::Logistic, &[1.0; N]), Undefined::Constant);
        assert_eq!(why(Family::Gaussian, &[7.0; N]), Undefined::Constant);
        // One group alone has the other label: most training sets lack it.
        let rare = classes(|row| row % 43 == 5);
        assert_eq!(why(Family::Logistic, &rare), Undefined::ConstantInFold);
    }

    #[test]
    fn activations_that_never_vary_score_as_chance_does() {
        let x = Matrix::new(N, 3, [1.0, -2.0, 0.3].repeat(N));
        let labels = classes(|row| row % 3 > 0);
        let found = probe(&x, Family::Logistic, &labels).expect("defined");
        assert!((found.score - 2.0 / 3.0).abs() < 0.02, "{}", found.score);
    }

    #[test]
    fn variances_are_those_of_the_rows() {
        let x = super::super::standard::Scale::of(&random(N, 4, 6));
        let x = narrow(&x.apply(&random(N, 4, 6)));
        let mask = (0..N).map(|row| f32::from(row % 3 == 0)).collect();
        let found = variances(&x, &Matrix::new(1, N, mask));
        let expect = super::super::standard::Scale::of_rows(&x, |row| row % 3 == 0);
        for (found, expect) in found.data.iter().zip(&expect.deviation) {
            assert!((found - expect * expect).abs() < 1e-12);
        }
    }
}

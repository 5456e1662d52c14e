//! Targeted dimensionality reduction, after Mante et al. 2013.
//!
//! Axes of the residual stream at the last position along which the task's variables
//! are encoded, and the paths of condition means through depth in their space. The
//! method: [`super::numerics::targeted`].
//!
//! Variables, in the order in which their axes are made orthogonal: the network's own
//! `choice` (±1, right is +1); the evidence of each dimension, positive for right, as
//! a share of the largest (`color`, `motion`); the `context` (±1, the second is +1);
//! and the evidence times the context (`color_by_context` …). A task with one context
//! has `choice`, `relevant`, `irrelevant`.
//!
//! - `tdr.AXIS.norm` (layer = depth): length of the variable's denoised vector, in
//!   z-scored units; `tdr.AXIS.depth`: where it is longest;
//! - `tdr.AXIS.encoding` (depth): the variable's coefficient along its own axis;
//! - `tdr.AXIS.variance` (depth): share of the condition means' variance along it;
//! - `tdr.AXIS.projection` (depth, slot = `CONTEXT.SIDE.CONGRUENCY`): means along the
//!   axes of choice, evidence and context;
//! - `tdr.DIMENSION.relevant` and `.irrelevant` (depth): slope of the projection on
//!   the dimension's axis by its evidence, in trials whose cue names it and in the
//!   others: equal where the cue does not gate what enters.
//!
//! Arrays: `tdr.trajectories` (cells of the design, depths, axes), NaN where a cell
//! has no trial; `tdr.axes` (axes, width), orthonormal, in z-scored units;
//! `tdr.conditions` (cells, axes): means of the variables, which say what a cell is.

use super::activations::{Course, Slots, portions, read};
use super::numerics::matrix::{Matrix, dot};
use super::numerics::targeted::{Axes, Depth, Undefined, Variables, axes};
use super::readout::{Trials, hooked};
use super::rows::{At, Rows};
use super::{Answer, Array, MechanismError, Study};
use crate::task::EvalSplit;

type Result<T> = std::result::Result<T, MechanismError>;

/// Principal components that denoise, as Mante et al. took.
const COMPONENTS: usize = 12;

/// Answers [`Question::Tdr`](seedbed_proto::job::Question::Tdr).
///
/// # Errors
/// See [`super::ask`].
pub fn ask(study: &mut Study<'_>) -> Result<Answer> {
    let mut out = Rows::of_split(study);
    let Some(design) = Design::of(study) else {
        let reason = "the task has no two numeric dimensions, or more than two contexts";
        out.note("tdr", reason);
        return Ok(out.finish());
    };
    let net = hooked(study.subject, study.ops, study.device)?;
    let trials = Trials::of(study);
    let mut course = Course::new(2 * (study.subject.config.layers + 1));
    let bytes = study.budget.bytes;
    let lds = trials.lds(&net, &[], bytes, &mut || course.tell(study))?;
    // LD = s·Δ: times s it is Δ, whose sign is the choice.
    let side = |(trial, ld): (usize, &f64)| match trials.sign(trial) * ld {
        0.0 => 0.0,
        delta => delta.signum(),
    };
    let choices: Vec<f64> = lds.iter().enumerate().map(side).collect();
    let variables = design.variables(&choices);

    let slots = Slots::last(study.task);
    let width = study.subject.config.width;
    let workspace = 8 * trials.count() * (2 * width + variables.values.rows);
    let mut depths = vec![];
    let mut slopes = vec![];
    let portions = portions(study, &slots, 1, workspace)?;
    for places in portions.places {
        let mut pulse = || course.tell(study);
        let bytes = portions.batch_bytes;
        let seen = read(&net, trials, &slots, &places, bytes, &mut pulse)?;
        for x in seen {
            match Depth::new(&x, &variables) {
                Ok(depth) => depths.push(depth),
                Err(why) => return Ok(undefined(out, &design, why)),
            }
            slopes.push(design.slopes(&x));
            course.step();
            course.tell(study)?;
        }
    }
    let axes = match axes(&depths, COMPONENTS) {
        Ok(axes) => axes,
        Err(why) => return Ok(undefined(out, &design, why)),
    };
    design.put(&mut out, &axes, &slopes);
    let mut answer = out.finish();
    design.arrays(&mut answer, &axes, &variables);
    Ok(answer)
}

/// NaN for every axis, with the reason.
fn undefined(mut out: Rows, design: &Design, why: Undefined) -> Answer {
    let name = |i: usize| &design.names[i];
    let reason = match why {
        // Of the constant alone, if the first variable does not vary.
        Undefined::Singular(0) => "the network gives the same answer in all trials".to_owned(),
        Undefined::Singular(i) => {
            format!(
                "the regression is singular: {} follows from the variables before it",
                name(i)
            )
        }
        Undefined::Parallel(i) => {
            format!(
                "the axis of {} lies in the space of those before it",
                name(i)
            )
        }
        Undefined::Constant => why.to_string(),
    };
    for axis in &design.names {
        let metric = format!("tdr.{axis}.depth");
        out.push(&metric, At::WHOLE, f64::NAN);
        out.note(&metric, &reason);
    }
    out.finish()
}

/// What trials are regressed on, but for the choice.
struct Design {
    /// "choice" first.
    names: Vec<String>,
    /// Evidence of the two dimensions, as a share of the largest; by trial.
    evidence: [Vec<f64>; 2],
    /// The two dimensions' names.
    dimensions: [String; 2],
    /// −1 and +1, if there are two contexts: in the order of the dimensions.
    context: Option<Vec<f64>>,
    /// Cell of each trial, and the group of cells for the figure.
    cells: Vec<usize>,
    cell_count: usize,
    groups: Vec<String>,
}

impl Design {
    /// `None` for a task without two dimensions in one or two contexts.
    fn of(study: &Study<'_>) -> Option<Self> {
        let count = Trials::of(study).count();
        let split: &EvalSplit = study.split;
        let evidence = &split.evidence.as_ref()?[..count];
        let contexts = &split.contexts[..count];
        let mut names: Vec<&str> = contexts.to_vec();
        names.sort_unstable();
        names.dedup();
        let largest = (evidence.iter().flatten()).fold(0.0_f64, |m, x| m.max(x.abs()));
        let scale = if largest > 0.0 { largest } else { 1.0 };
        // Evidence is [relevant, irrelevant]; with two contexts, by the dimension.
        let side = |dimension: usize| -> Vec<f64> {
            let of = |(x, context): (&[f64; 2], &&str)| match names.len() {
                2 if *context != names[dimension] => x[1] / scale,
                2 => x[0] / scale,
                _ => x[dimension] / scale,
            };
            evidence.iter().zip(contexts).map(of).collect()
        };
        let (dimensions, context) = match names[..] {
            [_] => (["relevant".to_owned(), "irrelevant".to_owned()], None),
            [first, second] => {
                let sign = |context: &&str| if *context == second { 1.0 } else { -1.0 };
                let signs = contexts.iter().map(sign).collect();
                ([first.to_owned(), second.to_owned()], Some(signs))
            }
            _ => return None,
        };
        let mut axes = vec![
            "choice".to_owned(),
            dimensions[0].clone(),
            dimensions[1].clone(),
        ];
        if context.is_some() {
            axes.push("context".to_owned());
            axes.extend(dimensions.iter().map(|d| format!("{d}_by_context")));
        }
        let shown = &split.trials[..count];
        let group = |(trial, context): (&crate::task::Trial, &&str)| {
            let side = ["left", "right"][usize::from(trial.right)];
            match trial.congruent {
                Some(true) => format!("{context}.{side}.congruent"),
                Some(false) => format!("{context}.{side}.incongruent"),
                None => format!("{context}.{side}"),
            }
        };
        Some(Self {
            names: axes,
            evidence: [side(0), side(1)],
            dimensions,
            context,
            cells: shown.iter().map(|trial| trial.cell).collect(),
            cell_count: study.task.kind().cells(),
            groups: shown.iter().zip(contexts).map(group).collect(),
        })
    }

    fn variables(&self, choices: &[f64]) -> Variables {
        let [first, second] = &self.evidence;
        let mut values = [choices, first, second].concat();
        if let Some(context) = &self.context {
            values.extend(context);
            for evidence in &self.evidence {
                values.extend(evidence.iter().zip(context).map(|(x, c)| x * c));
            }
        }
        Variables {
            values: Matrix::new(self.names.len(), choices.len(), values),
            conditions: self.cells.clone(),
            condition_count: self.cell_count,
        }
    }

    /// Regression of units on both evidences within each context: coefficients
    /// (2, D) for each, or why not. Empty without two contexts.
    fn slopes(&self, x: &Matrix<f32>) -> Vec<std::result::Result<Matrix<f64>, Undefined>> {
        let Some(context) = &self.context else {
            return vec![];
        };
        let both = Variables {
            values: Matrix::new(2, x.rows, self.evidence.concat()),
            conditions: self.cells.clone(),
            condition_count: self.cell_count,
        };
        let within = |sign: f64| {
            let trials: Vec<usize> = (0..x.rows).filter(|&t| context[t] == sign).collect();
            let rows = trials.iter().flat_map(|&t| x.row(t)).map(|&v| f64::from(v));
            let x = Matrix::new(trials.len(), x.columns, rows.collect());
            both.of_trials(&trials).regress(&x)
        };
        [-1.0, 1.0].map(within).into()
    }

    fn put(
        &self,
        out: &mut Rows,
        axes: &Axes,
        slopes: &[Vec<std::result::Result<Matrix<f64>, Undefined>>],
    ) {
        for (v, axis) in self.names.iter().enumerate() {
            let name = |what: &str| format!("tdr.{axis}.{what}");
            out.push(&name("depth"), At::WHOLE, axes.depth[v] as f64);
            for depth in 0..axes.norm.rows {
                let at = At::layer(depth);
                out.push(&name("norm"), at, axes.norm.row(depth)[v]);
                out.push(&name("encoding"), at, axes.encoding.row(depth)[v]);
                out.push(&name("variance"), at, axes.variance.row(depth)[v]);
            }
            if axes.variance.iter_rows().any(|row| row[v].is_nan()) {
                out.note(
                    &name("variance"),
                    "all conditions have the same mean at this depth",
                );
            }
        }
        self.put_projections(out, axes);
        for (d, dimension) in self.dimensions.iter().enumerate() {
            let v = d + 1; // after the choice
            for (depth, slopes) in slopes.iter().enumerate() {
                for (context, slope) in slopes.iter().enumerate() {
                    let what = if context == d {
                        "relevant"
                    } else {
                        "irrelevant"
                    };
                    let name = format!("tdr.{dimension}.{what}");
                    let value = match slope {
                        Ok(beta) => dot(axes.axes.row(v), &scaled(beta.row(d), &axes.deviation)),
                        Err(_) => f64::NAN,
                    };
                    out.push(&name, At::layer(depth), value);
                    if slope.is_err() && depth == 0 {
                        out.note(&name, "the evidence does not vary within a context");
                    }
                }
            }
        }
    }

    /// Means over trials along the axes before the interactions.
    fn put_projections(&self, out: &mut Rows, axes: &Axes) {
        let mut groups: Vec<&String> = self.groups.iter().collect();
        groups.sort_unstable();
        groups.dedup();
        let shown = self.names.iter().enumerate().take(4);
        for (v, axis) in shown {
            for group in &groups {
                for (depth, trajectory) in axes.trajectories.iter().enumerate() {
                    let of_group = self
                        .groups
                        .iter()
                        .zip(&self.cells)
                        .filter(|(g, _)| g == group);
                    let (count, sum) = of_group.fold((0.0, 0.0), |(n, sum), (_, &cell)| {
                        (n + 1.0, sum + trajectory.row(cell)[v])
                    });
                    let at = At {
                        slot: Some(group),
                        ..At::layer(depth)
                    };
                    out.push(&format!("tdr.{axis}.projection"), at, sum / count);
                }
            }
        }
    }

    fn arrays(&self, answer: &mut Answer, axes: &Axes, variables: &Variables) {
        let (p, depths) = (self.names.len(), axes.trajectories.len());
        let mut put = |name: &str, shape: Vec<usize>, data: Vec<f32>| {
            answer.arrays.insert(name.to_owned(), Array { shape, data });
        };
        let path = |cell: usize| axes.trajectories.iter().flat_map(move |t| t.row(cell));
        let paths = (0..self.cell_count).flat_map(path).map(|&v| v as f32);
        put(
            "tdr.trajectories",
            vec![self.cell_count, depths, p],
            paths.collect(),
        );
        let rows = axes.axes.data.iter().map(|&v| v as f32).collect();
        put("tdr.axes", vec![p, axes.axes.columns], rows);
        let mean = |cell: usize, v: usize| {
            let of_cell = variables.values.row(v).iter().zip(&self.cells);
            let of_cell = of_cell.filter(|(_, at)| **at == cell);
            let (count, sum) = of_cell.fold((0.0, 0.0), |(n, sum), (x, _)| (n + 1.0, sum + x));
            (sum / count) as f32 // 0/0: NaN
        };
        let means = (0..self.cell_count).flat_map(|cell| (0..p).map(move |v| mean(cell, v)));
        put("tdr.conditions", vec![self.cell_count, p], means.collect());
    }
}

/// Per z-scored unit; 0 where a unit is constant.
fn scaled(beta: &[f64], deviation: &[f64]) -> Vec<f64> {
    let one = |(b, s): (&f64, &f64)| if *s > 0.0 { b / s } else { 0.0 };
    beta.iter().zip(deviation).map(one).collect()
}

//! What a sweep will take: jobs, hours, bytes. Estimates, with their
//! assumptions beside them.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use seedbed_proto::JobKey;
use seedbed_proto::job::{Keep, Loss, Pretrain, Task, Train, Work};
use seedbed_proto::task;
use serde::Serialize;

use super::document::{KeepWeights, Sweep};
use super::expand::{Jobs, Planned};
use super::files::Files;
use super::model::{Model, ModelShape};
use crate::results::label;

/// Achieved floating-point operations a second of one CPU core: f32 with AVX2,
/// about what the fused kernels reach on small GPT-2s.
const CPU_CORE_FLOPS: f64 = 50e9;
/// The same of a data-centre GPU at the batches of a sweep: small ones, far
/// from its peak.
const GPU_FLOPS: f64 = 10e12;
/// Jobs that are listed.
const LISTED: usize = 8;

/// What a sweep consists of and what it will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The sweep's name.
    pub name: String,
    /// All jobs.
    pub jobs: u64,
    /// Kind of job → how many.
    pub jobs_by_kind: BTreeMap<String, u64>,
    /// Training jobs of each arm, in the sweep's order.
    pub jobs_by_arm: Vec<(String, u64)>,
    /// Jobs whose results are on record.
    pub jobs_done: u64,
    /// Different seeds.
    pub seeds: u64,
    /// Optimizer steps of all jobs.
    pub steps: u64,
    /// Of these, steps of jobs that are not done.
    pub steps_left: u64,
    /// Floating-point operations of jobs that are not done and whose base has a
    /// known shape.
    pub flops_left: f64,
    /// Jobs whose base has an unknown shape: they are not in the estimates.
    pub jobs_unknown: u64,
    /// Hours of one CPU core that are left, at `cpu_core_flops`.
    pub cpu_core_hours: f64,
    /// Hours of one GPU that are left, at `gpu_flops`.
    pub gpu_hours: f64,
    /// The assumption behind `cpu_core_hours`.
    pub cpu_core_flops: f64,
    /// The assumption behind `gpu_hours`.
    pub gpu_flops: f64,
    /// Bytes of weights in the store when the sweep is done.
    pub stored_bytes: u64,
    /// Most bytes of weights on the way there: with `weights: selected` every
    /// run's are kept until the selection is recorded.
    pub stored_bytes_peak: u64,
    /// The first jobs: key and title.
    pub first_jobs: Vec<(JobKey, String)>,
}

/// Walks the jobs of a sweep, one at a time. `done` says whether a job's result
/// is on record.
pub fn plan(
    sweep: &Sweep,
    files: &Files,
    jobs: Jobs<'_>,
    mut done: impl FnMut(&JobKey) -> bool,
) -> Plan {
    let mut plan = Plan {
        name: sweep.name.clone(),
        jobs: 0,
        jobs_by_kind: BTreeMap::new(),
        jobs_by_arm: vec![],
        jobs_done: 0,
        seeds: 0,
        steps: 0,
        steps_left: 0,
        flops_left: 0.0,
        jobs_unknown: 0,
        cpu_core_hours: 0.0,
        gpu_hours: 0.0,
        cpu_core_flops: CPU_CORE_FLOPS,
        gpu_flops: GPU_FLOPS,
        stored_bytes: 0,
        stored_bytes_peak: 0,
        first_jobs: vec![],
    };
    let shapes = shapes(sweep, files);
    let mut groups = HashSet::new();
    let mut seeds = HashSet::new();
    for job in jobs {
        plan.jobs += 1;
        let kind = job.spec.kind().to_owned();
        *plan.jobs_by_kind.entry(kind).or_default() += 1;
        if plan.first_jobs.len() < LISTED {
            plan.first_jobs.push((job.key, job.title.clone()));
        }
        let is_done = done(&job.key);
        let (flops, bytes) = match &job.spec.work {
            Work::Pretrain(pretrain) => pretrain_cost(pretrain, &job, &shapes),
            Work::Train(train) => {
                let shape = shapes.get(&base_id(train));
                (
                    shape.map(|s| train_flops(train, s)),
                    shape.map_or(0, |s| weights_bytes(train, s)),
                )
            }
        };
        if let Some(point) = &job.point {
            let arm = point.get(&sweep.compare.arms).map_or("all".into(), label);
            match plan.jobs_by_arm.iter_mut().find(|(name, _)| *name == arm) {
                Some((_, count)) => *count += 1,
                None => plan.jobs_by_arm.push((arm, 1)),
            }
            seeds.extend(point.get(&sweep.compare.replicate).and_then(|s| s.as_u64()));
        }
        plan.stored_bytes_peak += bytes;
        if stays(sweep, &job, &mut groups) {
            plan.stored_bytes += bytes;
        }
        plan.steps += job.spec.steps();
        if is_done {
            plan.jobs_done += 1;
            continue;
        }
        plan.steps_left += job.spec.steps();
        match flops {
            Some(flops) => plan.flops_left += flops,
            None => plan.jobs_unknown += 1,
        }
    }
    plan.seeds = seeds.len() as u64;
    plan.cpu_core_hours = plan.flops_left / CPU_CORE_FLOPS / 3600.0;
    plan.gpu_hours = plan.flops_left / GPU_FLOPS / 3600.0;
    plan
}

/// Whether a job's weights stay when the sweep is done: of the runs that differ
/// only in what is selected, one per group.
fn stays(sweep: &Sweep, job: &Planned, groups: &mut HashSet<[u8; 16]>) -> bool {
    let (Some(point), Some(select)) = (&job.point, &sweep.compare.select) else {
        return true;
    };
    if sweep.keep.weights != KeepWeights::Selected {
        return true;
    }
    let group: BTreeMap<_, _> = point
        .iter()
        .filter(|(axis, _)| **axis != select.axis)
        .collect();
    let text = serde_json::to_string(&group).expect("a point has string keys");
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    groups.insert(short)
}

/// Base → shape, for the bases whose shape is known.
fn shapes(sweep: &Sweep, files: &Files) -> BTreeMap<String, ModelShape> {
    let mut known = BTreeMap::new();
    for setting in sweep.documents.iter().flat_map(|d| d.models()) {
        let model = Model::of(&setting.value);
        let base = super::expand::base(sweep, &model, files).ok();
        let shape = files.shape(&model).ok().flatten();
        if let (Some((base, _)), Some(shape)) = (base, shape) {
            known.insert(id_of(&base), shape);
        }
    }
    known
}

fn base_id(train: &Train) -> String {
    id_of(&train.base)
}

fn id_of(base: &seedbed_proto::job::Base) -> String {
    use seedbed_proto::job::Base;
    match base {
        Base::Job(key) => key.to_string(),
        Base::Files(files) => format!("{} {}", files.config, files.weights),
    }
}

fn pretrain_cost(
    pretrain: &Pretrain,
    job: &Planned,
    shapes: &BTreeMap<String, ModelShape>,
) -> (Option<f64>, u64) {
    let shape = shapes.get(&job.key.to_string());
    let bytes = shape.map_or(0, |s| 4 * s.parameters(false));
    let flops = match pretrain {
        // A download costs no arithmetic.
        Pretrain::Hub(_) => Some(0.0),
        Pretrain::Corpus(p) => shape.map(|shape| {
            let tokens = f64::from(p.optim.batch) * f64::from(p.context) * p.optim.steps as f64;
            6.0 * tokens * (shape.block_parameters() + head(shape)) as f64
        }),
    };
    (flops, bytes)
}

/// Parameters of the unembedding.
fn head(shape: &ModelShape) -> u64 {
    u64::from(shape.vocab) * u64::from(shape.shape.width)
}

/// 6 operations per token and parameter in training (2 forward, 4 backward), 2
/// in evaluation. The unembedding is computed where the loss reads it. Frozen
/// weights count as if they trained: an upper bound.
fn train_flops(train: &Train, shape: &ModelShape) -> f64 {
    let length = prompt_tokens(&train.task);
    let blocks = shape.block_parameters() as f64;
    let head = head(shape) as f64;
    let optim = &train.optim;
    let read = match optim.loss {
        Loss::Full => length,
        Loss::Answer | Loss::TwoWay => 1.0,
    };
    let trials = optim.steps as f64 * f64::from(optim.batch);
    let learning = 6.0 * trials * (length * blocks + read * head);
    // `val` at step 0, along the way and at the end; then each other split.
    let others = train.task.splits.len() as f64 - 1.0;
    let evaluations = 1.0 + (optim.steps / optim.eval_every.max(1)) as f64 + others;
    let evaluated = evaluations * f64::from(train.task.eval_trials);
    learning + 2.0 * evaluated * (length * blocks + head)
}

/// Tokens of a prompt, where words and numbers are single tokens, as in GPT-2's
/// vocabulary.
fn prompt_tokens(task: &Task) -> f64 {
    let text = task::definition(&task.name)
        .and_then(|definition| task::setup::text(definition, &task.template))
        .map_or("", |(_, text)| text);
    let filler = match text.contains("{delay}") {
        true => task.delay.unwrap_or(task::setup::DELAY) - 1,
        false => 0,
    };
    // A name in braces is one token, and so is a mark.
    let marks = text.matches(['.', ',', ':', ';', '?', '!']).count();
    let tokens = (text.split_whitespace().count() + marks) as u32 + filler;
    f64::from(tokens + u32::from(task.bos))
}

/// Bytes of the weights that a result holds.
fn weights_bytes(train: &Train, shape: &ModelShape) -> u64 {
    // Weights at the last step are the final ones again: equal bytes, one blob.
    let before_last = |steps: &[u64]| steps.iter().filter(|s| **s < train.optim.steps).count();
    let files = match &train.keep {
        Keep::None => 0,
        Keep::Final => 1,
        Keep::Matched => 2,
        // 0, 10, 30, 100, 300 … before the last step, and the two above.
        Keep::All => {
            let grid = std::iter::successors(Some([10u64, 30]), |[a, b]| {
                Some([a.saturating_mul(10), b.saturating_mul(10)])
            });
            let along = grid.take(16).flatten().filter(|s| *s < train.optim.steps);
            3 + along.count() as u64
        }
        Keep::Steps(steps) => 1 + before_last(steps) as u64,
    };
    files * 4 * shape.parameters(train.untie)
}

impl Plan {
    /// The plan as text, for `expand`.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let count =
            |n: u64, what: &str| format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" });
        let kinds: Vec<_> = self
            .jobs_by_kind
            .iter()
            .map(|(kind, n)| format!("{} {kind}", grouped(*n)))
            .collect();
        let _ = writeln!(
            out,
            "{}: {} ({})",
            self.name,
            count(self.jobs, "job"),
            kinds.join(", ")
        );
        if !self.jobs_by_arm.is_empty() {
            let arms = self
                .jobs_by_arm
                .iter()
                .map(|(arm, n)| format!("{arm} {}", grouped(*n)));
            let arms: Vec<_> = arms.collect();
            let _ = writeln!(
                out,
                "arms: {} over {}",
                arms.join(", "),
                count(self.seeds, "seed")
            );
        }
        let _ = writeln!(
            out,
            "done already: {}; left: {}, {}",
            grouped(self.jobs_done),
            count(self.jobs - self.jobs_done, "job"),
            count(self.steps_left, "optimizer step")
        );
        let _ = writeln!(
            out,
            "time left: about {} on one CPU core, {} on one GPU",
            hours(self.cpu_core_hours),
            hours(self.gpu_hours)
        );
        let _ = writeln!(
            out,
            "  assuming 6 operations per token and parameter at {:.0} GFLOP/s a core, {:.0} TFLOP/s a GPU",
            self.cpu_core_flops / 1e9,
            self.gpu_flops / 1e12
        );
        if self.jobs_unknown > 0 {
            let _ = writeln!(
                out,
                "  without {}: the shape of the base is known after its download",
                count(self.jobs_unknown, "job")
            );
        }
        let _ = write!(out, "stored weights: {}", bytes(self.stored_bytes));
        if self.stored_bytes_peak > self.stored_bytes {
            let _ = write!(
                out,
                ", up to {} before the selection",
                bytes(self.stored_bytes_peak)
            );
        }
        let _ = writeln!(out);
        let _ = writeln!(out, "first jobs:");
        for (key, title) in &self.first_jobs {
            let _ = writeln!(out, "  {}  {title}", key.short());
        }
        if self.jobs > self.first_jobs.len() as u64 {
            let _ = writeln!(
                out,
                "  … and {} more",
                grouped(self.jobs - self.first_jobs.len() as u64)
            );
        }
        out
    }
}

/// 12,345,678
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In hours, as machines are booked; shorter times in what people say.
fn hours(hours: f64) -> String {
    match hours {
        h if h >= 100.0 => format!("{} h", grouped(h.round() as u64)),
        h if h >= 1.0 => format!("{h:.1} h"),
        h if h * 60.0 >= 1.0 => format!("{:.0} min", h * 60.0),
        h => format!("{:.0} s", (h * 3600.0).ceil()),
    }
}

fn bytes(n: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

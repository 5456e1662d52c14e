//! Made-up results for tests: logistic learning curves, different in each seed,
//! the same on every machine.

use seedbed_proto::result::{Artifact, FailureReason, JobPhase, Provenance};
use seedbed_proto::seed::{Purpose, derive_seed};
use seedbed_proto::{BlobDigest, JobKey};
use serde_json::{Value, json};

use crate::results::{Attempt, Measured, Point, Run, SweepResults};

/// The shape of a made-up sweep.
pub(crate) struct Fixture {
    /// Seeds 1 to this.
    pub seeds: u64,
    /// Values of `init`.
    pub arms: Vec<Value>,
    /// Values of `frozen`.
    pub frozen: Vec<Value>,
    /// Values of `learning_rate`.
    pub rates: Vec<f64>,
}

impl Default for Fixture {
    fn default() -> Self {
        Self {
            seeds: 6,
            arms: vec![json!("pretrained"), json!("scratch")],
            frozen: vec![json!("none")],
            rates: vec![0.0005],
        }
    }
}

impl Fixture {
    /// All of its runs, done, without a selection on record.
    pub fn results(&self) -> SweepResults {
        let mut runs = Vec::new();
        for seed in 1..=self.seeds {
            for arm in &self.arms {
                for frozen in &self.frozen {
                    for rate in &self.rates {
                        let point: Point = [
                            ("seed".to_owned(), json!(seed)),
                            ("init".to_owned(), arm.clone()),
                            ("frozen".to_owned(), frozen.clone()),
                            ("learning_rate".to_owned(), json!(rate)),
                        ]
                        .into();
                        runs.push(done(runs.len() as u64, point));
                    }
                }
            }
        }
        SweepResults {
            sweep_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            name: "made-up".to_owned(),
            yaml: "name: made-up\naxes:\n  init: [pretrained, scratch]\n".to_owned(),
            attempts: runs.iter().map(attempt).collect(),
            runs,
            inspections: Vec::new(),
            selections: Vec::new(),
            current: None,
        }
    }

    /// The same with its selection on record.
    pub fn selected(&self) -> SweepResults {
        unseal(self.results())
    }
}

/// Puts the selection on record that the runs call for.
pub(crate) fn unseal(mut results: SweepResults) -> SweepResults {
    let selection = super::select(&results, &crate::sweep::Compare::default());
    results.current = selection.as_ref().map(|s| s.version);
    results.selections.extend(selection);
    results
}

/// Makes a run one that failed for good.
pub(crate) fn fail(run: &mut Run, reason: FailureReason) {
    run.phase = JobPhase::Failed;
    run.failure = Some((reason, "loss is NaN at step 17".to_owned()));
    run.metrics.clear();
    run.artifacts.clear();
}

/// The run of an arm and a seed, the first of them.
pub(crate) fn run_of<'a>(results: &'a mut SweepResults, arm: &str, seed: u64) -> &'a mut Run {
    let found = |r: &&mut Run| r.point["init"] == json!(arm) && r.point["seed"] == json!(seed);
    results.runs.iter_mut().find(found).unwrap()
}

fn done(ordinal: u64, point: Point) -> Run {
    let text = serde_json::to_string(&point).unwrap();
    let key = JobKey::of(text.as_bytes());
    let metrics = metrics(&point);
    Run {
        ordinal,
        key,
        point,
        phase: JobPhase::Done,
        failure: None,
        metrics,
        artifacts: vec![Artifact {
            name: "curve.csv".to_owned(),
            digest: BlobDigest::of(text.as_bytes()),
            size_bytes: 1000,
        }],
        notes: vec![],
    }
}

fn metrics(point: &Point) -> Vec<Measured> {
    const LAST: u64 = 300;
    let text = serde_json::to_string(point).unwrap();
    // A number in 0..1 that belongs to the run.
    let luck = |what: &str| {
        f64::from(derive_seed(0, Purpose::Resample, &format!("{text}{what}"))[0]) / 255.0
    };
    let start = match point["init"].as_str() {
        Some("pretrained") => 110.0,
        Some("scratch") => 205.0,
        _ => 150.0,
    };
    let slow = if point["frozen"] == json!("none") {
        0.0
    } else {
        40.0
    };
    let rate = point["learning_rate"].as_f64().unwrap();
    let off = 60.0 * (rate / 0.0005).log10().abs();
    let middle = start + slow + off + 70.0 * (luck("middle") - 0.5);
    let top = 0.97 + 0.03 * luck("top");
    let mut metrics = Vec::new();
    let mut measure = |split: &str, step: u64, shift: f64| {
        let learnt = 1.0 / (1.0 + (-(step as f64 - middle) / 22.0).exp());
        let wobble = 0.02 * (luck(&format!("{split}{step}")) - 0.5);
        let incongruent = (0.5 + (top - 0.5 - shift) * learnt + wobble).clamp(0.0, 1.0);
        let congruent = (0.6 + 0.39 * learnt).clamp(0.0, 1.0);
        for (name, value) in [
            ("accuracy", (incongruent + congruent) / 2.0),
            ("congruency_cost", congruent - incongruent),
            ("incongruent_accuracy", incongruent),
            ("nll", 0.7 - 0.62 * learnt + wobble),
        ] {
            metrics.push(Measured::of(split, step, name, value));
        }
    };
    for step in (0..=LAST).step_by(30) {
        measure("val", step, 0.0);
    }
    measure("test_iid", LAST, 0.02);
    for (split, step) in [("val", 0), ("test_iid", LAST)] {
        for (shortcut, accuracy, incongruent) in [
            ("global_maximum", 0.751, 0.503),
            ("one_dimension", 0.75, 0.5),
            ("sum", 0.75, 0.5),
            ("tens_digit", 0.849, 0.85),
        ] {
            for (metric, value) in [
                ("accuracy", accuracy),
                ("incongruent_accuracy", incongruent),
            ] {
                metrics.push(Measured::of(
                    split,
                    step,
                    &format!("floor.{shortcut}.{metric}"),
                    value,
                ));
            }
        }
    }
    metrics
}

fn attempt(run: &Run) -> Attempt {
    Attempt {
        job_key: run.key,
        attempt: 1,
        outcome: "done".to_owned(),
        message: String::new(),
        worker: "local-1".to_owned(),
        provenance: Some(Provenance {
            version: "0.1.0".to_owned(),
            host: "somewhere".to_owned(),
            device: "cpu".to_owned(),
            cpu_fingerprint: "some processor".to_owned(),
            threads: 1,
            wall_secs: 21.5,
            resumed_from_step: 0,
        }),
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        ended_at: Some("2026-01-01T00:00:21Z".to_owned()),
    }
}

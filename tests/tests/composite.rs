//! What a GPU would compute, computed: a short form of the quickstart by a worker
//! that offers the composite operations alone, beside the same by the fused ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use seedbed_tests::{Process, free_port, programs, repository, run, wait_for};
use serde_json::Value;

/// What is compared, over a whole split, and the largest difference that may be: of
/// the value, or of 1 if that is more. An accuracy may differ by 3 of 360 trials whose
/// two answers are as good as equally likely.
const MEASURES: [(&str, f64); 9] = [
    ("loss", 1e-3),
    ("grad_norm", 1e-3),
    ("nll", 1e-3),
    ("answer_mass", 1e-3),
    ("logit_difference", 1e-3),
    ("accuracy", 0.01),
    ("vocab_accuracy", 0.01),
    ("congruent_accuracy", 0.01),
    ("incongruent_accuracy", 0.01),
];

/// The quickstart, shorter, on both implementations of the operations.
fn sweep() -> String {
    let file = repository().join("sweeps/quickstart.yaml");
    let mut text = fs::read_to_string(file).expect("a committed sweep");
    let base = repository().join("sweeps/bases/tiny");
    for (from, to) in [
        ("name: quickstart", "name: paths"),
        ("base: bases/tiny", &format!("path: {}", base.display())),
        ("eval_trials: 720", "eval_trials: 360"),
        ("steps: 320", "steps: 40"),
        ("warmup: 40, eval_every: 40", "warmup: 10, eval_every: 10"),
        (
            "seed: {count: 6}",
            "seed: {count: 1}\n  engine.ops: [composite, fused]",
        ),
    ] {
        assert!(
            text.contains(from),
            "the quickstart has no {from:?} any more"
        );
        text = text.replace(from, to);
    }
    text
}

/// Values by what they are of (init, step, split, slot, metric), for one kind of
/// operations.
fn metrics(out: &Path, ops: &str) -> BTreeMap<[String; 5], f64> {
    let mut reader = csv::Reader::from_path(out.join("metrics.csv")).expect("written");
    let head = reader.headers().expect("a head").clone();
    let column = |name: &str| {
        let found = head.iter().position(|h| h == name);
        found.unwrap_or_else(|| panic!("no column {name} in {head:?}"))
    };
    let [kind, value] = ["engine.ops", "value"].map(column);
    let place = ["arm", "step", "split", "slot", "metric"].map(column);
    let rows = reader.records().map(|row| row.expect("a row"));
    rows.filter(|row| &row[kind] == ops)
        .map(|row| {
            let value = row[value].parse().unwrap_or(f64::NAN);
            (place.map(|c| row[c].to_owned()), value)
        })
        .collect()
}

#[test]
fn a_worker_with_composite_operations_alone_agrees_with_the_fused_ones() {
    let limit = Duration::from_secs(420);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path();
    fs::write(place.join("paths.yaml"), sweep()).expect("writable");
    let url = format!("http://127.0.0.1:{}", free_port());
    let listen = url.trim_start_matches("http://");
    let args = ["serve", "--state", "state", "--listen", listen];
    let _serve = Process::start("serve", &programs().coordinator, place, &args);
    let client = |args: &[&str]| {
        let args = [args, &["--coordinator", &url]].concat();
        run(&programs().coordinator, place, &args)
    };
    wait_for("coordinator", limit, || {
        client(&["submit", "paths.yaml"])
            .status
            .success()
            .then_some(())
    });
    for (ops, done) in [("composite", 2), ("fused", 4)] {
        let args = [
            "--coordinator",
            &url,
            "--device",
            "cpu",
            "--ops",
            ops,
            "--idle-exit-secs",
            "1",
        ];
        Process::start(ops, &programs().worker, place, &args).wait(limit);
        // What it does not offer it left alone.
        let status = client(&["status", "paths", "--json"]).ok().stdout;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        assert_eq!(status["jobs"]["done"], done, "{status:#}");
    }
    client(&["aggregate", "--sweep", "paths", "--out", "out"]).ok();

    let [composite, fused] = ["composite", "fused"].map(|ops| metrics(&place.join("out"), ops));
    assert!(composite.keys().eq(fused.keys()));
    let mut report = String::new();
    let mut all_agree = true;
    for (metric, tolerance) in MEASURES {
        let whole = |what: &&[String; 5]| what[3].is_empty() && what[4] == metric;
        let mut largest = 0.0_f64;
        let mut count = 0;
        for what in fused.keys().filter(whole) {
            let (a, b) = (fused[what], composite[what]);
            largest = largest.max((a - b).abs() / a.abs().max(1.0));
            count += 1;
        }
        // Two arms, at every evaluation.
        all_agree &= count >= 8 && largest <= tolerance;
        report += &format!("{metric}: {count} values, largest difference {largest:.1e}\n");
    }
    println!("{report}");
    assert!(all_agree, "{report}");
}

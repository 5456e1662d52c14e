//! The smallest complete pair of the real study: GPT-2 small, fine-tuned and
//! from scratch, three steps each, with a kill and a resume between.

use std::fs;
use std::time::Duration;

use seedbed_proto::job::Shape;
use seedbed_tests::{Process, base, free_port, programs, run, wait_for};
use serde_json::Value;

const SWEEP: &str = "name: small
model: {path: base}
task: {name: ctxdm, template: T0, range: [0, 99], train: 720, eval_trials: 72}
train: {steps: 3, batch: 4, warmup: 1, eval_every: 3}
axes:
  seed: {count: 1}
  init: [pretrained, scratch]
  learning_rate: [5.0e-5]
keep: {weights: none}
";

#[test]
fn a_pair_runs_with_a_kill_and_a_resume_between() {
    let limit = Duration::from_secs(420);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path();
    let shape = Shape {
        layers: 12,
        heads: 12,
        width: 768,
        positions: 1024,
    };
    base::random(&place.join("base"), shape, 50257);
    fs::write(place.join("small.yaml"), SWEEP).expect("writable");

    let port = free_port();
    let (listen, url) = (
        format!("127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}"),
    );
    let args = ["serve", "--state", "state", "--listen", &listen];
    let _serve = Process::start("serve", &programs().coordinator, place, &args);
    wait_for("coordinator", limit, || {
        let args = ["submit", "small.yaml", "--coordinator", &url];
        run(&programs().coordinator, place, &args)
            .status
            .success()
            .then_some(())
    });
    let worker = |name: &str| {
        let args = [
            "--coordinator",
            &url,
            "--checkpoint-steps",
            "1",
            "--label",
            name,
        ];
        Process::start(name, &programs().worker, place, &args)
    };
    let status = || -> Option<Value> {
        let args = ["status", "small", "--json", "--coordinator", &url];
        serde_json::from_str(&run(&programs().coordinator, place, &args).stdout).ok()
    };

    // Killed once its first checkpoint has been taken over.
    let first = worker("first");
    wait_for("checkpoint", limit, || {
        (status()?["running"][0]["checkpoint_step"].as_u64()? >= 1).then_some(())
    });
    first.kill9();
    let _second = worker("second");
    let args = ["watch", "small", "--coordinator", &url];
    run(&programs().coordinator, place, &args).ok();

    let args = [
        "aggregate",
        "--sweep",
        "small",
        "--out",
        "out",
        "--coordinator",
        &url,
    ];
    run(&programs().coordinator, place, &args).ok();
    let text = fs::read_to_string(place.join("out/provenance.json")).expect("written");
    let provenance: Value = serde_json::from_str(&text).expect("JSON");
    let attempts = provenance["attempts"].as_array().expect("a list");
    let resumed = attempts
        .iter()
        .filter(|a| a["provenance"]["resumed_from_step"].as_u64() >= Some(1))
        .count();
    assert_eq!(resumed, 1, "{attempts:#?}");
    let done = attempts.iter().filter(|a| a["outcome"] == "done").count();
    assert_eq!(done, 2, "{attempts:#?}");
}

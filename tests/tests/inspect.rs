//! From training over the selection to questions about the networks, with a
//! coordinator that is killed between the two.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use seedbed_tests::answer::assert_same_answer;
use seedbed_tests::{Process, base, free_port, programs, run, tree, wait_for};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(600);
const QUESTIONS: [&str; 8] = [
    "patching",
    "reversion",
    "transplant",
    "probes",
    "similarity",
    "drift",
    "lens",
    "tdr",
];
/// Networks: two seeds of two arms.
const RUNS: u64 = 4;

/// A folder with a base and a sweep that asks every question.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    base::random(&folder.path().join("base"), base::MINI, base::TINY_VOCAB);
    let sweep = base::mini_sweep(2, 40).replace(
        "keep: {weights: all}",
        "keep: {weights: none, checkpoints: [0]}\ninspect: {pairs: 16, items: 144}",
    );
    fs::write(folder.path().join("mini.yaml"), sweep).expect("writable");
    folder
}

fn coordinator(folder: &Path, args: &[&str]) -> String {
    run(&programs().coordinator, folder, args).ok().stdout
}

fn serve(folder: &Path, port: u16) -> Process {
    let listen = format!("127.0.0.1:{port}");
    let args = [
        "serve",
        "--state",
        "state",
        "--listen",
        &listen,
        "--lease-secs",
        "3",
    ];
    Process::start("serve", &programs().coordinator, folder, &args)
}

fn status(folder: &Path, url: &str) -> Option<Value> {
    let args = ["status", "mini", "--json", "--coordinator", url];
    let answer = run(&programs().coordinator, folder, &args);
    serde_json::from_str(&answer.stdout).ok()
}

/// A row of a CSV file, by column. What is quoted may be cut: nothing here reads it.
type Row = BTreeMap<String, String>;

fn rows(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().expect("a head").split(',').collect();
    let row = |line: &str| {
        let cells = line.split(',').map(str::to_owned);
        head.iter()
            .map(|name| (*name).to_owned())
            .zip(cells)
            .collect()
    };
    lines.map(row).collect()
}

#[test]
fn networks_are_inspected_once_the_selection_is_on_record_whatever_is_killed() {
    let calm = folder();
    let args = [
        "--sweep",
        "mini.yaml",
        "--local-workers",
        "1",
        "--out",
        "out",
    ];
    let said = run(&programs().coordinator, calm.path(), &args).ok();
    let out = calm.path().join("out");

    // Every question about every network, and drift at step 0 too.
    let asked = RUNS * QUESTIONS.len() as u64 + RUNS;
    let inspections = rows(&out.join("inspections.csv"));
    assert_eq!(inspections.len() as u64, asked, "{}", said.stderr);
    assert!(
        inspections.iter().all(|row| row["phase"] == "done"),
        "{inspections:?}"
    );
    let numbers = rows(&out.join("mechanisms.csv"));
    for question in QUESTIONS {
        for arm in ["pretrained", "scratch"] {
            let of = |row: &&Row| row["question"] == question && row["arm"] == arm;
            let measured = numbers
                .iter()
                .filter(of)
                .any(|row| !row["value"].is_empty());
            // So short a training may leave a quantity undefined: that is said.
            let said = inspections
                .iter()
                .filter(of)
                .any(|row| !row["notes"].is_empty());
            assert!(
                measured || said,
                "{question} of {arm} has neither number nor reason"
            );
        }
    }
    // Two seeds give a noise ceiling, but where the position is the same in all trials.
    let ceilings = rows(&out.join("noise_ceiling.csv"));
    let known = |row: &&Row| !row["upper"].is_empty();
    for arm in ["pretrained", "scratch"] {
        let here = ceilings.iter().filter(|row| row["arm"] == arm);
        let depths: Vec<&Row> = here
            .filter(known)
            .filter(|row| row["slot"] == "last")
            .collect();
        assert!(!depths.is_empty(), "{arm}: {ceilings:?}");
        assert!(depths.iter().all(|row| row["n"] == "2"), "{depths:?}");
    }
    let unknown = ceilings.iter().filter(|row| !known(row));
    let said = |row: &Row| !row["reason"].is_empty();
    assert!(unknown.clone().all(said), "{ceilings:?}");
    let page = fs::read_to_string(out.join("report.html")).expect("written");
    assert!(page.contains("Inside the networks"));
    assert!(out.join("arrays").is_dir(), "maps beside the tables");
    // Nobody keeps weights: they are gone when no question needs them any more.
    let runs = rows(&out.join("runs.csv"));
    assert!(
        runs.iter()
            .all(|row| !row["artifacts"].contains("model.safetensors")),
        "{runs:?}"
    );

    // Again: there is nothing left to do, and nothing changes.
    let before = tree(&out);
    run(&programs().coordinator, calm.path(), &args).ok();
    assert_eq!(before, tree(&out));

    let rough = folder();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let server = serve(rough.path(), port);
    wait_for("coordinator", LIMIT, || {
        run(
            &programs().coordinator,
            rough.path(),
            &["status", "--json", "--coordinator", &url],
        )
        .status
        .success()
        .then_some(())
    });
    coordinator(
        rough.path(),
        &["submit", "mini.yaml", "--coordinator", &url],
    );
    let args = [
        "--coordinator",
        url.as_str(),
        "--threads",
        "1",
        "--device",
        "cpu",
    ];
    let _worker = Process::start("worker", &programs().worker, rough.path(), &args);
    // The first status that tells of questions comes right after the last training.
    let seen = wait_for("questions", LIMIT, || {
        let status = status(rough.path(), &url)?;
        (status["inspections"]["total"].as_u64()? > 0).then_some(status)
    });
    server.kill9();
    assert!(
        seen["inspections"]["done"].as_u64() < Some(asked),
        "all was done before the kill: {seen}"
    );
    let _server = serve(rough.path(), port);
    wait_for("end of all jobs", LIMIT, || {
        let status = status(rough.path(), &url)?;
        (status["jobs"]["done"].as_u64()? == RUNS + asked).then_some(())
    });
    let args = [
        "aggregate",
        "--sweep",
        "mini",
        "--out",
        "out",
        "--coordinator",
        url.as_str(),
    ];
    coordinator(rough.path(), &args);
    assert_same_answer(&out, &rough.path().join("out"));
}

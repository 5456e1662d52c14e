//! Kills that no program can catch: nothing is lost, nothing is done twice, and
//! the answer is the same to the byte.

use std::fs;
use std::path::Path;
use std::time::Duration;

use seedbed_tests::answer::assert_same_answer;
use seedbed_tests::{Process, base, free_port, programs, run, wait_for};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(240);

/// A folder with a base and a sweep that takes a few seconds a job.
fn folder(seeds: u32, steps: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    base::random(&folder.path().join("base"), base::MINI, base::TINY_VOCAB);
    fs::write(
        folder.path().join("mini.yaml"),
        base::mini_sweep(seeds, steps),
    )
    .expect("writable");
    folder
}

/// The sweep's status, if a coordinator answers.
fn status(folder: &Path, url: &str) -> Option<Value> {
    let args = ["status", "mini", "--json", "--coordinator", url];
    let answer = run(&programs().coordinator, folder, &args);
    serde_json::from_str(&answer.stdout).ok()
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

fn worker(folder: &Path, name: &str, url: &str) -> Process {
    let args = [
        "--coordinator",
        url,
        "--threads",
        "1",
        "--label",
        name,
        "--device",
        "cpu",
        "--checkpoint-steps",
        "10",
    ];
    Process::start(name, &programs().worker, folder, &args)
}

/// Steps of a job. Progress is told once a second, so that a job must take several.
const STEPS: u32 = 1600;

/// Waits until a job of any worker is in the midst of its steps; the step it has
/// reached.
fn mid_job(folder: &Path, url: &str) -> u64 {
    mid_job_of(folder, url, |_| true)
}

/// Waits until a job of one of these workers is in the midst of its steps.
fn mid_job_of(folder: &Path, url: &str, wanted: impl Fn(&str) -> bool) -> u64 {
    wait_for("job under way", LIMIT, || {
        let status = status(folder, url)?;
        let left = ["blocked", "pending", "running"].map(|phase| status["jobs"][phase].as_u64());
        assert!(
            left != [Some(0); 3],
            "all jobs ended before one was seen under way; they need more steps: {status}"
        );
        status["running"]
            .as_array()?
            .iter()
            .filter(|job| job["worker"].as_str().is_some_and(&wanted))
            .filter_map(|job| {
                let (step, total) = (job["step"].as_u64()?, job["steps_total"].as_u64()?);
                (step > 10 && step + 20 < total).then_some(step)
            })
            .max()
    })
}

fn provenance(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("provenance.json")).expect("written");
    serde_json::from_str(&text).expect("JSON")
}

/// How often each outcome stands in the provenance.
fn outcomes(out: &Path, outcome: &str) -> usize {
    provenance(out)["attempts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|a| a["outcome"] == outcome)
        .count()
}

#[test]
fn kills_of_workers_and_coordinator_change_nothing() {
    let (seeds, steps) = (3, STEPS);
    let jobs = 2 * seeds as usize;

    let calm = folder(seeds, steps);
    let args = [
        "--sweep",
        "mini.yaml",
        "--local-workers",
        "2",
        "--state",
        "state",
        "--out",
        "out",
        "--listen",
        "127.0.0.1:0",
    ];
    run(&programs().coordinator, calm.path(), &args).ok();

    let rough = folder(seeds, steps);
    let place = rough.path();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let first = serve(place, port);
    wait_for("coordinator", LIMIT, || {
        let args = ["submit", "mini.yaml", "--coordinator", &url];
        run(&programs().coordinator, place, &args)
            .status
            .success()
            .then_some(())
    });

    // A worker dies in the midst of a job; another one takes over.
    let victim = worker(place, "victim", &url);
    mid_job(place, &url);
    victim.kill9();
    let _heir = worker(place, "heir", &url);
    mid_job_of(place, &url, |worker| worker == "heir");

    // The coordinator dies while workers train, and comes back.
    let _second = worker(place, "second", &url);
    mid_job_of(place, &url, |worker| worker == "second");
    first.kill9();
    std::thread::sleep(Duration::from_secs(2));
    let _again = serve(place, port);

    let args = ["watch", "mini", "--coordinator", &url];
    wait_for("coordinator again", LIMIT, || status(place, &url));
    run(&programs().coordinator, place, &args).ok();

    let end = status(place, &url).expect("it answers");
    assert_eq!(end["jobs"]["done"], jobs, "{end}");
    assert_eq!(end["diverged"], 0, "{end}");
    let args = [
        "aggregate",
        "--sweep",
        "mini",
        "--out",
        "out",
        "--coordinator",
        &url,
    ];
    run(&programs().coordinator, place, &args).ok();

    assert_same_answer(&calm.path().join("out"), &place.join("out"));
    assert_eq!(
        outcomes(&place.join("out"), "done"),
        jobs,
        "N jobs, N results"
    );
    assert_eq!(
        outcomes(&place.join("out"), "lost"),
        1,
        "only the victim's job was lost: {:#}",
        provenance(&place.join("out"))["attempts"]
    );
}

#[test]
fn one_command_that_is_killed_goes_on_when_it_is_given_again() {
    let (seeds, steps) = (2, STEPS);
    let calm = folder(seeds, steps);
    let args = |listen| {
        vec![
            "--sweep",
            "mini.yaml",
            "--local-workers",
            "2",
            "--state",
            "state",
            "--out",
            "out",
            "--listen",
            listen,
        ]
    };
    run(&programs().coordinator, calm.path(), &args("127.0.0.1:0")).ok();

    let rough = folder(seeds, steps);
    let place = rough.path();
    let listen = format!("127.0.0.1:{}", free_port());
    let killed = Process::start("run", &programs().coordinator, place, &args(&listen));
    mid_job(place, &format!("http://{listen}"));
    killed.kill9();
    assert!(!place.join("out").exists(), "half-written results");

    let again = run(&programs().coordinator, place, &args(&listen)).ok();
    assert_same_answer(&calm.path().join("out"), &place.join("out"));
    assert_eq!(outcomes(&place.join("out"), "done"), 2 * seeds as usize);
    assert!(
        again.stdout.contains("scratch"),
        "no table:\n{}",
        again.stdout
    );

    // And once more: nothing is left to do.
    let before = fs::read(place.join("out/provenance.json")).expect("written");
    run(&programs().coordinator, place, &args(&listen)).ok();
    let after = fs::read(place.join("out/provenance.json")).expect("written");
    assert!(before == after, "a third run made attempts");
}

#[test]
fn a_worker_that_is_asked_to_stop_gives_its_job_back() {
    let rough = folder(1, STEPS);
    let place = rough.path();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let _serve = serve(place, port);
    wait_for("coordinator", LIMIT, || {
        let args = ["submit", "mini.yaml", "--coordinator", &url];
        run(&programs().coordinator, place, &args)
            .status
            .success()
            .then_some(())
    });
    let mut first = worker(place, "first", &url);
    let step = mid_job(place, &url);
    first.terminate();
    assert!(
        first.wait(Duration::from_secs(30)).success(),
        "{}",
        first.log()
    );

    let _second = worker(place, "second", &url);
    let resumed = wait_for("job taken over", LIMIT, || {
        status(place, &url)?["running"][0]["step"]
            .as_u64()
            .filter(|s| *s > 0)
    });
    assert!(resumed >= step, "resumed at {resumed}, was at {step}");
}

//! What is wrong gets one clear error that names the thing and the way out, an
//! exit code, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use seedbed_proto::job::Shape;
use seedbed_tests::{
    Finished, Process, base, free_port, programs, repository, run, run_with, tree, wait_for,
};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        base::random(&folder.path().join("base"), base::MINI, base::TINY_VOCAB);
        fs::write(folder.path().join("mini.yaml"), base::mini_sweep(1, 5)).expect("writable");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn sweep(&self, edit: impl Fn(String) -> String) {
        fs::write(self.path().join("mini.yaml"), edit(base::mini_sweep(1, 5))).expect("writable");
    }

    fn run(&self) -> Finished {
        let args = [
            "--sweep",
            "mini.yaml",
            "--local-workers",
            "1",
            "--state",
            "state",
            "--out",
            "out",
            "--listen",
            "127.0.0.1:0",
        ];
        run(&programs().coordinator, self.path(), &args)
    }

    /// The run fails, names each of `names`, and writes no results.
    #[track_caller]
    fn refused(&self, names: &[&str]) -> Finished {
        let answer = self.run();
        assert_refused(&answer, names);
        assert!(!self.path().join("out").exists(), "results of a failed run");
        answer
    }
}

#[track_caller]
fn assert_refused(answer: &Finished, names: &[&str]) {
    assert!(!answer.status.success(), "accepted: {answer:?}");
    for name in names {
        assert!(
            answer.stderr.contains(name) || answer.stdout.contains(name),
            "{name:?} is not named\n--- stdout\n{}\n--- stderr\n{}",
            answer.stdout,
            answer.stderr
        );
    }
    assert!(
        !answer.stderr.contains("panicked") && !answer.stdout.contains("panicked"),
        "{answer:?}"
    );
}

#[test]
fn a_wrong_sweep_changes_nothing() {
    let place = Place::new();
    place.sweep(|text| {
        text.replace("steps: 5", "step: 5")
            .replace("[1.0e-3]", "[-1]")
    });
    let before = tree(place.path());
    // Both mistakes at once, each with its line.
    place.refused(&[
        "mini.yaml:4",
        "step",
        "steps",
        "mini.yaml:8",
        "learning_rate",
    ]);
    assert_eq!(tree(place.path()), before);
}

#[test]
fn a_sweep_file_that_is_not_there() {
    let place = Place::new();
    fs::remove_file(place.path().join("mini.yaml")).expect("there");
    place.refused(&["mini.yaml"]);
}

#[test]
fn a_missing_weights_file() {
    let place = Place::new();
    fs::remove_file(place.path().join("base/model.safetensors")).expect("there");
    place.refused(&["model.safetensors"]);
}

#[test]
fn a_truncated_weights_file() {
    let place = Place::new();
    let file = place.path().join("base/model.safetensors");
    let bytes = fs::read(&file).expect("there");
    fs::write(&file, &bytes[..bytes.len() / 2]).expect("writable");
    // The scratch arm reads no weights: it runs, and the failure of its twin shows.
    assert_refused(&place.run(), &["model.safetensors", "invalid"]);
}

#[test]
fn a_tokenizer_that_splits_a_slot() {
    let place = Place::new();
    // Without its merges the tokenizer knows bytes alone.
    let file = place.path().join("base/tokenizer.json");
    let text = fs::read_to_string(&file).expect("there");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["model"]["merges"] = serde_json::json!([]);
    if let Some(added) = json["added_tokens"].as_array_mut() {
        added.clear();
    }
    fs::write(&file, json.to_string()).expect("writable");
    place.refused(&["token", "color"]);
}

#[test]
fn a_job_that_no_machine_can_hold() {
    let place = Place::new();
    // A million sequences of this network at once: terabytes.
    let shape = Shape {
        layers: 8,
        heads: 4,
        width: 256,
        positions: 64,
    };
    base::random(&place.path().join("base"), shape, base::TINY_VOCAB);
    place.sweep(|text| text.replace("batch: 16", "batch: 1048576"));
    assert_refused(&place.run(), &["out_of_memory", "micro_batch"]);
}

#[test]
fn a_port_in_use() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let args = ["serve", "--state", "state", "--listen", &address];
    let answer = run(&programs().coordinator, place.path(), &args);
    assert_refused(&answer, &[&address, "in use", "--listen"]);
}

#[test]
fn a_coordinator_that_is_not_there() {
    let place = Place::new();
    let url = format!("http://127.0.0.1:{}", free_port());
    let args = ["status", "--coordinator", &url];
    let answer = run(&programs().coordinator, place.path(), &args);
    assert_refused(&answer, &[&url]);
    let args = ["--coordinator", &url, "--give-up-secs", "1"];
    let answer = run(&programs().worker, place.path(), &args);
    assert_refused(&answer, &[&url]);
}

#[test]
fn a_results_folder_that_can_not_be_made() {
    let place = Place::new();
    // A file where the folder should be: fails for root, too.
    fs::write(place.path().join("out"), "mine").expect("writable");
    let answer = place.run();
    assert_refused(&answer, &["out"]);
    assert_eq!(
        fs::read(place.path().join("out")).expect("still there"),
        b"mine"
    );
}

#[test]
fn a_full_results_folder() {
    let place = Place::new();
    place.run().ok();
    // /dev/full is a device, not a folder; a tiny tmpfs needs rights to mount.
    let small = place.path().join("small");
    fs::create_dir(&small).expect("writable");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(&small)
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        eprintln!("skipped: no right to mount a small file system");
        return;
    }
    let args = [
        "aggregate",
        "--sweep",
        "mini",
        "--state",
        "state",
        "--out",
        "small/out",
    ];
    let answer = run(&programs().coordinator, place.path(), &args);
    let left = tree(&small);
    let unmounted = std::process::Command::new("umount").arg(&small).status();
    assert!(unmounted.is_ok_and(|s| s.success()), "umount");
    assert_refused(&answer, &["small/out"]);
    assert!(left.is_empty(), "half-written: {left:?}");
}

#[test]
fn the_study_without_its_weights() {
    let place = Place::new();
    let study = repository().join("sweeps/main.yaml");
    let study = study.to_str().expect("UTF-8");
    let args = [
        "--sweep",
        study,
        "--local-workers",
        "1",
        "--state",
        "state",
        "--out",
        "out",
        "--listen",
        "127.0.0.1:0",
    ];
    let home = place.path().join("hf");
    let home = home.to_str().expect("UTF-8");
    let offline = [("HF_HUB_OFFLINE", "1"), ("HF_HOME", home)];
    let answer = run_with(&programs().coordinator, place.path(), &args, &offline);
    assert_refused(&answer, &["openai-community/gpt2", "path:"]);
    let told = answer.stderr.matches("openai-community/gpt2").count();
    assert!(
        told <= 2,
        "one error, not one for each job that waited:\n{}",
        answer.stderr
    );
    assert!(!place.path().join("out").exists());
}

#[test]
fn strangers_do_not_get_in() {
    let place = Place::new();
    let serve = |extra: &[&str]| {
        let args = [
            &["serve", "--state", "state", "--listen", "0.0.0.0:0"],
            extra,
        ]
        .concat();
        run(&programs().coordinator, place.path(), &args)
    };
    assert_refused(&serve(&[]), &["--tls", "--tokens", "--insecure"]);

    // A certificate and two tokens: whoever has none, or the wrong role, is refused.
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])
        .expect("a certificate");
    let write = |name: &str, text: &str| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().expect("below")).expect("writable");
        fs::write(path, text).expect("writable");
    };
    write("tls/cert.pem", &made.cert.pem());
    write("tls/key.pem", &made.signing_key.serialize_pem());
    let tokens = |role: &str, secret: &str| {
        format!("[[token]]\nname = \"{role}\"\nrole = \"{role}\"\nsecret = \"{secret}\"\n")
    };
    let (ours, theirs) = ("a".repeat(40), "b".repeat(40));
    write(
        "tokens.toml",
        &(tokens("worker", &ours) + &tokens("client", &theirs)),
    );
    write("worker.token", &ours);
    write("client.token", &theirs);

    let port = free_port();
    let listen = format!("0.0.0.0:{port}");
    let args = [
        "serve",
        "--state",
        "state",
        "--listen",
        &listen,
        "--tls",
        "tls",
        "--tokens",
        "tokens.toml",
    ];
    let _serve = Process::start("serve", &programs().coordinator, place.path(), &args);
    let url = format!("https://127.0.0.1:{port}");
    let client = |command: &[&str], token: Option<&str>| {
        let mut args = command.to_vec();
        args.extend(["--coordinator", &url, "--ca", "tls/cert.pem"]);
        args.extend(token.iter().flat_map(|t| ["--token-file", t]));
        run(&programs().coordinator, place.path(), &args)
    };
    wait_for("coordinator", std::time::Duration::from_secs(30), || {
        client(&["status"], Some("client.token"))
            .status
            .success()
            .then_some(())
    });
    assert_refused(&client(&["status"], None), &["token"]);
    assert_refused(&client(&["status"], Some("worker.token")), &["role"]);

    // And with the right ones the whole way works.
    client(&["submit", "mini.yaml"], Some("client.token")).ok();
    let args = [
        "--coordinator",
        &url,
        "--ca",
        "tls/cert.pem",
        "--token-file",
        "worker.token",
        "--threads",
        "1",
    ];
    let _worker = Process::start("worker", &programs().worker, place.path(), &args);
    client(&["watch", "mini"], Some("client.token")).ok();
}

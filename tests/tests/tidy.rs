//! The house rules as code.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use seedbed_tests::repository;

/// Every tracked or new source file below these folders.
fn sources(folders: &[&str], ending: &str) -> Vec<(String, String)> {
    let mut todo: Vec<PathBuf> = folders.iter().map(|f| repository().join(f)).collect();
    let mut found = vec![];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the repository");
            todo.extend(entries.flatten().map(|e| e.path()));
        } else if path.to_string_lossy().ends_with(ending) {
            let name = path.strip_prefix(repository()).expect("below it");
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.push((name.to_string_lossy().into_owned(), text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {folders:?}");
    found
}

const RUST: [&str; 7] = [
    "proto/src",
    "proto/build.rs",
    "coordinator/src",
    "worker/src",
    "tests/src",
    "tests/tests",
    "coordinator/build.rs",
];

fn rust_sources() -> Vec<(String, String)> {
    let there: Vec<&str> = RUST
        .into_iter()
        .filter(|f| repository().join(f).exists())
        .collect();
    sources(&there, ".rs")
}

/// Fails with every line of `files` that breaks a rule.
#[track_caller]
fn forbid(why: &str, files: &[(String, String)], breaks: impl Fn(&str, &str) -> bool) {
    let mut bad = vec![];
    for (name, text) in files {
        for (i, line) in text.lines().enumerate() {
            if breaks(name, line) {
                bad.push(format!("{name}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    assert!(bad.is_empty(), "{why}:\n{}", bad.join("\n"));
}

fn dependencies(krate: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join(krate).join("Cargo.toml")).expect("a crate");
    text.lines()
        .skip_while(|l| *l != "[dependencies]")
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .filter_map(|l| l.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let check = |krate: &str, forbidden: &[&str]| {
        let has = dependencies(krate);
        for name in forbidden {
            assert!(
                !has.iter().any(|d| d.starts_with(name)),
                "{krate} must not depend on {name}"
            );
        }
    };
    check("proto", &["tokio", "sqlx", "candle", "seedbed"]);
    check("coordinator", &["candle", "seedbed-worker", "tokenizers"]);
    check("worker", &["sqlx", "seedbed-coordinator", "rusqlite"]);
}

#[test]
fn sql_stands_in_the_store_alone() {
    forbid("SQL outside store/", &rust_sources(), |name, line| {
        !name.starts_with("coordinator/src/store/")
            && !name.starts_with("tests/tests/tidy")
            && (line.contains("sqlx::") || line.contains("SELECT ") || line.contains("INSERT INTO"))
    });
}

#[test]
fn the_clock_is_read_in_one_place() {
    forbid(
        "the wall clock outside clock.rs",
        &rust_sources(),
        |name, line| {
            // The input cache stamps files with their last use, nothing else.
            !name.ends_with("/clock.rs")
                && name != "worker/src/cache.rs"
                && !name.starts_with("tests/")
                && (line.contains("SystemTime::now")
                    || line.contains("Timestamp::now()")
                    || line.contains("Zoned::now()"))
        },
    );
}

#[test]
fn nothing_below_the_job_knows_leases_network_or_time() {
    let below: Vec<_> = rust_sources()
        .into_iter()
        .filter(|(name, _)| {
            [
                "job",
                "gpt2",
                "ops",
                "task",
                "train",
                "behaviour",
                "mechanism",
            ]
            .iter()
            .any(|room| name.starts_with(&format!("worker/src/{room}/")))
        })
        .collect();
    assert!(
        below.len() > 10,
        "the rooms below the job are not where they were"
    );
    forbid("the job knows the world outside", &below, |_, line| {
        let code = line.split("//").next().unwrap_or_default();
        [
            "tonic",
            "tokio",
            "Lease",
            "Instant::now",
            "SystemTime",
            "thread_rng",
            "rand::rng(",
        ]
        .iter()
        .any(|word| code.contains(word))
    });
}

#[test]
fn every_file_says_what_it_is() {
    for (name, text) in rust_sources() {
        assert!(text.starts_with("//!"), "{name} does not open with //!");
    }
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    forbid("unfinished or silenced", &rust_sources(), |name, line| {
        // What no file may hold but this one, which must name it.
        let marks = [
            "todo!(",
            "unimplemented!(",
            "#[ignore",
            "FIXME",
            "XXX",
            "allow(dead_code)",
        ];
        name != "tests/tests/tidy.rs" && marks.iter().any(|m| line.contains(m))
    });
}

#[test]
fn paths_that_the_readmes_name_exist() {
    let mut files = vec![];
    for folder in ["deploy", "sweeps"] {
        files.extend(sources(&[folder], "README.md"));
    }
    let readme = repository().join("README.md");
    let text = fs::read_to_string(readme).expect("there is a README");
    files.push(("README.md".into(), text));

    for (name, text) in files {
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.trim_end_matches('/');
            let inside = [
                "proto/",
                "coordinator/",
                "worker/",
                "sweeps/",
                "tests/",
                "deploy/",
            ];
            let is_path = inside.iter().any(|f| path.starts_with(f))
                && !path.contains([' ', '*', '{', '<', '…']);
            if is_path {
                assert!(
                    repository().join(path).exists(),
                    "{name} names {path}, which is not there"
                );
            }
        }
    }
}

#[test]
fn migrations_that_have_shipped_are_unchanged() {
    let shipped = include_str!("../migrations.blake3");
    for line in shipped.lines().filter(|l| !l.is_empty()) {
        let (hash, name) = line.split_once("  ").expect("HASH  PATH");
        let bytes = fs::read(repository().join(name))
            .unwrap_or_else(|e| panic!("{name} has shipped and must stay: {e}"));
        assert_eq!(
            seedbed_proto::BlobDigest::of(&bytes).to_string(),
            hash,
            "{name} has shipped: add a new migration, and its line to tests/migrations.blake3"
        );
    }
    for (name, _) in sources(&["coordinator/migrations"], ".sql") {
        assert!(
            shipped.lines().any(|l| l.ends_with(&format!("  {name}"))),
            "{name} has no line in tests/migrations.blake3"
        );
    }
}

#[test]
fn sweeps_expand() {
    for (name, _) in sources(&["sweeps"], ".yaml") {
        // The corpus of the tiny base is made by a script and not committed.
        if name.ends_with("base-tiny.yaml")
            && !repository().join("sweeps/bases/tiny/corpus").exists()
        {
            continue;
        }
        let program = &seedbed_tests::programs().coordinator;
        seedbed_tests::run(program, repository(), &["expand", &name]).ok();
    }
}

//! A stored database, aggregated by the real program: every table and figure is
//! as it was. A store of an earlier release stays readable.
//!
//! `UPDATE_GOLDEN=1` writes the expected files anew; `MAKE_STORED=1` also makes the
//! database anew (only when its numbers should change).

#[path = "stored/make.rs"]
mod make;

use std::fs;
use std::path::{Path, PathBuf};

use seedbed_tests::{programs, repository, run, tree};

/// Opens the part of a report that depends on machines.
const MARK: &str = "<!-- provenance";

fn stored() -> PathBuf {
    repository().join("tests/stored")
}

/// Aggregates a copy of the stored database into `out`; answers with what was
/// printed.
fn aggregate(home: &Path, out: &Path, more: &[&str]) -> String {
    let state = home.join("state");
    fs::create_dir_all(&state).expect("a folder of ours");
    fs::copy(stored().join("study.db"), state.join("seedbed.db")).expect("the stored database");
    let (state, out) = (state.to_string_lossy(), out.to_string_lossy());
    let mut args = vec![
        "aggregate",
        "--sweep",
        "study",
        "--state",
        &state,
        "--out",
        &out,
    ];
    args.extend(more);
    run(&programs().coordinator, home, &args).ok().stdout
}

/// The files that people read, without what depends on machines.
fn readable(out: &Path, printed: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = tree(out)
        .into_iter()
        .filter_map(|(path, bytes)| {
            let name = path.to_string_lossy().into_owned();
            let shown = ["report.md", "report.html", "methods.txt", "verdict.json"];
            let kept = shown.contains(&name.as_str()) || name.ends_with(".svg");
            kept.then(|| (name, String::from_utf8(bytes).expect("text")))
        })
        .map(|(name, text)| {
            let above = text.split(MARK).next().unwrap_or_default().to_owned();
            // The page's figures stand as files of their own.
            let text = if name == "report.html" {
                without_drawings(&above)
            } else {
                above
            };
            (name, text)
        })
        .collect();
    let table = fs::read_to_string(out.join("comparisons.csv")).expect("a table");
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default().to_owned();
    let confirmatory = lines.filter(|l| l.contains(",confirmatory,") || l.contains("leave_one"));
    let confirmatory: Vec<&str> = std::iter::once(head.as_str()).chain(confirmatory).collect();
    files.push((
        "comparisons.csv".to_owned(),
        rounded(&confirmatory.join("\n")),
    ));
    let printed = printed
        .lines()
        .filter(|l| !l.contains("tables, figures and reports are in"));
    files.push((
        "terminal.txt".to_owned(),
        printed.collect::<Vec<_>>().join("\n"),
    ));
    files
}

fn without_drawings(page: &str) -> String {
    let mut parts = page.split("<svg");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str("<svg/>");
        text.push_str(part.split_once("</svg>").map_or("", |p| p.1));
    }
    text
}

/// Nine digits: the last ones depend on the platform's logarithm.
fn rounded(table: &str) -> String {
    let cell = |text: &str| match text.parse::<f64>() {
        Ok(number) if text.contains('.') => format!("{number:.9}"),
        _ => text.to_owned(),
    };
    let line = |line: &str| line.split(',').map(cell).collect::<Vec<_>>().join(",");
    let lines: Vec<String> = table.lines().map(line).collect();
    lines.join("\n") + "\n"
}

#[test]
fn every_table_and_figure_is_as_it_was() {
    if std::env::var_os("MAKE_STORED").is_some() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime
            .block_on(make::make(home.path()))
            .expect("the study can be stored");
        fs::copy(home.path().join("seedbed.db"), stored().join("study.db")).expect("ours");
    }
    let home = tempfile::tempdir().expect("a temporary folder");
    let out = home.path().join("out");
    let printed = aggregate(home.path(), &out, &[]);
    let golden = stored().join("golden");
    let got = readable(&out, &printed);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        drop(fs::remove_dir_all(&golden));
        for (name, text) in &got {
            let path = golden.join(name);
            fs::create_dir_all(path.parent().expect("below golden")).expect("writable");
            fs::write(path, text).expect("writable");
        }
    }
    let want: Vec<String> = tree(&golden)
        .into_iter()
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .collect();
    let mut names: Vec<String> = got.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    let mut sorted = want.clone();
    sorted.sort();
    assert_eq!(
        names, sorted,
        "other files than before; UPDATE_GOLDEN=1 and read the diff"
    );
    for (name, text) in &got {
        let before = fs::read_to_string(golden.join(name)).expect("a golden file");
        assert!(
            *text == before,
            "{name} differs; UPDATE_GOLDEN=1 and read the diff"
        );
    }
    // Figures of an earlier report don't stay, what a person put there does.
    fs::write(out.join("figures/old.svg"), "<svg/>").expect("writable");
    fs::write(out.join("figures/notes.txt"), "mine").expect("writable");
    aggregate(home.path(), &out, &[]);
    assert!(!out.join("figures/old.svg").exists() && out.join("figures/notes.txt").exists());
}

#[test]
fn exports_hold_every_run_that_is_done() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let out = home.path().join("out");
    aggregate(home.path(), &out, &["--export", "tensorboard,mlflow"]);
    let files = tree(&out);
    let count = |folder: &str, name: &str| {
        let of = |p: &&(PathBuf, Vec<u8>)| p.0.starts_with(folder) && p.0.ends_with(name);
        files.iter().filter(of).count()
    };
    // 8 × (2 × 2 + 3) × 2 runs, of which 2 failed.
    assert_eq!(
        count("tensorboard", "events.out.tfevents.0000000000.seedbed"),
        110
    );
    assert_eq!(count("mlruns", "params/learning_rate"), 110);
    assert_eq!(count("mlruns", "metrics/val/incongruent_accuracy"), 110);
    let mut again = vec![];
    for round in 0..2 {
        let place = home.path().join(format!("again-{round}"));
        fs::create_dir_all(&place).expect("ours");
        aggregate(
            &place,
            &place.join("out"),
            &["--export", "tensorboard,mlflow"],
        );
        let kept =
            |p: &(PathBuf, Vec<u8>)| p.0.starts_with("tensorboard") || p.0.starts_with("mlruns");
        again.push(
            tree(&place.join("out"))
                .into_iter()
                .filter(kept)
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(again[0], again[1], "the same bytes every time");
}

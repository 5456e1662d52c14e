//! Golden tables, equal bytes, and files that appear all at once.

mod ceilings;
mod inspected;
mod stated;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use seedbed_proto::result::FailureReason;
use serde_json::json;

use super::{PROVENANCE_MARK, markdown, terminal, write};
use crate::aggregate::fixture::{Fixture, fail, run_of, unseal};
use crate::aggregate::{Analysis, analyse};
use crate::results::SweepResults;
use crate::sweep::Compare;

fn analysed(results: &SweepResults) -> Analysis {
    analyse(results, &Compare::default())
}

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it.
pub(super) fn check_golden(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/report/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, got).unwrap();
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        got == want,
        "{name} differs; run with UPDATE_GOLDEN=1 and read the diff. Got:\n{got}"
    );
}

fn several() -> Fixture {
    Fixture {
        seeds: 8,
        arms: vec![
            json!("pretrained"),
            json!("scratch"),
            json!("embeddings_only"),
            json!({"reinit": {"last": 1}}),
        ],
        frozen: vec![json!("none"), json!({"prefix": 2})],
        rates: vec![0.0002, 0.0005, 0.001],
    }
}

/// A sweep in which seeds failed.
fn with_failures() -> SweepResults {
    let mut results = Fixture {
        seeds: 5,
        ..Fixture::default()
    }
    .results();
    fail(run_of(&mut results, "scratch", 3), FailureReason::NonFinite);
    unseal(results)
}

#[test]
fn the_terminal_shows_arms_differences_and_floors() {
    check_golden(
        "pair.txt",
        &terminal(&analysed(&Fixture::default().selected())),
    );
    check_golden("grid.txt", &terminal(&analysed(&several().selected())));
    check_golden("failures.txt", &terminal(&analysed(&with_failures())));
    check_golden(
        "sealed.txt",
        &terminal(&analysed(&Fixture::default().results())),
    );
}

#[test]
fn the_terminal_keeps_to_100_columns() {
    for results in [several().selected(), with_failures()] {
        for line in terminal(&analysed(&results)).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn the_markdown_is_as_it_was() {
    let results = with_failures();
    check_golden(
        "report.md",
        &markdown::markdown(&analysed(&results), &results),
    );
}

/// The bytes of every file of a report.
fn files(results: &SweepResults) -> BTreeMap<String, Vec<u8>> {
    files_of(&analysed(results), results)
}

fn files_of(a: &Analysis, results: &SweepResults) -> BTreeMap<String, Vec<u8>> {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("results/made-up");
    write(a, results, &out).unwrap();
    let mut files = BTreeMap::new();
    let mut folders = vec![out.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(&out)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// What is above the mark, and without the file that is all provenance.
fn promised(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    files.remove("provenance.json").unwrap();
    for name in ["report.md", "report.html"] {
        let text = String::from_utf8(files.remove(name).unwrap()).unwrap();
        let (above, _) = text.split_once(PROVENANCE_MARK).expect("the mark is there");
        files.insert(name.to_owned(), above.as_bytes().to_vec());
    }
    files
}

#[test]
fn equal_results_give_equal_bytes() {
    let calm = several().selected();
    assert_eq!(files(&calm), files(&calm));

    let mut turned = calm.clone();
    turned.runs.reverse();
    turned.attempts.reverse();
    assert_eq!(files(&calm), files(&turned));

    let mut faulty = calm.clone();
    faulty.sweep_id = seedbed_proto::SweepId::new();
    for attempt in &mut faulty.attempts {
        attempt.attempt = 2;
        attempt.worker = "elsewhere".to_owned();
        attempt.provenance = None;
    }
    assert_ne!(files(&calm), files(&faulty));
    assert_eq!(promised(files(&calm)), promised(files(&faulty)));
}

#[test]
fn nothing_of_a_test_leaves_while_it_is_sealed() {
    for (name, bytes) in files(&Fixture::default().results()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("test_iid"), "{name}");
        if name.ends_with(".md") || name.ends_with(".html") {
            assert!(
                text.contains("sealed until every run has settled"),
                "{name}"
            );
        }
    }
}

#[test]
fn csv_rows_are_tidy() {
    let files = files(&Fixture::default().selected());
    let metrics = String::from_utf8(files["metrics.csv"].clone()).unwrap();
    let mut lines = metrics.lines();
    assert_eq!(
        lines.next(),
        Some("arm,seed,learning_rate,frozen,step,split,layer,head,slot,metric,value,job_key")
    );
    let first = lines.next().unwrap();
    assert!(
        first.starts_with("pretrained,1,0.0005,none,0,val,,,,accuracy,0."),
        "{first}"
    );
    // 11 evaluations and a test of 4 metrics, 16 floors, 12 runs.
    assert_eq!(lines.count() + 1, 12 * (12 * 4 + 16));
}

#[test]
fn parquet_holds_what_the_csv_holds() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let files = files(&several().selected());
    let rows = |name: &str| {
        let text = String::from_utf8(files[name].clone()).unwrap();
        text.lines().count() - 1
    };
    for name in ["metrics", "runs"] {
        let bytes = bytes::Bytes::from(files[&format!("{name}.parquet")].clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .unwrap()
            .build()
            .unwrap();
        let n: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(n, rows(&format!("{name}.csv")));
    }
}

#[test]
fn other_files_stay_and_old_results_go() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    fs::write(out.join("report.html"), "old").unwrap();
    let results = Fixture::default().selected();
    write(&analysed(&results), &results, &out).unwrap();
    assert_eq!(fs::read_to_string(out.join("notes.txt")).unwrap(), "mine");
    assert!(fs::read_to_string(out.join("report.html")).unwrap().len() > 1000);
    let hidden = fs::read_dir(&out).unwrap().filter(|e| {
        e.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.')
    });
    assert_eq!(hidden.count(), 0);
}

#[test]
fn files_of_an_earlier_report_that_this_one_lacks_are_removed() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    fs::create_dir_all(out.join("figures")).unwrap();
    for old in ["verdict.json", "figures/reuse.svg", "figures/mine.txt"] {
        fs::write(out.join(old), "old").unwrap();
    }
    let results = Fixture::default().selected();
    write(&analysed(&results), &results, &out).unwrap();
    assert!(!out.join("verdict.json").exists());
    assert!(!out.join("figures/reuse.svg").exists());
    assert!(out.join("figures/mine.txt").exists());
    assert!(out.join("metrics.csv").exists());
}

#[test]
fn a_place_that_can_t_be_written_is_named_and_left_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let results = Fixture::default().selected();
    let a = analysed(&results);

    let file = home.path().join("taken");
    fs::write(&file, "a file").unwrap();
    for out in [file.clone(), file.join("below")] {
        let message = write(&a, &results, &out).unwrap_err().to_string();
        assert!(message.contains(&out.display().to_string()), "{message}");
        assert!(message.contains("--out"), "{message}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "a file");

    let out = home.path().join("out");
    fs::create_dir_all(out.join("report.md/a folder")).unwrap();
    let message = write(&a, &results, &out).unwrap_err().to_string();
    assert!(message.contains("report.md"), "{message}");
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        1,
        "nothing was put beside it"
    );
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let page = String::from_utf8(files(&several().selected())["report.html"].clone()).unwrap();
    for outside in ["<script", "src=", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(
        page.matches("http").count(),
        page.matches("http://www.w3.org/2000/svg").count()
    );
}

/// Writes the report of a made-up sweep for people to look at:
/// `SEEDBED_SHOW=DIR cargo test -- report::tests::show`.
#[test]
fn show() {
    if let Some(dir) = std::env::var_os("SEEDBED_SHOW") {
        let dir = Path::new(&dir);
        for (name, results) in [
            ("pair", Fixture::default().selected()),
            ("grid", several().selected()),
            ("failures", with_failures()),
            ("sealed", Fixture::default().results()),
            ("inspected", inspected::inspected()),
        ] {
            write(&analysed(&results), &results, &dir.join(name)).unwrap();
        }
    }
}

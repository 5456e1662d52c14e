//! The report in a real browser: headless Chromium opens the page as a reader
//! would, looks for texts that lie upon each other or stick out, and prints it.
//!
//! Debian's package `chromium` provides the browser; `tests/run` installs it.
//! `SEEDBED_REPORT=FILE` takes that page instead of the stored study's, as `tests/run`
//! does for a sweep with every question; `SEEDBED_SCREENSHOT=DIR` keeps the pictures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use seedbed_tests::{programs, repository, run, wait_for};

/// Measured in the page once it is laid out: every pair of texts of a drawing
/// whose boxes overlap, every text that leaves its drawing, every part of the
/// page that is wider than it, and every error of a script.
const PROBE: &str = include_str!("browser/probe.js");

/// Flags under which Chromium neither talks to the network nor to a display.
const QUIET: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
];

fn chromium() -> PathBuf {
    let places = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ];
    let found = places.iter().map(Path::new).find(|p| p.exists());
    found
        .expect("this test opens the report in Chromium: install Debian's package `chromium`")
        .to_owned()
}

/// Runs the browser on a page with a profile of its own; ends it if it hangs.
fn browse(profile: &Path, page: &Path, args: &[&str]) -> Output {
    let mut child = Command::new(chromium())
        .args(QUIET)
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .arg(format!("file://{}", page.display()))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("chromium starts");
    // Read while it runs, or a full pipe would stop it.
    let mut stdout = child.stdout.take().expect("piped");
    let mut stderr = child.stderr.take().expect("piped");
    let out = std::thread::spawn(move || {
        let mut bytes = vec![];
        std::io::Read::read_to_end(&mut stdout, &mut bytes).map(|_| bytes)
    });
    let err = std::thread::spawn(move || {
        let mut bytes = vec![];
        std::io::Read::read_to_end(&mut stderr, &mut bytes).map(|_| bytes)
    });
    let status = wait_for("chromium to end", Duration::from_secs(120), || {
        child.try_wait().expect("our child")
    });
    Output {
        status,
        stdout: out.join().expect("no panic").expect("readable"),
        stderr: err.join().expect("no panic").expect("readable"),
    }
}

/// A page, with the probe as its last script.
fn probed(folder: &Path, page: &Path) -> PathBuf {
    let text = fs::read_to_string(page).expect("the page is there");
    assert!(!text.contains("<script"), "the page itself has no script");
    let probed = folder.join("probed.html");
    let script = format!("<script>{PROBE}</script></body>");
    fs::write(&probed, text.replace("</body>", &script)).expect("a folder of ours");
    probed
}

/// The page of the stored study, made anew.
fn of_the_stored_study(home: &Path) -> PathBuf {
    let (results, state) = (home.join("results"), home.join("state"));
    fs::create_dir(&state).expect("a folder of ours");
    let stored = repository().join("tests/stored/study.db");
    fs::copy(stored, state.join("seedbed.db")).expect("the stored database");
    let (state, out) = (state.to_string_lossy(), results.to_string_lossy());
    let args = [
        "aggregate",
        "--sweep",
        "study",
        "--state",
        &state,
        "--out",
        &out,
    ];
    run(&programs().coordinator, home, &args).ok();
    results.join("report.html")
}

#[test]
fn the_report_reads_well_on_screen_and_on_paper() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let page = match std::env::var_os("SEEDBED_REPORT") {
        Some(page) => PathBuf::from(page),
        None => of_the_stored_study(home.path()),
    };

    for (width, name) in [(1280, "wide"), (420, "narrow")] {
        let probed = probed(home.path(), &page);
        let profile = home.path().join(format!("profile-{name}"));
        let size = format!("--window-size={width},900");
        let dump = browse(
            &profile,
            &probed,
            &[&size, "--dump-dom", "--virtual-time-budget=3000"],
        );
        let dom = String::from_utf8_lossy(&dump.stdout);
        let found = dom
            .split_once("<pre id=\"probe\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"))
            .map(|(found, _)| found.replace("&gt;", ">").replace("&lt;", "<"));
        let stderr = String::from_utf8_lossy(&dump.stderr);
        let found = found.unwrap_or_else(|| panic!("the probe did not answer: {stderr}"));
        assert!(found.contains("texts"), "{found}");
        let complaints: Vec<&str> = found
            .lines()
            .filter(|l| !l.starts_with("looked at"))
            .collect();
        assert!(complaints.is_empty(), "{name}: {}", complaints.join("\n"));
    }

    let keep = std::env::var_os("SEEDBED_SCREENSHOT").map(PathBuf::from);
    let place = keep.as_deref().unwrap_or(home.path());
    fs::create_dir_all(place).expect("a folder for the pictures");
    let picture = place.join("report.png");
    let shot = format!("--screenshot={}", picture.display());
    browse(
        &home.path().join("profile-shot"),
        &page,
        &["--window-size=1280,7000", &shot],
    );
    let png = fs::read(&picture).expect("a picture was made");
    assert!(
        png.starts_with(b"\x89PNG") && png.len() > 50_000,
        "{} bytes",
        png.len()
    );

    let paper = place.join("report.pdf");
    let print = format!("--print-to-pdf={}", paper.display());
    let args = [print.as_str(), "--no-pdf-header-footer"];
    browse(&home.path().join("profile-print"), &page, &args);
    let pdf = fs::read(&paper).expect("it was printed");
    assert!(pdf.starts_with(b"%PDF"));
    let text = String::from_utf8_lossy(&pdf);
    let pages = text
        .matches("/Type /Page\n")
        .count()
        .max(text.matches("/Type/Page/").count());
    assert!((3..=40).contains(&pages), "{pages} pages");
}

//! Peaks of real work, to hold counts against.

use std::fs;
use std::process::Command;

use super::keep_pages;

/// Says to a child which case is its, and where its answer goes.
const CASE: &str = "SEEDBED_TEST_PEAK";

/// What the work of each case takes at its fullest, in bytes, beside what there is
/// when it begins: `set_up` makes that, and gives the work.
///
/// The highest mark of a process counts all that it did, so that each case has one
/// of its own: there the test `test` runs alone, comes back here, and gets `None`.
pub fn peaks<W: FnOnce()>(
    test: &str,
    cases: usize,
    set_up: impl Fn(usize) -> W,
) -> Option<Vec<u64>> {
    if let Ok(text) = std::env::var(CASE) {
        let (case, out) = text.split_once(' ').expect("ours");
        #[cfg(target_env = "gnu")]
        // SAFETY: says how later requests are served: large ones are given back at once.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 17);
        }
        let work = set_up(case.parse().expect("ours"));
        #[cfg(target_env = "gnu")]
        // SAFETY: gives memory that is free back to the system.
        unsafe {
            libc::malloc_trim(0);
        }
        // As a worker does.
        keep_pages();
        let before = status("VmRSS");
        // The mark begins anew: what was made before may have had a higher one.
        fs::write("/proc/self/clear_refs", "5").expect("Linux");
        work();
        fs::write(out, (status("VmHWM") - before).to_string()).expect("written");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let peak = |case: usize| {
        let out = dir.path().join(case.to_string());
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args([test, "--exact"])
            .env(CASE, format!("{case} {}", out.display()))
            .env("RAYON_NUM_THREADS", "1")
            .output()
            .expect("started");
        assert!(child.status.success(), "{child:?}");
        let text = fs::read_to_string(out).expect("written by the child");
        text.parse().expect("a number")
    };
    Some((0..cases).map(peak).collect())
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a number of kB") * 1024
}

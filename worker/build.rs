//! Notes the commit that the program is built from, for the provenance of results.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    // A release tarball has no history.
    let commit = commit.unwrap_or_else(|| "no commit".into());
    println!("cargo::rustc-env=SEEDBED_COMMIT={commit}");
    // The log grows with every commit and every switch of branch.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

//! The files under `deploy/` say only what the programs understand.

use std::fs;

use seedbed_tests::{programs, repository, run};

/// The flags (`--name`) that stand in a text, comments left out.
fn flags(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| {
            line.split(|c: char| c.is_whitespace() || "\"',[]{}$:+".contains(c))
                .filter(|word| word.starts_with("--"))
                .map(|word| word.trim_end_matches('\\').to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_flag_is_understood() {
    let help = |program, command: &[&str]| {
        let args = [command, &["--help"]].concat();
        run(program, repository(), &args).ok().stdout
    };
    let worker = help(&programs().worker, &[]);
    let serve = help(&programs().coordinator, &["serve"]);

    let check = |file: &str, help: &str, marker: &str| {
        let path = repository().join("deploy").join(file);
        let text = fs::read_to_string(&path).expect("a deploy file");
        // Only the lines that hand arguments to the program.
        let start = text
            .find(marker)
            .unwrap_or_else(|| panic!("{file}: no {marker}"));
        let end = text[start..]
            .find("\n\n")
            .or_else(|| text[start..].find("# SIGTERM"))
            .map_or(text.len(), |n| start + n);
        let found = flags(&text[start..end]);
        assert!(!found.is_empty(), "{file}: no flag after {marker}");
        for flag in found {
            assert!(help.contains(&flag), "{file}: the program has no {flag}");
        }
    };
    check("slurm/worker.sbatch", &worker, "\"$SEEDBED_WORKER\" \\");
    check("docker/worker.Dockerfile", &worker, "CMD");
    check("docker/coordinator.Dockerfile", &serve, "CMD");
    check("systemd/seedbed-worker@.service", &worker, "ExecStart=");
    check("systemd/seedbed-coordinator.service", &serve, "ExecStart=");
}

#[test]
fn shell_scripts_are_well_formed() {
    for file in [
        "deploy/slurm/worker.sbatch",
        "tests/run",
        "tests/cuda/bin/nvcc",
        ".ci/run",
    ] {
        let status = std::process::Command::new("bash")
            .args(["-n", file])
            .current_dir(repository())
            .status()
            .expect("bash is on every machine that runs these");
        assert!(status.success(), "{file}");
    }
}

//! The `coordinator` program: wiring.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};
use seedbed_coordinator::cli::{self, Cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Before anything that might speak TLS: two providers in one program panic
    // at the first connection.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nothing installed one before main");
    let cli = Cli::parse();
    if cli.command.is_some() && cli.run.sweep.is_some() {
        Cli::command()
            .error(
                ErrorKind::ArgumentConflict,
                "--sweep runs a sweep by itself: leave the subcommand out",
            )
            .exit();
    }
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(cli.log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli::dispatch(cli)) {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            eprintln!("error: {}", cli::explain(&error));
            ExitCode::FAILURE
        }
    }
}

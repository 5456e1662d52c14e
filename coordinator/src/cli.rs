//! The command line: what may be said, and the texts of `--help`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{LISTEN_DEFAULT, ServeOptions};
use crate::report::Export;

mod dispatch;

pub use dispatch::{Verdict, dispatch, explain};

pub mod aggregate;
mod arrays;
mod ceilings;
pub mod client;
pub mod expand;
pub mod gc;
pub mod outputs;
mod pace;
pub mod progress;
pub mod reach;
pub mod run;
pub mod show;
pub mod stop;
pub mod submit;

/// Replicated training sweeps: expands a sweep file into jobs, hands them to
/// workers, and answers with seed-averaged, paired comparisons.
///
/// The whole way on one machine, without a server:
///
///   coordinator --sweep sweeps/quickstart.yaml --local-workers 2
///
/// The same by hand: `coordinator serve`, then in other shells `worker
/// --coordinator http://127.0.0.1:7070`, `coordinator submit FILE`,
/// `coordinator watch NAME`, `coordinator aggregate --sweep NAME --out DIR`.
///
/// Exit codes: 0 all is well; 1 some jobs failed, or an error; 2 wrong usage.
#[derive(Debug, Parser)]
#[command(
    name = "coordinator",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub global: Global,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: RunArgs,

    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Option<Command>,
}

impl Cli {
    /// What is logged where `RUST_LOG` says nothing: a server tells what happens
    /// to it, other commands only what went wrong.
    pub fn log_level(&self) -> &'static str {
        match self.command {
            Some(Command::Serve(_)) => "warn,seedbed_coordinator=info",
            _ => "error",
        }
    }
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Folder of the database, the stored files, the lock and the logs
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".seedbed",
        env = "SEEDBED_STATE"
    )]
    pub state: PathBuf,

    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
}

/// `coordinator --sweep FILE`: serve, submit, show progress, aggregate, end.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Run this sweep to its end, then aggregate; what is done already is not
    /// run again
    #[arg(long, value_name = "FILE", required = true)]
    pub sweep: Option<PathBuf>,

    /// Start this many `worker` processes on this machine, and look after them
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sweep")]
    pub local_workers: u32,

    /// Compute threads of each local worker [default: cores / workers]
    #[arg(long, value_name = "T", requires = "local_workers")]
    pub worker_threads: Option<u32>,

    /// Folder of the results [default: results/NAME]
    #[arg(long, value_name = "DIR", requires = "sweep")]
    pub out: Option<PathBuf>,

    /// Only print what would be run, like `expand`; touches nothing
    #[arg(long, requires = "sweep")]
    pub dry_run: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub listen: ListenArgs,
}

/// Where to listen, and who gets in.
#[derive(Debug, Clone, Args)]
pub struct ListenArgs {
    /// Address for workers and clients; port 0 takes a free one. Anything but
    /// loopback needs --tls and --tokens, or --insecure
    #[arg(long, value_name = "HOST:PORT", default_value = LISTEN_DEFAULT, value_parser = address)]
    pub listen: SocketAddr,

    /// Folder with cert.pem and key.pem (and ca.pem, if local workers need one)
    #[arg(long, value_name = "DIR")]
    pub tls: Option<PathBuf>,

    /// TOML file of bearer tokens: `[[token]]` role = "worker" | "client" |
    /// "admin", name, secret
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,

    /// Serve on a network without TLS and tokens: everyone there may do anything
    #[arg(long)]
    pub insecure: bool,

    /// Seconds after which a worker without heartbeat loses its jobs
    #[arg(long, value_name = "SECS", default_value_t = 8.0, value_parser = lease_secs)]
    pub lease_secs: f64,
}

impl ListenArgs {
    /// The options of a server that works in this state folder.
    pub fn options(&self, state: PathBuf) -> ServeOptions {
        let lease = std::time::Duration::from_secs_f64(self.lease_secs);
        ServeOptions {
            listen: self.listen,
            tls: self.tls.clone(),
            tokens: self.tokens.clone(),
            insecure: self.insecure,
            lease,
            // Four renewals fit into a lease: three may be lost.
            heartbeat: lease / 4,
            ..ServeOptions::new(state)
        }
    }
}

/// How to reach a coordinator.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// The coordinator's address [default: the one that works in --state, else
    /// http://127.0.0.1:7070]
    #[arg(long, value_name = "URL", env = "SEEDBED_COORDINATOR")]
    pub coordinator: Option<String>,

    /// Certificate that an https:// coordinator is trusted by
    #[arg(long, value_name = "FILE", env = "SEEDBED_CA")]
    pub ca: Option<PathBuf>,

    /// File with this client's token
    #[arg(long, value_name = "FILE", env = "SEEDBED_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// What else a coordinator does.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Command {
    /// Check a sweep file and print its jobs, by kind and arm, and their cost;
    /// touches nothing
    Expand {
        /// The sweep file
        file: PathBuf,
    },
    /// Serve workers and clients until stopped
    Serve(ListenArgs),
    /// Hand a sweep to a running coordinator; the same name again extends it
    Submit {
        /// The sweep file
        file: PathBuf,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show where sweeps stand
    Status {
        /// Name, id or file; all sweeps if left out
        sweep: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show progress until the sweep is done; exit code 1 if a job failed
    Watch {
        /// Name, id or file
        sweep: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// End what is not done; running jobs are dropped at their next heartbeat
    Cancel {
        /// Name, id or file
        sweep: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Run failed and cancelled jobs again
    Retry {
        /// Name, id or file
        sweep: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Compute the comparison of a sweep and write its tables and reports; from
    /// a running coordinator, or else straight from --state
    Aggregate {
        /// Name, id or file
        #[arg(long)]
        sweep: String,
        /// Folder of the results [default: results/NAME]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Also write the runs for other programs, below the results
        #[arg(long, value_enum, value_delimiter = ',', value_name = "PROGRAM,…")]
        export: Vec<Export>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete stored files that nothing needs any more; not while a coordinator
    /// runs
    Gc {
        /// Spare what was stored within so many seconds: a worker may be about to
        /// name it in a result
        #[arg(long, value_name = "SECS", default_value_t = 3600)]
        min_age_secs: u32,
    },
    /// Print the JSON Schema of the sweep file
    Schema,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    text.to_socket_addrs()
        .map_err(|e| format!("not HOST:PORT ({e})"))?
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

fn lease_secs(text: &str) -> Result<f64, String> {
    let secs: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.2..=3600.0).contains(&secs) {
        Ok(secs)
    } else {
        Err("must be between 0.2 and 3600".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_and_their_options_are_told_apart() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let run = parse("coordinator --sweep a.yaml --local-workers 2 --state s").expect("a run");
        assert_eq!(run.run.local_workers, 2);
        assert!(run.command.is_none());

        let status = parse("coordinator status main --json --state s").expect("a command");
        assert!(status.global.json);
        assert!(matches!(status.command, Some(Command::Status { .. })));

        let before = parse("coordinator --state s serve --listen localhost:0").expect("a command");
        assert_eq!(before.global.state, PathBuf::from("s"));

        let check = |line: &str, expect: ErrorKind| {
            let error = parse(line).expect_err("must be refused");
            assert_eq!(error.kind(), expect, "{line}");
        };
        check(
            "coordinator --local-workers 2",
            ErrorKind::MissingRequiredArgument,
        );
        check(
            "coordinator serve --listen nonsense",
            ErrorKind::ValueValidation,
        );
        check(
            "coordinator serve --lease-secs 0",
            ErrorKind::ValueValidation,
        );
        check("coordinator nonsense", ErrorKind::InvalidSubcommand);
    }
}

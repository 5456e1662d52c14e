//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use seedbed_proto::job::Ops;

use crate::device::DeviceChoice;

/// Pulls training jobs from a coordinator, runs them and delivers the results.
#[derive(Debug, Parser)]
#[command(name = "worker", version = crate::VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// How to work for a coordinator.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// Something else than working.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does beside working.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draws text from a base model, for people to look at.
    Sample(SampleArgs),
}

/// Options of a worker.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// Address of the coordinator: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL", env = "SEEDBED_COORDINATOR")]
    pub coordinator: Option<String>,
    /// Certificate authority (PEM) that signed the coordinator's certificate.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File that holds this worker's bearer token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda:N or metal. One worker per device.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Take only jobs whose operations are fused (own kernels, processor only) or
    /// composite (the tensor library's, as on a GPU); both, comma-separated
    /// [default: all that the device has].
    #[arg(long, value_name = "OPS", value_delimiter = ',', value_parser = ops)]
    pub ops: Vec<Ops>,
    /// Compute threads [default: all processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Directory for inputs, unfinished jobs and undelivered results; workers of
    /// a host may share it [default: seedbed in the user's cache directory].
    #[arg(long, value_name = "DIR", env = "SEEDBED_CACHE")]
    pub cache: Option<PathBuf>,
    /// Largest size of the input cache, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 20.0, value_parser = positive)]
    pub cache_gib: f64,
    /// Largest size of the kept activations of frozen blocks, in GiB (0: none).
    #[arg(long, value_name = "GIB", default_value_t = 10.0, value_parser = not_negative)]
    pub activations_gib: f64,
    /// Free-form name of this worker, for people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub label: String,
    /// Seconds between checkpoints (0: none by time).
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = not_negative)]
    pub checkpoint_secs: f64,
    /// Optimizer steps between checkpoints (0: none by steps).
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub checkpoint_steps: u64,
    /// End with an error when the coordinator has not answered for so long while
    /// no job runs (0: never).
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = not_negative)]
    pub give_up_secs: f64,
    /// End when there has been no work for so long (0: never).
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = not_negative)]
    pub idle_exit_secs: f64,
    /// Hold this lock file, with the process id in it; end quietly if another
    /// worker holds it.
    #[arg(long, value_name = "FILE")]
    pub slot_lock: Option<PathBuf>,
    /// End when the coordinator says that there is nothing left to do.
    #[arg(long)]
    pub exit_when_drained: bool,
}

/// Options of `worker sample`.
#[derive(Debug, Clone, Args)]
pub struct SampleArgs {
    /// Directory with config.json, model.safetensors and tokenizer.json.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The text to continue.
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// Tokens to draw.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub tokens: usize,
    /// Sharpness: 0 takes the likeliest token.
    #[arg(long, value_name = "T", default_value_t = 0.8, value_parser = not_negative)]
    pub temperature: f64,
    /// Draw from the likeliest tokens that hold this probability together.
    #[arg(long, value_name = "P", default_value_t = 0.95, value_parser = positive)]
    pub top_p: f64,
    /// Seed of the draw.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
}

fn ops(text: &str) -> Result<Ops, String> {
    match text {
        "fused" => Ok(Ops::Fused),
        "composite" => Ok(Ops::Composite),
        _ => Err("must be fused or composite".into()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("must be a number, 0 or more".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("must be a number above 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sample_needs_no_coordinator() {
        let cli = Cli::try_parse_from(["worker", "sample", "--model", "m", "--prompt", "p"])
            .expect("complete");
        assert!(matches!(cli.command, Some(Command::Sample(args)) if args.tokens == 40));
    }

    #[test]
    fn operations_are_listed() {
        let line = ["worker", "--ops", "composite,fused"];
        let cli = Cli::try_parse_from(line).expect("known operations");
        assert_eq!(cli.agent.ops, [Ops::Composite, Ops::Fused]);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for args in [
            ["--threads", "0"],
            ["--give-up-secs", "-1"],
            ["--checkpoint-secs", "NaN"],
            ["--device", "tpu"],
            ["--ops", "fast"],
        ] {
            let line = ["worker", "--coordinator", "http://h:1", args[0], args[1]];
            assert!(Cli::try_parse_from(line).is_err(), "{args:?}");
        }
    }
}

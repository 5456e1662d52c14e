//! From a parsed command line to the command.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use super::progress::Progress;
use super::reach::Reach;
use super::{Cli, ClientArgs, Command, Global, ListenArgs, client, run, show, stop, submit};
use crate::serve::Server;
use crate::sweep;

/// How a command ended, if not by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Well,
    /// It did what it should; jobs failed or were cancelled.
    JobsFailed,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Well => Self::SUCCESS,
            Verdict::JobsFailed => Self::FAILURE,
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// With one error that names the thing and the way out.
pub async fn dispatch(cli: Cli) -> anyhow::Result<Verdict> {
    let Cli {
        global,
        run: args,
        command,
    } = cli;
    match command {
        None => {
            let file = args.sweep.clone().context("--sweep FILE is missing")?;
            if args.dry_run {
                super::expand::expand(&file, &global).await
            } else {
                run::run(file, args, &global).await
            }
        }
        Some(Command::Expand { file }) => super::expand::expand(&file, &global).await,
        Some(Command::Serve(listen)) => serve(&listen, &global).await,
        Some(Command::Submit { file, client }) => submit::submit(&file, &client, &global).await,
        Some(Command::Status { sweep, client }) => status(sweep.as_deref(), &client, &global).await,
        Some(Command::Watch { sweep, client }) => watch(&sweep, &client, &global).await,
        Some(Command::Cancel { sweep, client }) => {
            let reach = Reach::new(&client, &global.state).await?;
            let done = reach.cancel(&client::sweep_name(&sweep)?).await;
            reach.close().await;
            tell(&global, "cancelled", done?)
        }
        Some(Command::Retry { sweep, client }) => {
            let reach = Reach::new(&client, &global.state).await?;
            let done = reach.retry(&client::sweep_name(&sweep)?).await;
            reach.close().await;
            tell(&global, "made ready again", done?)
        }
        Some(Command::Aggregate {
            sweep,
            out,
            export,
            client,
        }) => super::aggregate::aggregate(&sweep, out.as_deref(), &export, &client, &global).await,
        Some(Command::Gc { min_age_secs }) => super::gc::gc(min_age_secs, &global).await,
        Some(Command::Schema) => {
            show::print(&serde_json::to_string_pretty(&sweep::schema())?);
            Ok(Verdict::Well)
        }
    }
}

/// An error in one text: the chain of causes, none said twice.
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Many errors quote their source already.
        if text.contains(cause.trim()) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(cause.trim_end());
    }
    text
}

async fn serve(listen: &ListenArgs, global: &Global) -> anyhow::Result<Verdict> {
    let stop = stop::on_signal().context("cannot handle signals")?;
    let mut server = Server::start(&listen.options(global.state.clone())).await?;
    if global.json {
        show::print(&json!({"url": server.url()}).to_string());
    } else {
        show::print(&format!(
            "serving at {} with state in {}",
            server.url(),
            global.state.display()
        ));
    }
    let ended = tokio::select! {
        () = stop.cancelled() => None,
        error = server.ended() => Some(error),
    };
    server.stop().await;
    match ended {
        None => Ok(Verdict::Well),
        Some(error) => Err(error.into()),
    }
}

async fn status(
    sweep: Option<&str>,
    args: &ClientArgs,
    global: &Global,
) -> anyhow::Result<Verdict> {
    let sweep = sweep.map(client::sweep_name).transpose()?;
    let reach = Reach::new(args, &global.state).await?;
    let text = match sweep {
        Some(sweep) => reach.status(&sweep).await.map(|status| {
            if global.json {
                show::status_json(&status).to_string()
            } else {
                show::details(&status)
            }
        }),
        None => reach.list().await.map(|all| {
            if global.json {
                let all: Vec<_> = all.iter().map(show::status_json).collect();
                json!({ "sweeps": all }).to_string()
            } else {
                show::list(&all)
            }
        }),
    };
    reach.close().await;
    show::print(&text?);
    Ok(Verdict::Well)
}

async fn watch(sweep: &str, args: &ClientArgs, global: &Global) -> anyhow::Result<Verdict> {
    let sweep = client::sweep_name(sweep)?;
    let connection = client::connect(args, &global.state).await?;
    let no_worker = format!(
        "no worker is connected; start one with: worker --coordinator {}",
        client::address(args, &global.state)
    );
    let request = seedbed_proto::v1::WatchRequest { sweep };
    let answer = client::sweeps(connection).watch(request).await;
    let updates = answer.map_err(|s| client::explain(&s))?.into_inner();
    let progress = Progress::new(global.json);
    let last = progress.follow(updates, &no_worker).await;
    let last = last.map_err(|s| client::explain(&s))?;
    let Some(status) = last.filter(run::settled) else {
        anyhow::bail!("the coordinator stopped; the sweep goes on when it is started again");
    };
    if !global.json {
        show::print(&show::details(&status));
    }
    Ok(run::verdict(&status))
}

fn tell(global: &Global, what: &str, jobs: u64) -> anyhow::Result<Verdict> {
    if global.json {
        show::print(&json!({"jobs": jobs}).to_string());
    } else {
        show::print(&format!("{jobs} job(s) {what}"));
    }
    Ok(Verdict::Well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_each_thing_once() {
        let check = |error: anyhow::Error, expect: &str| assert_eq!(explain(&error), expect);
        let disk = || std::io::Error::other("no space");
        check(
            anyhow::Error::new(disk()).context("cannot write a"),
            "cannot write a: no space",
        );
        check(
            anyhow::Error::new(disk()).context("cannot write a: no space"),
            "cannot write a: no space",
        );
        check(anyhow::anyhow!("one line\n"), "one line");
    }
}

//! Scripts against the store: one operation a line, with what it must answer.
//!
//! ```text
//! study s: a            => a sweep that asks questions of its networks
//! due                    => s, once it has nothing left to do
//! ask s: q<a             => listed
//! submit s: a b<a        => jobs=2 new=2 done=0
//! acquire w1 5           => a@1
//! complete a@1           => new
//! ```
//! `b<a` is a job that needs the result of `a`; `a@1` is the lease of the first
//! attempt at `a`; `complete a@1 7` brings another result than `complete a@1`. A
//! line without `=>` must succeed.

use std::fmt::Write as _;

use super::*;

impl World {
    /// Runs one line and says what came of it, in the script's words.
    pub(super) async fn run(&mut self, line: &str) -> Result<String, StoreError> {
        let now = self.now();
        let mut words = line.split_whitespace();
        let operation = words.next().unwrap_or_default();
        let args: Vec<&str> = words.collect();
        let secs = |text: &str| text.parse::<f64>().expect("seconds");
        Ok(match operation {
            "submit" | "study" => {
                self.inspects = operation == "study";
                let jobs = args[1..].iter().map(|text| named(text));
                let submitted = self
                    .submit(args[0].trim_end_matches(':'), jobs.collect())
                    .await?;
                let Submitted {
                    jobs,
                    jobs_new,
                    jobs_done,
                    ..
                } = submitted;
                format!("jobs={jobs} new={jobs_new} done={jobs_done}")
            }
            "ask" => {
                let jobs = args[1..].iter().map(|text| NewJob {
                    kind: "inspect",
                    ..named(text)
                });
                let jobs: Vec<_> = jobs.collect();
                for (job, text) in jobs.iter().zip(&args[1..]) {
                    let name = text.split('<').next().unwrap_or_default();
                    self.names.insert(job.key, name.to_owned());
                }
                let sweep = args[0].trim_end_matches(':');
                let read_at = self.store.revision(sweep).await?;
                match (self.store)
                    .list_inspections(sweep, read_at, 1, jobs, now)
                    .await?
                {
                    true => "listed".to_owned(),
                    false => "as before".to_owned(),
                }
            }
            "due" => {
                let due = self.store.awaiting_inspection(None).await?;
                let mut names = vec![];
                for sweep in due {
                    names.push(self.store.status(&sweep.to_string()).await?.name);
                }
                names.join(" ")
            }
            "acquire" => {
                let leased = self
                    .acquire(args[0], args[1].parse().expect("a number"))
                    .await?;
                let show = |job: &Leased| {
                    let name = self.name(job.lease);
                    match (job.resume, job.resume_before) {
                        (Some(last), Some(before)) => {
                            format!("{name}+{}/{}", last.step, before.step)
                        }
                        (Some(last), None) => format!("{name}+{}", last.step),
                        (None, before) => {
                            assert_eq!(before, None, "before what?");
                            name
                        }
                    }
                };
                leased.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            "renew" => {
                let worker = self.worker(args[0]).await;
                let mut jobs = vec![];
                for text in &args[1..] {
                    let (text, checkpoint) = text.split_once('+').unwrap_or((text, ""));
                    let Lease { job, token, .. } = self.lease(text);
                    let checkpoint = self.checkpoint(checkpoint).await;
                    let step = checkpoint.map_or(7, |c| c.step + 1);
                    let live = Some(("val.accuracy".to_owned(), 0.5));
                    jobs.push(Progress {
                        job,
                        token,
                        step,
                        steps_per_sec: 2.0,
                        live,
                        checkpoint,
                    });
                }
                let answers = self.store.renew(worker, jobs, now, LEASE_SECS).await?;
                let show = |a: &Renewal| format!("{a:?}").to_lowercase();
                answers.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            "complete" => {
                let lease = self.lease(args[0]);
                let variant = args.get(1).map_or(0.0, |text| secs(text));
                let result = result(lease.job, variant);
                let by = Provenance::default();
                let recorded = self.store.complete(lease, result, by, now).await?;
                format!("{recorded:?}").to_lowercase()
            }
            "fail" => {
                let reason = FailureReason::from_name(args[1]).expect("a reason");
                let (lease, by) = (self.lease(args[0]), Provenance::default());
                match self
                    .store
                    .fail(lease, reason, "it broke".into(), by, now)
                    .await?
                {
                    true => "retry".to_owned(),
                    false => "failed".to_owned(),
                }
            }
            "release" => {
                let checkpoint = self.checkpoint(args.get(1).unwrap_or(&"")).await;
                self.store
                    .release(self.lease(args[0]), checkpoint, now)
                    .await?;
                String::new()
            }
            // WORKER LEASE…: those that it knows of.
            "recall" => {
                let held = args[1..].iter().map(|name| self.lease(name).token);
                let held = held.collect();
                let worker = self.worker(args[0]).await;
                self.store
                    .release_unheld(worker, held, now)
                    .await?
                    .to_string()
            }
            "wait" => {
                self.clock.advance_secs(secs(args[0]));
                String::new()
            }
            "expire" => {
                let expired = self.store.expire_due(now).await?;
                let show = |e: &Expired| {
                    let end = if e.will_retry { "" } else { "!" };
                    format!("{}@{}{end}", self.names[&e.job], e.attempt)
                };
                expired.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            "extend" => {
                let until = now.plus_secs(secs(args[0]));
                self.store.extend_running(until).await?.to_string()
            }
            "cancel" => self.store.cancel(args[0], now).await?.to_string(),
            "retry" => self.store.retry(args[0], now).await?.to_string(),
            "reopen" => {
                self.reopen().await;
                String::new()
            }
            "status" => show(&self.store.status(args[0]).await?),
            "failures" => {
                let status = self.store.status(args[0]).await?;
                let show =
                    |f: &FailedJob| format!("{} {} {}", self.names[&f.job], f.reason, f.message);
                status
                    .failed
                    .iter()
                    .map(show)
                    .collect::<Vec<_>>()
                    .join("; ")
            }
            other => panic!("the script says {other:?}"),
        })
    }

    async fn checkpoint(&self, step: &str) -> Option<Checkpoint> {
        let digest = self.upload(&format!("checkpoint {step}")).await;
        let step = step.parse().ok()?;
        Some(Checkpoint {
            step,
            digest,
            size_bytes: 3,
        })
    }
}

/// The job that a script writes as `b<a`.
fn named(text: &str) -> NewJob {
    let (name, inputs) = text.split_once('<').unwrap_or((text, ""));
    let inputs: Vec<_> = inputs.split(',').filter(|i| !i.is_empty()).collect();
    job(name, &inputs)
}

/// "pending=1 done=2 left=100", without zeros.
pub(super) fn show(status: &SweepStatus) -> String {
    let Counts {
        blocked,
        pending,
        running,
        done,
        failed,
        cancelled,
    } = status.counts;
    let mut text = String::new();
    for (name, count) in [
        ("blocked", blocked),
        ("pending", pending),
        ("running", running),
        ("done", done),
        ("failed", failed),
        ("cancelled", cancelled),
        ("diverged", status.diverged),
        ("left", status.steps_left),
    ] {
        if count > 0 {
            write!(text, "{name}={count} ").expect("to a string");
        }
    }
    text.trim_end().to_owned()
}

/// Runs a script; errors are answers too.
pub(super) async fn check(script: &str) {
    let mut world = World::new().await;
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (operation, expect) = line.split_once("=>").unwrap_or((line, ""));
        let actual = match world.run(operation).await {
            Ok(answer) => answer,
            Err(error) => format!("error: {error}"),
        };
        let expect = expect.trim();
        // An error's text is long; a script may quote its beginning.
        let as_expected = match expect.strip_suffix('…') {
            Some(start) => actual.starts_with(start),
            None => actual == expect,
        };
        assert!(
            as_expected,
            "{operation}\n  expected {expect}\n  but got  {actual}"
        );
    }
}

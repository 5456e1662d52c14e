//! A sweep's results on their way over gRPC: the same value at both ends.

use futures::{Stream, TryStreamExt};
use seedbed_proto::convert::{BadMessage, id, required};
use seedbed_proto::result::{FailureReason, JobPhase, Metric};
use seedbed_proto::v1;
use seedbed_proto::v1::results_chunk::Body;
use tonic::Status;

use super::convert::{all, known};
use crate::results::{Measured, Quantities, Run, SweepResults};

/// Metrics in one message; well below the largest message.
const METRICS_PER_CHUNK: usize = 16_384;

/// Results that did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The call failed.
    #[error("{}", .0.message())]
    Status(#[from] Status),
    /// A message breaks the contract.
    #[error("results: {0}")]
    Message(#[from] BadMessage),
    /// A JSON field is not readable.
    #[error("results: {field}: {source}")]
    Json {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The first message is no header.
    #[error("results: the stream does not open with its header")]
    NoHeader,
}

/// The messages: the header, then the runs.
pub fn encode(results: SweepResults) -> impl Iterator<Item = v1::ResultsChunk> + Send {
    let header = v1::ResultsHeader {
        sweep_id: results.sweep_id.to_string(),
        name: results.name,
        yaml: results.yaml,
        selections_json: results.selections.iter().map(json_text).collect(),
        provenance_json: json_text(&results.attempts),
        current_version: results.current,
    };
    let runs = results.runs.into_iter().map(|run| (run, false));
    let inspections = results.inspections.into_iter().map(|run| (run, true));
    let runs = runs
        .chain(inspections)
        .flat_map(|(run, inspection)| encode_run(run, inspection));
    std::iter::once(Body::Header(header))
        .chain(runs.map(Body::Run))
        .map(|body| v1::ResultsChunk { body: Some(body) })
}

fn json_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("domain types have string keys and finite numbers or null")
}

fn encode_run(run: Run, inspection: bool) -> impl Iterator<Item = v1::RunChunk> {
    let (reason, message) = run
        .failure
        .map_or((v1::FailureReason::Unspecified, String::new()), |(r, m)| {
            (r.into(), m)
        });
    let first = v1::RunChunk {
        ordinal: run.ordinal,
        job_key: run.key.to_string(),
        point_json: json_text(&run.point),
        phase: v1::JobPhase::from(run.phase).into(),
        reason: reason.into(),
        message,
        metrics: vec![],
        artifacts: run.artifacts.into_iter().map(Into::into).collect(),
        notes: run.notes.into_iter().map(Into::into).collect(),
        inspection,
    };
    let metrics = run.metrics.into_iter().map(Metric::from);
    let mut metrics = metrics.map(Into::into).peekable();
    let mut first = Some(first);
    std::iter::from_fn(move || {
        if first.is_none() && metrics.peek().is_none() {
            return None;
        }
        let mut chunk = first.take().unwrap_or_else(|| v1::RunChunk {
            ordinal: run.ordinal,
            inspection,
            ..v1::RunChunk::default()
        });
        chunk.metrics = metrics.by_ref().take(METRICS_PER_CHUNK).collect();
        Some(chunk)
    })
}

/// Puts the messages together again.
///
/// # Errors
/// If the call fails on the way, or a message breaks the contract.
pub async fn decode<S>(mut chunks: S) -> Result<SweepResults, ResultsError>
where
    S: Stream<Item = Result<v1::ResultsChunk, Status>> + Unpin,
{
    let Some(v1::ResultsChunk {
        body: Some(Body::Header(header)),
    }) = chunks.try_next().await?
    else {
        return Err(ResultsError::NoHeader);
    };
    let json = |field| move |source| ResultsError::Json { field, source };
    let mut results = SweepResults {
        sweep_id: id("sweep_id", &header.sweep_id)?,
        name: header.name,
        yaml: header.yaml,
        runs: vec![],
        inspections: vec![],
        selections: header
            .selections_json
            .iter()
            .map(|text| serde_json::from_str(text))
            .collect::<Result<_, _>>()
            .map_err(json("selections_json"))?,
        current: header.current_version,
        attempts: serde_json::from_str(&header.provenance_json).map_err(json("provenance_json"))?,
    };
    let mut known = Quantities::default();
    while let Some(chunk) = chunks.try_next().await? {
        let Body::Run(mut chunk) = required("body", chunk.body)? else {
            return Err(ResultsError::NoHeader);
        };
        let runs = match chunk.inspection {
            false => &mut results.runs,
            true => &mut results.inspections,
        };
        let metrics: Vec<Metric> = all(std::mem::take(&mut chunk.metrics))?;
        let metrics = metrics.into_iter().map(|metric| known.of(metric));
        match runs.last_mut() {
            Some(run) if run.ordinal == chunk.ordinal => run.metrics.extend(metrics),
            _ => {
                let metrics = metrics.collect();
                runs.push(decode_run(chunk, metrics)?);
            }
        }
    }
    Ok(results)
}

fn decode_run(chunk: v1::RunChunk, metrics: Vec<Measured>) -> Result<Run, ResultsError> {
    let phase = JobPhase::try_from(known("phase", chunk.phase, v1::JobPhase::try_from)?)?;
    let failure = match known("reason", chunk.reason, v1::FailureReason::try_from)? {
        v1::FailureReason::Unspecified => None,
        reason => Some((FailureReason::try_from(reason)?, chunk.message)),
    };
    Ok(Run {
        ordinal: chunk.ordinal,
        key: id("job_key", &chunk.job_key)?,
        point: serde_json::from_str(&chunk.point_json).map_err(|source| ResultsError::Json {
            field: "point_json",
            source,
        })?,
        phase,
        failure,
        metrics,
        artifacts: all(chunk.artifacts)?,
        notes: all(chunk.notes)?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::stream;
    use seedbed_proto::result::{Artifact, Note};
    use seedbed_proto::{BlobDigest, JobKey, SweepId};
    use serde_json::json;

    use super::*;
    use crate::results::{Attempt, Selection};

    fn run(ordinal: u64, metrics: u64) -> Run {
        Run {
            ordinal,
            key: JobKey::of(&ordinal.to_le_bytes()),
            point: BTreeMap::from([
                ("seed".into(), json!(ordinal)),
                ("init".into(), json!("scratch")),
            ]),
            phase: JobPhase::Done,
            failure: None,
            metrics: (0..metrics)
                .map(|s| Measured::of("val", s, "loss", s as f64 / 3.0))
                .collect(),
            artifacts: vec![Artifact {
                name: "curve.csv".into(),
                digest: BlobDigest::of(b"curve"),
                size_bytes: 5,
            }],
            notes: vec![Note::new("test_range_far", "no token for 362")],
        }
    }

    #[tokio::test]
    async fn results_are_the_same_at_both_ends() {
        let results = SweepResults {
            sweep_id: SweepId::new(),
            name: "quickstart".into(),
            yaml: "name: quickstart\n".into(),
            runs: vec![
                run(0, 3),
                run(1, 0),
                run(2, 2 * METRICS_PER_CHUNK as u64 + 1),
                Run {
                    phase: JobPhase::Failed,
                    failure: Some((FailureReason::NonFinite, "loss at step 3".into())),
                    artifacts: vec![],
                    ..run(3, 0)
                },
            ],
            inspections: vec![run(7, METRICS_PER_CHUNK as u64 + 1), run(9, 2)],
            selections: vec![Selection {
                version: 1,
                axis: "learning_rate".into(),
                by: "val.accuracy".into(),
                choices: vec![],
            }],
            current: Some(1),
            attempts: vec![Attempt {
                job_key: JobKey::of(b"x"),
                attempt: 1,
                outcome: "done".into(),
                message: String::new(),
                worker: "w".into(),
                provenance: None,
                started_at: "2026-01-01T00:00:00Z".into(),
                ended_at: None,
            }],
        };
        let chunks: Vec<_> = encode(results.clone()).collect();
        assert_eq!(
            chunks.len(),
            1 + 3 + 3 + 2 + 1,
            "a header, three short runs, one in three parts, two inspections"
        );
        let back = decode(stream::iter(chunks.into_iter().map(Ok))).await;
        assert_eq!(back.expect("readable"), results);
    }

    #[tokio::test]
    async fn results_that_break_off_are_no_results() {
        let check = async |chunks: Vec<Result<v1::ResultsChunk, Status>>, expect: &str| {
            let error = decode(stream::iter(chunks))
                .await
                .expect_err("must be refused");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(vec![], "header").await;
        check(vec![Err(Status::unavailable("gone away"))], "gone away").await;
        check(vec![Ok(v1::ResultsChunk::default())], "header").await;
    }
}

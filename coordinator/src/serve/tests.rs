//! A real server and a real client over a real socket.

mod growth;

use std::collections::BTreeMap;
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use seedbed_proto::job::{JobSpec, Work};
use seedbed_proto::result::{JobPhase, Metric};
use seedbed_proto::v1::sweep_service_client::SweepServiceClient;
use seedbed_proto::v1::worker_service_client::WorkerServiceClient;
use seedbed_proto::{BlobDigest, v1};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};

use super::{ServeError, Server, done_jobs};
use crate::cli::outputs;
use crate::config::ServeOptions;
use crate::rpc::results;

const SWEEP: &str = "
name: small
model: {base: base}
task: {name: ctxdm, template: T0, range: [0, 99]}
train: {steps: 20, batch: 16}
axes:
  seed: {count: 2}
  init: [pretrained, scratch]
  learning_rate: [5.0e-4]
";

const CONFIG: &str =
    r#"{"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 64, "vocab_size": 600}"#;

/// A coordinator with a folder of its own on a free port.
struct Bench {
    server: Server,
    options: ServeOptions,
    _dir: TempDir,
}

impl Bench {
    async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl FnOnce(&Path, &mut ServeOptions)) -> Self {
        // The first of the tests that run in this process installs it.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut options = ServeOptions::new(dir.path().join("state"));
        options.listen = "127.0.0.1:0".parse().expect("an address");
        change(dir.path(), &mut options);
        let server = Server::start(&options).await.expect("a free port");
        Self {
            server,
            options,
            _dir: dir,
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.server.url().to_owned()).expect("an address");
        endpoint.connect().await.expect("the server listens")
    }

    async fn worker(&self) -> Worker {
        let mut client = WorkerServiceClient::new(self.channel().await);
        let worker_id = seedbed_proto::WorkerId::new().to_string();
        let answer = client
            .register(v1::RegisterRequest {
                worker_id: worker_id.clone(),
                host: "here".into(),
                pid: 1,
                version: "test".into(),
                spec_versions: vec![seedbed_proto::job::SPEC_VERSION],
                capability: Some(v1::Capability {
                    device: "cpu".into(),
                    ops: vec!["fused".into(), "composite".into()],
                    dtypes: vec!["f32".into()],
                    ..v1::Capability::default()
                }),
                label: String::new(),
            })
            .await
            .expect("a new worker")
            .into_inner();
        assert!(answer.heartbeat_secs * 2.0 < answer.lease_secs);
        Worker { client, worker_id }
    }
}

/// The worker's side of the contract, without any training.
struct Worker {
    client: WorkerServiceClient<Channel>,
    worker_id: String,
}

impl Worker {
    async fn put(&mut self, bytes: &'static [u8]) -> (String, u64) {
        let digest = BlobDigest::of(bytes).to_string();
        let chunk = v1::BlobChunk {
            digest: digest.clone(),
            size_bytes: bytes.len() as u64,
            data: bytes.into(),
        };
        let answer = self.client.put_blob(futures::stream::iter([chunk])).await;
        answer.expect("the bytes are what was announced");
        (digest, bytes.len() as u64)
    }

    async fn acquire(&mut self, wait_secs: f64) -> v1::AcquireResponse {
        let request = v1::AcquireRequest {
            worker_id: self.worker_id.clone(),
            max_jobs: 1,
            wait_secs,
            ..v1::AcquireRequest::default()
        };
        let answer = self.client.acquire(request).await;
        answer.expect("a registered worker").into_inner()
    }

    async fn complete(&mut self, lease: v1::Lease, accuracy: f64) -> Result<bool, Code> {
        let metrics = [
            Metric::of("val", 20, "incongruent_accuracy", accuracy),
            Metric::of("test_iid", 20, "incongruent_accuracy", accuracy - 0.01),
        ];
        let (digest, size_bytes) = self.put(b"step,loss\n").await;
        let request = v1::CompleteRequest {
            lease: Some(lease),
            worker_id: self.worker_id.clone(),
            metrics: metrics.into_iter().map(Into::into).collect(),
            artifacts: vec![v1::Artifact {
                name: "curve.csv".into(),
                digest,
                size_bytes,
            }],
            provenance: Some(v1::Provenance::default()),
            notes: vec![v1::Note {
                place: "val".into(),
                reason: "too short for a fit".into(),
            }],
        };
        let answer = self.client.complete(request).await;
        answer
            .map(|a| a.into_inner().diverged)
            .map_err(|s| s.code())
    }
}

/// Uploads what the sweep names and submits it.
async fn submit(bench: &Bench, worker: &mut Worker, yaml: &str) -> v1::SubmitResponse {
    let mut files = BTreeMap::new();
    for (name, bytes) in [
        ("base/config.json", CONFIG.as_bytes()),
        ("base/model.safetensors", b"weights"),
        ("base/tokenizer.json", b"{}"),
        ("text.txt", b"1 and 2"),
    ] {
        let (digest, size_bytes) = worker.put(bytes).await;
        let name = name.to_owned();
        files.insert(
            name.clone(),
            v1::Artifact {
                name,
                digest,
                size_bytes,
            },
        );
    }
    let mut client = SweepServiceClient::new(bench.channel().await);
    let request = v1::SubmitRequest {
        file_name: "small.yaml".into(),
        yaml: yaml.into(),
        files: files.into_iter().collect(),
    };
    let answer = client.submit(request).await.expect("a good sweep");
    answer.into_inner()
}

#[tokio::test]
async fn a_sweep_goes_all_the_way_over_the_wire() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    let submitted = submit(&bench, &mut worker, SWEEP).await;
    assert_eq!((submitted.jobs, submitted.jobs_new), (4, 4));
    let again = submit(&bench, &mut worker, SWEEP).await;
    assert_eq!(
        (again.jobs, again.jobs_new, &again.sweep_id),
        (4, 0, &submitted.sweep_id)
    );

    let mut client = SweepServiceClient::new(bench.channel().await);
    let sweep = "small".to_owned();
    let watched = client
        .watch(v1::WatchRequest {
            sweep: sweep.clone(),
        })
        .await;
    let watched = watched.expect("the sweep is there").into_inner();
    let last = tokio::spawn(watched.try_fold(None, async |_, s| Ok(Some(s))));

    let results = |mut client: SweepServiceClient<Channel>| async move {
        let request = v1::ResultsRequest {
            sweep: "small".into(),
        };
        let chunks = client.results(request).await.expect("the sweep is there");
        results::decode(chunks.into_inner()).await.expect("whole")
    };
    for done in 0..4 {
        let mut answer = worker.acquire(5.0).await;
        let job = answer.jobs.pop().expect("there is work");
        let lease = job.lease.expect("a job comes with a lease");
        let key = lease.job_key.parse().expect("a key");
        let spec = JobSpec::from_json(&job.spec_json, key).expect("the spec is the key's");
        assert!(matches!(spec.work, Work::Train(_)));

        let renewed = worker
            .client
            .renew(v1::RenewRequest {
                worker_id: worker.worker_id.clone(),
                jobs: vec![v1::JobProgress {
                    job_key: lease.job_key.clone(),
                    token: lease.token.clone(),
                    step: 10,
                    steps_total: 20,
                    steps_per_sec: 5.0,
                    live_metric: "val.accuracy".into(),
                    live_value: 0.5,
                    checkpoint: None,
                }],
            })
            .await
            .expect("the lease is good")
            .into_inner();
        assert_eq!(renewed.orders[0].kind(), v1::OrderKind::Continue);
        let status = client
            .get(v1::GetRequest {
                sweep: sweep.clone(),
            })
            .await;
        let status = status.expect("the sweep is there").into_inner();
        assert_eq!(
            (status.done, status.running, status.steps_per_sec),
            (done, 1, 5.0)
        );

        assert_eq!(worker.complete(lease.clone(), 0.9).await, Ok(false));
        assert_eq!(
            worker.complete(lease.clone(), 0.9).await,
            Ok(false),
            "it may be said twice"
        );
        assert_eq!(
            worker.complete(lease, 0.8).await,
            Ok(true),
            "another result is kept aside"
        );
        if done < 3 {
            let results = results(client.clone()).await;
            assert!(results.selections.is_empty());
            let sealed = results
                .runs
                .iter()
                .flat_map(|r| &r.metrics)
                .all(|m| !m.is_test());
            assert!(sealed, "no test metric before a selection");
        }
    }
    let results = results(client.clone()).await;
    assert_eq!(results.runs.len(), 4);
    assert!(
        results
            .runs
            .iter()
            .all(|r| r.phase == JobPhase::Done && r.metrics.len() == 2)
    );
    assert_eq!(results.selections.len(), 1);
    assert_eq!(results.attempts.len(), 4);

    let last = last.await.expect("no panic").expect("no error");
    assert_eq!(
        last.map(|s| s.done),
        Some(4),
        "the watch ends with the sweep"
    );
    assert!(worker.acquire(0.0).await.jobs.is_empty());
    let all_done = async || {
        let done = done_jobs(&bench.options.state).await.expect("readable");
        assert!(results.runs.iter().all(|r| done.contains(&r.key)));
    };
    all_done().await;
    bench.server.stop().await;
    let before = contents(&bench.options.state);
    all_done().await;
    assert_eq!(contents(&bench.options.state), before, "nothing is touched");
}

/// Every file right in a folder.
fn contents(folder: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let entries = entries.map(|entry| entry.expect("readable"));
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .map(|f| (f.file_name(), std::fs::read(f.path()).expect("readable")))
        .collect()
}

#[tokio::test]
async fn a_base_that_a_sweep_made_can_be_taken_out() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    // Work that was there before, and is not this run's.
    submit(&bench, &mut worker, SWEEP).await;
    let yaml = "
name: base
model:
  pretrain: {corpus: [text.txt], vocab: 600, layers: 1, heads: 1, width: 8,
             positions: 16, context: 8, steps: 5, batch: 2, learning_rate: 1.0e-3}
";
    let submitted = submit(&bench, &mut worker, yaml).await;
    let coordinator = bench.server.coordinator();
    coordinator.only(submitted.sweep_id.parse().expect("an id"));
    let job = worker.acquire(5.0).await.jobs.pop().expect("there is work");
    assert!(
        job.spec_json.contains(r#""work":{"pretrain""#),
        "{}",
        job.spec_json
    );
    let lease = job.lease.expect("a job comes with a lease");
    assert_eq!(worker.complete(lease, 0.5).await, Ok(false));
    assert!(worker.acquire(0.0).await.jobs.is_empty(), "the rest waits");

    let models = coordinator
        .models("base")
        .await
        .expect("the sweep is there");
    let out = bench.options.state.join("out");
    let export = outputs::export_model(coordinator.artifacts(), &models[0], &out).await;
    export.expect("the files are there");
    let text = std::fs::read_to_string(out.join("curve.csv")).expect("it was written");
    assert_eq!(text, "step,loss\n");
}

#[tokio::test]
async fn an_idle_worker_gets_work_as_soon_as_there_is_some() {
    let bench = Bench::start().await;
    let (mut idle, mut other) = (bench.worker().await, bench.worker().await);
    let waiting = tokio::spawn(async move { idle.acquire(30.0).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    submit(&bench, &mut other, SWEEP).await;
    let soon = std::time::Duration::from_secs(1);
    let answer = tokio::time::timeout(soon, waiting).await.expect("at once");
    assert_eq!(answer.expect("no panic").jobs.len(), 1);

    bench.server.coordinator().drain();
    assert!(other.acquire(30.0).await.drain, "a drain ends the poll");
}

#[tokio::test]
async fn wrong_calls_say_what_to_do() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    let mut client = SweepServiceClient::new(bench.channel().await);

    let stale = v1::Lease {
        job_key: "0".repeat(64),
        token: seedbed_proto::LeaseToken::new().to_string(),
        attempt: 1,
        expires_in_secs: 0.0,
    };
    assert_eq!(worker.complete(stale, 0.5).await, Err(Code::Aborted));
    let nameless = v1::Lease::default();
    assert_eq!(
        worker.complete(nameless, 0.5).await,
        Err(Code::InvalidArgument)
    );

    let chunk = v1::BlobChunk {
        digest: BlobDigest::of(b"other").to_string(),
        size_bytes: 5,
        data: b"bytes".as_slice().into(),
    };
    let refused = worker.client.put_blob(futures::stream::iter([chunk])).await;
    assert_eq!(
        refused.expect_err("the hash is wrong").code(),
        Code::DataLoss
    );

    let request = v1::GetBlobRequest {
        digest: "0".repeat(64),
    };
    let refused = worker.client.get_blob(request).await;
    assert_eq!(refused.expect_err("there is none").code(), Code::NotFound);

    let bad = v1::SubmitRequest {
        file_name: "bad.yaml".into(),
        yaml: SWEEP.replace("steps: 20", "stepps: 20"),
        files: [].into(),
    };
    let refused = client.submit(bad).await.expect_err("a mistake");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("bad.yaml:5"),
        "{}",
        refused.message()
    );

    let unknown = v1::GetRequest {
        sweep: "nobody".into(),
    };
    let refused = client.get(unknown).await.expect_err("no such sweep");
    assert_eq!(refused.code(), Code::NotFound);
    let listed = client.list(v1::ListRequest {}).await.expect("it answers");
    assert!(listed.into_inner().sweeps.is_empty(), "nothing was stored");
}

#[tokio::test]
async fn blobs_come_back_as_they_went() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    let (digest, size) = worker.put(b"some bytes").await;
    let request = v1::GetBlobRequest {
        digest: digest.clone(),
    };
    let chunks = worker
        .client
        .get_blob(request)
        .await
        .expect("it is there")
        .into_inner();
    let chunks: Vec<_> = chunks.map(|c| c.expect("no error")).collect().await;
    assert_eq!((&chunks[0].digest, chunks[0].size_bytes), (&digest, size));
    let bytes: Vec<u8> = chunks.iter().flat_map(|c| c.data.to_vec()).collect();
    assert_eq!(bytes, b"some bytes");
}

#[tokio::test]
async fn what_cannot_serve_says_why_and_touches_nothing() {
    let bench = Bench::start().await;
    let error = Server::start(&bench.options)
        .await
        .err()
        .expect("the state is held");
    assert!(matches!(error, ServeError::State(_)), "{error}");
    assert!(error.to_string().contains(bench.server.url()), "{error}");

    let dir = tempfile::tempdir().expect("a temporary folder");
    let state = dir.path().join("state");
    let check = async |change: &dyn Fn(&mut ServeOptions), expect: &str| {
        let mut options = ServeOptions::new(state.clone());
        options.listen = "127.0.0.1:0".parse().expect("an address");
        change(&mut options);
        let error = Server::start(&options)
            .await
            .err()
            .expect("must be refused");
        assert!(error.to_string().contains(expect), "{error}");
        assert!(!state.exists(), "{error}");
    };
    let taken = bench.server.url().trim_start_matches("http://").to_owned();
    let taken = taken.parse().expect("an address");
    check(&|o| o.listen = taken, "is in use").await;
    check(
        &|o| o.listen.set_ip([0, 0, 0, 0].into()),
        "--tls DIR and --tokens FILE",
    )
    .await;
    check(&|o| o.tokens = Some("nowhere.toml".into()), "nowhere.toml").await;
    check(&|o| o.tls = Some("nowhere".into()), "nowhere/cert.pem").await;
}

#[tokio::test]
async fn with_tls_and_tokens_only_those_who_should_get_in() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let pem = made.cert.pem();
    let bench = Bench::with(|dir, options| {
        let write =
            |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("writable");
        write("cert.pem", &pem);
        write("key.pem", &made.signing_key.serialize_pem());
        write(
            "tokens.toml",
            "[[token]]\nrole = 'client'\nname = 'ada'\nsecret = 'ada-0123456789-secret'\n",
        );
        options.listen = "0.0.0.0:0".parse().expect("an address");
        options.tls = Some(dir.to_owned());
        options.tokens = Some(dir.join("tokens.toml"));
    })
    .await;
    let endpoint = Endpoint::from_shared(bench.server.local_url().to_owned()).expect("an address");

    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pem));
    let trusting = endpoint
        .clone()
        .tls_config(trusting)
        .expect("a certificate");
    let channel = trusting
        .connect()
        .await
        .expect("the certificate is trusted");
    let list = |token: Option<&str>| {
        let mut request = Request::new(v1::ListRequest {});
        if let Some(token) = token {
            let header = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", header);
        }
        let mut client = SweepServiceClient::new(channel.clone());
        async move { client.list(request).await.map(drop).map_err(|s| s.code()) }
    };
    assert_eq!(list(Some("ada-0123456789-secret")).await, Ok(()));
    assert_eq!(list(None).await, Err(Code::Unauthenticated));
    assert_eq!(
        list(Some("ada-0123456789-secreT")).await,
        Err(Code::Unauthenticated)
    );
    // Workers of this machine get a token of their own, and it is only theirs.
    let local = bench.server.local_token().expect("tokens are wanted");
    let local = std::fs::read_to_string(local).expect("readable");
    assert_eq!(list(Some(&local)).await, Err(Code::PermissionDenied));

    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("another");
    let doubting = Certificate::from_pem(stranger.cert.pem());
    let doubting = ClientTlsConfig::new().ca_certificate(doubting);
    let doubting = endpoint
        .clone()
        .tls_config(doubting)
        .expect("a certificate");
    assert!(
        doubting.connect().await.is_err(),
        "not the certificate that it trusts"
    );

    let plain = bench.server.local_url().replace("https", "http");
    let plain = Endpoint::from_shared(plain).expect("an address");
    if let Ok(channel) = plain.connect().await {
        let answer = SweepServiceClient::new(channel)
            .list(v1::ListRequest {})
            .await;
        assert!(answer.is_err(), "nothing is said in the clear");
    }
}

#[tokio::test]
async fn a_sweep_that_can_t_be_read_does_not_hide_the_others() {
    let bench = Bench::start().await;
    let mut worker = bench.worker().await;
    submit(&bench, &mut worker, SWEEP).await;
    let coordinator = bench.server.coordinator();
    let broken = crate::store::NewSweep {
        name: "broken".into(),
        yaml: "name: [".into(),
        files: BTreeMap::new(),
        inspects: true,
    };
    let now = crate::clock::Micros(1);
    let stored = coordinator
        .store()
        .submit_sweep(broken, Box::new(std::iter::empty()), now)
        .await;
    stored.expect("the store does not read it");
    let all = coordinator.list().await.expect("the others are there");
    let names: Vec<_> = all.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["small", "broken"]);
    assert!(coordinator.status("broken").await.is_err());
    assert!(coordinator.status("small").await.is_ok());
}

#[tokio::test]
async fn a_server_that_ended_by_itself_can_be_stopped() {
    let Bench {
        mut server, _dir, ..
    } = Bench::start().await;
    server.serving.abort();
    let why = server.ended().await;
    assert!(matches!(why, ServeError::Ended(_)), "{why}");
    server.stop().await;
}

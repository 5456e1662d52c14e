//! A coordinator that does what the test says.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use seedbed_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use seedbed_proto::{BlobDigest, v1};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// What the stub answers, and what it was told.
#[derive(Default)]
pub struct State {
    pub jobs: VecDeque<v1::Assignment>,
    pub drain: bool,
    /// The order that every renewed job gets.
    pub order: v1::OrderKind,
    /// Errors of the next calls of Complete, before it works.
    pub complete_errors: VecDeque<Status>,
    /// The token that it wants.
    pub token: Option<String>,
    /// Errors of the next calls of Acquire, before it works.
    pub acquire_errors: VecDeque<Status>,
    /// Forgets workers until they register again.
    pub forgetful: bool,
    pub blobs: BTreeMap<String, Vec<u8>>,

    pub registered: usize,
    pub acquires: Vec<v1::AcquireRequest>,
    pub checkpoints: Vec<v1::Checkpoint>,
    pub completes: Vec<v1::CompleteRequest>,
    pub fails: Vec<v1::FailRequest>,
    pub releases: Vec<v1::ReleaseRequest>,
}

pub struct Stub {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Stub {
    pub fn start(state: State) -> Self {
        let mut stub = Self {
            address: "127.0.0.1:0".parse().expect("an address"),
            state: Arc::new(Mutex::new(state)),
            runtime: None,
        };
        stub.restart();
        stub
    }

    /// Comes (back) to its address.
    pub fn restart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (tx, rx) = std::sync::mpsc::channel();
        let (address, api) = (self.address, Api(self.state.clone()));
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.expect("the port is free");
            tx.send(listener.local_addr().expect("bound"))
                .expect("awaited");
            tonic::transport::Server::builder()
                .add_service(WorkerServiceServer::new(api))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .expect("serves");
        });
        self.address = rx.recv().expect("listening");
        self.runtime = Some(runtime);
    }

    /// Is gone, connections and all, as after `kill -9`.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// Waits until the stub has been told what the test expects.
    pub async fn until(&self, what: &str, is_so: impl Fn(&State) -> bool) {
        for _ in 0..6000 {
            if is_so(&self.state()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain: {what}");
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone)]
struct Api(Arc<Mutex<State>>);

impl Api {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }

    fn enter<T>(&self, request: Request<T>) -> Result<T, Status> {
        let state = self.state();
        let given = request.metadata().get("authorization");
        let wanted = state.token.as_ref().map(|t| format!("Bearer {t}"));
        if wanted.is_some() && given.and_then(|g| g.to_str().ok()) != wanted.as_deref() {
            return Err(Status::unauthenticated("no such token"));
        }
        Ok(request.into_inner())
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl WorkerService for Api {
    async fn register(&self, r: Request<v1::RegisterRequest>) -> Answer<v1::RegisterResponse> {
        self.enter(r)?;
        self.state().registered += 1;
        self.state().forgetful = false;
        Ok(Response::new(v1::RegisterResponse {
            lease_secs: 2.0,
            heartbeat_secs: 0.05,
        }))
    }

    async fn acquire(&self, r: Request<v1::AcquireRequest>) -> Answer<v1::AcquireResponse> {
        let request = self.enter(r)?;
        let mut state = self.state();
        if state.forgetful {
            return Err(Status::not_found("who?"));
        }
        state.acquires.push(request);
        if let Some(error) = state.acquire_errors.pop_front() {
            return Err(error);
        }
        Ok(Response::new(v1::AcquireResponse {
            jobs: state.jobs.pop_front().into_iter().collect(),
            drain: state.drain,
        }))
    }

    async fn renew(&self, r: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        let request = self.enter(r)?;
        let mut state = self.state();
        let checkpoints = request.jobs.iter().filter_map(|j| j.checkpoint.clone());
        state.checkpoints.extend(checkpoints);
        let order = |job: v1::JobProgress| v1::Order {
            job_key: job.job_key,
            token: job.token,
            kind: state.order.into(),
        };
        Ok(Response::new(v1::RenewResponse {
            orders: request.jobs.into_iter().map(order).collect(),
            drain: state.drain,
        }))
    }

    async fn complete(&self, r: Request<v1::CompleteRequest>) -> Answer<v1::CompleteResponse> {
        let request = self.enter(r)?;
        let mut state = self.state();
        if let Some(error) = state.complete_errors.pop_front() {
            return Err(error);
        }
        let all_there = |a: &v1::Artifact| state.blobs.contains_key(&a.digest);
        if !request.artifacts.iter().all(all_there) {
            return Err(Status::failed_precondition("blobs are missing"));
        }
        state.completes.push(request);
        Ok(Response::new(Default::default()))
    }

    async fn fail(&self, r: Request<v1::FailRequest>) -> Answer<v1::FailResponse> {
        let request = self.enter(r)?;
        self.state().fails.push(request);
        Ok(Response::new(Default::default()))
    }

    async fn release(&self, r: Request<v1::ReleaseRequest>) -> Answer<v1::ReleaseResponse> {
        let request = self.enter(r)?;
        self.state().releases.push(request);
        Ok(Response::new(Default::default()))
    }

    async fn put_blob(&self, r: Request<Streaming<v1::BlobChunk>>) -> Answer<v1::PutBlobResponse> {
        let mut upload = self.enter(r)?;
        let mut named = String::new();
        let mut bytes = vec![];
        while let Some(chunk) = upload.message().await? {
            named.push_str(&chunk.digest);
            bytes.extend_from_slice(&chunk.data);
        }
        if BlobDigest::of(&bytes).to_string() != named {
            return Err(Status::data_loss("other bytes"));
        }
        let existed = self.state().blobs.insert(named, bytes).is_some();
        Ok(Response::new(v1::PutBlobResponse { existed }))
    }

    type GetBlobStream = BoxStream<'static, Result<v1::BlobChunk, Status>>;

    async fn get_blob(&self, r: Request<v1::GetBlobRequest>) -> Answer<Self::GetBlobStream> {
        let digest = self.enter(r)?.digest;
        let found = self.state().blobs.get(&digest).cloned();
        let bytes = found.ok_or_else(|| Status::not_found("no such blob"))?;
        let pieces: Vec<_> = bytes.chunks(3).map(<[u8]>::to_vec).collect();
        let chunk = |data: Vec<u8>| {
            Ok(v1::BlobChunk {
                data: data.into(),
                ..Default::default()
            })
        };
        Ok(Response::new(
            stream::iter(pieces.into_iter().map(chunk)).boxed(),
        ))
    }

    async fn has_blobs(&self, r: Request<v1::HasBlobsRequest>) -> Answer<v1::HasBlobsResponse> {
        let mut missing = self.enter(r)?.digests;
        let state = self.state();
        missing.retain(|digest| !state.blobs.contains_key(digest));
        Ok(Response::new(v1::HasBlobsResponse { missing }))
    }
}

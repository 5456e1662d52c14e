//! A coordinator in service: state folder, store, port, background work, stop.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use seedbed_proto::v1::sweep_service_server::SweepServiceServer;
use seedbed_proto::v1::worker_service_server::WorkerServiceServer;
use seedbed_proto::{FILE_DESCRIPTOR_SET, JobKey, MESSAGE_BYTES_MAX};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Server as GrpcServer, ServerTlsConfig};
use tower::layer::util::{Identity, Stack};

use crate::artifacts::{ArtifactError, Artifacts, Blobs};
use crate::auth::{AuthLayer, Role, Tokens, TokensError};
use crate::clock::SystemClock;
use crate::config::{BindRefused, ServeOptions};
use crate::rpc::{RpcError, SweepApi, WorkerApi};
use crate::service::Coordinator;
use crate::state_dir::{self, StateError, StateLock};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::tls::{self, TlsError};

/// The database in a state folder.
const DATABASE: &str = "seedbed.db";
/// How often leases are looked at.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// Time for open calls to end once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A connection that does not answer for so long is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Calls of one connection at a time; a worker has a handful.
const CALLS_PER_CONNECTION: u32 = 256;

/// A coordinator that cannot start, or ended by an error.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address would let anybody in.
    #[error(transparent)]
    Refused(#[from] BindRefused),
    /// The token file.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificate and key are no pair, or not what they should be.
    #[error("the certificate and key in {} cannot be used: {why}", dir.display())]
    Certificate {
        /// The folder of --tls.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The port is taken.
    #[error(
        "{address} is in use by another program: give --listen another port (`--listen 127.0.0.1:0` takes a free one)"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address can't be had for another reason.
    #[error("cannot listen on {address}: {source} (--listen takes another address)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stored files.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The first look at the database.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The local workers' token could not be kept.
    #[error("cannot write {}: {source}", path.display())]
    LocalToken {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("the server ended: {0}")]
    Ended(String),
}

/// Store and blobs of a state folder.
///
/// # Errors
/// If the database or the folder cannot be opened.
pub async fn open(state: &Path) -> Result<(Arc<dyn Store>, Artifacts), ServeError> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&state.join(DATABASE)).await?);
    let blobs = Blobs::open(&state.join("blobs"))?;
    let artifacts = Artifacts::new(Arc::clone(&store), blobs);
    Ok((store, artifacts))
}

/// A coordinator in service.
pub struct Server {
    coordinator: Arc<Coordinator>,
    url: String,
    local_url: String,
    local_token: Option<PathBuf>,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    expiring: JoinHandle<()>,
    // Released last, when nothing writes any more.
    _lock: StateLock,
}

impl Server {
    /// Starts one. Whatever is refused is refused before the state folder is
    /// touched.
    ///
    /// # Errors
    /// If an option is refused, the port or the state folder is taken, or the
    /// state cannot be opened.
    pub async fn start(options: &ServeOptions) -> Result<Self, ServeError> {
        options.check_bind()?;
        let tls = options.tls.as_deref().map(tls::server_config).transpose()?;
        let mut tokens = options.tokens.as_deref().map(Tokens::load).transpose()?;
        state_dir::refuse_if_held(&options.state)?;
        let listener = bind(options.listen).await?;
        let address = listener.local_addr().map_err(|source| ServeError::Bind {
            address: options.listen,
            source,
        })?;

        let mut lock = StateLock::take(&options.state)?;
        let local_token = match &mut tokens {
            Some(tokens) => Some(local_token(&options.state, tokens)?),
            None => None,
        };
        let (store, artifacts) = open(&options.state).await?;
        let stop = CancellationToken::new();
        let coordinator = Arc::new(Coordinator::new(
            store,
            artifacts,
            Arc::new(SystemClock),
            options.lease,
            options.heartbeat,
            stop.clone(),
        ));
        let running = coordinator.welcome_back().await?;
        coordinator.learn_growth().await?;
        let router = router(&coordinator, tls, tokens, options).await?;
        let serving = tokio::spawn(router.serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.clone().cancelled_owned(),
        ));
        let expiring = tokio::spawn(expire(Arc::clone(&coordinator), stop.clone()));

        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{address}");
        // A certificate names hosts, rarely addresses.
        let local_host = match (options.tls.is_some(), address.ip().is_unspecified()) {
            (true, _) => "localhost".to_owned(),
            (false, true) => "127.0.0.1".to_owned(),
            (false, false) => match address {
                SocketAddr::V4(a) => a.ip().to_string(),
                SocketAddr::V6(a) => format!("[{}]", a.ip()),
            },
        };
        let local_url = format!("{scheme}://{local_host}:{}", address.port());
        lock.announce(&local_url)?;
        tracing::info!(url, running, "serving");
        Ok(Self {
            coordinator,
            url,
            local_url,
            local_token,
            stop,
            serving,
            expiring,
            _lock: lock,
        })
    }

    /// The coordinator, for calls within the process.
    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    /// The address that it listens on.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address for callers on this machine.
    pub fn local_url(&self) -> &str {
        &self.local_url
    }

    /// File with a token for workers on this machine, if tokens are wanted.
    pub fn local_token(&self) -> Option<&Path> {
        self.local_token.as_deref()
    }

    /// Waits for the server to end by itself, which it does only by an error.
    pub async fn ended(&mut self) -> ServeError {
        match (&mut self.serving).await {
            Ok(Ok(())) => ServeError::Ended("without a reason".to_owned()),
            Ok(Err(error)) => ServeError::Ended(error.to_string()),
            Err(error) => ServeError::Ended(error.to_string()),
        }
    }

    /// Stops: long polls and streams end, other open calls may finish. Workers
    /// go on with what they have, and come back to the next coordinator.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // One that has ended by itself was waited for, and must not be again.
        if !self.serving.is_finished()
            && tokio::time::timeout(STOP_GRACE, &mut self.serving)
                .await
                .is_err()
        {
            tracing::warn!("open calls were cut off");
            self.serving.abort();
        }
        drop(self.expiring.await);
        self.coordinator.store().close().await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServeError::InUse { address },
            _ => ServeError::Bind { address, source },
        })
}

async fn expire(coordinator: Arc<Coordinator>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                coordinator.expire().await;
                coordinator.grow_all().await;
                coordinator.follow_up().await;
            }
        }
    }
}

/// The services with their limits, behind the check of tokens.
async fn router(
    coordinator: &Arc<Coordinator>,
    tls: Option<ServerTlsConfig>,
    tokens: Option<Tokens>,
    options: &ServeOptions,
) -> Result<Router<Stack<AuthLayer, Identity>>, ServeError> {
    let mut server = GrpcServer::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(Some(CALLS_PER_CONNECTION));
    if let Some(tls) = tls {
        server = server
            .tls_config(tls)
            .map_err(|error| ServeError::Certificate {
                dir: options.tls.clone().unwrap_or_default(),
                why: std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string),
            })?;
    }
    let workers = WorkerServiceServer::new(WorkerApi(Arc::clone(coordinator)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let sweeps = SweepServiceServer::new(SweepApi(Arc::clone(coordinator)))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were compiled with the program");
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_serving::<WorkerServiceServer<WorkerApi>>()
        .await;
    reporter.set_serving::<SweepServiceServer<SweepApi>>().await;
    Ok(server
        .layer(AuthLayer::new(tokens))
        .add_service(health)
        .add_service(reflection)
        .add_service(workers)
        .add_service(sweeps))
}

/// Lets workers of this machine in with a secret of their own. It outlives the
/// coordinator, because they do.
fn local_token(state: &Path, tokens: &mut Tokens) -> Result<PathBuf, ServeError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let path = state.join("local-worker.token");
    let secret = match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 32 => text.trim().to_owned(),
        _ => {
            let bytes: [u8; 32] = rand::random();
            let secret = seedbed_proto::BlobDigest::from_bytes(bytes).to_string();
            std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .and_then(|mut file| file.write_all(secret.as_bytes()))
                .map_err(|source| ServeError::LocalToken {
                    path: path.clone(),
                    source,
                })?;
            secret
        }
    };
    tokens.add(Role::Worker, "local".to_owned(), &secret);
    Ok(path)
}

/// Every job whose result is on record in a state folder; none if it holds no
/// database. Nothing is touched.
///
/// # Errors
/// If the database cannot be read.
pub async fn done_jobs(state: &Path) -> Result<BTreeSet<JobKey>, ServeError> {
    if !exists(state) {
        return Ok(BTreeSet::new());
    }
    Ok(SqliteStore::done_jobs(&state.join(DATABASE)).await?)
}

/// Whether a state folder holds a database; nothing is touched.
pub fn exists(state: &Path) -> bool {
    state.join(DATABASE).is_file()
}

#[cfg(test)]
mod tests;

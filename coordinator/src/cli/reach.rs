//! Where a command finds the sweeps: at a running coordinator, or straight in a
//! state folder in which none runs.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use seedbed_proto::{BlobDigest, v1};
use tokio_util::sync::CancellationToken;

use super::client::{self, Connection, explain};
use crate::artifacts::Artifacts;
use crate::cli::ClientArgs;
use crate::clock::SystemClock;
use crate::config::ServeOptions;
use crate::results::SweepResults;
use crate::service::Coordinator;
use crate::state_dir::{self, StateLock};
use crate::{rpc, serve};

/// The sweeps, wherever they are.
pub enum Reach {
    /// At a running coordinator.
    Remote(Connection),
    /// In a state folder, which is held meanwhile.
    Local(Local),
}

/// A state folder in which no coordinator runs.
pub struct Local {
    coordinator: Coordinator,
    _lock: StateLock,
}

impl Local {
    /// Opens a state folder that is there.
    ///
    /// # Errors
    /// If a coordinator works in it, or it cannot be read.
    pub async fn open(state: &Path) -> anyhow::Result<Self> {
        let lock = StateLock::take(state)?;
        let (store, artifacts) = serve::open(state).await?;
        let defaults = ServeOptions::new(state.to_owned());
        let coordinator = Coordinator::new(
            store,
            artifacts,
            Arc::new(SystemClock),
            defaults.lease,
            defaults.heartbeat,
            CancellationToken::new(),
        );
        Ok(Self {
            coordinator,
            _lock: lock,
        })
    }

    /// The blobs.
    pub fn artifacts(&self) -> &Artifacts {
        self.coordinator.artifacts()
    }

    /// Puts everything away.
    pub async fn close(self) {
        self.coordinator.store().close().await;
    }
}

impl Reach {
    /// The coordinator that was named, or that works in the state folder; else
    /// the state folder itself; else whoever answers at the default address.
    ///
    /// # Errors
    /// If nobody answers, or the folder cannot be read.
    pub async fn new(args: &ClientArgs, state: &Path) -> anyhow::Result<Self> {
        let named = args.coordinator.is_some() || state_dir::holder(state).is_some();
        if !named && serve::exists(state) {
            tracing::info!(state = %state.display(), "no coordinator runs; reading its state");
            return Ok(Self::Local(Local::open(state).await?));
        }
        Ok(Self::Remote(client::connect(args, state).await?))
    }

    /// Where a sweep stands.
    ///
    /// # Errors
    /// If there is no such sweep.
    pub async fn status(&self, sweep: &str) -> anyhow::Result<v1::SweepStatus> {
        match self {
            Self::Local(local) => Ok(local.coordinator.status(sweep).await?),
            Self::Remote(connection) => {
                let sweep = sweep.to_owned();
                let mut client = client::sweeps(connection.clone());
                let answer = client.get(v1::GetRequest { sweep }).await;
                Ok(answer.map_err(|s| explain(&s))?.into_inner())
            }
        }
    }

    /// Where every sweep stands.
    ///
    /// # Errors
    /// If the coordinator can't tell.
    pub async fn list(&self) -> anyhow::Result<Vec<v1::SweepStatus>> {
        match self {
            Self::Local(local) => Ok(local.coordinator.list().await?),
            Self::Remote(connection) => {
                let mut client = client::sweeps(connection.clone());
                let answer = client.list(v1::ListRequest {}).await;
                Ok(answer.map_err(|s| explain(&s))?.into_inner().sweeps)
            }
        }
    }

    /// Ends what is not done.
    ///
    /// # Errors
    /// If there is no such sweep.
    pub async fn cancel(&self, sweep: &str) -> anyhow::Result<u64> {
        match self {
            Self::Local(local) => Ok(local.coordinator.cancel(sweep).await?),
            Self::Remote(connection) => {
                let sweep = sweep.to_owned();
                let mut client = client::sweeps(connection.clone());
                let answer = client.cancel(v1::CancelRequest { sweep }).await;
                Ok(answer.map_err(|s| explain(&s))?.into_inner().cancelled)
            }
        }
    }

    /// Makes failed and cancelled jobs ready again.
    ///
    /// # Errors
    /// If there is no such sweep.
    pub async fn retry(&self, sweep: &str) -> anyhow::Result<u64> {
        match self {
            Self::Local(local) => Ok(local.coordinator.retry(sweep).await?),
            Self::Remote(connection) => {
                let sweep = sweep.to_owned();
                let mut client = client::sweeps(connection.clone());
                let answer = client.retry(v1::RetryRequest { sweep }).await;
                Ok(answer.map_err(|s| explain(&s))?.into_inner().retried)
            }
        }
    }

    /// All runs of a sweep.
    ///
    /// # Errors
    /// If there is no such sweep, or its results don't arrive whole.
    pub async fn results(&self, sweep: &str) -> anyhow::Result<SweepResults> {
        match self {
            Self::Local(local) => Ok(local.coordinator.results(sweep).await?),
            Self::Remote(connection) => {
                let sweep = sweep.to_owned();
                let mut client = client::sweeps(connection.clone());
                let answer = client.results(v1::ResultsRequest { sweep }).await;
                let chunks = answer.map_err(|s| explain(&s))?.into_inner();
                rpc::results::decode(chunks)
                    .await
                    .context("the results did not arrive")
            }
        }
    }

    /// The bytes of a stored file; nothing if it is not stored any more.
    ///
    /// # Errors
    /// If it can't be read, or does not arrive whole.
    pub async fn bytes(&self, digest: BlobDigest) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Local(local) => Ok(local.artifacts().find_bytes(digest).await?),
            Self::Remote(connection) => {
                let digest = digest.to_string();
                let mut client = client::blobs(connection.clone());
                let answer = client.get_blob(v1::GetBlobRequest { digest }).await;
                if let Err(status) = &answer
                    && status.code() == tonic::Code::NotFound
                {
                    return Ok(None);
                }
                let mut chunks = answer.map_err(|s| explain(&s))?.into_inner();
                let mut bytes = vec![];
                while let Some(chunk) = chunks.message().await.map_err(|s| explain(&s))? {
                    bytes.extend_from_slice(&chunk.data);
                }
                Ok(Some(bytes))
            }
        }
    }

    /// Puts everything away.
    pub async fn close(self) {
        if let Self::Local(local) = self {
            local.close().await;
        }
    }
}

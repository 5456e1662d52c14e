//! What researchers' clients ask.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use seedbed_proto::v1;
use seedbed_proto::v1::sweep_service_server::SweepService;
use tonic::{Request, Response, Status};

use super::results;
use crate::service::Coordinator;

/// The sweep service over a coordinator.
#[derive(Clone)]
pub struct SweepApi(pub Arc<Coordinator>);

#[tonic::async_trait]
impl SweepService for SweepApi {
    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        Ok(Response::new(self.0.submit(request.into_inner()).await?))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::SweepStatus>, Status> {
        let status = self.0.status(&request.into_inner().sweep).await?;
        Ok(Response::new(status))
    }

    async fn list(
        &self,
        _: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let sweeps = self.0.list().await?;
        Ok(Response::new(v1::ListResponse { sweeps }))
    }

    type WatchStream = BoxStream<'static, Result<v1::SweepStatus, Status>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let updates = Arc::clone(&self.0)
            .watch(&request.into_inner().sweep)
            .await?;
        Ok(Response::new(updates.map_err(Status::from).boxed()))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let cancelled = self.0.cancel(&request.into_inner().sweep).await?;
        Ok(Response::new(v1::CancelResponse { cancelled }))
    }

    async fn retry(
        &self,
        request: Request<v1::RetryRequest>,
    ) -> Result<Response<v1::RetryResponse>, Status> {
        let retried = self.0.retry(&request.into_inner().sweep).await?;
        Ok(Response::new(v1::RetryResponse { retried }))
    }

    type ResultsStream = BoxStream<'static, Result<v1::ResultsChunk, Status>>;

    async fn results(
        &self,
        request: Request<v1::ResultsRequest>,
    ) -> Result<Response<Self::ResultsStream>, Status> {
        let results = self.0.results(&request.into_inner().sweep).await?;
        let chunks = stream::iter(results::encode(results).map(Ok));
        Ok(Response::new(chunks.boxed()))
    }
}

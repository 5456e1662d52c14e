//! What workers ask.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use seedbed_proto::v1;
use seedbed_proto::v1::worker_service_server::WorkerService;
use tonic::{Request, Response, Status, Streaming};

use super::{RpcError, blobs};
use crate::service::Coordinator;

/// The worker service over a coordinator.
#[derive(Clone)]
pub struct WorkerApi(pub Arc<Coordinator>);

#[tonic::async_trait]
impl WorkerService for WorkerApi {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        Ok(Response::new(self.0.register(request.into_inner()).await?))
    }

    async fn acquire(
        &self,
        request: Request<v1::AcquireRequest>,
    ) -> Result<Response<v1::AcquireResponse>, Status> {
        Ok(Response::new(self.0.acquire(request.into_inner()).await?))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        Ok(Response::new(self.0.renew(request.into_inner()).await?))
    }

    async fn complete(
        &self,
        request: Request<v1::CompleteRequest>,
    ) -> Result<Response<v1::CompleteResponse>, Status> {
        Ok(Response::new(self.0.complete(request.into_inner()).await?))
    }

    async fn fail(
        &self,
        request: Request<v1::FailRequest>,
    ) -> Result<Response<v1::FailResponse>, Status> {
        Ok(Response::new(self.0.fail(request.into_inner()).await?))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        Ok(Response::new(self.0.release(request.into_inner()).await?))
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<v1::BlobChunk>>,
    ) -> Result<Response<v1::PutBlobResponse>, Status> {
        let (blob, bytes) = blobs::announced(request.into_inner()).await?;
        let existed = self.0.put_blob(blob, bytes).await?;
        Ok(Response::new(v1::PutBlobResponse { existed }))
    }

    type GetBlobStream = BoxStream<'static, Result<v1::BlobChunk, Status>>;

    async fn get_blob(
        &self,
        request: Request<v1::GetBlobRequest>,
    ) -> Result<Response<Self::GetBlobStream>, Status> {
        let digest = seedbed_proto::convert::id("digest", &request.into_inner().digest)
            .map_err(RpcError::from)?;
        let (size_bytes, bytes) = self.0.get_blob(digest).await?;
        let chunks = blobs::download(digest, size_bytes, bytes);
        Ok(Response::new(chunks.boxed()))
    }

    async fn has_blobs(
        &self,
        request: Request<v1::HasBlobsRequest>,
    ) -> Result<Response<v1::HasBlobsResponse>, Status> {
        Ok(Response::new(self.0.has_blobs(request.into_inner()).await?))
    }
}

//! Blob streams: pieces of at most 1 MiB, the first one with digest and size.

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use seedbed_proto::convert::{BadMessage, id};
use seedbed_proto::{BlobDigest, CHUNK_BYTES, v1};
use tonic::Status;

use super::RpcError;
use crate::artifacts::ArtifactError;
use crate::store::BlobInfo;

/// Splits an upload into what is announced and the bytes that follow.
pub async fn announced<S>(
    mut upload: S,
) -> Result<(BlobInfo, impl Stream<Item = Result<Bytes, Status>> + Send), RpcError>
where
    S: Stream<Item = Result<v1::BlobChunk, Status>> + Send + Unpin + 'static,
{
    let first = upload
        .try_next()
        .await
        .map_err(RpcError::Stream)?
        .ok_or(BadMessage::Missing("digest"))?;
    let blob = BlobInfo {
        digest: id("digest", &first.digest)?,
        size_bytes: first.size_bytes,
    };
    let rest = upload.map_ok(|chunk| chunk.data);
    Ok((blob, stream::iter([Ok(first.data)]).chain(rest)))
}

/// Makes a download of stored bytes.
pub fn download(
    digest: BlobDigest,
    size_bytes: u64,
    bytes: BoxStream<'static, Result<Bytes, ArtifactError>>,
) -> impl Stream<Item = Result<v1::BlobChunk, Status>> + Send + 'static {
    let head = v1::BlobChunk {
        digest: digest.to_string(),
        size_bytes,
        data: Bytes::new(),
    };
    let pieces = bytes
        .map_ok(|bytes| stream::iter(pieces(bytes).map(Ok)))
        .try_flatten();
    let tail = pieces.map_ok(|data| v1::BlobChunk {
        data,
        ..v1::BlobChunk::default()
    });
    stream::iter([Ok(head)])
        .chain(tail)
        .map_err(|error: ArtifactError| RpcError::from(error).into())
}

fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(CHUNK_BYTES)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_download_comes_in_pieces_and_is_an_upload_again() {
        for size in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let bytes: Bytes = (0..size).map(|i| i as u8).collect();
            let digest = BlobDigest::of(&bytes);
            let stored = stream::iter([Ok(bytes.clone())]).boxed();
            let sent: Vec<_> = download(digest, size as u64, stored)
                .try_collect()
                .await
                .expect("all there");
            assert!(sent.iter().all(|chunk| chunk.data.len() <= CHUNK_BYTES));

            let upload = stream::iter(sent.into_iter().map(Ok));
            let (blob, rest) = announced(upload).await.expect("a first message");
            assert_eq!((blob.digest, blob.size_bytes), (digest, size as u64));
            let back: Vec<Bytes> = rest.try_collect().await.expect("all there");
            assert_eq!(back.concat(), bytes);
        }
    }

    #[tokio::test]
    async fn an_upload_without_a_name_is_refused() {
        let check = async |chunks: Vec<v1::BlobChunk>, expect: &str| {
            let upload = stream::iter(chunks.into_iter().map(Ok));
            let error = announced(upload).await.err().expect("must be refused");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(vec![], "digest: missing").await;
        check(vec![v1::BlobChunk::default()], "not a blob digest").await;
    }
}

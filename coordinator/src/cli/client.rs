//! A connection to a running coordinator, for the client commands.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use seedbed_proto::MESSAGE_BYTES_MAX;
use seedbed_proto::v1::sweep_service_client::SweepServiceClient;
use seedbed_proto::v1::worker_service_client::WorkerServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::cli::ClientArgs;
use crate::config::LISTEN_DEFAULT;
use crate::{state_dir, sweep};

/// A channel that sends the client's token with every call.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Puts the token into the `authorization` header.
#[derive(Debug, Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// The address to call: the one that was given, that of the coordinator that
/// works in the state folder, or the default.
pub fn address(args: &ClientArgs, state: &Path) -> String {
    let running = || state_dir::holder(state).map(|h| h.url);
    args.coordinator
        .clone()
        .or_else(running)
        .unwrap_or_else(|| format!("http://{LISTEN_DEFAULT}"))
}

/// Connects.
///
/// # Errors
/// If the address is malformed, a file cannot be read, or nobody answers.
pub async fn connect(args: &ClientArgs, state: &Path) -> anyhow::Result<Connection> {
    let url = address(args, state);
    let mut endpoint = Endpoint::from_shared(url.clone())
        .with_context(|| format!("{url:?} is not an address (expected http://HOST:PORT)"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    if url.starts_with("https://") {
        let Some(path) = &args.ca else {
            bail!("{url} speaks TLS: give --ca FILE, the certificate to trust it by");
        };
        let pem = std::fs::read(path)
            .with_context(|| format!("cannot read the certificate {}", path.display()))?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint
            .tls_config(tls)
            .with_context(|| format!("{} is not a PEM certificate", path.display()))?;
    } else if args.ca.is_some() {
        bail!("--ca needs an https:// address, got {url}");
    }
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let channel = endpoint.connect().await.with_context(|| {
        format!(
            "no coordinator answers at {url}: start one with `coordinator serve`, or name it with --coordinator"
        )
    })?;
    Ok(InterceptedService::new(channel, Bearer(token)))
}

/// A client of the sweep service.
pub fn sweeps(connection: Connection) -> SweepServiceClient<Connection> {
    SweepServiceClient::new(connection)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A client of the worker service, of which clients use the blob calls.
pub fn blobs(connection: Connection) -> WorkerServiceClient<Connection> {
    WorkerServiceClient::new(connection)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// What the coordinator said of a call that failed, for people.
pub fn explain(status: &Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

/// The name of a sweep that was given by name, id or file.
///
/// # Errors
/// If it is a file with mistakes.
pub fn sweep_name(given: &str) -> anyhow::Result<String> {
    let path = Path::new(given);
    let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    if !yaml {
        return Ok(given.to_owned());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {given}"))?;
    Ok(sweep::parse(given, &text)?.name)
}

fn read_token(path: &Path) -> anyhow::Result<MetadataValue<Ascii>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token file {}", path.display()))?;
    let mut header: MetadataValue<Ascii> = format!("Bearer {}", text.trim())
        .parse()
        .with_context(|| format!("{} holds no token: one line of text", path.display()))?;
    header.set_sensitive(true);
    Ok(header)
}

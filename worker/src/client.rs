//! Calls to the coordinator, and what their errors tell the worker to do.
//!
//! Two connections: one for heartbeats and orders, one for blobs, so that a
//! gigabyte on its way never delays a heartbeat. Both connect on demand and again
//! after an outage.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use seedbed_proto::MESSAGE_BYTES_MAX;
use seedbed_proto::v1;
use seedbed_proto::v1::worker_service_client::WorkerServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::Server;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Longest wait for the answer to a call that does not wait for work.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Longest wait between two attempts at a call.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Attempts at a transfer whose bytes do not hash to their name.
const DAMAGED_MAX: usize = 3;

/// What a failed call means: the retry rule of the contract.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Call again later.
    #[error("{0}")]
    Unavailable(String),
    /// The lease is gone: drop the job.
    #[error("the lease is gone: {0}")]
    Aborted(String),
    /// Stop: the token is wrong.
    #[error("the coordinator refuses this worker's token: {0}; check --token-file")]
    Unauthorised(String),
    /// The coordinator does not know the worker, or lacks the blob.
    #[error("not found: {0}")]
    NotFound(String),
    /// Bytes were damaged on their way; the call may be made again.
    #[error("damaged on the way: {0}")]
    Damaged(String),
    /// A bug or a version mismatch: do not call again.
    #[error("refused ({code:?}): {message}")]
    Refused {
        /// The status code.
        code: Code,
        /// What the coordinator said.
        message: String,
    },
    /// A local file can't be read or written.
    #[error("{0}")]
    Local(String),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        let message = describe(&status);
        // A status that was made on this side carries its cause: the transport broke.
        let broken = std::error::Error::source(&status).is_some();
        match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Cancelled => Self::Unavailable(message),
            Code::Unknown | Code::Internal if broken => Self::Unavailable(message),
            Code::Aborted => Self::Aborted(message),
            Code::Unauthenticated | Code::PermissionDenied => Self::Unauthorised(message),
            Code::NotFound => Self::NotFound(message),
            Code::DataLoss => Self::Damaged(message),
            code @ (Code::Ok
            | Code::Unknown
            | Code::Internal
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented) => Self::Refused { code, message },
        }
    }
}

/// The message with the innermost cause: "transport error" alone helps nobody.
fn describe(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error.to_string());
        cause = error.source();
    }
    match last {
        Some(last) if last != status.message() => format!("{}: {last}", status.message()),
        _ => status.message().to_owned(),
    }
}

/// When the coordinator last answered.
#[derive(Debug)]
pub struct Contact {
    state: Mutex<ContactState>,
}

#[derive(Debug)]
struct ContactState {
    last: Instant,
    /// Whether there has ever been an answer.
    there: bool,
    /// The error of the last call, while there is none.
    cause: Option<String>,
}

impl Contact {
    fn new() -> Self {
        Self {
            state: Mutex::new(ContactState {
                last: Instant::now(),
                there: false,
                cause: None,
            }),
        }
    }

    /// How long the coordinator has been silent.
    pub fn silence(&self) -> Duration {
        let state = self.state.lock().expect("no panic while held");
        state.last.elapsed()
    }

    fn answered(&self) {
        let mut state = self.state.lock().expect("no panic while held");
        if state.there && state.cause.is_some() {
            let secs = state.last.elapsed().as_secs();
            tracing::info!("the coordinator answers again after {secs} s");
        }
        *state = ContactState {
            last: Instant::now(),
            there: true,
            cause: None,
        };
    }

    /// Waits until the coordinator has been silent for so long.
    pub async fn silent_for(&self, most: Duration) {
        while let Some(left) = most.checked_sub(self.silence()).filter(|l| !l.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }

    /// Whether there has ever been an answer.
    pub fn was_there(&self) -> bool {
        self.state.lock().expect("no panic while held").there
    }

    /// Why the last call had no answer.
    pub fn cause(&self) -> String {
        let state = self.state.lock().expect("no panic while held");
        state.cause.clone().unwrap_or_else(|| "no answer".into())
    }

    fn failed(&self, url: &str, cause: &str) {
        let mut state = self.state.lock().expect("no panic while held");
        if state.cause.is_none() {
            tracing::warn!("no answer from the coordinator at {url} ({cause}); trying again");
        }
        state.cause = Some(cause.to_owned());
    }
}

/// Adds the bearer token.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub(crate) type Rpc = WorkerServiceClient<InterceptedService<Channel, Bearer>>;

/// The coordinator, as the worker sees it. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    url: Arc<str>,
    control: Rpc,
    pub(crate) bulk: Rpc,
    contact: Arc<Contact>,
}

/// A client that can't be made.
#[derive(Debug, thiserror::Error)]
#[error("can't set up a connection to {url}: {cause}")]
pub struct ClientError {
    url: String,
    cause: String,
}

impl Client {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// If address, certificate or token can't be used.
    pub fn new(server: &Server) -> Result<Self, ClientError> {
        let bad = |cause: String| ClientError {
            url: server.url.clone(),
            cause,
        };
        let bearer = server.token.as_ref().map(|t| format!("Bearer {t}").parse());
        let mut bearer: Option<MetadataValue<Ascii>> = bearer
            .transpose()
            .map_err(|_| bad("the token is not plain text".into()))?;
        if let Some(value) = &mut bearer {
            value.set_sensitive(true);
        }
        let channel = || -> Result<Rpc, ClientError> {
            let endpoint = endpoint(server).map_err(|e| bad(describe_error(&e)))?;
            let bearer = Bearer(bearer.clone());
            Ok(
                WorkerServiceClient::with_interceptor(endpoint.connect_lazy(), bearer)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX),
            )
        };
        Ok(Self {
            url: server.url.as_str().into(),
            control: channel()?,
            bulk: channel()?,
            contact: Arc::new(Contact::new()),
        })
    }

    /// The coordinator's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// When the coordinator last answered.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Makes the worker known. One attempt.
    ///
    /// # Errors
    /// By the retry rule.
    pub async fn register(
        &self,
        request: &v1::RegisterRequest,
    ) -> Result<v1::RegisterResponse, CallError> {
        let mut rpc = self.control.clone();
        self.once(CALL_MAX, rpc.register(request.clone())).await
    }

    /// Asks for work. One attempt.
    ///
    /// # Errors
    /// By the retry rule.
    pub async fn acquire(
        &self,
        request: v1::AcquireRequest,
    ) -> Result<v1::AcquireResponse, CallError> {
        let wait = Duration::from_secs_f64(request.wait_secs);
        let mut rpc = self.control.clone();
        self.once(wait + CALL_MAX, rpc.acquire(request)).await
    }

    /// One heartbeat; the next one is its retry.
    ///
    /// # Errors
    /// By the retry rule.
    pub async fn renew(
        &self,
        request: v1::RenewRequest,
        answer_max: Duration,
    ) -> Result<v1::RenewResponse, CallError> {
        let mut rpc = self.control.clone();
        self.once(answer_max, rpc.renew(request)).await
    }

    /// Records a result, calling until there is an answer.
    ///
    /// # Errors
    /// By the retry rule; never `Unavailable`.
    pub async fn complete(
        &self,
        request: &v1::CompleteRequest,
    ) -> Result<v1::CompleteResponse, CallError> {
        self.until_answered(|| async {
            let mut rpc = self.control.clone();
            self.once(CALL_MAX, rpc.complete(request.clone())).await
        })
        .await
    }

    /// Reports a failure, calling until there is an answer.
    ///
    /// # Errors
    /// By the retry rule; never `Unavailable`.
    pub async fn fail(&self, request: &v1::FailRequest) -> Result<v1::FailResponse, CallError> {
        self.until_answered(|| async {
            let mut rpc = self.control.clone();
            self.once(CALL_MAX, rpc.fail(request.clone())).await
        })
        .await
    }

    /// Gives a job back, calling until there is an answer.
    ///
    /// # Errors
    /// By the retry rule; never `Unavailable`.
    pub async fn release(&self, request: &v1::ReleaseRequest) -> Result<(), CallError> {
        self.until_answered(|| async {
            let mut rpc = self.control.clone();
            self.once(CALL_MAX, rpc.release(request.clone())).await
        })
        .await
        .map(|_: v1::ReleaseResponse| ())
    }

    /// One attempt, at most `answer_max` long, noted in the contact.
    pub(crate) async fn once<T>(
        &self,
        answer_max: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, CallError> {
        let answer = match tokio::time::timeout(answer_max, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        self.noted(answer.map_err(CallError::from))
    }

    /// Notes in the contact whether the coordinator answered.
    pub(crate) fn noted<T>(&self, answer: Result<T, CallError>) -> Result<T, CallError> {
        match &answer {
            Err(CallError::Unavailable(cause)) => self.contact.failed(&self.url, cause),
            Err(CallError::Local(_)) => {}
            Ok(_) | Err(_) => self.contact.answered(),
        }
        answer
    }

    /// Calls again, with back-off, until there is an answer. Who must not wait for
    /// ever drops the future.
    pub(crate) async fn until_answered<T, F, Fut>(&self, call: F) -> Result<T, CallError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, CallError>>,
    {
        // Bytes that are damaged where they are stored stay so: no endless retry.
        let mut damaged = 0;
        let again = |error: &CallError| match error {
            CallError::Unavailable(_) => true,
            CallError::Damaged(_) => {
                damaged += 1;
                damaged < DAMAGED_MAX
            }
            _ => false,
        };
        call.retry(backoff()).when(again).await
    }
}

/// Pauses between attempts: short at first (a coordinator restarts in a second),
/// never long, and spread so that many workers do not come back at once.
pub fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(PAUSE_MAX)
        .with_factor(1.7)
        .without_max_times()
        .with_jitter()
}

fn endpoint(server: &Server) -> Result<Endpoint, tonic::transport::Error> {
    let mut endpoint = Endpoint::from_shared(server.url.clone())?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(20)))
        // A peer that vanished without a word (power, network) is noticed by this.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10));
    if let Some(pem) = &server.ca_pem {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls)?;
    }
    Ok(endpoint)
}

fn describe_error(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Status, expect: &str) {
        let code = status.code();
        let error = format!("{:?}", CallError::from(status));
        assert!(error.starts_with(expect), "{code:?}: {error}");
    }

    #[test]
    fn each_code_tells_what_to_do() {
        for (code, expect) in [
            (Code::Unavailable, "Unavailable"),
            (Code::DeadlineExceeded, "Unavailable"),
            (Code::ResourceExhausted, "Unavailable"),
            (Code::Aborted, "Aborted"),
            (Code::Unauthenticated, "Unauthorised"),
            (Code::PermissionDenied, "Unauthorised"),
            (Code::NotFound, "NotFound"),
            (Code::DataLoss, "Damaged"),
            (Code::Internal, "Refused"),
            (Code::InvalidArgument, "Refused"),
            (Code::FailedPrecondition, "Refused"),
            (Code::Unimplemented, "Refused"),
        ] {
            check(Status::new(code, "because"), expect);
        }
    }

    #[test]
    fn a_broken_transport_is_called_again_and_its_cause_is_told() {
        let cause = std::io::Error::other("the wire was cut");
        let status = Status::from_error(Box::new(cause));
        assert!(describe(&status).contains("the wire was cut"));
        check(status, "Unavailable");
    }

    #[tokio::test]
    async fn damage_is_not_retried_for_ever() {
        let server = Server {
            url: "http://127.0.0.1:1".into(),
            ca_pem: None,
            token: None,
        };
        let client = Client::new(&server).expect("an address");
        let mut calls = 0;
        let answer = client
            .until_answered(|| {
                calls += 1;
                async { Err::<(), _>(CallError::Damaged("x".into())) }
            })
            .await;
        assert!(matches!(answer, Err(CallError::Damaged(_))));
        assert_eq!(calls, DAMAGED_MAX);
    }
}

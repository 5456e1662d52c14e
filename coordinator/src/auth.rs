//! Who may call what: bearer tokens with a role, checked before any handler.
//!
//! Without a token file every call is open; `config::check_bind` sees to it that
//! this happens on loopback only, or on a person's explicit word.

use std::collections::BTreeSet;
use std::future::{Ready, ready};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, header};

/// Shortest secret that is taken: a guess at fewer bytes could succeed.
const SECRET_BYTES_MIN: usize = 16;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes jobs and delivers results.
    Worker,
    /// Submits sweeps and reads results.
    Client,
    /// Everything.
    Admin,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}

/// A token file that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the token file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error(
        "token file {path}: {problem} (expected: [[token]] with role = \"worker\" | \"client\" | \"admin\", name, secret)"
    )]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The tokens that open this coordinator.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Token>);

/// Only the hash of a secret is kept, so that neither a log line nor a core dump
/// gives it away, and so that all of them compare in equal time.
#[derive(Debug)]
struct Token {
    role: Role,
    name: String,
    secret_hash: [u8; 32],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    #[serde(default)]
    token: Vec<TokenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    role: Role,
    name: String,
    secret: String,
}

impl Tokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// If it cannot be read, is malformed or empty, or holds a weak secret.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let text = std::fs::read_to_string(path).map_err(|source| TokensError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|problem| TokensError::Bad {
            path: path.to_owned(),
            problem,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The parser's own message would quote the line, secret and all.
        let file: TokenFile =
            toml::from_str(text).map_err(|e| format!("not readable: {}", e.message()))?;
        if file.token.is_empty() {
            return Err("it holds no token".to_owned());
        }
        let mut names = BTreeSet::new();
        let mut tokens = Self::default();
        for entry in file.token {
            if !names.insert(entry.name.clone()) {
                return Err(format!("two tokens are named {:?}", entry.name));
            }
            if entry.secret.len() < SECRET_BYTES_MIN {
                return Err(format!(
                    "the secret of {:?} is shorter than {SECRET_BYTES_MIN} bytes",
                    entry.name
                ));
            }
            tokens.add(entry.role, entry.name, &entry.secret);
        }
        Ok(tokens)
    }

    /// Lets one more token in.
    pub fn add(&mut self, role: Role, name: String, secret: &str) {
        self.0.push(Token {
            role,
            name,
            secret_hash: *blake3::hash(secret.as_bytes()).as_bytes(),
        });
    }

    /// Looks at every token, so that the time taken says nothing about which one
    /// it was, or how much of it was right.
    fn find(&self, secret: &str) -> Option<&Token> {
        let hash = blake3::hash(secret.as_bytes());
        let mut found = Choice::from(0);
        let mut index = 0u64;
        for (i, token) in self.0.iter().enumerate() {
            let same = token.secret_hash.ct_eq(hash.as_bytes());
            index.conditional_assign(&(i as u64), same);
            found |= same;
        }
        bool::from(found).then(|| &self.0[index as usize])
    }

    /// Whether a call to `path` ("/seedbed.v1.SweepService/Get") with this
    /// `authorization` header may go on.
    ///
    /// # Errors
    /// UNAUTHENTICATED without a known token, PERMISSION_DENIED with one of the
    /// wrong role.
    pub fn check(&self, path: &str, authorization: Option<&str>) -> Result<(), Status> {
        let roles = match access(path) {
            Access::Open => return Ok(()),
            Access::Roles(roles) => roles,
        };
        let secret = authorization
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| {
                Status::unauthenticated("this coordinator wants a token: give --token-file")
            })?;
        let token = self.find(secret.trim()).ok_or_else(|| {
            Status::unauthenticated("the token is not one of this coordinator's token file")
        })?;
        if token.role == Role::Admin || roles.contains(&token.role) {
            return Ok(());
        }
        let needed: Vec<_> = roles.iter().map(|r| r.name()).collect();
        Err(Status::permission_denied(format!(
            "token {:?} has the role {}; {path} needs {}",
            token.name,
            token.role.name(),
            if needed.is_empty() {
                "admin".to_owned()
            } else {
                needed.join(" or ")
            },
        )))
    }
}

/// Who may call a method, besides an admin.
#[derive(Debug, PartialEq, Eq)]
enum Access {
    /// Anyone, without a token: probes of an orchestrator have none.
    Open,
    /// These roles.
    Roles(&'static [Role]),
}

fn access(path: &str) -> Access {
    let (service, method) = path
        .strip_prefix('/')
        .and_then(|p| p.split_once('/'))
        .unwrap_or(("", ""));
    match (service, method) {
        ("grpc.health.v1.Health", _) => Access::Open,
        // A client uploads the files that a sweep names, and downloads artifacts.
        ("seedbed.v1.WorkerService", "PutBlob" | "GetBlob" | "HasBlobs") => {
            Access::Roles(&[Role::Worker, Role::Client])
        }
        ("seedbed.v1.WorkerService", _) => Access::Roles(&[Role::Worker]),
        ("seedbed.v1.SweepService", _) => Access::Roles(&[Role::Client]),
        ("grpc.reflection.v1.ServerReflection", _) => Access::Roles(&[Role::Worker, Role::Client]),
        _ => Access::Roles(&[]),
    }
}

/// Puts the check before every service of a server.
#[derive(Debug, Clone)]
pub struct AuthLayer(Option<Arc<Tokens>>);

impl AuthLayer {
    /// Checks against these tokens; `None` leaves every call open.
    pub fn new(tokens: Option<Tokens>) -> Self {
        Self(tokens.map(Arc::new))
    }
}

impl<S> tower::Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService {
            inner,
            tokens: self.0.clone(),
        }
    }
}

/// A service behind the check.
#[derive(Debug, Clone)]
pub struct AuthService<S> {
    inner: S,
    tokens: Option<Arc<Tokens>>,
}

impl<S, B> tower::Service<Request<B>> for AuthService<S>
where
    S: tower::Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verdict = self.tokens.as_ref().map_or(Ok(()), |tokens| {
            let header = request.headers().get(header::AUTHORIZATION);
            tokens.check(request.uri().path(), header.and_then(|h| h.to_str().ok()))
        });
        match verdict {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const FILE: &str = r#"
        [[token]]
        role = "worker"
        name = "cluster"
        secret = "worker-secret-0123"
        [[token]]
        role = "client"
        name = "ada"
        secret = "client-secret-0123"
        [[token]]
        role = "admin"
        name = "root"
        secret = "admin-secret-01234"
    "#;

    #[test]
    fn each_role_opens_its_own_methods() {
        let tokens = Tokens::parse(FILE).expect("a good file");
        let check = |path: &str, secret: &str, expect: Result<(), Code>| {
            let header = format!("Bearer {secret}");
            let header = (!secret.is_empty()).then_some(header.as_str());
            let verdict = tokens.check(path, header).map_err(|s| s.code());
            assert_eq!(verdict, expect, "{path} with {secret:?}");
        };
        let (worker, client, admin) = (
            "worker-secret-0123",
            "client-secret-0123",
            "admin-secret-01234",
        );
        let (unknown, denied) = (Err(Code::Unauthenticated), Err(Code::PermissionDenied));
        for (path, by_worker, by_client) in [
            ("/seedbed.v1.WorkerService/Acquire", Ok(()), denied),
            ("/seedbed.v1.WorkerService/Complete", Ok(()), denied),
            ("/seedbed.v1.WorkerService/PutBlob", Ok(()), Ok(())),
            ("/seedbed.v1.WorkerService/HasBlobs", Ok(()), Ok(())),
            ("/seedbed.v1.SweepService/Submit", denied, Ok(())),
            ("/seedbed.v1.SweepService/Results", denied, Ok(())),
            ("/somebody.Elses/Method", denied, denied),
            ("not a path", denied, denied),
        ] {
            check(path, worker, by_worker);
            check(path, client, by_client);
            check(path, admin, Ok(()));
            check(path, "", unknown);
            check(path, "worker-secret-0124", unknown);
        }
        check("/grpc.health.v1.Health/Check", "", Ok(()));
    }

    #[test]
    fn a_bad_token_file_is_refused_without_telling_its_secrets() {
        let check = |text: &str, expect: &str| {
            let problem = Tokens::parse(text).expect_err("must be refused");
            assert!(problem.contains(expect), "{problem}");
            assert!(!problem.contains("hunter2"), "{problem}");
        };
        check("", "no token");
        check(
            "[[token]]\nrole='boss'\nname='a'\nsecret='hunter2hunter2hunter2'",
            "boss",
        );
        check(
            "[[token]]\nrole='admin'\nname='a'\nsecret='hunter2'",
            "shorter than",
        );
        check("[[token]]\nrole='admin'\nname='a'\nkey='hunter2'", "key");
        let twice = "[[token]]\nrole='admin'\nname='a'\nsecret='hunter2hunter2hunter2'\n".repeat(2);
        check(&twice, "two tokens are named \"a\"");
    }
}

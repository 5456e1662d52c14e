//! What a coordinator is told at its start, and what of it is refused.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Address of a coordinator where nothing else is said.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7070";

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Folder of the database, the blobs, the lock and the logs.
    pub state: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder with `cert.pem` and `key.pem`.
    pub tls: Option<PathBuf>,
    /// Token file.
    pub tokens: Option<PathBuf>,
    /// The network is trusted: serve on it without TLS or tokens.
    pub insecure: bool,
    /// Lifetime of a lease without renewal. A dead worker is noticed after this
    /// time, and one more second of the expiry's own clock.
    pub lease: Duration,
    /// How often workers renew; several must fit into a lease.
    pub heartbeat: Duration,
}

impl ServeOptions {
    /// The defaults: loopback, no TLS, leases of 8 s renewed every 2 s.
    ///
    /// ```
    /// use seedbed_coordinator::config::ServeOptions;
    ///
    /// let options = ServeOptions::new("state".into());
    /// assert!(options.listen.ip().is_loopback());
    /// assert!(options.check_bind().is_ok());
    /// ```
    pub fn new(state: PathBuf) -> Self {
        Self {
            state,
            listen: LISTEN_DEFAULT.parse().expect("the constant is an address"),
            tls: None,
            tokens: None,
            insecure: false,
            lease: Duration::from_secs(8),
            heartbeat: Duration::from_secs(2),
        }
    }

    /// Refuses an address that the world could reach without TLS and tokens.
    ///
    /// # Errors
    /// If the address is not loopback, and neither both are given nor the
    /// network is declared trusted.
    pub fn check_bind(&self) -> Result<(), BindRefused> {
        if self.listen.ip().is_loopback() || self.insecure {
            return Ok(());
        }
        let missing = match (&self.tls, &self.tokens) {
            (Some(_), Some(_)) => return Ok(()),
            (None, None) => "--tls DIR and --tokens FILE",
            (None, Some(_)) => "--tls DIR",
            (Some(_), None) => "--tokens FILE",
        };
        Err(BindRefused {
            listen: self.listen,
            missing,
        })
    }
}

/// An address that would let anybody in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "listening on {listen} opens the coordinator to the network: add {missing}, or --insecure if everyone on that network may do anything"
)]
pub struct BindRefused {
    listen: SocketAddr,
    missing: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_open_unless_someone_says_so() {
        let check =
            |listen: &str, tls: bool, tokens: bool, insecure: bool, expect: Option<&str>| {
                let options = ServeOptions {
                    listen: listen.parse().expect("an address"),
                    tls: tls.then(|| "tls".into()),
                    tokens: tokens.then(|| "tokens.toml".into()),
                    insecure,
                    ..ServeOptions::new("state".into())
                };
                let missing = options.check_bind().err().map(|e| e.missing);
                assert_eq!(missing, expect, "{listen} {tls} {tokens} {insecure}");
            };
        check("127.0.0.1:1", false, false, false, None);
        check("127.9.9.9:1", false, false, false, None);
        check("[::1]:1", false, false, false, None);
        check("0.0.0.0:1", true, true, false, None);
        check("0.0.0.0:1", false, false, true, None);
        check(
            "0.0.0.0:1",
            false,
            false,
            false,
            Some("--tls DIR and --tokens FILE"),
        );
        check("10.0.0.1:1", true, false, false, Some("--tokens FILE"));
        check("[::]:1", false, true, false, Some("--tls DIR"));
    }
}

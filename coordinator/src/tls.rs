//! The certificate and key of a server, from a folder.

use std::path::{Path, PathBuf};

use tonic::transport::{Identity, ServerTlsConfig};

/// A TLS folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read {path} for TLS: {source} (the folder of --tls holds cert.pem, the server's chain, and key.pem)"
)]
pub struct TlsError {
    path: PathBuf,
    source: std::io::Error,
}

/// Reads `cert.pem` and `key.pem`.
///
/// # Errors
/// If one of them cannot be read; whether they fit each other shows when the
/// server takes them.
pub fn server_config(dir: &Path) -> Result<ServerTlsConfig, TlsError> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).map_err(|source| TlsError { path, source })
    };
    let identity = Identity::from_pem(read("cert.pem")?, read("key.pem")?);
    Ok(ServerTlsConfig::new().identity(identity))
}

/// The certificate that a client on the same machine trusts: `ca.pem` where the
/// folder has one, else the (self-signed) `cert.pem`.
pub fn trusted_certificate(dir: &Path) -> PathBuf {
    let ca = dir.join("ca.pem");
    if ca.exists() {
        ca
    } else {
        dir.join("cert.pem")
    }
}

//! TLS for the tests: a certificate made on the spot, and a client that trusts this one and no other.

use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

/// The name the certificate is for.
const NAME: &str = "localhost";

/// What a client needs to trust our server.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Makes a certificate and its key and writes them as PEM.
    pub fn make(certificate: &Path, key: &Path) -> Result<Trust, String> {
        let failed = |error: &dyn std::fmt::Display| format!("a certificate for the tests: {error}");
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(|error| failed(&error))?;
        std::fs::write(certificate, made.cert.pem()).map_err(|error| failed(&error))?;
        std::fs::write(key, made.signing_key.serialize_pem()).map_err(|error| failed(&error))?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(|error| failed(&error))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }

    /// The client's side of a new connection.
    pub fn connection(&self) -> Result<ClientConnection, String> {
        let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
        ClientConnection::new(self.0.clone(), name).map_err(|error| error.to_string())
    }
}

//! The server's certificates, and which of them a client gets: the one that has the name it asks for (SNI), else the
//! first. A look-up in a table made at load; a name that is asked for leaves nothing behind.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self};

use super::{TlsFault, provider, read_chain};
use crate::auth::certificate;
use crate::config;

/// All certificates of this server.
#[derive(Debug)]
pub(super) struct Certificates {
    default: Arc<Certificate>,
    /// By name in lower case, `mail.example.org` or `*.example.org`.
    named: HashMap<String, Arc<Certificate>>,
}

/// One of them, with its key.
#[derive(Debug)]
pub(super) struct Certificate {
    key: Arc<CertifiedKey>,
    /// Its data for the channel binding `tls-server-end-point` (RFC 5929 §4).
    pub end_point_hash: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads all pairs of the configuration.
    pub fn read(settings: &config::Tls) -> Result<Certificates, TlsFault> {
        let default = read_pair(&settings.certificate, &settings.key, "tls")?.0;
        let mut named: HashMap<String, Arc<Certificate>> = HashMap::new();
        for (at, pair) in settings.additional.iter().enumerate() {
            let table = format!("tls.additional.{at}");
            let (certificate, names) = read_pair(&pair.certificate, &pair.key, &table)?;
            if names.is_empty() {
                let text =
                    format!("{} has no DNS name in its subjectAltName, so nobody gets it", pair.certificate.display());
                return Err(TlsFault { setting: format!("{table}.certificate"), text });
            }
            for name in names {
                // The first that has a name keeps it.
                named.entry(name.to_ascii_lowercase()).or_insert_with(|| certificate.clone());
            }
        }
        Ok(Certificates { default, named })
    }

    /// The certificate for a client that asks for this name, or for none.
    pub fn choose(&self, name: Option<&str>) -> &Arc<Certificate> {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wild = || Some(format!("*.{}", name.split_once('.')?.1));
            // RFC 6125 §6.4.3: a wildcard stands for one label, the leftmost.
            self.named.get(&name).or_else(|| self.named.get(&wild()?))
        });
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()).key.clone())
    }
}

/// A certificate with its key, and the DNS names it is for.
fn read_pair(certificate: &Path, key: &Path, table: &str) -> Result<(Arc<Certificate>, Vec<String>), TlsFault> {
    let fault = |setting: &str, text| TlsFault { setting: format!("{table}.{setting}"), text };
    let chain = read_chain(certificate).map_err(|text| fault("certificate", text))?;
    let secret = read_key(key).map_err(|text| fault("key", text))?;
    let (names, end_point_hash) = (certificate::names(&chain[0]), certificate::end_point_hash(&chain[0]));
    let key = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| {
        let setting = if matches!(error, rustls::Error::InvalidCertificate(_)) { "certificate" } else { "key" };
        fault(setting, format!("{} and {} do not work together: {error}", certificate.display(), key.display()))
    })?;
    let names = names.map(|names| names.dns_names).unwrap_or_default();
    Ok((Arc::new(Certificate { key: Arc::new(key), end_point_hash }), names))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = BufReader::new(File::open(path).map_err(cannot)?);
    let key = rustls_pemfile::private_key(&mut file).map_err(cannot)?;
    key.ok_or_else(|| format!("{} has no private key in it (PEM: BEGIN PRIVATE KEY)", path.display()))
}

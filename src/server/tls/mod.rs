//! TLS: the only place that knows rustls. Certificates and keys are read from PEM files, and replaced while running.
//! TLS 1.2 and 1.3; ALPN `imap` or none; session tickets instead of a session cache, so that resuming costs no memory.

mod certificates;
mod dial;

pub use dial::TlsDial;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ConnectionCommon, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::server::TlsStream;

use self::certificates::Certificates;
use super::renewal::{Mark, marks};
use crate::auth::{ChannelBindings, certificate};
use crate::config::Config;
use crate::login::TlsFacts;

/// Most octets rustls holds for a client that does not read, beyond which writing waits.
const UNSENT_BYTES: usize = 32 * 1024;

/// What is wrong with a certificate or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    /// Such as `tls.certificate` or `tls.additional.0.key`.
    pub setting: String,
    pub text: String,
}

/// The server's side of TLS. Without a certificate it refuses every handshake.
pub struct Tls {
    current: ArcSwapOption<Ready>,
    tickets: Mutex<Tickets>,
}

/// All that belongs to one reading of the files.
struct Ready {
    server: Arc<ServerConfig>,
    /// Of the files, from before they were read.
    marks: Vec<Mark>,
    certificates: Arc<Certificates>,
}

/// What encrypts session tickets.
struct Tickets {
    /// Kept over reloads, or every client would have to shake hands in full again. `None`: no random octets; then there
    /// are no tickets, and handshakes will say so themselves.
    producer: Option<Arc<dyn ProducesTickets>>,
    /// The authorities for clients' certificates when it was made: a ticket stands for a certificate that was checked,
    /// and must not outlive the trust in who signed it.
    client_authorities: Vec<CertificateDer<'static>>,
}

/// The one place that names the cryptography: swapping it must stay a change of one line.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn ticket_producer() -> Option<Arc<dyn ProducesTickets>> {
    rustls::crypto::ring::Ticketer::new().ok()
}

impl Tls {
    /// Reads what the configuration names, if any listener needs it.
    pub fn new(config: &Config) -> Result<Tls, TlsFault> {
        let tickets = Tickets { producer: ticket_producer(), client_authorities: Vec::new() };
        let tls = Tls { current: ArcSwapOption::empty(), tickets: Mutex::new(tickets) };
        tls.load(config)?;
        Ok(tls)
    }

    /// Reads certificates and keys again; on a fault the old ones stay. Connections that are open keep theirs.
    pub fn load(&self, config: &Config) -> Result<(), TlsFault> {
        if !config.needs_tls() {
            self.current.store(None);
            return Ok(());
        }
        // First, so that what is exchanged meanwhile counts as another.
        let marks = marks(&config.tls);
        let certificates = Arc::new(Certificates::read(&config.tls)?);
        let authorities = match config.tls.client_ca.as_os_str().is_empty() {
            true => Vec::new(),
            false => read_chain(&config.tls.client_ca).map_err(client_ca_fault)?,
        };
        let verifier = client_verifier(&authorities)?;
        let server = server_config(certificates.clone(), verifier, self.tickets_for(authorities))?;
        self.current.store(Some(Arc::new(Ready { server: Arc::new(server), marks, certificates })));
        Ok(())
    }

    fn tickets_for(&self, authorities: Vec<CertificateDer<'static>>) -> Option<Arc<dyn ProducesTickets>> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.client_authorities != authorities {
            *tickets = Tickets { producer: ticket_producer(), client_authorities: authorities };
        }
        tickets.producer.clone()
    }

    /// The marks of the files in use; `None`: there are none.
    pub fn marks(&self) -> Option<Vec<Mark>> {
        self.current.load().as_ref().map(|ready| ready.marks.clone())
    }

    /// True when there is a certificate.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// Shakes hands. The caller bounds the time, and how many do it at once.
    pub async fn accept<S>(&self, socket: S) -> io::Result<(TlsStream<S>, TlsFacts)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ready = self.current.load_full().ok_or_else(|| io::Error::other("there is no certificate"))?;
        let bounded = |connection: &mut ServerConnection| connection.set_buffer_limit(Some(UNSENT_BYTES));
        let stream = TlsAcceptor::from(ready.server.clone()).accept_with(socket, bounded).await?;
        let facts = facts(stream.get_ref().1, &ready.certificates);
        Ok((stream, facts))
    }
}

/// What a connection exports for binding to it, whichever end it is.
fn exporter<D>(connection: &ConnectionCommon<D>) -> Option<[u8; 32]> {
    // RFC 9266 §4.2: below TLS 1.3 the exporter is not always bound to one connection.
    let is_newest = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    // RFC 9266 §2: label, an empty context, 32 octets.
    let export = |octets| connection.export_keying_material(octets, b"EXPORTER-Channel-Binding", Some(&[])).ok();
    if is_newest { export([0; 32]) } else { None }
}

/// What logging in wants to know of a connection.
fn facts(connection: &ServerConnection, certificates: &Certificates) -> TlsFacts {
    let tls_exporter = exporter(connection);
    let tls_server_end_point = certificates.choose(connection.server_name()).end_point_hash.clone();
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    TlsFacts {
        bindings: ChannelBindings { tls_exporter, tls_server_end_point },
        certificate: shown.and_then(|shown| certificate::names(shown)),
    }
}

fn client_ca_fault(text: String) -> TlsFault {
    TlsFault { setting: "tls.client_ca".into(), text }
}

/// Clients may show a certificate if there are authorities for it; they need not.
fn client_verifier(authorities: &[CertificateDer<'static>]) -> Result<Arc<dyn ClientCertVerifier>, TlsFault> {
    if authorities.is_empty() {
        return Ok(Arc::new(NoClientAuth));
    }
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| client_ca_fault(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).allow_unauthenticated();
    let verifier = builder.build().map_err(|error| client_ca_fault(error.to_string()))?;
    Ok(verifier)
}

fn server_config(
    certificates: Arc<Certificates>,
    verifier: Arc<dyn ClientCertVerifier>,
    tickets: Option<Arc<dyn ProducesTickets>>,
) -> Result<ServerConfig, TlsFault> {
    let does_not_work = |error: rustls::Error| TlsFault {
        setting: "tls.certificate".into(),
        text: format!("TLS does not work: {error}"),
    };
    // RFC 9325 §3.1, RFC 8997 §3: TLS 1.2 and 1.3, nothing older.
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(does_not_work)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    // RFC 7301 §3.2: a client that offers only other protocols is refused (it was sent here by an attack or a slip);
    // one that offers none is fine.
    config.alpn_protocols = vec![b"imap".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if let Some(tickets) = tickets {
        config.ticketer = tickets;
    }
    Ok(config)
}

/// The DNS names that the first certificate of a PEM file is for; none when it cannot be read.
pub fn names(certificate: &Path) -> Vec<String> {
    let chain = read_chain(certificate).unwrap_or_default();
    chain.first().and_then(|first| certificate::names(first)).map(|names| names.dns_names).unwrap_or_default()
}

/// The SHA-256 fingerprint of the first certificate in a PEM file, as mail programs show it: `3F:A0:...`.
pub fn fingerprint(certificate: &Path) -> Result<String, String> {
    let chain = read_chain(certificate)?;
    let octets: Vec<String> = Sha256::digest(&chain[0]).iter().map(|octet| format!("{octet:02X}")).collect();
    Ok(octets.join(":"))
}

/// The certificates of a PEM file; at least one.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = BufReader::new(File::open(path).map_err(cannot)?);
    let chain = rustls_pemfile::certs(&mut file).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    match chain.is_empty() {
        true => Err(format!("{} has no certificate in it (PEM: BEGIN CERTIFICATE)", path.display())),
        false => Ok(chain),
    }
}

#[cfg(test)]
mod tests;

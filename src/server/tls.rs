//! TLS: the only place that knows rustls. Certificate and key are read from PEM files, and replaced while running.
//! TLS 1.2 and 1.3; ALPN `imap` or none; session tickets instead of a session cache, so that resuming costs no memory.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, ProducesTickets};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::Config;

/// Most octets rustls holds for a client that does not read, beyond which writing waits.
const UNSENT_BYTES: usize = 32 * 1024;

/// What is wrong with the certificate or its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    /// `tls.certificate` or `tls.key`.
    pub setting: &'static str,
    pub text: String,
}

/// The server's side of TLS. Without a certificate it refuses every handshake.
pub struct Tls {
    current: ArcSwapOption<ServerConfig>,
    /// Kept over reloads, or every client would have to shake hands in full again.
    tickets: Option<Arc<dyn ProducesTickets>>,
}

/// The one place that names the cryptography: swapping it must stay a change of one line.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Tls {
    /// Reads what the configuration names, if any listener needs it.
    pub fn new(config: &Config) -> Result<Tls, TlsFault> {
        // Without random octets there are no tickets; handshakes will say so themselves.
        let tickets = rustls::crypto::ring::Ticketer::new().ok();
        let tls = Tls { current: ArcSwapOption::empty(), tickets };
        tls.load(config)?;
        Ok(tls)
    }

    /// Reads certificate and key again; on a fault the old ones stay. Connections that are open keep theirs.
    pub fn load(&self, config: &Config) -> Result<(), TlsFault> {
        if !config.needs_tls() {
            self.current.store(None);
            return Ok(());
        }
        let server = server_config(&config.tls.certificate, &config.tls.key, self.tickets.clone())?;
        self.current.store(Some(Arc::new(server)));
        Ok(())
    }

    /// True when there is a certificate.
    pub fn is_ready(&self) -> bool {
        self.current.load().is_some()
    }

    /// Shakes hands. The caller bounds the time.
    pub async fn accept<S>(&self, socket: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.current.load_full().ok_or_else(|| io::Error::other("there is no certificate"))?;
        let bounded = |connection: &mut rustls::ServerConnection| connection.set_buffer_limit(Some(UNSENT_BYTES));
        TlsAcceptor::from(config).accept_with(socket, bounded).await
    }
}

/// The SHA-256 fingerprint of the first certificate in a PEM file, as mail programs show it: `3F:A0:...`.
pub fn fingerprint(certificate: &Path) -> Result<String, String> {
    let chain = read_chain(certificate)?;
    let first = chain.first().ok_or_else(|| format!("{} has no certificate in it", certificate.display()))?;
    let octets: Vec<String> = Sha256::digest(first.as_ref()).iter().map(|octet| format!("{octet:02X}")).collect();
    Ok(octets.join(":"))
}

fn server_config(
    certificate: &Path,
    key: &Path,
    tickets: Option<Arc<dyn ProducesTickets>>,
) -> Result<ServerConfig, TlsFault> {
    let chain = read_chain(certificate).map_err(|text| TlsFault { setting: "tls.certificate", text })?;
    let secret = read_key(key).map_err(|text| TlsFault { setting: "tls.key", text })?;
    let does_not_work = |error: rustls::Error| TlsFault {
        setting: match error {
            rustls::Error::InvalidCertificate(_) => "tls.certificate",
            _ => "tls.key",
        },
        text: format!("{} and {} do not work together: {error}", certificate.display(), key.display()),
    };
    // RFC 9325 §3.1: TLS 1.2 and 1.3, nothing older.
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(does_not_work)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(does_not_work)?;
    // RFC 7301 §3.2: a client that offers only other protocols is refused (it was sent here by an attack or a slip);
    // one that offers none is fine.
    config.alpn_protocols = vec![b"imap".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if let Some(tickets) = tickets {
        config.ticketer = tickets;
    }
    Ok(config)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = BufReader::new(File::open(path).map_err(cannot)?);
    let chain = rustls_pemfile::certs(&mut file).collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    match chain.is_empty() {
        true => Err(format!("{} has no certificate in it (PEM: BEGIN CERTIFICATE)", path.display())),
        false => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = BufReader::new(File::open(path).map_err(cannot)?);
    let key = rustls_pemfile::private_key(&mut file).map_err(cannot)?;
    key.ok_or_else(|| format!("{} has no private key in it (PEM: BEGIN PRIVATE KEY)", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Listen;
    use crate::config::Security;
    use std::path::PathBuf;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    struct Files {
        home: tempfile::TempDir,
        roots: RootCertStore,
    }

    impl Files {
        fn new() -> Files {
            let home = tempfile::tempdir().expect("a directory");
            let mut files = Files { home, roots: RootCertStore::empty() };
            files.renew();
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.home.path().join(name)
        }

        fn renew(&mut self) {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
            std::fs::write(self.path("cert.pem"), made.cert.pem()).expect("written");
            std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).expect("written");
            self.roots = RootCertStore::empty();
            self.roots.add(made.cert.der().clone()).expect("added");
        }

        fn config(&self) -> Config {
            let mut config = Config::default();
            config.tls.certificate = self.path("cert.pem");
            config.tls.key = self.path("key.pem");
            config
        }

        fn client(&self, alpn: &[&[u8]]) -> TlsConnector {
            let versions = rustls::DEFAULT_VERSIONS;
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(versions)
                .expect("versions")
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|word| word.to_vec()).collect();
            Arc::new(config).into()
        }
    }

    async fn talk(tls: &Tls, client: TlsConnector) -> Result<(), String> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("localhost").expect("a name");
        let server = async {
            let mut stream = tls.accept(far).await?;
            stream.write_all(b"* OK\r\n").await?;
            stream.shutdown().await
        };
        let client = async {
            let mut stream = client.connect(name, near).await?;
            let mut greeting = String::new();
            stream.read_to_string(&mut greeting).await?;
            Ok::<_, io::Error>(greeting)
        };
        let (served, greeting) = tokio::join!(server, client);
        served.map_err(|error| format!("server: {error}"))?;
        assert_eq!(greeting.map_err(|error| format!("client: {error}"))?, "* OK\r\n");
        Ok(())
    }

    #[tokio::test]
    async fn alpn_imap_or_none_is_let_in_and_others_are_not() {
        let files = Files::new();
        let tls = Tls::new(&files.config()).expect("loaded");
        assert_eq!(talk(&tls, files.client(&[])).await, Ok(()));
        assert_eq!(talk(&tls, files.client(&[b"imap"])).await, Ok(()));
        assert_eq!(talk(&tls, files.client(&[b"http/1.1", b"imap"])).await, Ok(()));
        assert!(talk(&tls, files.client(&[b"http/1.1"])).await.is_err());
    }

    #[tokio::test]
    async fn a_reload_shows_the_new_certificate_and_a_bad_one_changes_nothing() {
        let mut files = Files::new();
        let tls = Tls::new(&files.config()).expect("loaded");
        let old = files.client(&[]);
        files.renew();
        tls.load(&files.config()).expect("loaded again");
        assert!(talk(&tls, old).await.is_err(), "the old certificate is gone");
        assert_eq!(talk(&tls, files.client(&[])).await, Ok(()));
        std::fs::write(files.path("cert.pem"), "nonsense").expect("written");
        let fault = tls.load(&files.config()).expect_err("no certificate");
        assert_eq!(fault.setting, "tls.certificate");
        assert_eq!(talk(&tls, files.client(&[])).await, Ok(()), "the good one stays");
    }

    #[test]
    fn faults_name_the_setting() {
        let mut files = Files::new();
        let other_key = std::fs::read(files.path("key.pem")).expect("read");
        files.renew();
        let good_key = std::fs::read(files.path("key.pem")).expect("read");
        std::fs::write(files.path("key.pem"), other_key).expect("written");
        let fault = |files: &Files| Tls::new(&files.config()).map(|_| ()).expect_err("a fault");
        assert_eq!(fault(&files).setting, "tls.key");
        std::fs::write(files.path("key.pem"), "").expect("written");
        assert!(fault(&files).text.contains("no private key"), "{:?}", fault(&files));
        std::fs::write(files.path("key.pem"), good_key).expect("written");
        std::fs::remove_file(files.path("cert.pem")).expect("removed");
        assert_eq!(fault(&files).setting, "tls.certificate");
    }

    #[tokio::test]
    async fn without_tls_no_file_is_touched_and_no_hand_shaken() {
        let mut config = Config::default();
        config.tls.certificate = "/nowhere/at/all".into();
        let address = "127.0.0.1:0".parse().expect("an address");
        config.listen = vec![Listen { address, security: Security::None }];
        let tls = Tls::new(&config).expect("nothing to load");
        assert!(!tls.is_ready());
        let files = Files::new();
        assert!(talk(&tls, files.client(&[])).await.is_err());
    }
}

//! Handshakes with real certificates, over pipes.

use super::*;
use crate::config::{CertificatePair, Listen, Security};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};

/// A folder of certificates and who trusts them.
struct Files {
    home: tempfile::TempDir,
    roots: RootCertStore,
}

/// What a client saw and the server knew.
#[derive(Debug)]
struct Talk {
    facts: TlsFacts,
    exported: Option<[u8; 32]>,
    /// The server's certificate.
    shown: Vec<u8>,
    kind: HandshakeKind,
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
        self.roots = RootCertStore::empty();
        self.write("cert", "localhost");
        std::fs::rename(self.path("cert.key"), self.path("key.pem")).expect("renamed");
    }

    /// A self-signed certificate for a name, which clients trust.
    fn write(&mut self, file: &str, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
        std::fs::write(self.path(&format!("{file}.pem")), made.cert.pem()).expect("written");
        std::fs::write(self.path(&format!("{file}.key")), made.signing_key.serialize_pem()).expect("written");
        self.roots.add(made.cert.der().clone()).expect("added");
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.tls.certificate = self.path("cert.pem");
        config.tls.key = self.path("key.pem");
        config
    }

    fn builder(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone())
    }

    fn client(&self, alpn: &[&[u8]]) -> TlsConnector {
        let mut config = self.builder(rustls::DEFAULT_VERSIONS).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|word| word.to_vec()).collect();
        Arc::new(config).into()
    }
}

async fn talk_to(tls: &Tls, client: TlsConnector, name: &str) -> Result<Talk, String> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let server = async {
        let (mut stream, facts) = tls.accept(far).await?;
        stream.write_all(b"* OK\r\n").await?;
        stream.shutdown().await?;
        Ok::<_, io::Error>(facts)
    };
    let client = async {
        let mut stream = client.connect(name, near).await?;
        let mut greeting = String::new();
        stream.read_to_string(&mut greeting).await?;
        let connection = stream.get_ref().1;
        let exported = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).ok();
        let shown = connection.peer_certificates().map(|chain| chain[0].to_vec()).unwrap_or_default();
        let kind = connection.handshake_kind().expect("a handshake");
        Ok::<_, io::Error>((greeting, exported, shown, kind))
    };
    let (served, said) = tokio::join!(server, client);
    let facts = served.map_err(|error| format!("server: {error}"))?;
    let (greeting, exported, shown, kind) = said.map_err(|error| format!("client: {error}"))?;
    assert_eq!(greeting, "* OK\r\n");
    Ok(Talk { facts, exported, shown, kind })
}

async fn talk(tls: &Tls, client: TlsConnector) -> Result<(), String> {
    talk_to(tls, client, "localhost").await.map(|_| ())
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
    let fault = |config: &Config| Tls::new(config).map(|_| ()).expect_err("a fault");
    assert_eq!(fault(&files.config()).setting, "tls.key");
    std::fs::write(files.path("key.pem"), "").expect("written");
    assert!(fault(&files.config()).text.contains("no private key"));
    std::fs::write(files.path("key.pem"), good_key).expect("written");
    let mut config = files.config();
    let pair = CertificatePair { certificate: files.path("cert.pem"), key: files.path("none.key") };
    config.tls.additional = vec![pair];
    assert_eq!(fault(&config).setting, "tls.additional.0.key");
    config.tls.additional.clear();
    config.tls.client_ca = files.path("key.pem");
    assert_eq!(fault(&config).setting, "tls.client_ca");
    std::fs::remove_file(files.path("cert.pem")).expect("removed");
    assert_eq!(fault(&files.config()).setting, "tls.certificate");
}

#[tokio::test]
async fn without_tls_no_file_is_touched_and_no_hand_shaken() {
    let mut config = Config::default();
    config.tls.certificate = "/nowhere/at/all".into();
    let address = "127.0.0.1:0".parse().expect("an address");
    config.listen = vec![Listen { address, security: Security::None, proxy_from: Vec::new() }];
    let tls = Tls::new(&config).expect("nothing to load");
    assert!(!tls.is_ready());
    let files = Files::new();
    assert!(talk(&tls, files.client(&[])).await.is_err());
}

#[tokio::test]
async fn both_ends_know_the_same_channel_bindings() {
    let files = Files::new();
    let tls = Tls::new(&files.config()).expect("loaded");
    let newest = talk_to(&tls, files.client(&[]), "localhost").await.expect("talked");
    assert!(newest.exported.is_some());
    assert_eq!(newest.facts.bindings.tls_exporter, newest.exported);
    assert_eq!(newest.facts.bindings.tls_server_end_point, certificate::end_point_hash(&newest.shown));
    let again = talk_to(&tls, files.client(&[]), "localhost").await.expect("talked");
    assert_ne!(again.exported, newest.exported, "each connection has its own");
    let older = files.builder(&[&rustls::version::TLS12]).with_no_client_auth();
    let older = talk_to(&tls, Arc::new(older).into(), "localhost").await.expect("TLS 1.2 is spoken");
    assert_eq!(older.facts.bindings.tls_exporter, None, "sound only with TLS 1.3");
    assert_eq!(older.facts.bindings.tls_server_end_point, newest.facts.bindings.tls_server_end_point);
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let mut files = Files::new();
    files.write("one", "one.example");
    files.write("wild", "*.wild.example");
    let mut config = files.config();
    for name in ["one", "wild"] {
        let pair = CertificatePair {
            certificate: files.path(&format!("{name}.pem")),
            key: files.path(&format!("{name}.key")),
        };
        config.tls.additional.push(pair);
    }
    let tls = Tls::new(&config).expect("loaded");
    for name in ["localhost", "one.example", "ONE.example", "mail.wild.example"] {
        let seen = talk_to(&tls, files.client(&[]), name).await.expect(name);
        assert_eq!(seen.facts.bindings.tls_server_end_point, certificate::end_point_hash(&seen.shown), "{name}");
    }
    for name in ["wild.example", "a.b.wild.example", "other.example"] {
        assert!(talk_to(&tls, files.client(&[]), name).await.is_err(), "{name} gets the first, which is not for it");
    }
    // Without SNI: an address is not sent as a name. The first certificate comes, which is for no address.
    let told = talk_to(&tls, files.client(&[]), "127.0.0.1").await.expect_err("not for this address");
    assert!(told.contains("BadCertificate"), "the client's complaint, and not the server's: {told}");
}

#[tokio::test]
async fn sessions_are_resumed_by_ticket() {
    let files = Files::new();
    let tls = Tls::new(&files.config()).expect("loaded");
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
        let client: TlsConnector = Arc::new(files.builder(versions).with_no_client_auth()).into();
        let first = talk_to(&tls, client.clone(), "localhost").await.expect("talked");
        assert_eq!(first.kind, HandshakeKind::Full);
        tls.load(&files.config()).expect("loaded again");
        let second = talk_to(&tls, client, "localhost").await.expect("talked");
        assert_eq!(second.kind, HandshakeKind::Resumed, "also after a reload");
        assert_eq!(
            second.facts.bindings.tls_exporter,
            second.exported.filter(|_| versions[0].version == ProtocolVersion::TLSv1_3)
        );
    }
}

/// An authority that signs clients' certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

fn with_certificate(
    files: &Files,
    authority: &CertifiedIssuer<'static, KeyPair>,
    address: Option<&str>,
) -> TlsConnector {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).expect("a name");
    if let Some(address) = address {
        params.subject_alt_names.push(SanType::Rfc822Name(address.try_into().expect("an address")));
    }
    let certificate = params.signed_by(&key, authority).expect("signed").der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let builder = files.builder(rustls::DEFAULT_VERSIONS);
    Arc::new(builder.with_client_auth_cert(vec![certificate], key).expect("a pair")).into()
}

#[tokio::test]
async fn a_clients_certificate_counts_when_a_trusted_authority_signed_it() {
    let files = Files::new();
    let (ours, other) = (authority(), authority());
    std::fs::write(files.path("ca.pem"), ours.pem()).expect("written");
    let mut config = files.config();
    config.tls.client_ca = files.path("ca.pem");
    let tls = Tls::new(&config).expect("loaded");
    let names = |talk: Talk| talk.facts.certificate.map(|names| names.rfc822_names);
    let anna = with_certificate(&files, &ours, Some("anna@example.org"));
    let seen = talk_to(&tls, anna.clone(), "localhost").await.expect("talked");
    assert_eq!(names(seen), Some(vec!["anna@example.org".to_owned()]));
    let resumed = talk_to(&tls, anna.clone(), "localhost").await.expect("talked");
    assert_eq!(resumed.kind, HandshakeKind::Resumed);
    assert_eq!(names(resumed), Some(vec!["anna@example.org".to_owned()]), "a ticket stands for it");
    let nameless = talk_to(&tls, with_certificate(&files, &ours, None), "localhost").await.expect("talked");
    assert_eq!(names(nameless), Some(Vec::new()));
    let none = talk_to(&tls, files.client(&[]), "localhost").await.expect("a certificate is not demanded");
    assert_eq!(none.facts.certificate, None);
    let strange = with_certificate(&files, &other, Some("anna@example.org"));
    assert!(talk_to(&tls, strange, "localhost").await.is_err());

    // The authority is replaced: neither its certificates nor the tickets for them are good any more.
    std::fs::write(files.path("ca.pem"), other.pem()).expect("written");
    tls.load(&config).expect("loaded again");
    assert!(talk_to(&tls, anna, "localhost").await.is_err());

    // Without an authority a client is not asked, and what it could have shown is not seen.
    let tls = Tls::new(&files.config()).expect("loaded");
    let unasked = talk_to(&tls, with_certificate(&files, &ours, Some("anna@example.org")), "localhost").await;
    assert_eq!(unasked.expect("talked").facts.certificate, None);
}

#[tokio::test]
async fn random_names_all_get_the_first_certificate_and_leave_nothing_behind() {
    let mut files = Files::new();
    files.write("one", "one.example");
    let mut config = files.config();
    config.tls.additional.push(CertificatePair { certificate: files.path("one.pem"), key: files.path("one.key") });
    let tls = Tls::new(&config).expect("loaded");
    let ready = tls.current.load_full().expect("a certificate");
    for n in 0..100_000_u32 {
        let name = format!("{n}.{}.example", n.wrapping_mul(2_654_435_761));
        // The very same one each time, from a table that nothing can be added to.
        assert!(Arc::ptr_eq(ready.certificates.choose(Some(&name)), ready.certificates.choose(None)));
        if n % 1000 == 0 {
            // The client finds out that the certificate is not for that name; the server had its work.
            assert!(talk_to(&tls, files.client(&[]), &name).await.is_err());
        }
    }
    assert_eq!(Arc::strong_count(ready.certificates.choose(None)), 1, "nobody keeps one");
}

#[tokio::test]
async fn an_issuer_is_dialled_only_when_its_authority_is_trusted() {
    use crate::login::oauth::Dial;
    let files = Files::new();
    let tls = Tls::new(&files.config()).expect("loaded");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok((mut stream, _)) = tls.accept(tcp).await else { continue };
            let _ = stream.write_all(b"hello").await;
            let _ = stream.shutdown().await;
        }
    });
    let dial = TlsDial::default();
    let mut stream = dial.dial("localhost", port, &files.path("cert.pem")).await.expect("trusted");
    let mut said = String::new();
    stream.read_to_string(&mut said).await.expect("read");
    assert_eq!(said, "hello");
    let others = Files::new();
    assert!(dial.dial("localhost", port, &others.path("cert.pem")).await.is_err(), "another authority");
    assert!(dial.dial("127.0.0.1", port, &files.path("cert.pem")).await.is_err(), "another name");
    assert!(dial.dial("localhost", port, &files.path("none.pem")).await.is_err(), "no authority");
}

/// The watch begins at any time after a start, so the marks are those of what was read.
#[test]
fn what_is_exchanged_after_it_was_read_is_another() {
    let mut files = Files::new();
    let config = files.config();
    let tls = Tls::new(&config).expect("read");
    assert_eq!(tls.marks(), Some(marks(&config.tls)));
    files.renew();
    assert_ne!(tls.marks(), Some(marks(&config.tls)));
    tls.load(&config).expect("read again");
    assert_eq!(tls.marks(), Some(marks(&config.tls)));
}

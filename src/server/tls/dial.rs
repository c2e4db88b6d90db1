//! TLS as a client: a connection to an issuer of tokens, and to a server whose mail is taken over.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{exporter, provider, read_chain};
use crate::auth::{ChannelBindings, certificate};
use crate::login::oauth::{Dial, Dialling, Stream};

/// Opens connections over TLS.
#[derive(Default)]
pub struct TlsDial {
    /// The authorities as they were read last.
    read: Mutex<Option<Authorities>>,
}

struct Authorities {
    file: PathBuf,
    modified: Option<SystemTime>,
    client: Arc<ClientConfig>,
}

impl TlsDial {
    /// The client's side, with the authorities of a file; read again when it changes.
    fn client(&self, file: &Path) -> io::Result<Arc<ClientConfig>> {
        let modified = std::fs::metadata(file).and_then(|about| about.modified()).ok();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref().filter(|known| known.file == file && known.modified == modified) {
            return Ok(known.client.clone());
        }
        let mut roots = RootCertStore::empty();
        // A bundle of a system has an odd one now and then; those that are fine must do.
        roots.add_parsable_certificates(read_chain(file).map_err(io::Error::other)?);
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Arc::new(client);
        *read = Some(Authorities { file: file.into(), modified, client: client.clone() });
        Ok(client)
    }
}

impl TlsDial {
    /// Shakes hands with `host` over a connection that is open, and tells what a log-in over it can be bound to; blocks.
    /// The certificate must be good for that name by the authorities in `ca_file`.
    pub fn over(
        &self,
        tcp: std::net::TcpStream,
        host: &str,
        ca_file: &Path,
    ) -> io::Result<(impl Read + Write + Send + use<>, ChannelBindings)> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.client(ca_file)?, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        stream.conn.complete_io(&mut stream.sock)?;
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first);
        let bindings = ChannelBindings {
            tls_exporter: exporter(&stream.conn),
            tls_server_end_point: shown.and_then(|shown| certificate::end_point_hash(shown)),
        };
        Ok((stream, bindings))
    }
}

impl Dial for TlsDial {
    fn dial<'a>(&'a self, host: &'a str, port: u16, ca_file: &'a Path) -> Dialling<'a> {
        Box::pin(async move {
            let client = self.client(ca_file)?;
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let tcp = TcpStream::connect((host, port)).await?;
            let tls = TlsConnector::from(client).connect(name, tcp).await?;
            Ok(Box::new(tls) as Box<dyn Stream>)
        })
    }
}

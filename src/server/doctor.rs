//! The part of `pillarbox doctor` that talks to the server: is it there, does each door answer, and would a mail
//! program trust what it is shown? Every wait has an end.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use super::tls::Tls;
use crate::care::counted;
use crate::care::doctor::{self, Find};
use crate::config::{Config, Listen, Security};
use crate::control::report::spell;
use crate::control::{AskError, Reply, Request, client};
use crate::mailstore::directory::Directory;

/// How long connecting, and each answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest greeting line believed, in octets.
const MOST_LINE_BYTES: u64 = 64 * 1024;
/// Where systems keep the certificates they trust. The variable SSL_CERT_FILE, which many programs know, goes before.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];
/// More than any system trusts.
const MOST_ROOTS: usize = 2000;

/// Examines everything. `host`: the name clients use, if the configuration does not say it or says another. `name_server`:
/// who is asked for DNS records; `None`: whom this machine asks.
pub fn examine(file: &Path, host: Option<&str>, name_server: Option<SocketAddr>) -> Vec<Find> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(bad) => return vec![Find::fail(bad.to_string(), "mend the configuration; nothing else was looked at")],
    };
    let mut finds = vec![Find::pass(format!("{} can be read", file.display()))];
    let host = host.or(Some(config.clients.imap_host.as_str()).filter(|host| !host.is_empty()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    finds.extend(doctor::machine(&config, now));
    finds.push(users(&config));
    finds.extend(certificates(&config, host, now));
    finds.extend(host.map(doctor::resolve));
    finds.extend(server(&config, host));
    finds.extend(doctor::records(&config, host, name_server));
    finds
}

fn users(config: &Config) -> Find {
    let read = Directory::open_existing(&config.data_dir).and_then(|directory| directory.users());
    match read {
        Ok(users) if users.is_empty() => Find::warn("there is no user", "add one with `pillarbox user add`"),
        Ok(users) => Find::pass(format!("the directory can be read and has {}", counted(users.len() as u64, "user"))),
        Err(error) => Find::fail(error.to_string(), "see `pillarbox check` and `pillarbox restore`"),
    }
}

/// The files with certificates; the first is that for everybody who asks for no other's name.
fn certificate_files(config: &Config) -> impl Iterator<Item = &Path> {
    let additional = config.tls.additional.iter().map(|pair| pair.certificate.as_path());
    std::iter::once(config.tls.certificate.as_path()).chain(additional)
}

fn certificates(config: &Config, host: Option<&str>, now: i64) -> Vec<Find> {
    if !config.needs_tls() {
        let what = "no listener speaks TLS";
        return vec![Find::warn(what, "passwords and mail cross the network as they are, unless a proxy has the TLS")];
    }
    let (mut finds, mut shown) = (Vec::new(), Vec::new());
    for file in certificate_files(config) {
        match doctor::read_chain(file) {
            Ok(chain) => {
                let mut of_file = doctor::chain(&chain, now);
                if !config.tls.additional.is_empty() {
                    of_file.iter_mut().for_each(|find| find.what = format!("{}: {}", file.display(), find.what));
                }
                finds.extend(of_file);
                shown.extend(chain.into_iter().next());
            }
            Err(error) => finds.push(Find::fail(error, "see [tls] certificate")),
        }
    }
    if !shown.is_empty() {
        finds.push(doctor::names(&shown, host));
    }
    finds.push(match Tls::new(config) {
        Ok(_) => Find::pass("the key belongs to the certificate"),
        Err(fault) => Find::fail(fault.text, format!("see [tls]: {}", fault.setting)),
    });
    finds
}

fn server(config: &Config, host: Option<&str>) -> Vec<Find> {
    match client::ask(&config.data_dir, &Request::Status, |_| {}) {
        Ok(Reply::Status(status)) => {
            let (process, sessions, up) = (status.process, status.sessions, spell(status.uptime_seconds));
            let mut finds =
                vec![Find::pass(format!("the server runs: process {process}, {sessions} sessions, up {up}"))];
            finds.push(doctor::open_files(config, Some(process)));
            let roots = roots();
            if roots.is_none() && config.needs_tls() {
                let what = "this machine keeps no list of trusted certificates";
                finds.push(Find::warn(what, "install ca-certificates, so that trust can be looked at"));
            }
            let files = certificate_files(config).filter_map(|file| doctor::read_pem(file, 1).ok()?.pop());
            let trust = Trust { host, roots: roots.as_ref(), in_files: files.collect() };
            finds.extend(config.listen.iter().map(|listen| door(listen, &trust)));
            finds.extend(deliveries(config));
            finds
        }
        Ok(_) => vec![Find::fail("the server gave no status", "look into its log")],
        Err(AskError::NotRunning) => {
            let mut finds = vec![Find::warn("no server is running", "start it: `systemctl start pillarbox`")];
            finds.push(doctor::open_files(config, None));
            finds.extend(config.listen.iter().filter_map(free));
            finds
        }
        Err(broken) => vec![Find::fail(broken.to_string(), "run this as the server's user or as root")],
    }
}

/// While no server runs its ports must be free.
fn free(listen: &Listen) -> Option<Find> {
    match TcpListener::bind(listen.address) {
        Ok(_) => Some(Find::pass(format!("{} is free for the server", listen.address))),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let what = format!("{} is taken by another program", listen.address);
            Some(Find::fail(what, "stop that program, or give the server another port"))
        }
        // Who examines may lack the right that the server has.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(Find::fail(format!("{}: {error}", listen.address), "mend the address in [[listen]]")),
    }
}

/// What a certificate that is shown is held against.
struct Trust<'a> {
    host: Option<&'a str>,
    /// Those this machine trusts.
    roots: Option<&'a RootCertStore>,
    /// The server's own ones, as the files have them now.
    in_files: Vec<Vec<u8>>,
}

fn door(listen: &Listen, trust: &Trust<'_>) -> Find {
    let shown = format!("{} ({})", listen.address, listen.security.word());
    if listen.address.port() == 0 {
        return Find::skip(format!("{shown}: its real port is in the log only"));
    }
    let address = doctor::reachable(listen.address);
    let outcome = match listen.security {
        Security::None => greet(listen, address).map(|_| "answers"),
        Security::Tls => knock(listen, address).and_then(|stream| secure(stream, trust)).and_then(|mut stream| {
            expect(&mut stream, "* OK")?;
            Ok("answers, and programs trust its certificate")
        }),
        Security::StartTls => greet(listen, address).and_then(start_tls).and_then(|stream| {
            let mut stream = secure(stream, trust)?;
            stream.write_all(b"b LOGOUT\r\n")?;
            expect(&mut stream, "* BYE")?;
            Ok("answers, and programs trust its certificate after STARTTLS")
        }),
    };
    match outcome {
        Ok(told) => Find::pass(format!("{shown} {told}")),
        // Without a name or a list of roots there is nothing to hold the certificate against.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            Find::warn(format!("{shown} answers"), format!("its certificate was not tried: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Find::fail(
            format!("{shown} shows a certificate that the files do not have any more"),
            "the server must read them again: `kill -HUP` it, after every renewal",
        ),
        Err(error) if is_untrusted(&error) => Find::warn(
            format!("{shown} answers with a certificate that this machine does not trust"),
            "every program asks its user whether to trust it; get one from a CA that they know",
        ),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Find::fail(format!("{shown}: {error}"), "programs will not trust this certificate; see above")
        }
        Err(error) => {
            Find::fail(format!("{shown} does not answer: {error}"), "look into the server's log and firewall")
        }
    }
}

/// The doors through which mail comes in.
fn deliveries(config: &Config) -> Vec<Find> {
    let tell = |shown: String, outcome: io::Result<Box<dyn Read>>| {
        let greeted = outcome.and_then(|mut stream| expect(&mut stream, "220 "));
        match greeted {
            Ok(()) => Find::pass(format!("{shown} (LMTP) answers")),
            Err(error) => Find::fail(
                format!("{shown} (LMTP) does not answer: {error}"),
                "see [lmtp] and the log; no mail comes in, it waits at the sending server",
            ),
        }
    };
    let mut finds = Vec::new();
    let socket = &config.lmtp.socket;
    if !socket.as_os_str().is_empty() {
        let opened = UnixStream::connect(socket).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(Box::new(stream) as Box<dyn Read>)
        });
        finds.push(tell(socket.display().to_string(), opened));
    }
    for address in config.lmtp.listen.iter().filter(|address| address.port() != 0) {
        let opened = connect(doctor::reachable(*address)).map(|stream| Box::new(stream) as Box<dyn Read>);
        finds.push(tell(address.to_string(), opened));
    }
    finds
}

/// Nobody this machine trusts has signed it; its name and dates may be fine, which was looked at before.
fn is_untrusted(error: &io::Error) -> bool {
    use rustls::CertificateError::{Other, UnknownIssuer};
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(fault, Some(rustls::Error::InvalidCertificate(UnknownIssuer | Other(_))))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects, and says so where the server takes this machine for a proxy: that this one speaks for itself.
fn knock(listen: &Listen, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    let ip = stream.local_addr()?.ip();
    if listen.proxy_from.iter().any(|network| network.contains(ip)) {
        stream.write_all(b"PROXY UNKNOWN\r\n")?;
    }
    Ok(stream)
}

/// Connects and reads the greeting. What comes behind its line waits for the client, so none of it is lost here.
fn greet(listen: &Listen, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = knock(listen, address)?;
    // RFC 3501 §7.1: PREAUTH and BYE are greetings too, but not those of a server at work.
    expect(&mut stream, "* OK")?;
    Ok(stream)
}

/// Reads a line, which must begin so.
fn expect(stream: &mut impl Read, beginning: &str) -> io::Result<()> {
    let line = read_line(stream)?;
    if line.starts_with(beginning) { Ok(()) } else { Err(io::Error::other(format!("it says {line:?}"))) }
}

fn read_line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut octet = [0];
    // One octet at a time: nothing behind the line may be taken, it may belong to a handshake.
    while !line.ends_with(b"\n") {
        if line.len() as u64 >= MOST_LINE_BYTES || stream.read(&mut octet)? == 0 {
            return Err(io::Error::other("it hangs up without a greeting"));
        }
        line.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn start_tls(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.write_all(b"a STARTTLS\r\n")?;
    expect(&mut stream, "a OK")?;
    Ok(stream)
}

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands as a mail program would that trusts what this machine trusts.
fn secure(mut stream: TcpStream, trust: &Trust<'_>) -> io::Result<Secured> {
    let unsupported = |text: &str| io::Error::new(io::ErrorKind::Unsupported, text.to_owned());
    let host = trust.host.ok_or_else(|| unsupported("say with --host which name programs use"))?;
    let roots = trust.roots.ok_or_else(|| unsupported("there is no list of trusted certificates"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| unsupported("the host is no name"))?;
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    if !shown.is_some_and(|shown| trust.in_files.iter().any(|file| *file == shown.as_ref())) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(StreamOwned::new(connection, stream))
}

fn roots() -> Option<RootCertStore> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let path = named.into_iter().chain(ROOTS.iter().map(PathBuf::from)).find(|path| path.exists())?;
    let encoded = doctor::read_pem(&path, MOST_ROOTS).ok()?;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(encoded.into_iter().map(CertificateDer::from));
    (!store.is_empty()).then_some(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::doctor::Weight;

    /// A door that says one line to whoever comes.
    fn door_that_says(line: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                // Whoever examines may have left.
                let _ = stream.write_all(line.as_bytes());
            }
        });
        address
    }

    fn asked(address: SocketAddr, security: Security) -> Weight {
        let roots = RootCertStore::empty();
        let trust = Trust { host: Some("localhost"), roots: Some(&roots), in_files: Vec::new() };
        door(&Listen { address, security, proxy_from: Vec::new() }, &trust).weight
    }

    #[test]
    fn only_a_server_at_work_passes() {
        assert_eq!(asked(door_that_says("* OK ready\r\n"), Security::None), Weight::Pass);
        for line in ["* BYE too many\r\n", "220 mail ESMTP\r\n", "", "* OK no end"] {
            assert_eq!(asked(door_that_says(line), Security::None), Weight::Fail, "{line:?}");
        }
        assert_eq!(asked(door_that_says("* OK ready\r\na NO\r\n"), Security::StartTls), Weight::Fail);
        assert_eq!(asked(door_that_says("* OK ready\r\n"), Security::Tls), Weight::Fail, "that is no handshake");
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        assert_eq!(asked(closed, Security::None), Weight::Fail);
    }

    #[test]
    fn a_port_that_is_taken_while_no_server_runs_is_a_failure() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("bound");
        let listen = Listen { address, security: Security::None, proxy_from: Vec::new() };
        assert_eq!(free(&listen).map(|find| find.weight), Some(Weight::Fail));
        drop(taken);
        assert_eq!(free(&listen).map(|find| find.weight), Some(Weight::Pass));
    }

    #[test]
    fn a_configuration_that_cannot_be_read_ends_it() {
        let finds = examine(Path::new("/nowhere/at/all"), None, None);
        assert!(finds.len() == 1 && finds[0].weight == Weight::Fail);
    }
}

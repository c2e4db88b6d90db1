//! The doors through which mail comes in: the Unix socket and the TCP listeners of `[lmtp]`, and who may use them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tracing::{Instrument, info, info_span, warn};

use super::connection::contain;
use super::listen;
use crate::config::{Config, Listen, Lmtp, Security};
use crate::lmtp::{self, Host, Peer, Refusal, Socket};

/// How long accepting rests when there are no files or no memory left.
const REST: Duration = Duration::from_millis(200);

/// What is wrong with a setting, found before anything is opened.
pub(super) fn check(config: &Config) -> Result<(), (&'static str, String)> {
    group_number(&config.lmtp.socket_group).map(|_| ()).map_err(|text| ("lmtp.socket_group", text))
}

/// Opens all doors, or none, and serves until the tasks are ended. Must be called inside the runtime.
pub(super) fn open(host: &Arc<Host>) -> Result<Vec<JoinHandle<()>>, String> {
    let settings = host.config.load().lmtp.clone();
    let without_tls =
        |address: &SocketAddr| Listen { address: *address, security: Security::None, proxy_from: Vec::new() };
    let listens: Vec<Listen> = settings.listen.iter().map(without_tls).collect();
    let listeners = listen::bind_all(&listens)?;
    let socket = match settings.socket.as_os_str().is_empty() {
        true => None,
        false => {
            let at = |error| format!("lmtp.socket: {}: {error}", settings.socket.display());
            Some(UnixDoor::bind(&settings).map_err(at)?)
        }
    };
    let mut doors = Vec::new();
    for listener in listeners {
        info!(address = %listener.address, "taking mail in by LMTP");
        let host = host.clone();
        doors.push(tokio::spawn(listener.accept_all(move |stream, peer| begin_tcp(&host, stream, peer))));
    }
    if let Some(door) = socket {
        info!(path = %door.path.display(), "taking mail in by LMTP");
        doors.push(tokio::spawn(door.accept_all(host.clone())));
    }
    Ok(doors)
}

fn begin_tcp(host: &Arc<Host>, stream: TcpStream, peer: SocketAddr) {
    if host.config.load().lmtp.admits(peer.ip()) {
        return begin(host, Box::new(stream), Peer::Tcp(peer));
    }
    warn!(address = %peer, "a stranger wanted to deliver by LMTP; see lmtp.networks");
    // RFC 5321 §3.1: a server that will not talk to this client says so. The socket is fresh, so a line fits.
    let _ = stream.try_write(b"554 5.7.1 not from here\r\n");
}

fn begin(host: &Arc<Host>, socket: Box<dyn Socket>, peer: Peer) {
    let host = host.clone();
    let Ok(ticket) = host.sessions.admit(None) else {
        tokio::spawn(turn_away(socket));
        return;
    };
    let span = match peer {
        Peer::Tcp(address) => info_span!("lmtp", number = ticket.number(), %address),
        Peer::Local => info_span!("lmtp", number = ticket.number()),
    };
    let conversation = async move { lmtp::serve(&host, peer, socket, ticket).await };
    tokio::spawn(contain(conversation).instrument(span));
}

async fn turn_away(mut socket: Box<dyn Socket>) {
    use tokio::io::AsyncWriteExt;
    let reply = Refusal::ShuttingDown.reply();
    let line = format!("{} {} {}\r\n", reply.code, reply.enhanced, reply.text);
    let _ = tokio::time::timeout(REST, socket.write_all(line.as_bytes())).await;
}

/// The Unix socket. Its file goes away when this is dropped.
struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixDoor {
    fn bind(settings: &Lmtp) -> io::Result<UnixDoor> {
        let path = settings.socket.clone();
        clear(&path)?;
        let group = group_number(&settings.socket_group).map_err(io::Error::other)?;
        // The server's umask keeps everybody else out until group and mode are set.
        let listener = UnixListener::bind(&path)?;
        let door = UnixDoor { listener, path };
        if group.is_some() {
            std::os::unix::fs::chown(&door.path, None, group)
                .map_err(|error| io::Error::new(error.kind(), format!("socket_group cannot be set: {error}")))?;
        }
        fs::set_permissions(&door.path, fs::Permissions::from_mode(settings.socket_mode))?;
        Ok(door)
    }

    async fn accept_all(self, host: Arc<Host>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => begin(&host, Box::new(stream), Peer::Local),
                Err(error) => {
                    warn!(%error, path = %self.path.display(), "cannot accept connections right now");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        // A file that stays is found dead, and replaced by the next server.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes away what a dead server left. What somebody listens on, and what is no socket, is left alone.
fn clear(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else of this name"));
    }
    match BlockingUnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The number of a group given by name or number; `None` for an empty name.
fn group_number(name: &str) -> Result<Option<u32>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let groups = fs::read_to_string("/etc/group").map_err(|error| format!("cannot read /etc/group: {error}"))?;
    match number_in(&groups, name) {
        Some(number) => Ok(Some(number)),
        None => Err(format!("there is no group {name} in /etc/group; a number may be given instead")),
    }
}

/// group(5): name, password, number and members, with colons between.
fn number_in(groups: &str, name: &str) -> Option<u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    };
    groups.lines().find_map(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn groups_are_found_by_name_and_number() {
        let groups = "root:x:0:\npost:x:109:\npostfix:x:110:anna,bert\nodd\n";
        assert_eq!(number_in(groups, "postfix"), Some(110));
        assert_eq!(number_in(groups, "anna"), None);
        assert_eq!(number_in(groups, "odd"), None);
        assert_eq!(group_number("4711"), Ok(Some(4711)));
        assert_eq!(group_number(""), Ok(None));
        assert!(group_number("no such group").is_err());
    }

    #[tokio::test]
    async fn the_socket_has_its_mode_and_a_dead_one_is_replaced() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("lmtp.sock");
        let group = fs::metadata(home.path()).expect("there").gid().to_string();
        let settings =
            Lmtp { socket: path.clone(), socket_mode: 0o620, socket_group: group.clone(), ..Lmtp::default() };
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let door = UnixDoor::bind(&settings).expect("bound over the dead one");
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!((metadata.mode() & 0o777, metadata.gid().to_string()), (0o620, group));
        let told = UnixDoor::bind(&settings).map(|_| ()).expect_err("in use").to_string();
        assert_eq!(told, "another program listens there");
        drop(door);
        assert!(!path.exists());
        fs::write(&path, "precious").expect("written");
        assert!(UnixDoor::bind(&settings).is_err());
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
    }
}

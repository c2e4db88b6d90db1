//! Listening sockets: opened with the options that matter, and accepted from for ever, whatever accept says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::config::{Listen, Network, Security};

/// Connections that may wait to be accepted: after a restart every client comes back at once.
const BACKLOG: i32 = 1024;
/// How long a connection is silent before the kernel asks whether the other side is still there. Rarely enough for
/// a phone's battery, often enough for a home router that forgets after some minutes and for a dead client's memory.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(600);
/// How often it asks then, and how many times.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(60);
const KEEPALIVE_TRIES: u32 = 5;
/// How long accepting rests when there are no files or no memory left.
const REST: Duration = Duration::from_millis(200);
/// Such trouble is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// One open listening socket.
pub(super) struct Listener {
    socket: TcpListener,
    pub door: Door,
    /// The real one: the port is filled in where the configuration said 0.
    pub address: SocketAddr,
}

/// What the configuration says of a socket besides its address.
#[derive(Debug, Clone)]
pub(super) struct Door {
    /// As it is configured.
    pub address: SocketAddr,
    pub security: Security,
    /// Proxies that say for whom they speak.
    pub proxy_from: Vec<Network>,
}

/// Opens all sockets, or none; the error names the address. Must be called inside the runtime.
pub(super) fn bind_all(listens: &[Listen]) -> Result<Vec<Listener>, String> {
    let bind_one = |listen: &Listen| {
        let is_ipv4_twin = |other: &Listen| {
            other.address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && other.address.port() == listen.address.port()
        };
        let takes_ipv4_too = listen.address.port() == 0 || !listens.iter().any(is_ipv4_twin);
        bind(listen, takes_ipv4_too).map_err(|error| format!("cannot listen on {}: {error}", listen.address))
    };
    listens.iter().map(bind_one).collect()
}

fn bind(listen: &Listen, takes_ipv4_too: bool) -> io::Result<Listener> {
    let mut address = listen.address;
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // No IPv6 in this kernel: what `[::]` was to take besides is all there is.
        Err(error) if is_no_ipv6(&error) && address.is_ipv6() && address.ip().is_unspecified() && takes_ipv4_too => {
            address.set_ip(Ipv4Addr::UNSPECIFIED.into());
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?
        }
        socket => socket?,
    };
    if address.is_ipv6() {
        // Said aloud: the default differs between systems and is a sysctl on Linux.
        socket.set_only_v6(!(address.ip().is_unspecified() && takes_ipv4_too))?;
    }
    // A restarted server must get its port while connections of the old one are still fading away.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    let door = Door { address: listen.address, security: listen.security, proxy_from: listen.proxy_from.clone() };
    Ok(Listener { socket, door, address })
}

fn is_no_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

impl Listener {
    /// Accepts until dropped. `begin` gets each connection with its peer's address and must not block.
    pub async fn accept_all(self, begin: impl Fn(TcpStream, SocketAddr)) {
        let mut last_logged: Option<Instant> = None;
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // A connection that died in between is found out at its first read.
                    let _ = tune(&stream);
                    begin(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                // The client left before its turn came.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // No files or no memory: trying again at once would burn a core and change nothing.
                    if last_logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                        warn!(%error, address = %self.address, "cannot accept connections right now");
                        last_logged = Some(Instant::now());
                    }
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // Answers are written whole; waiting for more to send costs 40 ms against delayed acknowledgements.
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY).with_retries(KEEPALIVE_TRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn listen(address: &str) -> Listen {
        Listen { address: address.parse().expect("an address"), security: Security::None, proxy_from: Vec::new() }
    }

    #[tokio::test]
    async fn connections_come_through_with_their_options() {
        let listeners = bind_all(&[listen("127.0.0.1:0")]).expect("bound");
        let address = listeners[0].address;
        assert_ne!(address.port(), 0);
        let (begin, mut begun) = mpsc::unbounded_channel();
        for listener in listeners {
            let begin = begin.clone();
            tokio::spawn(listener.accept_all(move |stream, peer| {
                let _ = begin.send((stream, peer));
            }));
        }
        let client = TcpStream::connect(address).await.expect("connected");
        let (stream, peer) = begun.recv().await.expect("accepted");
        assert_eq!(peer, client.local_addr().expect("an address"));
        assert!(stream.nodelay().expect("asked"));
        assert!(SockRef::from(&stream).keepalive().expect("asked"));
    }

    #[tokio::test]
    async fn the_ipv6_wildcard_takes_ipv4_and_shows_it_as_such() {
        let listeners = bind_all(&[listen("[::]:0")]).expect("bound");
        let port = listeners[0].address.port();
        let (begin, mut begun) = mpsc::unbounded_channel();
        for listener in listeners {
            let begin = begin.clone();
            tokio::spawn(listener.accept_all(move |_, peer| {
                let _ = begin.send(peer);
            }));
        }
        let _client = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
        assert!(begun.recv().await.expect("accepted").is_ipv4());
    }

    #[tokio::test]
    async fn both_wildcards_on_one_port_get_along() {
        let probe = bind_all(&[listen("0.0.0.0:0")]).expect("bound");
        let port = probe[0].address.port();
        drop(probe);
        let both = [listen(&format!("[::]:{port}")), listen(&format!("0.0.0.0:{port}"))];
        bind_all(&both).expect("bound");
    }

    #[tokio::test]
    async fn a_taken_port_is_told_with_its_address() {
        let first = bind_all(&[listen("127.0.0.1:0")]).expect("bound");
        let again = Listen { address: first[0].address, security: Security::None, proxy_from: Vec::new() };
        let told = bind_all(std::slice::from_ref(&again)).map(|_| ()).expect_err("taken");
        assert!(told.starts_with(&format!("cannot listen on {}: ", again.address)), "{told}");
    }
}

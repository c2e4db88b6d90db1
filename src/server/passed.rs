//! Sockets that were opened before this process and passed in (sd_listen_fds(3)): ports below 1024 then need no
//! capability, and clients that come while the server is started again wait in the socket and are not turned away.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::config::{Listen, Security};

/// The sockets that were passed in and have no door yet.
#[derive(Debug, Default)]
pub(super) struct Passed {
    tcp: Vec<PassedTcp>,
    unix: Vec<UnixListener>,
}

#[derive(Debug)]
struct PassedTcp {
    socket: TcpListener,
    address: SocketAddr,
    /// FileDescriptorName= of the socket unit; the unit's own name without it.
    name: String,
}

/// Every passed socket at its place.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// With the place of their table in `[[listen]]`.
    pub imap: Vec<(usize, TcpListener)>,
    pub lmtp: Vec<TcpListener>,
    /// LMTP too: nothing else is spoken on Unix sockets that are passed in.
    pub unix: Vec<UnixListener>,
}

impl Passed {
    /// What was passed to this process; to be called once, before any thread is started. Fails on what is no listening
    /// stream socket.
    pub fn take() -> Result<Passed, String> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut passed = Passed::default();
        for at in 0..given.len() {
            let name = names.next().unwrap_or_default().to_owned();
            if let Ok(Some(socket)) = given.take_unix_listener(at) {
                passed.unix.push(socket);
                continue;
            }
            let cannot = |error| format!("a socket that was passed in ({name:?}) cannot be used: {error}");
            if let Some(socket) = given.take_tcp_listener(at).map_err(cannot)? {
                let address = socket.local_addr().map_err(cannot)?;
                passed.tcp.push(PassedTcp { socket, address, name });
            }
        }
        Ok(passed)
    }

    /// Finds the place of each socket: by its address, by the name `lmtp`, by its port, by the names `imap` and `imaps`.
    /// One that has none would be open and deaf, so it is refused.
    pub fn sort(self, listens: &[Listen], lmtp: &[SocketAddr]) -> Result<Sorted, String> {
        let mut sorted = Sorted { unix: self.unix, ..Sorted::default() };
        for PassedTcp { socket, address, name } in self.tcp {
            let by = |is_it: &dyn Fn(&Listen) -> bool| listens.iter().position(is_it);
            let by_address = by(&|listen| listen.address == address);
            if by_address.is_none() && (lmtp.contains(&address) || name == "lmtp") {
                sorted.lmtp.push(socket);
                continue;
            }
            let is_named = |listen: &Listen| match name.as_str() {
                "imap" => listen.security != Security::Tls,
                "imaps" => listen.security == Security::Tls,
                _ => false,
            };
            let place =
                by_address.or_else(|| by(&|listen| listen.address.port() == address.port())).or_else(|| by(&is_named));
            match place {
                Some(at) => sorted.imap.push((at, socket)),
                None => {
                    return Err(format!(
                        "the socket {address} that was passed in ({name:?}) belongs to no [[listen]] table: its address, \
                         its port, or the name imap, imaps or lmtp must fit"
                    ));
                }
            }
        }
        Ok(sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(name: &str) -> (Passed, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = socket.local_addr().expect("an address");
        let tcp = vec![PassedTcp { socket, address, name: name.into() }];
        (Passed { tcp, unix: Vec::new() }, address)
    }

    fn listen(address: SocketAddr, security: Security) -> Listen {
        Listen { address, security, proxy_from: Vec::new() }
    }

    #[test]
    fn each_socket_finds_its_table() {
        let anywhere = |port| SocketAddr::new([0, 0, 0, 0].into(), port);
        let other = listen(anywhere(0), Security::Tls);
        // By address, by port, by name.
        let (socket, address) = passed("pillarbox.socket");
        let tables = [other.clone(), listen(address, Security::StartTls)];
        assert_eq!(socket.sort(&tables, &[]).expect("a place").imap[0].0, 1);
        let (socket, address) = passed("pillarbox.socket");
        let tables = [other.clone(), listen(anywhere(address.port()), Security::StartTls)];
        assert_eq!(socket.sort(&tables, &[]).expect("a place").imap[0].0, 1);
        let tables = [listen(anywhere(0), Security::StartTls), other];
        for (name, place) in [("imap", 0), ("imaps", 1)] {
            assert_eq!(passed(name).0.sort(&tables, &[]).expect("a place").imap[0].0, place);
        }
        let (socket, address) = passed("x");
        assert_eq!(socket.sort(&tables, &[address]).expect("a place").lmtp.len(), 1);
        assert_eq!(passed("lmtp").0.sort(&tables, &[]).expect("a place").lmtp.len(), 1);
        let told = passed("x").0.sort(&tables, &[]).map(|_| ()).expect_err("no place");
        assert!(told.contains("belongs to no [[listen]] table"), "{told}");
    }
}

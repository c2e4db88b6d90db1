//! Names and addresses as this machine itself finds them, also in its own files. What the DNS says is in `records.rs`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::Find;

/// How long a name may take to be found.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the name clients use leads somewhere.
pub fn resolve(host: &str) -> Find {
    let (tell, told) = channel();
    let name = host.to_owned();
    // The system's resolver knows no time limit of its own that we could set; a thread it keeps is let go of.
    let asking = std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let found = (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect::<Vec<_>>());
        let _ = tell.send(found);
    });
    if let Err(error) = asking {
        return Find::warn(format!("{host} was not looked up: {error}"), "try again");
    }
    match told.recv_timeout(PATIENCE) {
        Ok(Ok(mut addresses)) => {
            addresses.sort();
            addresses.dedup();
            let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let is_local = addresses.iter().all(IpAddr::is_loopback);
            match is_local {
                true => Find::warn(
                    format!("{host} is {} here", shown.join(", ")),
                    "that is this machine itself: see whether it is so from outside",
                ),
                false => Find::pass(format!("{host} is {}", shown.join(", "))),
            }
        }
        // Perhaps only from here: a resolver that is out of reach says the same.
        Ok(Err(error)) => Find::warn(
            format!("{host} cannot be found here: {error}"),
            "add A and AAAA records for it, or mend the resolver",
        ),
        Err(_) => Find::warn(format!("{host} was not found within {} s", PATIENCE.as_secs()), "mend the resolver"),
    }
}

/// Where a client of this machine itself reaches a listening address.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // `[::]` takes IPv4 too, and some machines have no IPv6.
        IpAddr::V6(ip) if ip.is_unspecified() => match std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            Ok(_) => Ipv6Addr::LOCALHOST.into(),
            Err(_) => Ipv4Addr::LOCALHOST.into(),
        },
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::doctor::Weight;

    #[test]
    fn a_name_of_this_machine_is_found_and_a_reserved_one_is_not() {
        assert_eq!(resolve("localhost").weight, Weight::Warn);
        assert_eq!(resolve("192.0.2.7").weight, Weight::Pass);
        // Reserved never to be a name. Without a network it is not found for that reason.
        assert_ne!(resolve("nowhere.invalid").weight, Weight::Pass);
    }

    #[test]
    fn listening_everywhere_is_reached_here() {
        let everywhere: SocketAddr = "0.0.0.0:143".parse().expect("an address");
        assert_eq!(reachable(everywhere).to_string(), "127.0.0.1:143");
        assert!(reachable("[::]:143".parse().expect("an address")).ip().is_loopback());
        assert_eq!(reachable("192.0.2.7:9".parse().expect("an address")).to_string(), "192.0.2.7:9");
    }
}

//! One question at a time to a name server, as the standard library does not ask it: for SRV records, and for addresses as
//! others see them. Packets are written and read by simple-dns. Every wait has an end.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// How long the answer to one question may take, and after what it is asked once more: datagrams get lost.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(800);
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where name servers listen.
const PORT: u16 = 53;

/// A name server that is asked.
#[derive(Debug, Clone, Copy)]
pub struct Resolver {
    server: SocketAddr,
}

/// Where an SRV record leads (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub priority: u16,
    /// In lower case, without a dot at the end; empty: the service is not offered.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Resolver {
    pub fn at(server: SocketAddr) -> Resolver {
        Resolver { server }
    }

    /// The first one that this machine asks.
    pub fn of_system() -> Option<Resolver> {
        let text = std::fs::read_to_string(RESOLV_CONF).ok()?;
        let named = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok();
        text.lines().find_map(named).map(|ip| Resolver { server: SocketAddr::new(ip, PORT) })
    }

    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// Where a service is, by what is most wanted first; empty: nobody says.
    pub fn services(&self, name: &str) -> io::Result<Vec<Target>> {
        let mut targets = self.ask(name, TYPE::SRV, |data| match data {
            RData::SRV(srv) => {
                let host = srv.target.to_string().trim_end_matches('.').to_lowercase();
                Some(Target { priority: srv.priority, host, port: srv.port })
            }
            _ => None,
        })?;
        targets.sort_by_key(|target| target.priority);
        Ok(targets)
    }

    /// The addresses of a host, of both kinds.
    pub fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut addresses = self.ask(name, TYPE::A, |data| match data {
            RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
            _ => None,
        })?;
        addresses.extend(self.ask(name, TYPE::AAAA, |data| match data {
            RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.address.to_be_bytes())),
            _ => None,
        })?);
        Ok(addresses)
    }

    /// What is answered, as `of` has it. A name that is not there has no records.
    fn ask<T>(&self, name: &str, kind: TYPE, of: impl Fn(&RData<'_>) -> Option<T>) -> io::Result<Vec<T>> {
        let until = Instant::now() + PATIENCE;
        let mut id = [0; 2];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let id = u16::from_be_bytes(id);
        let name = Name::new(name).map_err(io::Error::other)?;
        let question = Question::new(name.clone(), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false);
        let mut query = Packet::new_query(id);
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        query.questions.push(question);
        let query = query.build_bytes_vec().map_err(io::Error::other)?;
        let is_ours = |packet: &Packet<'_>| {
            let asked = packet.questions.first().is_some_and(|question| question.qname == name);
            packet.id() == id && packet.has_flags(PacketFlag::RESPONSE) && asked
        };
        let mut octets = self.by_datagram(&query, until, is_ours)?;
        if Packet::parse(&octets).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION)) {
            // RFC 7766 §5: what is too long for a datagram is asked for over TCP.
            octets = self.by_stream(&query, until)?;
        }
        let packet = Packet::parse(&octets).map_err(io::Error::other)?;
        match packet.rcode() {
            RCODE::NoError | RCODE::NameError if is_ours(&packet) => {
                Ok(packet.answers.iter().filter_map(|record| of(&record.rdata)).collect())
            }
            refusal => Err(io::Error::other(format!("it answers {refusal:?}"))),
        }
    }

    fn by_datagram(&self, query: &[u8], until: Instant, is_ours: impl Fn(&Packet<'_>) -> bool) -> io::Result<Vec<u8>> {
        let own: SocketAddr = if self.server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(own)?;
        // From here on only this server's datagrams arrive.
        socket.connect(self.server)?;
        let mut octets = vec![0; usize::from(u16::MAX)];
        loop {
            socket.send(query)?;
            let again = (Instant::now() + AGAIN).min(until);
            while let Some(rest) = left(again) {
                socket.set_read_timeout(Some(rest))?;
                match socket.recv(&mut octets) {
                    Ok(length) if Packet::parse(&octets[..length]).is_ok_and(|packet| is_ours(&packet)) => {
                        octets.truncate(length);
                        return Ok(octets);
                    }
                    Ok(_) => {}
                    Err(error) if is_late(&error) => break,
                    Err(error) => return Err(error),
                }
            }
            if left(until).is_none() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn by_stream(&self, query: &[u8], until: Instant) -> io::Result<Vec<u8>> {
        let rest = || left(until).ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut));
        let mut stream = TcpStream::connect_timeout(&self.server, rest()?)?;
        stream.set_write_timeout(Some(rest()?))?;
        // RFC 1035 §4.2.2: its length goes before a message.
        let length = u16::try_from(query.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), query].concat())?;
        let mut octets = vec![0; 2];
        let mut filled = 0;
        while filled < octets.len() {
            stream.set_read_timeout(Some(rest()?))?;
            match stream.read(&mut octets[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
            if filled == 2 && octets.len() == 2 {
                octets.resize(2 + usize::from(u16::from_be_bytes([octets[0], octets[1]])), 0);
            }
        }
        Ok(octets.split_off(2))
    }
}

/// What is left of a time; `None`: nothing.
fn left(until: Instant) -> Option<Duration> {
    until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA, SRV};

    /// What a little name server knows of a name.
    #[derive(Clone)]
    pub enum Known {
        Service(u16, &'static str, u16),
        Address(IpAddr),
        /// It does not say, but refuses.
        Refused,
        /// It takes the question and is silent.
        Nothing,
    }

    /// A name server of these names. `is_short`: its datagrams have no room for an answer.
    pub fn name_server(names: Vec<(&'static str, Known)>, is_short: bool) -> SocketAddr {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("bound");
        let tcp = std::net::TcpListener::bind(address).expect("the same port");
        let known = names.clone();
        std::thread::spawn(move || {
            let mut octets = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut octets) {
                // One that answers nothing that was asked comes first, as from somebody who guesses.
                let stray = Packet::new_reply(0).build_bytes_vec().expect("a packet");
                let _ = udp.send_to(&stray, from);
                if let Some(reply) = reply(&octets[..length], &names, is_short) {
                    let _ = udp.send_to(&reply, from);
                }
            }
        });
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a question");
                let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut octets).expect("a question");
                let reply = reply(&octets, &known, false).expect("an answer");
                let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat());
            }
        });
        address
    }

    fn reply(query: &[u8], names: &[(&'static str, Known)], is_short: bool) -> Option<Vec<u8>> {
        let query = Packet::parse(query).expect("a question");
        let question = query.questions.first().expect("a question").clone();
        let mut reply = Packet::new_reply(query.id());
        let asked = question.qname.to_string();
        let known: Vec<&Known> = names.iter().filter(|(name, _)| *name == asked).map(|(_, known)| known).collect();
        if known.is_empty() {
            *reply.rcode_mut() = RCODE::NameError;
        }
        for known in known {
            let data = match known {
                Known::Nothing => return None,
                Known::Refused => {
                    *reply.rcode_mut() = RCODE::Refused;
                    continue;
                }
                Known::Service(priority, host, port) => {
                    let target = Name::new_unchecked(host);
                    RData::SRV(SRV { priority: *priority, weight: 1, port: *port, target })
                }
                Known::Address(IpAddr::V4(ip)) => RData::A(A { address: (*ip).into() }),
                Known::Address(IpAddr::V6(ip)) => RData::AAAA(AAAA { address: (*ip).into() }),
            };
            let fits = match question.qtype {
                QTYPE::TYPE(kind) => kind == data.type_code(),
                _ => false,
            };
            if is_short {
                reply.set_flags(PacketFlag::TRUNCATION);
            } else if fits {
                reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, data));
            }
        }
        reply.questions.push(question);
        Some(reply.build_bytes_vec().expect("a packet"))
    }

    #[test]
    fn what_a_name_server_says_is_heard_by_datagram_and_by_stream() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let names = vec![
            ("_imaps._tcp.example.org", Known::Service(10, "Other.example.org", 1993)),
            ("_imaps._tcp.example.org", Known::Service(0, "imap.example.org", 993)),
            ("_pop3._tcp.example.org", Known::Service(0, "", 0)),
            ("imap.example.org", Known::Address(ip("192.0.2.7"))),
            ("imap.example.org", Known::Address(ip("2001:db8::7"))),
            ("bad.example.org", Known::Refused),
        ];
        let target = |priority, host: &str, port| Target { priority, host: host.into(), port };
        for is_short in [false, true] {
            let resolver = Resolver::at(name_server(names.clone(), is_short));
            let found = resolver.services("_imaps._tcp.example.org").expect("answered");
            assert_eq!(found, [target(0, "imap.example.org", 993), target(10, "other.example.org", 1993)]);
            assert_eq!(resolver.services("_pop3._tcp.example.org").expect("answered"), [target(0, "", 0)]);
            assert_eq!(resolver.services("nowhere.example.org").expect("answered"), []);
            let addresses = resolver.addresses("imap.example.org").expect("answered");
            assert_eq!(addresses, [ip("192.0.2.7"), ip("2001:db8::7")]);
            assert!(resolver.addresses("bad.example.org").is_err());
        }
    }

    #[test]
    fn a_name_server_that_is_silent_or_not_there_is_not_waited_for() {
        let silent = Resolver::at(name_server(vec![("imap.example.org", Known::Nothing)], false));
        assert_eq!(silent.addresses("imap.example.org").expect_err("silent").kind(), io::ErrorKind::TimedOut);
        let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        assert!(Resolver::at(nobody).addresses("imap.example.org").is_err());
    }
}

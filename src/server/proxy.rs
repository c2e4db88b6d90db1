//! The PROXY protocol, versions 1 and 2: what a proxy says before the client's first octet, about whom it speaks for.
//! Only proxies the operator named are listened to, and they must say it; anything else ends the connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header of version 1, its line end included.
const MOST_LINE_BYTES: usize = 107;
/// Longest rest of a header of version 2 that is taken: addresses and a few things about them.
const MOST_REST_BYTES: usize = 4096;

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// For whom a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// For this client; `is_tls`: which came to the proxy over TLS.
    Client { peer: SocketAddr, is_tls: bool },
    /// For itself, to see whether we live, or for somebody it cannot name.
    Itself,
}

fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

/// Reads the header and not one octet more. The caller bounds the time.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Spoken> {
    let mut beginning = [0; SIGNATURE.len()];
    stream.read_exact(&mut beginning).await?;
    if beginning != *SIGNATURE {
        return read_line(stream, &beginning).await;
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if length > MOST_REST_BYTES {
        return Err(garbage());
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    version_2(head[0], head[1], &rest).ok_or_else(garbage)
}

/// Version 1: the rest of one line, octet by octet, because what follows it is not ours to read.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), beginning: &[u8]) -> io::Result<Spoken> {
    let mut line = Vec::with_capacity(MOST_LINE_BYTES);
    line.extend_from_slice(beginning);
    // The shortest line, "PROXY UNKNOWN" with its end, is longer than the beginning.
    if !line.starts_with(b"PROXY ") || line.contains(&b'\n') {
        return Err(garbage());
    }
    while !line.ends_with(b"\r\n") {
        if line.len() == MOST_LINE_BYTES {
            return Err(garbage());
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line[..line.len() - 2]).ok_or_else(garbage)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 143`
fn version_1(line: &[u8]) -> Option<Spoken> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Spoken::Itself);
    }
    let (source, target) = (words.next()?, words.next()?);
    let is_address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().is_ok(),
        "TCP6" => text.parse::<Ipv6Addr>().is_ok(),
        _ => false,
    };
    // Digits only: a number may not be written "+1" or "01".
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
    let (source_port, _) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() || !is_address(source) || !is_address(target) {
        return None;
    }
    let ip: IpAddr = source.parse().ok()?;
    Some(Spoken::Client { peer: SocketAddr::new(ip.to_canonical(), source_port), is_tls: false })
}

/// The command, the family, and what follows the header's length.
fn version_2(version_and_command: u8, family: u8, rest: &[u8]) -> Option<Spoken> {
    match version_and_command {
        // LOCAL: the rest says nothing of meaning.
        0x20 => return Some(Spoken::Itself),
        0x21 => {}
        _ => return None,
    }
    let (ip, port, extras): (IpAddr, _, _) = match family {
        0x11 => {
            let (addresses, extras) = rest.split_first_chunk::<12>()?;
            let ip: [u8; 4] = addresses[..4].try_into().ok()?;
            (ip.into(), [addresses[8], addresses[9]], extras)
        }
        0x21 => {
            let (addresses, extras) = rest.split_first_chunk::<36>()?;
            let ip: [u8; 16] = addresses[..16].try_into().ok()?;
            (ip.into(), [addresses[32], addresses[33]], extras)
        }
        // Not over IP, or not over TCP: the proxy's own address must do.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => return Some(Spoken::Itself),
        _ => return None,
    };
    let peer = SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port));
    Some(Spoken::Client { peer, is_tls: says_tls(extras)? })
}

/// Whether one of the extras (type, two octets of length, value) says that the client speaks TLS with the proxy.
fn says_tls(mut extras: &[u8]) -> Option<bool> {
    const SSL: u8 = 0x20;
    const CLIENT_SSL: u8 = 1;
    let mut is_tls = false;
    while !extras.is_empty() {
        let (head, rest) = extras.split_first_chunk::<3>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[1], head[2]])))?;
        if head[0] == SSL {
            is_tls |= value.first()? & CLIENT_SSL != 0;
        }
        extras = rest;
    }
    Some(is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(octets: &[u8]) -> Result<(Spoken, Vec<u8>), io::ErrorKind> {
        let mut stream = octets;
        let spoken = read(&mut stream).await.map_err(|error| error.kind())?;
        Ok((spoken, stream.to_vec()))
    }

    fn client(peer: &str, is_tls: bool) -> Spoken {
        Spoken::Client { peer: peer.parse().expect("an address"), is_tls }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 143];

    #[tokio::test]
    async fn version_1_is_read_to_its_end_and_no_further() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 143\r\n", client("192.0.2.7:4711", false)),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 4711 143\r\n", client("[2001:db8::7]:4711", false)),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 143\r\n", client("192.0.2.7:4711", false)),
            ("PROXY UNKNOWN\r\n", Spoken::Itself),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", Spoken::Itself),
        ] {
            let octets = [line.as_bytes(), b"a LOGIN"].concat();
            assert_eq!(said(&octets).await, Ok((expected, b"a LOGIN".to_vec())), "{line}");
        }
    }

    #[tokio::test]
    async fn version_2_is_read_to_its_end_and_no_further() {
        let ipv6 = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[7], &[0; 16], &[0x12, 0x67, 0, 143]].concat();
        let extra = |kind: u8, value: &[u8]| [&[kind, 0, value.len() as u8], value].concat();
        let with = |extra: &[u8]| [&IPV4, extra].concat();
        for (header, expected) in [
            (v2(0x21, 0x11, &IPV4), client("192.0.2.7:4711", false)),
            (v2(0x21, 0x21, &ipv6), client("[2001:db8::7]:4711", false)),
            (v2(0x21, 0x11, &with(&extra(0x20, &[1, 0, 0, 0, 0]))), client("192.0.2.7:4711", true)),
            (v2(0x21, 0x11, &with(&extra(0x20, &[0, 0, 0, 0, 0]))), client("192.0.2.7:4711", false)),
            (v2(0x21, 0x11, &with(&extra(2, b"mail.example"))), client("192.0.2.7:4711", false)),
            (v2(0x20, 0x00, b""), Spoken::Itself),
            (v2(0x20, 0x11, b"whatever"), Spoken::Itself),
            (v2(0x21, 0x31, &[0; 216]), Spoken::Itself),
        ] {
            let octets = [header, b"a LOGIN".to_vec()].concat();
            assert_eq!(said(&octets).await, Ok((expected, b"a LOGIN".to_vec())));
        }
    }

    #[tokio::test]
    async fn garbage_is_an_error_however_long() {
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 100_000]].concat();
        let mut long = v2(0x21, 0x11, &IPV4);
        long[14..16].copy_from_slice(&[0xff, 0xff]);
        let cases: Vec<Vec<u8>> = [
            "a CAPABILITY\r\nb LOGIN x y\r\n",
            "PROXY \r\n\r\n\r\n\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 143 x\r\n",
            "PROXY TCP4 2001:db8::7 198.51.100.1 4711 143\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4711 143\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +4711 143\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 70000 143\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4711 143\r\n",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 4711 143\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 4711 143\r\n",
        ]
        .into_iter()
        .map(|text| text.as_bytes().to_vec())
        .chain([
            endless,
            long,
            v2(0x22, 0x11, &IPV4),
            v2(0x11, 0x11, &IPV4),
            v2(0x21, 0x41, &IPV4),
            v2(0x21, 0x11, &IPV4[..11]),
            v2(0x21, 0x21, &IPV4),
            v2(0x21, 0x11, &[&IPV4[..], &[0x20, 0, 0]].concat()),
            v2(0x21, 0x11, &[&IPV4[..], &[0x20, 0, 9, 1]].concat()),
        ])
        .collect();
        for octets in cases {
            let told = said(&octets).await.expect_err("no header");
            assert_eq!(
                told,
                io::ErrorKind::InvalidData,
                "{:?}",
                String::from_utf8_lossy(&octets[..octets.len().min(60)])
            );
        }
        for cut in [&b"PROXY"[..], b"PROXY TCP4 192.0", &v2(0x21, 0x11, &IPV4)[..20]] {
            assert_eq!(said(cut).await, Err(io::ErrorKind::UnexpectedEof));
        }
    }
}

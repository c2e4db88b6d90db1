//! One HTTP/1.1 request and its answer (RFC 9112), no more than it takes to ask an issuer of tokens: one POST on a
//! connection of its own, a bounded answer, no redirects.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Stream;

/// Longest answer, in octets, its header included.
const MOST_ANSWER_BYTES: u64 = 64 * 1024;

/// Where to ask: `https://host[:port]/path`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// As it goes into the Host field.
    pub authority: &'a str,
    pub host: &'a str,
    pub port: u16,
    pub path: &'a str,
}

/// Reads the URL. `None`: it is no https one, or holds what has no place in a request.
pub(super) fn place(url: &str) -> Option<Place<'_>> {
    let rest = url.strip_prefix("https://")?;
    let is_odd = |c: char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '#' | '@');
    if rest.contains(is_odd) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some(Place { authority, host, port, path: if path.is_empty() { "/" } else { path } })
}

/// Sends a request and gives the body of a 200 answer; else a sentence without anything secret.
pub(super) async fn talk(stream: &mut dyn Stream, request: &[u8]) -> Result<Vec<u8>, String> {
    let trouble = |error: std::io::Error| error.to_string();
    stream.write_all(request).await.map_err(trouble)?;
    stream.flush().await.map_err(trouble)?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(MOST_ANSWER_BYTES + 1);
    loop {
        let read = bounded.read_buf(&mut answer).await;
        let is_end = match read {
            Ok(octets) => octets == 0,
            // Many servers close TLS without saying so; the answer's own length tells whether it was whole.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => true,
            Err(error) => return Err(error.to_string()),
        };
        if answer.len() as u64 > MOST_ANSWER_BYTES {
            return Err("the answer is too long".into());
        }
        if let Some(body) = body(&answer, is_end)? {
            return Ok(body);
        }
        if is_end {
            return Err("the answer ended too early".into());
        }
    }
}

/// The body of an answer as far as it came; `None`: more must come.
fn body(answer: &[u8], is_end: bool) -> Result<Option<Vec<u8>>, String> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = (&answer[..end], &answer[end + 4..]);
    let head = std::str::from_utf8(head).map_err(|_| "the answer's header is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or("no HTTP/1 answer");
    if code != "200" {
        return Err(format!("the answer is {code}, not 200"));
    }
    let mut length = None;
    let mut is_chunked = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<usize>().map_err(|_| "the answer's length is no number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            is_chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    match length {
        _ if is_chunked => unchunked(rest),
        Some(length) => Ok(rest.get(..length).map(<[u8]>::to_vec)),
        // RFC 9112 §6.3: without a length the answer goes on to the end of the connection.
        None => Ok(is_end.then(|| rest.to_vec())),
    }
}

/// chunked-body = *chunk last-chunk trailer-section CRLF (RFC 9112 §7.1); `None`: more must come.
fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| "a piece of the answer has no size")?;
        if size as u64 > MOST_ANSWER_BYTES {
            return Err("the answer is too long".into());
        }
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
        let Some(piece) = rest.get(..size + 2) else { return Ok(None) };
        body.extend_from_slice(&piece[..size]);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_https_and_nothing_else() {
        let place_of = |url| place(url).map(|place| (place.host, place.port, place.path));
        assert_eq!(place_of("https://id.example"), Some(("id.example", 443, "/")));
        assert_eq!(place_of("https://id.example:8443/a/b?c"), Some(("id.example", 8443, "/a/b?c")));
        assert_eq!(place_of("https://[::1]:8443/a"), Some(("::1", 8443, "/a")));
        assert_eq!(place_of("https://[::1]/a"), Some(("::1", 443, "/a")));
        for bad in [
            "",
            "http://id.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a/\r\nX: y",
            "https://a:b/",
            "https://u:p@a/",
            "https://a/#x",
            "https://:443/",
        ] {
            assert_eq!(place_of(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn answers_of_every_form_and_in_any_pieces() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}and more", Ok("{}")),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n", Ok("{}")),
            ("HTTP/1.0 200 OK\r\n\r\n{}", Ok("{}")),
            ("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n{}", Err("too early")),
            ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", Err("401")),
            ("HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\n\r\n", Err("302")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Err("no size")),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", Err("too long")),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Err("no number")),
            ("* OK IMAP4rev1\r\n\r\n", Err("no HTTP")),
            ("", Err("too early")),
        ];
        for (answer, expected) in cases {
            for piece in [1, 7, 1000] {
                let (mut near, mut far) = tokio::io::duplex(4096);
                let talking = tokio::spawn(async move { talk(&mut near, b"POST").await });
                let mut question = [0; 4];
                far.read_exact(&mut question).await.expect("the question");
                for octets in answer.as_bytes().chunks(piece) {
                    // The other side may have heard enough.
                    let _ = far.write_all(octets).await;
                }
                drop(far);
                let told = talking.await.expect("joined");
                match (&told, expected) {
                    (Ok(body), Ok(text)) => assert_eq!(body, text.as_bytes(), "{answer}"),
                    (Err(why), Err(word)) => assert!(why.contains(word), "{answer}: {why}"),
                    _ => panic!("{answer}: {told:?}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_off() {
        let (mut near, mut far) = tokio::io::duplex(4096);
        let talking = tokio::spawn(async move { talk(&mut near, b"POST").await });
        let flood = tokio::spawn(async move { while far.write_all(&[b'x'; 4096]).await.is_ok() {} });
        assert_eq!(talking.await.expect("joined"), Err("the answer is too long".into()));
        flood.await.expect("joined");
    }
}

//! Line ends on the way in and out. Mail lies in files with the line ends of Unix and crosses IMAP with CRLF.

/// Makes CRLF of the line ends of a message that comes in pieces. A message whose first line ends with CRLF is in
/// network form already and stays octet for octet; in one whose first line ends with a bare LF every bare LF gets its
/// CR. NUL, which IMAP cannot carry (RFC 3501 §9, CHAR8), becomes octet 128 and is counted.
#[derive(Debug, Default)]
pub struct ToNetwork {
    is_network: Option<bool>,
    last: u8,
    nuls: u64,
}

impl ToNetwork {
    /// Appends what `piece` becomes.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        let mut rest = piece;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let before = if at > 0 { rest[at - 1] } else { self.last };
            let is_network = *self.is_network.get_or_insert(before == b'\r');
            out.extend_from_slice(&rest[..at]);
            if !is_network && before != b'\r' {
                out.push(b'\r');
            }
            out.push(b'\n');
            self.last = b'\n';
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        self.last = rest.last().copied().unwrap_or(self.last);
        let mut at = from;
        while let Some(next) = memchr::memchr(0, &out[at..]) {
            out[at + next] = 0x80;
            self.nuls += 1;
            at += next + 1;
        }
    }

    /// How many NULs there were.
    pub fn nuls(&self) -> u64 {
        self.nuls
    }
}

/// The other way: CRLF becomes LF, as long as [`ToNetwork`] would bring the same octets back.
#[derive(Debug, Default)]
pub struct ToUnix {
    /// A CR at the end of the last piece that was not written yet.
    holds_cr: bool,
    /// The last octet written or held.
    last: u8,
}

/// The octets cannot be told apart from others once their line ends are changed: keep them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReversible;

impl ToUnix {
    /// Appends what `piece` becomes. After an error nothing more may be fed.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), NotReversible> {
        for &octet in piece {
            match octet {
                b'\n' if !self.holds_cr => return Err(NotReversible),
                b'\n' => {
                    // CR CR LF would come back as CR LF.
                    if self.last == b'\r' {
                        return Err(NotReversible);
                    }
                    self.holds_cr = false;
                    out.push(b'\n');
                    self.last = b'\n';
                }
                _ => {
                    self.flush(out);
                    if octet == b'\r' {
                        self.holds_cr = true;
                    } else {
                        out.push(octet);
                        self.last = octet;
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends what was held back to the end.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.holds_cr) {
            out.push(b'\r');
            self.last = b'\r';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut machine, mut out) = (ToNetwork::default(), Vec::new());
        pieces.iter().for_each(|piece| machine.feed(piece, &mut out));
        out
    }

    fn unix(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut machine, mut out) = (ToUnix::default(), Vec::new());
        for piece in pieces {
            machine.feed(piece, &mut out).ok()?;
        }
        machine.finish(&mut out);
        Some(out)
    }

    #[test]
    fn the_first_line_end_decides() {
        assert_eq!(network(&[b"a\nb\n"]), b"a\r\nb\r\n");
        assert_eq!(network(&[b"a\nb\r\nc\rd\n"]), b"a\r\nb\r\nc\rd\r\n");
        assert_eq!(network(&[b"a\r", b"\nb\nc"]), b"a\r\nb\nc", "it is in network form already");
        assert_eq!(network(&[b"", b"\n"]), b"\r\n");
        assert_eq!(network(&[b"a\0\nb\0"]), b"a\x80\r\nb\x80");
    }

    #[test]
    fn what_would_not_come_back_is_said() {
        assert_eq!(unix(&[b"a\r\nb\r\n"]).as_deref(), Some(&b"a\nb\n"[..]));
        assert_eq!(unix(&[b"a\r", b"\nb\r"]).as_deref(), Some(&b"a\nb\r"[..]));
        assert_eq!(unix(&[b"a\r\nb\nc"]), None);
        assert_eq!(unix(&[b"a\r\n\r\r\n"]), None);
    }

    proptest! {
        #[test]
        fn there_and_back(octets in "[ab\r\n]{0,24}", cut in 0usize..25) {
            let octets = octets.as_bytes();
            let (one, other) = octets.split_at(cut.min(octets.len()));
            if let Some(out) = unix(&[one, other]) {
                let back = network(&[&out]);
                prop_assert_eq!(back, octets);
            } else if octets.split_inclusive(|b| *b == b'\n').next().is_some_and(|line| line.ends_with(b"\r\n")) {
                // Kept as it is, it is taken for what it is.
                prop_assert_eq!(network(&[one, other]), octets);
            }
        }
    }
}

//! From the lines of a pipe, which end with LF, to those of mail, which end with CRLF. Pure, in pieces of any size.

/// Turns what a mail program writes into a pipe into what mail looks like on the wire.
#[derive(Debug, Default)]
pub struct LineEnds {
    at: At,
}

#[derive(Debug, Default)]
enum At {
    /// So many octets of `From ` have come and nothing else.
    #[default]
    Begin,
    Matched(usize),
    /// In the first line of an mbox, which is no part of the message.
    Postmark,
    /// `true`: behind a CR.
    Text(bool),
}

/// RFC 4155: an mbox puts this line on top of each message, and so do programs that think of one.
const POSTMARK: &[u8] = b"From ";

impl LineEnds {
    /// What the next piece is in mail's own form: a bare LF becomes CRLF, all else stays as it is.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + piece.len() / 16);
        for &octet in piece {
            self.take(octet, &mut out);
        }
        out
    }

    /// What is left when nothing more comes.
    pub fn finish(self) -> Vec<u8> {
        match self.at {
            At::Matched(octets) => POSTMARK[..octets].to_vec(),
            At::Begin | At::Postmark | At::Text(_) => Vec::new(),
        }
    }

    fn take(&mut self, octet: u8, out: &mut Vec<u8>) {
        let matched = match self.at {
            At::Begin => 0,
            At::Matched(octets) => octets,
            At::Postmark => {
                if octet == b'\n' {
                    self.at = At::Text(false);
                }
                return;
            }
            At::Text(is_behind_cr) => {
                if octet == b'\n' && !is_behind_cr {
                    out.push(b'\r');
                }
                out.push(octet);
                self.at = At::Text(octet == b'\r');
                return;
            }
        };
        if octet != POSTMARK[matched] {
            out.extend_from_slice(&POSTMARK[..matched]);
            self.at = At::Text(false);
            return self.take(octet, out);
        }
        self.at = if matched + 1 == POSTMARK.len() { At::Postmark } else { At::Matched(matched + 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turned(text: &[u8], size: usize) -> Vec<u8> {
        let mut ends = LineEnds::default();
        let mut out: Vec<u8> = text.chunks(size).flat_map(|piece| ends.feed(piece)).collect();
        out.extend(ends.finish());
        out
    }

    #[test]
    fn lines_end_as_mail_wants_them() {
        for (piped, mail) in [
            (&b"Subject: x\n\ntext\n"[..], &b"Subject: x\r\n\r\ntext\r\n"[..]),
            (b"Subject: x\r\n\r\ntext\r\n", b"Subject: x\r\n\r\ntext\r\n"),
            (b"a\rb\n\n\r\n", b"a\rb\r\n\r\n\r\n"),
            (b"\n", b"\r\n"),
            (b"", b""),
            (b"From anna Tue Nov 25\nSubject: x\n", b"Subject: x\r\n"),
            (b"From anna", b""),
            (b"From: anna\nFrom there\n", b"From: anna\r\nFrom there\r\n"),
            (b"Fro", b"Fro"),
            (b"Fr\n", b"Fr\r\n"),
            (b"..\n.\n", b"..\r\n.\r\n"),
        ] {
            for size in 1..8 {
                assert_eq!(turned(piped, size), mail, "{:?}", String::from_utf8_lossy(piped));
            }
        }
    }

    proptest! {
        #[test]
        fn no_bare_lf_is_left(text in "[a\r\n]{0,40}", size in 1usize..9) {
            let out = turned(text.as_bytes(), size);
            prop_assert!((0..out.len()).all(|at| out[at] != b'\n' || at > 0 && out[at - 1] == b'\r'));
            prop_assert_eq!(turned(&out, 5), out, "a second time changes nothing");
        }
    }
}

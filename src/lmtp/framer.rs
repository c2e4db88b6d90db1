//! Octets arrive in any pieces; command lines, message text and chunks come out. Pure: no socket, no clock.
//! Only CR LF ends a line and only CR LF `.` CR LF ends a message: a bare CR or LF is an octet like any other and is kept.
//! So no two readers can disagree about where a message ends, which is what smuggling lives on.

use memchr::memchr;

/// Longest command line without its CRLF. RFC 5321 §4.5.3.1.4 asks for 512 and more for parameters and UTF-8.
pub const LINE_BYTES: usize = 2048;
/// Room that is kept when all that came was used.
const KEPT_BYTES: usize = 4096;

/// Octets from a client, cut as the session asks for them.
#[derive(Debug, Default)]
pub struct Framer {
    input: Vec<u8>,
    /// Octets of `input` that were handed out.
    used: usize,
    /// No CRLF was found in `input` before here.
    looked: usize,
    text: Text,
    /// The rest of a line that is too long goes by unread.
    is_skipping: bool,
}

/// What a command line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// Longer than [`LINE_BYTES`]; it was passed over.
    TooLong,
    NeedMore,
}

/// What comes of message text.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Octets of the message; never empty.
    Octets(Vec<u8>),
    End,
    NeedMore,
}

/// Where message text stands, RFC 5321 §4.5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Text {
    /// At the beginning, or behind CR LF.
    #[default]
    LineBegin,
    InLine,
    /// Behind a CR, which was handed out already.
    Cr,
    /// Behind a dot that begins a line; it is not part of the message.
    Dot,
    /// Behind such a dot and a CR, which is held back.
    DotCr,
}

impl Framer {
    /// Takes octets in as they came.
    pub fn feed(&mut self, octets: &[u8]) {
        self.input.drain(..self.used);
        self.looked = self.looked.saturating_sub(self.used);
        self.used = 0;
        self.input.extend_from_slice(octets);
    }

    /// Gives memory back when nothing is under way, so that a silent client holds next to none.
    pub fn rest(&mut self) {
        if !self.has_more() {
            self.input.clear();
            self.input.shrink_to(KEPT_BYTES);
            (self.used, self.looked) = (0, 0);
        }
    }

    /// True when there are octets that were not handed out.
    pub fn has_more(&self) -> bool {
        self.used < self.input.len()
    }

    /// True when a whole command line is there.
    pub fn has_line(&self) -> bool {
        find_line_end(&self.input[self.used..]).is_some()
    }

    /// The next command line without its CRLF.
    pub fn line(&mut self) -> Line {
        loop {
            let from = self.looked.max(self.used);
            let end = find_line_end(&self.input[from..]).map(|at| from + at);
            let Some(end) = end else {
                // The CR of a CRLF may have come already.
                self.looked = self.input.len().saturating_sub(1).max(self.used);
                if self.is_skipping {
                    self.used = self.looked;
                } else if self.looked - self.used > LINE_BYTES {
                    self.is_skipping = true;
                    continue;
                }
                return Line::NeedMore;
            };
            let line = self.used..end;
            self.used = end + 2;
            self.looked = self.used;
            if std::mem::take(&mut self.is_skipping) || line.len() > LINE_BYTES {
                return Line::TooLong;
            }
            return Line::Whole(self.input[line].to_vec());
        }
    }

    /// Begins to read message text as it stands behind DATA.
    pub fn begin_text(&mut self) {
        self.text = Text::LineBegin;
    }

    /// The next piece of message text, dots that were stuffed in taken out.
    pub fn text(&mut self) -> Piece {
        let mut out = Vec::new();
        while let Some(&octet) = self.input.get(self.used) {
            match (self.text, octet) {
                (Text::LineBegin, b'.') => {
                    self.text = Text::Dot;
                    self.used += 1;
                }
                (Text::Dot, b'\r') => {
                    self.text = Text::DotCr;
                    self.used += 1;
                }
                // RFC 5321 §4.1.1.4: this, and nothing like it, is the end.
                (Text::DotCr, b'\n') => {
                    self.used += 1;
                    if out.is_empty() {
                        self.text = Text::LineBegin;
                        return Piece::End;
                    }
                    // First what stands before it; the end is found again.
                    self.used -= 1;
                    return Piece::Octets(out);
                }
                (Text::DotCr, _) => {
                    out.push(b'\r');
                    self.text = Text::Cr;
                }
                (Text::Cr, b'\n') => {
                    out.push(b'\n');
                    self.text = Text::LineBegin;
                    self.used += 1;
                }
                // A dot before anything else was stuffed in: what follows it is the line.
                (Text::LineBegin | Text::Dot | Text::InLine | Text::Cr, _) => {
                    let rest = &self.input[self.used..];
                    let run = memchr(b'\r', rest).map_or(rest.len(), |at| at + 1);
                    out.extend_from_slice(&rest[..run]);
                    self.text = if rest[run - 1] == b'\r' { Text::Cr } else { Text::InLine };
                    self.used += run;
                }
            }
        }
        if out.is_empty() { Piece::NeedMore } else { Piece::Octets(out) }
    }

    /// Up to `left` octets as they are, for BDAT; empty when none are there.
    pub fn chunk(&mut self, left: u64) -> &[u8] {
        let there = self.input.len() - self.used;
        let taken = usize::try_from(left).map_or(there, |left| left.min(there));
        let from = self.used;
        self.used += taken;
        self.looked = self.used;
        &self.input[from..self.used]
    }
}

fn find_line_end(octets: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(b'\r', &octets[from..])?;
        if octets.get(at + 1) == Some(&b'\n') {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a message text of these octets is, and what stands behind it.
    fn message(octets: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        in_pieces(octets, &[octets.len()])
    }

    fn in_pieces(octets: &[u8], sizes: &[usize]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut framer = Framer::default();
        framer.begin_text();
        let (mut out, mut at, mut turn) = (Vec::new(), 0, 0);
        loop {
            match framer.text() {
                Piece::Octets(piece) => {
                    assert!(!piece.is_empty());
                    out.extend(piece);
                }
                Piece::End => {
                    let mut rest = framer.chunk(u64::MAX).to_vec();
                    rest.extend_from_slice(&octets[at..]);
                    return Some((out, rest));
                }
                Piece::NeedMore if at == octets.len() => return None,
                Piece::NeedMore => {
                    let size = sizes[turn % sizes.len()].clamp(1, octets.len() - at);
                    framer.feed(&octets[at..at + size]);
                    at += size;
                    turn += 1;
                }
            }
        }
    }

    #[test]
    fn only_one_thing_ends_a_message() {
        for (sent, kept) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"\r\n.\r\n", b"\r\n"),
            (b"..a\r\n...\r\n.\r\n", b".a\r\n..\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            // What other readers were fooled by.
            (b"a\n.\n b\r\n.\r\n", b"a\n.\n b\r\n"),
            (b"a\n.\r\n b\r\n.\r\n", b"a\n.\r\n b\r\n"),
            (b"a\r\n.\n b\r\n.\r\n", b"a\r\n\n b\r\n"),
            (b"a\r.\r b\r\n.\r\n", b"a\r.\r b\r\n"),
            (b"a\r\n.\r b\r\n.\r\n", b"a\r\n\r b\r\n"),
            (b"a\r\r\n.\r\n", b"a\r\r\n"),
            (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n"),
            (b"a\0\r\n.\r\n", b"a\0\r\n"),
        ] {
            let found = message(&[sent, b"QUIT\r\n"].concat());
            assert_eq!(found, Some((kept.to_vec(), b"QUIT\r\n".to_vec())), "{:?}", String::from_utf8_lossy(sent));
        }
        for endless in [&b"a\n.\n"[..], b"a\r.\r", b"a\r\n.\n", b"a\n.\r\n", b"a.\r\n", b"a\r\n.\r", b"a\r\n.\0\r\n"] {
            assert_eq!(message(endless), None, "{:?}", String::from_utf8_lossy(endless));
        }
    }

    #[test]
    fn lines_come_whole_and_long_ones_go_by() {
        let mut framer = Framer::default();
        framer.feed(b"LHLO a\r\nNO");
        assert!(framer.has_line());
        assert_eq!(framer.line(), Line::Whole(b"LHLO a".to_vec()));
        assert!(!framer.has_line());
        assert_eq!(framer.line(), Line::NeedMore);
        framer.feed(b"OP\r");
        assert_eq!(framer.line(), Line::NeedMore);
        framer.feed(b"\n\r\n");
        assert_eq!(framer.line(), Line::Whole(b"NOOP".to_vec()));
        assert_eq!(framer.line(), Line::Whole(Vec::new()));
        // 10 MB without an end take no room.
        for _ in 0..1000 {
            framer.feed(&[b'x'; 10_000]);
            assert_eq!(framer.line(), Line::NeedMore);
        }
        assert!(framer.input.capacity() < 100_000, "{}", framer.input.capacity());
        framer.feed(b"\r\nQUIT\r\n");
        assert_eq!(framer.line(), Line::TooLong);
        assert_eq!(framer.line(), Line::Whole(b"QUIT".to_vec()));
        framer.feed(&[&[b'y'; LINE_BYTES][..], b"\r\n", &[b'z'; LINE_BYTES + 1], b"\r\n"].concat());
        assert!(matches!(framer.line(), Line::Whole(line) if line.len() == LINE_BYTES));
        assert_eq!(framer.line(), Line::TooLong);
        assert!(!framer.has_more());
        framer.rest();
        assert!(framer.input.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn chunks_are_what_they_are() {
        let mut framer = Framer::default();
        framer.feed(b"BDAT 5\r\n.\r\n\0xNOOP\r\n");
        assert_eq!(framer.line(), Line::Whole(b"BDAT 5".to_vec()));
        assert_eq!(framer.chunk(5), b".\r\n\0x");
        assert_eq!(framer.chunk(0), b"");
        assert_eq!(framer.line(), Line::Whole(b"NOOP".to_vec()));
        assert_eq!(framer.chunk(u64::MAX), b"");
    }

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let bits = prop::sample::select(vec![
            &b"\r\n"[..],
            b"\r",
            b"\n",
            b".",
            b"..",
            b"\r\n.\r\n",
            b"a",
            b"long words",
            b"\0",
        ]);
        prop::collection::vec(bits, 0..40).prop_map(|bits| bits.concat())
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_are_the_same_message(text in texts(), sizes in prop::collection::vec(1usize..9, 1..6)) {
            prop_assert_eq!(in_pieces(&text, &sizes), message(&text));
        }

        #[test]
        fn what_is_stuffed_comes_back(text in texts()) {
            // RFC 5321 §4.5.2, the sender's side: a dot before every line that begins with one.
            let mut sent = Vec::new();
            for line in text.split_inclusive_crlf() {
                if line.starts_with(b".") {
                    sent.push(b'.');
                }
                sent.extend_from_slice(line);
            }
            if !sent.ends_with(b"\r\n") && !sent.is_empty() {
                sent.extend_from_slice(b"\r\n");
            }
            let is_ended = text.is_empty() || text.ends_with(b"\r\n");
            let whole = if is_ended { text.clone() } else { [&text[..], b"\r\n"].concat() };
            sent.extend_from_slice(b".\r\nrest");
            prop_assert_eq!(message(&sent), Some((whole, b"rest".to_vec())));
        }

        #[test]
        fn lines_are_the_same_in_any_pieces(text in texts(), sizes in prop::collection::vec(1usize..9, 1..6)) {
            let lines = |sizes: &[usize]| {
                let (mut framer, mut lines, mut at, mut turn) = (Framer::default(), Vec::new(), 0, 0);
                loop {
                    match framer.line() {
                        Line::NeedMore if at == text.len() => return lines,
                        Line::NeedMore => {
                            let size = sizes[turn % sizes.len()].clamp(1, text.len() - at);
                            framer.feed(&text[at..at + size]);
                            (at, turn) = (at + size, turn + 1);
                        }
                        line => lines.push(line),
                    }
                }
            };
            prop_assert_eq!(lines(&sizes), lines(&[text.len().max(1)]));
        }
    }

    trait SplitCrlf {
        fn split_inclusive_crlf(&self) -> Vec<&[u8]>;
    }

    impl SplitCrlf for Vec<u8> {
        fn split_inclusive_crlf(&self) -> Vec<&[u8]> {
            let (mut lines, mut rest) = (Vec::new(), &self[..]);
            while !rest.is_empty() {
                let end = find_line_end(rest).map_or(rest.len(), |at| at + 2);
                let (line, behind) = rest.split_at(end);
                lines.push(line);
                rest = behind;
            }
            lines
        }
    }
}

//! Reads an mbox: where its messages begin and end, how they are quoted, and what other programs wrote into their
//! headers about them. Lines of any length pass through in pieces; nothing is held but a line's beginning.

use std::io::{self, BufRead, Seek, SeekFrom};

use super::headers::{self, About};
use crate::transfer::crlf::ToNetwork;
use crate::types::date::DateTime;

/// Longest piece of a line held, in octets; no line of a header that means something here is longer, and no line is
/// quoted more often.
const MOST_PIECE_BYTES: u64 = 64 * 1024;

/// How lines that look like the beginning of a message are told from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// `>From ` stands for `From `, `>>From ` for `>From `.
    Rd,
    /// `>From ` stands for `From `; more than one `>` is the message's own.
    O,
    /// Nothing is quoted: Content-Length says where a message ends.
    None,
}

/// Why reading came to an end.
#[derive(Debug)]
pub enum Trouble<E> {
    Source(io::Error),
    /// The first line begins no message.
    NoMbox,
    Sink(E),
}

impl<E> From<io::Error> for Trouble<E> {
    fn from(error: io::Error) -> Self {
        Trouble::Source(error)
    }
}

/// One message, after its octets were given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it begins and ends in the file.
    pub from: u64,
    pub to: u64,
    /// What its From line says.
    pub date: Option<DateTime>,
    pub about: About,
    /// How many NULs became octet 128.
    pub nuls: u64,
}

/// A file of messages.
pub struct Reader<R> {
    source: R,
    quoting: Quoting,
    /// Where the next piece begins.
    at: u64,
    piece: Vec<u8>,
    /// The date of the From line that was read and whose message was not.
    next: Option<(u64, Option<DateTime>)>,
    is_begun: bool,
}

impl<R: BufRead + Seek> Reader<R> {
    /// Reads from the beginning of `source`.
    pub fn new(source: R, quoting: Quoting) -> Reader<R> {
        Reader { source, quoting, at: 0, piece: Vec::new(), next: None, is_begun: false }
    }

    /// Gives the octets of the next message to `sink`, with the line ends of IMAP; `None`: there is no more.
    pub fn next<E>(&mut self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<Option<Found>, Trouble<E>> {
        if !std::mem::replace(&mut self.is_begun, true) && !self.find_first()? {
            return Ok(None);
        }
        let Some((from, date)) = self.next.take() else { return Ok(None) };
        let mut message =
            Message { about: About::default(), owed: Vec::new(), ends: ToNetwork::default(), out: Vec::new() };
        self.header(&mut message, &mut sink)?;
        if self.next.is_none() {
            self.body(&mut message, &mut sink)?;
        }
        message.finish(&mut sink).map_err(Trouble::Sink)?;
        let to = self.next.map_or(self.at, |(to, _)| to);
        Ok(Some(Found { from, to, date, about: message.about, nuls: message.ends.nuls() }))
    }

    /// Reads empty lines and the first From line. False: the file is empty.
    fn find_first<E>(&mut self) -> Result<bool, Trouble<E>> {
        loop {
            let from = self.at;
            if !self.read_piece()? {
                return Ok(false);
            }
            if split_end(&self.piece).0.is_empty() {
                continue;
            }
            if !self.piece.starts_with(b"From ") {
                return Err(Trouble::NoMbox);
            }
            self.next = Some((from, headers::from_line(&self.piece).flatten()));
            self.skip_line()?;
            return Ok(true);
        }
    }

    /// The next line or piece of one.
    fn read_piece(&mut self) -> io::Result<bool> {
        self.piece.clear();
        let octets = io::Read::take(&mut self.source, MOST_PIECE_BYTES).read_until(b'\n', &mut self.piece)?;
        self.at += octets as u64;
        Ok(octets > 0)
    }

    /// Reads the rest of a line of which a piece was read.
    fn skip_line(&mut self) -> io::Result<()> {
        while !self.piece.ends_with(b"\n") && self.read_piece()? {}
        Ok(())
    }

    /// True when the line just read is the next message's From line, given that an empty line came before it.
    fn take_from_line(&mut self) -> io::Result<bool> {
        let Some(date) = headers::from_line(&self.piece) else { return Ok(false) };
        self.next = Some((self.at - self.piece.len() as u64, date));
        self.skip_line()?;
        Ok(true)
    }

    fn header<E>(
        &mut self,
        message: &mut Message,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Trouble<E>> {
        let (mut is_line_start, mut is_skipped) = (true, false);
        loop {
            if !self.read_piece()? {
                return Ok(());
            }
            let is_end = is_line_start && split_end(&self.piece).0.is_empty();
            if is_line_start && !self.piece.starts_with(b" ") && !self.piece.starts_with(b"\t") {
                is_skipped = message.about.take_line(&self.piece);
            }
            is_line_start = self.piece.ends_with(b"\n");
            if !is_skipped {
                message.write(&self.piece, sink).map_err(Trouble::Sink)?;
            }
            // Our own mark: from here on all octets are the message's.
            if is_end || message.about.mark.is_some() && is_line_start {
                return Ok(());
            }
        }
    }

    fn body<E>(
        &mut self,
        message: &mut Message,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), Trouble<E>> {
        let until = self.believed_end(message)?;
        let mut quoting = self.quoting;
        if message.about.mark.is_some() {
            quoting = Quoting::Rd;
        } else if let Some(until) = until
            && self.has_bare_from(until)?
        {
            quoting = Quoting::None;
        }
        // After the mark a message may begin with anything but a From line; after a header's end comes an empty line.
        let (mut is_line_start, mut was_empty) = (true, message.about.mark.is_none());
        loop {
            if !self.read_piece()? {
                return Ok(());
            }
            let begins_at = self.at - self.piece.len() as u64;
            let may_end = until.is_none_or(|until| begins_at >= until);
            if is_line_start && was_empty && may_end && self.take_from_line()? {
                return Ok(());
            }
            let quoted = if is_line_start { unquoted(&self.piece, quoting) } else { 0 };
            was_empty = is_line_start && split_end(&self.piece).0.is_empty();
            is_line_start = self.piece.ends_with(b"\n");
            message.write(&self.piece[quoted..], sink).map_err(Trouble::Sink)?;
        }
    }

    /// Where the body ends by its Content-Length, if there really is an end.
    fn believed_end(&mut self, message: &Message) -> io::Result<Option<u64>> {
        let Some(until) = message.about.content_length.and_then(|octets| self.at.checked_add(octets)) else {
            return Ok(None);
        };
        let here = self.at;
        self.source.seek(SeekFrom::Start(until))?;
        let mut is_end = false;
        // A line end or two may stand before the next From line.
        for _ in 0..3 {
            self.piece.clear();
            let octets = io::Read::take(&mut self.source, 256).read_until(b'\n', &mut self.piece)?;
            if octets == 0 || !split_end(&self.piece).0.is_empty() {
                is_end = octets == 0 || headers::from_line(&self.piece).is_some();
                break;
            }
        }
        let length = self.source.seek(SeekFrom::End(0))?;
        self.source.seek(SeekFrom::Start(here))?;
        Ok((is_end && until <= length).then_some(until))
    }

    /// Whether a body of a known length has a line in it that would begin a message: then nothing in it is quoted.
    fn has_bare_from(&mut self, until: u64) -> io::Result<bool> {
        let here = self.at;
        let (mut is_line_start, mut is_found) = (true, false);
        while self.at < until && !is_found && self.read_piece()? {
            is_found = is_line_start && self.piece.starts_with(b"From ") && self.at <= until;
            is_line_start = self.piece.ends_with(b"\n");
        }
        self.at = here;
        self.source.seek(SeekFrom::Start(here))?;
        Ok(is_found)
    }
}

/// How many octets at the beginning of a line are its quoting.
fn unquoted(line: &[u8], quoting: Quoting) -> usize {
    let marks = line.iter().take_while(|octet| **octet == b'>').count();
    let is_from = line[marks..].starts_with(b"From ");
    let is_quoted = match quoting {
        Quoting::Rd => is_from && marks > 0,
        Quoting::O => is_from && marks == 1,
        Quoting::None => false,
    };
    usize::from(is_quoted)
}

/// A line without its end, and the end.
fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let end = if line.ends_with(b"\r\n") { 2 } else { usize::from(line.ends_with(b"\n")) };
    line.split_at(line.len() - end)
}

/// A message on its way out. Line ends are written late: the last one, or two, may be the mbox's and not its own.
struct Message {
    about: About,
    owed: Vec<Vec<u8>>,
    ends: ToNetwork,
    out: Vec<u8>,
}

impl Message {
    fn write<E>(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (text, end) = split_end(piece);
        let keep = usize::from(text.is_empty());
        while self.owed.len() > keep {
            let end = self.owed.remove(0);
            self.give(&end, sink)?;
        }
        if !text.is_empty() {
            self.give(text, sink)?;
        }
        if !end.is_empty() {
            self.owed.push(end.to_vec());
        }
        Ok(())
    }

    /// Writes the line ends that are the message's own.
    fn finish<E>(&mut self, sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        // The empty line between two messages belongs to neither.
        self.owed.truncate(1);
        if let (Some(mark), Some(end)) = (&self.about.mark, self.owed.last_mut())
            && mark.is_cut
        {
            // The LF is the mbox's; a CR before it was there.
            end.pop();
        }
        for end in std::mem::take(&mut self.owed) {
            self.give(&end, sink)?;
        }
        Ok(())
    }

    fn give<E>(&mut self, octets: &[u8], sink: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.about.mark.as_ref().is_some_and(|mark| mark.is_raw) {
            return sink(octets);
        }
        self.out.clear();
        self.ends.feed(octets, &mut self.out);
        sink(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(text: &str, quoting: Quoting) -> Vec<(String, Found)> {
        let mut reader = Reader::new(Cursor::new(text.as_bytes()), quoting);
        let mut all = Vec::new();
        loop {
            let mut octets = Vec::new();
            let found = reader.next(|piece| {
                octets.extend_from_slice(piece);
                Ok::<(), ()>(())
            });
            match found.expect("it is an mbox") {
                Some(found) => all.push((String::from_utf8(octets).expect("text"), found)),
                None => return all,
            }
        }
    }

    fn texts(text: &str, quoting: Quoting) -> Vec<String> {
        read(text, quoting).into_iter().map(|(text, _)| text).collect()
    }

    const FROM: &str = "From a@b Sat Jan  3 01:05:34 1996\n";

    #[test]
    fn each_quoting_is_undone_in_its_own_way() {
        let text = format!("{FROM}A: b\n\n>From x\n>>From y\n\nFrom z\n\n{FROM}C: d\n");
        assert_eq!(texts(&text, Quoting::Rd), ["A: b\r\n\r\nFrom x\r\n>From y\r\n\r\nFrom z\r\n", "C: d\r\n"]);
        assert_eq!(texts(&text, Quoting::O)[0], "A: b\r\n\r\nFrom x\r\n>>From y\r\n\r\nFrom z\r\n");
        assert_eq!(texts(&text, Quoting::None)[0], "A: b\r\n\r\n>From x\r\n>>From y\r\n\r\nFrom z\r\n");
    }

    #[test]
    fn a_content_length_is_believed_where_it_leads_to_an_end() {
        let body = format!("one\n\n{FROM}>From two\n");
        let right = format!("{FROM}A: b\nContent-Length: {}\n\n{body}\n{FROM}C: d\n\n", body.len());
        let messages = texts(&right, Quoting::Rd);
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0], format!("A: b\r\n\r\n{}", body.replace('\n', "\r\n")), "nothing in it is quoted");
        for wrong in [body.len() - 3, body.len() + 7, 1 << 40] {
            let text = format!("{FROM}A: b\nContent-Length: {wrong}\n\n{body}\n{FROM}C: d\n\n");
            assert_eq!(texts(&text, Quoting::Rd).len(), 3, "{wrong}");
        }
    }

    #[test]
    fn what_programs_wrote_is_taken_out_and_understood() {
        let text = format!("{FROM}Status: RO\nX-Status: AF\nA: b\nX-Keywords: work\n home\nX-UID: 7\n\nx\n\n");
        let (text, found) = &read(&text, Quoting::Rd)[0];
        assert_eq!(text, "A: b\r\n\r\nx\r\n", "with the line that goes on");
        assert_eq!((found.about.flags.bits(), found.about.uid), (11, Some(7)));
        assert_eq!(found.date, Some(DateTime::utc(820_631_134)));
    }

    #[test]
    fn empty_files_and_other_files() {
        assert!(texts("", Quoting::Rd).is_empty());
        assert!(texts("\n\n", Quoting::Rd).is_empty());
        assert_eq!(texts(FROM, Quoting::Rd), [""]);
        let mut other = Reader::new(Cursor::new(&b"Subject: x\n\n"[..]), Quoting::Rd);
        assert!(matches!(other.next(|_| Ok::<(), ()>(())), Err(Trouble::NoMbox)));
        let long = "x".repeat(200_000);
        assert_eq!(texts(&format!("{FROM}A: {long}\n\n{long}"), Quoting::Rd), [format!("A: {long}\r\n\r\n{long}")]);
    }
}

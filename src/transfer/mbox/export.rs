//! mbox on the way out: one file for each mailbox, quoted as mboxrd, with the headers that mail programs look for. A mark
//! of our own behind them says where the message begins, so that an import here brings back every octet.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::headers::{Mark, write_from};
use crate::transfer::crlf::ToUnix;
use crate::transfer::outlet::{Outlet, Sink};
use crate::transfer::talk::{MailboxLine, MessageLine};
use crate::transfer::{Stopped, Tally, Watch};
use crate::types::date::DateTime;
use crate::types::{MailboxName, SystemFlag};

/// The list of what lies in the folder.
const CONTENTS: &str = "pillarbox-mailboxes";
/// Largest list read, in octets.
const MOST_CONTENTS_BYTES: u64 = 64 << 20;
/// How a line begins that has to be quoted, behind any number of `>`.
const FROM: &[u8] = b"From ";
/// Longest part of a mailbox's name that goes into a file's name, in octets.
const MOST_NAME_BYTES: usize = 120;

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub file: String,
    pub is_subscribed: bool,
    pub name: MailboxName,
}

/// The list.
pub struct Contents;

impl Contents {
    /// The list in a folder that an export made; `None`: it is another one's.
    pub fn read(folder: &Path) -> Option<Vec<Line>> {
        let mut text = String::new();
        let file = File::open(folder.join(CONTENTS)).ok()?;
        file.take(MOST_CONTENTS_BYTES).read_to_string(&mut text).ok()?;
        Some(text.lines().filter_map(Contents::line).collect())
    }

    fn line(line: &str) -> Option<Line> {
        let mut fields = line.splitn(3, '\t');
        let (file, subscribed, name) = (fields.next()?, fields.next()?, fields.next()?);
        // The list names files beside it, and nothing else.
        if file.contains('/') || file.starts_with('.') {
            return None;
        }
        let name = MailboxName::new(name).ok()?;
        Some(Line { file: file.to_owned(), is_subscribed: subscribed == "subscribed", name })
    }
}

/// Writes the mailboxes into `root`, which is a new or empty directory.
pub fn export(
    root: &Path,
    mailboxes: &[MailboxLine],
    outlet: &mut Outlet,
    watch: &mut dyn Watch,
) -> Result<Tally, Stopped> {
    let trouble = |error: io::Error| Stopped::at(root.display(), error);
    let mut tally = Tally::default();
    watch.expect(mailboxes.iter().map(|mailbox| mailbox.octets).sum());
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(trouble(error)),
        _ => {}
    }
    let mut contents = String::new();
    for (at, mailbox) in mailboxes.iter().enumerate() {
        watch.enter(mailbox.name.as_str());
        let file = file_name(&mailbox.name, at);
        let word = if mailbox.is_subscribed { "subscribed" } else { "unsubscribed" };
        contents.push_str(&format!("{file}\t{word}\t{}\n", mailbox.name));
        let created = create(&root.join(&file)).map_err(trouble)?;
        let mut writer = Writer { mailbox, watch, tally: &mut tally, file: BufWriter::new(created), under_way: None };
        outlet.read(&mailbox.name, &mut writer)?;
        writer.file.flush().map_err(trouble)?;
        tally.mailboxes += 1;
    }
    create(&root.join(CONTENTS)).and_then(|mut file| file.write_all(contents.as_bytes())).map_err(trouble)?;
    // One wait for the disk for all of it.
    let opened = File::open(root).map_err(trouble)?;
    rustix::fs::syncfs(&opened).map_err(|error| trouble(error.into()))?;
    Ok(tally)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// A name that every file system takes and a person understands; the number keeps two from being one.
fn file_name(name: &MailboxName, at: usize) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.');
    let mut plain: String = name.as_str().chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    plain.truncate(plain.floor_char_boundary(MOST_NAME_BYTES));
    format!("{:04}-{plain}.mbox", at + 1)
}

/// Writes one file.
struct Writer<'a> {
    mailbox: &'a MailboxLine,
    watch: &'a mut dyn Watch,
    tally: &'a mut Tally,
    file: BufWriter<File>,
    under_way: Option<UnderWay>,
}

/// The message being collected. Its beginning depends on its end, so it is held back: in memory, and in a file without a
/// name once it is large.
struct UnderWay {
    message: MessageLine,
    held: Held,
    ends: ToUnix,
    is_raw: bool,
    last: u8,
}

/// Octets that are held back.
enum Held {
    Memory(Vec<u8>),
    File(File),
}

/// What is held in memory, in octets.
const IN_MEMORY_BYTES: usize = 1 << 20;

impl Held {
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Held::Memory(held) if held.len() + octets.len() > IN_MEMORY_BYTES => {
                let mut file = nameless()?;
                file.write_all(held)?;
                file.write_all(octets)?;
                *self = Held::File(file);
                Ok(())
            }
            Held::Memory(held) => {
                held.extend_from_slice(octets);
                Ok(())
            }
            Held::File(file) => file.write_all(octets),
        }
    }

    fn pieces(&mut self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Held::Memory(held) => each(held),
            Held::File(file) => {
                file.seek(SeekFrom::Start(0))?;
                let mut piece = vec![0; 256 * 1024];
                loop {
                    match file.read(&mut piece)? {
                        0 => return Ok(()),
                        octets => each(&piece[..octets])?,
                    }
                }
            }
        }
    }
}

/// A file that is gone when it is closed.
fn nameless() -> io::Result<File> {
    let mut octets = [0u8; 8];
    getrandom::fill(&mut octets).map_err(io::Error::other)?;
    let path = std::env::temp_dir().join(format!("pillarbox-export-{:016x}", u64::from_le_bytes(octets)));
    let file = create(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl Writer<'_> {
    fn trouble(&self, error: io::Error) -> Stopped {
        Stopped::at(self.mailbox.name.as_str(), error)
    }

    fn keep(&mut self, under_way: UnderWay) -> io::Result<()> {
        let UnderWay { message, mut held, is_raw, last, .. } = under_way;
        let mark = Mark { is_raw, is_cut: last != b'\n', date: message.date };
        self.head(&message, &mark)?;
        let mut quoter = Quoter { to: &mut self.file, ends: ToUnix::default(), line: Vec::new(), is_in_line: false };
        held.pieces(|piece| quoter.write(piece, is_raw))?;
        quoter.finish(is_raw)?;
        // The line end that a message must have here, and the empty line between two.
        self.file.write_all(if mark.is_cut { b"\n\n" } else { b"\n" })?;
        self.tally.messages += 1;
        self.tally.octets += u64::from(message.size);
        Ok(())
    }

    /// The From line, and what mail programs look for.
    fn head(&mut self, message: &MessageLine, mark: &Mark) -> io::Result<()> {
        let flags = &message.flags;
        let letter = |flag, letter: &'static str| if flags.has(flag) { letter } else { "" };
        let mut head = write_from(message.date.unwrap_or(DateTime::utc(0)));
        head.push_str(&format!("\nStatus: {}O\n", letter(SystemFlag::Seen, "R")));
        head.push_str(&format!(
            "X-Status: {}{}{}{}\n",
            letter(SystemFlag::Answered, "A"),
            letter(SystemFlag::Flagged, "F"),
            letter(SystemFlag::Deleted, "D"),
            letter(SystemFlag::Draft, "T")
        ));
        for keyword in flags.keywords() {
            // One a line: lines have a bound, and a message's keywords have none to speak of.
            head.push_str(&format!("X-Keywords: {keyword}\n"));
        }
        if self.file.buffer().is_empty() && self.file.get_ref().metadata()?.len() == 0 {
            let (validity, last) = (self.mailbox.uid_validity.0, self.mailbox.uid_next.saturating_sub(1));
            head.push_str(&format!("X-IMAPbase: {validity} {last:010}\n"));
        }
        head.push_str(&format!("X-UID: {}\n{}\n", message.uid.0, mark.write()));
        self.file.write_all(head.as_bytes())
    }
}

impl Sink for Writer<'_> {
    fn begin(&mut self, message: &MessageLine) -> Result<(), Stopped> {
        let (held, ends) = (Held::Memory(Vec::new()), ToUnix::default());
        self.under_way = Some(UnderWay { message: message.clone(), held, ends, is_raw: false, last: 0 });
        Ok(())
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), Stopped> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        under_way.last = octets.last().copied().unwrap_or(under_way.last);
        // Only looked at: what is written in the end depends on all of it.
        under_way.is_raw |= octets.contains(&0);
        if !under_way.is_raw {
            under_way.is_raw = under_way.ends.feed(octets, &mut Vec::new()).is_err();
        }
        let written = under_way.held.write(octets);
        written.map_err(|error| self.trouble(error))
    }

    fn end(&mut self, spoiled: Option<&str>) -> Result<(), Stopped> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        self.watch.advance(u64::from(under_way.message.size));
        match spoiled {
            None => self.keep(under_way).map_err(|error| self.trouble(error)),
            Some(why) => {
                self.tally.miss_message(self.watch, &self.mailbox.name, under_way.message.uid, why);
                Ok(())
            }
        }
    }
}

/// Writes `>` before each line that begins with any number of `>` and `From `.
struct Quoter<'a, W> {
    to: &'a mut W,
    ends: ToUnix,
    /// The beginning of a line, behind its marks, that may have to be quoted.
    line: Vec<u8>,
    /// The rest of the line needs no look.
    is_in_line: bool,
}

impl<W: Write> Quoter<'_, W> {
    fn write(&mut self, octets: &[u8], is_raw: bool) -> io::Result<()> {
        if is_raw {
            return self.quote(octets);
        }
        let mut out = Vec::with_capacity(octets.len());
        self.ends.feed(octets, &mut out).map_err(|_| io::Error::other("line ends were looked at before"))?;
        self.quote(&out)
    }

    fn finish(mut self, is_raw: bool) -> io::Result<()> {
        let mut rest = Vec::new();
        if !is_raw {
            std::mem::take(&mut self.ends).finish(&mut rest);
        }
        self.quote(&rest)?;
        self.to.write_all(&self.line)
    }

    fn quote(&mut self, octets: &[u8]) -> io::Result<()> {
        for mut line in octets.split_inclusive(|octet| *octet == b'\n') {
            if !self.is_in_line && self.line.is_empty() {
                // Where among the marks the one more stands makes no difference.
                let marks = line.iter().take_while(|octet| **octet == b'>').count();
                self.to.write_all(&line[..marks])?;
                line = &line[marks..];
            }
            if self.is_in_line {
                self.to.write_all(line)?;
            } else {
                self.line.extend_from_slice(line);
                if self.line.len() < FROM.len() && FROM.starts_with(&self.line) {
                    // Too little to tell.
                    continue;
                }
                if self.line.starts_with(FROM) {
                    self.to.write_all(b">")?;
                }
                self.to.write_all(&self.line)?;
                self.line.clear();
            }
            self.is_in_line = !line.ends_with(b"\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::mbox::reader::{Quoting, Reader};
    use proptest::prelude::*;

    #[test]
    fn files_have_names_that_people_understand() {
        let name = |text: &str| MailboxName::new(text).expect("a name");
        assert_eq!(file_name(&name("Reisen/Köln: 2"), 0), "0001-Reisen_Köln_ 2.mbox");
        assert_eq!(file_name(&name(&"ä".repeat(200)), 11).len(), 5 + MOST_NAME_BYTES + 5);
        assert!(Contents::line("../x\tsubscribed\ta").is_none());
        let line = Line { file: "0001-a.mbox".into(), is_subscribed: true, name: name("a") };
        assert_eq!(Contents::line("0001-a.mbox\tsubscribed\ta"), Some(line));
    }

    proptest! {
        /// Whatever a message is made of, quoting and reading give it back.
        #[test]
        fn every_octet_comes_back(parts in proptest::collection::vec("(From |>|\r\n|\n|\r|a|Status: R|\0)", 0..24), cut in 0usize..40) {
            let message = parts.concat().into_bytes();
            let (one, other) = message.split_at(cut.min(message.len()));
            let (mut ends, mut dropped) = (ToUnix::default(), Vec::new());
            let is_raw = message.contains(&0) || ends.feed(&message, &mut dropped).is_err();
            let mut file = Vec::new();
            let mark = Mark { is_raw, is_cut: !message.ends_with(b"\n"), date: None };
            file.extend_from_slice(format!("{}\nX-UID: 1\n{}\n", write_from(DateTime::utc(0)), mark.write()).as_bytes());
            let mut quoter = Quoter { to: &mut file, ends: ToUnix::default(), line: Vec::new(), is_in_line: false };
            quoter.write(one, is_raw).expect("written");
            quoter.write(other, is_raw).expect("written");
            quoter.finish(is_raw).expect("written");
            file.extend_from_slice(if mark.is_cut { b"\n\n" } else { b"\n" });
            file.extend_from_slice(format!("{}\n{}\nnext\n", write_from(DateTime::utc(0)), mark.write()).as_bytes());
            let mut reader = Reader::new(io::Cursor::new(&file), Quoting::Rd);
            let mut back = Vec::new();
            let found = reader.next(|octets| { back.extend_from_slice(octets); Ok::<(), ()>(()) });
            prop_assert!(matches!(found, Ok(Some(_))));
            prop_assert_eq!(&back, &message, "{:?}", String::from_utf8_lossy(&file));
            prop_assert!(matches!(reader.next(|_| Ok::<(), ()>(())), Ok(Some(_))));
            prop_assert!(matches!(reader.next(|_| Ok::<(), ()>(())), Ok(None)));
        }
    }
}

//! Maildir++ on the way out, with what Dovecot and an import here want beside the mail, so that UIDs, keywords and
//! subscriptions come back. What Maildir has no place for stands in `pillarbox-messages`.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::lists::{Extra, letters};
use crate::transfer::crlf::ToUnix;
use crate::transfer::outlet::{Outlet, Sink};
use crate::transfer::talk::{MailboxLine, MessageLine};
use crate::transfer::{Stopped, Tally, Watch, names};
use crate::types::{Keyword, MailboxName};
use crate::wire::utf7;

/// Longest file name that file systems take, in octets.
const MOST_NAME_BYTES: usize = 255;

/// Writes the mailboxes into `root`, which is a new or empty directory.
pub fn export(
    root: &Path,
    mailboxes: &[MailboxLine],
    outlet: &mut Outlet,
    watch: &mut dyn Watch,
) -> Result<Tally, Stopped> {
    let mut tally = Tally::default();
    watch.expect(mailboxes.iter().map(|mailbox| mailbox.octets).sum());
    make_maildir(root)?;
    let mut subscribed = String::from("V\t2\n\n");
    for mailbox in mailboxes {
        let Some(folder) = folder_of(root, &mailbox.name) else {
            tally.missed += u64::from(mailbox.messages).max(1);
            watch.miss(mailbox.name.as_str(), "its name is too long for a Maildir; export it as mbox");
            continue;
        };
        watch.enter(mailbox.name.as_str());
        if mailbox.is_subscribed {
            let levels: Vec<_> = mailbox.name.as_str().split(MailboxName::SEPARATOR).map(utf7::encode).collect();
            subscribed.push_str(&levels.join("\t"));
            subscribed.push('\n');
        }
        if folder != root {
            make_maildir(&folder)?;
        }
        let mut writer = Writer::begin(&folder, mailbox, watch, &mut tally)?;
        outlet.read(&mailbox.name, &mut writer)?;
        writer.finish()?;
        tally.mailboxes += 1;
    }
    write_new(&root.join("subscriptions"), subscribed.as_bytes())?;
    let opened = File::open(root).map_err(|error| Stopped::at(root.display(), error))?;
    // One wait for the disk for all of it.
    rustix::fs::syncfs(&opened).map_err(|error| Stopped::at(root.display(), error))?;
    Ok(tally)
}

fn make_maildir(folder: &Path) -> Result<(), Stopped> {
    for path in [folder.to_owned(), folder.join("tmp"), folder.join("new"), folder.join("cur")] {
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Stopped::at(path.display(), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a mailbox goes; `None` when no directory can have its name.
fn folder_of(root: &Path, name: &MailboxName) -> Option<PathBuf> {
    if name.is_inbox() {
        return Some(root.to_owned());
    }
    let levels = name.as_str().split(MailboxName::SEPARATOR);
    let encoded: String = levels.map(|level| format!(".{}", utf7::encode(level).replace('.', names::DOT))).collect();
    (encoded.len() <= MOST_NAME_BYTES).then(|| root.join(encoded))
}

fn write_new(path: &Path, octets: &[u8]) -> Result<(), Stopped> {
    create(path).and_then(|mut file| file.write_all(octets)).map_err(|error| Stopped::at(path.display(), error))
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes one folder.
struct Writer<'a> {
    folder: &'a Path,
    mailbox: &'a MailboxLine,
    watch: &'a mut dyn Watch,
    tally: &'a mut Tally,
    keywords: Vec<Keyword>,
    uids: BufWriter<File>,
    extras: BufWriter<File>,
    under_way: Option<UnderWay>,
}

/// The message being written, below `tmp`.
struct UnderWay {
    message: MessageLine,
    temporary: PathBuf,
    file: BufWriter<File>,
    /// `None`: its line ends would not come back, and stay as they are.
    ends: Option<ToUnix>,
    /// How many octets came so far.
    written: u64,
}

impl<'a> Writer<'a> {
    fn begin(
        folder: &'a Path,
        mailbox: &'a MailboxLine,
        watch: &'a mut dyn Watch,
        tally: &'a mut Tally,
    ) -> Result<Writer<'a>, Stopped> {
        let open = |name: &str| {
            let path = folder.join(name);
            create(&path).map(BufWriter::new).map_err(|error| Stopped::at(path.display(), error))
        };
        let (mut uids, extras) = (open("dovecot-uidlist")?, open("pillarbox-messages")?);
        let header = format!("3 V{} N{}\n", mailbox.uid_validity.0, mailbox.uid_next);
        uids.write_all(header.as_bytes()).map_err(|error| Stopped::at(folder.display(), error))?;
        Ok(Writer { folder, mailbox, watch, tally, keywords: Vec::new(), uids, extras, under_way: None })
    }

    fn trouble(&self, error: std::io::Error) -> Stopped {
        Stopped::at(self.folder.display(), error)
    }

    fn finish(mut self) -> Result<(), Stopped> {
        let lines: String = self.keywords.iter().enumerate().map(|(at, word)| format!("{at} {word}\n")).collect();
        write_new(&self.folder.join("dovecot-keywords"), lines.as_bytes())?;
        let flushed = self.uids.flush().and_then(|()| self.extras.flush());
        flushed.map_err(|error| self.trouble(error))
    }

    /// Gives the message its place.
    fn keep(&mut self, under_way: UnderWay) -> std::io::Result<()> {
        let UnderWay { message, temporary, mut file, ends, .. } = under_way;
        let is_raw = ends.is_none();
        let mut rest = Vec::new();
        if let Some(ends) = ends {
            ends.finish(&mut rest);
        }
        file.write_all(&rest)?;
        let file = file.into_inner().map_err(|error| error.into_error())?;
        let seconds = message.date.map_or(0, |date| date.unix_seconds);
        // A time before 1970, which no mail has, stands in the list only.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        file.set_times(FileTimes::new().set_modified(modified))?;
        let octets = file.metadata()?.len();
        let (uid, validity) = (message.uid.0, self.mailbox.uid_validity.0);
        let base = format!("{}.V{validity}U{uid}.pillarbox,S={octets},W={}", seconds.max(0), message.size);
        let (letters, keywords) = letters(&message.flags, &mut self.keywords);
        fs::rename(&temporary, self.folder.join("cur").join(format!("{base}:2,{letters}")))?;
        self.uids.write_all(format!("{uid} :{base}\n").as_bytes())?;
        let is_plain_date = message.date.is_none_or(|date| date.zone_minutes == 0 && date.unix_seconds >= 0);
        if is_raw || !is_plain_date || !keywords.is_empty() {
            let extra = Extra { is_raw, date: message.date, keywords };
            self.extras.write_all(extra.write(&base).as_bytes())?;
        }
        self.tally.messages += 1;
        self.tally.octets += u64::from(message.size);
        Ok(())
    }
}

impl Sink for Writer<'_> {
    fn begin(&mut self, message: &MessageLine) -> Result<(), Stopped> {
        let temporary = self.folder.join("tmp").join(format!("{}", message.uid.0));
        let file = create(&temporary).map(BufWriter::new).map_err(|error| self.trouble(error))?;
        let ends = Some(ToUnix::default());
        self.under_way = Some(UnderWay { message: message.clone(), temporary, file, ends, written: 0 });
        Ok(())
    }

    fn octets(&mut self, octets: &[u8]) -> Result<(), Stopped> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        let outcome = under_way.feed(octets);
        outcome.map_err(|error| self.trouble(error))
    }

    fn end(&mut self, spoiled: Option<&str>) -> Result<(), Stopped> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        self.watch.advance(u64::from(under_way.message.size));
        match spoiled {
            None => self.keep(under_way).map_err(|error| self.trouble(error)),
            Some(why) => {
                self.tally.miss_message(self.watch, &self.mailbox.name, under_way.message.uid, why);
                fs::remove_file(&under_way.temporary).map_err(|error| self.trouble(error))
            }
        }
    }
}

impl UnderWay {
    fn feed(&mut self, octets: &[u8]) -> std::io::Result<()> {
        let Some(ends) = &mut self.ends else { return self.file.write_all(octets) };
        let mut out = Vec::new();
        if ends.feed(octets, &mut out).is_ok() {
            self.written += octets.len() as u64;
            return self.file.write_all(&out);
        }
        self.begin_again()?;
        self.file.write_all(octets)
    }

    /// Puts back the line ends of what was written so far: all of them had been CRLF.
    fn begin_again(&mut self) -> std::io::Result<()> {
        self.ends = None;
        self.file.flush()?;
        let mut before = BufWriter::new(create(&self.temporary.with_extension("raw"))?);
        let mut reader = BufReader::new(File::open(&self.temporary)?);
        let (mut piece, mut left) = (vec![0; 64 * 1024], self.written);
        while left > 0 {
            let octets = reader.read(&mut piece)?;
            if octets == 0 {
                // A CR that is held back is the last octet and was not written.
                before.write_all(b"\r")?;
                break;
            }
            for &octet in &piece[..octets] {
                if octet == b'\n' {
                    before.write_all(b"\r")?;
                    left -= 1;
                }
                before.write_all(&[octet])?;
                left -= 1;
            }
        }
        before.flush()?;
        fs::rename(self.temporary.with_extension("raw"), &self.temporary)?;
        self.file = before;
        Ok(())
    }
}

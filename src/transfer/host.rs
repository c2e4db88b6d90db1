//! The side of a transfer that has the mail store: it does what is asked, for one account, until the other side is
//! done. What it holds is bounded, and what it has told as placed would survive a power cut.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::Notify;

use super::MOST_MESSAGE_BYTES;
use super::talk::{self, Ask, Fate, HEAD_BYTES, MailboxLine, MessageLine, PIECE_BYTES, Tell};
use crate::mailstore::{
    Account, Adopt, Draft, Error, ImportKey, ImportOutcome, ImportedMessage, MailStore, NewMessage, PageRow, Piece,
    Row, SourceId, View, Wanted, WantedSection,
};
use crate::types::date::DateTime;
use crate::types::{FlagSet, MailboxName, SectionText, Uid, UidValidity};

/// Messages are placed in batches of at most so many, and at most so many octets: one sync for all of them.
const BATCH_MESSAGES: usize = 256;
const BATCH_BYTES: u64 = 4 << 20;
/// The free room is looked at again after so many octets of one message.
const LOOK_EVERY_BYTES: u64 = 16 << 20;

/// Once the user is gone, how long the other side may leave an answer unread.
const LAST_WORD_PATIENCE: Duration = Duration::from_secs(1);
const REMOVED: &str = "the user was removed while this ran";

/// Answers until the other side hangs up, or `end` says that the account's user is gone. An error is of the stream; what
/// the store refuses is told over there.
pub async fn serve<R, W>(store: &MailStore, account: &Account, reader: R, writer: W, end: &Notify) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let writer = BufWriter::with_capacity(PIECE_BYTES, writer);
    let out = Outgoing { writer, frame: Vec::new(), end, has_ended: false };
    let mut host = Host { store, account, out, has_begun: false, target: None, source: None, intake: None };
    let mut reader = BufReader::with_capacity(PIECE_BYTES, reader);
    let mut fields = Vec::new();
    loop {
        // What was answered leaves before the next question is waited for, unless that is here already.
        if reader.buffer().len() < HEAD_BYTES {
            host.out.flush().await?;
        }
        if host.out.has_ended() {
            return host.fail(REMOVED.to_owned()).await;
        }
        // Between two questions nothing is half done: here is where an end is clean.
        let asked = tokio::select! {
            biased;
            () = end.notified() => return host.fail(REMOVED.to_owned()).await,
            asked = next_ask(&mut reader, &mut fields) => asked?,
        };
        let Some(ask) = asked else { return Ok(()) };
        if let Err(error) = host.obey(ask).await? {
            return host.fail(error.to_string()).await;
        }
    }
}

/// The next question; `None`: the other side hung up.
async fn next_ask<R: AsyncRead + Unpin>(reader: &mut BufReader<R>, fields: &mut Vec<u8>) -> io::Result<Option<Ask>> {
    let mut head = [0; HEAD_BYTES];
    match reader.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (letter, length) = talk::head(head).ok_or_else(no_frame)?;
    fields.resize(length, 0);
    reader.read_exact(fields).await?;
    Ask::read(letter, fields).ok_or_else(no_frame).map(Some)
}

fn no_frame() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a frame of a transfer")
}

/// The store's refusals inside, the stream's troubles outside.
type Outcome<T = ()> = io::Result<Result<T, Error>>;

/// Unwraps the inside of an [`Outcome`], or hands its refusal on.
macro_rules! store {
    ($outcome:expr) => {
        match $outcome {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}

struct Outgoing<'a, W> {
    writer: W,
    frame: Vec<u8>,
    end: &'a Notify,
    /// `end` was heard.
    has_ended: bool,
}

impl<W: AsyncWrite + Unpin> Outgoing<'_, W> {
    async fn tell(&mut self, tell: &Tell) -> io::Result<()> {
        self.frame.clear();
        tell.write(&mut self.frame);
        self.send().await
    }

    async fn send(&mut self) -> io::Result<()> {
        unless_ended(self.writer.write_all(&self.frame), self.end, &mut self.has_ended).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        unless_ended(self.writer.flush(), self.end, &mut self.has_ended).await
    }

    /// Whether the user is gone by now.
    fn has_ended(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        self.has_ended = self.has_ended || pin!(self.end.notified()).poll(&mut context).is_ready();
        self.has_ended
    }

    async fn piece(&mut self, octets: &[u8]) -> io::Result<()> {
        for piece in octets.chunks(PIECE_BYTES) {
            self.frame.clear();
            talk::write_piece(piece, &mut self.frame);
            self.send().await?;
        }
        Ok(())
    }
}

/// Writes, as long as that may take; when the user is gone only a little longer: somebody waits for the end of this, and
/// whoever reads nothing need not be told.
async fn unless_ended(
    writing: impl Future<Output = io::Result<()>>,
    end: &Notify,
    has_ended: &mut bool,
) -> io::Result<()> {
    let mut writing = pin!(writing);
    if !*has_ended {
        tokio::select! {
            biased;
            written = &mut writing => return written,
            () = end.notified() => *has_ended = true,
        }
    }
    let written = tokio::time::timeout(LAST_WORD_PATIENCE, writing).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

struct Host<'a, W> {
    store: &'a MailStore,
    account: &'a Account,
    out: Outgoing<'a, W>,
    has_begun: bool,
    /// The mailbox messages go to, and the UIDVALIDITY under which their UIDs are kept.
    target: Option<(MailboxName, Option<UidValidity>)>,
    /// The folder of another server they come from, if its changes are followed.
    source: Option<SourceId>,
    intake: Option<Intake>,
}

/// Messages on their way in.
#[derive(Default)]
struct Intake {
    draft: Option<Draft>,
    /// Why the message under way is not taken; the rest of its octets is read past.
    spoiled: Option<String>,
    batch: Vec<ImportedMessage>,
    batch_bytes: u64,
    /// What is to be told, in the order asked; `None` is the next of the batch.
    fates: Vec<Option<Fate>>,
}

impl<W: AsyncWrite + Unpin> Host<'_, W> {
    /// The last word.
    async fn fail(&mut self, why: String) -> io::Result<()> {
        self.out.tell(&Tell::Failed(why)).await?;
        self.out.flush().await
    }

    async fn obey(&mut self, ask: Ask) -> Outcome {
        match ask {
            Ask::Adopt { name, uid_validity, is_subscribed } => {
                store!(self.settle().await?);
                if !std::mem::replace(&mut self.has_begun, true) {
                    store!(self.account.begin_import().await);
                }
                let adopted =
                    store!(self.account.adopt(Adopt { name: name.clone(), uid_validity, is_subscribed }).await);
                self.source = None;
                self.target = Some((name, adopted.keeps_uids.then_some(adopted.uid_validity)));
                self.out.tell(&Tell::Adopted { keeps_uids: adopted.keeps_uids }).await?;
            }
            Ask::Known(keys) => {
                let Some((mailbox, _)) = &self.target else { return Err(no_frame()) };
                let known = store!(self.account.imported(mailbox, keys).await);
                self.out.tell(&Tell::Known(known)).await?;
            }
            Ask::Follow(key) => {
                let Some((mailbox, _)) = &self.target else { return Err(no_frame()) };
                let following = store!(self.account.follow(mailbox, key).await);
                self.source = Some(following.source);
                self.out.tell(&Tell::Mark(following.mark)).await?;
            }
            Ask::Flags(flags) => {
                let (mailbox, source) = self.followed()?;
                let followed = store!(self.account.follow_flags(mailbox, source, flags).await);
                self.out.tell(&Tell::Followed(followed)).await?;
            }
            Ask::Gone { from, to, present } => {
                let (mailbox, source) = self.followed()?;
                let followed = store!(self.account.follow_gone(mailbox, source, (from, to), present).await);
                self.out.tell(&Tell::Followed(followed)).await?;
            }
            Ask::Mark(mark) => {
                store!(self.settle().await?);
                let (_, source) = self.followed()?;
                store!(self.account.followed_up_to(source, mark).await);
            }
            Ask::Octets(octets) => store!(self.take_in(&octets).await),
            Ask::Discard => {
                let intake = self.intake.get_or_insert_default();
                (intake.draft, intake.spoiled) = (None, None);
            }
            Ask::Place { key, uid, flags, date } => store!(self.place(key, uid, flags, date).await?),
            Ask::Settle => store!(self.settle().await?),
            Ask::Finish { uid_next } => {
                store!(self.settle().await?);
                if let (Some((mailbox, Some(validity))), Some(uid_next)) = (&self.target, uid_next) {
                    store!(self.account.finish_import(mailbox, *validity, uid_next).await);
                }
                self.out.tell(&Tell::Done).await?;
            }
            Ask::List => store!(self.list().await?),
            Ask::Read(name) => store!(self.read(&name).await?),
        }
        Ok(Ok(()))
    }

    fn followed(&self) -> io::Result<(&MailboxName, SourceId)> {
        match (&self.target, self.source) {
            (Some((mailbox, _)), Some(source)) => Ok((mailbox, source)),
            _ => Err(no_frame()),
        }
    }

    /// Takes in octets. A message that is too large is read past; a full disk is the end.
    async fn take_in(&mut self, octets: &[u8]) -> Result<(), Error> {
        let intake = self.intake.get_or_insert_default();
        if intake.spoiled.is_some() {
            return Ok(());
        }
        let draft = intake.draft.get_or_insert_with(|| self.account.draft());
        let (before, after) = (draft.octets(), draft.octets() + octets.len() as u64);
        if after > MOST_MESSAGE_BYTES {
            intake.spoiled = Some(format!("it has more than {MOST_MESSAGE_BYTES} octets"));
            intake.draft = None;
            return Ok(());
        }
        if before / LOOK_EVERY_BYTES != after / LOOK_EVERY_BYTES && self.store.is_disk_low() {
            return Err(Error::DiskFull);
        }
        draft.write(octets).await
    }

    async fn place(&mut self, key: ImportKey, uid: Option<Uid>, flags: FlagSet, date: Option<DateTime>) -> Outcome {
        if self.target.is_none() {
            return Err(no_frame());
        }
        let intake = self.intake.get_or_insert_default();
        let fate = match (intake.spoiled.take(), intake.draft.take()) {
            (Some(why), _) => Some(Fate::Refused(why)),
            (None, None) => Some(Fate::Refused("it is empty".into())),
            (None, Some(draft)) => {
                intake.batch_bytes += draft.octets();
                let prepared = store!(draft.finish().await);
                let message = NewMessage { prepared, flags, internal_date: date };
                intake.batch.push(ImportedMessage { key, uid, source: self.source, message });
                None
            }
        };
        intake.fates.push(fate);
        if intake.fates.len() >= BATCH_MESSAGES || intake.batch_bytes >= BATCH_BYTES {
            return self.settle().await;
        }
        Ok(Ok(()))
    }

    /// Makes the batch durable and tells what became of each message.
    async fn settle(&mut self) -> Outcome {
        let Some(mut intake) = self.intake.take() else { return Ok(Ok(())) };
        let batch = std::mem::take(&mut intake.batch);
        let mut outcomes = Vec::new().into_iter();
        if let (false, Some((mailbox, keep_under))) = (batch.is_empty(), &mut self.target) {
            let placed = store!(self.account.place_imported(mailbox, *keep_under, batch).await);
            if placed.renumbered {
                *keep_under = None;
                self.out.tell(&Tell::Renumbered).await?;
            }
            outcomes = placed.outcomes.into_iter();
        }
        for fate in std::mem::take(&mut intake.fates) {
            let fate = fate.or_else(|| outcomes.next().map(fate_of)).ok_or_else(no_frame)?;
            self.out.tell(&Tell::Fate(fate)).await?;
        }
        // A message may be under way while the ones before it are settled.
        if intake.draft.is_some() || intake.spoiled.is_some() {
            self.intake = Some(Intake { batch_bytes: 0, ..intake });
        }
        Ok(Ok(()))
    }

    async fn list(&mut self) -> Outcome {
        let (mailboxes, _) = self.account.mailboxes();
        for listed in mailboxes.into_iter().filter(|listed| !listed.is_noselect) {
            // Deleted just now: then there is nothing to list.
            let Ok(status) = self.account.status(&listed.name).await else { continue };
            let line = MailboxLine {
                name: listed.name,
                is_subscribed: listed.is_subscribed,
                uid_validity: status.uid_validity,
                uid_next: status.uid_next,
                messages: status.messages,
                octets: status.bytes,
            };
            self.out.tell(&Tell::Mailbox(line)).await?;
        }
        self.out.tell(&Tell::Done).await?;
        Ok(Ok(()))
    }

    async fn read(&mut self, name: &MailboxName) -> Outcome {
        let view = store!(self.account.open(name, true).await);
        for (span, uids) in view.by_span(&view.membership().all()) {
            let rows: Arc<[Row]> = store!(view.rows(span, &uids).await).into();
            let mut at = 0;
            while at < rows.len() {
                if self.out.has_ended() {
                    return Ok(Ok(()));
                }
                at += store!(self.read_page(&view, &rows, at).await?);
            }
        }
        self.out.tell(&Tell::Done).await?;
        Ok(Ok(()))
    }

    /// Sends the messages of one page; how many.
    async fn read_page(&mut self, view: &View, rows: &Arc<[Row]>, from: usize) -> Outcome<usize> {
        let whole = WantedSection { path: Vec::new(), text: SectionText::Whole, partial: None };
        let wanted = Arc::new(Wanted { dates: true, keeps_nul: true, sections: vec![whole], ..Wanted::default() });
        let page = match view.page(rows.clone(), from, wanted).await {
            Ok(page) => page,
            Err(error @ Error::Corrupt(_)) => {
                self.out.tell(&Tell::Message(line_of(view, &rows[from], None))).await?;
                self.out.tell(&Tell::Spoiled(error.to_string())).await?;
                return Ok(Ok(1));
            }
            Err(error) => return Ok(Err(error)),
        };
        for (row, paged) in rows[from..].iter().zip(&page.rows) {
            self.out.tell(&Tell::Message(line_of(view, row, Some(paged)))).await?;
            let end = match paged.sections.first() {
                Some(Piece::Octets(range)) => {
                    self.out.piece(&page.octets[range.clone()]).await?;
                    Tell::End
                }
                Some(Piece::Stream { offset, octets }) => self.stream(view, row, *offset, *octets).await?,
                Some(Piece::Missing) | None => Tell::Spoiled("it has no body".into()),
            };
            self.out.tell(&end).await?;
        }
        Ok(Ok(page.rows.len()))
    }

    async fn stream(&mut self, view: &View, row: &Row, offset: u64, octets: u64) -> io::Result<Tell> {
        let mut stream = view.stream(row.content, row.size, offset, octets);
        loop {
            match stream.next().await {
                Ok(Some(piece)) => self.out.piece(&piece).await?,
                Ok(None) => return Ok(Tell::End),
                Err(error) => return Ok(Tell::Spoiled(error.to_string())),
            }
        }
    }
}

fn fate_of(outcome: ImportOutcome) -> Fate {
    match outcome {
        ImportOutcome::Placed { without_keywords: false, .. } => Fate::Placed,
        ImportOutcome::Placed { without_keywords: true, .. } => Fate::PlacedWithoutKeywords,
        ImportOutcome::Known => Fate::Known,
        ImportOutcome::Refused(error) => Fate::Refused(error.to_string()),
    }
}

fn line_of(view: &View, row: &Row, paged: Option<&PageRow>) -> MessageLine {
    MessageLine {
        uid: row.uid,
        size: row.size,
        flags: view.flags(row),
        date: paged.and_then(|paged| paged.dates).map(|dates| dates.arrived),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::{NewMessage, Options};
    use crate::types::AccountId;

    /// Far more than the last word may take; only a hang is told by it.
    const PATIENCE: Duration = Duration::from_secs(8);

    /// One side of a stream that holds next to nothing, with an export under way at the other.
    async fn exporting<T>(what: impl AsyncFnOnce(&mut tokio::io::DuplexStream, &Notify) -> T) -> (T, io::Result<()>) {
        let home = tempfile::tempdir().expect("a folder");
        let options = Options { min_free_bytes: 0, ..Options::default() };
        let store = MailStore::open(home.path(), options).expect("opens");
        let account = store.account(AccountId(1)).await.expect("opens");
        for n in 0..20 {
            let mut draft = account.draft();
            draft.write(format!("Subject: {n}\r\n\r\n{}", "x".repeat(100_000)).as_bytes()).await.expect("taken");
            let prepared = draft.finish().await.expect("taken");
            let message = NewMessage { prepared, flags: FlagSet::new(), internal_date: None };
            account.place(&MailboxName::inbox(), vec![message]).await.expect("placed");
        }
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (reader, writer) = tokio::io::split(ours);
        let end = Notify::new();
        let mut ask = Vec::new();
        Ask::Read(MailboxName::inbox()).write(&mut ask);
        theirs.write_all(&ask).await.expect("asked");
        let done = tokio::time::timeout(PATIENCE, async {
            let looking_on = async {
                // It has begun to answer.
                theirs.read_u8().await.expect("an answer");
                what(&mut theirs, &end).await
            };
            tokio::join!(looking_on, serve(&store, &account, reader, writer, &end))
        });
        let done = done.await.expect("it ends");
        drop(account);
        store.close();
        done
    }

    #[tokio::test]
    async fn a_reader_that_stopped_does_not_hold_up_the_removal_of_its_user() {
        let ((), served) = exporting(async |_, end| end.notify_one()).await;
        assert_eq!(served.expect_err("nobody read it").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn one_that_reads_on_is_told_between_two_pages() {
        let (read, served) = exporting(async |stream, end| {
            end.notify_one();
            let mut octets = Vec::new();
            stream.read_to_end(&mut octets).await.map(|_| octets)
        })
        .await;
        served.expect("all was sent");
        let read = read.expect("whole");
        assert!(read.ends_with(REMOVED.as_bytes()) && read.len() < 1_500_000, "{} octets", read.len());
    }
}

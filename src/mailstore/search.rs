//! SEARCH over one span of a view: by counters, by hot columns, and only then by reading, in bounded steps on the
//! threads for long questions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension, params};

use super::error::{Error, Result};
use super::flagsets::Table;
use super::object_ids;
use super::reading::{HEADER_BYTES, Reader};
use super::snapshot::{Row, SPAN_UIDS};
use super::streams::PIECE_BYTES;
use super::view::View;
use crate::message::{MediaKind, Part, PartTable, readable_text};
use crate::query::{
    HeaderText, HotFacts, Needle, Question, Reading, SpanFacts, Test, TextReader, Verdict, fold_onto, hot, of_date,
};
use crate::types::{DateOf, DateTime, FlagSet, MailboxId, ModSeq, UidRuns};

/// One visit reads messages for so long, then lets others have the thread.
const STEP: Duration = Duration::from_millis(50);
/// Body text up to so many stored octets is decoded once, however many needles are looked for in it.
const KEPT_TEXT_BYTES: u64 = 1 << 20;

impl View {
    /// The members among `piece`, all in the span at `lo`, that match.
    pub async fn search_span(&self, lo: u32, piece: &UidRuns, question: &Arc<Question>) -> Result<UidRuns> {
        match self.span_verdict(lo, question) {
            Verdict::Matches => return Ok(piece.clone()),
            Verdict::DoesNot => return Ok(UidRuns::new()),
            Verdict::Open => {}
        }
        let table = self.flag_table();
        let mut found = Vec::new();
        let mut open = Vec::new();
        for row in self.rows(lo, piece).await? {
            match question.of_message(&facts_of(&row, self.told_size(&row), flags_of(&table, &row)?)) {
                Verdict::Matches => found.push(row.uid.0),
                Verdict::DoesNot => {}
                Verdict::Open => open.push(row),
            }
        }
        let open: Arc<[Row]> = open.into();
        let mut at = 0;
        while at < open.len() {
            let (rows, question, table, mailbox) = (open.clone(), question.clone(), table.clone(), self.mailbox());
            let account = self.account().state;
            let step = account.long_visit(move |conn, account| {
                let mut reader = Reader::new(conn, account);
                read_step(&mut reader, mailbox, &rows[at..], &question, &table)
            });
            let (matched, asked) = step.await?;
            found.extend(matched);
            at += asked;
        }
        found.sort_unstable();
        Ok(found.into_iter().collect())
    }

    /// What the span's counters decide. They count the newest members, so they say something only if this session
    /// sees the same.
    fn span_verdict(&self, lo: u32, question: &Question) -> Verdict {
        let state = self.state();
        let newest = state.loaded.as_ref().and_then(|loaded| loaded.span(lo));
        match (newest, self.membership().span(lo)) {
            (Some(newest), Some(seen)) if Arc::ptr_eq(&newest.members, seen) || newest.members == *seen => question
                .of_span(&SpanFacts {
                    uids: (lo, lo.saturating_add(SPAN_UIDS - 1)),
                    messages: newest.members.count,
                    unseen: newest.counters.unseen,
                    deleted: newest.counters.deleted,
                    max_modseq: ModSeq(newest.max_modseq),
                }),
            _ => Verdict::Open,
        }
    }
}

fn facts_of<'f>(row: &Row, size: u32, flags: &'f FlagSet) -> HotFacts<'f> {
    HotFacts { uid: row.uid.0, size, modseq: row.modseq, flags }
}

fn flags_of<'t>(table: &'t Table, row: &Row) -> Result<&'t FlagSet> {
    let interned = table.set(row.flagset);
    interned.map(|set| &set.set).ok_or_else(|| Error::Fault(format!("flag set {} is missing", row.flagset)))
}

/// Asks messages until the time of a step is over, at least one. Gives those that match, and how many were asked.
fn read_step(
    reader: &mut Reader<'_>,
    mailbox: MailboxId,
    rows: &[Row],
    question: &Question,
    table: &Table,
) -> Result<(Vec<u32>, usize)> {
    let started = Instant::now();
    let mut found = Vec::new();
    for (asked, row) in rows.iter().enumerate() {
        if asked > 0 && started.elapsed() > STEP {
            return Ok((found, asked));
        }
        let facts = facts_of(row, reader.account.told_size(row), flags_of(table, row)?);
        let overlap = question.longest_needle();
        let mut message = Message { reader, mailbox, row, facts, overlap, parts: None, header: None, body: None };
        if question.of_text(&mut message)? {
            found.push(row.uid.0);
        }
    }
    Ok((found, rows.len()))
}

/// One stored message, read as far as it is asked about.
struct Message<'m, 'c> {
    reader: &'m mut Reader<'c>,
    mailbox: MailboxId,
    row: &'m Row,
    facts: HotFacts<'m>,
    overlap: usize,
    parts: Option<Arc<PartTable>>,
    header: Option<HeaderText>,
    /// The folded text of the body, if it is short.
    body: Option<Arc<String>>,
}

impl Reading for Message<'_, '_> {
    type Error = Error;

    fn answer(&mut self, test: &Test) -> Result<bool> {
        if let Some(holds) = hot(test, &self.facts) {
            return Ok(holds);
        }
        match test {
            Test::ArrivedUntil(second) => Ok(self.arrived()? <= *second),
            Test::ArrivedFrom(second) => Ok(self.arrived()? >= *second),
            Test::EmailId(id) => Ok(object_ids::email_of(self.reader.conn, self.row.content)? == *id),
            Test::ThreadId(id) => Ok(object_ids::thread_of(self.reader.conn, self.row.content)? == *id),
            Test::Before(of, _) | Test::On(of, _) | Test::Since(of, _) => Ok(of_date(test, self.date(*of)?)),
            Test::Field(name, needle) => Ok(self.header()?.field_has(name, needle)),
            Test::Body(needle) => self.body_has(needle, false),
            Test::Text(needle) => Ok(self.header()?.has(needle) || self.body_has(needle, true)?),
            Test::Uids(_) | Test::Flag(_) | Test::Keyword(_) | Test::Recent(_) => Ok(false),
            Test::Larger(_) | Test::Smaller(_) | Test::ModSeq(_) => Ok(false),
        }
    }
}

impl Message<'_, '_> {
    fn arrived(&mut self) -> Result<i64> {
        Ok(self.reader.internal_date(self.mailbox, self.row.uid)?.unix_seconds)
    }

    fn date(&mut self, of: DateOf) -> Result<Option<DateTime>> {
        match of {
            DateOf::Arrival => self.reader.internal_date(self.mailbox, self.row.uid).map(Some),
            DateOf::Saved => {
                let saved = self.reader.save_date(self.mailbox, self.row.uid)?;
                Ok(Some(DateTime::utc(saved)))
            }
            DateOf::Sent => {
                let sql = "SELECT sent, sent_zone FROM sortkey WHERE cid = ?";
                let sent: Option<(Option<i64>, Option<i16>)> = self
                    .reader
                    .conn
                    .prepare_cached(sql)?
                    .query_row(params![self.row.content.0], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                let (seconds, zone) = sent.unwrap_or_default();
                Ok(seconds.map(|unix_seconds| DateTime { unix_seconds, zone_minutes: zone.unwrap_or(0) }))
            }
        }
    }

    fn parts(&mut self) -> Result<Arc<PartTable>> {
        match &self.parts {
            Some(parts) => Ok(parts.clone()),
            None => Ok(self.parts.insert(Arc::new(self.reader.part_table(self.row)?)).clone()),
        }
    }

    fn block(&mut self, part: &Part) -> Result<HeaderText> {
        let range = part.header.start..part.header.end.min(part.header.start + HEADER_BYTES);
        let mut block = Vec::new();
        self.reader.read(self.row, range, &mut block)?;
        Ok(HeaderText::read(block))
    }

    fn header(&mut self) -> Result<&HeaderText> {
        if self.header.is_none() {
            let parts = self.parts()?;
            self.header = Some(self.block(parts.top())?);
        }
        self.header.as_ref().ok_or(Error::Unavailable)
    }

    /// Looks into the text parts, the headers of messages inside, and for TEXT also the headers of parts, where
    /// attachments have their names.
    fn body_has(&mut self, needle: &Needle, with_part_headers: bool) -> Result<bool> {
        let parts = self.parts()?;
        if self.text_has(&parts, needle)? {
            return Ok(true);
        }
        for (part, carrier) in parts.all().skip(1) {
            let is_inner_message = carrier == Some(MediaKind::Message);
            if (is_inner_message || with_part_headers) && self.block(part)?.has(needle) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn text_has(&mut self, parts: &PartTable, needle: &Needle) -> Result<bool> {
        if let Some(body) = &self.body {
            return Ok(needle.is_in(body));
        }
        let texts = || parts.all().map(|(part, _)| part).filter(|part| part.kind.is_text());
        let octets: u64 = texts().map(|part| part.body.end - part.body.start).sum();
        if octets > KEPT_TEXT_BYTES {
            for part in texts() {
                if self.part_has(part, needle)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let (mut body, mut stored) = (String::new(), Vec::new());
        for part in texts() {
            stored.clear();
            self.reader.read(self.row, part.body.clone(), &mut stored)?;
            fold_onto(&readable_text(part, &stored), &mut body);
            // No folded text has a line end, so nothing is found across two parts.
            body.push('\n');
        }
        Ok(needle.is_in(self.body.insert(Arc::new(body))))
    }

    fn part_has(&mut self, part: &Part, needle: &Needle) -> Result<bool> {
        let mut text = TextReader::new(part, self.overlap);
        let (mut at, mut piece) = (part.body.start, Vec::new());
        while at < part.body.end && !text.is_full() {
            let to = part.body.end.min(at + PIECE_BYTES as u64);
            piece.clear();
            self.reader.read(self.row, at..to, &mut piece)?;
            if text.feed(&piece).is_some_and(|window| needle.is_in(window)) {
                return Ok(true);
            }
            at = to;
        }
        Ok(needle.is_in(text.finish()))
    }
}

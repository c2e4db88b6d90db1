//! What SORT and THREAD compare, read span by span from what was derived when each message was stored.

use super::error::Result;
use super::place::IN_REPLY_TO;
use super::reading::Reader;
use super::snapshot::Row;
use super::view::View;
use crate::query::{
    Collation, SortColumn, SortFacts, Sorter, ThreadFacts, Threader, looks_at_references, looks_at_subjects,
    sort_columns,
};
use crate::types::{MailboxId, SortCriterion, ThreadAlgorithm, ThreadNode, UidRuns};

/// Something messages are added to, by UID in rising order, and that has an answer when all are in.
pub trait Gather: Send + Sized + 'static {
    type Answer: Send + 'static;

    /// Adds messages of one mailbox.
    fn take_in(&mut self, source: &Source<'_, '_>) -> Result<()>;

    /// Computes the answer; this may take long.
    fn finish(self) -> Self::Answer;
}

/// Messages of one span, and what their facts are read with.
pub struct Source<'r, 'c> {
    reader: &'r Reader<'c>,
    mailbox: MailboxId,
    rows: &'r [Row],
}

impl View {
    /// Adds the members among `piece`, all in the span at `lo`, to what gathers them.
    pub async fn gather_span<G: Gather>(&self, lo: u32, piece: &UidRuns, mut into: G) -> Result<G> {
        let (rows, mailbox) = (self.rows(lo, piece).await?, self.mailbox());
        let state = self.account().state;
        let visit = state.long_visit(move |conn, account| {
            let reader = Reader::new(conn, account);
            into.take_in(&Source { reader: &reader, mailbox, rows: &rows })?;
            Ok(into)
        });
        visit.await
    }

    /// The answer, computed on the threads for long questions.
    pub async fn gathered<G: Gather>(&self, all: G) -> Result<G::Answer> {
        self.account().state.long_visit(move |_, _| Ok(all.finish())).await
    }
}

impl Source<'_, '_> {
    fn told_size(&self, at: usize) -> u64 {
        self.reader.account.told_size(&self.rows[at]).into()
    }
}

/// What [`Sorting`] finds.
#[derive(Debug)]
pub struct Sorted {
    /// In order.
    pub uids: Vec<u32>,
    /// False when long texts were compared by their beginning only, for want of memory.
    pub is_exact: bool,
}

/// SORT: gives the UIDs in order.
#[derive(Debug)]
pub struct Sorting {
    columns: Vec<SortColumn>,
    /// What is read of the sort keys; `None`: nothing of them is compared.
    wanted: Option<String>,
    sorter: Sorter,
}

impl Sorting {
    pub fn new(criteria: &[SortCriterion]) -> Sorting {
        let columns = sort_columns(criteria);
        let names: Vec<&str> = columns.iter().filter_map(|column| column_name(*column)).collect();
        let wanted = (!names.is_empty()).then(|| names.join(", "));
        Sorting { columns, wanted, sorter: Sorter::new(criteria, Collation::default()) }
    }
}

/// The column of table `sortkey`; `None`: it is known from elsewhere.
fn column_name(column: SortColumn) -> Option<&'static str> {
    match column {
        SortColumn::Arrival | SortColumn::Size => None,
        SortColumn::Sent => Some("sent"),
        SortColumn::Subject => Some("subject"),
        SortColumn::From => Some("from_"),
        SortColumn::To => Some("to_"),
        SortColumn::Cc => Some("cc"),
        SortColumn::FromDisplay => Some("from_name"),
        SortColumn::ToDisplay => Some("to_name"),
    }
}

impl Gather for Sorting {
    type Answer = Sorted;

    fn take_in(&mut self, source: &Source<'_, '_>) -> Result<()> {
        let arrivals =
            if self.columns.contains(&SortColumn::Arrival) { source.arrivals()? } else { vec![0; source.rows.len()] };
        let base = |at: usize| SortFacts { arrival: arrivals[at], size: source.told_size(at), ..SortFacts::default() };
        let Some(wanted) = &self.wanted else {
            for (at, row) in source.rows.iter().enumerate() {
                self.sorter.add(row.uid.0, &base(at));
            }
            return Ok(());
        };
        let stored: Vec<SortColumn> = self.columns.iter().copied().filter(|c| column_name(*c).is_some()).collect();
        let sorter = &mut self.sorter;
        source.sort_keys(wanted, |at, keys| {
            let mut facts = base(at);
            for (place, column) in stored.iter().enumerate() {
                let Some(keys) = keys else { break };
                let value = keys.get_ref(place + 1)?;
                let text = match column {
                    SortColumn::Sent => {
                        facts.sent = value.as_i64_or_null().map_err(rusqlite::Error::from)?;
                        continue;
                    }
                    SortColumn::Arrival | SortColumn::Size => continue,
                    SortColumn::Subject => &mut facts.subject,
                    SortColumn::From => &mut facts.from,
                    SortColumn::To => &mut facts.to,
                    SortColumn::Cc => &mut facts.cc,
                    SortColumn::FromDisplay => &mut facts.from_display,
                    SortColumn::ToDisplay => &mut facts.to_display,
                };
                *text = value.as_str().map_err(rusqlite::Error::from)?;
            }
            sorter.add(source.rows[at].uid.0, &facts);
            Ok(())
        })
    }

    fn finish(self) -> Sorted {
        let is_exact = self.sorter.is_exact();
        Sorted { uids: self.sorter.finish(), is_exact }
    }
}

/// THREAD: gives the forest, with UIDs.
#[derive(Debug)]
pub struct Threading {
    algorithm: ThreadAlgorithm,
    threader: Threader,
}

impl Threading {
    pub fn new(algorithm: ThreadAlgorithm) -> Threading {
        Threading { algorithm, threader: Threader::new(algorithm, Collation::default()) }
    }
}

impl Gather for Threading {
    type Answer = Vec<ThreadNode>;

    fn take_in(&mut self, source: &Source<'_, '_>) -> Result<()> {
        let arrivals = source.arrivals()?;
        let references = if looks_at_references(self.algorithm) { source.references()? } else { Vec::new() };
        let subject = if looks_at_subjects(self.algorithm) { "subject" } else { "''" };
        let threader = &mut self.threader;
        let mut chain = Vec::new();
        source.sort_keys(&format!("sent, is_reply, {subject}"), |at, keys| {
            let row = &source.rows[at];
            let mut facts = ThreadFacts { arrival: arrivals[at], ..ThreadFacts::default() };
            if let Some(keys) = keys {
                facts.sent = keys.get(1)?;
                facts.is_reply = keys.get(2)?;
                facts.subject = keys.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
            }
            chain.clear();
            let from = references.partition_point(|(cid, ..)| *cid < row.content.0);
            for (_, role, id) in references[from..].iter().take_while(|(cid, ..)| *cid == row.content.0) {
                match *role {
                    0 => facts.own_id = Some(*id),
                    IN_REPLY_TO => facts.in_reply_to = Some(*id),
                    _ => chain.push(*id),
                }
            }
            threader.add(row.uid.0, &ThreadFacts { references: &chain, ..facts });
            Ok(())
        })
    }

    fn finish(self) -> Vec<ThreadNode> {
        self.threader.finish()
    }
}

impl Source<'_, '_> {
    /// The lowest and the highest content, when reading all between them costs less than asking for each: messages
    /// that came one after the other.
    fn close_together(&self) -> Option<(u32, u32)> {
        let (first, last) = (self.rows.first()?.content.0, self.rows.last()?.content.0);
        let is_rising = self.rows.is_sorted_by(|a, b| a.content.0 < b.content.0);
        let is_dense = u64::from(last.saturating_sub(first)) < 4 * self.rows.len() as u64;
        (is_rising && is_dense).then_some((first, last))
    }

    /// Calls `each` for every row in order with its place and the wanted columns, which begin at index 1. `None`:
    /// nothing is stored, and the message counts as one without these fields.
    fn sort_keys(
        &self,
        wanted: &str,
        mut each: impl FnMut(usize, Option<&rusqlite::Row<'_>>) -> Result<()>,
    ) -> Result<()> {
        let conn = self.reader.conn;
        if let Some((first, last)) = self.close_together() {
            let sql = format!("SELECT cid, {wanted} FROM sortkey WHERE cid BETWEEN ? AND ? ORDER BY cid");
            let mut query = conn.prepare_cached(&sql)?;
            let mut found = query.query([first, last])?;
            let mut at = 0;
            while let Some(keys) = found.next()? {
                let content: u32 = keys.get(0)?;
                while self.rows.get(at).is_some_and(|row| row.content.0 < content) {
                    each(at, None)?;
                    at += 1;
                }
                if self.rows.get(at).is_some_and(|row| row.content.0 == content) {
                    each(at, Some(keys))?;
                    at += 1;
                }
            }
            return (at..self.rows.len()).try_for_each(|at| each(at, None));
        }
        let mut query = conn.prepare_cached(&format!("SELECT cid, {wanted} FROM sortkey WHERE cid = ?"))?;
        for (at, row) in self.rows.iter().enumerate() {
            let mut found = query.query([row.content.0])?;
            each(at, found.next()?)?;
        }
        Ok(())
    }

    /// When each came, in seconds since 1970, UTC.
    fn arrivals(&self) -> Result<Vec<i64>> {
        let dates = self.reader.dates(self.mailbox, self.rows)?;
        Ok(dates.iter().map(|dates| dates.arrived.unix_seconds).collect())
    }

    /// Content, role and hashed message id of all that the messages mention, in this order.
    fn references(&self) -> Result<Vec<(u32, i64, u64)>> {
        let mut all = Vec::new();
        let mut read = |first: u32, last: u32| -> Result<()> {
            let sql = "SELECT cid, role, idhash FROM msgref INDEXED BY msgref_cid WHERE cid BETWEEN ? AND ?";
            let mut query = self.reader.conn.prepare_cached(sql)?;
            let mut found = query.query([first, last])?;
            while let Some(reference) = found.next()? {
                let id: i64 = reference.get(2)?;
                all.push((reference.get(0)?, reference.get(1)?, id as u64));
            }
            Ok(())
        };
        match self.close_together() {
            Some((first, last)) => read(first, last)?,
            None => {
                let mut contents: Vec<u32> = self.rows.iter().map(|row| row.content.0).collect();
                contents.sort_unstable();
                contents.dedup();
                contents.into_iter().try_for_each(|content| read(content, content))?;
            }
        }
        all.sort_unstable();
        Ok(all)
    }
}

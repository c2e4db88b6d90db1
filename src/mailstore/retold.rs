//! Messages that clients are told otherwise than they are stored, because a binary part of theirs holds NUL (RFC 3516 §6):
//! which contents of an account these are, and their octets as told. An account without any, as nearly all are, pays
//! one look at a flag; its file has no table for them either.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension, params};

use super::account::AccountState;
use super::error::{Error, Result};
use super::pages::{IN_PAGE_BYTES, Piece, WantedSection, header_fields, located};
use super::reading::Reader;
use super::snapshot::Row;
use super::streams::BodyStream;
use super::view::View;
use crate::message::{FieldChoice, Located, PartTable, Reteller, Retelling, Source};
use crate::types::{ContentId, MailboxId};

const SCHEMA: &str = include_str!("schema/retold.sql");

/// The contents that are told otherwise, with the octets they are longer then: eight octets of memory for each.
#[derive(Debug, Default)]
pub struct Retold {
    is_any: AtomicBool,
    growths: RwLock<HashMap<ContentId, u32>>,
}

impl Retold {
    /// Told octets of a content that are more than its stored ones; nearly always none.
    pub fn growth(&self, content: ContentId) -> u32 {
        if !self.is_any.load(Ordering::Acquire) {
            return 0;
        }
        self.growths.read().unwrap_or_else(PoisonError::into_inner).get(&content).copied().unwrap_or(0)
    }

    /// Before the commit that makes the content readable, or after the one that takes it away. Without growth a content
    /// of the same number is forgotten whose turn came to nothing.
    pub fn note(&self, content: ContentId, growth: u32) {
        if growth == 0 && !self.is_any.load(Ordering::Acquire) {
            return;
        }
        let mut growths = self.growths.write().unwrap_or_else(PoisonError::into_inner);
        if growth == 0 {
            growths.remove(&content);
        } else {
            growths.insert(content, growth);
        }
        self.is_any.store(!growths.is_empty(), Ordering::Release);
    }

    /// Reads what is stored, and believes nothing else.
    pub fn read(&self, conn: &Connection) -> Result<()> {
        let stored = stored(conn)?;
        let mut growths = self.growths.write().unwrap_or_else(PoisonError::into_inner);
        self.is_any.store(!stored.is_empty(), Ordering::Release);
        *growths = stored;
        Ok(())
    }
}

/// What a database says of which contents are told longer.
pub fn stored(conn: &Connection) -> Result<HashMap<ContentId, u32>> {
    let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'retold'";
    let mut stored = HashMap::new();
    if conn.query_row(table, [], |_| Ok(())).optional()?.is_some() {
        let mut query = conn.prepare("SELECT cid, growth FROM retold")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            stored.insert(ContentId(row.get(0)?), row.get(1)?);
        }
    }
    Ok(stored)
}

/// Stores that a content is told in so many octets more.
pub fn store(conn: &Connection, content: u32, growth: u32) -> Result<()> {
    conn.execute_batch(SCHEMA)?;
    conn.execute("INSERT INTO retold(cid, growth) VALUES (?, ?)", params![content, growth])?;
    Ok(())
}

/// Forgets a content that is swept.
pub fn forget(conn: &Connection, account: &AccountState, content: u32) -> Result<()> {
    if account.retold.growth(ContentId(content)) > 0 {
        conn.prepare_cached("DELETE FROM retold WHERE cid = ?")?.execute([content])?;
        account.retold.note(ContentId(content), 0);
    }
    Ok(())
}

impl AccountState {
    /// RFC822.SIZE: the octets of BODY[].
    pub fn told_size(&self, row: &Row) -> u32 {
        row.size.saturating_add(self.retold.growth(row.content))
    }

    /// What the messages of a mailbox are told longer than they are stored.
    pub async fn told_growth(self: &Arc<Self>, mailbox: MailboxId) -> Result<u64> {
        if !self.retold.is_any.load(Ordering::Acquire) {
            return Ok(0);
        }
        let sum = "SELECT coalesce(sum(r.growth), 0) FROM message m JOIN retold r ON r.cid = m.cid WHERE m.mbox = ?";
        self.long_visit(move |conn, _| {
            let growth: i64 = conn.prepare_cached(sum)?.query_row([mailbox.0], |row| row.get(0))?;
            Ok(growth as u64)
        })
        .await
    }
}

impl View {
    /// Begins to stream what is told of a message: with a retelling, told octets from `offset` on, else stored ones.
    pub fn stream_told(&self, row: &Row, retelling: Option<&Retelling>, offset: u64, octets: u64) -> ToldStream {
        let Some(retelling) = retelling else {
            return ToldStream { stored: self.stream(row.content, row.size, offset, octets), retold: None };
        };
        let Source { stored, skip } = retelling.source(offset..offset + octets);
        let reteller = retelling.begin(stored.start);
        ToldStream {
            stored: self.stream(row.content, row.size, stored.start, stored.end - stored.start),
            retold: Some(Pending { reteller, content: row.content, skip, left: octets }),
        }
    }
}

/// A body as it is told, in pieces.
pub struct ToldStream {
    stored: BodyStream,
    retold: Option<Pending>,
}

struct Pending {
    reteller: Reteller,
    content: ContentId,
    /// Told octets that are passed over, and those that are wanted behind them.
    skip: u64,
    left: u64,
}

impl ToldStream {
    /// The next piece, or `None` at the end. `Corrupt`: the octets are not what was stored.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(pending) = &mut self.retold else { return self.stored.next().await };
        while pending.left > 0 {
            let stored = self.stored.next().await?.ok_or(Error::Corrupt(pending.content))?;
            let mut told = Vec::with_capacity(stored.len() / 2 * 3);
            pending.reteller.feed(&stored, &mut told);
            let over = usize::try_from(pending.skip).unwrap_or(usize::MAX).min(told.len());
            pending.skip -= over as u64;
            told.drain(..over);
            told.truncate(usize::try_from(pending.left).unwrap_or(usize::MAX));
            pending.left -= told.len() as u64;
            if !told.is_empty() {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }
}

impl Reader<'_> {
    /// How a message is told, when that is not how it is stored.
    pub fn retelling(&self, row: &Row, parts: &mut Option<PartTable>) -> Result<Option<Arc<Retelling>>> {
        if self.account.retold.growth(row.content) == 0 {
            return Ok(None);
        }
        Ok(Retelling::of(self.table(row, parts)?).map(Arc::new))
    }

    /// A section of a message that is told otherwise than it is stored; the octets of a [`Piece::Stream`] are told ones.
    pub fn retold_section(
        &mut self,
        retelling: &Retelling,
        (wanted, choice): (&WantedSection, Option<&FieldChoice>),
        row: &Row,
        parts: &mut Option<PartTable>,
        out: &mut Vec<u8>,
    ) -> Result<Piece> {
        match located(self.table(row, parts)?, wanted) {
            None => Ok(Piece::Missing),
            Some(Located::Octets(range)) => {
                let told = retelling.told(range);
                let (from, most) = wanted.partial.unwrap_or((0, u64::MAX));
                let start = told.start.saturating_add(from).min(told.end);
                let octets = (told.end - start).min(most);
                if octets > IN_PAGE_BYTES {
                    return Ok(Piece::Stream { offset: start, octets });
                }
                let Source { stored, skip } = retelling.source(start..start + octets);
                let (from, mut piece, mut told) = (out.len(), Vec::new(), Vec::new());
                let is_whole = stored == (0..u64::from(row.size));
                if !is_whole || !self.whole(row, &mut piece)? {
                    self.read(row, stored.clone(), &mut piece)?;
                }
                retelling.begin(stored.start).feed(&piece, &mut told);
                // They are all there, unless the table of parts is damaged.
                let told = told.get(skip as usize..(skip + octets) as usize);
                out.extend_from_slice(told.ok_or(Error::Corrupt(row.content))?);
                Ok(Piece::Octets(from..out.len()))
            }
            Some(Located::HeaderBlock(header)) => {
                let Some(choice) = choice else { return Ok(Piece::Missing) };
                let (mut block, mut told) = (Vec::new(), Vec::new());
                let start = header.start;
                self.header_block(header, row, &mut block)?;
                retelling.begin(start).feed(&block, &mut told);
                Ok(header_fields(&told, choice, wanted.partial, out))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::{Account, MailStore, NewMessage, Options, Wanted};
    use crate::types::{AccountId, Flag, FlagSet, MailboxName, SectionText, SystemFlag, UidRuns};

    fn store(home: &std::path::Path) -> MailStore {
        MailStore::open(home, Options { min_free_bytes: 0, ..Options::default() }).expect("opens")
    }

    async fn place(account: &Account, octets: &[u8]) {
        let mut draft = account.draft();
        for piece in octets.chunks(50_001) {
            draft.write(piece).await.expect("taken");
        }
        let prepared = draft.finish().await.expect("whole");
        let flags = FlagSet::from_iter([Flag::System(SystemFlag::Deleted)]);
        let message = NewMessage { prepared, flags, internal_date: None };
        account.place(&MailboxName::inbox(), vec![message]).await.expect("placed");
    }

    /// The only message's size, and a section of it, as a client is told them.
    async fn told(account: &Account, path: &[u32], partial: Option<(u64, u64)>) -> (u32, Vec<u8>) {
        let view = account.open(&MailboxName::inbox(), true).await.expect("open");
        let (span, uid) = view.by_span(&view.membership().select(&UidRuns::range(1, u32::MAX))).remove(0);
        let row = view.rows(span, &uid).await.expect("rows")[0];
        let section = WantedSection { path: path.to_vec(), text: SectionText::Whole, partial };
        let wanted = Wanted { sections: vec![section], ..Wanted::default() };
        let page = view.page([row].into(), 0, wanted.into()).await.expect("a page");
        let found = &page.rows[0];
        let octets = match &found.sections[0] {
            Piece::Missing => Vec::new(),
            Piece::Octets(range) => page.octets[range.clone()].to_vec(),
            Piece::Stream { offset, octets } => {
                let mut out = Vec::new();
                let mut stream = view.stream_told(&row, found.retelling.as_deref(), *offset, *octets);
                while let Some(piece) = stream.next().await.expect("sound") {
                    assert!(piece.len() < 400_000, "a piece of {} octets", piece.len());
                    out.extend_from_slice(&piece);
                }
                assert_eq!(out.len() as u64, *octets);
                out
            }
        };
        (view.told_size(&row), octets)
    }

    const HEADER: &str = "Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n";

    #[tokio::test]
    async fn of_any_size_it_is_told_the_same_everywhere() {
        // In a row and in a page; in a row, but told too large for a page; in a file.
        for octets in [300, 110_000, 1_000_000] {
            let home = tempfile::tempdir().expect("a folder");
            let body: Vec<u8> = (0..octets as u32).map(|n| (n % 251) as u8).collect();
            let message = [HEADER.as_bytes(), &body].concat();
            let expected = {
                use base64::Engine;
                let text = base64::engine::general_purpose::STANDARD.encode(&body);
                let lines: Vec<String> =
                    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
                lines.concat().into_bytes()
            };
            let whole = [HEADER.replace("binary", "base64").as_bytes(), &expected].concat();
            let store = store(home.path());
            let account = store.account(AccountId(1)).await.expect("an account");
            place(&account, &message).await;
            let is_told = async |account: &Account| {
                let (size, octets) = told(account, &[], None).await;
                assert_eq!(size as usize, whole.len());
                assert!(octets == whole, "all {} octets", whole.len());
                assert!(told(account, &[1], None).await.1 == expected);
                let from = whole.len() as u64 / 2;
                let middle = &whole[from as usize..];
                assert!(told(account, &[], Some((from, u64::MAX))).await.1 == middle);
                assert!(told(account, &[], Some((from, 100))).await.1 == middle[..100]);
                assert_eq!(told(account, &[], Some((u64::MAX, 100))).await.1, b"");
                let status = account.status(&MailboxName::inbox()).await.expect("a status");
                assert_eq!(status.bytes, whole.len() as u64);
            };
            is_told(&account).await;
            let findings = store.check(AccountId(1)).await.expect("checked");
            assert!(findings.problems.is_empty(), "{:?}", findings.problems);
            store.close();
            drop(account);
            // Memory has it from the disk now.
            let store = self::store(home.path());
            let account = store.account(AccountId(1)).await.expect("an account");
            is_told(&account).await;
            let view = account.open(&MailboxName::inbox(), false).await.expect("open");
            view.expunge(Some(UidRuns::range(1, 1))).await.expect("expunged");
            drop(view);
            account.sweep(0).await.expect("swept");
            assert!(!account.state.retold.is_any.load(Ordering::Acquire));
            let left = account
                .state
                .visit(|conn, _| Ok(conn.query_row("SELECT count(*) FROM retold", [], |row| row.get::<_, i64>(0))?));
            assert_eq!(left.await.expect("counted"), 0);
            store.close();
        }
    }

    #[tokio::test]
    async fn an_account_without_such_messages_has_no_table_for_them() {
        let home = tempfile::tempdir().expect("a folder");
        let store = store(home.path());
        let account = store.account(AccountId(1)).await.expect("an account");
        place(&account, b"Content-Transfer-Encoding: binary\r\n\r\nno NUL\r\n").await;
        assert_eq!(told(&account, &[1], None).await, (45, b"no NUL\r\n".to_vec()));
        let tables = account.state.visit(|conn, _| {
            let sql = "SELECT count(*) FROM sqlite_master WHERE name = 'retold'";
            Ok(conn.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(tables.await.expect("counted"), 0);
        store.close();
    }

    #[tokio::test]
    async fn a_check_names_growths_that_are_wrong_and_a_repair_mends_them() {
        for (damage, named) in [
            ("UPDATE retold SET growth = growth + 1", "octets longer"),
            ("DELETE FROM retold", "told 0 octets longer"),
            ("DROP TABLE retold", "told 0 octets longer"),
            ("INSERT INTO retold VALUES (4711, 1)", "content 4711, which is missing"),
        ] {
            let home = tempfile::tempdir().expect("a folder");
            let first = store(home.path());
            let account = first.account(AccountId(1)).await.expect("an account");
            place(&account, &[HEADER.as_bytes(), &[0; 100]].concat()).await;
            let before = told(&account, &[], None).await;
            drop(account);
            first.close();
            let accounts = home.path().join("accounts");
            let conn = Connection::open(accounts.join("1/mail.db")).expect("opens");
            conn.execute_batch(damage).expect("damaged");
            drop(conn);
            let (workshop, staged) = (accounts.join("1.workshop"), accounts.join("1.staged"));
            let key = crate::mailstore::repair::key_of(home.path()).expect("there");
            let done = crate::mailstore::repair::repair(&accounts.join("1"), &workshop, &staged, &key, 1_800_000_000);
            let crate::mailstore::repair::Repaired::Staged { found, .. } = done.expect("repaired") else {
                panic!("{damage}: nothing was found");
            };
            assert!(found.len() == 1 && found[0].contains(named), "{damage}: {found:?}");
            std::fs::remove_dir_all(accounts.join("1")).expect("removed");
            std::fs::rename(&staged, accounts.join("1")).expect("renamed");
            let again = store(home.path());
            let account = again.account(AccountId(1)).await.expect("an account");
            assert_eq!(told(&account, &[], None).await, before, "{damage}");
            assert_eq!(again.check(AccountId(1)).await.expect("checked").problems, Vec::<String>::new());
            again.close();
        }
    }
}

//! What imports have taken, and what is followed of other servers, carried over: else the next pass would bring all of it
//! once more. Of a message that was lost it is forgotten, so that the next pass brings that one again.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::collect::{Collected, Row};
use super::write::{NewMailbox, Written};
use crate::mailstore::error::Result;
use crate::mailstore::import::SCHEMA;

/// Their rows look like those of other tables, so that no page of its own tells whose they are.
pub const READ_THROUGH_TREES: [&str; 3] = ["foreign_validity", "import_source", "followed"];

/// A folder of another server.
#[derive(Debug)]
struct SourceRow {
    mbox: i64,
    key: [u8; 16],
    mark: i64,
}

/// The rows of the tables of imports.
#[derive(Debug, Default)]
pub struct Imports {
    imported: BTreeMap<(i64, [u8; 16]), u32>,
    /// UIDVALIDITY values from elsewhere.
    foreign: Vec<u32>,
    /// The first this account ever gave.
    own: Option<u32>,
    sources: BTreeMap<i64, SourceRow>,
    /// By source and UID there: the UID here, and the modseq.
    followed: BTreeMap<(i64, u32), (u32, i64)>,
}

impl Imports {
    /// A row, if it is of one of these tables. `Some(None)`: it says what cannot be.
    pub fn take(&mut self, row: &Row<'_>) -> Option<Option<()>> {
        match row.table.name.as_str() {
            "imported" => Some(self.take_imported(row)),
            "foreign_validity" => Some(self.take_validity(row)),
            "import_source" => Some(self.take_source(row)),
            "followed" => Some(self.take_followed(row)),
            _ => None,
        }
    }

    fn take_imported(&mut self, row: &Row<'_>) -> Option<()> {
        let key = row.blob("key")?.try_into().ok()?;
        self.imported.entry((row.int("mbox")?, key)).or_insert(uid(row, "uid")?);
        Some(())
    }

    fn take_validity(&mut self, row: &Row<'_>) -> Option<()> {
        let value = uid(row, "value")?;
        match row.int("is_own")? {
            1 => self.own = Some(self.own.map_or(value, |own| own.min(value))),
            _ => self.foreign.push(value),
        }
        Some(())
    }

    fn take_source(&mut self, row: &Row<'_>) -> Option<()> {
        let key = row.blob("key")?.try_into().ok()?;
        self.sources.insert(row.int("id")?, SourceRow { mbox: row.int("mbox")?, key, mark: row.int("mark")?.max(0) });
        Some(())
    }

    fn take_followed(&mut self, row: &Row<'_>) -> Option<()> {
        let what = (uid(row, "here")?, row.int("modseq")?);
        self.followed.insert((row.int("source")?, uid(row, "there")?), what);
        Some(())
    }

    fn is_empty(&self) -> bool {
        self.imported.is_empty() && self.foreign.is_empty() && self.own.is_none() && self.sources.is_empty()
    }
}

fn uid(row: &Row<'_>, column: &str) -> Option<u32> {
    u32::try_from(row.int(column)?).ok().filter(|number| *number > 0)
}

/// Writes what is true of the new store.
pub fn write_imports(
    conn: &Connection,
    all: &Collected,
    mailboxes: &BTreeMap<i64, NewMailbox>,
    written: &Written,
) -> Result<()> {
    let imports = &all.imports;
    let own = first_own(all, mailboxes);
    if imports.is_empty() && own.is_none() {
        return Ok(());
    }
    conn.execute_batch(SCHEMA)?;
    let mut put = conn.prepare_cached("INSERT OR IGNORE INTO foreign_validity(value, is_own) VALUES (?, ?)")?;
    for (value, is_own) in own.map(|value| (value, 1)).into_iter().chain(imports.foreign.iter().map(|v| (*v, 0))) {
        put.execute(params![value, is_own])?;
    }
    let gone = Gone::of(all);
    let mut put = conn.prepare_cached("INSERT INTO imported(mbox, key, uid) VALUES (?, ?, ?)")?;
    for ((mbox, key), uid) in &imports.imported {
        if let Some(mailbox) = mailboxes.get(mbox)
            && mailbox.is_accounted_for(*uid, gone.has(*mbox, *uid))
        {
            put.execute(params![mbox, key, uid])?;
        }
    }
    let mut put =
        conn.prepare_cached("INSERT OR IGNORE INTO import_source(id, mbox, key, mark) VALUES (?, ?, ?, ?)")?;
    for (id, source) in &imports.sources {
        let Some(mailbox) = mailboxes.get(&source.mbox) else { continue };
        // All flags are to be asked for again.
        let mark = if mailbox.lost_flags { 0 } else { source.mark };
        put.execute(params![id, source.mbox, source.key, mark])?;
    }
    let mut put = conn.prepare_cached("INSERT INTO followed(source, there, here, modseq) VALUES (?, ?, ?, ?)")?;
    for ((source, there), (here, modseq)) in &imports.followed {
        let mailbox = imports.sources.get(source).and_then(|source| mailboxes.get(&source.mbox));
        let Some(message) = mailbox.and_then(|mailbox| mailbox.kept_uid(*here)) else { continue };
        // What was not changed here has not been changed by the repair either, even where it got a modseq for it.
        let modseq = if message.had_modseq <= *modseq { message.modseq } else { *modseq };
        put.execute(params![source, there, here, modseq.min(written.modseq)])?;
    }
    Ok(())
}

/// The first UIDVALIDITY that was surely given by this account, when the next import could not find it out by itself
/// any more: it takes INBOX's for that.
fn first_own(all: &Collected, mailboxes: &BTreeMap<i64, NewMailbox>) -> Option<u32> {
    if all.imports.own.is_some() {
        return all.imports.own;
    }
    if !all.imports.is_empty() {
        // INBOX may have one from elsewhere.
        return Some(1);
    }
    let (id, inbox) = mailboxes.iter().find(|(_, mailbox)| mailbox.path == "INBOX")?;
    let told = all.mailboxes.get(id).map_or(0, |row| row.uid_validity);
    (inbox.uid_validity != told).then(|| u32::try_from(told).unwrap_or(0).max(1))
}

/// What is surely expunged, and not lost.
struct Gone<'a> {
    all: &'a Collected,
    /// UIDs from one to another of a mailbox, ascending.
    ranges: BTreeMap<(i64, u32), u32>,
}

impl<'a> Gone<'a> {
    fn of(all: &'a Collected) -> Gone<'a> {
        let mut ranges = BTreeMap::new();
        for (mbox, _, lo, hi) in &all.expunged {
            let known = ranges.entry((*mbox, *lo)).or_insert(*hi);
            *known = (*known).max(*hi);
        }
        Gone { all, ranges }
    }

    fn has(&self, mbox: i64, uid: u32) -> bool {
        self.all.is_whole("message")
            || self.all.removed.contains_key(&(mbox, uid))
            || self.ranges.range((mbox, 0)..=(mbox, uid)).next_back().is_some_and(|(_, hi)| *hi >= uid)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Repaired, key_of, repair};
    use crate::clock::Clock;
    use crate::mailstore::follow::SourceId;
    use crate::mailstore::{Account, Adopt, ImportKey, ImportOutcome, ImportedMessage};
    use crate::mailstore::{MailStore, NewMessage, Options, wait_for};
    use crate::types::{AccountId, Flag, FlagSet, MailboxName, SystemFlag, Uid, UidValidity};

    const ONE: AccountId = AccountId(1);
    const NOW: i64 = 1_800_000_000;
    const THERE: UidValidity = UidValidity(77);
    const MARK: u64 = 500;
    /// Several pages of rows.
    const MESSAGES: u32 = 300;

    struct House {
        home: tempfile::TempDir,
    }

    fn name() -> MailboxName {
        MailboxName::new("Moved").expect("a name")
    }

    fn seen() -> FlagSet {
        [Flag::System(SystemFlag::Seen)].into_iter().collect()
    }

    impl House {
        /// Into which a folder was imported and followed.
        fn new() -> House {
            let house = House { home: tempfile::tempdir().expect("a folder") };
            house.open(async |account| {
                assert_eq!(import(&account).await, (1..=MESSAGES).collect::<Vec<_>>(), "all are new");
                let following = account.follow(&name(), ImportKey([0xff; 16])).await.expect("followed");
                account.followed_up_to(following.source, MARK).await.expect("marked");
            });
            house
        }

        fn open<T>(&self, what: impl AsyncFnOnce(Account) -> T) -> T {
            let options = Options { clock: Clock::fixed(NOW), min_free_bytes: 0, ..Options::default() };
            let store = MailStore::open(self.home.path(), options).expect("opens");
            let done = wait_for(async { what(store.account(ONE).await.expect("opens")).await });
            assert_eq!(store.check_now(ONE).expect("checked").problems, Vec::<String>::new());
            store.close();
            done
        }

        fn sql(&self, sql: &str) {
            let conn = rusqlite::Connection::open(self.home.path().join("accounts/1/mail.db")).expect("opens");
            conn.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("written back");
        }

        fn repair(&self) {
            let accounts = self.home.path().join("accounts");
            let (workshop, staged) = (accounts.join("1.workshop"), accounts.join("1.staged"));
            let key = key_of(self.home.path()).expect("there");
            let done = repair(&accounts.join("1"), &workshop, &staged, &key, NOW).expect("repaired");
            assert!(matches!(done, Repaired::Staged { .. }), "something was found");
            fs::remove_dir_all(&workshop).expect("removed");
            fs::rename(accounts.join("1"), accounts.join("1.kept")).expect("renamed");
            fs::rename(&staged, accounts.join("1")).expect("renamed");
        }
    }

    /// Brings all messages; gives the UIDs there of those that were taken.
    async fn import(account: &Account) -> Vec<u32> {
        account.begin_import().await.expect("begun");
        let wanted = Adopt { name: name(), uid_validity: Some(THERE), is_subscribed: None };
        let adopted = account.adopt(wanted).await.expect("adopted");
        let source = account.follow(&name(), ImportKey([0xff; 16])).await.expect("followed").source;
        let mut messages = Vec::new();
        for uid in 1..=MESSAGES {
            messages.push(message(account, uid, source).await);
        }
        let under = adopted.keeps_uids.then_some(THERE);
        let batch = account.place_imported(&name(), under, messages).await.expect("placed");
        let outcomes = (1..).zip(batch.outcomes);
        outcomes.filter(|(_, outcome)| *outcome != ImportOutcome::Known).map(|(uid, _)| uid).collect()
    }

    async fn message(account: &Account, uid: u32, source: SourceId) -> ImportedMessage {
        let mut draft = account.draft();
        draft.write(format!("Subject: {uid}\r\n\r\n{}\r\n", "text ".repeat(20)).as_bytes()).await.expect("written");
        let prepared = draft.finish().await.expect("finished");
        let message = NewMessage { prepared, flags: seen(), internal_date: None };
        let mut key = [7; 16];
        key[..4].copy_from_slice(&uid.to_be_bytes());
        ImportedMessage { key: ImportKey(key), uid: Some(Uid(uid)), source: Some(source), message }
    }

    /// The mark, and how many of all messages could be given these flags by their UIDs there.
    async fn follow(account: &Account, flags: FlagSet) -> (u64, u64) {
        let following = account.follow(&name(), ImportKey([0xff; 16])).await.expect("followed");
        let all = (1..=MESSAGES).map(|uid| (uid, flags.clone())).collect();
        let followed = account.follow_flags(&name(), following.source, all).await.expect("followed");
        (following.mark, followed.done)
    }

    #[test]
    fn an_import_after_a_repair_takes_nothing_twice() {
        // What is only counted wrong; UIDs that are not to be trusted, which brings a new UIDVALIDITY and modseqs.
        for damage in ["UPDATE mailbox SET messages = 1", "UPDATE mailbox SET uidnext = 1 WHERE name = 'Moved'"] {
            let house = House::new();
            house.sql(damage);
            house.repair();
            house.open(async |account| {
                assert_eq!(import(&account).await, [0; 0], "{damage}");
                let flagged: FlagSet = [Flag::System(SystemFlag::Flagged)].into_iter().collect();
                assert_eq!(follow(&account, flagged).await, (MARK, u64::from(MESSAGES)), "{damage}");
            });
        }
    }

    #[test]
    fn what_was_lost_is_taken_again_and_what_was_expunged_is_not() {
        let house = House::new();
        house.open(async |account| {
            let view = account.open(&name(), false).await.expect("opens");
            let order = crate::mailstore::SetFlags {
                uids: crate::types::UidRuns::range(5, 9),
                change: crate::types::command::FlagChange::Add,
                flags: [Flag::System(SystemFlag::Deleted)].into_iter().collect(),
                unchanged_since: None,
                told: view.modseq(),
                own: Vec::new(),
            };
            view.set_flags(order).await.expect("set");
            view.expunge(Some(crate::types::UidRuns::range(5, 9))).await.expect("expunged");
        });
        house.sql("UPDATE body SET data = x'00' WHERE id = (SELECT cid FROM message WHERE uid = 100)");
        house.repair();
        house.open(async |account| assert_eq!(import(&account).await, [100]));
    }

    #[test]
    fn flags_that_were_lost_come_again_from_where_they_came() {
        let house = House::new();
        house.sql("DELETE FROM flagset WHERE bits <> 0");
        house.repair();
        house.open(async |account| {
            assert_eq!(import(&account).await, [0; 0]);
            assert_eq!(follow(&account, seen()).await, (0, u64::from(MESSAGES)), "all are asked for, and set");
        });
    }

    #[test]
    fn without_any_tree_it_is_known_from_the_pages_what_was_taken() {
        let house = House::new();
        house.sql("");
        let path = house.home.path().join("accounts/1/mail.db");
        let mut octets = fs::read(&path).expect("read");
        octets[..4096].fill(0);
        fs::write(&path, octets).expect("written");
        house.repair();
        house.open(async |account| {
            let has_name = account.mailboxes().0.iter().any(|listed| listed.name == name());
            assert!(has_name, "the folder's row stands on another page");
            assert_eq!(import(&account).await, [0; 0]);
        });
    }
}

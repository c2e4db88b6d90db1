//! Mail that comes from another server: its UIDs and UIDVALIDITY are kept where that is safe, and what was taken once
//! is remembered in the same transaction that places it, so that an import may be killed and begun again at will.
//!
//! A UIDVALIDITY from elsewhere is taken only by a mailbox that never held a message, and only if this account never
//! gave that value to any mailbox; UIDs are taken only in ascending order. So neither ever repeats.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::account::Mailbox;
use super::error::{Error, Result};
use super::follow::SourceId;
use super::place::NewMessage;
use super::turn::Turn;
use super::{Account, crash};
use crate::metrics::METRICS;
use crate::types::{FlagSet, MailboxName, ModSeq, Uid, UidValidity};

pub(super) const SCHEMA: &str = include_str!("schema/import.sql");
/// How far in the future a UIDVALIDITY from elsewhere may lie, in seconds: they are times of day nearly everywhere,
/// and a value near the end of the range would leave none for new mailboxes.
const FUTURE_SECS: i64 = 86_400;
/// The largest UID kept: a source that gave larger ones would leave none for new messages.
const MOST_KEPT_UID: u32 = 4_000_000_000;

/// Where a message stood at its source, as a hash: equal keys are the same message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImportKey(pub [u8; 16]);

/// A mailbox that is to hold imported mail.
#[derive(Debug, Clone)]
pub struct Adopt {
    pub name: MailboxName,
    /// The source's UIDVALIDITY, if its UIDs are to be kept.
    pub uid_validity: Option<UidValidity>,
    /// What becomes of its subscription, if it never held a message; `None`: subscribed if it is made now.
    pub is_subscribed: Option<bool>,
}

/// What [`Account::adopt`] found or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    pub uid_validity: UidValidity,
    /// The source's UIDs can be kept: the mailbox has the source's UIDVALIDITY.
    pub keeps_uids: bool,
}

/// A message that comes from elsewhere.
#[derive(Debug)]
pub struct ImportedMessage {
    pub key: ImportKey,
    /// The UID it had there; kept if its mailbox keeps them.
    pub uid: Option<Uid>,
    /// The folder whose changes are followed, if it comes from one.
    pub source: Option<SourceId>,
    pub message: NewMessage,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportOutcome {
    Placed {
        uid: Uid,
        /// The mailbox holds so many keywords that this message's own had to be left out.
        without_keywords: bool,
    },
    /// It was taken before.
    Known,
    Refused(Error),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedBatch {
    /// One for each message, in their order.
    pub outcomes: Vec<ImportOutcome>,
    /// UIDs were to be kept, but one of them had been given to another message here meanwhile: the mailbox has a
    /// UIDVALIDITY of its own now.
    pub renumbered: bool,
}

impl Account {
    /// Makes ready for an import: what was remembered for mailboxes that are gone is forgotten.
    pub async fn begin_import(&self) -> Result<()> {
        self.state.growing_order(0, |turn| turn.begin_import()).await
    }

    /// Finds the mailbox or makes it, and takes over the source's UIDVALIDITY if that is safe.
    /// [`Account::begin_import`] came before.
    pub async fn adopt(&self, wanted: Adopt) -> Result<Adopted> {
        self.room()?;
        self.state.growing_order(0, move |turn| turn.adopt(&wanted)).await
    }

    /// Which of these were imported into the mailbox before.
    pub async fn imported(&self, mailbox: &MailboxName, keys: Vec<ImportKey>) -> Result<Vec<bool>> {
        let id = self.find(mailbox)?.id;
        self.state
            .visit(move |conn, _| {
                let mut query = conn.prepare_cached("SELECT 1 FROM imported WHERE mbox = ? AND key = ?")?;
                keys.iter().map(|key| Ok(query.exists(params![id.0, key.0])?)).collect()
            })
            .await
    }

    /// Places messages that came from elsewhere, each at most once however often it is brought. `keep_under` is the
    /// UIDVALIDITY under which their UIDs mean something; they should come in ascending order of UID.
    /// What fails for one message's sake fails for that message only.
    pub async fn place_imported(
        &self,
        mailbox: &MailboxName,
        keep_under: Option<UidValidity>,
        messages: Vec<ImportedMessage>,
    ) -> Result<ImportedBatch> {
        self.room()?;
        let messages = Arc::new(messages);
        let all = self.place_some(mailbox, keep_under, messages.clone(), 0..messages.len()).await;
        match all {
            Err(error) if is_of_one_message(&error) => {}
            outcome => return outcome,
        }
        // Somebody in the batch cannot be placed: all were rolled back, now each goes alone.
        let mut sum = ImportedBatch { outcomes: Vec::with_capacity(messages.len()), renumbered: false };
        for at in 0..messages.len() {
            match self.place_some(mailbox, keep_under, messages.clone(), at..at + 1).await {
                Ok(one) => {
                    sum.outcomes.extend(one.outcomes);
                    sum.renumbered |= one.renumbered;
                }
                Err(error) if is_of_one_message(&error) => sum.outcomes.push(ImportOutcome::Refused(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    async fn place_some(
        &self,
        mailbox: &MailboxName,
        keep_under: Option<UidValidity>,
        messages: Arc<Vec<ImportedMessage>>,
        which: std::ops::Range<usize>,
    ) -> Result<ImportedBatch> {
        let bytes = messages[which.clone()].iter().map(|m| m.message.prepared.inline_bytes()).sum();
        let mailbox = mailbox.clone();
        let batch = self.state.growing_order(bytes, move |turn| {
            let is_alone = which.len() == 1;
            turn.place_imported(&mailbox, keep_under, &messages[which.clone()], is_alone)
        });
        let batch = batch.await?;
        let placed = batch.outcomes.iter().filter(|o| matches!(o, ImportOutcome::Placed { .. })).count();
        METRICS.messages_placed.add(placed as u64);
        Ok(batch)
    }

    /// Ends the import of a mailbox that keeps its UIDs: what the source had given, and may have expunged, is not
    /// given to another message here. `uid_next` is the source's.
    pub async fn finish_import(&self, mailbox: &MailboxName, keep_under: UidValidity, uid_next: u32) -> Result<()> {
        let mailbox = mailbox.clone();
        self.state
            .order(move |turn| {
                let mailbox = turn.selectable(&mailbox)?;
                if mailbox.uid_validity == keep_under {
                    turn.skip_uids(mailbox.id, uid_next.min(MOST_KEPT_UID))?;
                }
                Ok(())
            })
            .await
    }
}

/// True for what says something about one message and nothing about the others.
fn is_of_one_message(error: &Error) -> bool {
    matches!(error, Error::Limit(_) | Error::TooLarge | Error::UidsUsedUp)
}

impl Turn<'_> {
    fn begin_import(&mut self) -> Result<()> {
        self.conn.execute_batch(SCHEMA)?;
        self.wrote();
        // INBOX is an account's first mailbox and cannot be deleted: its UIDVALIDITY is the first that was given.
        let first = self.selectable(&MailboxName::inbox())?.uid_validity;
        self.conn.execute(
            "INSERT INTO foreign_validity(value, is_own)
             SELECT ?, 1 WHERE NOT EXISTS (SELECT 1 FROM foreign_validity WHERE is_own = 1)",
            [first.0],
        )?;
        self.conn.execute("DELETE FROM imported WHERE mbox NOT IN (SELECT id FROM mailbox)", [])?;
        self.conn.execute("DELETE FROM import_source WHERE mbox NOT IN (SELECT id FROM mailbox)", [])?;
        self.conn.execute("DELETE FROM followed WHERE source NOT IN (SELECT id FROM import_source)", [])?;
        Ok(())
    }

    fn adopt(&mut self, wanted: &Adopt) -> Result<Adopted> {
        let known = self.tree().named(&wanted.name).cloned().filter(|mailbox| !mailbox.is_noselect);
        if known.is_none() {
            let above = std::iter::successors(wanted.name.parent(), MailboxName::parent);
            let missing: Vec<MailboxName> = above.filter(|parent| self.tree().named(parent).is_none()).collect();
            self.create(&wanted.name, "")?;
            // Where the source says what is subscribed to, its folders' parents are not, unless it says so of them.
            for parent in missing.iter().filter(|_| wanted.is_subscribed.is_some()) {
                self.subscribe(parent, false)?;
            }
        }
        let mut mailbox = self.selectable(&wanted.name)?;
        // UIDNEXT tells: no message was ever here, so no UID was ever told under the validity it has now.
        let is_fresh = self.work(mailbox.id)?.state.uid_next == 1;
        // What the user has changed since an earlier import stays.
        if let Some(is_on) = wanted.is_subscribed.filter(|_| is_fresh) {
            self.subscribe(&wanted.name, is_on)?;
        }
        let Some(theirs) = wanted.uid_validity else {
            return Ok(Adopted { uid_validity: mailbox.uid_validity, keeps_uids: false });
        };
        let is_theirs = mailbox.uid_validity == theirs && self.is_foreign(theirs)?;
        if is_theirs {
            // From an earlier import, which is gone on with.
        } else if is_fresh && self.may_take(theirs)? {
            mailbox = self.set_validity(&mailbox, theirs)?;
        } else if mailbox.uid_validity == theirs {
            // By chance the same number for other messages: a client that knew the source must not mix them up.
            let own = self.next_uid_validity()?;
            mailbox = self.set_validity(&mailbox, own)?;
        }
        Ok(Adopted { uid_validity: mailbox.uid_validity, keeps_uids: mailbox.uid_validity == theirs })
    }

    fn is_foreign(&self, value: UidValidity) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM foreign_validity WHERE value = ? AND is_own = 0")?;
        Ok(query.exists([value.0])?)
    }

    /// Takes a value from elsewhere into this account's memory, if no mailbox here can ever have had it.
    fn may_take(&mut self, value: UidValidity) -> Result<bool> {
        let number = i64::from(value.0);
        if value.0 == 0 || number > self.now + FUTURE_SECS || self.is_foreign(value)? {
            return Ok(false);
        }
        let last: i64 = self
            .conn
            .prepare_cached("SELECT value FROM meta WHERE key = 'uidvalidity'")?
            .query_row([], |row| row.get(0))?;
        let first: Option<i64> = self
            .conn
            .prepare_cached("SELECT value FROM foreign_validity WHERE is_own = 1")?
            .query_row([], |row| row.get(0))
            .optional()?;
        if number <= last && first.is_none_or(|first| number >= first) {
            return Ok(false);
        }
        if number > last {
            self.conn.prepare_cached("UPDATE meta SET value = ? WHERE key = 'uidvalidity'")?.execute([number])?;
        }
        self.conn.prepare_cached("INSERT INTO foreign_validity(value, is_own) VALUES (?, 0)")?.execute([number])?;
        self.wrote();
        Ok(true)
    }

    fn set_validity(&mut self, mailbox: &Arc<Mailbox>, value: UidValidity) -> Result<Arc<Mailbox>> {
        self.conn
            .prepare_cached("UPDATE mailbox SET uidvalidity = ? WHERE id = ?")?
            .execute(params![value.0, mailbox.id.0])?;
        let changed = Arc::new(Mailbox { uid_validity: value, ..(**mailbox).clone() });
        self.tree_mut().insert(changed.clone());
        Ok(changed)
    }

    fn place_imported(
        &mut self,
        mailbox: &MailboxName,
        keep_under: Option<UidValidity>,
        messages: &[ImportedMessage],
        is_alone: bool,
    ) -> Result<ImportedBatch> {
        let mut mailbox = self.selectable(mailbox)?;
        let modseq = self.next_modseq();
        let mut batch = ImportedBatch { outcomes: Vec::with_capacity(messages.len()), renumbered: false };
        let first = self.work(mailbox.id)?.state.uid_next;
        for imported in messages {
            if self.is_imported(&mailbox, imported.key)? {
                batch.outcomes.push(ImportOutcome::Known);
                continue;
            }
            let wanted = imported.uid.filter(|_| keep_under == Some(mailbox.uid_validity));
            if let Some(Uid(wanted)) = wanted {
                if wanted < self.work(mailbox.id)?.state.uid_next || wanted > MOST_KEPT_UID {
                    // That UID is another message's here. Under one validity it must not mean two.
                    let own = self.next_uid_validity()?;
                    mailbox = self.set_validity(&mailbox, own)?;
                    batch.renumbered = true;
                } else {
                    self.skip_uids(mailbox.id, wanted)?;
                }
            }
            let flags = &imported.message.flags;
            let without_keywords = is_alone && !self.has_room_for(&mailbox, flags)?;
            let system_only = FlagSet::from_parts(flags.bits(), Vec::new());
            let uid =
                self.place_and_note(&mailbox, imported, if without_keywords { &system_only } else { flags }, modseq)?;
            batch.outcomes.push(ImportOutcome::Placed { uid, without_keywords });
        }
        // Old mail is not \Recent. If other mail is, the mark stays where it was.
        let live = &self.work(mailbox.id)?.live.clone();
        let next = self.work(mailbox.id)?.state.uid_next;
        let order = std::sync::atomic::Ordering::AcqRel;
        let _ = live.recent_from.compare_exchange(first, next, order, std::sync::atomic::Ordering::Relaxed);
        crash::point("import.before_commit");
        Ok(batch)
    }

    fn is_imported(&self, mailbox: &Mailbox, key: ImportKey) -> Result<bool> {
        let mut query = self.conn.prepare_cached("SELECT 1 FROM imported WHERE mbox = ? AND key = ?")?;
        Ok(query.exists(params![mailbox.id.0, key.0])?)
    }

    /// Whether the mailbox may learn the keywords of a set.
    fn has_room_for(&mut self, mailbox: &Mailbox, flags: &FlagSet) -> Result<bool> {
        let bound = self.account.shared.options.keywords_per_mailbox;
        let known = self.work(mailbox.id)?.state.keywords.clone();
        let new = flags.keywords().iter().filter(|keyword| !known.contains(keyword)).count();
        Ok(known.len() + new <= bound)
    }

    fn place_and_note(
        &mut self,
        mailbox: &Mailbox,
        imported: &ImportedMessage,
        flags: &FlagSet,
        modseq: ModSeq,
    ) -> Result<Uid> {
        let message = &imported.message;
        let uid = self.place_one(mailbox.id, (&message.prepared, flags, message.internal_date), modseq)?;
        self.conn.prepare_cached("INSERT INTO imported(mbox, key, uid) VALUES (?, ?, ?)")?.execute(params![
            mailbox.id.0,
            imported.key.0,
            uid.0
        ])?;
        if let (Some(source), Some(there)) = (imported.source, imported.uid) {
            self.note_taken(source, there.0, uid.0, modseq)?;
        }
        Ok(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::mailstore::{MailStore, Options};
    use crate::types::{AccountId, Flag, Keyword};

    const NOW: i64 = 1_700_000_000;

    struct House {
        _home: tempfile::TempDir,
        store: MailStore,
        account: Account,
    }

    async fn house() -> House {
        let home = tempfile::tempdir().expect("a folder");
        let options = Options { clock: Clock::fixed(NOW), keywords_per_mailbox: 3, ..Options::default() };
        let store = MailStore::open(home.path(), options).expect("opened");
        let account = store.account(AccountId(1)).await.expect("made");
        account.begin_import().await.expect("begun");
        House { _home: home, store, account }
    }

    impl Drop for House {
        fn drop(&mut self) {
            let findings = self.store.check_now(AccountId(1)).expect("checked");
            assert_eq!(findings.problems, Vec::<String>::new());
            self.store.close();
        }
    }

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text).expect("a name")
    }

    impl House {
        async fn adopt(&self, mailbox: &str, validity: u32) -> Adopted {
            let wanted = Adopt { name: name(mailbox), uid_validity: Some(UidValidity(validity)), is_subscribed: None };
            self.account.adopt(wanted).await.expect("adopted")
        }

        async fn message(&self, key: u8, uid: Option<u32>, keywords: &[&str]) -> ImportedMessage {
            let mut draft = self.account.draft();
            draft.write(format!("Subject: {key}\r\n\r\n").as_bytes()).await.expect("written");
            let prepared = draft.finish().await.expect("finished");
            let flags = keywords.iter().filter_map(|word| Keyword::new(word)).map(Flag::Keyword).collect();
            let message = NewMessage { prepared, flags, internal_date: None };
            ImportedMessage { key: ImportKey([key; 16]), uid: uid.map(Uid), source: None, message }
        }

        async fn place(&self, mailbox: &str, under: u32, wanted: &[(u8, u32)]) -> (Vec<Option<u32>>, bool) {
            let mut messages = Vec::new();
            for (key, uid) in wanted {
                messages.push(self.message(*key, Some(*uid), &[]).await);
            }
            let mailbox = name(mailbox);
            let placing = self.account.place_imported(&mailbox, Some(UidValidity(under)), messages);
            let batch = placing.await.expect("placed");
            let uid = |outcome: &ImportOutcome| match outcome {
                ImportOutcome::Placed { uid, .. } => Some(uid.0),
                ImportOutcome::Known => None,
                ImportOutcome::Refused(error) => panic!("refused: {error}"),
            };
            (batch.outcomes.iter().map(uid).collect(), batch.renumbered)
        }

        async fn validity(&self, mailbox: &str) -> u32 {
            self.account.status(&name(mailbox)).await.expect("there").uid_validity.0
        }
    }

    #[tokio::test]
    async fn uids_are_kept_and_nothing_is_taken_twice() {
        let house = house().await;
        assert_eq!(house.adopt("INBOX", 77).await, Adopted { uid_validity: UidValidity(77), keeps_uids: true });
        assert_eq!(house.place("INBOX", 77, &[(1, 5), (2, 9)]).await, (vec![Some(5), Some(9)], false));
        // The same again, as after a kill, with one more.
        assert!(house.adopt("INBOX", 77).await.keeps_uids);
        let known = house.account.imported(&name("INBOX"), vec![ImportKey([2; 16]), ImportKey([3; 16])]).await;
        assert_eq!(known, Ok(vec![true, false]));
        assert_eq!(house.place("INBOX", 77, &[(1, 5), (2, 9), (3, 12)]).await, (vec![None, None, Some(12)], false));
        house.account.finish_import(&name("INBOX"), UidValidity(77), 40).await.expect("finished");
        let status = house.account.status(&name("INBOX")).await.expect("there");
        assert_eq!((status.messages, status.uid_next, status.uid_validity, status.recent), (3, 40, UidValidity(77), 0));
    }

    #[tokio::test]
    async fn a_validity_is_never_taken_twice_nor_one_that_was_given_here() {
        let house = house().await;
        assert!(house.adopt("A", 77).await.keeps_uids);
        assert!(!house.adopt("B", 77).await.keeps_uids, "another mailbox has it");
        house.account.delete(&name("A")).await.expect("deleted");
        assert!(!house.adopt("A", 77).await.keeps_uids, "a mailbox of this name had it");
        let own = house.validity("INBOX").await;
        for bad in [own, own + 1, 0, NOW as u32 + 90_000, u32::MAX] {
            let adopted = house.adopt(&format!("C{bad}"), bad).await;
            assert!(!adopted.keeps_uids && adopted.uid_validity != UidValidity(bad), "{bad}");
        }
        // A value above all that were given is kept from being given.
        let high = NOW as u32 + 5000;
        assert!(house.adopt("D", high).await.keeps_uids);
        house.account.create(&name("E"), "").await.expect("created");
        assert!(house.validity("E").await > high);
    }

    #[tokio::test]
    async fn a_mailbox_with_mail_of_its_own_keeps_its_validity() {
        let house = house().await;
        let message = house.message(9, None, &[]).await.message;
        house.account.place(&name("INBOX"), vec![message]).await.expect("placed");
        let own = house.validity("INBOX").await;
        assert_eq!(house.adopt("INBOX", 77).await, Adopted { uid_validity: UidValidity(own), keeps_uids: false });
        assert_eq!(house.place("INBOX", 77, &[(1, 500)]).await, (vec![Some(2)], false));
        // The same number by chance is given up.
        let adopted = house.adopt("INBOX", own).await;
        assert!(!adopted.keeps_uids && adopted.uid_validity.0 > own);
    }

    #[tokio::test]
    async fn a_uid_that_was_given_here_meanwhile_ends_the_keeping() {
        let house = house().await;
        house.adopt("A", 77).await;
        assert_eq!(house.place("A", 77, &[(1, 5)]).await, (vec![Some(5)], false));
        let message = house.message(9, None, &[]).await.message;
        house.account.place(&name("A"), vec![message]).await.expect("placed as 6");
        assert_eq!(house.place("A", 77, &[(2, 6), (3, 7)]).await, (vec![Some(7), Some(8)], true));
        assert_ne!(house.validity("A").await, 77);
        house.adopt("B", 78).await;
        assert_eq!(house.place("B", 78, &[(4, u32::MAX)]).await, (vec![Some(1)], true), "none would be left");
    }

    #[tokio::test]
    async fn too_many_keywords_cost_the_keywords_and_not_the_message() {
        let house = house().await;
        house.adopt("A", 77).await;
        let mut messages = Vec::new();
        for (key, words) in [(1, &["a", "b"][..]), (2, &["c", "d"]), (3, &["B", "c"])] {
            messages.push(house.message(key, None, words).await);
        }
        let batch = house.account.place_imported(&name("A"), None, messages).await.expect("placed");
        let without: Vec<_> = batch
            .outcomes
            .iter()
            .map(|outcome| matches!(outcome, ImportOutcome::Placed { without_keywords: true, .. }))
            .collect();
        assert_eq!(without, [false, true, false]);
    }

    #[tokio::test]
    async fn a_deleted_mailbox_is_imported_anew() {
        let house = house().await;
        house.adopt("A", 77).await;
        house.place("A", 77, &[(1, 1)]).await;
        house.account.delete(&name("A")).await.expect("deleted");
        house.account.begin_import().await.expect("begun");
        house.adopt("A", 77).await;
        assert_eq!(house.place("A", 77, &[(1, 1)]).await, (vec![Some(1)], false));
        assert_ne!(house.validity("A").await, 77);
    }
}

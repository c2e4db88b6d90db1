//! The tree of mailboxes: create, delete, rename, subscribe (RFC 3501 §6.3.3 to §6.3.7).

use std::sync::Arc;

use rusqlite::params;

use super::account::{ATTR_NOSELECT, Live, Mailbox, State};
use super::error::{Error, Result};
use super::object_ids;
use super::turn::{ModSeqs, TreeChange, TreeChangeKind, Turn};
use crate::types::{MailboxId, MailboxName, ModSeq, ObjectId, UidValidity};

/// Most names one account may be subscribed to.
const SUBSCRIPTIONS: usize = 100_000;

/// What CREATE made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub id: MailboxId,
    pub uid_validity: UidValidity,
    pub modseqs: ModSeqs,
    pub mailbox_id: ObjectId,
}

impl Turn<'_> {
    /// The next UIDVALIDITY: the time of day, but never one that was given before in this account.
    pub(super) fn next_uid_validity(&mut self) -> Result<UidValidity> {
        let now = self.now.clamp(1, i64::from(u32::MAX));
        let last: i64 = self
            .conn
            .prepare_cached("SELECT value FROM meta WHERE key = 'uidvalidity'")?
            .query_row([], |row| row.get(0))?;
        let next = now.max(last + 1);
        let value = u32::try_from(next).map_err(|_| Error::Limit("UIDVALIDITY values"))?;
        self.conn.prepare_cached("UPDATE meta SET value = ? WHERE key = 'uidvalidity'")?.execute([next])?;
        Ok(UidValidity(value))
    }

    fn parent_id(&self, name: &MailboxName) -> i64 {
        let parent = name.parent().and_then(|parent| self.tree().named(&parent).map(|m| m.id.0));
        parent.unwrap_or(0)
    }

    /// Adds one row to the tree; its parents are there already.
    fn add_mailbox(&mut self, name: &MailboxName, is_noselect: bool, special_use: &str) -> Result<Arc<Mailbox>> {
        if self.tree().count() >= self.account.shared.options.mailboxes {
            return Err(Error::Limit("mailboxes"));
        }
        let uid_validity = self.next_uid_validity()?;
        let modseq = self.next_modseq();
        let attrs = if is_noselect { ATTR_NOSELECT } else { 0 };
        self.conn
            .prepare_cached(
                "INSERT INTO mailbox(parent, name, uidvalidity, modseq, attrs, special_use) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                self.parent_id(name),
                name.leaf(),
                uid_validity.0,
                ModSeq::FIRST.0 as i64,
                attrs,
                special_use
            ])?;
        let id = MailboxId(self.conn.last_insert_rowid());
        let state = State::fresh();
        let mailbox = Arc::new(Mailbox {
            id,
            name: name.clone(),
            uid_validity,
            is_noselect,
            special_use: special_use.into(),
            live: Arc::new(Live::new(id, state, 1)),
        });
        self.tree_mut().insert(mailbox.clone());
        self.growth.mailboxes += 1;
        let change = TreeChange { mailbox: id, kind: TreeChangeKind::Create, name: name.as_str(), old_name: None };
        self.note_change(modseq, &change)?;
        Ok(mailbox)
    }

    /// Makes the parents of `name` that are missing: real mailboxes, so that no mail falls into a hole.
    fn add_parents(&mut self, name: &MailboxName) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = name.parent();
        while let Some(parent) = at {
            if self.tree().named(&parent).is_some() {
                break;
            }
            at = parent.parent();
            missing.push(parent);
        }
        for parent in missing.iter().rev() {
            self.add_mailbox(parent, false, "")?;
            self.subscribe(parent, true)?;
        }
        Ok(())
    }

    /// CREATE. A name that is there for its children only becomes a mailbox again.
    pub fn create(&mut self, name: &MailboxName, special_use: &str) -> Result<Created> {
        let mark = self.mark();
        self.check_uses(special_use)?;
        let usual = if special_use.is_empty() { self.usual_use(name) } else { String::new() };
        let special_use = if special_use.is_empty() { &usual } else { special_use };
        let mut levels = name.levels();
        if levels.next() == Some("INBOX") && levels.next().is_some_and(|second| second.eq_ignore_ascii_case("INBOX")) {
            return Err(Error::Forbidden("a mailbox INBOX below INBOX would be mistaken for INBOX itself"));
        }
        let mailbox = match self.tree().named(name).cloned() {
            Some(mailbox) if mailbox.is_noselect => {
                let uid_validity = self.next_uid_validity()?;
                self.conn
                    .prepare_cached("UPDATE mailbox SET attrs = 0, uidvalidity = ?, special_use = ? WHERE id = ?")?
                    .execute(params![uid_validity.0, special_use, mailbox.id.0])?;
                let revived = Arc::new(Mailbox {
                    is_noselect: false,
                    uid_validity,
                    special_use: special_use.into(),
                    ..(*mailbox).clone()
                });
                self.tree_mut().insert(revived.clone());
                let modseq = self.next_modseq();
                let kind = TreeChangeKind::Create;
                self.note_change(
                    modseq,
                    &TreeChange { mailbox: revived.id, kind, name: name.as_str(), old_name: None },
                )?;
                revived
            }
            Some(_) => return Err(Error::AlreadyExists),
            None => {
                self.add_parents(name)?;
                self.add_mailbox(name, false, special_use)?
            }
        };
        self.subscribe(name, true)?;
        let modseqs = self.modseqs_since(mark);
        let mailbox_id = object_ids::of_mailbox(self.account.id, &mailbox);
        Ok(Created { id: mailbox.id, uid_validity: mailbox.uid_validity, modseqs, mailbox_id })
    }

    /// What a mailbox of this name is for in a new account, when no other has that use: somebody who deletes Sent and
    /// makes it again, or whose program makes it, wants the same as before.
    // RFC 6154 §3: a server may give a use to a mailbox that is made without one.
    fn usual_use(&self, name: &MailboxName) -> String {
        let usual = self.account.shared.options.new_account_mailboxes.iter().find(|(own, _)| own == name.as_str());
        let free = usual.filter(|(_, special_use)| self.check_uses(special_use).is_ok());
        free.map(|(_, special_use)| special_use.clone()).unwrap_or_default()
    }

    /// A use is one mailbox's (RFC 6154 §3 leaves that to the server): programs that look for Sent must not find two.
    fn check_uses(&self, special_use: &str) -> Result<()> {
        let tree = self.tree();
        let is_taken =
            |wanted: &str| tree.iter().any(|m| m.special_use.split_ascii_whitespace().any(|own| own == wanted));
        if special_use.split_ascii_whitespace().any(is_taken) {
            return Err(Error::UseTaken);
        }
        Ok(())
    }

    /// DELETE. Its messages go where expunged ones go. With children the name stays, for them only.
    pub fn delete(&mut self, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(Error::Forbidden("INBOX cannot be deleted"));
        }
        let tree = self.tree();
        let mailbox = tree.named(name).cloned().ok_or(Error::NoSuchMailbox)?;
        let has_children = tree.has_children(name);
        if has_children && mailbox.is_noselect {
            // RFC 3501 §6.3.4
            return Err(Error::HasChildren);
        }
        let modseq = self.next_modseq();
        self.remove_all_messages(&mailbox, modseq)?;
        self.conn
            .prepare_cached(
                "INSERT INTO removed_mailbox(id, path, uidvalidity, uidnext, special_use, keywords, gone, at)
                 SELECT id, ?, uidvalidity, uidnext, special_use, keywords, ?, ? FROM mailbox WHERE id = ?",
            )?
            .execute(params![name.as_str(), modseq.0 as i64, self.now, mailbox.id.0])?;
        for sql in [
            "DELETE FROM mailbox WHERE id = ?",
            "DELETE FROM span WHERE mbox = ?",
            "DELETE FROM expunged WHERE mbox = ?",
            "DELETE FROM seen WHERE mbox = ?",
            "DELETE FROM acl WHERE mbox = ?",
            "DELETE FROM annotation WHERE mbox = ?",
            "DELETE FROM urlauth WHERE mbox = ?",
        ] {
            self.conn.prepare_cached(sql)?.execute([mailbox.id.0])?;
        }
        self.mark_gone(mailbox.id, modseq)?;
        self.tree_mut().remove(name);
        self.growth.mailboxes -= 1;
        let kind = TreeChangeKind::Delete;
        self.note_change(modseq, &TreeChange { mailbox: mailbox.id, kind, name: name.as_str(), old_name: None })?;
        if has_children {
            let place = self.add_mailbox(name, true, "")?;
            self.conn
                .prepare_cached("UPDATE mailbox SET parent = ? WHERE parent = ?")?
                .execute(params![place.id.0, mailbox.id.0])?;
        }
        Ok(())
    }

    /// RENAME. The mailboxes below go along and keep their UIDs; INBOX stays and gives its messages away.
    pub fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let tree = self.tree();
        let mailbox = tree.named(from).cloned().ok_or(Error::NoSuchMailbox)?;
        if tree.named(to).is_some() {
            return Err(Error::AlreadyExists);
        }
        if to.is_below(from) && !from.is_inbox() {
            return Err(Error::Forbidden("a mailbox cannot be moved below itself"));
        }
        if from.is_inbox() {
            // RFC 3501 §6.3.5: the messages move, INBOX stays, and its inferior names are left alone.
            let target = self.create(to, "")?;
            let modseq = self.next_modseq();
            let all = self.membership(mailbox.id)?.all();
            self.move_rows(mailbox.id, target.id, &all, modseq)?;
            return Ok(());
        }
        self.add_parents(to)?;
        let longest = tree.below(from).map(|m| m.name.as_str().len()).max().unwrap_or(0);
        if longest + to.as_str().len() > MailboxName::MAX_OCTETS + from.as_str().len() {
            return Err(Error::Limit("the length of a mailbox name"));
        }
        let moved: Vec<Arc<Mailbox>> = std::iter::once(&mailbox).chain(tree.below(from)).cloned().collect();
        let mut renamed = Vec::with_capacity(moved.len());
        for old in &moved {
            let text = format!("{to}{}", &old.name.as_str()[from.as_str().len()..]);
            let name = MailboxName::new(&text).map_err(|_| Error::Limit("the levels of a mailbox name"))?;
            renamed.push(Arc::new(Mailbox { name, ..(**old).clone() }));
        }
        self.conn.prepare_cached("UPDATE mailbox SET parent = ?, name = ? WHERE id = ?")?.execute(params![
            self.parent_id(to),
            to.leaf(),
            mailbox.id.0
        ])?;
        let tree = self.tree_mut();
        for old in &moved {
            tree.remove(&old.name);
        }
        for new in &renamed {
            tree.insert(new.clone());
        }
        // Whoever saw the mailbox goes on seeing it. The old names stay subscribed: RFC 3501 §6.3.9 forbids to take
        // them away.
        for (old, new) in moved.iter().zip(&renamed) {
            if self.tree().subscriptions.contains(old.name.as_str()) {
                self.subscribe(&new.name, true)?;
            }
        }
        let modseq = self.next_modseq();
        self.note_change(
            modseq,
            &TreeChange {
                mailbox: mailbox.id,
                kind: TreeChangeKind::Rename,
                name: to.as_str(),
                old_name: Some(from.as_str()),
            },
        )
    }

    /// SUBSCRIBE and UNSUBSCRIBE. The name need not be there (RFC 3501 §6.3.6). Gives whether anything changed.
    pub fn subscribe(&mut self, name: &MailboxName, is_on: bool) -> Result<bool> {
        let tree = self.tree();
        if tree.subscriptions.contains(name.as_str()) == is_on {
            return Ok(false);
        }
        if is_on && tree.subscriptions.len() >= SUBSCRIPTIONS {
            return Err(Error::Limit("subscriptions"));
        }
        let sql = if is_on {
            "INSERT OR IGNORE INTO subscription(name) VALUES (?)"
        } else {
            "DELETE FROM subscription WHERE name = ?"
        };
        self.conn.prepare_cached(sql)?.execute([name.as_str()])?;
        let id = tree.named(name).map_or(MailboxId(0), |m| m.id);
        let subscriptions = Arc::make_mut(&mut self.tree_mut().subscriptions);
        if is_on {
            subscriptions.insert(name.as_str().into());
        } else {
            subscriptions.remove(name.as_str());
        }
        let kind = if is_on { TreeChangeKind::Subscribe } else { TreeChangeKind::Unsubscribe };
        let modseq = self.next_modseq();
        self.note_change(modseq, &TreeChange { mailbox: id, kind, name: name.as_str(), old_name: None })?;
        Ok(true)
    }
}

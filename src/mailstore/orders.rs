//! The front door's questions and orders: each forwards owned values to one visit or one turn.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::account::Mailbox;
use super::error::{Error, Result};
use super::object_ids;
use super::store_flags::{FlagsSet, SetFlags};
use super::sweep::Swept;
use super::turn::{ModSeqs, Turn};
use super::view::View;
use super::{Account, Copied, Created};
use crate::metrics::METRICS;
use crate::types::{AccountId, MailboxId, MailboxName, ModSeq, ObjectId, UidRuns, UidValidity};

/// A mailbox's counters, as STATUS tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub messages: u32,
    pub recent: u32,
    pub unseen: u32,
    pub deleted: u32,
    /// Octets of the messages marked `\Deleted`.
    pub deleted_bytes: u64,
    /// Octets of all messages, as they are told.
    pub bytes: u64,
    pub uid_next: u32,
    pub uid_validity: UidValidity,
    pub modseq: ModSeq,
    pub mailbox_id: ObjectId,
}

/// A line of the mailbox list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: MailboxId,
    pub name: MailboxName,
    pub is_noselect: bool,
    pub has_children: bool,
    pub is_subscribed: bool,
    pub special_use: Arc<str>,
}

impl Account {
    pub fn id(&self) -> AccountId {
        self.state.id
    }

    /// The present, by the store's clock, in seconds since 1970.
    pub fn now_secs(&self) -> i64 {
        self.state.shared.clock.now_secs()
    }

    /// Gives a new account its INBOX and the folders every mail program looks for.
    pub(super) async fn furnish(&self) -> Result<()> {
        self.state
            .order(|turn| {
                if turn.tree().count() > 0 {
                    return Ok(());
                }
                turn.create(&MailboxName::inbox(), "")?;
                for (name, special_use) in turn.account.shared.options.new_account_mailboxes.clone() {
                    match MailboxName::new(&name) {
                        Ok(name) if turn.tree().named(&name).is_none() => {
                            turn.create(&name, &special_use)?;
                        }
                        _ => tracing::warn!(name, "a folder for new accounts has no valid name, or has it twice"),
                    }
                }
                Ok(())
            })
            .await
    }

    /// All mailboxes by name, and the subscribed names that are no mailbox.
    pub fn mailboxes(&self) -> (Vec<Listed>, Vec<MailboxName>) {
        let tree = self.state.tree();
        let mut parents = HashSet::new();
        for mailbox in tree.iter() {
            let mut name = mailbox.name.as_str();
            while let Some(at) = name.rfind(MailboxName::SEPARATOR) {
                name = &name[..at];
                if !parents.insert(name) {
                    break;
                }
            }
        }
        let listed = tree
            .iter()
            .map(|mailbox| Listed {
                id: mailbox.id,
                is_noselect: mailbox.is_noselect,
                has_children: parents.contains(mailbox.name.as_str()),
                is_subscribed: tree.subscriptions.contains(mailbox.name.as_str()),
                special_use: mailbox.special_use.clone(),
                name: mailbox.name.clone(),
            })
            .collect();
        let is_missing = |name: &MailboxName| tree.named(name).is_none();
        let lone = tree.subscriptions.iter().filter_map(|n| MailboxName::new(n).ok()).filter(is_missing).collect();
        (listed, lone)
    }

    /// The line of one mailbox; `None`: there is none of this name.
    pub fn listed(&self, name: &MailboxName) -> Option<Listed> {
        let tree = self.state.tree();
        tree.named(name).map(|mailbox| Listed {
            id: mailbox.id,
            is_noselect: mailbox.is_noselect,
            has_children: tree.has_children(name),
            is_subscribed: tree.subscriptions.contains(name.as_str()),
            special_use: mailbox.special_use.clone(),
            name: name.clone(),
        })
    }

    /// True when the name is subscribed, whether there is a mailbox or not.
    pub fn is_subscribed(&self, name: &MailboxName) -> bool {
        self.state.tree().subscriptions.contains(name.as_str())
    }

    /// What a mailbox is called now.
    pub fn name_of(&self, mailbox: MailboxId) -> Option<MailboxName> {
        self.state.tree().with_id(mailbox).map(|mailbox| mailbox.name.clone())
    }

    /// The mailbox of this name, if it can take messages.
    pub fn find(&self, name: &MailboxName) -> Result<Arc<Mailbox>> {
        let mailbox = self.state.tree().named(name).cloned().ok_or(Error::NoSuchMailbox)?;
        if mailbox.is_noselect { Err(Error::NotSelectable) } else { Ok(mailbox) }
    }

    /// The one mailbox whose name differs from `name` in the case of letters only. `None`: there is none, or several.
    pub fn only_alike(&self, name: &MailboxName) -> Option<Arc<Mailbox>> {
        let lower = |name: &MailboxName| name.as_str().chars().flat_map(char::to_lowercase).collect::<String>();
        let (tree, wanted) = (self.state.tree(), lower(name));
        let is_alike = |mailbox: &&Arc<Mailbox>| !mailbox.is_noselect && lower(&mailbox.name) == wanted;
        let mut alike = tree.iter().filter(is_alike);
        let first = alike.next()?.clone();
        alike.next().is_none().then_some(first)
    }

    /// STATUS: from counters, whatever the mailbox's size.
    pub async fn status(&self, name: &MailboxName) -> Result<Status> {
        let mailbox = self.find(name)?;
        let state = mailbox.live.state();
        let recent_from = mailbox.live.recent_from.load(Ordering::Acquire);
        let recent = if recent_from >= state.uid_next || state.messages == 0 {
            0
        } else {
            let loaded = self.state.loaded_state(&mailbox).await?;
            loaded.loaded.as_ref().map_or(0, |l| l.membership.count() - l.membership.rank(recent_from))
        };
        Ok(Status {
            messages: state.messages,
            recent,
            unseen: state.counters.unseen,
            deleted: state.counters.deleted,
            deleted_bytes: state.counters.deleted_bytes,
            // RFC 8438 §2: never less than the sum of RFC822.SIZE.
            bytes: state.counters.bytes + self.state.told_growth(mailbox.id).await?,
            uid_next: state.uid_next,
            uid_validity: mailbox.uid_validity,
            modseq: state.modseq,
            mailbox_id: object_ids::of_mailbox(self.state.id, &mailbox),
        })
    }

    /// Refuses what grows while the disk is nearly full.
    pub(super) fn room(&self) -> Result<()> {
        if self.state.shared.space.is_low() {
            METRICS.disk_low_refusals.add(1);
            return Err(Error::DiskFull);
        }
        Ok(())
    }

    /// CREATE; `special_use` is an attribute such as `\Sent`, or empty.
    pub async fn create(&self, name: &MailboxName, special_use: &str) -> Result<Created> {
        self.room()?;
        let (name, special_use) = (name.clone(), special_use.to_string());
        self.state.growing_order(0, move |turn| turn.create(&name, &special_use)).await
    }

    /// DELETE.
    pub async fn delete(&self, name: &MailboxName) -> Result<ModSeqs> {
        let name = name.clone();
        self.tree_order(move |turn| turn.delete(&name)).await
    }

    /// RENAME.
    pub async fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<ModSeqs> {
        let (from, to) = (from.clone(), to.clone());
        self.tree_order(move |turn| turn.rename(&from, &to)).await
    }

    /// SUBSCRIBE or UNSUBSCRIBE.
    pub async fn subscribe(&self, name: &MailboxName, is_on: bool) -> Result<ModSeqs> {
        let name = name.clone();
        self.tree_order(move |turn| turn.subscribe(&name, is_on).map(|_| ())).await
    }

    async fn tree_order(&self, mut run: impl FnMut(&mut Turn<'_>) -> Result<()> + Send + 'static) -> Result<ModSeqs> {
        let order = self.state.order(move |turn| {
            let mark = turn.mark();
            run(turn)?;
            Ok(turn.modseqs_since(mark))
        });
        order.await
    }

    /// Lets go of what was removed longer than `keep_secs` ago; the housekeeping thread does the same by itself.
    pub async fn sweep(&self, keep_secs: i64) -> Result<Swept> {
        self.state.sweep(keep_secs).await
    }
}

impl View {
    /// STORE.
    pub async fn set_flags(&self, order: SetFlags) -> Result<FlagsSet> {
        let mailbox = self.mailbox();
        self.account().state.order(move |turn| turn.set_flags(mailbox, &order)).await
    }

    /// EXPUNGE of messages marked `\Deleted`; `within` limits it to some UIDs (RFC 4315 §2.1).
    pub async fn expunge(&self, within: Option<UidRuns>) -> Result<(UidRuns, Option<ModSeq>)> {
        let mailbox = self.mailbox();
        let within = within.unwrap_or_else(|| UidRuns::range(1, u32::MAX));
        self.account().state.order(move |turn| turn.expunge_deleted(mailbox, &within)).await
    }

    /// COPY within the account. UIDs that are gone are left out.
    pub async fn copy(&self, uids: UidRuns, to: &MailboxName) -> Result<Copied> {
        let account = self.account();
        account.room()?;
        let (source, to) = (self.mailbox(), to.clone());
        let copy = account.state.growing_order(0, move |turn| {
            let target = turn.selectable(&to)?;
            let modseq = turn.next_modseq();
            turn.copy_rows(source, target.id, &uids, modseq)
        });
        copy.await
    }

    /// MOVE within the account.
    pub async fn move_to_mailbox(&self, uids: UidRuns, to: &MailboxName) -> Result<Copied> {
        let (source, to) = (self.mailbox(), to.clone());
        let moving = self.account();
        let moving = moving.state.order(move |turn| {
            let target = turn.selectable(&to)?;
            let modseq = turn.next_modseq();
            turn.move_rows(source, target.id, &uids, modseq)
        });
        moving.await
    }
}

//! Quotas (RFC 9208): one root an account. What is used is the sum of the mailboxes' counters, kept in memory with
//! them; an order that would grow past a limit is undone before its transaction ends, so no path can forget it.

use std::sync::PoisonError;

use rusqlite::{OptionalExtension, params};

use super::Account;
use super::account::{AccountState, Tree};
use super::error::{Error, Result};
use super::turn::Turn;

/// What an account uses. Expunged mail that is still kept does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets of all messages.
    pub bytes: i64,
    pub messages: i64,
    pub mailboxes: i64,
    /// Octets of annotations (RFC 5464).
    pub annotation_bytes: i64,
}

/// How much an account may use; `None`: as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaLimits {
    pub bytes: Option<u64>,
    pub messages: Option<u64>,
    pub mailboxes: Option<u64>,
    pub annotation_bytes: Option<u64>,
}

/// The names under which limits are stored, in the order of [`QuotaLimits`].
const RESOURCES: [&str; 4] = ["STORAGE", "MESSAGE", "MAILBOX", "ANNOTATION-STORAGE"];

impl Usage {
    /// The sum over all mailboxes of a tree.
    pub fn of(tree: &Tree) -> Usage {
        let mut usage = Usage { mailboxes: tree.count() as i64, ..Usage::default() };
        for mailbox in tree.iter() {
            let state = mailbox.live.state();
            usage.bytes += state.counters.bytes as i64;
            usage.messages += i64::from(state.messages);
        }
        usage
    }

    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            bytes: self.bytes + other.bytes,
            messages: self.messages + other.messages,
            mailboxes: self.mailboxes + other.mailboxes,
            annotation_bytes: self.annotation_bytes + other.annotation_bytes,
        }
    }

    fn values(self) -> [i64; 4] {
        [self.bytes, self.messages, self.mailboxes, self.annotation_bytes]
    }
}

impl QuotaLimits {
    fn values(self) -> [Option<u64>; 4] {
        [self.bytes, self.messages, self.mailboxes, self.annotation_bytes]
    }

    fn of(values: [Option<u64>; 4]) -> QuotaLimits {
        let [bytes, messages, mailboxes, annotation_bytes] = values;
        QuotaLimits { bytes, messages, mailboxes, annotation_bytes }
    }

    /// Refuses `used` where it is over a limit and more than it was. Who is over his limit already, because it was
    /// lowered, may still tidy up.
    fn admit(self, before: Usage, used: Usage) -> Result<()> {
        const NAMES: [&str; 4] = ["storage", "messages", "mailboxes", "annotations"];
        for (index, name) in NAMES.iter().enumerate() {
            let (before, used) = (before.values()[index], used.values()[index]);
            let Some(most) = self.values()[index] else { continue };
            if used > before && used > i64::try_from(most).unwrap_or(i64::MAX) {
                return Err(Error::OverQuota(name));
            }
        }
        Ok(())
    }
}

impl Account {
    /// What is used, and what may be.
    pub fn quota(&self) -> (Usage, QuotaLimits) {
        (self.state.usage(), self.state.quota_limits())
    }

    /// Refuses what would not fit, before anything is sent or written. The order itself is checked once more.
    pub fn room_for(&self, bytes: u64, messages: u64) -> Result<()> {
        let used = self.state.usage();
        let more = Usage {
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX / 2),
            messages: i64::try_from(messages).unwrap_or(i64::MAX / 2),
            ..Usage::default()
        };
        self.state.quota_limits().admit(used, used.plus(more))
    }

    /// SETQUOTA: these limits instead of all that were there, the configured ones too.
    pub async fn set_quota(&self, limits: QuotaLimits) -> Result<()> {
        self.state.order(move |turn| turn.set_quota(limits)).await
    }
}

impl AccountState {
    pub fn usage(&self) -> Usage {
        *self.usage.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn publish_usage(&self, usage: Usage) {
        *self.usage.write().unwrap_or_else(PoisonError::into_inner) = usage;
    }

    /// The account's own limits, else the configured ones.
    pub fn quota_limits(&self) -> QuotaLimits {
        let own = *self.quota.read().unwrap_or_else(PoisonError::into_inner);
        own.unwrap_or_else(|| self.shared.quota_defaults())
    }

    pub fn publish_quota(&self, limits: Option<QuotaLimits>) {
        *self.quota.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Reads the account's own limits; `None` when it has none of its own.
    pub fn read_quota(conn: &rusqlite::Connection) -> Result<Option<QuotaLimits>> {
        let mut values = [None; 4];
        let mut is_own = false;
        for (value, resource) in values.iter_mut().zip(RESOURCES) {
            let mut query = conn.prepare_cached("SELECT allowed FROM quota WHERE resource = ?")?;
            let stored: Option<Option<i64>> = query.query_row([resource], |row| row.get(0)).optional()?;
            is_own |= stored.is_some();
            *value = stored.flatten().and_then(|allowed| u64::try_from(allowed).ok());
        }
        Ok(is_own.then(|| QuotaLimits::of(values)))
    }
}

impl Turn<'_> {
    /// Refuses the order that has just run, if it grew past a limit. `before`: this turn's growth until it began.
    pub fn within_quota(&self, before: Usage) -> Result<()> {
        let used = self.account.usage();
        self.account.quota_limits().admit(used.plus(before), used.plus(self.growth))
    }

    fn set_quota(&mut self, limits: QuotaLimits) -> Result<()> {
        self.wrote();
        let mut write = self.conn.prepare_cached("INSERT OR REPLACE INTO quota(resource, allowed) VALUES (?, ?)")?;
        for (resource, allowed) in RESOURCES.iter().zip(limits.values()) {
            write.execute(params![resource, allowed.map(|most| i64::try_from(most).unwrap_or(i64::MAX))])?;
        }
        self.new_quota = Some(limits);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_growth_past_a_limit_is_refused() {
        let limits = QuotaLimits { bytes: Some(100), messages: Some(3), ..QuotaLimits::default() };
        let used = |bytes, messages| Usage { bytes, messages, ..Usage::default() };
        assert_eq!(limits.admit(used(0, 0), used(100, 3)), Ok(()));
        assert_eq!(limits.admit(used(0, 0), used(101, 1)), Err(Error::OverQuota("storage")));
        assert_eq!(limits.admit(used(0, 3), used(10, 4)), Err(Error::OverQuota("messages")));
        assert_eq!(limits.admit(used(200, 9), used(150, 9)), Ok(()), "tidying up");
        assert_eq!(QuotaLimits::default().admit(used(0, 0), used(i64::MAX, 1)), Ok(()));
    }
}

//! The orders that SORT found last, kept while they are used: a client that shows a mailbox page by page asks for the
//! same order again and again. What a message is sorted by never changes, so an order stays true for those in it,
//! whatever comes or goes meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use super::account::Live;
use super::owner::lock;
use super::view::View;
use crate::types::{AccountId, SortCriterion, UidRuns};

/// Messages below which sorting anew costs less than it is worth to keep.
const LEAST_MESSAGES: u64 = 256;
/// Orders kept over all accounts.
const MOST_ORDERS: usize = 256;
/// Octets of all orders together: four for each message, so four million messages.
const MOST_OCTETS: usize = 16 << 20;

/// Messages of a mailbox in the order of some criteria.
#[derive(Debug, PartialEq, Eq)]
pub struct KeptOrder {
    pub uids: Vec<u32>,
    /// The same, by UID.
    pub members: UidRuns,
}

#[derive(Debug)]
struct Entry {
    account: AccountId,
    mailbox: Weak<Live>,
    criteria: Vec<SortCriterion>,
    order: Arc<KeptOrder>,
}

impl Entry {
    fn octets(&self) -> usize {
        4 * self.order.uids.len() + 8 * self.order.members.runs().len()
    }
}

/// All that are kept, the one used last at the end.
#[derive(Debug, Default)]
pub struct KeptOrders {
    entries: Mutex<VecDeque<Entry>>,
}

impl KeptOrders {
    fn get(&self, mailbox: &Arc<Live>, criteria: &[SortCriterion]) -> Option<Arc<KeptOrder>> {
        let mut entries = lock(&self.entries);
        let is_it = |entry: &Entry| entry.mailbox.as_ptr() == Arc::as_ptr(mailbox) && entry.criteria == criteria;
        let at = entries.iter().position(is_it)?;
        let entry = entries.remove(at)?;
        let order = entry.order.clone();
        entries.push_back(entry);
        Some(order)
    }

    fn put(&self, entry: Entry) {
        let mut entries = lock(&self.entries);
        entries.retain(|other| {
            let is_same = Weak::ptr_eq(&other.mailbox, &entry.mailbox) && other.criteria == entry.criteria;
            !is_same && other.mailbox.strong_count() > 0
        });
        entries.push_back(entry);
        let mut octets: usize = entries.iter().map(Entry::octets).sum();
        while octets > MOST_OCTETS || entries.len() > MOST_ORDERS {
            let Some(oldest) = entries.pop_front() else { break };
            octets -= oldest.octets();
        }
    }

    /// Drops what is kept of an account.
    pub fn forget(&self, account: AccountId) {
        lock(&self.entries).retain(|entry| entry.account != account);
    }
}

impl View {
    /// The order that was found last by these criteria. It may hold messages that this view does not have, and lack
    /// some that it has.
    pub fn kept_order(&self, criteria: &[SortCriterion]) -> Option<Arc<KeptOrder>> {
        self.shared().kept_orders.get(self.live(), criteria)
    }

    /// Keeps the order of messages of this view for whoever asks next.
    pub fn keep_order(&self, criteria: &[SortCriterion], order: KeptOrder) {
        if order.members.count() >= LEAST_MESSAGES {
            let (account, mailbox) = (self.account().state.id, Arc::downgrade(self.live()));
            let (criteria, order) = (criteria.to_vec(), Arc::new(order));
            self.shared().kept_orders.put(Entry { account, mailbox, criteria, order });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::account::State;
    use crate::types::{MailboxId, SortKey};

    fn mailbox(id: i64) -> Arc<Live> {
        Arc::new(Live::new(MailboxId(id), State::fresh(), 1))
    }

    fn order(uids: std::ops::RangeInclusive<u32>) -> Arc<KeptOrder> {
        let members = UidRuns::range(*uids.start(), *uids.end());
        Arc::new(KeptOrder { uids: uids.rev().collect(), members })
    }

    fn entry(account: i64, mailbox: &Arc<Live>, key: SortKey, order: &Arc<KeptOrder>) -> Entry {
        Entry {
            account: AccountId(account),
            mailbox: Arc::downgrade(mailbox),
            criteria: vec![SortCriterion { reverse: false, key }],
            order: order.clone(),
        }
    }

    fn by(key: SortKey) -> [SortCriterion; 1] {
        [SortCriterion { reverse: false, key }]
    }

    #[test]
    fn an_order_belongs_to_its_mailbox_and_criteria() {
        let kept = KeptOrders::default();
        let (one, two) = (mailbox(1), mailbox(1));
        let (first, second) = (order(1..=3), order(1..=4));
        kept.put(entry(1, &one, SortKey::Date, &first));
        assert_eq!(kept.get(&one, &by(SortKey::Date)), Some(first.clone()));
        assert_eq!(kept.get(&one, &by(SortKey::Subject)), None);
        assert_eq!(kept.get(&two, &by(SortKey::Date)), None, "another account's, of the same number");
        kept.put(entry(1, &one, SortKey::Date, &second));
        assert_eq!(kept.get(&one, &by(SortKey::Date)), Some(second));
        kept.put(entry(2, &two, SortKey::Date, &first));
        kept.forget(AccountId(1));
        assert_eq!((kept.get(&one, &by(SortKey::Date)), kept.get(&two, &by(SortKey::Date))), (None, Some(first)));
    }

    #[test]
    fn memory_is_bounded_and_what_was_used_longest_ago_goes() {
        let kept = KeptOrders::default();
        let boxes: Vec<_> = (0..3).map(mailbox).collect();
        let big = order(1..=1_500_000);
        for live in &boxes[..2] {
            kept.put(entry(1, live, SortKey::Date, &big));
        }
        kept.get(&boxes[0], &by(SortKey::Date)).expect("kept");
        kept.put(entry(1, &boxes[2], SortKey::Date, &big));
        let is_kept: Vec<bool> = boxes.iter().map(|live| kept.get(live, &by(SortKey::Date)).is_some()).collect();
        assert_eq!(is_kept, [true, false, true]);
        let octets: usize = lock(&kept.entries).iter().map(Entry::octets).sum();
        assert!(octets <= MOST_OCTETS, "{octets}");

        let small = order(1..=2);
        let many: Vec<_> = (0..MOST_ORDERS as i64 + 9).map(mailbox).collect();
        many.iter().for_each(|live| kept.put(entry(1, live, SortKey::Size, &small)));
        assert_eq!(lock(&kept.entries).len(), MOST_ORDERS);
        // A mailbox that is closed takes its orders along.
        drop(many);
        kept.put(entry(1, &boxes[0], SortKey::Size, &small));
        assert_eq!(lock(&kept.entries).len(), 1);
    }
}

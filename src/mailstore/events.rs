//! The last changes of an account, for sessions that watch more than one mailbox (RFC 5465). A bounded memory of what
//! happened in which order: a thousand watchers read it and no table. Who falls behind its beginning is told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::Account;
use super::owner::lock;
use super::turn::TreeChangeKind;
use crate::hub::Listener;
use crate::types::{MailboxId, ModSeq};

/// How many changes are remembered.
const EVENTS: usize = 4096;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub modseq: ModSeq,
    pub what: What,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Messages { mailbox: MailboxId, kinds: Kinds },
    Tree { kind: TreeChangeKind, name: Arc<str>, old_name: Option<Arc<str>> },
}

/// What happened to messages of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    pub came: bool,
    pub went: bool,
    pub flags: bool,
}

impl Kinds {
    pub fn is_none(self) -> bool {
        self == Kinds::default()
    }

    /// Those of them that are wanted.
    pub fn of(self, wanted: Kinds) -> Kinds {
        Kinds { came: self.came && wanted.came, went: self.went && wanted.went, flags: self.flags && wanted.flags }
    }

    pub fn and(self, other: Kinds) -> Kinds {
        Kinds { came: self.came || other.came, went: self.went || other.went, flags: self.flags || other.flags }
    }
}

/// The memory of one account.
#[derive(Debug, Default)]
pub struct Events {
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    /// Changes up to this one are forgotten.
    forgotten: ModSeq0,
    newest: ModSeq0,
}

/// A modseq, or 0 for before the first.
type ModSeq0 = u64;

/// What happened after some modseq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub events: Vec<Event>,
    /// The modseq to ask from the next time.
    pub until: ModSeq,
}

impl Events {
    /// Begins with nothing known of what was before.
    pub fn start(&self, newest: ModSeq) {
        *lock(&self.ring) = Ring { events: VecDeque::new(), forgotten: newest.0, newest: newest.0 };
    }

    pub fn publish(&self, events: Vec<Event>, newest: ModSeq) {
        let mut ring = lock(&self.ring);
        ring.newest = ring.newest.max(newest.0);
        for event in events {
            if ring.events.len() >= EVENTS
                && let Some(oldest) = ring.events.pop_front()
            {
                ring.forgotten = ring.forgotten.max(oldest.modseq.0);
            }
            ring.events.push_back(event);
        }
    }

    fn newest(&self) -> ModSeq {
        ModSeq(lock(&self.ring).newest)
    }

    fn after(&self, since: ModSeq) -> Option<News> {
        let ring = lock(&self.ring);
        if since.0 < ring.forgotten {
            return None;
        }
        let from = ring.events.partition_point(|event| event.modseq <= since);
        Some(News { events: ring.events.range(from..).cloned().collect(), until: ModSeq(ring.newest) })
    }
}

impl Account {
    /// The modseq of the newest change.
    pub fn newest_modseq(&self) -> ModSeq {
        self.state.events.newest()
    }

    /// What happened after `since`; `None` when that is further back than is remembered.
    pub fn news_after(&self, since: ModSeq) -> Option<News> {
        self.state.events.after(since)
    }

    /// Waits for the next change of anything in this account, with the listener of before if it did so too.
    pub fn listen(&self, before: Option<Listener>) -> Listener {
        self.state.shared.hub.listen_on(before, self.state.id, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(modseq: u64) -> Event {
        let kinds = Kinds { came: true, ..Kinds::default() };
        Event { modseq: ModSeq(modseq), what: What::Messages { mailbox: MailboxId(1), kinds } }
    }

    #[test]
    fn news_are_complete_or_refused() {
        let events = Events::default();
        events.start(ModSeq(10));
        assert_eq!(events.after(ModSeq(9)), None);
        assert_eq!(events.after(ModSeq(10)), Some(News { events: vec![], until: ModSeq(10) }));
        events.publish(vec![event(11), event(13)], ModSeq(14));
        assert_eq!(events.after(ModSeq(11)), Some(News { events: vec![event(13)], until: ModSeq(14) }));
        events.publish((20..20 + EVENTS as u64).map(event).collect(), ModSeq(9000));
        assert_eq!(events.after(ModSeq(12)), None);
        assert_eq!(events.after(ModSeq(13)).map(|news| news.events.len()), Some(EVENTS));
    }
}

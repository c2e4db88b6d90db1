//! "Account 7, mailbox 3, modseq 912": who wants to know, and waking them.
//! An event says only *that* something changed. It may be doubled or come late; what changed is
//! asked of the mail store, from the modseq last told. So nothing here queues and nothing overflows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::types::{AccountId, MailboxId, ModSeq};

/// What a listener waits for: one mailbox, or anything in an account.
type Topic = (AccountId, Option<MailboxId>);

/// The meeting place of orders that changed something and sessions that wait.
#[derive(Debug, Default)]
pub struct Hub {
    topics: Mutex<HashMap<Topic, Arc<watch::Sender<u64>>>>,
}

impl Hub {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn topics(&self) -> std::sync::MutexGuard<'_, HashMap<Topic, Arc<watch::Sender<u64>>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to listen to one mailbox, or with `None` to the whole account.
    pub fn listen(self: &Arc<Self>, account: AccountId, mailbox: Option<MailboxId>) -> Listener {
        let topic = (account, mailbox);
        let receiver = self.topics().entry(topic).or_insert_with(|| Arc::new(watch::channel(0).0)).subscribe();
        Listener { hub: self.clone(), topic, receiver: Some(receiver) }
    }

    /// Goes on listening, to what was listened to before if it is the same: then nothing that was told since is lost.
    pub fn listen_on(
        self: &Arc<Self>,
        before: Option<Listener>,
        account: AccountId,
        mailbox: Option<MailboxId>,
    ) -> Listener {
        match before {
            Some(listener) if listener.topic == (account, mailbox) => listener,
            _ => self.listen(account, mailbox),
        }
    }

    /// Says that `mailbox` has moved to `modseq`. Never waits.
    pub fn tell(&self, account: AccountId, mailbox: MailboxId, modseq: ModSeq) {
        self.tell_topics([Some(mailbox), None].map(|mailbox| (account, mailbox)), modseq);
    }

    /// Says that something of the account that is no message has moved to `modseq`.
    pub fn tell_account(&self, account: AccountId, modseq: ModSeq) {
        self.tell_topics([(account, None)], modseq);
    }

    fn tell_topics<const N: usize>(&self, topics: [Topic; N], modseq: ModSeq) {
        // Waking a hundred sessions takes a while, and they push this thread off its core: nobody may have to wait for
        // the topics meanwhile.
        let senders = {
            let known = self.topics();
            topics.map(|topic| known.get(&topic).cloned())
        };
        for sender in senders.into_iter().flatten() {
            sender.send_replace(modseq.0);
        }
    }

    /// How many topics someone listens to; for the status page.
    pub fn topic_count(&self) -> usize {
        self.topics().len()
    }
}

/// One waiting session. Dropping it ends the waiting.
#[derive(Debug)]
pub struct Listener {
    hub: Arc<Hub>,
    topic: Topic,
    receiver: Option<watch::Receiver<u64>>,
}

impl Listener {
    /// Returns when something was told since the last call (or since listening began). Safe to cancel.
    pub async fn changed(&mut self) {
        match &mut self.receiver {
            // The sender lives as long as a receiver does, so an error cannot come; waiting for ever is then right.
            Some(receiver) => {
                if receiver.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.receiver = None;
        let mut topics = self.hub.topics();
        if topics.get(&self.topic).is_some_and(|sender| sender.receiver_count() == 0) {
            topics.remove(&self.topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_hears_its_mailbox_and_its_account_only() {
        let hub = Hub::new();
        let mut mailbox = hub.listen(AccountId(1), Some(MailboxId(2)));
        let mut account = hub.listen(AccountId(1), None);
        let mut other = hub.listen(AccountId(2), None);
        hub.tell(AccountId(1), MailboxId(2), ModSeq(5));
        mailbox.changed().await;
        account.changed().await;
        hub.tell(AccountId(1), MailboxId(3), ModSeq(6));
        account.changed().await;
        tokio::select! {
            biased;
            () = mailbox.changed() => panic!("told of another mailbox"),
            () = other.changed() => panic!("told of another account"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn a_change_before_the_wait_is_not_lost() {
        let hub = Hub::new();
        let mut listener = hub.listen(AccountId(1), None);
        hub.tell(AccountId(1), MailboxId(1), ModSeq(2));
        hub.tell(AccountId(1), MailboxId(1), ModSeq(3));
        listener.changed().await;
    }

    #[tokio::test]
    async fn whoever_listens_on_misses_nothing() {
        let hub = Hub::new();
        let listener = hub.listen(AccountId(1), Some(MailboxId(2)));
        hub.tell(AccountId(1), MailboxId(2), ModSeq(5));
        let mut same = hub.listen_on(Some(listener), AccountId(1), Some(MailboxId(2)));
        same.changed().await;
        let mut other = hub.listen_on(Some(same), AccountId(1), None);
        hub.tell_account(AccountId(1), ModSeq(6));
        other.changed().await;
        assert_eq!(hub.topic_count(), 1);
    }

    #[test]
    fn a_topic_ends_with_its_last_listener() {
        let hub = Hub::new();
        let a = hub.listen(AccountId(1), None);
        let b = hub.listen(AccountId(1), None);
        drop(a);
        assert_eq!(hub.topic_count(), 1);
        drop(b);
        assert_eq!(hub.topic_count(), 0);
    }
}

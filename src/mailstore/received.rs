//! One received message placed into many mailboxes of any accounts, as delivery does: it was read, hashed and described
//! once. A large body is one file on the disk with a name in each account; a small one is a row in each.
//! Each placing is an order of its own account: one may fail while the others stand.

use std::sync::Arc;

use super::Account;
use super::blobs;
use super::draft::{Body, Prepared, on_writer};
use super::error::{Error, Result};
use super::owner::lock;
use super::place::Placed;
use crate::metrics::METRICS;
use crate::types::{FlagSet, MailboxName};

/// A message that may be placed as often as there are recipients. Cheap to clone. The draft's file is kept for the
/// other accounts until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Received(Arc<Prepared>);

impl From<Prepared> for Received {
    fn from(prepared: Prepared) -> Self {
        Received(Arc::new(prepared))
    }
}

impl Received {
    /// The message's size in octets.
    pub fn size(&self) -> u32 {
        self.0.size
    }

    /// Places the message into `mailbox` of `account`, without flags and as of now. When this returns it would survive a
    /// power cut. Errors are those of [`Account::place`]; they say nothing of other accounts.
    pub async fn place(&self, account: &Account, mailbox: &MailboxName) -> Result<Placed> {
        account.room()?;
        let prepared = if Arc::ptr_eq(&self.0.account, &account.state) {
            // A second time in the same account finds the content of the first: nothing is written twice.
            self.0.clone()
        } else {
            Arc::new(self.another(account).await?)
        };
        let (bytes, mailbox) = (prepared.inline_bytes(), mailbox.clone());
        let order = account.state.growing_order(bytes, move |turn| {
            turn.place_each(&mailbox, std::iter::once((&*prepared, &FlagSet::new(), None)))
        });
        let placed = order.await?;
        METRICS.messages_placed.add(1);
        Ok(placed)
    }

    /// The same message for another account.
    async fn another(&self, account: &Account) -> Result<Prepared> {
        let (from, target) = (self.0.clone(), account.state.clone());
        let with_body = move |from: &Prepared, body| {
            let description = from.description.clone();
            Prepared { account: target, hash: from.hash, size: from.size, body, description }
        };
        if let Body::Inline(octets) = &from.body {
            return Ok(with_body(&from, Body::Inline(octets.clone())));
        }
        // Made on the store's thread: if nobody waits for it any more, dropping it there leaves the file to the sweep.
        let state = account.state.clone();
        on_writer(&account.state, move || {
            let Body::File(file) = &from.body else { return Err(Error::Unavailable) };
            let name = match blobs::link_from(&from.account.dir, file, &state.dir)? {
                Some(name) => name,
                None => blobs::copy_from(&from.account.dir, file, &state.dir)?,
            };
            lock(&state.files_in_flight).insert(name.clone());
            Ok(with_body(&from, Body::File(name)))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;
    use crate::mailstore::{MailStore, Options, QuotaLimits};
    use crate::types::AccountId;

    fn store(home: &std::path::Path) -> MailStore {
        MailStore::open(home, Options { min_free_bytes: 0, ..Options::default() }).expect("opens")
    }

    async fn receive(account: &Account, octets: &[u8]) -> Received {
        let mut draft = account.draft();
        for piece in octets.chunks(10_000) {
            draft.write(piece).await.expect("taken");
        }
        draft.finish().await.expect("whole").into()
    }

    fn files(home: &std::path::Path, account: i64) -> Vec<PathBuf> {
        let Ok(shelves) = fs::read_dir(home.join(format!("accounts/{account}/blobs"))) else { return Vec::new() };
        let files = shelves.flatten().flat_map(|shelf| fs::read_dir(shelf.path()).into_iter().flatten().flatten());
        files.map(|file| file.path()).collect()
    }

    #[tokio::test]
    async fn a_large_body_is_on_the_disk_once_for_all_its_recipients() {
        let home = tempfile::tempdir().expect("a folder");
        let store = store(home.path());
        let mut accounts = Vec::new();
        for id in 1..=3 {
            accounts.push(store.account(AccountId(id)).await.expect("an account"));
        }
        let octets = [b"Subject: large\r\n\r\n".to_vec(), vec![b'x'; 300_000]].concat();
        let received = receive(&accounts[0], &octets).await;
        assert_eq!(received.size() as usize, octets.len());
        let (inbox, archive) = (MailboxName::inbox(), MailboxName::new("Archive").expect("a name"));
        for account in &accounts {
            received.place(account, &inbox).await.expect("placed");
        }
        received.place(&accounts[1], &archive).await.expect("placed a second time");
        drop(received);
        for account in &accounts {
            account.sweep(0).await.expect("swept");
        }
        let inodes: Vec<u64> = (1..=3)
            .map(|id| {
                let files = files(home.path(), id);
                assert_eq!(files.len(), 1, "{files:?}");
                fs::metadata(&files[0]).expect("there").ino()
            })
            .collect();
        assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
        for (id, messages) in [(1, 1), (2, 2), (3, 1)] {
            let findings = store.check(AccountId(id)).await.expect("checked");
            assert!(findings.problems.is_empty(), "{:?}", findings.problems);
            assert_eq!(accounts[id as usize - 1].quota().0.messages, messages);
        }
        store.close();
    }

    #[tokio::test]
    async fn one_account_that_has_no_room_is_no_hindrance_to_the_others() {
        let home = tempfile::tempdir().expect("a folder");
        let store = store(home.path());
        let first = store.account(AccountId(1)).await.expect("an account");
        let second = store.account(AccountId(2)).await.expect("an account");
        first.set_quota(QuotaLimits { bytes: Some(10), ..QuotaLimits::default() }).await.expect("set");
        for octets in [b"Subject: small\r\n\r\n".to_vec(), vec![b'y'; 200_000]] {
            let received = receive(&first, &octets).await;
            let refused = received.place(&first, &MailboxName::inbox()).await;
            assert_eq!(refused, Err(Error::OverQuota("storage")));
            received.place(&second, &MailboxName::inbox()).await.expect("placed");
        }
        first.sweep(0).await.expect("swept");
        assert_eq!(files(home.path(), 1), Vec::<PathBuf>::new(), "the refused body's file is gone");
        let missing = MailboxName::new("none").expect("a name");
        let received = receive(&second, b"\r\n").await;
        assert_eq!(received.place(&second, &missing).await, Err(Error::NoSuchMailbox));
        for id in [1, 2] {
            assert!(store.check(AccountId(id)).await.expect("checked").problems.is_empty());
        }
        store.close();
    }
}

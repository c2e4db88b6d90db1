//! A message on its way in: hashed and described while it streams, in memory while it is small, in a
//! file of its own once it is not. Dropping a draft removes what it wrote.

use std::sync::Arc;

use super::Account;
use super::account::AccountState;
use super::blobs::{INLINE_BYTES, Spill};
use super::error::{Error, Result};
use super::owner::lock;
use crate::message::{Description, Scanner};

/// A message that is being received.
pub struct Draft {
    account: Arc<AccountState>,
    /// Lent to a store thread while a piece of a large message is being written.
    work: Option<Box<Work>>,
    octets: u64,
}

struct Work {
    scanner: Scanner,
    hasher: blake3::Hasher,
    held: Vec<u8>,
    spill: Option<Spill>,
}

/// Where a finished body is.
#[derive(Debug)]
pub enum Body {
    Inline(Vec<u8>),
    /// The name of a file below `blobs/`, durable already.
    File(String),
}

/// A message ready to be placed. It may be placed once; dropped, its file is left to the sweep.
#[derive(Debug)]
pub struct Prepared {
    pub(super) account: Arc<AccountState>,
    pub(super) hash: [u8; 32],
    pub(super) size: u32,
    pub(super) body: Body,
    pub(super) description: Description,
}

impl Account {
    /// Begins a message.
    pub fn draft(&self) -> Draft {
        Draft {
            account: self.state.clone(),
            work: Some(Box::new(Work {
                scanner: Scanner::new(),
                hasher: blake3::Hasher::new(),
                held: Vec::new(),
                spill: None,
            })),
            octets: 0,
        }
    }
}

impl Work {
    fn take_in(&mut self, account: &AccountState, piece: &[u8]) -> Result<()> {
        self.hasher.update(piece);
        self.scanner.feed(piece);
        match &mut self.spill {
            Some(spill) => spill.write(piece),
            None if self.held.len() + piece.len() <= INLINE_BYTES => {
                self.held.extend_from_slice(piece);
                Ok(())
            }
            None => {
                let mut spill = Spill::begin(&account.dir)?;
                spill.write(&std::mem::take(&mut self.held))?;
                spill.write(piece)?;
                self.spill = Some(spill);
                Ok(())
            }
        }
    }

    fn finish(self, account: &Arc<AccountState>, octets: u64) -> Result<Prepared> {
        let hash = *self.hasher.finalize().as_bytes();
        let body = match self.spill {
            None => Body::Inline(self.held),
            Some(spill) => {
                let name = spill.settle(&account.dir, &hash)?;
                lock(&account.files_in_flight).insert(name.clone());
                Body::File(name)
            }
        };
        let size = u32::try_from(octets).map_err(|_| Error::TooLarge)?;
        Ok(Prepared { account: account.clone(), hash, size, body, description: self.scanner.finish() })
    }
}

impl Draft {
    /// Octets received so far.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Takes in the next piece. What has to be written to disk is written on a store thread.
    pub async fn write(&mut self, piece: &[u8]) -> Result<()> {
        let mut work = self.work.take().ok_or(Error::Unavailable)?;
        self.octets += piece.len() as u64;
        if work.spill.is_none() && work.held.len() + piece.len() <= INLINE_BYTES {
            work.take_in(&self.account, piece)?;
            self.work = Some(work);
            return Ok(());
        }
        let (account, piece) = (self.account.clone(), piece.to_vec());
        let work = on_writer(&self.account, move || {
            work.take_in(&account, &piece)?;
            Ok(work)
        });
        self.work = Some(work.await?);
        Ok(())
    }

    /// The message is whole. A large one is durable under its final name when this returns.
    pub async fn finish(mut self) -> Result<Prepared> {
        let work = self.work.take().ok_or(Error::Unavailable)?;
        let (account, octets) = (self.account.clone(), self.octets);
        if work.spill.is_none() {
            return work.finish(&account, octets);
        }
        on_writer(&self.account, move || work.finish(&account, octets)).await
    }
}

/// Runs a piece of file work on one of the threads that may wait for the disk.
pub async fn on_writer<T: Send + 'static>(
    account: &Arc<AccountState>,
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    account.shared.writers.run(move || {
        let _ = reply.send(job());
    });
    answer.await.unwrap_or(Err(Error::Unavailable))
}

impl Prepared {
    /// The message's size in octets, which is its RFC822.SIZE.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What is known of the message's inside.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Body::File(name) = &self.body {
            lock(&self.account.files_in_flight).remove(name);
            // If a row names it by now the sweep sees that and leaves it.
            lock(&self.account.orphans).push(name.clone());
        }
    }
}

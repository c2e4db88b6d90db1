//! The running server as the owner of the data directory, for commands that copy or exchange an account.

use std::path::PathBuf;

use super::upkeep::{HeldBy, Upkeep};
use super::{RENEWED, Reply, Request, client};
use crate::care::Owner;
use crate::care::owner::own_holder;
use crate::mailstore::take_in::Target;
use crate::mailstore::{Kept, Purpose};
use crate::types::AccountId;

/// Asks the server that runs on this data directory.
pub struct Running {
    data_dir: PathBuf,
}

impl Running {
    pub fn new(data_dir: PathBuf) -> Self {
        Running { data_dir }
    }

    /// Asks, and tells the lines that come. The sentence at the end, or why there is none.
    pub fn ask(&self, question: Upkeep, tell: &mut dyn FnMut(&str)) -> Result<String, String> {
        match client::ask(&self.data_dir, &Request::Upkeep(question), tell) {
            Ok(Reply::Done(text)) => Ok(text),
            Ok(Reply::Failed(reason) | Reply::Found(reason)) => Err(reason),
            Ok(_) => Err("the running server gave another answer than was asked for".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn by() -> HeldBy {
        own_holder().into()
    }
}

impl Owner for Running {
    fn hold(&self, account: AccountId, purpose: Purpose) -> Result<bool, String> {
        let question = Upkeep::Hold { account: account.0, hold_for: purpose.into(), by: Self::by() };
        self.ask(question, &mut |_| {}).map(|told| told == RENEWED)
    }

    fn release(&self, account: AccountId) {
        // A server that is gone or does not answer forgets the lease by itself.
        let _ = self.ask(Upkeep::LetGo { account: account.0, by: Self::by() }, &mut |_| {});
    }

    fn exchange(&self, account: AccountId, kept: Kept) -> Result<Option<String>, String> {
        let question = Upkeep::Exchange { account: account.0, keep_as: kept.into(), by: Self::by() };
        let name = self.ask(question, &mut |_| {})?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    fn take_in(&self, account: AccountId, target: &Target) -> Result<String, String> {
        let (from, to) = (target.from.to_string(), target.to.to_string());
        let question = Upkeep::TakeIn { account: account.0, from, to, may_exist: target.may_exist };
        self.ask(question, &mut |_| {})
    }
}

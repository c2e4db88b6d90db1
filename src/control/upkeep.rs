//! What backup, restore, repair and undelete ask of the running server. Each is one question; a command that works for
//! long asks the first of them again and again, which keeps its lease alive.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::info;

use super::service::{ControlHost, blocking};
use super::{RENEWED, Reply};
use crate::care::owner::told;
use crate::care::undelete::{Wish, undelete};
use crate::login::EndReason;
use crate::mailstore::take_in::Target;
use crate::mailstore::{Holder, Kept, LEASE_TIME, Purpose, RemovedFilter};
use crate::types::{AccountId, MailboxName};

/// How long sessions have to say goodbye before their account is taken from them.
const GOODBYE: Duration = Duration::from_secs(10);

/// The questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Upkeep {
    /// Begin or renew a lease on an account.
    Hold { account: i64, hold_for: HoldFor, by: HeldBy },
    /// End it.
    LetGo { account: i64, by: HeldBy },
    /// Put the staged files in the place of an account that is held for it.
    Exchange { account: i64, keep_as: KeepAs, by: HeldBy },
    /// Take in the folders that lie ready beside an account.
    TakeIn {
        account: i64,
        from: String,
        to: String,
        #[serde(default)]
        may_exist: bool,
    },
    /// Bring removed messages back, or list them.
    Undelete {
        account: i64,
        #[serde(default)]
        list: bool,
        #[serde(default)]
        since: Option<i64>,
        #[serde(default)]
        mailbox: Option<String>,
        #[serde(default)]
        to: Option<String>,
        #[serde(default)]
        copies: bool,
    },
}

/// What an account is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldFor {
    Backup,
    Exchange,
}

/// The name under which the old files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeepAs {
    Replaced,
    Damaged,
}

/// Who asks: his process, and a number of his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldBy {
    pub process: u32,
    pub number: u64,
}

impl From<HeldBy> for Holder {
    fn from(by: HeldBy) -> Self {
        Holder { process: by.process, number: by.number }
    }
}

impl From<Holder> for HeldBy {
    fn from(holder: Holder) -> Self {
        HeldBy { process: holder.process, number: holder.number }
    }
}

impl From<Purpose> for HoldFor {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Backup => HoldFor::Backup,
            Purpose::Exchange => HoldFor::Exchange,
        }
    }
}

impl From<Kept> for KeepAs {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Replaced => KeepAs::Replaced,
            Kept::Damaged => KeepAs::Damaged,
        }
    }
}

/// Answers one of them; gives the last reply.
pub async fn obey(request: Upkeep, host: Arc<ControlHost>, tell: &mpsc::Sender<Reply>) -> Reply {
    match request {
        Upkeep::Hold { account, hold_for, by } => match hold(&host, AccountId(account), hold_for, by.into()).await {
            Ok(true) => Reply::Done(RENEWED.into()),
            Ok(false) => Reply::Done("held".into()),
            Err(reason) => Reply::Failed(reason),
        },
        Upkeep::LetGo { account, by } => {
            host.store.release(AccountId(account), by.into());
            Reply::Done("let go".into())
        }
        Upkeep::Exchange { account, keep_as, by } => {
            let kept = match keep_as {
                KeepAs::Replaced => Kept::Replaced,
                KeepAs::Damaged => Kept::Damaged,
            };
            let id = AccountId(account);
            let exchanged = blocking(move || host.store.exchange(id, by.into(), kept).map_err(|e| e.to_string()));
            match exchanged.await {
                Ok(name) => Reply::Done(name.unwrap_or_default()),
                Err(reason) => Reply::Failed(reason),
            }
        }
        Upkeep::TakeIn { account, from, to, may_exist } => {
            let (from, to) = match (MailboxName::new(&from), MailboxName::new(&to)) {
                (Ok(from), Ok(to)) => (from, to),
                (Err(bad), _) | (_, Err(bad)) => return Reply::Failed(bad.to_string()),
            };
            match host.store.take_in(AccountId(account), Target { from, to, may_exist }).await {
                Ok(taken) => Reply::Done(told(&taken)),
                Err(error) => Reply::Failed(error.to_string()),
            }
        }
        Upkeep::Undelete { account, list, since, mailbox, to, copies } => {
            let name = |text: Option<String>| text.map(|text| MailboxName::new(&text)).transpose();
            let (mailbox, to) = match (name(mailbox), name(to)) {
                (Ok(mailbox), Ok(to)) => (mailbox, to),
                (Err(bad), _) | (_, Err(bad)) => return Reply::Failed(bad.to_string()),
            };
            let wish = Wish { filter: RemovedFilter { since, mailbox, with_copies: copies }, to, is_list: list };
            let lines = tell.clone();
            let done = blocking(move || {
                let mut tell_line = |line: String| {
                    // Whoever asked may have left; what was asked for is done all the same.
                    let _ = lines.blocking_send(Reply::Line(line));
                };
                undelete(&host.store, AccountId(account), wish, &mut tell_line)
            });
            match done.await {
                Ok(told) => Reply::Done(told),
                Err(reason) => Reply::Failed(reason),
            }
        }
    }
}

/// For an exchange nobody new comes in, who is there is told to leave, and then the account is closed.
async fn hold(host: &Arc<ControlHost>, id: AccountId, hold_for: HoldFor, holder: Holder) -> Result<bool, String> {
    let purpose = match hold_for {
        HoldFor::Backup => Purpose::Backup,
        HoldFor::Exchange => Purpose::Exchange,
    };
    let was_held = host.store.hold(id, purpose, holder, LEASE_TIME).await.map_err(|error| error.to_string())?;
    if purpose == Purpose::Backup || was_held {
        return Ok(was_held);
    }
    let count = host.sessions.end_account(id, EndReason::Parked);
    info!(account = %id, process = holder.process, sessions = count, "the account is closed for an exchange of its files");
    host.sessions.wait_account_empty(id, GOODBYE).await;
    let retiring = host.clone();
    blocking(move || {
        retiring.store.retire(id);
        Ok(())
    })
    .await?;
    Ok(false)
}

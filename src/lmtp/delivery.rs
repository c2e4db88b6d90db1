//! A message on its way in, whatever protocol brings it: it streams once into a draft, and is then placed into each
//! mailbox it is for. What is told of each recipient is true on the disk when it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::refusal::Refusal;
use super::target::{Recipient, Target};
use super::trace::{HopCount, Trace};
use crate::config::Config;
use crate::mailstore::{Draft, Error, Received};
use crate::metrics::METRICS;
use crate::types::{AccountId, MailboxName};

/// How many mailboxes one message is placed into at a time: each waits for its own sync, and the disk does several at
/// once. Also the bound of what copies of a small body take.
const AT_ONCE: usize = 8;

/// A message that is being received.
pub struct Incoming {
    /// `Err`: it will not be taken; the rest is read and forgotten.
    draft: Result<Draft, Refusal>,
    id: Arc<str>,
    recipients: Vec<Recipient>,
    config: Arc<Config>,
    hops: HopCount,
    octets: u64,
    may_have_nul: bool,
    begun: Instant,
}

/// What became of the message for one recipient.
pub type Verdict = Result<(), Refusal>;

impl Incoming {
    /// Begins a message for these recipients, of whom there is at least one.
    pub async fn begin(config: Arc<Config>, recipients: Vec<Recipient>, trace: Trace<'_>) -> Incoming {
        let id = trace.id.into();
        let draft = match recipients.first().and_then(|recipient| recipient.targets.first()) {
            Some(target) => Ok(target.account.draft()),
            None => Err(Refusal::Trouble),
        };
        let (hops, begun) = (HopCount::default(), Instant::now());
        let mut incoming = Incoming { draft, id, recipients, config, hops, octets: 0, may_have_nul: false, begun };
        incoming.store(trace.lines().as_bytes()).await;
        incoming
    }

    /// It was announced as one in which any octets may stand (RFC 3030 §3): then NUL is one of them, as in a literal8.
    pub fn allow_nul(&mut self) {
        self.may_have_nul = true;
    }

    /// Takes in the next piece of the message. After a failure it is forgotten.
    pub async fn write(&mut self, piece: &[u8]) {
        if self.draft.is_err() {
            return;
        }
        self.octets = self.octets.saturating_add(piece.len() as u64);
        let (most_octets, most_hops) = (self.config.limits.message_bytes, self.config.lmtp.hops);
        if self.octets > most_octets {
            return self.refuse(Refusal::TooLarge(most_octets));
        }
        self.hops.feed(piece);
        if self.hops.hops() > most_hops {
            return self.refuse(Refusal::Loop(most_hops));
        }
        self.store(piece).await;
    }

    async fn store(&mut self, piece: &[u8]) {
        if let Ok(draft) = &mut self.draft
            && let Err(error) = draft.write(piece).await
        {
            error!(id = %self.id, %error, "a message could not be written down");
            self.refuse(Refusal::of(&error, &self.config.lmtp));
        }
    }

    /// What this message is refused for is known before it has ended.
    fn refuse(&mut self, refusal: Refusal) {
        self.draft = Err(refusal);
    }

    /// Why it will not be taken, if that is known already.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.draft.as_ref().err()
    }

    /// The number under which the log has it.
    pub fn id(&self) -> Arc<str> {
        self.id.clone()
    }

    /// The message is whole: it goes to its mailboxes. [`Verdicts::next`] tells what became of it.
    pub async fn finish(self) -> Verdicts {
        let Incoming { draft, id, recipients, config, octets, may_have_nul, begun, .. } = self;
        let received = match draft {
            Ok(draft) => settle(draft, may_have_nul, &config).await,
            Err(refusal) => Err(refusal),
        };
        METRICS.messages_received.add(1);
        let mut verdicts = Verdicts {
            log: Log { id, octets, begun },
            jobs: HashMap::new(),
            recipients: recipients.into_iter(),
            config,
            refusal: received.as_ref().err().cloned(),
        };
        if let Ok(received) = received {
            verdicts.begin(&received);
        }
        verdicts
    }
}

async fn settle(draft: Draft, may_have_nul: bool, config: &Config) -> Result<Received, Refusal> {
    let prepared = draft.finish().await.map_err(|error| {
        error!(%error, "a message could not be written down");
        Refusal::of(&error, &config.lmtp)
    })?;
    // RFC 5322 §4.1 knows NUL as a thing of the past, and RFC 3501 §9 lets no plain literal carry it.
    let is_bad = prepared.description().has_nul && !may_have_nul;
    if is_bad { Err(Refusal::Nul) } else { Ok(prepared.into()) }
}

/// What becomes of a message, recipient by recipient in the order they were named. Dropping it stops nothing: what is
/// being placed is placed.
pub struct Verdicts {
    log: Log,
    /// One for each mailbox, however many addresses lead to it.
    jobs: HashMap<(AccountId, MailboxName), Job>,
    recipients: std::vec::IntoIter<Recipient>,
    config: Arc<Config>,
    /// Nobody gets it, for this reason.
    refusal: Option<Refusal>,
}

enum Job {
    Running(JoinHandle<Result<MailboxName, Error>>),
    Done(Result<MailboxName, Error>),
}

/// What stands in every line about one message.
struct Log {
    id: Arc<str>,
    octets: u64,
    begun: Instant,
}

impl Verdicts {
    /// Starts the placing into every mailbox, each once.
    fn begin(&mut self, received: &Received) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        for recipient in self.recipients.as_slice() {
            // An alias is delivered to all its users or, as far as can be known, to none: the sender is told one thing
            // only, and would send it again to those who have it.
            if !has_room(recipient, received) {
                continue;
            }
            for target in &recipient.targets {
                self.jobs.entry(key(target)).or_insert_with(|| {
                    let (received, target, room) = (received.clone(), target.clone(), room.clone());
                    Job::Running(tokio::spawn(async move {
                        let _place = room.acquire_owned().await;
                        place(&received, &target).await
                    }))
                });
            }
        }
    }

    /// The next recipient's verdict, as soon as it is known; `None` after the last.
    pub async fn next(&mut self) -> Option<Verdict> {
        let recipient = self.recipients.next()?;
        let mut verdict = Ok(());
        for target in &recipient.targets {
            let outcome = match &self.refusal {
                Some(refusal) => Err(refusal.clone()),
                None => self.outcome(target).await,
            };
            self.log.tell(&recipient, target, &outcome);
            // A refusal for now outweighs one for good: with another try more of them may get it.
            verdict = match (verdict, outcome) {
                (Ok(()), Ok(_)) => Ok(()),
                (Ok(()), Err(refusal)) | (Err(refusal), Ok(_)) => Err(refusal),
                (Err(one), Err(other)) => Err(if one.reply().code < other.reply().code { one } else { other }),
            };
        }
        match &verdict {
            Ok(()) => METRICS.recipients_served.add(1),
            Err(_) => METRICS.recipients_refused.add(1),
        }
        Some(verdict)
    }

    async fn outcome(&mut self, target: &Target) -> Result<MailboxName, Refusal> {
        let Some(job) = self.jobs.get_mut(&key(target)) else {
            // It was not begun because one of the alias's users has no room.
            return Err(Refusal::of(&Error::OverQuota("storage"), &self.config.lmtp));
        };
        if let Job::Running(running) = job {
            // A panic was caught at its task; the message is with this recipient or not, so it has to come again.
            let done = running.await.unwrap_or(Err(Error::Unavailable));
            *job = Job::Done(done);
        }
        match job {
            Job::Done(Ok(mailbox)) => Ok(mailbox.clone()),
            Job::Done(Err(error)) => Err(Refusal::of(error, &self.config.lmtp)),
            Job::Running(_) => Err(Refusal::Trouble),
        }
    }
}

fn key(target: &Target) -> (AccountId, MailboxName) {
    (target.account.id(), target.mailbox.clone())
}

fn has_room(recipient: &Recipient, received: &Received) -> bool {
    let octets = u64::from(received.size());
    recipient.targets.len() < 2 || recipient.targets.iter().all(|target| target.account.room_for(octets, 1).is_ok())
}

/// Places one copy and gives the mailbox it lies in. What was promised at RCPT is kept: a folder that cannot be made, or
/// is gone by now, is INBOX.
async fn place(received: &Received, target: &Target) -> Result<MailboxName, Error> {
    let mut mailbox = target.mailbox.clone();
    if target.is_made {
        match target.account.create(&mailbox, "").await {
            Ok(_) | Err(Error::AlreadyExists) => {}
            Err(error) => {
                warn!(account = target.account.id().0, %error, "a folder could not be made for mail that came in");
                mailbox = MailboxName::inbox();
            }
        }
    }
    match received.place(&target.account, &mailbox).await {
        Err(Error::NoSuchMailbox | Error::NotSelectable) if !mailbox.is_inbox() => {
            mailbox = MailboxName::inbox();
            received.place(&target.account, &mailbox).await.map(|_| mailbox)
        }
        placed => placed.map(|_| mailbox),
    }
}

impl Log {
    /// One line for each message and mailbox. Nothing of what is in the message.
    fn tell(&self, recipient: &Recipient, target: &Target, outcome: &Result<MailboxName, Refusal>) {
        let Log { id, octets, begun } = self;
        let (account, user) = (target.account.id().0, &target.user);
        let (to, millis) = (&recipient.address, begun.elapsed().as_millis() as u64);
        match outcome {
            Ok(mailbox) => {
                let mailbox = mailbox.as_str();
                info!(%id, ?to, ?user, account, ?mailbox, octets, millis, "mail stored");
            }
            Err(refusal) => {
                let (mailbox, reply) = (target.mailbox.as_str(), refusal.reply());
                let code = reply.enhanced;
                info!(%id, ?to, ?user, account, ?mailbox, octets, millis, code, "mail not stored: {}", reply.text);
            }
        }
    }
}

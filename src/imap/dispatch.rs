//! From a command to its handler: whether it may run in this state and within the operator's bounds, and the one match
//! that hands it on.

use super::answer::{Answer, Done, Stop, bad, no};
use super::cmd;
use super::commands::{Needs, Row, counts_numbers};
use super::session::{Session, State};
use crate::types::{Body, Code, Condition, NumSet, Search, Sort, SystemFlag, Thread};

impl Session {
    /// Refuses a command that may not run now, or holds more than a command may.
    pub(super) fn may_run(&self, row: Row, body: &Body) -> Result<(), Stop> {
        self.in_right_state(row)?;
        self.within_limits(body)?;
        self.counts_by(!counts_numbers(body))
    }

    /// Hands a command to its handler.
    pub(super) async fn dispatch(&mut self, tag: &str, body: Body) -> Answer {
        match body {
            Body::Capability => cmd::any::capability(self),
            Body::Noop | Body::Check => Ok(Done::default()),
            Body::Logout => cmd::any::logout(self),
            Body::Id(pairs) => cmd::any::id(self, &pairs),
            Body::StartTls => cmd::login::starttls(self),
            Body::Authenticate(arguments) => cmd::login::authenticate(self, tag, arguments).await,
            Body::Login(arguments) => cmd::login::login(self, arguments).await,
            Body::Enable(names) => cmd::enable::enable(self, &names),
            Body::Select(arguments) => cmd::select::select(self, arguments, false).await,
            Body::Examine(arguments) => cmd::select::select(self, arguments, true).await,
            Body::Close => cmd::select::close(self).await,
            Body::Unselect => cmd::select::unselect(self),
            Body::Create(arguments) => cmd::mailbox::create(self, arguments).await,
            Body::Delete(arguments) => cmd::mailbox::delete(self, tag, arguments).await,
            Body::Rename(arguments) => cmd::mailbox::rename(self, tag, arguments).await,
            Body::Subscribe(name) => cmd::mailbox::subscribe(self, name, true).await,
            Body::Unsubscribe(name) => cmd::mailbox::subscribe(self, name, false).await,
            Body::Namespace => cmd::list::namespace(self.signed_in()?),
            Body::List(arguments) => cmd::list::list(self.signed_in()?, &arguments).await,
            Body::Lsub(arguments) => cmd::lsub::lsub(self.signed_in()?, &arguments).await,
            Body::Status(arguments) => cmd::status::status(self.signed_in()?, arguments).await,
            Body::Idle => cmd::idle::idle(self).await,
            Body::Append(arguments) => cmd::append::append_stored(self, tag, arguments).await,
            Body::Notify(arguments) => cmd::notify::notify(self, arguments).await,
            Body::Compress => cmd::compress::compress(self),
            Body::Unauthenticate => cmd::login::unauthenticate(self),
            Body::GetQuota(root) => cmd::quota::get(self, &root).await,
            Body::GetQuotaRoot(mailbox) => cmd::quota::get_root(self, mailbox).await,
            Body::SetQuota(arguments) => cmd::quota::set(self, arguments).await,
            Body::UidBatches(arguments) => cmd::uid_batches::uid_batches(self.selected()?, tag, arguments),
            Body::Partial(arguments) => cmd::fetch::partial(self.selected()?, arguments).await,
            Body::Find(arguments) => cmd::old::find(self.signed_in()?, &arguments).await,
            Body::BBoard(_) => Err(no(Code::NonExistent, "there are no bulletin boards here")),
            Body::Expunge => cmd::expunge::expunge(self.selected()?, tag).await,
            Body::UidExpunge(set) => cmd::expunge::uid_expunge(self.selected()?, tag, &set).await,
            Body::Search(arguments) => cmd::search::search(self.selected()?, tag, arguments).await,
            Body::Sort(arguments) => cmd::sort::sort(self.selected()?, tag, arguments).await,
            Body::Thread(arguments) => cmd::thread::thread(self.selected()?, tag, arguments).await,
            Body::Fetch(arguments) => cmd::fetch::fetch(self.selected()?, arguments).await,
            Body::Store(arguments) => cmd::store::store(self.selected()?, tag, arguments).await,
            Body::Copy(arguments) => cmd::copy::copy(self, tag, arguments).await,
            Body::Move(arguments) => cmd::copy::move_messages(self, tag, arguments).await,
        }
    }

    fn in_right_state(&self, row: Row) -> Result<(), Stop> {
        match (row.needs, &self.state) {
            (Needs::Any, _)
            | (Needs::NotAuthenticated, State::NotAuthenticated)
            | (Needs::Authenticated, State::Authenticated(_) | State::Selected(..))
            | (Needs::Selected, State::Selected(..)) => Ok(()),
            (Needs::NotAuthenticated, _) => Err(bad(format!("{} is not possible after logging in", row.word))),
            (_, State::NotAuthenticated) => Err(bad(format!("{} is not possible before logging in", row.word))),
            (Needs::Selected, State::Authenticated(_)) => Err(bad(format!("{} needs a selected mailbox", row.word))),
        }
    }

    /// The operator's bounds on what one command may hold; the parser's own are wider.
    fn within_limits(&self, body: &Body) -> Result<(), Stop> {
        let config = self.host.config.load();
        let limits = &config.limits;
        let sets: Vec<&NumSet> = match body {
            Body::Fetch(fetch) => vec![&fetch.set],
            Body::Store(store) => {
                within_keywords(store.flags.len(), limits.keywords_per_mailbox)?;
                vec![&store.set]
            }
            Body::Copy(copy) | Body::Move(copy) => vec![&copy.set],
            Body::UidExpunge(set) => vec![set],
            Body::Search(Search { key, .. }) | Body::Sort(Sort { key, .. }) | Body::Thread(Thread { key, .. }) => {
                if key.depth() > limits.nesting {
                    return Err(bad(format!("the search nests deeper than {} levels", limits.nesting)));
                }
                key.sets()
            }
            _ => Vec::new(),
        };
        if sets.iter().any(|set| set.ranges() > limits.set_ranges) {
            return Err(no(Code::Limit, format!("a set may have {} ranges at most", limits.set_ranges)));
        }
        Ok(())
    }

    /// Refuses sequence numbers to a client that has switched them off (RFC 9586 §3).
    pub fn counts_by(&self, uid: bool) -> Result<(), Stop> {
        if self.enabled.uid_only && !uid {
            return Err(Stop::Refused {
                condition: Condition::Bad,
                code: Some(Code::UidRequired),
                text: "sequence numbers are switched off; use the command's UID form".into(),
            });
        }
        Ok(())
    }
}

/// More flags than a mailbox may have keywords cannot all be stored; said before they are sorted.
pub fn within_keywords(flags: usize, most: usize) -> Result<(), Stop> {
    if flags > most + SystemFlag::ALL.len() {
        return Err(no(Code::Limit, format!("a mailbox may have {most} keywords at most")));
    }
    Ok(())
}

//! NOTIFY (RFC 5465 §3.1): from now on the client is told of these events, whether a command is at work or not.

use crate::imap::answer::{Answer, Done, bad, no};
use crate::imap::notifier::{Notifier, SUPPORTED};
use crate::imap::session::{Session, State};
use crate::types::Code;
use crate::types::notify::Notify;

pub async fn notify(session: &mut Session, arguments: Notify) -> Answer {
    let (State::Authenticated(account) | State::Selected(account, _)) = &session.state else {
        return Err(bad("log in first"));
    };
    let account = account.clone();
    // Before anything is read: what changes from here on will be told.
    let told = account.newest_modseq();
    let set = match arguments {
        Notify::None => {
            session.notifier = Some(Box::new(Notifier::none(told)));
            return Ok(Done::default());
        }
        Notify::Set(set) => set,
    };
    let events = || set.groups.iter().map(|group| &group.events);
    let is_known = |events: &crate::types::notify::Events| {
        events.unknown.is_none() && events.names.iter().all(|name| SUPPORTED.contains(name))
    };
    if !events().all(is_known) {
        return Err(no(Code::BadEvent(SUPPORTED.to_vec()), "this server does not know one of these events"));
    }
    let tells_status = set.status;
    session.notifier = Some(Box::new(Notifier::new(set, told)));
    if tells_status {
        session.tell_all_counts(&account).await?;
    }
    Ok(Done::default())
}

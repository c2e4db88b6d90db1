//! The table of commands: the word, the state each needs, and whether others' expunges may be told with it.

use crate::types::{Body, FetchItem, StatusItem};

/// The state a command needs (RFC 3501 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Any,
    NotAuthenticated,
    /// With or without a mailbox selected.
    Authenticated,
    Selected,
}

/// What may be told before the command's tagged line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    Everything,
    /// RFC 3501 §7.4.1: numbers must not shift under FETCH, STORE and SEARCH.
    Nothing,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub word: &'static str,
    pub needs: Needs,
    pub tell: Tell,
}

const fn row(word: &'static str, needs: Needs, tell: Tell) -> Row {
    Row { word, needs, tell }
}

/// True for a command that switches CONDSTORE on by being used (RFC 7162 §3.1).
pub fn enables_condstore(body: &Body) -> bool {
    match body {
        // SELECT tells HIGHESTMODSEQ by itself; see cmd/select.rs.
        Body::Select(_) | Body::Examine(_) => false,
        Body::Status(status) => status.items.contains(&StatusItem::HighestModSeq),
        // With VANISHED it is on already, or the command is refused.
        Body::Fetch(fetch) if fetch.vanished => false,
        Body::Fetch(fetch) => fetch.changed_since.is_some() || fetch.items.contains(&FetchItem::ModSeq),
        Body::Store(store) => store.unchanged_since.is_some(),
        Body::Search(search) => search.key.has_mod_seq(),
        _ => false,
    }
}

/// True for a command that may change which messages the selected mailbox has: its doings are told to a client that
/// wants to hear of nothing else (RFC 5465 §3.1).
pub fn changes_membership(body: &Body) -> bool {
    matches!(
        body,
        Body::Expunge | Body::UidExpunge(_) | Body::Move(_) | Body::Copy(_) | Body::Append(_) | Body::Notify(_)
    )
}

/// True for a command that names messages by their sequence numbers (RFC 9586 §3.2).
pub fn counts_numbers(body: &Body) -> bool {
    match body {
        Body::Fetch(fetch) => !fetch.uid,
        Body::Store(store) => !store.uid,
        Body::Copy(copy) | Body::Move(copy) => !copy.uid,
        Body::Search(search) => !search.uid || search.key.has_numbers(),
        Body::Sort(sort) => !sort.uid || sort.key.has_numbers(),
        Body::Thread(thread) => !thread.uid || thread.key.has_numbers(),
        _ => false,
    }
}

/// The row of a command.
pub fn row_of(body: &Body) -> Row {
    use Needs::{Any, Authenticated, NotAuthenticated, Selected};
    use Tell::{Everything, Nothing};
    match body {
        Body::Capability => row("CAPABILITY", Any, Everything),
        Body::Noop => row("NOOP", Any, Everything),
        Body::Logout => row("LOGOUT", Any, Nothing),
        Body::Id(_) => row("ID", Any, Everything),
        Body::StartTls => row("STARTTLS", NotAuthenticated, Nothing),
        Body::Authenticate(_) => row("AUTHENTICATE", NotAuthenticated, Nothing),
        Body::Login(_) => row("LOGIN", NotAuthenticated, Nothing),
        Body::Enable(_) => row("ENABLE", Authenticated, Everything),
        Body::Select(_) => row("SELECT", Authenticated, Nothing),
        Body::Examine(_) => row("EXAMINE", Authenticated, Nothing),
        Body::Create(_) => row("CREATE", Authenticated, Everything),
        Body::Delete(_) => row("DELETE", Authenticated, Everything),
        Body::Rename(_) => row("RENAME", Authenticated, Everything),
        Body::Subscribe(_) => row("SUBSCRIBE", Authenticated, Everything),
        Body::Unsubscribe(_) => row("UNSUBSCRIBE", Authenticated, Everything),
        Body::List(list) if list.is_xlist => row("XLIST", Authenticated, Everything),
        Body::List(_) => row("LIST", Authenticated, Everything),
        Body::Lsub(_) => row("LSUB", Authenticated, Everything),
        Body::Namespace => row("NAMESPACE", Authenticated, Everything),
        Body::Status(_) => row("STATUS", Authenticated, Everything),
        Body::Idle => row("IDLE", Authenticated, Everything),
        Body::Append(append) => match append.target.replaced {
            None => row("APPEND", Authenticated, Everything),
            Some(replaced) if replaced.uid => row("UID REPLACE", Selected, Everything),
            Some(_) => row("REPLACE", Selected, Everything),
        },
        // RFC 2062: one FETCH, under another name.
        Body::Partial(_) => row("PARTIAL", Selected, Nothing),
        Body::Find(_) => row("FIND", Authenticated, Everything),
        Body::BBoard(_) => row("BBOARD", Authenticated, Nothing),
        // RFC 5465 §3.1: it is a NOOP too.
        Body::Notify(_) => row("NOTIFY", Authenticated, Everything),
        Body::Compress => row("COMPRESS", Authenticated, Everything),
        Body::Unauthenticate => row("UNAUTHENTICATE", Authenticated, Nothing),
        Body::GetQuota(_) => row("GETQUOTA", Authenticated, Everything),
        Body::GetQuotaRoot(_) => row("GETQUOTAROOT", Authenticated, Everything),
        Body::SetQuota(_) => row("SETQUOTA", Authenticated, Everything),
        Body::UidBatches(_) => row("UIDBATCHES", Selected, Everything),
        Body::Check => row("CHECK", Selected, Everything),
        Body::Close => row("CLOSE", Selected, Nothing),
        Body::Unselect => row("UNSELECT", Selected, Nothing),
        Body::Expunge => row("EXPUNGE", Selected, Everything),
        Body::UidExpunge(_) => row("UID EXPUNGE", Selected, Everything),
        // RFC 7162 §3.2.10.2: numbers must not shift under a UID SEARCH that has some in its keys.
        Body::Search(search) if search.uid && search.key.has_numbers() => row("UID SEARCH", Selected, Nothing),
        Body::Search(search) if search.uid => row("UID SEARCH", Selected, Everything),
        Body::Search(_) => row("SEARCH", Selected, Nothing),
        // RFC 5256 §3: EXPUNGE is not permitted with SORT and THREAD, but with their UID forms.
        Body::Sort(sort) if sort.uid => row("UID SORT", Selected, Everything),
        Body::Sort(_) => row("SORT", Selected, Nothing),
        Body::Thread(thread) if thread.uid => row("UID THREAD", Selected, Everything),
        Body::Thread(_) => row("THREAD", Selected, Nothing),
        Body::Fetch(fetch) if fetch.uid => row("UID FETCH", Selected, Everything),
        Body::Fetch(_) => row("FETCH", Selected, Nothing),
        Body::Store(store) if store.uid => row("UID STORE", Selected, Everything),
        Body::Store(_) => row("STORE", Selected, Nothing),
        Body::Copy(copy) if copy.uid => row("UID COPY", Selected, Everything),
        Body::Copy(_) => row("COPY", Selected, Everything),
        Body::Move(copy) if copy.uid => row("UID MOVE", Selected, Everything),
        Body::Move(_) => row("MOVE", Selected, Everything),
    }
}

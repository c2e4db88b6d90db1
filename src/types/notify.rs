//! NOTIFY: of which events in which mailboxes a client wants to be told at any time (RFC 5465).

use super::{FetchItem, MailboxArgument};

/// The NOTIFY command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notify {
    /// Of nothing at all, from now on.
    None,
    Set(NotifySet),
}

/// What takes the place of all that was asked for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySet {
    /// First tell the STATUS of every mailbox but the selected one.
    pub status: bool,
    /// At least one; at most one of them is about the selected mailbox. Several may name the same mailbox.
    pub groups: Vec<EventGroup>,
}

impl NotifySet {
    /// Most groups in one command.
    pub const MAX_GROUPS: usize = 100;
    /// Most mailboxes named in one command.
    pub const MAX_MAILBOXES: usize = 1000;
}

/// Some mailboxes and what is to be told of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    pub mailboxes: MailboxFilter,
    pub events: Events,
}

/// Which mailboxes (RFC 5465 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxFilter {
    /// The selected one, told of at once.
    Selected,
    /// The selected one, told of expunges only when a command allows it.
    SelectedDelayed,
    /// Where mail is delivered.
    Inboxes,
    /// All of the user's own.
    Personal,
    Subscribed,
    /// These and all below them; at least one.
    Subtree(Vec<MailboxArgument>),
    /// These, without any wildcards; at least one.
    Mailboxes(Vec<MailboxArgument>),
}

impl MailboxFilter {
    /// True for the two that mean the selected mailbox.
    pub fn is_selected(&self) -> bool {
        matches!(self, MailboxFilter::Selected | MailboxFilter::SelectedDelayed)
    }
}

/// The events of a group. None at all is `NONE`.
///
/// With the selected mailbox there are only message events. `MessageNew` and `MessageExpunge` come together, and
/// `FlagChange` and `AnnotationChange` only with both (RFC 5465 §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    /// In the order asked, each only once.
    pub names: Vec<EventName>,
    /// What FETCH is to tell of a new message; only with the selected mailbox.
    pub fetch: Vec<FetchItem>,
    /// The first event nobody has defined. No syntax error: the command is answered NO with BADEVENT (RFC 5465 §3.1).
    pub unknown: Option<String>,
}

impl Events {
    /// True when this event is to be told.
    pub fn has(&self, name: EventName) -> bool {
        self.names.contains(&name)
    }
}

/// An event as NOTIFY and the code BADEVENT name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventName {
    MessageNew,
    MessageExpunge,
    FlagChange,
    AnnotationChange,
    MailboxName,
    SubscriptionChange,
    MailboxMetadataChange,
    ServerMetadataChange,
}

impl EventName {
    /// All of them.
    pub const ALL: [EventName; 8] = [
        EventName::MessageNew,
        EventName::MessageExpunge,
        EventName::FlagChange,
        EventName::AnnotationChange,
        EventName::MailboxName,
        EventName::SubscriptionChange,
        EventName::MailboxMetadataChange,
        EventName::ServerMetadataChange,
    ];

    /// The name as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            EventName::MessageNew => "MessageNew",
            EventName::MessageExpunge => "MessageExpunge",
            EventName::FlagChange => "FlagChange",
            EventName::AnnotationChange => "AnnotationChange",
            EventName::MailboxName => "MailboxName",
            EventName::SubscriptionChange => "SubscriptionChange",
            EventName::MailboxMetadataChange => "MailboxMetadataChange",
            EventName::ServerMetadataChange => "ServerMetadataChange",
        }
    }

    /// True for what happens to messages; the others happen to mailboxes and to the server.
    pub const fn is_of_messages(self) -> bool {
        matches!(
            self,
            EventName::MessageNew | EventName::MessageExpunge | EventName::FlagChange | EventName::AnnotationChange
        )
    }
}

//! What a server answers: conditions and response codes (RFC 3501 §7.1, RFC 5530).

use super::{EventName, FlagSet, ModSeq, ObjectId, Seq, Uid, UidRuns, UidValidity};

/// The word a status response begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

impl Condition {
    /// The word as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            Condition::Ok => "OK",
            Condition::No => "NO",
            Condition::Bad => "BAD",
            Condition::Bye => "BYE",
            Condition::Preauth => "PREAUTH",
        }
    }
}

/// What stands in the brackets of a status response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    Alert,
    /// The charsets this server does know.
    BadCharset(Vec<&'static str>),
    /// The capability names in the order they are written, `IMAP4rev1` among them.
    Capability(Vec<String>),
    Parse,
    PermanentFlags {
        flags: FlagSet,
        /// `\*`: the client may make up new keywords.
        new_keywords: bool,
    },
    ReadOnly,
    ReadWrite,
    TryCreate,
    UidNext(Uid),
    UidValidity(UidValidity),
    Unseen(Seq),

    // RFC 4315 §3
    /// Never empty; more than one UID only after a MULTIAPPEND.
    AppendUid {
        uid_validity: UidValidity,
        uids: UidRuns,
    },
    /// Never empty, and as many on the one side as on the other.
    CopyUid {
        uid_validity: UidValidity,
        from: UidRuns,
        to: UidRuns,
    },
    UidNotSticky,

    // RFC 7162 §7
    HighestModSeq(ModSeq),
    NoModSeq,
    /// Sequence numbers or UIDs, as the command had them. Never empty.
    Modified(UidRuns),
    Closed,

    // RFC 5530 §3
    Unavailable,
    AuthenticationFailed,
    AuthorizationFailed,
    Expired,
    PrivacyRequired,
    ContactAdmin,
    NoPerm,
    InUse,
    ExpungeIssued,
    Corruption,
    ServerBug,
    ClientBug,
    Cannot,
    Limit,
    OverQuota,
    AlreadyExists,
    NonExistent,

    /// RFC 4469 §4.2, RFC 7889 §4
    TooBig,
    /// The URL that could not be used, as it was written (RFC 4469 §4.1).
    BadUrl(String),
    /// RFC 3516 §4.3
    UnknownCte,
    /// RFC 4978 §3
    CompressionActive,
    /// RFC 5182 §2.5
    NotSaved,
    /// The tag of the search that will send no updates (RFC 5267 §4.3.1).
    NoUpdate(String),

    // RFC 5465 §5.8, §3.1
    NotificationOverflow,
    /// All events that can be asked for.
    BadEvent(Vec<EventName>),

    /// RFC 6154 §3
    UseAttr,
    /// RFC 9051 §7.1
    HasChildren,
    /// RFC 8474 §4.1
    MailboxId(ObjectId),

    /// Only in an untagged OK (RFC 9585 §4).
    InProgress {
        /// The tag of the command, when it is known.
        tag: Option<String>,
        progress: Option<Progress>,
    },
    /// RFC 9586 §3
    UidRequired,
    /// RFC 9738 §3
    MessageLimit {
        /// Messages that one command may touch.
        limit: u32,
        /// The lowest UID that was done, when some were.
        lowest: Option<Uid>,
    },

    // RFC 10022 §3.1
    TooFew,
    TooMany,
}

/// How far a command has come (RFC 9585 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: u32,
    /// Known and more than 0, or `None`. What is written of `done` always stays below it.
    pub goal: Option<u32>,
}

impl Code {
    /// The code's first word as written on the wire.
    pub const fn word(&self) -> &'static str {
        match self {
            Code::Alert => "ALERT",
            Code::BadCharset(_) => "BADCHARSET",
            Code::Capability(_) => "CAPABILITY",
            Code::Parse => "PARSE",
            Code::PermanentFlags { .. } => "PERMANENTFLAGS",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(_) => "UIDNEXT",
            Code::UidValidity(_) => "UIDVALIDITY",
            Code::Unseen(_) => "UNSEEN",
            Code::AppendUid { .. } => "APPENDUID",
            Code::CopyUid { .. } => "COPYUID",
            Code::UidNotSticky => "UIDNOTSTICKY",
            Code::HighestModSeq(_) => "HIGHESTMODSEQ",
            Code::NoModSeq => "NOMODSEQ",
            Code::Modified(_) => "MODIFIED",
            Code::Closed => "CLOSED",
            Code::Unavailable => "UNAVAILABLE",
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Code::Expired => "EXPIRED",
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ContactAdmin => "CONTACTADMIN",
            Code::NoPerm => "NOPERM",
            Code::InUse => "INUSE",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::Corruption => "CORRUPTION",
            Code::ServerBug => "SERVERBUG",
            Code::ClientBug => "CLIENTBUG",
            Code::Cannot => "CANNOT",
            Code::Limit => "LIMIT",
            Code::OverQuota => "OVERQUOTA",
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::NonExistent => "NONEXISTENT",
            Code::TooBig => "TOOBIG",
            Code::BadUrl(_) => "BADURL",
            Code::UnknownCte => "UNKNOWN-CTE",
            Code::CompressionActive => "COMPRESSIONACTIVE",
            Code::NotSaved => "NOTSAVED",
            Code::NoUpdate(_) => "NOUPDATE",
            Code::NotificationOverflow => "NOTIFICATIONOVERFLOW",
            Code::BadEvent(_) => "BADEVENT",
            Code::UseAttr => "USEATTR",
            Code::HasChildren => "HASCHILDREN",
            Code::MailboxId(_) => "MAILBOXID",
            Code::InProgress { .. } => "INPROGRESS",
            Code::UidRequired => "UIDREQUIRED",
            Code::MessageLimit { .. } => "MESSAGELIMIT",
            Code::TooFew => "TOOFEW",
            Code::TooMany => "TOOMANY",
        }
    }
}

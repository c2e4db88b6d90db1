//! What a server answers: conditions and response codes (RFC 3501 §7.1, RFC 5530).

use super::{FlagSet, ModSeq, Seq, Uid, UidRuns, UidValidity};

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
        }
    }
}

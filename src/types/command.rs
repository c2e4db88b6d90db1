//! A command as the client meant it: its tag, and one variant of [`Body`] per command.
//! Argument structs with a story of their own live beside this file (`fetch.rs`, `search.rs`, ...).
//! An APPEND that brings octets is missing on purpose: it is told piece by piece, see [`crate::types::append`].

use super::{
    Append, BadMailboxName, Fetch, Find, Flag, List, Lsub, MailboxName, ModSeq, Notify, NumSet, Partial, Search,
    Secret, SetQuota, Sort, SpecialUse, Status, Thread, UidBatches, UidRuns, UidValidity, UnknownUse,
};

/// A mailbox name as an argument. A bad name is no syntax error: the command is answered NO, with this reason.
pub type MailboxArgument = Result<MailboxName, BadMailboxName>;

/// A special use as an argument. An unknown one is no syntax error: the command is answered NO, with this reason.
pub type UseArgument = Result<SpecialUse, UnknownUse>;

/// One whole command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What the client calls this command; ASCII, never empty (RFC 3501 §2.2.1).
    pub tag: String,
    pub body: Body,
}

/// Which command, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    // RFC 3501 §6.1: any state.
    Capability,
    Noop,
    Logout,
    /// RFC 2971: pairs of field and value as the client wrote them; empty for `NIL` and `()`.
    Id(Vec<(String, Option<String>)>),

    // RFC 3501 §6.2: before login.
    StartTls,
    Authenticate(Authenticate),
    Login(Login),

    // RFC 3501 §6.3: after login.
    /// RFC 5161: capability names in upper case, at least one.
    Enable(Vec<String>),
    Select(Select),
    Examine(Select),
    Create(Create),
    Delete(Delete),
    Rename(Rename),
    Subscribe(MailboxArgument),
    Unsubscribe(MailboxArgument),
    List(List),
    Lsub(Lsub),
    /// RFC 2342
    Namespace,
    Status(Status),
    /// APPEND or REPLACE of nothing but stored messages (RFC 4469, RFC 8508).
    Append(Append),
    /// RFC 2177; its end, `DONE`, is a bare line that the session reads itself.
    Idle,
    /// RFC 5465
    Notify(Notify),
    /// RFC 4978, with DEFLATE, the only algorithm there is.
    Compress,
    /// RFC 8437; never answered NO.
    Unauthenticate,
    /// RFC 9208: the name of a quota root, in the octets the client sent.
    GetQuota(Vec<u8>),
    GetQuotaRoot(MailboxArgument),
    SetQuota(SetQuota),

    /// RFC 2062
    Find(Find),
    /// RFC 1176: SELECT of a bulletin board.
    BBoard(MailboxArgument),

    // RFC 3501 §6.4: with a mailbox selected.
    Check,
    Close,
    /// RFC 3691
    Unselect,
    Expunge,
    /// RFC 4315 §2.1
    UidExpunge(NumSet),
    Search(Search),
    /// RFC 5256
    Sort(Sort),
    Thread(Thread),
    Fetch(Fetch),
    Store(Store),
    Copy(Copy),
    /// RFC 6851
    Move(Copy),
    /// RFC 10022
    UidBatches(UidBatches),
    /// RFC 2062
    Partial(Partial),
}

/// AUTHENTICATE (RFC 3501 §6.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticate {
    /// The SASL mechanism's name in upper case.
    pub mechanism: String,
    /// The initial response, still in base64 (RFC 4959 §3); a lone `=` is an empty one and stands here as empty.
    pub initial_response: Option<Secret>,
}

/// LOGIN (RFC 3501 §6.2.3). Octets as sent: what they mean as text is decided by who checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Vec<u8>,
    pub password: Secret,
}

/// SELECT and EXAMINE with their parameters (RFC 3501 §6.3.1, RFC 7162 §3.1.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    pub mailbox: MailboxArgument,
    /// The name as the client wrote it, where it is kept in another spelling and the client is to be told so
    /// (RFC 9051 §6.3.9.7).
    pub spelt: Option<Box<str>>,
    /// `CONDSTORE` was given.
    pub condstore: bool,
    pub qresync: Option<QResync>,
}

/// What a client knew when it last saw the mailbox (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QResync {
    pub uid_validity: UidValidity,
    /// The last modseq it knew; 0 means it knew none.
    pub mod_seq: ModSeq,
    pub known_uids: Option<UidRuns>,
    /// Sequence numbers and the UIDs they had, as many of the one as of the other.
    pub known_pairs: Option<(UidRuns, UidRuns)>,
}

/// CREATE (RFC 3501 §6.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    pub mailbox: MailboxArgument,
    /// The name as the client wrote it, where it is kept in another spelling and the client is to be told so
    /// (RFC 9051 §6.3.9.7).
    pub spelt: Option<Box<str>>,
    /// `USE (...)`: what the mailbox is to be for, each only once (RFC 6154 §3).
    pub uses: Vec<UseArgument>,
}

/// DELETE (RFC 3501 §6.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    pub mailbox: MailboxArgument,
    /// The name as the client wrote it, where it is kept in another spelling and the client is to be told so
    /// (RFC 9051 §6.3.5).
    pub spelt: Option<Box<str>>,
}

/// RENAME (RFC 3501 §6.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    pub from: MailboxArgument,
    pub to: MailboxArgument,
    /// The old name as the client wrote it, where one of the two is kept in another spelling (RFC 9051 §6.3.6).
    pub spelt: Option<Box<str>>,
}

/// STORE and UID STORE (RFC 3501 §6.4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub set: NumSet,
    /// The set holds UIDs.
    pub uid: bool,
    pub change: FlagChange,
    /// `.SILENT`: the client does not want to be told the result.
    pub silent: bool,
    /// As written: in the client's order, repeats included.
    pub flags: Vec<Flag>,
    /// Leave alone what changed after this; with 0, whatever has the flag, and a system flag counts as always
    /// there (RFC 7162 §3.1.3).
    pub unchanged_since: Option<ModSeq>,
}

/// What STORE does with the flags it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// COPY, UID COPY, MOVE and UID MOVE (RFC 3501 §6.4.7, RFC 6851 §3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub set: NumSet,
    /// The set holds UIDs.
    pub uid: bool,
    pub mailbox: MailboxArgument,
}

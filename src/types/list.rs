//! LIST, LSUB and XLIST: what they choose, what they want to know, and what is told (RFC 3501 §6.3.8, RFC 5258).

use super::{EntryName, Pattern, SpecialUse, StatusItem};

/// LIST and XLIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// It was asked as XLIST, and is answered so: LIST of an old Outlook.
    pub is_xlist: bool,
    /// Options, or patterns in parentheses, were written, if only `()`: then no pattern asks for the root, and
    /// extended data may be told (RFC 5258 §3).
    pub is_extended: bool,
    /// At least one; a mailbox is listed when it matches any.
    pub patterns: Vec<Pattern>,
    pub select: ListSelect,
    pub returns: ListReturn,
}

impl List {
    /// Most patterns in one LIST; each name is matched against all of them.
    pub const MAX_PATTERNS: usize = 100;
}

/// Which of the matching names are listed: those that satisfy all that is asked for (RFC 5258 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListSelect {
    /// Subscribed names, whether there is a mailbox or not.
    pub subscribed: bool,
    /// Also mailboxes on other servers.
    pub remote: bool,
    /// Also names below which something satisfies the rest; never without `subscribed` or `special_use`.
    pub recursive_match: bool,
    /// Mailboxes with a special use (RFC 6154 §2).
    pub special_use: bool,
}

/// What is told of each name. What a selection option implies is set here too (RFC 5258 §3.1, RFC 6154 §2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListReturn {
    pub subscribed: bool,
    pub children: bool,
    pub special_use: bool,
    /// RFC 8440
    pub my_rights: bool,
    /// In the order asked; none when STATUS was not asked for (RFC 5819).
    pub status: Vec<StatusItem>,
    /// In the order asked; none when METADATA was not asked for (RFC 9590).
    pub metadata: Vec<EntryName>,
}

impl ListReturn {
    /// Most annotations asked for at once.
    pub const MAX_METADATA: usize = 100;
}

/// What LIST says of a name between its parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attribute {
    NoInferiors,
    NoSelect,
    /// Implies `NoSelect` (RFC 5258 §3).
    NonExistent,
    Marked,
    Unmarked,
    HasChildren,
    HasNoChildren,
    Subscribed,
    Remote,
    /// It can be listed and not opened (RFC 5465 §3.1).
    NoAccess,
    Use(SpecialUse),
}

impl Attribute {
    /// As written on the wire, with its backslash.
    pub const fn wire(self) -> &'static str {
        match self {
            Attribute::NoInferiors => "\\Noinferiors",
            Attribute::NoSelect => "\\Noselect",
            Attribute::NonExistent => "\\NonExistent",
            Attribute::Marked => "\\Marked",
            Attribute::Unmarked => "\\Unmarked",
            Attribute::HasChildren => "\\HasChildren",
            Attribute::HasNoChildren => "\\HasNoChildren",
            Attribute::Subscribed => "\\Subscribed",
            Attribute::Remote => "\\Remote",
            Attribute::NoAccess => "\\NoAccess",
            Attribute::Use(special_use) => special_use.wire(),
        }
    }
}

/// A selection option that something below the name satisfies: what CHILDINFO names (RFC 5258 §3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildInfo {
    Subscribed,
    SpecialUse,
}

impl ChildInfo {
    /// The option's word as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            ChildInfo::Subscribed => "SUBSCRIBED",
            ChildInfo::SpecialUse => "SPECIAL-USE",
        }
    }
}

/// LSUB (RFC 3501 §6.3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lsub {
    pub pattern: Pattern,
}

/// The word a mailbox is told with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListWord {
    List,
    Lsub,
    Xlist,
}

impl ListWord {
    pub const fn wire(self) -> &'static str {
        match self {
            ListWord::List => "LIST",
            ListWord::Lsub => "LSUB",
            ListWord::Xlist => "XLIST",
        }
    }
}

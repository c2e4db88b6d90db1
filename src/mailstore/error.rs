//! What can go wrong in the mail store, each a thing the caller can act on.

use crate::types::ContentId;

/// Why a question or an order was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no such mailbox")]
    NoSuchMailbox,
    /// It is there for its children only (`\Noselect`).
    #[error("this mailbox holds folders only and cannot be opened")]
    NotSelectable,
    #[error("a mailbox of this name is there already")]
    AlreadyExists,
    #[error("another mailbox has this use already")]
    UseTaken,
    #[error("the message is not there any more")]
    NoSuchMessage,
    /// The order is against a rule of IMAP; the text says which.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A bound with a name was reached.
    #[error("the limit on {0} is reached")]
    Limit(&'static str),
    /// UIDNEXT would pass 2^32-1 (RFC 3501 §2.3.1.1).
    #[error("this mailbox has used up all its UIDs; move its messages to a new one")]
    UidsUsedUp,
    /// The disk is full, or so nearly full that what grows is refused.
    #[error("the mail store's disk is full")]
    DiskFull,
    /// The account would use more than it may (RFC 9208); the text says more of what.
    #[error("the quota on {0} is used up")]
    OverQuota(&'static str),
    /// Stored octets no longer match their hash (RFC 5530 CORRUPTION).
    #[error("stored message content {0} is damaged")]
    Corrupt(ContentId),
    /// The store is closing, or cannot be opened just now.
    #[error("the mail store is not available just now")]
    Unavailable,
    /// The message is too large to be stored.
    #[error("the message is too large")]
    TooLarge,
    /// Ours: it was logged where it happened; the text is for the log only.
    #[error("mail store fault: {0}")]
    Fault(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// True for what may leave the disk in doubt, so that connections must be opened afresh.
    pub(super) fn is_of_disk(&self) -> bool {
        matches!(self, Error::DiskFull | Error::Fault(_) | Error::Unavailable)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Error::DiskFull,
            _ => Error::Fault(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::DiskFull,
            _ => Error::Fault(error.to_string()),
        }
    }
}

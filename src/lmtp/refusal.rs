//! Why mail is not taken: one table of what a mail server is told (RFC 3463) and what a command ends with (sysexits.h).

use super::reply::Reply;
use crate::config::{Lmtp, OverQuota};
use crate::mailstore::Error;

/// Why mail is not taken, for good or for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NoSuchUser,
    /// Nobody at all is in this domain.
    NoSuchDomain,
    NoSuchFolder,
    /// The user is barred, and may be let in again.
    Disabled,
    /// The user's quota is used up; `is_final` as the operator wants it told.
    OverQuota {
        is_final: bool,
    },
    /// A bound of the mailbox or the account is reached.
    MailboxFull,
    DiskLow,
    /// The store or the directory cannot do it just now.
    Trouble,
    /// More octets than this.
    TooLarge(u64),
    /// It has been through more hands than this.
    Loop(usize),
    Nul,
    /// No connection more just now.
    Busy,
    ShuttingDown,
}

impl Refusal {
    /// What an error of the store means to whoever sends.
    pub fn of(error: &Error, settings: &Lmtp) -> Refusal {
        match error {
            Error::OverQuota(_) => Refusal::OverQuota { is_final: settings.over_quota == OverQuota::Refuse },
            Error::Limit(_) | Error::UidsUsedUp => Refusal::MailboxFull,
            Error::DiskFull => Refusal::DiskLow,
            Error::TooLarge => Refusal::TooLarge(u64::from(u32::MAX)),
            Error::NoSuchMailbox
            | Error::NotSelectable
            | Error::AlreadyExists
            | Error::Forbidden(_)
            | Error::HasChildren
            | Error::UseTaken
            | Error::NoSuchMessage
            | Error::Corrupt(_)
            | Error::Unavailable
            | Error::Fault(_) => Refusal::Trouble,
        }
    }

    pub fn reply(&self) -> Reply {
        match self {
            Refusal::NoSuchUser => Reply::new(550, "5.1.1", "there is no such user here"),
            Refusal::NoSuchDomain => Reply::new(550, "5.1.2", "mail for this domain is not kept here"),
            Refusal::NoSuchFolder => Reply::new(550, "5.1.1", "this user has no such folder"),
            // RFC 3463 §3.3: transient, because the mailbox is there and may take mail again.
            Refusal::Disabled => Reply::new(450, "4.2.1", "this user is disabled for now"),
            Refusal::OverQuota { is_final: false } => Reply::new(452, "4.2.2", "this user's mailbox is full for now"),
            Refusal::OverQuota { is_final: true } => Reply::new(552, "5.2.2", "this user's mailbox is full"),
            Refusal::MailboxFull => Reply::new(452, "4.2.2", "this user's mailbox can hold no more"),
            Refusal::DiskLow => Reply::new(452, "4.3.1", "the disk is nearly full, try again later"),
            Refusal::Trouble => Reply::new(451, "4.3.0", "the mail store is in trouble, try again later"),
            Refusal::TooLarge(most) => {
                Reply::with(552, "5.3.4", format!("the message is too large: {most} octets at most"))
            }
            Refusal::Loop(most) => {
                Reply::with(554, "5.4.6", format!("the message goes in circles: more than {most} hops"))
            }
            Refusal::Nul => Reply::new(554, "5.6.0", "the message has NUL octets, which only a binary one may have"),
            Refusal::Busy => Reply::new(421, "4.3.2", "too many connections, try again later"),
            Refusal::ShuttingDown => Reply::new(421, "4.3.2", "the server is shutting down, come back later"),
        }
    }

    /// The exit code of sysexits.h for a command that delivers. 75 is the one on which a mail server tries again.
    pub fn exit_code(&self) -> u8 {
        const DATA: u8 = 65;
        const NO_USER: u8 = 67;
        const UNAVAILABLE: u8 = 69;
        const CANNOT_CREATE: u8 = 73;
        const TRY_AGAIN: u8 = 75;
        match self {
            Refusal::NoSuchUser | Refusal::NoSuchDomain => NO_USER,
            Refusal::NoSuchFolder => CANNOT_CREATE,
            Refusal::OverQuota { is_final: true } => UNAVAILABLE,
            Refusal::TooLarge(_) | Refusal::Loop(_) | Refusal::Nul => DATA,
            Refusal::OverQuota { is_final: false }
            | Refusal::Disabled
            | Refusal::MailboxFull
            | Refusal::DiskLow
            | Refusal::Trouble
            | Refusal::Busy
            | Refusal::ShuttingDown => TRY_AGAIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let all = [
            Refusal::NoSuchUser,
            Refusal::NoSuchDomain,
            Refusal::NoSuchFolder,
            Refusal::Disabled,
            Refusal::OverQuota { is_final: false },
            Refusal::OverQuota { is_final: true },
            Refusal::MailboxFull,
            Refusal::DiskLow,
            Refusal::Trouble,
            Refusal::TooLarge(5),
            Refusal::Loop(5),
            Refusal::Nul,
            Refusal::Busy,
            Refusal::ShuttingDown,
        ];
        for refusal in all {
            let reply = refusal.reply();
            assert_eq!(reply.code < 500, refusal.exit_code() == 75, "{refusal:?}");
            // RFC 2034 §4: the first digits agree.
            assert_eq!(reply.code.to_string().as_bytes()[0], reply.enhanced.as_bytes()[0], "{refusal:?}");
            assert!(reply.text.is_ascii());
        }
    }

    #[test]
    fn the_operator_says_whether_a_full_mailbox_is_final() {
        let refuse = Lmtp { over_quota: OverQuota::Refuse, ..Lmtp::default() };
        let full = Error::OverQuota("storage");
        assert_eq!(Refusal::of(&full, &Lmtp::default()).reply().code, 452);
        assert_eq!(Refusal::of(&full, &refuse).reply().code, 552);
    }
}

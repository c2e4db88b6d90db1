//! Object identifiers (RFC 8474). Of a message: a part of its content's hash, so that copies keep it in every account
//! and after a restore. Of a thread: a number that was made from its first message. Of a mailbox: its number and its
//! UIDVALIDITY, so that it changes whenever the latter does.

use rusqlite::{Connection, OptionalExtension};

use super::account::Mailbox;
use super::blobs::hex;
use super::error::{Error, Result};
use crate::types::{AccountId, ContentId, ObjectId};

/// Octets of a content's hash that stand in an EMAILID: two contents with the same ones are not to be expected in
/// the life of this universe.
const EMAIL_ID_OCTETS: usize = 16;

/// MAILBOXID
pub fn of_mailbox(account: AccountId, mailbox: &Mailbox) -> ObjectId {
    made(&format!("F{}-{}-{}", account, mailbox.id, mailbox.uid_validity))
}

/// EMAILID of a stored content.
pub fn email_of(conn: &Connection, content: ContentId) -> Result<ObjectId> {
    let hash: Option<Vec<u8>> = conn
        .prepare_cached("SELECT hash FROM content WHERE id = ?")?
        .query_row([content.0], |row| row.get(0))
        .optional()?;
    let hash = hash.filter(|hash| hash.len() >= EMAIL_ID_OCTETS).ok_or(Error::Corrupt(content))?;
    Ok(made(&format!("M{}", hex(&hash[..EMAIL_ID_OCTETS]))))
}

/// THREADID of a stored content.
pub fn thread_of(conn: &Connection, content: ContentId) -> Result<ObjectId> {
    let thread: Option<i64> = conn
        .prepare_cached("SELECT thread FROM sortkey WHERE cid = ?")?
        .query_row([content.0], |row| row.get(0))
        .optional()?;
    Ok(made(&format!("T{:016x}", thread.ok_or(Error::Corrupt(content))?)))
}

fn made(text: &str) -> ObjectId {
    ObjectId::new(text).expect("letters, digits and hyphens, and few of them")
}

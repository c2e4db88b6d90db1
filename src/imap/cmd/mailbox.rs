//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7, RFC 6154 §3, RFC 8474 §4.1).

use crate::imap::answer::{Answer, Done, no};
use crate::imap::session::Session;
use crate::types::command::{Create, Rename};
use crate::types::{Code, MailboxArgument, SpecialUse};

pub async fn create(session: &mut Session, arguments: Create) -> Answer {
    let name = arguments.mailbox?;
    let mut uses = Vec::new();
    for special_use in arguments.uses {
        let special_use = special_use.map_err(|unknown| no(Code::UseAttr, unknown.to_string()))?;
        // RFC 6154 §2: these two are views of other mailboxes, which no CREATE can make.
        if matches!(special_use, SpecialUse::All | SpecialUse::Flagged) {
            return Err(no(Code::UseAttr, format!("no mailbox can be made for {}", special_use.wire())));
        }
        uses.push(special_use.wire());
    }
    let created = session.signed_in()?.account.create(&name, &uses.join(" ")).await?;
    session.note_own_all(created.modseqs);
    Ok(Done::with_code(Code::MailboxId(created.mailbox_id)))
}

pub async fn delete(session: &mut Session, name: MailboxArgument) -> Answer {
    let modseqs = session.signed_in()?.account.delete(&name?).await?;
    session.note_own_all(modseqs);
    Ok(Done::default())
}

pub async fn rename(session: &mut Session, arguments: Rename) -> Answer {
    let (from, to) = (arguments.from?, arguments.to?);
    let modseqs = session.signed_in()?.account.rename(&from, &to).await?;
    session.note_own_all(modseqs);
    Ok(Done::default())
}

pub async fn subscribe(session: &mut Session, name: MailboxArgument, is_on: bool) -> Answer {
    let modseqs = session.signed_in()?.account.subscribe(&name?, is_on).await?;
    session.note_own_all(modseqs);
    Ok(Done::default())
}

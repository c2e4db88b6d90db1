//! STATUS (RFC 3501 §6.3.10, RFC 8438, RFC 7889, RFC 8474, RFC 9208): counters only, whatever the mailbox's size.

use crate::imap::answer::{Answer, Done, Stop, no};
use crate::imap::session::SignedIn;
use crate::mailstore;
use crate::types::{Code, MailboxName, Status, StatusItem, StatusValue};
use crate::wire::status::write_line;

pub async fn status(mut cx: SignedIn<'_>, arguments: Status) -> Answer {
    let name = arguments.mailbox.map_err(|bad| no(Code::NonExistent, bad.to_string()))?;
    write_status(&mut cx, &name, &arguments.items).await?;
    Ok(Done::default())
}

/// Writes the line of one mailbox.
pub async fn write_status(cx: &mut SignedIn<'_>, name: &MailboxName, items: &[StatusItem]) -> Result<(), Stop> {
    let status = cx.account.status(name).await?;
    let append_limit = cx.host.config.load().limits.message_bytes;
    let values: Vec<_> = items.iter().map(|item| (*item, value_of(*item, &status, append_limit))).collect();
    write_line(&mut cx.channel.out, name, &values, cx.dialect);
    Ok(())
}

/// The value of one item.
pub fn value_of(item: StatusItem, status: &mailstore::Status, append_limit: u64) -> StatusValue {
    StatusValue::Number(match item {
        StatusItem::Messages => status.messages.into(),
        StatusItem::Recent => status.recent.into(),
        StatusItem::UidNext => status.uid_next.into(),
        StatusItem::UidValidity => status.uid_validity.0.into(),
        StatusItem::Unseen => status.unseen.into(),
        StatusItem::HighestModSeq => status.modseq.0,
        StatusItem::Size => status.bytes,
        StatusItem::Deleted => status.deleted.into(),
        StatusItem::DeletedStorage => status.deleted_bytes,
        StatusItem::AppendLimit => append_limit,
        StatusItem::MailboxId => return StatusValue::Id(status.mailbox_id.clone()),
    })
}

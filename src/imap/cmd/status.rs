//! STATUS (RFC 3501 §6.3.10): counters only, whatever the mailbox's size.

use crate::imap::answer::{Answer, Done, Stop, no};
use crate::imap::session::SignedIn;
use crate::types::{Code, Status, StatusItem, StatusValue};
use crate::wire::status::write_line;

pub async fn status(cx: SignedIn<'_>, arguments: Status) -> Answer {
    let name = arguments.mailbox.map_err(|bad| no(Code::NonExistent, bad.to_string()))?;
    let status = cx.account.status(&name).await?;
    let values: Vec<(StatusItem, StatusValue)> = arguments
        .items
        .iter()
        .map(|item| {
            let value = match item {
                StatusItem::Messages => status.messages.into(),
                StatusItem::Recent => status.recent.into(),
                StatusItem::UidNext => status.uid_next.into(),
                StatusItem::UidValidity => status.uid_validity.0.into(),
                StatusItem::Unseen => status.unseen.into(),
                StatusItem::HighestModSeq => status.modseq.0,
                StatusItem::Size
                | StatusItem::Deleted
                | StatusItem::DeletedStorage
                | StatusItem::AppendLimit
                | StatusItem::MailboxId => {
                    return Err(no(Code::Cannot, format!("STATUS with {} is not offered", item.wire())));
                }
            };
            Ok((*item, StatusValue::Number(value)))
        })
        .collect::<Result<_, Stop>>()?;
    write_line(&mut cx.channel.out, &name, &values, cx.dialect);
    Ok(Done::default())
}

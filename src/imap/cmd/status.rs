//! STATUS (RFC 3501 §6.3.10): counters only, whatever the mailbox's size.

use crate::imap::answer::{Answer, Done, no};
use crate::imap::session::SignedIn;
use crate::types::{Code, Status, StatusItem};
use crate::wire::status::write_line;

pub async fn status(cx: SignedIn<'_>, arguments: Status) -> Answer {
    let name = arguments.mailbox.map_err(|bad| no(Code::NonExistent, bad.to_string()))?;
    let status = cx.account.status(&name).await?;
    let values: Vec<(StatusItem, u64)> = arguments
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
            };
            (*item, value)
        })
        .collect();
    write_line(&mut cx.channel.out, &name, &values, cx.dialect);
    Ok(Done::default())
}

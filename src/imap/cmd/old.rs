//! FIND (RFC 1176, RFC 2062): LIST and LSUB in the words of programs older than both.

use crate::imap::answer::{Answer, Done};
use crate::imap::session::SignedIn;
use crate::types::{Find, FindWhat};
use crate::wire::old::write_mailbox_line;

pub async fn find(cx: SignedIn<'_>, arguments: &Find) -> Answer {
    let mut matcher = arguments.pattern.matcher();
    let (mailboxes, lone) = cx.account.mailboxes();
    let mut names: Vec<_> = match arguments.what {
        FindWhat::AllMailboxes => mailboxes.iter().filter(|m| !m.is_noselect).map(|m| m.name.clone()).collect(),
        FindWhat::Mailboxes => {
            let subscribed = mailboxes.iter().filter(|m| m.is_subscribed).map(|m| m.name.clone());
            subscribed.chain(lone).collect()
        }
        // There are none here.
        FindWhat::BBoards => Vec::new(),
    };
    names.sort();
    for name in names.iter().filter(|name| matcher.matches(name.as_str())) {
        write_mailbox_line(&mut cx.channel.out, name, cx.dialect);
        cx.channel.flush_if_full().await?;
    }
    Ok(Done::default())
}

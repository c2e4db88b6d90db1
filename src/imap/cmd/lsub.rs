//! LSUB (RFC 3501 §6.3.9): what is subscribed, in the words of programs that know no other list.

use std::collections::HashSet;

use crate::imap::answer::{Answer, Done};
use crate::imap::cmd::list::{ancestors, attributes_of};
use crate::imap::session::SignedIn;
use crate::types::{ListWord, Lsub, MailboxName};
use crate::wire::list::{ListLine, write_line, write_root};

/// Carries \HasChildren and special uses too: there are programs that never ask LIST.
pub async fn lsub(cx: SignedIn<'_>, arguments: &Lsub) -> Answer {
    if arguments.pattern.asks_for_root() {
        write_root(&mut cx.channel.out, ListWord::Lsub);
        return Ok(Done::default());
    }
    let mut matcher = arguments.pattern.matcher();
    let (mailboxes, lone) = cx.account.mailboxes();
    let mut lines: Vec<(MailboxName, Vec<&str>)> = Vec::new();
    let mut hidden: HashSet<MailboxName> = HashSet::new();
    for mailbox in mailboxes.iter().filter(|m| m.is_subscribed) {
        if matcher.matches(mailbox.name.as_str()) {
            lines.push((mailbox.name.clone(), attributes_of(mailbox)));
        } else {
            hidden.extend(ancestors(&mailbox.name));
        }
    }
    for name in lone {
        if matcher.matches(name.as_str()) {
            lines.push((name, vec!["\\Noselect"]));
        } else {
            hidden.extend(ancestors(&name));
        }
    }
    // RFC 3501 §6.3.9: when "%" hides a subscribed child, its parent is shown in its place, as \Noselect.
    let told: HashSet<MailboxName> = lines.iter().map(|(name, _)| name.clone()).collect();
    let parents = hidden.into_iter().filter(|parent| !told.contains(parent) && matcher.matches(parent.as_str()));
    lines.extend(parents.map(|parent| (parent, vec!["\\Noselect", "\\HasChildren"])));
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, attributes) in &lines {
        let line = ListLine { word: ListWord::Lsub, attributes, name };
        write_line(&mut cx.channel.out, &line, cx.dialect);
        cx.channel.flush_if_full().await?;
    }
    Ok(Done::default())
}

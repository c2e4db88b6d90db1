//! LIST, LSUB, XLIST and NAMESPACE (RFC 3501 §6.3.8, §6.3.9, RFC 2342, RFC 3348).

use crate::imap::answer::{Answer, Done};
use crate::imap::session::SignedIn;
use crate::mailstore::Listed;
use crate::types::{List, ListWord, Lsub, MailboxName};
use crate::wire::list::{ListLine, write_line, write_root};
use crate::wire::login::{Namespaces, write_namespace};

/// One personal namespace at the root: mail programs make and look for Sent and Trash there.
pub fn namespace(cx: SignedIn<'_>) -> Answer {
    let namespaces = Namespaces { personal: &[""], others: &[], shared: &[] };
    write_namespace(&mut cx.channel.out, &namespaces, cx.dialect);
    Ok(Done::default())
}

pub async fn list(cx: SignedIn<'_>, arguments: &List) -> Answer {
    let word = if arguments.is_xlist { ListWord::Xlist } else { ListWord::List };
    if arguments.patterns.iter().any(|pattern| pattern.asks_for_root()) {
        write_root(&mut cx.channel.out, word);
        return Ok(Done::default());
    }
    let mut matchers: Vec<_> = arguments.patterns.iter().map(|pattern| pattern.matcher()).collect();
    let (mailboxes, _) = cx.account.mailboxes();
    for mailbox in &mailboxes {
        if matchers.iter_mut().any(|matcher| matcher.matches(mailbox.name.as_str())) {
            let mut attributes = attributes_of(mailbox);
            if arguments.is_xlist && mailbox.name.is_inbox() {
                attributes.push("\\Inbox");
            }
            let line = ListLine { word, attributes: &attributes, name: &mailbox.name };
            write_line(&mut cx.channel.out, &line, cx.dialect);
            cx.channel.flush_if_full().await?;
        }
    }
    Ok(Done::default())
}

/// LSUB also carries \Noselect, \HasChildren and special uses: there are programs that never ask LIST.
pub async fn lsub(cx: SignedIn<'_>, arguments: &Lsub) -> Answer {
    if arguments.pattern.asks_for_root() {
        write_root(&mut cx.channel.out, ListWord::Lsub);
        return Ok(Done::default());
    }
    let mut matcher = arguments.pattern.matcher();
    let (mailboxes, lone) = cx.account.mailboxes();
    let mut lines: Vec<(MailboxName, Vec<&str>)> = Vec::new();
    let mut parents: Vec<MailboxName> = Vec::new();
    for mailbox in mailboxes.iter().filter(|m| m.is_subscribed) {
        if matcher.matches(mailbox.name.as_str()) {
            lines.push((mailbox.name.clone(), attributes_of(mailbox)));
        } else {
            parents.extend(ancestors(&mailbox.name));
        }
    }
    for name in lone {
        if matcher.matches(name.as_str()) {
            lines.push((name, vec!["\\Noselect"]));
        } else {
            parents.extend(ancestors(&name));
        }
    }
    // RFC 3501 §6.3.9: when "%" hides a subscribed child, its parent is shown in its place, as \Noselect.
    parents.sort();
    parents.dedup();
    for parent in parents {
        if matcher.matches(parent.as_str()) && !lines.iter().any(|(name, _)| *name == parent) {
            lines.push((parent, vec!["\\Noselect", "\\HasChildren"]));
        }
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, attributes) in &lines {
        let line = ListLine { word: ListWord::Lsub, attributes, name };
        write_line(&mut cx.channel.out, &line, cx.dialect);
        cx.channel.flush_if_full().await?;
    }
    Ok(Done::default())
}

fn ancestors(name: &MailboxName) -> impl Iterator<Item = MailboxName> {
    std::iter::successors(name.parent(), MailboxName::parent)
}

/// Special uses are told without being asked for (RFC 6154 §2): some programs use them and never ask.
fn attributes_of(mailbox: &Listed) -> Vec<&str> {
    let mut attributes = Vec::with_capacity(3);
    if mailbox.is_noselect {
        attributes.push("\\Noselect");
    }
    attributes.push(if mailbox.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
    if !mailbox.special_use.is_empty() {
        attributes.push(&mailbox.special_use);
    }
    attributes
}

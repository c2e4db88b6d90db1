//! LIST, XLIST and NAMESPACE (RFC 3501 §6.3.8, RFC 5258, RFC 5819, RFC 6154, RFC 2342, RFC 3348). Every LIST is one pass
//! over the names, whatever patterns and options it has.

use std::collections::{HashMap, HashSet};

use crate::imap::answer::{Answer, Done, bad};
use crate::imap::cmd::status::write_status;
use crate::imap::session::SignedIn;
use crate::mailstore::Listed;
use crate::types::list::{ChildInfo, ListSelect};
use crate::types::{List, ListWord, MailboxName, Pattern};
use crate::wire::list::{Extended, ListLine, write_extended, write_root};
use crate::wire::login::{Namespaces, write_namespace};

/// One personal namespace at the root: mail programs make and look for Sent and Trash there.
pub fn namespace(cx: SignedIn<'_>) -> Answer {
    let namespaces = Namespaces { personal: &[""], others: &[], shared: &[] };
    write_namespace(&mut cx.channel.out, &namespaces, cx.dialect);
    Ok(Done::default())
}

pub async fn list(mut cx: SignedIn<'_>, arguments: &List) -> Answer {
    let word = if arguments.is_xlist { ListWord::Xlist } else { ListWord::List };
    if !arguments.is_extended && arguments.patterns.iter().any(Pattern::asks_for_root) {
        write_root(&mut cx.channel.out, word);
        return Ok(Done::default());
    }
    if arguments.returns.my_rights || !arguments.returns.metadata.is_empty() {
        return Err(bad("expected return options that this server offers; MYRIGHTS and METADATA are not among them"));
    }
    let (mailboxes, lone) = cx.account.mailboxes();
    for found in chosen(arguments, &mailboxes, &lone) {
        write_found(&mut cx, arguments, word, &found).await?;
        cx.channel.flush_if_full().await?;
    }
    Ok(Done::default())
}

/// A name that is to be told.
struct Found<'m> {
    name: MailboxName,
    /// `None`: there is no such mailbox.
    mailbox: Option<&'m Listed>,
    is_subscribed: bool,
    /// It satisfies the selection options itself.
    is_meant: bool,
    has_meant_below: bool,
}

/// The names that match a pattern and what is selected, in order.
fn chosen<'m>(arguments: &List, mailboxes: &'m [Listed], lone: &'m [MailboxName]) -> Vec<Found<'m>> {
    let select = arguments.select;
    let mut matchers: Vec<_> = arguments.patterns.iter().map(|pattern| pattern.matcher()).collect();
    let mut matches = |name: &MailboxName| matchers.iter_mut().any(|matcher| matcher.matches(name.as_str()));
    let known = mailboxes.iter().map(|mailbox| Found {
        name: mailbox.name.clone(),
        mailbox: Some(mailbox),
        is_subscribed: mailbox.is_subscribed,
        is_meant: is_meant(select, mailbox.is_subscribed, !mailbox.special_use.is_empty()),
        has_meant_below: false,
    });
    // RFC 5258 §3.1: a subscribed name is selected by SUBSCRIBED whether there is a mailbox or not.
    let missing = lone.iter().map(|name| Found {
        name: name.clone(),
        mailbox: None,
        is_subscribed: true,
        is_meant: select.subscribed && is_meant(select, true, false),
        has_meant_below: false,
    });
    let all: Vec<(Found<'m>, bool)> = known
        .chain(missing)
        .map(|found| {
            let is_match = matches(&found.name);
            (found, is_match)
        })
        .collect();
    let below = if select.recursive_match { meant_below(&all) } else { HashMap::new() };
    let mut told: Vec<Found<'m>> = Vec::new();
    let mut names = HashSet::new();
    for (mut found, is_match) in all {
        names.insert(found.name.clone());
        let children = below.get(&found.name).copied();
        found.has_meant_below = children.is_some();
        // RFC 5258 §3.5: a name that is not meant itself is only told for children that are not told.
        if is_match && (found.is_meant || children.is_some_and(|below| below.has_untold)) {
            told.push(found);
        }
    }
    for (name, children) in below {
        if children.has_untold && !names.contains(&name) && matches(&name) {
            told.push(Found { name, mailbox: None, is_subscribed: false, is_meant: false, has_meant_below: true });
        }
    }
    told.sort_by(|a, b| a.name.cmp(&b.name));
    told
}

fn is_meant(select: ListSelect, is_subscribed: bool, has_use: bool) -> bool {
    (!select.subscribed || is_subscribed) && (!select.special_use || has_use)
}

/// What is meant below a name.
#[derive(Debug, Clone, Copy)]
struct Below {
    /// Some of it matches no pattern, so it is not told itself.
    has_untold: bool,
}

fn meant_below(all: &[(Found<'_>, bool)]) -> HashMap<MailboxName, Below> {
    let mut below: HashMap<MailboxName, Below> = HashMap::new();
    for (found, is_match) in all.iter().filter(|(found, _)| found.is_meant) {
        for ancestor in ancestors(&found.name) {
            let entry = below.entry(ancestor).or_insert(Below { has_untold: false });
            entry.has_untold |= !is_match;
        }
    }
    below
}

/// The names above `name`, from the nearest on.
pub fn ancestors(name: &MailboxName) -> impl Iterator<Item = MailboxName> {
    std::iter::successors(name.parent(), MailboxName::parent)
}

async fn write_found(
    cx: &mut SignedIn<'_>,
    arguments: &List,
    word: ListWord,
    found: &Found<'_>,
) -> Result<(), crate::imap::answer::Stop> {
    let mut attributes = match found.mailbox {
        Some(mailbox) => attributes_of(mailbox),
        // RFC 5258 §4: with CHILDREN every name says which. No mailbox lies below one that is not there.
        None if arguments.returns.children => vec!["\\NonExistent", "\\HasNoChildren"],
        None => vec!["\\NonExistent"],
    };
    if arguments.returns.subscribed && found.is_subscribed {
        attributes.push("\\Subscribed");
    }
    if arguments.is_xlist && found.name.is_inbox() {
        attributes.push("\\Inbox");
    }
    let mut child_info = Vec::new();
    if arguments.select.recursive_match && found.has_meant_below {
        child_info.extend(arguments.select.subscribed.then_some(ChildInfo::Subscribed));
        child_info.extend(arguments.select.special_use.then_some(ChildInfo::SpecialUse));
    }
    let line = ListLine { word, attributes: &attributes, name: &found.name };
    let extended = Extended { child_info: &child_info, old_name: None };
    write_extended(&mut cx.channel.out, &line, &extended, cx.dialect);
    // RFC 5819 §2: STATUS right behind its LIST, for mailboxes that can be selected.
    let is_selectable = found.mailbox.is_some_and(|mailbox| !mailbox.is_noselect);
    if is_selectable && found.is_meant && !arguments.returns.status.is_empty() {
        write_status(cx, &found.name, &arguments.returns.status).await?;
    }
    Ok(())
}

/// Special uses are told without being asked for (RFC 6154 §2): some programs use them and never ask.
pub fn attributes_of(mailbox: &Listed) -> Vec<&str> {
    let mut attributes = Vec::with_capacity(3);
    if mailbox.is_noselect {
        attributes.push("\\Noselect");
    }
    attributes.push(if mailbox.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
    attributes.extend(mailbox.special_use.split_ascii_whitespace());
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::processor_time;
    use crate::types::MailboxId;
    use crate::types::list::ListReturn;
    use std::time::Duration;

    /// What one name may cost at most under any of the patterns below.
    const ONE_NAME: Duration = Duration::from_micros(60);

    fn names(count: u32) -> Vec<Listed> {
        let name = |n: u32| format!("folder {}/{}/{n}", n % 100, "ab".repeat(20));
        let listed = |n: u32| Listed {
            id: MailboxId(i64::from(n) + 1),
            name: MailboxName::new(&name(n)).expect("a name"),
            is_noselect: false,
            has_children: false,
            is_subscribed: n.is_multiple_of(3),
            special_use: "".into(),
        };
        (0..count).map(listed).collect()
    }

    #[test]
    fn any_pattern_over_tens_of_thousands_of_names_is_one_pass() {
        let mailboxes = names(30_000);
        let nasty = ["%*".repeat(400) + "x", "*a*b".repeat(200) + "x", "%/%/".repeat(100), "*".into(), "%".into()];
        for pattern in nasty {
            for recursive_match in [false, true] {
                let list = List {
                    is_extended: true,
                    is_xlist: false,
                    select: ListSelect { subscribed: recursive_match, recursive_match, ..ListSelect::default() },
                    patterns: vec![Pattern::new("", &pattern)],
                    returns: ListReturn::default(),
                };
                let begun = processor_time();
                let told = chosen(&list, &mailboxes, &[]).len();
                let spent = processor_time().saturating_sub(begun);
                assert!(spent < ONE_NAME * 30_000, "{spent:?} for {} octets of pattern, {told} told", pattern.len());
                if pattern == "*" {
                    assert_eq!(told, if recursive_match { 10_000 } else { 30_000 });
                }
            }
        }
    }
}

//! NOTIFY (RFC 5465): what a client wants to be told of at any time, and telling it. The hub says that something
//! changed, the account's memory of its last changes says what; who falls behind that memory is told so and asks anew.

use std::collections::HashMap;

use super::answer::{Stop, write_condition};
use super::cmd::fetch::tell_new;
use super::cmd::list::attributes_of;
use super::cmd::status::write_status;
use super::session::{Session, State};
use super::updates::{Manner, Telling, tell};
use crate::hub::Listener;
use crate::mailstore::{Account, Kinds, ModSeqs, News, TreeChangeKind, What};
use crate::types::notify::{EventGroup, EventName, MailboxFilter, NotifySet};
use crate::types::{Code, Condition, FetchItem, ListWord, MailboxId, MailboxName, ModSeq, StatusItem};
use crate::wire::list::{Extended, ListLine, write_extended};

/// Changes of its own that a session remembers until it has told what others did.
const OWN_CHANGES: usize = 256;

/// The events this server can tell (RFC 5465 §3.1: BADEVENT names them).
pub const SUPPORTED: [EventName; 5] = [
    EventName::MessageNew,
    EventName::MessageExpunge,
    EventName::FlagChange,
    EventName::MailboxName,
    EventName::SubscriptionChange,
];

/// What one session watches.
pub struct Notifier {
    /// `None`: nothing of the selected mailbox, whichever it is.
    selected: Option<SelectedWatch>,
    others: Vec<EventGroup>,
    /// The account's modseq up to which it was told.
    told: ModSeq,
    own: Vec<ModSeqs>,
}

struct SelectedWatch {
    is_delayed: bool,
    tells_flags: bool,
    fetch: Vec<FetchItem>,
}

/// When changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// No command is at work: only what NOTIFY asked for.
    BetweenCommands,
    /// A command ends that allows it.
    CommandEnd {
        /// It changed the selected mailbox itself, so its own doings have to be told whatever NOTIFY says.
        is_own_doing: bool,
    },
    Idle,
}

impl Notifier {
    /// Nothing at all.
    pub fn none(told: ModSeq) -> Self {
        Notifier { selected: None, others: Vec::new(), told, own: Vec::new() }
    }

    /// What a command asks for.
    pub fn new(set: NotifySet, told: ModSeq) -> Self {
        let mut notifier = Notifier::none(told);
        for group in set.groups {
            if !group.mailboxes.is_selected() {
                notifier.others.push(group);
            } else if group.events.has(EventName::MessageNew) {
                notifier.selected = Some(SelectedWatch {
                    is_delayed: group.mailboxes == MailboxFilter::SelectedDelayed,
                    tells_flags: group.events.has(EventName::FlagChange),
                    fetch: group.events.fetch,
                });
            }
        }
        notifier
    }

    /// What is wanted of messages in a mailbox that is not selected.
    fn wanted_of(&self, name: &MailboxName, is_subscribed: bool) -> Kinds {
        let groups = self.others.iter().filter(|group| covers(&group.mailboxes, name, is_subscribed));
        groups.fold(Kinds::default(), |sum, group| {
            let has = |event| group.events.has(event);
            sum.and(Kinds {
                came: has(EventName::MessageNew),
                went: has(EventName::MessageExpunge),
                flags: has(EventName::FlagChange),
            })
        })
    }

    fn wants(&self, event: EventName, name: &MailboxName, is_subscribed: bool) -> bool {
        self.others.iter().any(|group| group.events.has(event) && covers(&group.mailboxes, name, is_subscribed))
    }
}

/// True when a filter means this mailbox (RFC 5465 §6).
fn covers(filter: &MailboxFilter, name: &MailboxName, is_subscribed: bool) -> bool {
    let among = |names: &[crate::types::MailboxArgument], below: bool| {
        // A name that is none is no mailbox's, and is ignored (RFC 5465 §3.1).
        names.iter().flatten().any(|own| own == name || below && name.is_below(own))
    };
    match filter {
        MailboxFilter::Selected | MailboxFilter::SelectedDelayed => false,
        MailboxFilter::Inboxes => name.is_inbox(),
        MailboxFilter::Personal => true,
        MailboxFilter::Subscribed => is_subscribed,
        MailboxFilter::Subtree(names) => among(names, true),
        MailboxFilter::Mailboxes(names) => among(names, false),
    }
}

impl Session {
    /// Remembers a change of this session's own, of which it need not be told (RFC 5465 §5).
    pub fn note_own(&mut self, modseq: ModSeq) {
        self.note_own_all(ModSeqs { after: ModSeq(modseq.0.saturating_sub(1)), until: modseq });
    }

    /// The same for all that one order did.
    pub fn note_own_all(&mut self, modseqs: ModSeqs) {
        if let Some(notifier) = &mut self.notifier {
            if notifier.own.len() >= OWN_CHANGES {
                // What is forgotten is told, which does no harm.
                notifier.own.remove(0);
            }
            notifier.own.push(modseqs);
        }
    }

    /// Waits for what may have to be told, with the listener of before where it will do; `None`: nothing can be told.
    pub fn listener(&self, is_idle: bool, before: Option<Listener>) -> Option<Listener> {
        let (State::Authenticated(account) | State::Selected(account, _)) = &self.state else { return None };
        let watches_others = self.notifier.as_ref().is_some_and(|notifier| !notifier.others.is_empty());
        if watches_others {
            return Some(account.listen(before));
        }
        let watches_selected = match &self.notifier {
            Some(notifier) => notifier.selected.is_some(),
            None => is_idle,
        };
        match &self.state {
            State::Selected(_, selection) if watches_selected => Some(selection.view.listen(before)),
            _ => None,
        }
    }

    /// Tells what this client wants to be told at this moment.
    pub async fn tell_news(&mut self, moment: Moment, with_uid: bool) -> Result<(), Stop> {
        self.tell_selected(moment, with_uid).await?;
        if self.notifier.is_some() {
            Box::pin(self.tell_others()).await?;
        }
        Ok(())
    }

    async fn tell_selected(&mut self, moment: Moment, with_uid: bool) -> Result<(), Stop> {
        let State::Selected(account, selection) = &mut self.state else { return Ok(()) };
        let is_own_doing = moment == Moment::CommandEnd { is_own_doing: true };
        let mut telling = Telling { flags: true, holds_expunges: false };
        let mut fetch: &[FetchItem] = &[];
        match self.notifier.as_deref() {
            None if moment == Moment::BetweenCommands => return Ok(()),
            None => {}
            Some(Notifier { selected: Some(watch), .. }) => {
                telling.flags = watch.tells_flags || is_own_doing;
                telling.holds_expunges = watch.is_delayed && moment == Moment::BetweenCommands;
                fetch = &watch.fetch;
            }
            Some(_) if is_own_doing => {}
            Some(_) => return Ok(()),
        }
        // RFC 5465 §5.1: changed flags come with the UID.
        let with_uid = with_uid || self.notifier.is_some();
        let manner = Manner { enabled: self.enabled, with_uid };
        let own = selection.own.clone();
        let new = tell(selection, &mut self.channel, manner, telling).await?;
        if !new.is_empty() && !fetch.is_empty() {
            let limit = (&self.host.config.load().protocol).into();
            let cx = super::session::Selected {
                account,
                selection,
                enabled: self.enabled,
                channel: &mut self.channel,
                limit,
            };
            Box::pin(tell_new(cx, fetch, &new, &own)).await?;
        }
        Ok(())
    }

    async fn tell_others(&mut self) -> Result<(), Stop> {
        let (State::Authenticated(account) | State::Selected(account, _)) = &self.state else { return Ok(()) };
        let account = account.clone();
        let Some(notifier) = &mut self.notifier else { return Ok(()) };
        if account.newest_modseq() == notifier.told {
            return Ok(());
        }
        let Some(news) = account.news_after(notifier.told) else {
            // RFC 5465 §5.8: and from now on as after NOTIFY NONE.
            **notifier = Notifier::none(account.newest_modseq());
            let text = "too much happened to tell it all; ask again for what you want to be told";
            let code = Some(&Code::NotificationOverflow);
            write_condition(&mut self.channel.out, None, Condition::Ok, code, text);
            return Ok(());
        };
        notifier.told = news.until;
        let own = std::mem::take(&mut notifier.own);
        let (kinds, names) = sorted_out(news, &own);
        self.tell_names(&account, names).await?;
        self.tell_counts(&account, kinds).await
    }

    /// A LIST line for each thing that happened to a name (RFC 5465 §5.4, §5.5).
    async fn tell_names(&mut self, account: &Account, names: Vec<NameNews>) -> Result<(), Stop> {
        let Some(notifier) = &self.notifier else { return Ok(()) };
        for news in names {
            let NameNews { name, old_name, .. } = &news;
            let listed = account.listed(name).filter(|_| !news.is_gone);
            let is_subscribed = account.is_subscribed(name);
            let wants = |event| {
                notifier.wants(event, name, is_subscribed || news.was_subscribed)
                    || old_name.as_ref().is_some_and(|old| notifier.wants(event, old, is_subscribed))
            };
            let is_wanted = news.is_of_tree && wants(EventName::MailboxName)
                || news.is_of_subscription && wants(EventName::SubscriptionChange);
            if !is_wanted {
                continue;
            }
            let mut attributes = match &listed {
                Some(mailbox) => attributes_of(mailbox),
                None => vec!["\\NonExistent"],
            };
            if is_subscribed {
                attributes.push("\\Subscribed");
            }
            let line = ListLine { word: ListWord::List, attributes: &attributes, name };
            let extended = Extended { child_info: &[], old_name: old_name.as_ref().map(MailboxName::as_str) };
            write_extended(&mut self.channel.out, &line, &extended, self.enabled.dialect());
        }
        Ok(())
    }

    /// A STATUS line for each other mailbox whose messages changed in a way that was asked for.
    async fn tell_counts(&mut self, account: &Account, kinds: HashMap<MailboxId, Kinds>) -> Result<(), Stop> {
        let selected = match &self.state {
            State::Selected(_, selection) => Some(selection.view.mailbox()),
            _ => None,
        };
        let mut lines: Vec<(MailboxName, Vec<StatusItem>)> = Vec::new();
        for (mailbox, kinds) in kinds {
            let Some(name) = account.name_of(mailbox).filter(|_| Some(mailbox) != selected) else { continue };
            let Some(notifier) = &self.notifier else { return Ok(()) };
            let wanted = notifier.wanted_of(&name, account.is_subscribed(&name));
            let items = status_items(kinds.of(wanted), self.enabled.condstore);
            if !items.is_empty() {
                lines.push((name, items));
            }
        }
        lines.sort();
        for (name, items) in lines {
            self.tell_status(&name, &items).await?;
        }
        Ok(())
    }

    async fn tell_status(&mut self, name: &MailboxName, items: &[StatusItem]) -> Result<(), Stop> {
        match write_status(&mut self.signed_in()?, name, items).await {
            Err(Stop::Gone) => Err(Stop::Gone),
            // It may have gone meanwhile.
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// NOTIFY SET STATUS: where things stand, for every other mailbox of which messages are to be told.
    pub async fn tell_all_counts(&mut self, account: &Account) -> Result<(), Stop> {
        let selected = match &self.state {
            State::Selected(_, selection) => Some(selection.view.mailbox()),
            _ => None,
        };
        let (mailboxes, _) = account.mailboxes();
        for mailbox in mailboxes.iter().filter(|mailbox| !mailbox.is_noselect && Some(mailbox.id) != selected) {
            let Some(notifier) = &self.notifier else { return Ok(()) };
            let wanted = notifier.wanted_of(&mailbox.name, mailbox.is_subscribed);
            // RFC 5465 §3.1: each kind of event asks for some items; to know them all does no harm.
            if !wanted.is_none() {
                let mut items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity];
                items.extend([StatusItem::Unseen, StatusItem::HighestModSeq]);
                self.tell_status(&mailbox.name, &items).await?;
                self.channel.flush_if_full().await?;
            }
        }
        Ok(())
    }
}

/// The items that say what changed (RFC 5465 §5.1 to §5.3).
fn status_items(kinds: Kinds, condstore: bool) -> Vec<StatusItem> {
    if kinds.is_none() {
        return Vec::new();
    }
    let mut items = Vec::new();
    if kinds.came || kinds.went {
        items.extend([StatusItem::Messages, StatusItem::UidNext]);
    }
    items.extend([StatusItem::UidValidity, StatusItem::Unseen]);
    if condstore {
        items.push(StatusItem::HighestModSeq);
    }
    items
}

/// What happened to a name, and is told in one line: how things are with it by now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NameNews {
    name: MailboxName,
    old_name: Option<MailboxName>,
    /// The mailbox went, whatever has this name now.
    is_gone: bool,
    is_of_tree: bool,
    is_of_subscription: bool,
    was_subscribed: bool,
}

impl NameNews {
    fn new(name: MailboxName, kind: TreeChangeKind, old_name: Option<MailboxName>) -> Self {
        let is_of_subscription = matches!(kind, TreeChangeKind::Subscribe | TreeChangeKind::Unsubscribe);
        NameNews {
            name,
            old_name,
            is_gone: kind == TreeChangeKind::Delete,
            is_of_tree: !is_of_subscription,
            is_of_subscription,
            was_subscribed: kind == TreeChangeKind::Unsubscribe,
        }
    }

    fn take_in(&mut self, other: &NameNews) {
        self.is_of_tree |= other.is_of_tree;
        self.is_of_subscription |= other.is_of_subscription;
        self.was_subscribed |= other.was_subscribed;
    }
}

/// The news of others, by mailbox and by name. What happened to messages adds up; what happened to names is told in its
/// order, so that a client which follows line by line ends where the account is, however often a name changed hands.
fn sorted_out(news: News, own: &[ModSeqs]) -> (HashMap<MailboxId, Kinds>, Vec<NameNews>) {
    let mut kinds: HashMap<MailboxId, Kinds> = HashMap::new();
    let mut names: Vec<NameNews> = Vec::new();
    for event in news.events.into_iter().filter(|event| !own.iter().any(|own| own.contains(event.modseq))) {
        match event.what {
            What::Messages { mailbox, kinds: more } => {
                let sum = kinds.entry(mailbox).or_default();
                *sum = sum.and(more);
            }
            What::Tree { kind, name, old_name } => {
                let Ok(name) = MailboxName::new(&name) else { continue };
                if matches!(kind, TreeChangeKind::Create | TreeChangeKind::Delete)
                    && let Some(parent) = name.parent()
                {
                    // Whether it has children may have changed.
                    add(&mut names, NameNews::new(parent, TreeChangeKind::Create, None));
                }
                let old_name = old_name.and_then(|old| MailboxName::new(&old).ok());
                add(&mut names, NameNews::new(name, kind, old_name));
            }
        }
    }
    (kinds, names)
}

/// Adds what happened; what one line about a name can say is not told in two.
fn add(names: &mut Vec<NameNews>, mut news: NameNews) {
    let concerns = |other: &NameNews| other.name == news.name || other.old_name.as_ref() == Some(&news.name);
    let last = names.iter().rposition(concerns).filter(|at| names[*at].name == news.name);
    match last {
        Some(at) if names[at].is_gone == news.is_gone && news.old_name.is_none() => names[at].take_in(&news),
        // A rename subscribes its new name first.
        Some(at) if !names[at].is_of_tree => {
            news.take_in(&names.remove(at));
            names.push(news);
        }
        _ => names.push(news),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailstore::Event;
    use crate::types::notify::Events;

    fn name(text: &str) -> MailboxName {
        MailboxName::new(text).expect("a name")
    }

    #[test]
    fn filters_mean_what_they_say() {
        let some = |names: &[&str]| names.iter().map(|n| Ok(name(n))).collect::<Vec<_>>();
        let subtree = MailboxFilter::Subtree(some(&["Lists"]));
        assert!(covers(&subtree, &name("Lists"), false) && covers(&subtree, &name("Lists/a"), false));
        assert!(!covers(&subtree, &name("Listsa"), false));
        let named = MailboxFilter::Mailboxes(some(&["Lists"]));
        assert!(covers(&named, &name("Lists"), false) && !covers(&named, &name("Lists/a"), false));
        assert!(covers(&MailboxFilter::Inboxes, &name("inbox"), false));
        assert!(covers(&MailboxFilter::Subscribed, &name("x"), true));
        assert!(!covers(&MailboxFilter::Subscribed, &name("x"), false));
    }

    #[test]
    fn groups_about_one_mailbox_add_up() {
        let group = |mailboxes, names: &[EventName]| EventGroup {
            mailboxes,
            events: Events { names: names.to_vec(), ..Events::default() },
        };
        let both = [EventName::MessageNew, EventName::MessageExpunge];
        let set = NotifySet {
            status: false,
            groups: vec![
                group(MailboxFilter::Inboxes, &both),
                group(MailboxFilter::Personal, &[EventName::SubscriptionChange]),
            ],
        };
        let notifier = Notifier::new(set, ModSeq(1));
        let inbox = notifier.wanted_of(&name("INBOX"), false);
        assert!(inbox.came && inbox.went && !inbox.flags);
        assert!(notifier.wanted_of(&name("a"), false).is_none());
        assert!(notifier.wants(EventName::SubscriptionChange, &name("a"), false));
    }

    #[test]
    fn own_changes_are_left_out_and_others_are_told_once() {
        let tree = |modseq, kind, name: &str| Event {
            modseq: ModSeq(modseq),
            what: What::Tree { kind, name: name.into(), old_name: None },
        };
        let news = News {
            events: vec![
                tree(5, TreeChangeKind::Create, "own"),
                tree(7, TreeChangeKind::Create, "a/b"),
                tree(8, TreeChangeKind::Subscribe, "a/b"),
            ],
            until: ModSeq(8),
        };
        let (_, names) = sorted_out(news, &[ModSeqs { after: ModSeq(4), until: ModSeq(6) }]);
        let told: Vec<&str> = names.iter().map(|news| news.name.as_str()).collect();
        assert_eq!(told, ["a", "a/b"]);
    }

    #[test]
    fn what_happened_to_names_keeps_its_order() {
        let change = |kind, name: &str, old_name: Option<&str>| Event {
            modseq: ModSeq(1),
            what: What::Tree { kind, name: name.into(), old_name: old_name.map(Into::into) },
        };
        let events = vec![
            change(TreeChangeKind::Subscribe, "b", None),
            change(TreeChangeKind::Rename, "b", Some("a")),
            change(TreeChangeKind::Create, "a", None),
            change(TreeChangeKind::Create, "a", None),
            change(TreeChangeKind::Delete, "a", None),
        ];
        let (_, names) = sorted_out(News { events, until: ModSeq(1) }, &[]);
        let told: Vec<_> = names.iter().map(|news| (news.name.as_str(), news.is_gone)).collect();
        assert_eq!(told, [("b", false), ("a", false), ("a", true)]);
    }
}

//! Tests across the room: a writer of commands as a client would be one, values of every kind for it, and the
//! properties that hold for all commands: what is written is read the same, and nothing at all makes the parser fail
//! in another way than by saying what is wrong.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::fetch::write_section_spec;
use super::{Dialect, parse, parse_in, write};
use crate::types::command::{Authenticate, Copy, Create, FlagChange, Login, QResync, Rename, Select, Store};
use crate::types::{
    Body, Command, Date, DateOf, Fetch, FetchItem, Flag, Keyword, List, Lsub, MailboxArgument, MailboxName, ModSeq,
    NumSet, Pattern, Search, SearchKey, Secret, Section, SectionText, SetBound, Status, StatusItem, SystemFlag,
    UidRuns, UidValidity,
};

/// Patterns cannot be written back, they are only matched. So a command is made together with its text for them.
const PATTERNS: [(&str, &str); 4] = [("", "*"), ("a/", "%"), ("", ""), ("x y", "b*%c")];

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn name(out: &mut Vec<u8>, mailbox: &MailboxArgument, dialect: Dialect) {
    out.push(b' ');
    write::mailbox(out, mailbox.as_ref().expect("only good names are made"), dialect);
}

fn set(out: &mut Vec<u8>, set: &NumSet) {
    let NumSet::Ranges(ranges) = set else { panic!("not made") };
    let bound = |bound: SetBound| match bound {
        SetBound::Number(n) => n.to_string(),
        SetBound::Star => "*".to_owned(),
    };
    let ranges: Vec<String> =
        ranges.iter().map(|(a, b)| if a == b { bound(*a) } else { format!("{}:{}", bound(*a), bound(*b)) }).collect();
    text(out, &ranges.join(","));
}

fn joined<T>(out: &mut Vec<u8>, items: &[T], mut one: impl FnMut(&mut Vec<u8>, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        one(out, item);
    }
}

fn listed<T>(out: &mut Vec<u8>, items: &[T], one: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'(');
    joined(out, items, one);
    out.push(b')');
}

fn date(date: Date) -> String {
    const MONTHS: [&str; 12] = ["jan", "FEB", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    format!("{}-{}-{:04}", date.day(), MONTHS[usize::from(date.month()) - 1], date.year())
}

fn key(out: &mut Vec<u8>, search: &SearchKey) {
    let date_of = |of: DateOf| if of == DateOf::Sent { "SENT" } else { "" };
    let mut string = |word: &str, value: &[u8]| {
        text(out, word);
        out.push(b' ');
        write::astring(out, value);
    };
    match search {
        SearchKey::Bcc(value) => string("BCC", value),
        SearchKey::Cc(value) => string("CC", value),
        SearchKey::From(value) => string("FROM", value),
        SearchKey::To(value) => string("to", value),
        SearchKey::Subject(value) => string("SUBJECT", value),
        SearchKey::Body(value) => string("BODY", value),
        SearchKey::Text(value) => string("TEXT", value),
        SearchKey::Header { name, value } => {
            string("HEADER", name);
            out.push(b' ');
            write::string(out, value);
        }
        SearchKey::All => text(out, "ALL"),
        SearchKey::And(keys) => listed(out, keys, key),
        SearchKey::Or(keys) => {
            for _ in 1..keys.len() {
                text(out, "OR ");
            }
            joined(out, keys, key);
        }
        SearchKey::Not(inner) => {
            text(out, "NOT ");
            key(out, inner);
        }
        SearchKey::Numbers(numbers) => set(out, numbers),
        SearchKey::Uids(uids) => {
            text(out, "UID ");
            set(out, uids);
        }
        SearchKey::Flag(flag) => text(out, &flag.wire()[1..]),
        SearchKey::Keyword(keyword) => text(out, &format!("KEYWORD {keyword}")),
        SearchKey::Recent => text(out, "RECENT"),
        SearchKey::Before(of, day) => text(out, &format!("{}BEFORE {}", date_of(*of), date(*day))),
        SearchKey::On(of, day) => text(out, &format!("{}ON \"{}\"", date_of(*of), date(*day))),
        SearchKey::Since(of, day) => text(out, &format!("{}SINCE {}", date_of(*of), date(*day))),
        SearchKey::Larger(octets) => text(out, &format!("LARGER {octets}")),
        SearchKey::Smaller(octets) => text(out, &format!("SMALLER {octets}")),
        SearchKey::ModSeq(mod_seq) => text(out, &format!("MODSEQ {mod_seq}")),
    }
}

fn item(out: &mut Vec<u8>, item: &FetchItem) {
    match item {
        FetchItem::Uid => text(out, "UID"),
        FetchItem::Flags => text(out, "FLAGS"),
        FetchItem::InternalDate => text(out, "INTERNALDATE"),
        FetchItem::Rfc822Size => text(out, "RFC822.SIZE"),
        FetchItem::Envelope => text(out, "ENVELOPE"),
        FetchItem::Body => text(out, "BODY"),
        FetchItem::BodyStructure => text(out, "BODYSTRUCTURE"),
        FetchItem::ModSeq => text(out, "MODSEQ"),
        FetchItem::Rfc822 => text(out, "RFC822"),
        FetchItem::Rfc822Header => text(out, "RFC822.HEADER"),
        FetchItem::Rfc822Text => text(out, "RFC822.TEXT"),
        FetchItem::Section { section, peek, partial } => {
            text(out, if *peek { "BODY.PEEK[" } else { "BODY[" });
            write_section_spec(out, section);
            out.push(b']');
            if let Some((first, count)) = partial {
                text(out, &format!("<{first}.{count}>"));
            }
        }
    }
}

fn select(out: &mut Vec<u8>, word: &str, select: &Select, dialect: Dialect) {
    text(out, word);
    name(out, &select.mailbox, dialect);
    let mut parameters = Vec::new();
    if select.condstore {
        parameters.push("CONDSTORE".to_owned());
    }
    if let Some(known) = &select.qresync {
        let uids = known.known_uids.as_ref().map_or(String::new(), |uids| format!(" {}", uids.wire()));
        let pairs = known.known_pairs.as_ref();
        let pairs = pairs.map_or(String::new(), |(seqs, uids)| format!(" ({} {})", seqs.wire(), uids.wire()));
        parameters.push(format!("QRESYNC ({} {}{uids}{pairs})", known.uid_validity, known.mod_seq));
    }
    if !parameters.is_empty() {
        text(out, &format!(" ({})", parameters.join(" ")));
    }
}

/// The command as a client would send it, without its line end.
fn written(command: &Command, dialect: Dialect) -> Vec<u8> {
    let mut buffer = command.tag.clone().into_bytes();
    let out = &mut buffer;
    out.push(b' ');
    let with_name = |out: &mut Vec<u8>, word: &str, mailbox: &MailboxArgument| {
        text(out, word);
        name(out, mailbox, dialect);
    };
    let numbers = |out: &mut Vec<u8>, uid: bool, word: &str, numbers: &NumSet| {
        text(out, if uid { "UID " } else { "" });
        text(out, word);
        out.push(b' ');
        set(out, numbers);
    };
    match &command.body {
        Body::Capability => text(out, "CAPABILITY"),
        Body::Noop => text(out, "noop"),
        Body::Logout => text(out, "LOGOUT"),
        Body::StartTls => text(out, "STARTTLS"),
        Body::Namespace => text(out, "NAMESPACE"),
        Body::Idle => text(out, "Idle"),
        Body::Check => text(out, "CHECK"),
        Body::Close => text(out, "CLOSE"),
        Body::Unselect => text(out, "UNSELECT"),
        Body::Expunge => text(out, "EXPUNGE"),
        Body::Id(pairs) => {
            text(out, "ID ");
            listed(out, pairs, |out, (field, value)| {
                write::string(out, field.as_bytes());
                out.push(b' ');
                write::nstring(out, value.as_ref().map(|v| v.as_bytes()));
            });
        }
        Body::Authenticate(args) => {
            text(out, &format!("AUTHENTICATE {}", args.mechanism));
            if let Some(response) = &args.initial_response {
                out.push(b' ');
                out.extend_from_slice(if response.reveal().is_empty() { b"=" } else { response.reveal() });
            }
        }
        Body::Login(login) => {
            text(out, "LOGIN ");
            write::astring(out, &login.user);
            out.push(b' ');
            write::astring(out, login.password.reveal());
        }
        Body::Enable(names) => text(out, &format!("ENABLE {}", names.join(" "))),
        Body::Select(args) => select(out, "SELECT", args, dialect),
        Body::Examine(args) => select(out, "EXAMINE", args, dialect),
        Body::Create(create) => with_name(out, "CREATE", &create.mailbox),
        Body::Delete(mailbox) => with_name(out, "DELETE", mailbox),
        Body::Rename(rename) => {
            with_name(out, "RENAME", &rename.from);
            name(out, &rename.to, dialect);
        }
        Body::Subscribe(mailbox) => with_name(out, "SUBSCRIBE", mailbox),
        Body::Unsubscribe(mailbox) => with_name(out, "UNSUBSCRIBE", mailbox),
        Body::List(list) => pattern(out, if list.is_xlist { "XLIST" } else { "LIST" }, &list.patterns[0]),
        Body::Lsub(lsub) => pattern(out, "LSUB", &lsub.pattern),
        Body::Status(status) => {
            with_name(out, "STATUS", &status.mailbox);
            out.push(b' ');
            listed(out, &status.items, |out, item| text(out, item.wire()));
        }
        Body::UidExpunge(uids) => numbers(out, true, "EXPUNGE", uids),
        Body::Search(search) => {
            text(out, if search.uid { "UID SEARCH " } else { "SEARCH " });
            if let Some(charset) = &search.charset {
                text(out, &format!("CHARSET {charset} "));
            }
            key(out, &search.key);
        }
        Body::Fetch(fetch) => {
            numbers(out, fetch.uid, "FETCH", &fetch.set);
            out.push(b' ');
            listed(out, &fetch.items, item);
            if let Some(since) = fetch.changed_since {
                let vanished = if fetch.vanished { " VANISHED" } else { "" };
                text(out, &format!(" (CHANGEDSINCE {since}{vanished})"));
            }
        }
        Body::Store(store) => {
            numbers(out, store.uid, "STORE", &store.set);
            if let Some(since) = store.unchanged_since {
                text(out, &format!(" (UNCHANGEDSINCE {since})"));
            }
            text(
                out,
                match store.change {
                    FlagChange::Replace => " FLAGS",
                    FlagChange::Add => " +FLAGS",
                    FlagChange::Remove => " -FLAGS",
                },
            );
            text(out, if store.silent { ".SILENT " } else { " " });
            listed(out, &store.flags, |out, flag| text(out, flag.wire()));
        }
        Body::Copy(copy) => {
            numbers(out, copy.uid, "COPY", &copy.set);
            name(out, &copy.mailbox, dialect);
        }
        Body::Move(copy) => {
            numbers(out, copy.uid, "MOVE", &copy.set);
            name(out, &copy.mailbox, dialect);
        }
    }
    buffer
}

fn pattern(out: &mut Vec<u8>, word: &str, pattern: &Pattern) {
    let known = PATTERNS.iter().find(|(reference, mailbox)| *pattern == Pattern::new(reference, mailbox));
    let (reference, mailbox) = known.expect("only these are made");
    text(out, &format!("{word} \"{reference}\" \"{mailbox}\""));
}

fn mailboxes() -> impl Strategy<Value = MailboxArgument> {
    "[a-zA-Z.&€ü😀 \"\\\\%]{1,8}(/[a-z]{1,3}){0,2}".prop_map(|name| Ok(MailboxName::new(&name).expect("a name")))
}

fn sets() -> impl Strategy<Value = NumSet> {
    let bound = prop_oneof![4 => (1u32..).prop_map(SetBound::Number), 1 => Just(SetBound::Star)];
    vec((bound.clone(), bound), 1..5).prop_map(NumSet::Ranges)
}

fn mod_seqs() -> impl Strategy<Value = ModSeq> {
    (0u64..1 << 63).prop_map(ModSeq)
}

fn keywords() -> impl Strategy<Value = Keyword> {
    "[$a-zA-Z0-9._-]{1,12}".prop_map(|name| Keyword::new(&name).expect("an atom"))
}

fn flags() -> impl Strategy<Value = Flag> {
    let system = proptest::sample::select(&SystemFlag::ALL[..]).prop_map(Flag::System);
    prop_oneof![system, keywords().prop_map(Flag::Keyword)]
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[a-z \"\\\\(){]{0,12}".prop_map(String::into_bytes), vec(1u8.., 0..12)]
}

fn dates() -> impl Strategy<Value = Date> {
    (-700_000i64..2_900_000).prop_map(Date::from_days_since_1970)
}

fn search_keys() -> impl Strategy<Value = SearchKey> {
    let of = || prop_oneof![Just(DateOf::Arrival), Just(DateOf::Sent)];
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::Recent),
        proptest::sample::select(&SystemFlag::ALL[..]).prop_map(SearchKey::Flag),
        keywords().prop_map(SearchKey::Keyword),
        sets().prop_map(SearchKey::Numbers),
        sets().prop_map(SearchKey::Uids),
        (of(), dates()).prop_map(|(of, date)| SearchKey::Before(of, date)),
        (of(), dates()).prop_map(|(of, date)| SearchKey::On(of, date)),
        (of(), dates()).prop_map(|(of, date)| SearchKey::Since(of, date)),
        (0u64..1 << 63).prop_map(SearchKey::Larger),
        (0u64..1 << 63).prop_map(SearchKey::Smaller),
        mod_seqs().prop_map(SearchKey::ModSeq),
        octets().prop_map(SearchKey::From),
        octets().prop_map(SearchKey::To),
        octets().prop_map(SearchKey::Cc),
        octets().prop_map(SearchKey::Bcc),
        octets().prop_map(SearchKey::Subject),
        octets().prop_map(SearchKey::Body),
        octets().prop_map(SearchKey::Text),
        (octets(), octets()).prop_map(|(name, value)| SearchKey::Header { name, value }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(SearchKey::and),
            vec(inner.clone(), 1..4).prop_map(SearchKey::or),
            inner.prop_map(SearchKey::negated),
        ]
    })
}

fn sections() -> impl Strategy<Value = Section> {
    let fields = (vec("[!-~]{1,10}|[a-z ]{0,4}", 1..4), any::<bool>());
    let text = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        fields.prop_map(|(names, not)| SectionText::HeaderFields { names, not }),
    ];
    (vec(1u32.., 0..4), text).prop_map(|(path, text)| {
        let text = if path.is_empty() && text == SectionText::Mime { SectionText::Whole } else { text };
        Section { path, text }
    })
}

fn fetches() -> impl Strategy<Value = Fetch> {
    let item = prop_oneof![
        Just(FetchItem::Uid),
        Just(FetchItem::Flags),
        Just(FetchItem::InternalDate),
        Just(FetchItem::Rfc822Size),
        Just(FetchItem::Envelope),
        Just(FetchItem::Body),
        Just(FetchItem::BodyStructure),
        Just(FetchItem::ModSeq),
        Just(FetchItem::Rfc822),
        Just(FetchItem::Rfc822Header),
        Just(FetchItem::Rfc822Text),
        (sections(), any::<bool>(), option::of((any::<u32>(), 1u32..)))
            .prop_map(|(section, peek, partial)| FetchItem::Section { section, peek, partial }),
    ];
    (sets(), any::<bool>(), vec(item, 1..6), option::of(mod_seqs()), any::<bool>()).prop_map(
        |(set, uid, items, changed_since, vanished)| {
            let vanished = vanished && uid && changed_since.is_some();
            Fetch { set, uid, items, changed_since, vanished }
        },
    )
}

fn selects() -> impl Strategy<Value = Select> {
    let runs = || vec(1u32..500, 1..6).prop_map(|numbers| numbers.into_iter().collect::<UidRuns>());
    let qresync =
        (1u32.., mod_seqs(), option::of(runs()), option::of(runs())).prop_map(|(validity, mod_seq, uids, pairs)| {
            let known_pairs = pairs.map(|runs| (runs.clone(), runs));
            QResync { uid_validity: UidValidity(validity), mod_seq, known_uids: uids, known_pairs }
        });
    (mailboxes(), any::<bool>(), option::of(qresync)).prop_map(|(mailbox, condstore, qresync)| Select {
        mailbox,
        condstore,
        qresync,
    })
}

fn stores() -> impl Strategy<Value = Store> {
    let change = prop_oneof![Just(FlagChange::Replace), Just(FlagChange::Add), Just(FlagChange::Remove)];
    (sets(), any::<bool>(), change, any::<bool>(), vec(flags(), 0..5), option::of(mod_seqs())).prop_map(
        |(set, uid, change, silent, flags, unchanged_since)| Store { set, uid, change, silent, flags, unchanged_since },
    )
}

fn bodies() -> impl Strategy<Value = Body> {
    let bare = [
        Body::Capability,
        Body::Noop,
        Body::Logout,
        Body::StartTls,
        Body::Namespace,
        Body::Idle,
        Body::Check,
        Body::Close,
        Body::Unselect,
        Body::Expunge,
    ];
    let patterns =
        || proptest::sample::select(&PATTERNS[..]).prop_map(|(reference, name)| Pattern::new(reference, name));
    let copies = || (sets(), any::<bool>(), mailboxes()).prop_map(|(set, uid, mailbox)| Copy { set, uid, mailbox });
    let responses = option::of("([a-z+/]{4}){0,3}").prop_map(|response| response.map(Secret::new));
    let access = prop_oneof![
        proptest::sample::select(bare.to_vec()),
        vec(("[a-z \"]{0,9}", option::of("[a-zü\r]{0,9}")), 0..4).prop_map(Body::Id),
        ("[A-Z0-9-]{1,9}", responses).prop_map(|(mechanism, initial_response)| {
            Body::Authenticate(Authenticate { mechanism, initial_response })
        }),
        (octets(), octets()).prop_map(|(user, password)| Body::Login(Login { user, password: Secret::new(password) })),
        vec("[A-Z0-9=+]{1,9}", 1..4).prop_map(Body::Enable),
    ];
    let folders = prop_oneof![
        selects().prop_map(Body::Select),
        selects().prop_map(Body::Examine),
        mailboxes().prop_map(|mailbox| Body::Create(Create { mailbox })),
        mailboxes().prop_map(Body::Delete),
        (mailboxes(), mailboxes()).prop_map(|(from, to)| Body::Rename(Rename { from, to })),
        mailboxes().prop_map(Body::Subscribe),
        mailboxes().prop_map(Body::Unsubscribe),
        (any::<bool>(), patterns()).prop_map(|(is_xlist, p)| Body::List(List { is_xlist, patterns: vec![p] })),
        patterns().prop_map(|pattern| Body::Lsub(Lsub { pattern })),
        (mailboxes(), vec(proptest::sample::select(&StatusItem::ALL[..]), 1..7))
            .prop_map(|(mailbox, items)| Body::Status(Status { mailbox, items })),
    ];
    let messages = prop_oneof![
        sets().prop_map(Body::UidExpunge),
        (any::<bool>(), option::of("[A-Za-z0-9-]{1,9}"), search_keys())
            .prop_map(|(uid, charset, key)| Body::Search(Search { uid, charset, key })),
        fetches().prop_map(Body::Fetch),
        stores().prop_map(Body::Store),
        copies().prop_map(Body::Copy),
        copies().prop_map(Body::Move),
    ];
    prop_oneof![1 => access, 1 => folders, 2 => messages]
}

fn commands() -> impl Strategy<Value = Command> {
    ("[A-Za-z0-9.]{1,6}", bodies()).prop_map(|(tag, body)| Command { tag, body })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_written_is_read_the_same(command in commands(), utf8 in any::<bool>()) {
        let dialect = Dialect { utf8 };
        let line = written(&command, dialect);
        prop_assert_eq!(parse_in(&line, dialect), Ok(command), "{}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn one_wrong_octet_never_does_more_than_a_bad(command in commands(), at in any::<usize>(), octet in any::<u8>()) {
        let mut line = written(&command, Dialect::default());
        let at = at % line.len();
        line[at] = octet;
        if let Err(garbled) = parse(&line) {
            prop_assert!((1..=line.len() + 1).contains(&garbled.at), "{}", garbled);
            prop_assert!(!garbled.expected.is_empty() && garbled.expected != "something else", "{}", garbled);
        }
        line.truncate(at);
        if let Err(garbled) = parse(&line) {
            prop_assert!((1..=line.len() + 1).contains(&garbled.at), "{}", garbled);
            prop_assert!(!garbled.expected.is_empty() && garbled.expected != "something else", "{}", garbled);
        }
    }

    #[test]
    fn rubbish_is_only_ever_refused(line in vec(any::<u8>(), 0..60)) {
        let _ = parse(&line);
        let _ = super::literal_use(&line);
        let _ = super::append::parse_head(&line, Dialect::default());
    }
}

/// A mistake no parser may let through: spaces doubled anywhere outside strings, or one at the end.
#[test]
fn doubled_spaces_are_refused_everywhere() {
    let lines = [
        "a LOGIN b c",
        "a SELECT INBOX (QRESYNC (1 2 3 (4 5)) CONDSTORE)",
        "a RENAME b c",
        "a LIST a b",
        "a STATUS b (MESSAGES UNSEEN)",
        "a UID FETCH 1 (FLAGS BODY[HEADER.FIELDS (a b)]) (CHANGEDSINCE 1 VANISHED)",
        "a STORE 1 (UNCHANGEDSINCE 1) FLAGS (a b)",
        "a SEARCH CHARSET UTF-8 OR (NOT SEEN DRAFT) HEADER a b MODSEQ 5",
        "a COPY 1 b",
        "a ID (\"a\" \"b\" \"c\" NIL)",
        "a ENABLE a b",
        "a AUTHENTICATE PLAIN AAAA",
    ];
    for line in lines {
        assert!(parse(line.as_bytes()).is_ok(), "{line}");
        for (at, _) in line.match_indices(' ') {
            let doubled = format!("{} {}", &line[..at], &line[at..]);
            assert!(parse(doubled.as_bytes()).is_err(), "{doubled}");
        }
        assert!(parse(format!("{line} ").as_bytes()).is_err(), "{line}");
        assert!(parse(line.to_ascii_lowercase().as_bytes()).is_ok(), "{line}");
    }
}

//! Tests across the room: a writer of commands as a client would be one, values of every kind for it, and the
//! properties that hold for all commands: what is written is read the same, and nothing at all makes the parser fail
//! in another way than by saying what is wrong.

mod answer;
mod append;
mod common;
mod fetch;
mod folders;
mod notify;
mod old;
mod quota;
mod response;
mod search;
mod url;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use self::append::{append, appends};
use self::common::{flags, listed, mailboxes, mod_seqs, name, octets, set, sets, text};
use self::fetch::{fetch, fetches};
use self::folders::{PATTERNS, create, creates, list, lists, pattern, select, selects, status, statuses};
use self::notify::{notifies, notify};
use self::old::{find, finds, partial, partials};
use self::quota::{all_batches, batches, set_quota, set_quotas};
use self::search::{search, searches, sort, sorts, thread, threads};
use super::{AppendParser, Dialect, Ending, parse, parse_in, write};
use crate::types::command::{Authenticate, Copy, Delete, FlagChange, Login, Rename, Store};
use crate::types::{Body, Command, Lsub, MailboxArgument, NumSet, Pattern, Secret};

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
        Body::Create(args) => create(out, args, dialect),
        Body::Delete(args) => with_name(out, "DELETE", &args.mailbox),
        Body::Rename(rename) => {
            with_name(out, "RENAME", &rename.from);
            name(out, &rename.to, dialect);
        }
        Body::Subscribe(mailbox) => with_name(out, "SUBSCRIBE", mailbox),
        Body::Unsubscribe(mailbox) => with_name(out, "UNSUBSCRIBE", mailbox),
        Body::List(args) => list(out, args),
        Body::Lsub(lsub) => pattern(out, "LSUB", &lsub.pattern),
        Body::Status(args) => status(out, args, dialect),
        Body::Append(args) => append(out, args, dialect),
        Body::Partial(args) => partial(out, args),
        Body::Find(args) => find(out, args),
        Body::BBoard(mailbox) => with_name(out, "BBOARD", mailbox),
        Body::Notify(args) => notify(out, args, dialect),
        Body::Compress => text(out, "COMPRESS deflate"),
        Body::Unauthenticate => text(out, "UNAUTHENTICATE"),
        Body::GetQuota(root) => {
            text(out, "GETQUOTA ");
            write::astring(out, root);
        }
        Body::GetQuotaRoot(mailbox) => with_name(out, "GETQUOTAROOT", mailbox),
        Body::SetQuota(args) => set_quota(out, args),
        Body::UidBatches(args) => batches(out, args),
        Body::UidExpunge(uids) => numbers(out, true, "EXPUNGE", uids),
        Body::Search(args) => search(out, args),
        Body::Sort(args) => sort(out, args),
        Body::Thread(args) => thread(out, args),
        Body::Fetch(args) => fetch(out, args),
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
        Body::Compress,
        Body::Unauthenticate,
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
        creates().prop_map(Body::Create),
        mailboxes().prop_map(|mailbox| Body::Delete(Delete { mailbox, spelt: None })),
        (mailboxes(), mailboxes()).prop_map(|(from, to)| Body::Rename(Rename { from, to, spelt: None })),
        mailboxes().prop_map(Body::Subscribe),
        mailboxes().prop_map(Body::Unsubscribe),
        lists().prop_map(Body::List),
        patterns().prop_map(|pattern| Body::Lsub(Lsub { pattern })),
        statuses().prop_map(Body::Status),
        appends().prop_map(Body::Append),
        finds().prop_map(Body::Find),
        mailboxes().prop_map(Body::BBoard),
        notifies().prop_map(Body::Notify),
        octets().prop_map(Body::GetQuota),
        mailboxes().prop_map(Body::GetQuotaRoot),
        set_quotas().prop_map(Body::SetQuota),
    ];
    let messages = prop_oneof![
        sets().prop_map(Body::UidExpunge),
        searches().prop_map(Body::Search),
        sorts().prop_map(Body::Sort),
        threads().prop_map(Body::Thread),
        fetches().prop_map(Body::Fetch),
        stores().prop_map(Body::Store),
        copies().prop_map(Body::Copy),
        copies().prop_map(Body::Move),
        all_batches().prop_map(Body::UidBatches),
        partials().prop_map(Body::Partial),
    ];
    prop_oneof![1 => access, 1 => folders, 2 => messages]
}

fn commands() -> impl Strategy<Value = Command> {
    ("[A-Za-z0-9.]{1,6}", bodies()).prop_map(|(tag, body)| Command { tag, body })
}

/// RFC 9755 §3: a client that has enabled UTF8=ACCEPT names no charset, or UTF-8 where it must name one.
fn in_dialect(mut command: Command, dialect: Dialect) -> Command {
    match &mut command.body {
        Body::Search(search) if dialect.utf8 => search.charset = None,
        Body::Sort(sort) if dialect.utf8 => sort.charset = "UTF-8".into(),
        Body::Thread(thread) if dialect.utf8 => thread.charset = "utf-8".into(),
        _ => {}
    }
    command
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_written_is_read_the_same(command in commands(), (utf8, rev2) in any::<(bool, bool)>()) {
        let dialect = Dialect { utf8, rev2 };
        let command = in_dialect(command, dialect);
        let line = written(&command, dialect);
        // RFC 9051 appendix E: with IMAP4rev2 there is none.
        prop_assume!(!rev2 || !line.windows(6).any(|word| word == b"RECENT"));
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
        let _ = crate::wire::literal_use(&line);
        let _ = AppendParser::new(Dialect::default()).read(&line, Ending::Literal);
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
        "a LIST (SUBSCRIBED RECURSIVEMATCH) a (b c) RETURN (STATUS (SIZE DELETED) CHILDREN METADATA (/shared/a /shared/b))",
        "a CREATE b (USE (\\Sent \\Trash))",
        "a STATUS b (MESSAGES UNSEEN)",
        "a UID FETCH 1 (FLAGS BODY[HEADER.FIELDS (a b)]) (CHANGEDSINCE 1 VANISHED)",
        "a FETCH $ (PREVIEW (LAZY) BINARY[1] SAVEDATE EMAILID) (PARTIAL 1:2 CHANGEDSINCE 1)",
        "a STORE 1 (UNCHANGEDSINCE 1) FLAGS (a b)",
        "a SEARCH CHARSET UTF-8 OR (NOT SEEN DRAFT) HEADER a b MODSEQ 5",
        "a UID SEARCH RETURN (MIN PARTIAL 1:2) CHARSET UTF-8 OLDER 5 SAVEDON 1-Feb-1994 EMAILID a UID $ UIDAFTER 7",
        "a SORT RETURN (COUNT SAVE) (REVERSE DATE SIZE) UTF-8 NOT SEEN",
        "a UID THREAD REFS UTF-8 OR SEEN DRAFT",
        "a APPEND b (\\Seen x) CATENATE (URL c URL d) \"17-Jul-1996 02:44:25 -0700\" CATENATE (URL e)",
        "a UID REPLACE 5 b CATENATE (URL c)",
        "a NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge)) (subtree (b c) (MailboxName))",
        "a COMPRESS DEFLATE",
        "a SETQUOTA b (STORAGE 1 MESSAGE 2)",
        "a UIDBATCHES 1 2:3",
        "a PARTIAL 1 BODY[1] 1 2",
        "a FIND ALL.MAILBOXES b",
        "a SUBSCRIBE MAILBOX b",
        "a FETCH 1 RFC822.HEADER.LINES (b c)",
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

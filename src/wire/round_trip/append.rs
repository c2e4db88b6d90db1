//! APPEND and REPLACE as a client writes them and a framer cuts them: the parser finds the same messages in them,
//! however the octets arrive, and nothing makes it fail in another way than by saying what is wrong.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::common::{dates, flags, listed, mailboxes, name, text};
use crate::types::{Append, AppendItem, AppendMessage, AppendTarget, DateTime, MailboxArgument, Replaced, SetBound};
use crate::wire::date::write_date_time;
use crate::wire::{AppendParser, Dialect, Ending, Event, Framer, Garbled, Limits, Next, write};

/// A message with its parts: URLs, and octets that say whether they stand in UTF8.
type Message = (AppendMessage, Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Url(String),
    Octets { octets: Vec<u8>, utf8: bool },
}

fn command_word(out: &mut Vec<u8>, target: &AppendTarget, dialect: Dialect) {
    match target.replaced {
        None => text(out, "APPEND"),
        Some(Replaced { number, uid }) => {
            text(out, if uid { "uid REPLACE " } else { "REPLACE " });
            match number {
                SetBound::Number(n) => text(out, &n.to_string()),
                SetBound::Star => out.push(b'*'),
            }
        }
    }
    name(out, &target.mailbox, dialect);
}

fn message_head(out: &mut Vec<u8>, message: &AppendMessage) {
    out.push(b' ');
    if !message.flags.is_empty() {
        listed(out, &message.flags, |out, flag| text(out, flag.wire()));
        out.push(b' ');
    }
    if let Some(date) = message.date {
        write_date_time(out, date);
        out.push(b' ');
    }
    text(out, if message.is_catenated { "CATENATE (" } else { "" });
}

fn part(out: &mut Vec<u8>, part: &Part, is_catenated: bool) {
    match part {
        Part::Url(url) => {
            text(out, "URL ");
            write::astring(out, url.as_bytes());
        }
        Part::Octets { octets, utf8 } => {
            text(out, if is_catenated && !utf8 { "TEXT " } else { "" });
            text(out, if *utf8 { "UTF8 (~" } else { "" });
            text(out, &format!("{{{}+}}\r\n", octets.len()));
            out.extend_from_slice(octets);
            text(out, if *utf8 { ")" } else { "" });
        }
    }
}

fn written(target: &AppendTarget, messages: &[Message]) -> Vec<u8> {
    let mut out = b"A1 ".to_vec();
    command_word(&mut out, target, Dialect::default());
    for (message, parts) in messages {
        message_head(&mut out, message);
        for (at, one) in parts.iter().enumerate() {
            text(&mut out, if at > 0 { " " } else { "" });
            part(&mut out, one, message.is_catenated);
        }
        text(&mut out, if message.is_catenated { ")" } else { "" });
    }
    text(&mut out, "\r\n");
    out
}

/// What a session would do: the framer and the parser, and what they make of a stream.
#[derive(Default)]
struct Session {
    target: Option<AppendTarget>,
    messages: Vec<Message>,
    is_whole: bool,
}

impl Session {
    fn take(&mut self, target: Option<AppendTarget>, items: Vec<AppendItem>) {
        self.target = target.or(self.target.take());
        for item in items {
            assert!(!self.is_whole, "nothing comes behind the end");
            let parts = self.messages.last_mut().map(|(_, parts)| parts);
            match item {
                AppendItem::Message(message) => self.messages.push((message, vec![])),
                AppendItem::Url(url) => parts.expect("a message").push(Part::Url(url)),
                AppendItem::Octets { utf8 } => parts.expect("a message").push(Part::Octets { octets: vec![], utf8 }),
                AppendItem::MessageEnd => assert!(parts.is_some_and(|parts| !parts.is_empty())),
            }
        }
    }
}

fn played(stream: &[u8], sizes: &[usize]) -> Result<Session, Garbled> {
    let mut framer = Framer::new(Limits { line_bytes: 10_000, held_bytes: 10_000, literals: 100 });
    let mut parser = AppendParser::new(Dialect::default());
    let mut session = Session::default();
    let (mut rest, mut sizes) = (stream, sizes.iter().copied().chain(std::iter::repeat(usize::MAX)));
    while !rest.is_empty() {
        let (now, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        framer.feed(now);
        rest = later;
        loop {
            let next = match framer.next() {
                Event::NeedMore => break,
                Event::Line(line) => {
                    let piece = parser.read(line, Ending::Line)?;
                    assert_eq!(piece.next, Next::End);
                    session.take(piece.target, piece.items);
                    session.is_whole = true;
                    continue;
                }
                Event::Literal(announced) => {
                    let piece = parser.read(announced.head, Ending::Literal)?;
                    session.take(piece.target, piece.items);
                    piece.next
                }
                Event::Piece(octets) => {
                    let Some(Part::Octets { octets: sum, .. }) =
                        session.messages.last_mut().and_then(|m| m.1.last_mut())
                    else {
                        panic!("octets for nothing")
                    };
                    sum.extend_from_slice(octets);
                    continue;
                }
                Event::LiteralEnd => continue,
                Event::TooLong(_) | Event::BadLiteral { .. } => return Ok(session),
            };
            match next {
                Next::Stream => framer.stream(),
                Next::Hold => framer.hold().expect("it fits"),
                Next::End => panic!("an end at a literal"),
            }
        }
    }
    Ok(session)
}

fn targets() -> impl Strategy<Value = AppendTarget> {
    let number = prop_oneof![(1u32..).prop_map(SetBound::Number), Just(SetBound::Star)];
    let replaced = (number, any::<bool>()).prop_map(|(number, uid)| Replaced { number, uid });
    let mailbox = prop_oneof![mailboxes(), Just::<MailboxArgument>(Ok(crate::types::MailboxName::inbox()))];
    (mailbox, option::of(replaced)).prop_map(|(mailbox, replaced)| AppendTarget { mailbox, spelt: None, replaced })
}

fn heads() -> impl Strategy<Value = AppendMessage> {
    let date =
        (dates(), 0u32..86_400, -720i16..720).prop_map(|(date, second, zone)| DateTime::on_clock(date, second, zone));
    (vec(flags(), 0..3), option::of(date)).prop_map(|(flags, date)| AppendMessage { flags, date, is_catenated: false })
}

fn urls() -> impl Strategy<Value = Part> {
    "[!-~]{1,12}|[a-z \"ü]{0,6}".prop_map(Part::Url)
}

fn octets() -> impl Strategy<Value = Part> {
    (vec(any::<u8>(), 0..20), any::<bool>()).prop_map(|(octets, utf8)| Part::Octets { octets, utf8 })
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let whole = (heads(), octets()).prop_map(|(head, octets)| (head, vec![octets]));
    let catenated = (heads(), vec(prop_oneof![urls(), octets()], 1..5))
        .prop_map(|(head, parts)| (AppendMessage { is_catenated: true, ..head }, parts));
    vec(prop_oneof![whole, catenated], 1..4)
}

/// Commands that bring no octets.
pub(super) fn appends() -> impl Strategy<Value = Append> {
    (targets(), vec((heads(), vec(urls(), 1..4)), 1..4)).prop_map(|(target, mut messages)| {
        messages.truncate(if target.replaced.is_some() { 1 } else { messages.len() });
        let mut items = Vec::new();
        for (head, urls) in messages {
            items.push(AppendItem::Message(AppendMessage { is_catenated: true, ..head }));
            items.extend(urls.into_iter().map(|url| match url {
                Part::Url(url) => AppendItem::Url(url),
                other => panic!("no URL: {other:?}"),
            }));
            items.push(AppendItem::MessageEnd);
        }
        Append { target, items }
    })
}

pub(super) fn append(out: &mut Vec<u8>, args: &Append, dialect: Dialect) {
    command_word(out, &args.target, dialect);
    let mut is_first = true;
    for item in &args.items {
        match item {
            AppendItem::Message(message) => {
                message_head(out, message);
                is_first = true;
            }
            AppendItem::Url(url) => {
                text(out, if is_first { "" } else { " " });
                part(out, &Part::Url(url.clone()), true);
                is_first = false;
            }
            AppendItem::MessageEnd => out.push(b')'),
            AppendItem::Octets { .. } => panic!("not in a whole line"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_same_messages_come_out(target in targets(), messages in messages(), sizes in vec(1usize..30, 0..40)) {
        let messages = if target.replaced.is_some() { messages[..1].to_vec() } else { messages };
        let stream = written(&target, &messages);
        let session = played(&stream, &sizes).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(session.messages, messages);
        prop_assert_eq!(session.target, Some(target));
        prop_assert!(session.is_whole);
    }

    #[test]
    fn one_wrong_octet_is_only_ever_refused(
        target in targets(),
        messages in messages(),
        at in any::<usize>(),
        octet in any::<u8>(),
    ) {
        let mut stream = written(&target, &messages);
        let at = at % stream.len();
        stream[at] = octet;
        if let Err(garbled) = played(&stream, &[]) {
            prop_assert!(garbled.at >= 1 && garbled.at <= stream.len() + 1, "{}", garbled);
            prop_assert!(!garbled.expected.is_empty() && garbled.expected != "something else", "{}", garbled);
        }
    }
}

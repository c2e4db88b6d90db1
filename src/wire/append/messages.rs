//! The messages of an APPEND, from behind the mailbox to the end: a machine that reads one piece after the other.

use nom::Parser;
use nom::bytes::complete::tag_no_case;

use super::{Ending, Next};
use crate::types::{AppendItem, AppendMessage, ImapUrl};
use crate::wire::date::date_time;
use crate::wire::garbled::{Parsed, Wrong, expected, fail};
use crate::wire::lexical::{Recent, astring, close, flag_list, open, space, word};

/// The messages behind the mailbox, and how far they have been read.
#[derive(Debug)]
pub(super) struct Messages {
    state: State,
    /// REPLACE has only one message.
    is_one: bool,
    has_message: bool,
    /// Of the message being read.
    parts: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A message may begin.
    Message,
    /// A part of a CATENATE comes.
    Part,
    BehindPart,
    /// A literal has been streamed.
    BehindOctets {
        is_part: bool,
        utf8: bool,
    },
}

impl Messages {
    /// `is_one`: only one message may come.
    pub(super) fn new(is_one: bool) -> Messages {
        Messages { state: State::Message, is_one, has_message: false, parts: 0 }
    }

    /// Reads to the piece's end. With [`Next::Hold`] what is left over begins with the part that is not whole yet.
    pub(super) fn read<'a>(&mut self, i: &'a [u8], ending: Ending, items: &mut Vec<AppendItem>) -> Parsed<'a, Next> {
        let mut i = i;
        loop {
            match self.state {
                State::Message if i.is_empty() && ending == Ending::Line && self.has_message => {
                    return Ok((i, Next::End));
                }
                State::Message => {
                    let (rest, (message, utf8)) = self.message(i, ending)?;
                    i = rest;
                    self.parts = 0;
                    let is_catenated = message.is_catenated;
                    items.push(AppendItem::Message(message));
                    if !is_catenated {
                        self.state = State::BehindOctets { is_part: false, utf8 };
                        items.push(AppendItem::Octets { utf8 });
                        return Ok((i, Next::Stream));
                    }
                    self.state = State::Part;
                }
                State::Part => match self.part(i, ending)? {
                    (rest, Part::Url(url)) => {
                        i = rest;
                        items.push(AppendItem::Url(url));
                        self.state = State::BehindPart;
                    }
                    (rest, Part::Octets { utf8 }) => {
                        self.state = State::BehindOctets { is_part: true, utf8 };
                        items.push(AppendItem::Octets { utf8 });
                        return Ok((rest, Next::Stream));
                    }
                    (_, Part::NotWhole) => return Ok((i, Next::Hold)),
                },
                State::BehindPart => {
                    (i, self.state) = match i.strip_prefix(b")") {
                        Some(rest) => (rest, self.end_message(items)),
                        None => (expected("a space or \")\"", space).parse(i)?.0, State::Part),
                    };
                }
                State::BehindOctets { is_part, utf8 } => {
                    if utf8 {
                        i = close(i)?.0;
                    }
                    self.state = if is_part { State::BehindPart } else { self.end_message(items) };
                }
            }
        }
    }

    fn end_message(&mut self, items: &mut Vec<AppendItem>) -> State {
        items.push(AppendItem::MessageEnd);
        self.has_message = true;
        State::Message
    }

    /// append-message = [SP flag-list] [SP date-time] SP append-data;
    /// append-data = literal / literal8 / "UTF8" SP "(" literal8 ")" (RFC 6855 §4) /
    ///               "CATENATE" SP "(" cat-part *(SP cat-part) ")" (RFC 4469 §5), up to a literal or the first part.
    /// The bool: the literal stands in UTF8.
    fn message<'a>(&self, i: &'a [u8], ending: Ending) -> Parsed<'a, (AppendMessage, bool)> {
        if self.is_one && self.has_message {
            return fail(i, "the end of the command");
        }
        if i.is_empty() && ending == Ending::Line {
            return fail(i, "a literal with the message");
        }
        let behind = if self.has_message { "the end of the command or another message" } else { "a space" };
        let mut message = AppendMessage::default();
        let (mut i, ()) = expected(behind, space).parse(i)?;
        if i.first() == Some(&b'(') {
            // RFC 3501 §6.3.11: `\Recent` cannot be set; imapsync copies it over all the same.
            let (rest, flags) = flag_list(i, Recent::Ignored)?;
            message.flags = flags;
            i = space(rest)?.0;
        }
        if i.first() == Some(&b'"') {
            let (rest, date) = date_time(i)?;
            message.date = Some(date);
            i = space(rest)?.0;
        }
        if let Ok((rest, _)) = tag_no_case::<_, _, Wrong>("CATENATE (").parse(i) {
            message.is_catenated = true;
            return Ok((rest, (message, false)));
        }
        let mut utf8 = false;
        if let Ok((rest, _)) = tag_no_case::<_, _, Wrong>("UTF8 (").parse(i) {
            (i, utf8) = (rest, true);
        }
        if i.is_empty() && ending == Ending::Literal {
            return Ok((i, (message, utf8)));
        }
        fail(
            i,
            match (message.flags.is_empty(), message.date) {
                _ if utf8 => "a literal",
                (true, None) => "a flag list, a date-time, CATENATE or a literal",
                (_, None) => "a date-time, CATENATE or a literal",
                (_, Some(_)) => "CATENATE or a literal",
            },
        )
    }

    /// cat-part = "TEXT" SP literal / "URL" SP astring (RFC 4469 §5) / "UTF8" SP "(" literal8 ")" (RFC 6855 §4)
    ///
    /// The text may be a literal8 too: with BINARY every message may.
    fn part<'a>(&mut self, i: &'a [u8], ending: Ending) -> Parsed<'a, Part> {
        let (rest, name) = word(i)?;
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        let is_literal = |i: &[u8]| i.is_empty() && ending == Ending::Literal;
        let part = if is("URL") {
            let (rest, ()) = space(rest)?;
            if is_literal(rest) {
                return Ok((rest, Part::NotWhole));
            }
            let (behind, url) = expected("a URL", astring).parse(rest)?;
            if url.len() > ImapUrl::MAX_OCTETS {
                return fail(rest, "a URL of at most 8192 octets");
            }
            (behind, Part::Url(String::from_utf8_lossy(&url).into_owned()))
        } else if is("TEXT") || is("UTF8") {
            let utf8 = is("UTF8");
            let (mut rest, ()) = space(rest)?;
            if utf8 {
                rest = open(rest)?.0;
            }
            if !is_literal(rest) {
                return fail(rest, "a literal");
            }
            (rest, Part::Octets { utf8 })
        } else {
            return fail(i, "TEXT, URL or UTF8");
        };
        self.parts += 1;
        if self.parts > AppendMessage::MAX_PARTS {
            return fail(i, "at most 1000 parts of a message");
        }
        Ok(part)
    }
}

/// A part of a CATENATE.
enum Part {
    Url(String),
    Octets {
        utf8: bool,
    },
    /// Its URL is the literal that was just announced.
    NotWhole,
}

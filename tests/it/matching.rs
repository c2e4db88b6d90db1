//! Expected lines of a transcript, and whether a received line is one of them.
//! `<name>` is captured at first sight and must be the same after; `<*>` is anything; what IMAP leaves unordered
//! (FETCH items, flags, STATUS items, LIST attributes, SEARCH and CAPABILITY) may come in any order.

use crate::tokens::{self, Token};
use std::collections::BTreeMap;
use std::path::Path;

/// What has been captured so far, by name.
pub type Captures = BTreeMap<String, Token>;

/// Whose answer a status line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Untagged,
    /// The oldest command of this client that has not been answered.
    Due,
    /// A tag written out in the transcript, for commands sent as raw bytes.
    Named(String),
}

/// One expected line.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `OK`, `NO`, `BAD`, `BYE`, `PREAUTH` with a response code and a text, both only compared when written.
    Status {
        whose: Whose,
        condition: String,
        code: Option<Vec<Wanted>>,
        text: Option<Vec<Piece>>,
    },
    Data(Vec<Wanted>),
    Continuation(Option<Vec<Piece>>),
    /// An untagged line octet for octet, for what depends on order and form.
    Exactly(Vec<Piece>),
}

/// One expected token.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// `<*>` as a token of its own: any number of tokens, or one value where a value is due.
    Anything,
    Atom(Vec<Piece>),
    Text(Vec<u8>),
    /// A string with the octets of a file in `tests/messages/`.
    File(Vec<u8>),
    List(Vec<Wanted>),
}

/// A part of an atom or of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Exactly(String),
    Capture(String),
    Anything,
}

#[derive(Clone, Copy)]
enum Order {
    AsWritten,
    Any,
    /// Names and values; the names come in any order.
    Pairs,
}

impl Pattern {
    /// Reads the expected line `text`; files it names are read from `messages`.
    pub fn read(text: &str, messages: &Path) -> Result<Pattern, String> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        if first == "+" {
            return Ok(Pattern::Continuation((!rest.is_empty()).then(|| pieces(rest))));
        }
        if is_condition(first) {
            return status(Whose::Due, text, messages);
        }
        let second = rest.split(' ').next().unwrap_or("");
        if first == "*" && is_condition(second) {
            return status(Whose::Untagged, rest, messages);
        }
        if first == "*" {
            return Ok(Pattern::Data(Reader::read(rest, messages)?));
        }
        if is_condition(second) {
            return status(Whose::Named(first.to_string()), rest, messages);
        }
        Err(format!("{text:?} is neither an untagged line, a continuation nor a tagged answer"))
    }

    /// Reads the expected octets of an untagged line, escapes and captures in it.
    pub fn exactly(text: &str) -> Result<Pattern, String> {
        let octets = String::from_utf8(unescape(text)?).map_err(|_| "what comes exactly is compared as text")?;
        match octets.starts_with("* ") {
            true => Ok(Pattern::Exactly(pieces(&octets))),
            false => Err(format!("{text:?} is no untagged line")),
        }
    }

    /// True for a line that ends an answer.
    pub fn is_last(&self) -> bool {
        match self {
            Pattern::Status { whose, condition, .. } => *whose != Whose::Untagged || condition == "BAD",
            Pattern::Continuation(_) => true,
            Pattern::Data(_) | Pattern::Exactly(_) => false,
        }
    }

    /// Whether `line` is what is expected; `due` is the tag of the oldest unanswered command. What it captures
    /// is kept only if it is. An error when the line is not well-formed IMAP at all.
    pub fn matches(&self, line: &[u8], due: Option<&str>, captures: &mut Captures) -> Result<bool, String> {
        let received = Received::read(line)?;
        let mut trial = captures.clone();
        let is_match = match (self, &received) {
            (Pattern::Continuation(None), Received::Continuation(_)) => true,
            (Pattern::Continuation(Some(wanted)), Received::Continuation(text)) => same(wanted, text, &mut trial),
            (Pattern::Exactly(wanted), _) => same(wanted, line, &mut trial),
            (Pattern::Data(wanted), Received::Data(tokens)) => data_matches(wanted, tokens, &mut trial),
            (Pattern::Status { whose, condition, code, text }, Received::Status(found)) => {
                let wanted_tag = match whose {
                    Whose::Untagged => Some("*"),
                    Whose::Due => due,
                    Whose::Named(tag) => Some(tag.as_str()),
                };
                let code_matches = match (code, &found.code) {
                    (None, _) => true,
                    (Some(wanted), Some(tokens)) => code_matches(wanted, tokens, &mut trial),
                    (Some(_), None) => false,
                };
                wanted_tag == Some(found.tag.as_str())
                    && *condition == found.condition
                    && code_matches
                    && text.as_ref().is_none_or(|wanted| same(wanted, &found.text, &mut trial))
            }
            _ => false,
        };
        if is_match {
            *captures = trial;
        }
        Ok(is_match)
    }
}

fn is_condition(word: &str) -> bool {
    matches!(word, "OK" | "NO" | "BAD" | "BYE" | "PREAUTH")
}

fn status(whose: Whose, text: &str, messages: &Path) -> Result<Pattern, String> {
    let (condition, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (code, rest) = match rest.strip_prefix('[') {
        None => (None, rest),
        Some(inner) => {
            let end = inner.rfind(']').ok_or_else(|| format!("{text:?}: the response code is not closed"))?;
            (Some(Reader::read(&inner[..end], messages)?), inner[end + 1..].trim_start())
        }
    };
    let text = (!rest.is_empty()).then(|| pieces(rest));
    Ok(Pattern::Status { whose, condition: condition.to_string(), code, text })
}

/// A received line, taken apart.
enum Received {
    Status(Status),
    Data(Vec<Token>),
    Continuation(Vec<u8>),
}

struct Status {
    tag: String,
    condition: String,
    code: Option<Vec<Token>>,
    text: Vec<u8>,
}

impl Received {
    fn read(line: &[u8]) -> Result<Received, String> {
        if line.starts_with(b"+") {
            // RFC 3501 §9, continue-req: the space is not optional, and there are clients that count on it.
            let text = line.strip_prefix(b"+ ").ok_or("a continuation without its space: \"+ \" is due")?;
            return Ok(Received::Continuation(text.to_vec()));
        }
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let tag = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let condition = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        if !is_condition(&condition) {
            return match line.strip_prefix(b"* ") {
                Some(data) => Ok(Received::Data(tokens::cut(data)?)),
                None => Err(format!("no response at all: {}", tokens::shown(line))),
            };
        }
        let rest = words.next().unwrap_or_default();
        // RFC 3501 §9, resp-text: a code is followed by a space and at least one octet of text; so is none.
        let complaint = || format!("a response without text: {}", tokens::shown(line));
        let (code, text) = match rest.strip_prefix(b"[") {
            None => (None, rest),
            Some(inner) => {
                let end = inner.iter().position(|byte| *byte == b']').ok_or_else(complaint)?;
                let text = inner[end + 1..].strip_prefix(b" ").ok_or_else(complaint)?;
                (Some(tokens::cut(&inner[..end])?), text)
            }
        };
        match text.is_empty() {
            true => Err(complaint()),
            false => Ok(Received::Status(Status { tag, condition, code, text: text.to_vec() })),
        }
    }
}

fn data_matches(wanted: &[Wanted], tokens: &[Token], captures: &mut Captures) -> bool {
    if let [number, Wanted::Atom(word), Wanted::List(items)] = wanted
        && *word == [Piece::Exactly("FETCH".into())]
    {
        let [got_number, Token::Atom(got_word), Token::List(got_items)] = tokens else { return false };
        return got_word == b"FETCH"
            && one_matches(number, got_number, false, captures)
            && pairs_match(items, got_items, captures);
    }
    let head = match wanted.first() {
        Some(Wanted::Atom(word)) => match word.as_slice() {
            [Piece::Exactly(word)] => word.as_str(),
            _ => "",
        },
        _ => "",
    };
    match (head, wanted, tokens) {
        ("FLAGS", [_, Wanted::List(flags)], [Token::Atom(word), Token::List(got)]) => {
            word == b"FLAGS" && sequence_matches(flags, got, Order::Any, false, captures)
        }
        ("STATUS", [_, name, Wanted::List(items)], [Token::Atom(word), got_name, Token::List(got)]) => {
            word == b"STATUS"
                && name_matches(name, got_name, captures)
                && sequence_matches(items, got, Order::Pairs, false, captures)
        }
        ("LIST" | "LSUB" | "XLIST", [_, attributes, mark, name, more @ ..], [Token::Atom(word), got @ ..]) => {
            let [Token::List(got_attributes), got_mark, got_name, got_more @ ..] = got else { return false };
            word == head.as_bytes()
                && match attributes {
                    Wanted::List(list) => sequence_matches(list, got_attributes, Order::Any, false, captures),
                    other => matches!(other, Wanted::Anything),
                }
                && one_matches(mark, got_mark, false, captures)
                && name_matches(name, got_name, captures)
                && sequence_matches(more, got_more, Order::AsWritten, false, captures)
        }
        ("SEARCH" | "CAPABILITY" | "ENABLED", [_, rest @ ..], [Token::Atom(word), got @ ..]) => {
            word == head.as_bytes() && sequence_matches(rest, got, Order::Any, false, captures)
        }
        _ => sequence_matches(wanted, tokens, Order::AsWritten, false, captures),
    }
}

fn code_matches(wanted: &[Wanted], tokens: &[Token], captures: &mut Captures) -> bool {
    let (Some(word), Some(got_word)) = (wanted.first(), tokens.first()) else { return wanted.len() == tokens.len() };
    let order = match got_word {
        Token::Atom(word) if word == b"CAPABILITY" => Order::Any,
        _ => Order::AsWritten,
    };
    if let ([_, Wanted::List(list)], [Token::Atom(name), Token::List(got)]) = (wanted, tokens)
        && matches!(name.as_slice(), b"PERMANENTFLAGS" | b"BADCHARSET")
    {
        return one_matches(word, got_word, false, captures)
            && sequence_matches(list, got, Order::Any, false, captures);
    }
    one_matches(word, got_word, false, captures) && sequence_matches(&wanted[1..], &tokens[1..], order, false, captures)
}

/// The items of a FETCH response: names in any order, each value as its item wants.
fn pairs_match(wanted: &[Wanted], tokens: &[Token], captures: &mut Captures) -> bool {
    sequence_matches(wanted, tokens, Order::Pairs, false, captures)
}

fn sequence_matches(w: &[Wanted], t: &[Token], order: Order, folds: bool, captures: &mut Captures) -> bool {
    match order {
        Order::AsWritten => in_order(w, t, folds, captures),
        Order::Any => {
            let (some, others) = without_anything(w);
            let groups: Vec<&[Token]> = t.chunks(1).collect();
            any_order(&some.chunks(1).collect::<Vec<_>>(), &groups, others, captures)
        }
        Order::Pairs => {
            // An `<*>` where a name is due stands for further pairs; after a name it is that name's value.
            let mut pairs = Vec::new();
            let mut others = false;
            let mut rest = w;
            while let Some(first) = rest.first() {
                match (first, rest.get(1)) {
                    (Wanted::Anything, _) => (others, rest) = (true, &rest[1..]),
                    (_, Some(_)) => {
                        pairs.push(&rest[..2]);
                        rest = &rest[2..];
                    }
                    (_, None) => return false,
                }
            }
            t.len().is_multiple_of(2) && any_order(&pairs, &t.chunks(2).collect::<Vec<_>>(), others, captures)
        }
    }
}

fn without_anything(wanted: &[Wanted]) -> (Vec<Wanted>, bool) {
    let some: Vec<Wanted> = wanted.iter().filter(|w| !matches!(w, Wanted::Anything)).cloned().collect();
    let others = some.len() < wanted.len();
    (some, others)
}

fn in_order(wanted: &[Wanted], tokens: &[Token], folds: bool, captures: &mut Captures) -> bool {
    match (wanted.split_first(), tokens.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((Wanted::Anything, rest)), _) => (0..=tokens.len()).any(|skipped| {
            let mut trial = captures.clone();
            let is_match = in_order(rest, &tokens[skipped..], folds, &mut trial);
            if is_match {
                *captures = trial;
            }
            is_match
        }),
        (Some(_), None) => false,
        (Some((first, rest)), Some((token, more))) => {
            one_matches(first, token, folds, captures) && in_order(rest, more, folds, captures)
        }
    }
}

/// Finds a different group of tokens for each wanted group; `others` allows groups nobody asked for.
fn any_order(wanted: &[&[Wanted]], groups: &[&[Token]], others: bool, captures: &mut Captures) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return others || groups.is_empty() };
    (0..groups.len()).any(|at| {
        let mut trial = captures.clone();
        let left: Vec<&[Token]> = [&groups[..at], &groups[at + 1..]].concat();
        let is_match = group_matches(first, groups[at], &mut trial) && any_order(rest, &left, others, &mut trial);
        if is_match {
            *captures = trial;
        }
        is_match
    })
}

fn group_matches(wanted: &[Wanted], tokens: &[Token], captures: &mut Captures) -> bool {
    match (wanted, tokens) {
        ([one], [token]) => one_matches(one, token, false, captures),
        ([name, value], [got_name, got_value]) => {
            if !one_matches(name, got_name, true, captures) {
                return false;
            }
            match (got_name, value, got_value) {
                (_, Wanted::Anything, _) => true,
                (Token::Atom(item), Wanted::List(flags), Token::List(got)) if item == b"FLAGS" => {
                    sequence_matches(flags, got, Order::Any, false, captures)
                }
                // RFC 2045 §5.1: types and parameter names are the same in any case, and servers write either.
                (Token::Atom(item), _, _) if item == b"BODYSTRUCTURE" || item == b"BODY" => {
                    one_matches(value, got_value, true, captures)
                }
                _ => one_matches(value, got_value, false, captures),
            }
        }
        _ => false,
    }
}

/// A mailbox name may come as an atom or as a string.
fn name_matches(wanted: &Wanted, token: &Token, captures: &mut Captures) -> bool {
    match (wanted, token) {
        (Wanted::Text(name), Token::Atom(got)) => name == got,
        (Wanted::Atom(pieces), Token::Text(got)) if !matches!(pieces.as_slice(), [Piece::Capture(_)]) => {
            same(pieces, got, captures)
        }
        (Wanted::Anything, _) => true,
        _ => one_matches(wanted, token, false, captures),
    }
}

/// `folds`: letters are the same in either case.
fn one_matches(wanted: &Wanted, token: &Token, folds: bool, captures: &mut Captures) -> bool {
    match (wanted, token) {
        (Wanted::Anything, _) => true,
        (Wanted::Text(text) | Wanted::File(text), Token::Text(got)) => {
            text == got || folds && text.eq_ignore_ascii_case(got)
        }
        (Wanted::List(list), Token::List(got)) => in_order(list, got, folds, captures),
        (Wanted::Atom(pieces), token) => match (pieces.as_slice(), token) {
            ([Piece::Capture(name)], token) => match captures.get(name) {
                Some(known) => known == token,
                None => {
                    captures.insert(name.clone(), token.clone());
                    true
                }
            },
            ([Piece::Exactly(atom)], Token::Atom(got)) => {
                atom.as_bytes() == got
                    || folds && atom.as_bytes().eq_ignore_ascii_case(got)
                    || numbers(atom.as_bytes()).is_some_and(|set| numbers(got) == Some(set))
            }
            (pieces, Token::Atom(got)) => same(pieces, got, captures),
            _ => false,
        },
        _ => false,
    }
}

/// The numbers of a set in the order written: `1:3` and `1,2,3` are the same set.
fn numbers(set: &[u8]) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in std::str::from_utf8(set).ok()?.split(',') {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last.abs_diff(first) > 100_000 {
            return None;
        }
        match first <= last {
            true => numbers.extend(first..=last),
            false => numbers.extend((last..=first).rev()),
        }
    }
    Some(numbers)
}

/// Whether `got` is made of these pieces from its first octet to its last.
fn same(pieces: &[Piece], got: &[u8], captures: &mut Captures) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return got.is_empty() };
    match first {
        Piece::Exactly(text) => got.strip_prefix(text.as_bytes()).is_some_and(|more| same(rest, more, captures)),
        Piece::Anything => (0..=got.len()).any(|skipped| {
            let mut trial = captures.clone();
            let is_match = same(rest, &got[skipped..], &mut trial);
            if is_match {
                *captures = trial;
            }
            is_match
        }),
        Piece::Capture(name) => match captures.get(name) {
            Some(Token::Atom(known) | Token::Text(known)) => {
                let known = known.clone();
                got.strip_prefix(known.as_slice()).is_some_and(|more| same(rest, more, captures))
            }
            Some(Token::List(_)) => false,
            None => {
                let length = got.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
                captures.insert(name.clone(), Token::Atom(got[..length].to_vec()));
                length > 0 && same(rest, &got[length..], captures)
            }
        },
    }
}

/// Splits at `<name>` and `<*>`; anything else between angle brackets (`<0>`, `<a@b>`) is text like any other.
pub fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let name = rest.strip_prefix('<').and_then(|inner| inner.split_once('>')).map(|(name, _)| name);
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let piece = match name {
            Some("*") => Piece::Anything,
            Some(name) if is_name(name) => Piece::Capture(name.to_string()),
            _ => {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        if !plain.is_empty() {
            found.push(Piece::Exactly(std::mem::take(&mut plain)));
        }
        rest = &rest[name.map_or(0, str::len) + 2..];
        found.push(piece);
    }
    if !plain.is_empty() {
        found.push(Piece::Exactly(plain));
    }
    found
}

/// `\r \n \t \0 \\ \" \xHH` as a transcript writes them, and `\{n|text}` for n times this text.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut letters = rest[at + 1..].chars();
        let letter = letters.next();
        rest = letters.as_str();
        match letter {
            Some('r') => out.push(b'\r'),
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('0') => out.push(0),
            Some(same @ ('\\' | '"')) => out.push(same as u8),
            Some('x') => {
                let (digits, after) = rest.split_at_checked(2).ok_or("\\x wants two digits")?;
                out.push(u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits} is no octet"))?);
                rest = after;
            }
            Some('{') => {
                let (times, behind) = rest.split_once('|').ok_or("\\{n|text} has no |")?;
                let (text, after) = behind.split_once('}').ok_or("\\{n|text} is not closed")?;
                let times: usize = times.parse().map_err(|_| format!("{times:?} is no number"))?;
                out.extend_from_slice(&unescape(text)?.repeat(times));
                rest = after;
            }
            other => return Err(format!("\\{} means nothing", other.map_or(String::new(), String::from))),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Reads the tokens of an expected line.
struct Reader<'a> {
    rest: &'a str,
    messages: &'a Path,
}

impl<'a> Reader<'a> {
    fn read(text: &'a str, messages: &'a Path) -> Result<Vec<Wanted>, String> {
        let mut reader = Reader { rest: text, messages };
        let wanted = reader.sequence()?;
        match reader.rest.is_empty() {
            true => Ok(wanted),
            false => Err(format!("{:?}: a parenthesis too many", reader.rest)),
        }
    }

    fn sequence(&mut self) -> Result<Vec<Wanted>, String> {
        let mut wanted = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(' ');
            match self.rest.chars().next() {
                None | Some(')') => return Ok(wanted),
                Some('(') => {
                    self.rest = &self.rest[1..];
                    let list = self.sequence()?;
                    self.rest = self.rest.strip_prefix(')').ok_or("a list is not closed")?;
                    wanted.push(Wanted::List(list));
                }
                Some('"') => wanted.push(self.quoted()?),
                Some('{') => wanted.push(self.file()?),
                Some(_) => wanted.push(self.atom()),
            }
        }
    }

    fn quoted(&mut self) -> Result<Wanted, String> {
        let inner = &self.rest[1..];
        let mut is_escaped = false;
        let end = inner.find(|c| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or_else(|| format!("{:?}: a quote is not closed", self.rest))?;
        self.rest = &inner[end + 1..];
        Ok(Wanted::Text(unescape(&inner[..end])?))
    }

    fn file(&mut self) -> Result<Wanted, String> {
        let name = self.rest.strip_prefix("{@").and_then(|rest| rest.split_once('}'));
        let (name, rest) = name.ok_or_else(|| format!("{:?}: {{@file}} is due", self.rest))?;
        self.rest = rest;
        let path = self.messages.join(name);
        std::fs::read(&path).map(Wanted::File).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn atom(&mut self) -> Wanted {
        let mut is_in_brackets = false;
        let end = self.rest.find(|c| {
            match c {
                '[' => is_in_brackets = true,
                ']' => is_in_brackets = false,
                _ => {}
            }
            matches!(c, ' ' | '(' | ')') && !is_in_brackets
        });
        let (atom, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match atom {
            "<*>" => Wanted::Anything,
            _ => Wanted::Atom(pieces(atom)),
        }
    }
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;

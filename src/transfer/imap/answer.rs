//! What an IMAP server answers, as tokens and from them as facts. Pure functions; a server may send anything, and what
//! cannot be understood is `None`.

use crate::types::{Flag, FlagSet};

/// Most tokens of one answer.
const MOST_TOKENS: usize = 20_000;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Open,
    Close,
    /// An atom, also one with a section in it: `BODY[HEADER.FIELDS (TO)]<0>`.
    Atom(Vec<u8>),
    /// A quoted string or a literal.
    Text(Vec<u8>),
    /// A literal that was given out instead of being held.
    Streamed,
}

impl Token {
    /// An atom's octets or a text's.
    pub fn octets(&self) -> Option<&[u8]> {
        match self {
            Token::Atom(octets) | Token::Text(octets) => Some(octets),
            _ => None,
        }
    }

    fn is_nil(&self) -> bool {
        self.is_word(b"NIL")
    }

    fn is_word(&self, word: &[u8]) -> bool {
        matches!(self, Token::Atom(octets) if octets.eq_ignore_ascii_case(word))
    }

    fn number(&self) -> Option<u32> {
        match self {
            Token::Atom(octets) => std::str::from_utf8(octets).ok()?.parse().ok(),
            _ => None,
        }
    }
}

/// How a line of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The answer ends with it.
    Line,
    /// A literal of so many octets follows.
    Literal(u64),
}

/// Adds the tokens of a line, without its CRLF; `None`: it is in no form of IMAP.
pub fn tokens(line: &[u8], out: &mut Vec<Token>) -> Option<Ending> {
    let mut at = 0;
    while at < line.len() {
        if out.len() >= MOST_TOKENS {
            return None;
        }
        match line[at] {
            b' ' => at += 1,
            b'(' => {
                out.push(Token::Open);
                at += 1;
            }
            b')' => {
                out.push(Token::Close);
                at += 1;
            }
            b'"' => {
                let (text, after) = quoted(line, at + 1)?;
                out.push(Token::Text(text));
                at = after;
            }
            b'{' | b'~' if let Some(octets) = literal(&line[at..]) => return Some(Ending::Literal(octets)),
            _ => {
                let end = atom_end(line, at);
                out.push(Token::Atom(line[at..end].to_vec()));
                at = end;
            }
        }
    }
    Some(Ending::Line)
}

/// The octets a quoted string stands for, and where it ends.
fn quoted(line: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    loop {
        match line.get(at)? {
            b'"' => return Some((text, at + 1)),
            b'\\' => {
                text.push(*line.get(at + 1)?);
                at += 2;
            }
            octet => {
                text.push(*octet);
                at += 1;
            }
        }
    }
}

/// `{n}`, `{n+}` or `~{n}` at the end of a line.
fn literal(rest: &[u8]) -> Option<u64> {
    let rest = rest.strip_prefix(b"~").unwrap_or(rest);
    let digits = rest.strip_prefix(b"{")?.strip_suffix(b"}")?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where an atom ends that begins at `at`; what is in brackets belongs to it. Never `at` itself.
fn atom_end(line: &[u8], at: usize) -> usize {
    let mut is_in_brackets = false;
    for (place, octet) in line.iter().enumerate().skip(at) {
        match octet {
            b'[' => is_in_brackets = true,
            b']' => is_in_brackets = false,
            b' ' | b'(' | b')' if !is_in_brackets && place > at => return place,
            _ => {}
        }
    }
    line.len()
}

/// A line of LIST or LSUB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name as the server writes it.
    pub name: Vec<u8>,
    pub separator: Option<u8>,
    pub can_be_opened: bool,
}

/// `* LIST (\HasNoChildren) "/" INBOX`, from the word on.
pub fn listed(tokens: &[Token]) -> Option<Listed> {
    let [word, Token::Open, rest @ ..] = tokens else { return None };
    if !word.is_word(b"LIST") && !word.is_word(b"LSUB") {
        return None;
    }
    let close = rest.iter().position(|token| *token == Token::Close)?;
    let (attributes, [separator, name, ..]) = (&rest[..close], &rest[close + 1..]) else { return None };
    let closed = |token: &Token| token.is_word(b"\\Noselect") || token.is_word(b"\\NonExistent");
    let separator = if separator.is_nil() { None } else { separator.octets()?.first().copied() };
    Some(Listed { name: name.octets()?.to_vec(), separator, can_be_opened: !attributes.iter().any(closed) })
}

/// What a FETCH answer tells of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    pub uid: Option<u32>,
    pub size: Option<u64>,
    pub flags: FlagSet,
    /// It tells the flags, if only that there are none.
    pub has_flags: bool,
    /// Words among the flags that are none here.
    pub odd_flags: Vec<String>,
    /// As it is written, without quotes.
    pub date: Option<Vec<u8>>,
    pub body: Body,
}

/// Where the message itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// Not in this answer, or NIL.
    #[default]
    Absent,
    /// It was given out.
    Streamed,
    /// In the answer: the server sent it as a quoted string.
    Held(Vec<u8>),
}

/// True when the literal that follows these tokens is a whole message.
pub fn is_body(tokens: &[Token]) -> bool {
    tokens.last().is_some_and(|token| token.is_word(b"BODY[]"))
}

/// `* 3 FETCH (UID 7 FLAGS (\Seen))`, from the number on.
pub fn fetched(tokens: &[Token]) -> Option<Fetched> {
    let [number, word, Token::Open, items @ .., Token::Close] = tokens else { return None };
    number.number()?;
    if !word.is_word(b"FETCH") {
        return None;
    }
    let mut fetched = Fetched::default();
    let mut rest = items;
    while let [name, value @ ..] = rest {
        let length = value_length(value)?;
        let (value, after) = value.split_at(length);
        rest = after;
        match (name, value) {
            (name, [value]) if name.is_word(b"UID") => fetched.uid = Some(value.number().filter(|uid| *uid > 0)?),
            (name, [value]) if name.is_word(b"RFC822.SIZE") => {
                fetched.size = Some(std::str::from_utf8(value.octets()?).ok()?.parse().ok()?);
            }
            (name, [Token::Open, flags @ .., Token::Close]) if name.is_word(b"FLAGS") => fetched.take_flags(flags),
            (name, [value]) if name.is_word(b"INTERNALDATE") => fetched.date = Some(value.octets()?.to_vec()),
            (name, [Token::Streamed]) if name.is_word(b"BODY[]") => fetched.body = Body::Streamed,
            (name, [Token::Text(text)]) if name.is_word(b"BODY[]") => fetched.body = Body::Held(text.clone()),
            _ => {}
        }
    }
    Some(fetched)
}

/// How many tokens the first value is made of.
fn value_length(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

impl Fetched {
    fn take_flags(&mut self, flags: &[Token]) {
        self.has_flags = true;
        for flag in flags.iter().filter_map(Token::octets) {
            let word = String::from_utf8_lossy(flag);
            match Flag::named(&word) {
                Some(flag) => self.flags.insert(flag),
                // RFC 3501 §2.3.2: it belongs to a session of that server.
                None if word.eq_ignore_ascii_case("\\Recent") => {}
                None => self.odd_flags.push(word.into_owned()),
            }
        }
    }
}

/// The number in a response code such as `[UIDVALIDITY 7]`, in a line's text.
pub fn code<T: std::str::FromStr>(text: &[u8], name: &str) -> Option<T> {
    let text = String::from_utf8_lossy(text);
    let (code, _) = text.trim_start().strip_prefix('[')?.split_once(']')?;
    let (word, value) = code.split_once(' ')?;
    value.trim().parse().ok().filter(|_| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<Token> {
        let mut out = Vec::new();
        assert_eq!(tokens(line.as_bytes(), &mut out), Some(Ending::Line), "{line}");
        out
    }

    #[test]
    fn lists_are_read() {
        let line = |name: &str, separator, can_be_opened| Some(Listed { name: name.into(), separator, can_be_opened });
        assert_eq!(listed(&read(r#"LIST (\HasNoChildren) "." "A.\"b\"""#)), line("A.\"b\"", Some(b'.'), true));
        assert_eq!(listed(&read(r#"list (\Noselect \X) NIL x"#)), line("x", None, false));
        for odd in ["LIST", "LIST ()", "LIST () \"/\"", "FETCH () \"/\" x", "LIST ( \"/\" x"] {
            assert_eq!(listed(&read(odd)), None, "{odd}");
        }
    }

    #[test]
    fn fetch_answers_are_read_in_any_order() {
        let text = r#"3 FETCH (FLAGS (\Seen \Recent $Work \Odd) X (a (b)) INTERNALDATE " 1-Jan-2020 00:00:00 +0000" UID 7 RFC822.SIZE 9)"#;
        let fetched = fetched(&read(text)).expect("a message");
        assert_eq!((fetched.uid, fetched.size, fetched.flags.bits()), (Some(7), Some(9), 8));
        assert_eq!(fetched.odd_flags, ["\\Odd"]);
        assert_eq!(fetched.date.as_deref(), Some(&b" 1-Jan-2020 00:00:00 +0000"[..]));
        let mut out = Vec::new();
        assert_eq!(tokens(b"3 FETCH (UID 7 BODY[] {12}", &mut out), Some(Ending::Literal(12)));
        assert!(is_body(&out));
        out.push(Token::Streamed);
        tokens(b")", &mut out);
        assert_eq!(super::fetched(&out).expect("a message").body, Body::Streamed);
        for odd in ["3 FETCH", "x FETCH ()", "3 FETCH (UID)", "3 FETCH (UID 0)", "3 FETCH (FLAGS ()", "3 FETCH (UID x)"]
        {
            assert_eq!(super::fetched(&read(odd)), None, "{odd}");
        }
    }

    #[test]
    fn codes_are_read() {
        assert_eq!(code(b"[UIDVALIDITY 7] fine", "uidvalidity"), Some(7));
        assert_eq!(code(b"[HIGHESTMODSEQ 9223372036854775807] x", "HIGHESTMODSEQ"), Some(i64::MAX as u64));
        assert_eq!(code::<u32>(b"[UIDNEXT x] fine", "UIDNEXT"), None);
        assert_eq!(code::<u32>(b"fine [UIDNEXT 7]", "UIDNEXT"), None);
    }
}

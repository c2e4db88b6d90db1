//! Parameters of structured header fields (RFC 2045 §5.1): continued, percent-encoded (RFC 2231), bare 8-bit, or
//! wrong in the ways that mailers write them; and how BODYSTRUCTURE tells them.

use super::strings::{Letters, write_ready};
use super::transfer::hex;
use super::words::{decode_charset, guess};

/// Parameters kept of one field; the pieces of a continued one count as one.
const PARAMETERS: usize = 100;
/// Pieces looked at in one field, continuations included.
const PIECES: usize = 1000;
/// Longest type, subtype or disposition word believed, in octets.
const WORD_OCTETS: usize = 127;

/// The parameters of one field, in the order they first appear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parameters(Vec<Parameter>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Parameter {
    /// In capitals, without the stars of RFC 2231.
    name: String,
    value: Vec<u8>,
    /// The value is `charset'language'percent-encoded` (RFC 2231 §4).
    is_extended: bool,
}

/// One `name=value` as written.
struct Piece {
    name: String,
    section: Option<u32>,
    is_extended: bool,
    value: Vec<u8>,
}

impl Parameters {
    /// Reads the rest of a field's value.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Parameters {
        let mut pieces: Vec<(usize, Piece)> = (0..PIECES).map_while(|at| Some((at, cursor.parameter()?))).collect();
        // `filename` and `filename*` may stand side by side, one for old readers, one for new ones. Sorting brings
        // the pieces of one parameter together, in order; of two pieces with one number the first counts.
        let is_star = |piece: &Piece| piece.section.is_some() || piece.is_extended;
        let section = |piece: &Piece| piece.section.unwrap_or(0);
        pieces.sort_unstable_by(|(at, a), (bt, b)| {
            a.name.cmp(&b.name).then(is_star(a).cmp(&is_star(b))).then(section(a).cmp(&section(b))).then(at.cmp(bt))
        });
        pieces.dedup_by(|(_, b), (_, a)| a.name == b.name && is_star(a) == is_star(b) && section(a) == section(b));
        let families = pieces.chunk_by_mut(|(_, a), (_, b)| a.name == b.name && is_star(a) == is_star(b));
        let mut joined: Vec<(usize, Parameter)> = families.filter_map(join).collect();
        joined.sort_unstable_by_key(|(first, _)| *first);
        joined.truncate(PARAMETERS);
        Parameters(joined.into_iter().map(|(_, parameter)| parameter).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A parameter's value as octets, percent-encoding undone. `name` is in capitals.
    pub(super) fn octets(&self, name: &str) -> Option<Vec<u8>> {
        let parameter = self.0.iter().find(|p| p.name == name)?;
        if !parameter.is_extended {
            return Some(parameter.value.clone());
        }
        let text = parameter.value.splitn(3, |b| *b == b'\'').nth(2).unwrap_or(&parameter.value);
        Some(percent_decoded(text))
    }

    /// The charset named, in small letters, if it looks like one.
    pub(super) fn charset(&self) -> Option<String> {
        let octets = self.octets("CHARSET")?;
        let name = octets.trim_ascii();
        let is_name = !name.is_empty() && name.len() <= 64 && name.iter().all(u8::is_ascii_graphic);
        is_name.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
    }

    /// Writes `("NAME" "value" ...)` or NIL. With `is_text` a charset is always among them.
    // RFC 2045 §5.2: the default charset, said aloud as in the examples of RFC 3501 §7.4.2.
    pub(super) fn write(&self, out: &mut Vec<u8>, is_text: bool, letters: Letters, declared: Option<&str>) {
        let lacks_charset = is_text && !self.0.iter().any(|p| p.name == "CHARSET");
        if self.0.is_empty() && !lacks_charset {
            out.extend_from_slice(b"NIL");
            return;
        }
        out.push(b'(');
        let begin = out.len();
        for parameter in &self.0 {
            let has_extended_twin = || self.0.iter().any(|p| p.is_extended && p.name == parameter.name);
            let is_bare = !parameter.is_extended && !parameter.value.is_ascii();
            if is_bare && letters == Letters::SevenBit && has_extended_twin() {
                continue;
            }
            if out.len() > begin {
                out.push(b' ');
            }
            parameter.write(out, is_bare, letters, declared);
        }
        if lacks_charset {
            let gap: &[u8] = if out.len() > begin { b" " } else { b"" };
            out.extend_from_slice(gap);
            out.extend_from_slice(b"\"CHARSET\" \"US-ASCII\"");
        }
        out.push(b')');
    }
}

impl Parameter {
    fn write(&self, out: &mut Vec<u8>, is_bare: bool, letters: Letters, declared: Option<&str>) {
        if self.is_extended || is_bare && letters == Letters::SevenBit {
            write_ready(out, format!("{}*", self.name).as_bytes());
        } else {
            write_ready(out, self.name.as_bytes());
        }
        out.push(b' ');
        if !is_bare {
            return write_ready(out, &self.value);
        }
        let text = guess(&self.value, declared);
        match letters {
            Letters::SevenBit => {
                let mut value = b"utf-8''".to_vec();
                percent_encode(&mut value, text.as_bytes(), false);
                write_ready(out, &value);
            }
            Letters::Utf8 => write_ready(out, text.as_bytes()),
        }
    }
}

/// Puts the pieces of one parameter together; says too where the first of them stood.
// RFC 2231 §6: IMAP servers decode continuations when they make BODYSTRUCTURE; §4.1: only the first piece
// names the charset, and pieces with and without percent-encoding may be mixed.
fn join(pieces: &mut [(usize, Piece)]) -> Option<(usize, Parameter)> {
    let place = pieces.iter().map(|(at, _)| *at).min()?;
    let is_extended = pieces.iter().any(|(_, piece)| piece.is_extended);
    let (_, first) = pieces.first_mut()?;
    let name = std::mem::take(&mut first.name);
    if !is_extended {
        let mut value = std::mem::take(&mut first.value);
        pieces[1..].iter().for_each(|(_, piece)| value.extend_from_slice(&piece.value));
        return Some((place, Parameter { name, value, is_extended }));
    }
    let mut value = Vec::new();
    if !first.is_extended || first.value.iter().filter(|b| **b == b'\'').count() < 2 {
        // Nobody said the charset: two quotes with nothing between, as §4 allows.
        value.extend_from_slice(b"''");
    }
    pieces.iter().for_each(|(_, piece)| percent_encode(&mut value, &piece.value, piece.is_extended));
    Some((place, Parameter { name, value, is_extended }))
}

/// Percent-encodes; with `was_encoded` only what can never stand in an extended value.
fn percent_encode(out: &mut Vec<u8>, octets: &[u8], was_encoded: bool) {
    for &octet in octets {
        // RFC 2231 §7: attribute-char.
        let is_safe = octet.is_ascii_graphic() && !br#"()<>@,;:\"/[]?=*'%"#.contains(&octet);
        if is_safe || was_encoded && octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\\') {
            out.push(octet);
        } else {
            out.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
}

/// The text of an extended value as it is written here; `None` when it has not the form of one.
// RFC 2231 §4: charset'language'text.
pub(super) fn decoded_value(value: &[u8]) -> Option<String> {
    let mut pieces = value.splitn(3, |octet| *octet == b'\'');
    let (charset, _language, text) = (pieces.next()?, pieces.next()?, pieces.next()?);
    Some(decode_charset(charset, &percent_decoded(text)))
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = tail;
        match (octet, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                rest = after;
            }
            _ => out.push(octet),
        }
    }
    out
}

/// Reads a structured field from left to right. No step goes back, so reading is linear.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes over blanks and comments; comments nest, so their depth is counted.
    // RFC 5322 §3.2.2: CFWS. A backslash at the very end quotes nothing.
    pub(super) fn skip_blanks(&mut self) {
        let mut depth = 0usize;
        while let Some(octet) = self.peek() {
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                _ if depth > 0 || octet.is_ascii_whitespace() => {}
                _ => break,
            }
            self.at += 1;
        }
        self.at = self.at.min(self.text.len());
    }

    /// A token in capitals (RFC 2045 §5.1).
    pub(super) fn word(&mut self) -> Option<String> {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let is_token = |b: &u8| b.is_ascii_graphic() && !br#"()<>@,;:\"/[]?="#.contains(b);
        let length = rest.iter().position(|b| !is_token(b)).unwrap_or(rest.len());
        self.at += length;
        let word = (1..=WORD_OCTETS).contains(&length).then(|| std::str::from_utf8(&rest[..length]).ok());
        word.flatten().map(str::to_ascii_uppercase)
    }

    /// The next `; name=value`. Whatever has no name is passed over.
    fn parameter(&mut self) -> Option<Piece> {
        loop {
            self.skip_blanks();
            let octet = self.peek()?;
            if octet == b';' {
                self.at += 1;
                continue;
            }
            let Some(mut name) = self.word() else {
                // Something that is no name: on to the next semicolon, at least one octet further.
                self.at += 1;
                self.skip_to_semicolon();
                continue;
            };
            self.skip_blanks();
            if self.peek() != Some(b'=') {
                continue;
            }
            self.at += 1;
            self.skip_blanks();
            let value = if self.peek() == Some(b'"') { self.quoted() } else { self.unquoted() };
            // RFC 2231 §3 and §4: name*, name*0, name*0*.
            let (plain, is_extended) = name.strip_suffix('*').map_or((&*name, false), |plain| (plain, true));
            let numbered = plain.rsplit_once('*').and_then(|(plain, number)| Some((plain, number.parse().ok()?)));
            let (length, section) =
                numbered.map_or((plain.len(), None), |(plain, section)| (plain.len(), Some(section)));
            name.truncate(length);
            if !name.is_empty() {
                return Some(Piece { name, section, is_extended, value });
            }
        }
    }

    fn skip_to_semicolon(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or(b"");
        self.at = memchr::memchr(b';', rest).map_or(self.text.len(), |found| self.at + found);
    }

    /// A quoted string without its quotes; one that never ends takes all the rest.
    fn quoted(&mut self) -> Vec<u8> {
        self.at += 1;
        let mut value = Vec::new();
        while let Some(rest) = self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            value.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            match (rest.get(plain), rest.get(plain + 1)) {
                (Some(b'\\'), Some(quoted)) => {
                    value.push(*quoted);
                    self.at += 1;
                }
                (Some(b'\\'), None) => value.push(b'\\'),
                _ => break,
            }
        }
        self.at = self.at.min(self.text.len());
        value
    }

    /// A bare value: all up to the semicolon, for people write `name=my file.pdf`; comments are left out.
    fn unquoted(&mut self) -> Vec<u8> {
        let mut value: Vec<u8> = Vec::new();
        while let Some(rest) = self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let plain = memchr::memchr2(b';', b'(', rest).unwrap_or(rest.len());
            value.extend_from_slice(&rest[..plain]);
            self.at += plain;
            if rest.get(plain) != Some(&b'(') {
                break;
            }
            if value.last().is_none_or(u8::is_ascii_whitespace) {
                self.skip_blanks();
            } else {
                value.push(b'(');
                self.at += 1;
            }
        }
        value.truncate(value.trim_ascii_end().len());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::media::ContentType;

    fn written(value: &str) -> String {
        let content_type = ContentType::parse(value.as_bytes()).expect("a type");
        let mut out = Vec::new();
        content_type.parameters.write(&mut out, false, Letters::SevenBit, None);
        format!("{}/{} {}", content_type.kind, content_type.subtype, String::from_utf8(out).expect("ASCII"))
    }

    #[test]
    fn types_and_parameters() {
        let table = [
            ("text/plain", "TEXT/PLAIN NIL"),
            (" Text / Plain ; charset = utf-8 ", r#"TEXT/PLAIN ("CHARSET" "utf-8")"#),
            ("text/plain; charset=us-ascii (Plain text)", r#"TEXT/PLAIN ("CHARSET" "us-ascii")"#),
            ("text/plain (a (nested) \\) comment); a=b", r#"TEXT/PLAIN ("A" "b")"#),
            ("image/png; name=\"a \\\"b\\\".png\"", r#"IMAGE/PNG ("NAME" "a \"b\".png")"#),
            ("application/pdf; name=my file.pdf; x=1", r#"APPLICATION/PDF ("NAME" "my file.pdf" "X" "1")"#),
            ("text/plain charset=utf-8", r#"TEXT/PLAIN ("CHARSET" "utf-8")"#),
            ("text/plain;;; ;format=flowed;", r#"TEXT/PLAIN ("FORMAT" "flowed")"#),
            ("text/plain; name=", r#"TEXT/PLAIN ("NAME" "")"#),
            ("text/plain; a=1; A=2", r#"TEXT/PLAIN ("A" "1")"#),
            ("text/plain; x; =y; \"z\"; a=\"never ends", r#"TEXT/PLAIN ("A" "never ends")"#),
        ];
        for (value, wire) in table {
            assert_eq!(written(value), wire, "{value}");
        }
    }

    #[test]
    fn parameters_of_rfc_2231() {
        let table = [
            (
                "message/external-body; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub\"",
                r#"MESSAGE/EXTERNAL-BODY ("URL" "ftp://cs.utk.edu/pub")"#,
            ),
            (
                "application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A",
                r#"APPLICATION/X-STUFF ("TITLE*" "us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A")"#,
            ),
            (
                "a/b; title*2=\"isn't it!\"; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%20",
                r#"A/B ("TITLE*" "us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun%20isn%27t%20it!")"#,
            ),
            ("a/b; n=old; n*=utf-8''new", r#"A/B ("N" "old" "N*" "utf-8''new")"#),
            ("a/b; n*=nocharset", r#"A/B ("N*" "''nocharset")"#),
            ("a/b; n*0=a; n*0=b; n*9=c", r#"A/B ("N" "ac")"#),
            ("a/b; n=caf\u{e9}", r#"A/B ("N*" "utf-8''caf%C3%A9")"#),
            ("a/b; n=caf\u{e9}; n*=utf-8''x", r#"A/B ("N*" "utf-8''x")"#),
        ];
        for (value, wire) in table {
            assert_eq!(written(value), wire, "{value}");
        }
    }

    #[test]
    fn values_for_our_own_use_are_decoded() {
        let content_type = ContentType::parse(b"a/b; boundary*0*=us-ascii''a%20; boundary*1=b").expect("a type");
        assert_eq!(content_type.parameters.octets("BOUNDARY").as_deref(), Some(&b"a b"[..]));
        let content_type = ContentType::parse(b"a/b; charset=\" UTF-8 \"").expect("a type");
        assert_eq!(content_type.parameters.charset().as_deref(), Some("utf-8"));
    }

    #[test]
    fn floods_cost_one_pass_and_little_room() {
        let begun = std::time::Instant::now();
        let flood = format!("a/b{}", "; x*1=y".repeat(200_000));
        assert_eq!(written(&flood), "A/B (\"X\" \"y\")");
        let many: String = (0..200_000).map(|n| format!("; p{n}=v")).collect();
        let content_type = ContentType::parse(format!("a/b{many}").as_bytes()).expect("a type");
        assert_eq!(content_type.parameters.0.len(), PARAMETERS);
        assert_eq!(ContentType::parse("(".repeat(200_000).as_bytes()), None);
        assert!(ContentType::parse(format!("a/b;{}", "\"".repeat(200_000)).as_bytes()).is_some());
        assert!(ContentType::parse(format!("a/b; x={}", " (".repeat(200_000)).as_bytes()).is_some());
        assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    }
}

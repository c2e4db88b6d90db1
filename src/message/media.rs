//! What a part says about itself: Content-Type, Content-Disposition and their parameters (RFC 2045 §5.1,
//! RFC 2183, RFC 2231), read from fields that may hold anything.

use super::header::fields;
use super::strings::{Letters, write_ready};
use super::transfer::{Encoding, hex};
use super::words::{guess, unfold};

/// Parameters kept of one field; the pieces of a continued one count as one.
const PARAMETERS: usize = 100;
/// Pieces looked at in one field, continuations included.
const PIECES: usize = 1000;
/// Language tags kept of one Content-Language field.
const LANGUAGES: usize = 100;
/// Longest type, subtype or disposition word believed, in octets.
const WORD_OCTETS: usize = 127;

/// A media type with its parameters. Words are in capitals, as RFC 3501 prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentType {
    pub(super) kind: String,
    pub(super) subtype: String,
    pub(super) parameters: Parameters,
}

impl ContentType {
    pub(super) fn new(kind: &str, subtype: &str) -> Self {
        ContentType { kind: kind.into(), subtype: subtype.into(), parameters: Parameters::default() }
    }

    /// Reads a field's value. `None` when there is no `type/subtype` in it: the part is then taken as if the
    /// field were absent (RFC 2045 §5.2).
    pub(super) fn parse(value: &[u8]) -> Option<ContentType> {
        let line = unfold(value);
        let mut cursor = Cursor { text: &line, at: 0 };
        let kind = cursor.word()?;
        cursor.skip_blanks();
        if cursor.peek() != Some(b'/') {
            return None;
        }
        cursor.at += 1;
        let subtype = cursor.word()?;
        Some(ContentType { kind, subtype, parameters: Parameters::parse(&mut cursor) })
    }

    pub(super) fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }
}

/// A disposition with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) kind: String,
    pub(super) parameters: Parameters,
}

impl Disposition {
    /// Reads a field's value. One with parameters and no word is an attachment (RFC 2183 §2.8: so is every
    /// disposition that is not understood); one with nothing at all is no disposition.
    pub(super) fn parse(value: &[u8]) -> Option<Disposition> {
        let line = unfold(value);
        let mut cursor = Cursor { text: &line, at: 0 };
        let kind = cursor.word();
        let parameters = Parameters::parse(&mut cursor);
        if kind.is_none() && parameters.0.is_empty() {
            return None;
        }
        Some(Disposition { kind: kind.unwrap_or_else(|| "ATTACHMENT".into()), parameters })
    }
}

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
    fn parse(cursor: &mut Cursor<'_>) -> Parameters {
        let mut pieces: Vec<(usize, Piece)> = (0..PIECES).map_while(|at| Some((at, cursor.parameter()?))).collect();
        // `filename` and `filename*` may stand side by side, one for old readers, one for new ones. Sorting brings
        // the pieces of one parameter together, in order; of two pieces with one number the first counts.
        let is_star = |piece: &Piece| piece.section.is_some() || piece.is_extended;
        let section = |piece: &Piece| piece.section.unwrap_or(0);
        pieces.sort_unstable_by(|(at, a), (bt, b)| {
            a.name.cmp(&b.name).then(is_star(a).cmp(&is_star(b))).then(section(a).cmp(&section(b))).then(at.cmp(bt))
        });
        pieces.dedup_by(|(_, b), (_, a)| a.name == b.name && is_star(a) == is_star(b) && section(a) == section(b));
        let families = pieces.chunk_by(|(_, a), (_, b)| a.name == b.name && is_star(a) == is_star(b));
        let mut joined: Vec<(usize, Parameter)> = families.filter_map(join).collect();
        joined.sort_unstable_by_key(|(first, _)| *first);
        joined.truncate(PARAMETERS);
        Parameters(joined.into_iter().map(|(_, parameter)| parameter).collect())
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
fn join(pieces: &[(usize, Piece)]) -> Option<(usize, Parameter)> {
    let is_extended = pieces.iter().any(|(_, piece)| piece.is_extended);
    let (_, first) = pieces.first()?;
    let mut value = Vec::new();
    if is_extended && (!first.is_extended || first.value.iter().filter(|b| **b == b'\'').count() < 2) {
        // Nobody said the charset: two quotes with nothing between, as §4 allows.
        value.extend_from_slice(b"''");
    }
    for (_, piece) in pieces {
        match (is_extended, piece.is_extended) {
            (false, _) => value.extend_from_slice(&piece.value),
            (true, was_encoded) => percent_encode(&mut value, &piece.value, was_encoded),
        }
    }
    let place = pieces.iter().map(|(at, _)| *at).min()?;
    Some((place, Parameter { name: first.name.clone(), value, is_extended }))
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
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Passes over blanks and comments; comments nest, so their depth is counted.
    // RFC 5322 §3.2.2: CFWS. A backslash at the very end quotes nothing.
    fn skip_blanks(&mut self) {
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
    fn word(&mut self) -> Option<String> {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let is_token = |b: &u8| b.is_ascii_graphic() && !br#"()<>@,;:\"/[]?="#.contains(b);
        let length = rest.iter().position(|b| !is_token(b)).unwrap_or(rest.len());
        self.at += length;
        (1..=WORD_OCTETS)
            .contains(&length)
            .then(|| rest[..length].iter().map(|b| char::from(b.to_ascii_uppercase())).collect())
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
            let Some(name) = self.word() else {
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
            let (name, is_extended) = match name.strip_suffix('*') {
                Some(name) => (name, true),
                None => (&*name, false),
            };
            let numbered = name.rsplit_once('*').and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?)));
            let (name, section) = match numbered {
                Some((name, section)) => (name, Some(section)),
                None => (name, None),
            };
            if !name.is_empty() {
                return Some(Piece { name: name.to_owned(), section, is_extended, value });
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
        while let Some(octet) = self.peek() {
            self.at += 1;
            match octet {
                b'"' => break,
                b'\\' if self.at < self.text.len() => {
                    value.push(self.text[self.at]);
                    self.at += 1;
                }
                _ => value.push(octet),
            }
        }
        value
    }

    /// A bare value: all up to the semicolon, for people write `name=my file.pdf`; comments are left out.
    fn unquoted(&mut self) -> Vec<u8> {
        let mut value: Vec<u8> = Vec::new();
        while let Some(octet) = self.peek() {
            match octet {
                b';' => break,
                b'(' if value.last().is_none_or(u8::is_ascii_whitespace) => self.skip_blanks(),
                _ => {
                    value.push(octet);
                    self.at += 1;
                }
            }
        }
        value.truncate(value.trim_ascii_end().len());
        value
    }
}

/// The Content-* fields of one part's header, each where it stands first.
#[derive(Debug, Default)]
pub(super) struct MimeHeader {
    pub(super) content_type: Option<ContentType>,
    pub(super) encoding_word: Vec<u8>,
    pub(super) disposition: Option<Disposition>,
    pub(super) id: Option<Vec<u8>>,
    pub(super) description: Option<Vec<u8>>,
    pub(super) md5: Option<Vec<u8>>,
    pub(super) location: Option<Vec<u8>>,
    pub(super) languages: Vec<Vec<u8>>,
}

impl MimeHeader {
    pub(super) fn parse(block: &[u8]) -> MimeHeader {
        let mut header = MimeHeader::default();
        let mut seen = [false; 8];
        for field in fields(block) {
            const NAMES: [&str; 8] =
                ["type", "transfer-encoding", "disposition", "id", "description", "md5", "location", "language"];
            let Some((prefix, name)) = field.name.split_at_checked(8) else { continue };
            if !prefix.eq_ignore_ascii_case(b"content-") {
                continue;
            }
            let Some(which) = NAMES.iter().position(|n| name.eq_ignore_ascii_case(n.as_bytes())) else { continue };
            if std::mem::replace(&mut seen[which], true) {
                continue;
            }
            match which {
                0 => header.content_type = ContentType::parse(field.value),
                1 => {
                    let line = unfold(field.value);
                    header.encoding_word = Cursor { text: &line, at: 0 }.word().unwrap_or_default().into_bytes();
                }
                2 => header.disposition = Disposition::parse(field.value),
                3 => header.id = Some(unfold(field.value)),
                4 => header.description = Some(unfold(field.value)),
                5 => header.md5 = Some(unfold(field.value)),
                // RFC 2557 §4.4.2: blanks inside come from folding and are no part of the URI.
                6 => {
                    let mut location = unfold(field.value);
                    location.retain(|b| !b.is_ascii_whitespace());
                    header.location = Some(location);
                }
                _ => header.languages = languages(&unfold(field.value)),
            }
        }
        header
    }

    pub(super) fn encoding(&self) -> Encoding {
        Encoding::from_word(&self.encoding_word)
    }
}

// RFC 3282 §2: tags with commas between, comments allowed.
fn languages(line: &[u8]) -> Vec<Vec<u8>> {
    let mut cursor = Cursor { text: line, at: 0 };
    let mut tags = Vec::new();
    while tags.len() < LANGUAGES && cursor.at < line.len() {
        cursor.skip_blanks();
        let rest = &line[cursor.at..];
        let length = rest.iter().position(|b| matches!(b, b',' | b'(') || b.is_ascii_whitespace());
        let tag = &rest[..length.unwrap_or(rest.len())];
        if !tag.is_empty() && tag.iter().all(u8::is_ascii_graphic) {
            tags.push(tag.to_vec());
        }
        cursor.at += tag.len().max(1);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_no_type_is_none() {
        for bad in ["", "text", "/plain", "text/", "text plain", "\"text\"/plain", "(text/plain", ";"] {
            assert_eq!(ContentType::parse(bad.as_bytes()), None, "{bad}");
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
    fn dispositions() {
        let disposition = |value: &[u8]| Disposition::parse(value).map(|d| d.kind);
        assert_eq!(disposition(b" inline"), Some("INLINE".into()));
        assert_eq!(disposition(b"; filename=x"), Some("ATTACHMENT".into()));
        assert_eq!(disposition(b"  "), None);
    }

    #[test]
    fn the_first_of_two_fields_counts() {
        let header = MimeHeader::parse(
            b"content-type: a/b\r\nContent-Type: c/d\r\nContent-Language: en, de (x)\r\n ,fr\r\n\
              Content-Location: http://a/\r\n b\r\nContent-Transfer-Encoding: BASE64; x\r\n\r\n",
        );
        assert!(header.content_type.as_ref().is_some_and(|t| t.is("A", "B")));
        assert_eq!(header.languages, [b"en".to_vec(), b"de".to_vec(), b"fr".to_vec()]);
        assert_eq!(header.location.as_deref(), Some(&b"http://a/b"[..]));
        assert_eq!(header.encoding(), Encoding::Base64);
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

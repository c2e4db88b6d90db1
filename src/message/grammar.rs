//! For tests: a strict reader of ENVELOPE, BODYSTRUCTURE and BODY in the grammar of RFC 3501 §9.
//! It takes nothing that a picky client would not take, and tells what it read, to be compared with the table.

use super::parts::{MediaKind, PartTable};
use super::{Description, Retelling, body_without_extensions};

/// A part as BODYSTRUCTURE tells it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) path: Vec<u32>,
    kind: String,
    octets: Option<u64>,
    lines: Option<u64>,
}

/// Checks all that must hold for the description of any message; the text says what does not.
pub(super) fn check(message: &[u8], description: &Description) -> Result<(), String> {
    let size = message.len() as u64;
    if description.size != size {
        return Err(format!("size {} instead of {size}", description.size));
    }
    let mut reader = Reader { text: &description.envelope, at: 0 };
    reader.envelope().and_then(|()| reader.end()).map_err(|fault| format!("ENVELOPE: {fault}"))?;
    let told = structure(&description.bodystructure, true).map_err(|fault| format!("BODYSTRUCTURE: {fault}"))?;
    let body = body_without_extensions(&description.bodystructure).ok_or("no BODY")?;
    let plain = structure(&body, false).map_err(|fault| format!("BODY: {fault}"))?;
    if plain != told {
        return Err("BODY tells other parts than BODYSTRUCTURE".into());
    }
    if body_without_extensions(&body).as_ref() != Some(&body) {
        return Err("BODY of BODY is not BODY".into());
    }
    let table = PartTable::decode(&description.parts).map_err(|fault| fault.to_string())?;
    if table.message_octets() != size {
        return Err("the table's message has another size".into());
    }
    if description.preview.as_ref().is_some_and(|preview| preview.is_empty() || preview.chars().count() > 200) {
        return Err("a preview that is too long, or empty".into());
    }
    compare(&told, &table)
}

fn compare(told: &[Told], table: &PartTable) -> Result<(), String> {
    let retelling = Retelling::of(table);
    for part in told {
        let Some(found) = table.find(&part.path) else { return Err(format!("no part {:?}", part.path)) };
        let is_same_kind = match found.kind {
            MediaKind::Multipart => part.kind == "MULTIPART",
            MediaKind::Message => part.kind == "MESSAGE/RFC822",
            MediaKind::Text | MediaKind::Html => part.kind == "TEXT",
            MediaKind::Other => part.kind == "BASIC",
        };
        let stored = found.body.end - found.body.start;
        let octets = retelling.as_ref().map_or(stored, |retelling| {
            let told = retelling.told(found.body.clone());
            told.end - told.start
        });
        if !is_same_kind
            || part.octets.is_some_and(|told| told != octets)
            || part.lines.is_some_and(|told| told != found.lines && octets == stored)
        {
            return Err(format!("{part:?} is {found:?} in the table"));
        }
    }
    for (path, part) in table.iter() {
        let outer = path.split_last().and_then(|(_, outer)| table.find(outer));
        let room = outer.map_or(table.top().header.start..table.top().body.end, |outer| outer.body.clone());
        if part.header.start < room.start || part.header.end != part.body.start || part.body.end > room.end {
            return Err(format!("{path:?} does not lie in the part around it"));
        }
    }
    let numbered: Vec<Vec<u32>> = table.iter().map(|(path, _)| path).collect();
    let told: Vec<Vec<u32>> = told.iter().map(|part| part.path.clone()).collect();
    if numbered != told { Err(format!("the table numbers {numbered:?}, told are {told:?}")) } else { Ok(()) }
}

fn structure(wire: &[u8], is_extended: bool) -> Result<Vec<Told>, String> {
    let mut reader = Reader { text: wire, at: 0 };
    let mut told = Vec::new();
    reader.message_body(&mut Vec::new(), is_extended, &mut told)?;
    reader.end()?;
    Ok(told)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

type Checked<T> = Result<T, String>;

impl<'a> Reader<'a> {
    fn fault<T>(&self, expected: &str) -> Checked<T> {
        let end = self.text.len().min(self.at + 40);
        let start = self.at.min(end);
        Err(format!("expected {expected} at {}: {}", self.at, self.text[start..end].escape_ascii()))
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn end(&self) -> Checked<()> {
        if self.at == self.text.len() { Ok(()) } else { self.fault("the end") }
    }

    fn token(&mut self, token: &str) -> Checked<()> {
        if self.text[self.at..].starts_with(token.as_bytes()) {
            self.at += token.len();
            Ok(())
        } else {
            self.fault(token)
        }
    }

    fn space(&mut self) -> Checked<()> {
        self.token(" ")
    }

    fn number(&mut self) -> Checked<u64> {
        let digits = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = String::from_utf8_lossy(&self.text[self.at..self.at + digits]).into_owned();
        self.at += digits;
        match text.parse() {
            Ok(number) if number <= u64::from(u32::MAX) => Ok(number),
            _ => self.fault("a number"),
        }
    }

    fn string(&mut self) -> Checked<Vec<u8>> {
        match self.peek() {
            b'"' => {
                let mut content = Vec::new();
                self.at += 1;
                loop {
                    match self.peek() {
                        b'"' => break,
                        b'\\' => {
                            self.at += 1;
                            if !matches!(self.peek(), b'"' | b'\\') {
                                return self.fault("a quoted special");
                            }
                            content.push(self.peek());
                        }
                        b' '..=b'~' => content.push(self.peek()),
                        _ => return self.fault("printable ASCII"),
                    }
                    self.at += 1;
                }
                self.at += 1;
                Ok(content)
            }
            b'{' => {
                self.at += 1;
                let length = self.number()? as usize;
                self.token("}\r\n")?;
                let Some(content) = self.text.get(self.at..self.at + length) else { return self.fault("a literal") };
                if content.iter().any(|b| *b == 0 || *b > 127) {
                    return self.fault("7-bit text in a literal");
                }
                self.at += length;
                Ok(content.to_vec())
            }
            _ => self.fault("a string"),
        }
    }

    fn nstring(&mut self) -> Checked<Option<Vec<u8>>> {
        if self.peek() == b'N' { self.token("NIL").map(|()| None) } else { self.string().map(Some) }
    }

    fn envelope(&mut self) -> Checked<()> {
        self.token("(")?;
        self.nstring()?;
        self.space()?;
        self.nstring()?;
        let mut lists = Vec::new();
        for _ in 0..6 {
            self.space()?;
            lists.push(self.addresses()?);
        }
        // Sender and reply-to may only be missing where from is.
        if lists[0] > 0 && (lists[1] == 0 || lists[2] == 0) {
            return self.fault("a sender and reply-to");
        }
        self.space()?;
        self.nstring()?;
        self.space()?;
        self.nstring()?;
        self.token(")")
    }

    fn addresses(&mut self) -> Checked<usize> {
        if self.peek() == b'N' {
            return self.token("NIL").map(|()| 0);
        }
        self.token("(")?;
        let mut count = 0;
        let mut is_in_group = false;
        while self.peek() != b')' {
            self.token("(")?;
            let name = self.nstring()?;
            self.space()?;
            let route = self.nstring()?;
            self.space()?;
            let mailbox = self.nstring()?;
            self.space()?;
            let host = self.nstring()?;
            self.token(")")?;
            let is_mark = name.is_none() && route.is_none();
            match (mailbox, host) {
                (Some(mailbox), Some(host)) if !mailbox.is_empty() && !host.is_empty() => {}
                (Some(_), None) if is_mark && !is_in_group => is_in_group = true,
                (None, None) if is_mark && is_in_group => is_in_group = false,
                _ => return self.fault("an address, or a group in its place"),
            }
            count += 1;
        }
        self.token(")")?;
        if count == 0 || is_in_group { self.fault("a list with its groups closed") } else { Ok(count) }
    }

    /// The outermost body of a message: it has no number of its own if it is a multipart, else 1.
    fn message_body(&mut self, path: &mut Vec<u32>, is_extended: bool, told: &mut Vec<Told>) -> Checked<()> {
        if self.text[self.at..].starts_with(b"((") {
            return self.body(path, is_extended, told, false);
        }
        path.push(1);
        self.body(path, is_extended, told, true)?;
        path.pop();
        Ok(())
    }

    fn body(&mut self, path: &mut Vec<u32>, is_extended: bool, told: &mut Vec<Told>, is_numbered: bool) -> Checked<()> {
        self.token("(")?;
        if self.peek() == b'(' {
            if is_numbered {
                told.push(Told { path: path.clone(), kind: "MULTIPART".into(), octets: None, lines: None });
            }
            let mut number = 0;
            while self.peek() == b'(' {
                number += 1;
                path.push(number);
                self.body(path, is_extended, told, true)?;
                path.pop();
            }
            self.space()?;
            self.word()?;
            if is_extended {
                self.space()?;
                self.parameters()?;
                self.extensions()?;
            }
            return self.token(")");
        }
        let kind = self.word()?;
        self.space()?;
        let subtype = self.word()?;
        self.space()?;
        self.parameters()?;
        self.space()?;
        self.nstring()?;
        self.space()?;
        self.nstring()?;
        self.space()?;
        self.word()?;
        self.space()?;
        let octets = self.number()?;
        let place = told.len();
        let is_message = kind == "MESSAGE" && matches!(subtype.as_str(), "RFC822" | "GLOBAL");
        let name = match (is_message, kind.as_str()) {
            (true, _) => "MESSAGE/RFC822",
            (_, "TEXT") => "TEXT",
            (_, "MULTIPART") => return self.fault("another type"),
            _ => "BASIC",
        };
        told.push(Told { path: path.clone(), kind: name.into(), octets: Some(octets), lines: None });
        if is_message {
            self.space()?;
            self.envelope()?;
            self.space()?;
            self.message_body(path, is_extended, told)?;
        }
        if is_message || kind == "TEXT" {
            self.space()?;
            told[place].lines = Some(self.number()?);
        }
        if is_extended {
            self.space()?;
            self.nstring()?;
            self.extensions()?;
        }
        self.token(")")
    }

    /// Disposition, language, location: always all of them.
    fn extensions(&mut self) -> Checked<()> {
        self.space()?;
        if self.peek() == b'(' {
            self.token("(")?;
            self.word()?;
            self.space()?;
            self.parameters()?;
            self.token(")")?;
        } else {
            self.token("NIL")?;
        }
        self.space()?;
        if self.peek() == b'(' {
            self.token("(")?;
            self.string()?;
            while self.peek() == b' ' {
                self.space()?;
                self.string()?;
            }
            self.token(")")?;
        } else {
            self.token("NIL")?;
        }
        self.space()?;
        self.nstring()?;
        Ok(())
    }

    fn parameters(&mut self) -> Checked<()> {
        if self.peek() == b'N' {
            return self.token("NIL");
        }
        self.token("(")?;
        loop {
            self.word()?;
            self.space()?;
            self.string()?;
            if self.peek() == b')' {
                return self.token(")");
            }
            self.space()?;
        }
    }

    /// A string that must not be empty: a type, an encoding, a parameter's name.
    fn word(&mut self) -> Checked<String> {
        let word = self.string()?;
        if word.is_empty() { self.fault("a word") } else { Ok(String::from_utf8_lossy(&word).into_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checker_can_fail() {
        let good = r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 0 NIL NIL NIL NIL)"#;
        assert!(structure(good.as_bytes(), true).is_ok());
        assert!(structure(good.as_bytes(), false).is_err());
        for bad in [
            r#"("TEXT" "PLAIN" NIL NIL NIL NIL 1 0 NIL NIL NIL NIL)"#,
            r#"("TEXT" "PLAIN" NIL NIL NIL "7BIT" -1 0 NIL NIL NIL NIL)"#,
            r#"("" "PLAIN" NIL NIL NIL "7BIT" 1 0 NIL NIL NIL NIL)"#,
            r#"("TEXT" "PLAIN" () NIL NIL "7BIT" 1 0 NIL NIL NIL NIL)"#,
            r#"(NIL "ALTERNATIVE" NIL NIL NIL NIL)"#,
            "(\"TEXT\" \"PL\u{e9}\" NIL NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL)",
        ] {
            assert!(structure(bad.as_bytes(), true).is_err(), "{bad}");
        }
        for bad in ["(NIL NIL NIL)", "(NIL NIL () NIL NIL NIL NIL NIL NIL NIL)"] {
            assert!(Reader { text: bad.as_bytes(), at: 0 }.envelope().is_err(), "{bad}");
        }
    }
}

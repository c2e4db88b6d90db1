//! Address lists of header fields, in the grammar of RFC 5322 §3.4 and whatever else arrives.
//! One pass without recursion; a list that is cut off, wrong or endless still gives well-formed addresses.

use super::words::{EncodedWord, unfold};

/// Addresses and group marks taken from one field; the rest is not looked at.
pub(super) const ADDRESSES: usize = 2000;

/// Stands for a domain that is not there. ENVELOPE cannot say NIL or nothing: that begins a group, for many clients
/// in both spellings. RFC 2606 §2: nobody will ever have this name.
pub(super) const MISSING_DOMAIN: &str = "missing-domain.invalid";
/// Stands for a local part that is not there.
pub(super) const MISSING_LOCAL: &str = "missing-mailbox";

/// One entry of an address list. Octets are as in the header: encoded words are not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Mailbox(Mailbox),
    GroupStart(Vec<u8>),
    GroupEnd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// The display name without its quotes, or the comment that older programs write instead.
    pub(super) name: Option<Vec<u8>>,
    /// The source route of obsolete addresses, `@a,@b`.
    pub(super) route: Option<Vec<u8>>,
    pub(super) local: Vec<u8>,
    pub(super) domain: Vec<u8>,
}

/// The addresses of all the fields given, at most [`ADDRESSES`] entries and a closing mark.
pub(super) fn addresses<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for value in values {
        if entries.len() < ADDRESSES {
            let line = unfold(value);
            let mut reader = Reader { text: &line, entries, ..Reader::default() };
            reader.read();
            entries = reader.entries;
        }
    }
    entries
}

/// What stands between angle brackets.
#[derive(Debug, Default)]
struct Angle {
    route: Option<Vec<u8>>,
    text: Vec<u8>,
    at_sign: Option<usize>,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    entries: Vec<Entry>,
    is_in_group: bool,
    /// Blanks or a comment stand before the next octet.
    has_gap: bool,
    /// What came so far of this address, read as the words of a name, and read as an address without brackets.
    phrase: Vec<u8>,
    bare: Vec<u8>,
    bare_at_sign: Option<usize>,
    comment: Option<Vec<u8>>,
    angle: Option<Angle>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while self.entries.len() < ADDRESSES
            && let Some(&octet) = self.text.get(self.at)
        {
            self.at += 1;
            match octet {
                b' ' | b'\t' => self.has_gap = true,
                b'(' => self.take_comment(),
                b'"' => self.take_quoted(),
                _ if self.angle.as_ref().is_some_and(|angle| !angle.is_closed) => self.take_in_angle(octet),
                b',' => self.end_address(),
                b';' => {
                    self.end_address();
                    self.end_group();
                }
                // After a closed bracket only a separator can follow; the rest is noise.
                _ if self.angle.is_some() => {}
                b'<' => self.angle = Some(Angle::default()),
                b'>' => {}
                b':' => self.begin_group(),
                b'[' if self.bare_at_sign.is_some() => self.take_domain_literal(),
                b'@' => {
                    self.push_name(b"@");
                    self.bare_at_sign = Some(self.bare.len());
                    self.bare.push(b'@');
                }
                b'=' => {
                    // Encoded words often hold commas and brackets they should not.
                    let start = self.at - 1;
                    let word = EncodedWord::at(self.text, start).map(|word| &self.text[start..word.end]);
                    let word = word.filter(|word| !word.contains(&b' ')).unwrap_or(b"=");
                    self.at = start + word.len();
                    self.push_word(word);
                }
                _ => self.push_word(&[octet]),
            }
        }
        self.end_address();
        self.end_group();
    }

    fn push_word(&mut self, octets: &[u8]) {
        let joins = |b: Option<&u8>| matches!(b, Some(b'.' | b'@'));
        if self.has_gap && !self.bare.is_empty() && !joins(self.bare.last()) && !joins(octets.first()) {
            self.bare.push(b' ');
        }
        self.bare.extend_from_slice(octets);
        self.push_name(octets);
    }

    fn push_name(&mut self, octets: &[u8]) {
        if std::mem::take(&mut self.has_gap) && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
        self.phrase.extend_from_slice(octets);
    }

    /// Reads a comment after its `(`. One that never ends takes the rest, and a backslash may be the last octet.
    fn take_comment(&mut self) {
        let mut depth = 1;
        let mut comment = Vec::new();
        while let Some(&octet) = self.text.get(self.at) {
            self.at += 1;
            match octet {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            match (octet, self.text.get(self.at)) {
                (b'\\', Some(&quoted)) => {
                    comment.push(quoted);
                    self.at += 1;
                }
                _ => comment.push(octet),
            }
        }
        self.has_gap = true;
        let comment = comment.trim_ascii();
        if !comment.is_empty() {
            self.comment = Some(comment.to_vec());
        }
    }

    fn take_quoted(&mut self) {
        let mut content = Vec::new();
        while let Some(&octet) = self.text.get(self.at) {
            self.at += 1;
            match (octet, self.text.get(self.at)) {
                (b'"', _) => break,
                (b'\\', Some(&quoted)) => {
                    content.push(quoted);
                    self.at += 1;
                }
                _ => content.push(octet),
            }
        }
        match &mut self.angle {
            Some(angle) if !angle.is_closed => angle.text.extend_from_slice(&content),
            Some(_) => {}
            None => self.push_word(&content),
        }
    }

    fn take_in_angle(&mut self, octet: u8) {
        let Some(angle) = &mut self.angle else { return };
        match octet {
            b'>' => angle.is_closed = true,
            b'<' => {}
            // RFC 5322 §4.4: obs-route, "@a,@b:" before the address.
            b':' if angle.route.is_none() && angle.text.first() == Some(&b'@') => {
                angle.route = Some(std::mem::take(&mut angle.text));
                angle.at_sign = None;
            }
            b',' if angle.text.first() != Some(&b'@') => self.end_address(),
            _ => {
                if octet == b'@' {
                    angle.at_sign = Some(angle.text.len());
                }
                angle.text.push(octet);
            }
        }
    }

    /// Reads `[...]` after its bracket: an IPv6 literal has colons that begin no group.
    fn take_domain_literal(&mut self) {
        self.push_word(b"[");
        while let Some(&octet) = self.text.get(self.at) {
            if matches!(octet, b',' | b'<') {
                break;
            }
            self.at += 1;
            self.push_word(&[octet]);
            if octet == b']' {
                break;
            }
        }
    }

    fn begin_group(&mut self) {
        self.end_group();
        let name = std::mem::take(&mut self.phrase);
        self.clear_address();
        self.entries.push(Entry::GroupStart(name));
        self.is_in_group = true;
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.is_in_group) {
            self.entries.push(Entry::GroupEnd);
        }
    }

    fn end_address(&mut self) {
        let name = Some(std::mem::take(&mut self.phrase)).filter(|name| !name.is_empty());
        let comment = self.comment.take();
        let found = match self.angle.take() {
            Some(angle) => {
                let name = name.or(comment);
                let is_nothing = angle.text.is_empty() && name.is_none();
                (!is_nothing).then(|| Mailbox::new(name, angle.route, &angle.text, angle.at_sign))
            }
            None if self.bare.is_empty() => None,
            None => Some(Mailbox::new(comment, None, &self.bare, self.bare_at_sign)),
        };
        self.entries.extend(found.map(Entry::Mailbox));
        self.clear_address();
    }

    fn clear_address(&mut self) {
        self.phrase.clear();
        self.bare.clear();
        self.bare_at_sign = None;
        self.comment = None;
        self.angle = None;
        self.has_gap = false;
    }
}

impl Mailbox {
    fn new(name: Option<Vec<u8>>, route: Option<Vec<u8>>, text: &[u8], at_sign: Option<usize>) -> Mailbox {
        let (local, domain) = match at_sign {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &b""[..]),
        };
        let (local, domain) = (local.trim_ascii(), domain.trim_ascii());
        let or_missing = |part: &[u8], missing: &str| if part.is_empty() { missing.into() } else { part.to_vec() };
        let (local, domain) = (or_missing(local, MISSING_LOCAL), or_missing(domain, MISSING_DOMAIN));
        Mailbox { name, route, local, domain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries in one line: `name|local@domain`, `{group`, `}`.
    fn read(value: &str) -> String {
        let show = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let entries = addresses([value.as_bytes()]);
        let words: Vec<String> = entries
            .iter()
            .map(|entry| match entry {
                Entry::GroupStart(name) => format!("{{{}", show(name)),
                Entry::GroupEnd => "}".into(),
                Entry::Mailbox(mailbox) => {
                    let route = mailbox.route.as_deref().map_or(String::new(), |route| format!("{}:", show(route)));
                    let name = mailbox.name.as_deref().map_or(String::new(), |name| format!("{}|", show(name)));
                    format!("{name}{route}{}@{}", show(&mailbox.local), show(&mailbox.domain))
                }
            })
            .collect();
        words.join(" / ")
    }

    #[test]
    fn addresses_of_rfc_5322_appendix_a() {
        let table = [
            ("John Doe <jdoe@machine.example>", "John Doe|jdoe@machine.example"),
            ("\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public|john.q.public@example.com"),
            ("<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <s@x.test>", "boss@nil.test / Giant; \"Big\" Box|s@x.test"),
            (
                "A Group:Ed <ed@a.test>,joe@b.test,John <j@c.test>;",
                "{A Group / Ed|ed@a.test / joe@b.test / John|j@c.test / }",
            ),
            ("Undisclosed recipients:;", "{Undisclosed recipients / }"),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete@silly.test"),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test . example",
                "Mary Smith|@node.test:mary@example.net / jdoe@test.example",
            ),
            ("<@a,@b:c@d>", "@a,@b:c@d"),
            ("john . q @ example . com", "john.q@example.com"),
        ];
        for (value, wire) in table {
            assert_eq!(read(value), wire, "{value}");
        }
    }

    #[test]
    fn what_really_arrives() {
        let table = [
            ("root", "root@missing-domain.invalid"),
            ("<>", ""),
            ("Mail System <>", "Mail System|missing-mailbox@missing-domain.invalid"),
            ("@example.com", "missing-mailbox@example.com"),
            ("kim@x.test (Kim)", "Kim|kim@x.test"),
            ("kim@x.test <kim@y.test>", "kim@x.test|kim@y.test"),
            ("Kim <<kim@y.test>>", "Kim|kim@y.test"),
            ("Kim <kim@y.test", "Kim|kim@y.test"),
            ("Kim <kim@y.test, lee@z.test", "Kim|kim@y.test / lee@z.test"),
            ("a@b; c@d", "a@b / c@d"),
            ("a@b,, ,;c@d", "a@b / c@d"),
            ("=?utf-8?Q?Doe,_J?= <j@x.test>", "=?utf-8?Q?Doe,_J?=|j@x.test"),
            ("=?utf-8?Q?a?= =?utf-8?Q?b?= <j@x.test>", "=?utf-8?Q?a?= =?utf-8?Q?b?=|j@x.test"),
            ("\"\" <a@b>", "a@b"),
            ("\"john doe\"@x.test", "john doe@x.test"),
            ("<\"a@b\"@x.test>", "a@b@x.test"),
            ("k@[IPv6:::1], l@[1.2", "k@[IPv6:::1] / l@[1.2"),
            ("One: Two: a@b", "{One / } / {Two / a@b / }"),
            ("\"never ends <a@b>", "never ends <a@b>@missing-domain.invalid"),
            ("a@b (comment\\", "comment\\|a@b"),
            ("(only a comment)", ""),
            ("", ""),
        ];
        for (value, wire) in table {
            assert_eq!(read(value), wire, "{value}");
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        assert_eq!(addresses([&b"a@b"[..], b"c@d"]).len(), 2);
    }

    #[test]
    fn floods_are_cut_and_cost_one_pass() {
        let begun = std::time::Instant::now();
        for flood in ["a@b,", "x:;", "x:", "(", "((\\", "<", "\"", "a@[", "=?a?q?x", "<a", "@", ";", "a<b@c>d "] {
            let entries = addresses([flood.repeat(200_000).as_bytes()]);
            assert!(entries.len() <= ADDRESSES + 3, "{flood}: {}", entries.len());
            let opened = entries.iter().filter(|e| matches!(e, Entry::GroupStart(_))).count();
            let closed = entries.iter().filter(|e| matches!(e, Entry::GroupEnd)).count();
            assert_eq!(opened, closed, "{flood}");
        }
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }
}

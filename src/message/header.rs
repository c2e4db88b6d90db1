//! A header block as its fields, and the choice of fields that HEADER.FIELDS asks for.
//! Any octets can be read as a block: a line that is no field is kept as a field without a name.

use memchr::memchr;

/// One field of a header block, with its folded lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without blanks around it; empty for a line that has no colon.
    pub name: &'a [u8],
    /// What follows the colon, as stored: folded, with the blank in front and without the last line end.
    pub value: &'a [u8],
    /// All octets of the field, with the last line end if it has one.
    pub whole: &'a [u8],
}

impl Field<'_> {
    /// Compares the name in the way of RFC 5322 §1.2.2: letters in either case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a block in order, up to the blank line or the end.
pub fn fields(block: &[u8]) -> Fields<'_> {
    Fields { rest: block }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || blank_line(self.rest).is_some() {
            return None;
        }
        let mut end = line_end(self.rest, 0);
        // RFC 5322 §2.2.3: a line that begins with a blank goes on with the field.
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(self.rest, end);
        }
        let (whole, rest) = self.rest.split_at(end);
        self.rest = rest;
        let text = whole.strip_suffix(b"\n").unwrap_or(whole);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // A name has no line end in it: a colon on a folded line is not the one that counts.
        let first_line = line_end(whole, 0);
        Some(match memchr(b':', &text[..first_line.min(text.len())]) {
            Some(colon) => Field { name: text[..colon].trim_ascii(), value: &text[colon + 1..], whole },
            None => Field { name: b"", value: text, whole },
        })
    }
}

fn line_end(text: &[u8], from: usize) -> usize {
    memchr(b'\n', &text[from..]).map_or(text.len(), |at| from + at + 1)
}

/// The blank line at the start of `text`, if there is one.
fn blank_line(text: &[u8]) -> Option<&[u8]> {
    [&b"\r\n"[..], b"\n"].into_iter().find(|end| text.starts_with(end))
}

/// A choice of fields by name, made ready once for all the headers it is asked of.
#[derive(Debug, Clone)]
pub struct FieldChoice {
    /// In small letters and sorted, so that a client with thousands of names costs no more than its line was long.
    names: Vec<Vec<u8>>,
    not: bool,
}

impl FieldChoice {
    /// The fields whose name is among `names`, or with `not` all others.
    pub fn new<N: AsRef<[u8]>>(names: &[N], not: bool) -> FieldChoice {
        let mut names: Vec<Vec<u8>> = names.iter().map(|name| name.as_ref().to_ascii_lowercase()).collect();
        names.sort_unstable();
        FieldChoice { names, not }
    }

    fn takes(&self, field: &Field<'_>) -> bool {
        let lower = |b: &u8| b.to_ascii_lowercase();
        let by_name = |name: &Vec<u8>| name.iter().copied().cmp(field.name.iter().map(lower));
        let is_named = !field.name.is_empty() && self.names.binary_search_by(by_name).is_ok();
        is_named != self.not
    }

    /// Appends the chosen fields of `block` as stored and in order, and the blank line.
    // RFC 3501 §6.4.5: HEADER.FIELDS and HEADER.FIELDS.NOT; the blank line is always included, except where the
    // message has none.
    pub fn filter_onto(&self, block: &[u8], out: &mut Vec<u8>) {
        let mut all = fields(block);
        for field in all.by_ref() {
            if self.takes(&field) {
                out.extend_from_slice(field.whole);
            }
        }
        out.extend_from_slice(blank_line(all.rest).unwrap_or(b""));
    }
}

/// The same for one header.
pub fn filter_header<N: AsRef<[u8]>>(block: &[u8], names: &[N], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    FieldChoice::new(names, not).filter_onto(block, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] = b"From: a\r\nX-Long : one\r\n\ttwo: three\r\nno field\r\nsubject:\nfrom: b\r\n\r\n";

    #[test]
    fn fields_with_their_folds() {
        let all: Vec<Field<'_>> = fields(BLOCK).collect();
        let names: Vec<&[u8]> = all.iter().map(|field| field.name).collect();
        assert_eq!(names, [&b"From"[..], b"X-Long", b"", b"subject", b"from"]);
        assert_eq!(all[1].value, b" one\r\n\ttwo: three");
        assert_eq!(all[2].value, b"no field");
        assert_eq!(all[3].value, b"");
        let whole: Vec<u8> = all.iter().flat_map(|field| field.whole.to_vec()).collect();
        assert_eq!([&whole[..], b"\r\n"].concat(), BLOCK);
    }

    #[test]
    fn filters_keep_octets_order_and_the_blank_line() {
        assert_eq!(filter_header(BLOCK, &["FROM"], false), b"From: a\r\nfrom: b\r\n\r\n");
        assert_eq!(filter_header(BLOCK, &["x-long", "nobody"], false), b"X-Long : one\r\n\ttwo: three\r\n\r\n");
        assert_eq!(filter_header(BLOCK, &["from", "x-long"], true), b"no field\r\nsubject:\n\r\n");
        assert_eq!(filter_header(BLOCK, &["nobody"], false), b"\r\n");
        assert_eq!(filter_header(b"A: b\nB: c\n\n", &["b"], false), b"B: c\n\n");
    }

    #[test]
    fn a_block_without_a_blank_line_gets_none() {
        assert_eq!(filter_header(b"A: b\r\nB: c", &["b"], false), b"B: c");
        assert_eq!(filter_header::<&str>(b"", &[], true), b"");
        assert_eq!(filter_header(b"\r\nA: body", &["a"], false), b"\r\n");
    }

    #[test]
    fn an_empty_name_matches_nothing() {
        assert_eq!(filter_header(b"no field\r\n: odd\r\n\r\n", &[""], false), b"\r\n");
    }

    #[test]
    fn many_names_and_many_fields_stay_cheap() {
        let begun = std::time::Instant::now();
        let block = "abc: d\r\n".repeat(100_000);
        let names: Vec<String> = (0..30_000).map(|n| format!("n{n}")).collect();
        assert_eq!(filter_header(block.as_bytes(), &names, true).len(), block.len());
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }
}

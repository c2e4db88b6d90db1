//! Text out of HTML, for previews and for search: what a reader would see, and never markup.
//! One pass and no tree: hostile HTML costs no more than its length.

/// What is inside these is not for reading.
const HIDDEN: [&str; 4] = ["title", "script", "style", "template"];
/// These run on within a line; all others end a word.
const INLINE: [&str; 22] = [
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "em", "font", "i", "kbd", "mark", "s", "small",
    "span", "strong", "sub", "sup", "u", "wbr",
];
/// Longest tag name and character reference looked at, in octets.
const NAME_OCTETS: usize = 32;

/// The text of an HTML document, of at most `limit` characters; runs of blanks are one space.
pub fn html_to_text(html: &str, limit: usize) -> String {
    let mut text = Line::new(limit);
    let mut rest = html;
    while let Some(character) = rest.chars().next().filter(|_| !text.is_full()) {
        rest = match character {
            '<' => match Tag::at(rest) {
                Some(tag) => {
                    if !tag.is_comment && !INLINE.contains(&tag.name.as_str()) {
                        text.end_word();
                    }
                    let is_hidden = !tag.is_closing && HIDDEN.contains(&tag.name.as_str());
                    if is_hidden { after_hidden(tag.after, &tag.name) } else { tag.after }
                }
                None => {
                    text.push('<');
                    &rest[1..]
                }
            },
            '&' => match reference(rest) {
                Some((decoded, after)) => {
                    text.push(decoded);
                    after
                }
                None => {
                    text.push('&');
                    &rest[1..]
                }
            },
            _ => {
                text.push(character);
                &rest[character.len_utf8()..]
            }
        };
    }
    text.out
}

/// Text on one line with single spaces, cut at a number of characters.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) out: String,
    room: usize,
    has_gap: bool,
}

impl Line {
    pub(super) fn new(limit: usize) -> Line {
        Line { out: String::new(), room: limit, has_gap: false }
    }

    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }

    pub(super) fn end_word(&mut self) {
        self.has_gap = !self.out.is_empty();
    }

    pub(super) fn push(&mut self, character: char) {
        if character.is_whitespace() || character.is_control() {
            return self.end_word();
        }
        let needed = 1 + usize::from(self.has_gap);
        // Newsletters fill their first lines with invisible letters, to hide what follows from previews.
        if is_invisible(character) {
            return;
        }
        if self.room < needed {
            self.room = 0;
            return;
        }
        if std::mem::take(&mut self.has_gap) {
            self.out.push(' ');
        }
        self.out.push(character);
        self.room -= needed;
    }
}

fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A tag, comment or declaration.
struct Tag<'a> {
    /// In small letters; empty for a declaration.
    name: String,
    is_closing: bool,
    is_comment: bool,
    after: &'a str,
}

impl<'a> Tag<'a> {
    /// The tag that begins here; `None` when this `<` is just a character. What never ends takes the rest.
    fn at(text: &'a str) -> Option<Tag<'a>> {
        let inner = &text[1..];
        if let Some(comment) = inner.strip_prefix("!--") {
            // "<!-->" is a whole comment too.
            let after = comment.strip_prefix('>').or(comment.split_once("-->").map(|(_, after)| after)).unwrap_or("");
            return Some(Tag { name: String::new(), is_closing: false, is_comment: true, after });
        }
        let first = inner.bytes().next()?;
        if !(first.is_ascii_alphabetic() || matches!(first, b'/' | b'!' | b'?')) {
            return None;
        }
        let is_closing = first == b'/';
        let name = inner.strip_prefix('/').unwrap_or(inner);
        let length = name.bytes().take(NAME_OCTETS).take_while(u8::is_ascii_alphanumeric).count();
        let name = name[..length].to_ascii_lowercase();
        Some(Tag { name, is_closing, is_comment: false, after: after_tag(inner) })
    }
}

/// What follows the `>` of a tag. One between quotes does not end it, unless the quote never closes; a quote can
/// only do that once in a document, so looking twice costs no square.
fn after_tag(inner: &str) -> &str {
    let mut quote = None;
    let mut previous = b' ';
    for (at, octet) in inner.bytes().enumerate() {
        match (quote, octet) {
            (None, b'>') => return &inner[at + 1..],
            // Only after "=" does a quote open a value; an apostrophe elsewhere is a typing error.
            (None, b'"' | b'\'') if previous == b'=' => quote = Some(octet),
            (Some(open), octet) if open == octet => quote = None,
            _ => {}
        }
        if !octet.is_ascii_whitespace() {
            previous = octet;
        }
    }
    inner.split_once('>').map_or("", |(_, after)| after)
}

/// What follows the closing tag of an element that is not for reading.
fn after_hidden<'a>(text: &'a str, name: &str) -> &'a str {
    let closes = |at: usize| {
        let rest = text[at + 1..].strip_prefix('/')?;
        let (head, _) = rest.as_bytes().split_at_checked(name.len())?;
        head.eq_ignore_ascii_case(name.as_bytes()).then(|| after_tag(&text[at + 1..]))
    };
    memchr::memchr_iter(b'<', text.as_bytes()).find_map(closes).unwrap_or("")
}

/// The names of U+00A0 to U+00FF in order (HTML 4.01 §24.2.1).
const LATIN: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 \
    sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml \
    Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml \
    times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave \
    eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute \
    ucirc uuml yacute thorn yuml";
const OTHERS: [(&str, char); 22] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("sbquo", '‚'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("bull", '•'),
    ("hellip", '…'),
    ("euro", '€'),
    ("trade", '™'),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
];

/// The character that a reference stands for, and what follows it.
fn reference(text: &str) -> Option<(char, &str)> {
    let inner = &text[1..];
    let length = inner.bytes().take(NAME_OCTETS).take_while(|b| b.is_ascii_alphanumeric() || *b == b'#').count();
    let (name, after) = inner.split_at(length);
    let after = after.strip_prefix(';').unwrap_or(after);
    let character = if let Some(number) = name.strip_prefix('#') {
        let hexadecimal = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
        let code = hexadecimal.unwrap_or_else(|| number.parse()).ok()?;
        match code {
            // Numbers of windows-1252, where Unicode has controls.
            0x80..=0x9f => encoding_rs::WINDOWS_1252.decode(&[code as u8]).0.chars().next()?,
            _ => char::from_u32(code)?,
        }
    } else {
        let other = OTHERS.iter().find(|(known, _)| *known == name).map(|(_, character)| *character);
        let latin = || LATIN.split_ascii_whitespace().position(|known| known == name);
        other.or_else(|| char::from_u32(0xa0 + latin()? as u32))?
    };
    Some((character, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_sees() {
        let table = [
            ("<p>Hello <b>w</b>orld</p><p>again", "Hello world again"),
            ("<html><head><title>no</title><STYLE>p > a {}</Style></head><body>yes", "yes"),
            ("a<script>if (a < b) document.write('<p>')</script>b", "a b"),
            ("a<!-- no <p> -->b<!-->c<!-- never ends", "abc"),
            ("<a href=\"x>y\" title='>'>link</a>", "link"),
            ("<a href=\"x>link</a> on", "link on"),
            ("1 < 2 &amp; 3 &lt; 4 &eacute;&nbsp;&#233;&#xE9;&#150;&unknown; &", "1 < 2 & 3 < 4 é éé–&unknown; &"),
            ("one<br/>two<td>three</td>", "one two three"),
            ("\u{200b}&zwnj;&#847; &shy;preheader", "preheader"),
            ("<!DOCTYPE html><?xml version='1'?>x", "x"),
            ("&amp;lt;b&gt;", "&lt;b>"),
            ("x <", "x <"),
            ("x <b", "x"),
            ("&#0;&#x110000;&#99999999999;", "&#x110000;&#99999999999;"),
        ];
        for (html, text) in table {
            assert_eq!(html_to_text(html, 200), text, "{html}");
        }
    }

    #[test]
    fn cut_at_whole_characters() {
        assert_eq!(html_to_text("éé éé", 3), "éé");
        assert_eq!(html_to_text("éé éé", 4), "éé é");
        assert_eq!(html_to_text("éé", 0), "");
    }

    #[test]
    fn floods_cost_one_pass() {
        let begun = std::time::Instant::now();
        for flood in
            ["<", "<a", "<!--", "<a b=\"", "<a b=\">", "<a b='><a b=\">", "<style>", "</", "&", "&#", "&amp", "<p>"]
        {
            html_to_text(&flood.repeat(100_000), usize::MAX);
        }
        assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
    }
}

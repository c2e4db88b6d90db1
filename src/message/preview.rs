//! The preview of a message (RFC 8970): up to 200 characters of its first text, as plain text.
//! It is made while the message passes by, from a bounded beginning of at most a few parts.

use super::html::{Line, html_to_text};
use super::parts::MediaKind;
use super::transfer::{Encoding, decode_tolerantly};
use super::tree::Node;
use super::words::decode_charset;

// RFC 8970 §3.3: should be at most 200 characters, must be at most 256.
pub const PREVIEW_CHARACTERS: usize = 200;
/// Octets of a part that are kept to make a preview of, still encoded. Newsletters begin with much style.
const SAMPLE_OCTETS: usize = 96 << 10;
/// What is looked at first.
const FIRST_OCTETS: usize = 4 << 10;
/// Texts that are tried until one has something to show.
const TRIES: usize = 8;

/// Looks for the preview among the parts of a message as they come.
#[derive(Debug, Default)]
pub(super) struct PreviewFinder {
    found: Option<String>,
    /// The leaf that is being sampled, by its node.
    node: Option<usize>,
    sample: Vec<u8>,
    tries: usize,
}

impl PreviewFinder {
    /// A leaf begins.
    pub(super) fn begin(&mut self, index: usize, node: &Node) {
        let is_wanted = node.part.kind.is_text() && !node.is_attachment;
        if is_wanted && self.found.is_none() && self.tries < TRIES {
            self.tries += 1;
            self.node = Some(index);
            self.sample.clear();
        }
    }

    /// Octets of a body go by.
    pub(super) fn feed(&mut self, octets: &[u8]) {
        if self.node.is_some() {
            let room = SAMPLE_OCTETS - self.sample.len();
            self.sample.extend_from_slice(&octets[..octets.len().min(room)]);
        }
    }

    /// Parts have ended; only now is it known where.
    pub(super) fn end(&mut self, nodes: &[Node]) {
        let Some(node) = self.node.take().and_then(|index| nodes.get(index)) else { return };
        let octets = usize::try_from(node.part.body.end - node.part.body.start).unwrap_or(usize::MAX);
        self.sample.truncate(octets);
        let charset = node.part.charset.as_deref().unwrap_or("");
        self.found = preview(node.part.kind, node.part.encoding, charset, &self.sample);
        self.sample = Vec::new();
    }

    pub(super) fn finish(self) -> Option<String> {
        self.found
    }
}

/// A preview of the beginning of a text; `None` if it has nothing to show.
fn preview(kind: MediaKind, encoding: Encoding, charset: &str, sample: &[u8]) -> Option<String> {
    if kind != MediaKind::Html
        && let Some(first) = sample.get(..FIRST_OCTETS)
    {
        // Most texts say enough at once; decoding the rest of them was a tenth of what an APPEND costs.
        let own = plain_preview(&decoded(encoding, charset, first, true), Quotes::Never);
        if own.chars().count() >= PREVIEW_CHARACTERS {
            return Some(own);
        }
    }
    let text = decoded(encoding, charset, sample, sample.len() == SAMPLE_OCTETS);
    let shown = match kind {
        MediaKind::Html => html_to_text(&text, PREVIEW_CHARACTERS),
        _ => plain_preview(&text, Quotes::IfNothingElse),
    };
    (!shown.is_empty()).then_some(shown)
}

fn decoded(encoding: Encoding, charset: &str, sample: &[u8], is_cut: bool) -> String {
    let mut octets = decode_tolerantly(encoding, sample);
    // A sample that was cut may end within a character of UTF-8, and would then pass for another charset.
    if is_cut
        && let Err(flaw) = std::str::from_utf8(&octets)
        && flaw.error_len().is_none()
    {
        octets.truncate(flaw.valid_up_to());
    }
    decode_charset(charset.as_bytes(), &octets)
}

/// Whether lines that a text quotes are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Never,
    IfNothingElse,
}

/// The first own words of a plain text.
fn plain_preview(text: &str, quotes: Quotes) -> String {
    let line_of = |with_quotes: bool| {
        let mut line = Line::new(PREVIEW_CHARACTERS);
        for part in text.lines() {
            // RFC 3676 §4.3: after "-- " comes the signature.
            if line.is_full() || part == "-- " {
                break;
            }
            if with_quotes || !part.starts_with('>') {
                part.trim_start_matches(['>', ' ']).chars().for_each(|character| line.push(character));
                line.end_word();
            }
        }
        line.out
    };
    let own = line_of(false);
    if own.is_empty() && quotes == Quotes::IfNothingElse { line_of(true) } else { own }
}

#[cfg(test)]
mod tests {
    use crate::message::describe;

    fn preview(message: &str) -> Option<String> {
        describe(message.as_bytes()).preview
    }

    #[test]
    fn previews() {
        let table = [
            ("\r\none\r\n  two\tthree\r\n", Some("one two three")),
            ("\r\n> quoted\r\nanswer\r\n-- \r\nme\r\n", Some("answer")),
            ("\r\n> only\r\n> quotes\r\n", Some("only quotes")),
            ("\r\n \r\n", None),
            ("", None),
            ("Content-Type: text/html\r\n\r\n<p>Hi &amp; <b>bye</b>", Some("Hi & bye")),
            ("Content-Type: image/png\r\n\r\nabc", None),
            ("Content-Disposition: attachment\r\n\r\nabc", None),
            (
                "Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nY2Fmw6k=",
                Some("café"),
            ),
            (
                "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf=E9=\r\n!",
                Some("café!"),
            ),
            // An empty plain text before the HTML is common.
            (
                "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x\r\n--b--",
                Some("x"),
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\r\ntext\r\n--b--\r\nepilogue",
                Some("text"),
            ),
        ];
        for (message, text) in table {
            assert_eq!(preview(message).as_deref(), text, "{message}");
        }
    }

    #[test]
    fn at_most_two_hundred_characters() {
        let shown = preview(&format!("\r\n{}", "wörter ".repeat(1000))).expect("a preview");
        assert_eq!(shown.chars().count(), 200);
        for start in ["", "x"] {
            let long = preview(&format!("\r\n{start}{}", "é".repeat(300_000))).expect("a preview");
            assert_eq!(long, format!("{start}{}", "é".repeat(200 - start.len())));
        }
    }

    #[test]
    fn an_answer_below_a_long_quotation_is_found() {
        let quotation = "> and so on and so on\r\n".repeat(1000);
        assert_eq!(preview(&format!("\r\n{quotation}yes\r\n")).as_deref(), Some("yes"));
    }
}

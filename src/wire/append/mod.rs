//! APPEND and REPLACE, read in pieces by an [`AppendParser`]: the messages themselves stream past it.
//!
//! A *piece* is what the framer shows: the line from its beginning, or from behind the last streamed literal, up to
//! the next literal that is announced, or to the line's end; literals that were held lie in it. The parser says what
//! the piece held and what to do with the announced literal. It reads each octet once, however many are held.

mod messages;

use nom::Parser;
use nom::bytes::complete::tag_no_case;

use self::messages::Messages;
use super::command::in_utf8;
use super::dialect::Dialect;
use super::garbled::{Garbled, Parsed, Wrong, expected};
use super::lexical::{astring, set_bound, space, tag};
use super::mailbox::spelt;
use crate::types::{Append, AppendItem, AppendTarget, Body, Replaced};

/// What a literal that was just announced is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiteralUse {
    /// It belongs to an APPEND or REPLACE: an [`AppendParser`] says what to do with it.
    Append,
    /// A part of a command that is parsed as a whole: hold it.
    Hold,
}

/// Tells the two apart by what stands in front. A faulty APPEND counts as one: the parser then says what is wrong.
pub fn literal_use(head: &[u8]) -> LiteralUse {
    match tag(head).and_then(|(i, _)| command_and_mailbox(i)) {
        // The space shows that the mailbox is complete and not itself the literal.
        Ok((rest, ())) if rest.first() == Some(&b' ') => LiteralUse::Append,
        _ => LiteralUse::Hold,
    }
}

fn command_and_mailbox(i: &[u8]) -> Parsed<'_, ()> {
    let (i, _) = command_word(i)?;
    let (i, _) = astring(i)?;
    Ok((i, ()))
}

/// SP "APPEND" SP / SP ["UID" SP] "REPLACE" SP seq-number SP
fn command_word(i: &[u8]) -> Parsed<'_, Option<Replaced>> {
    let (i, ()) = space(i)?;
    if let Ok((i, _)) = tag_no_case::<_, _, Wrong>("APPEND ").parse(i) {
        return Ok((i, None));
    }
    let (i, uid) = match tag_no_case::<_, _, Wrong>("UID ").parse(i) {
        Ok((i, _)) => (i, true),
        Err(_) => (i, false),
    };
    let (i, _) = expected("APPEND or REPLACE", tag_no_case("REPLACE ")).parse(i)?;
    let (i, number) = set_bound(i)?;
    let (i, ()) = space(i)?;
    Ok((i, Some(Replaced { number, uid })))
}

/// What a piece ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The announcement of a literal, which is not part of the piece.
    Literal,
    /// The end of the command.
    Line,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Stream the announced literal; it is what the last item, [`AppendItem::Octets`], says. Then read the piece
    /// behind it.
    Stream,
    /// Hold the announced literal; then read the same piece again, as far as it has come.
    Hold,
    /// The command is whole.
    End,
}

/// What a piece held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendPiece {
    /// Only in the first piece that is not [`Next::Hold`].
    pub target: Option<AppendTarget>,
    /// In order. Empty with [`Next::Hold`]: they come with a later piece.
    pub items: Vec<AppendItem>,
    pub next: Next,
}

/// Reads one APPEND or REPLACE from its tag to its end. After an error it is of no more use.
#[derive(Debug)]
pub struct AppendParser {
    dialect: Dialect,
    tag: Option<String>,
    /// How much of the piece has been read, when it is to be read again.
    read: usize,
    target: Option<AppendTarget>,
    items: Vec<AppendItem>,
    messages: Messages,
}

impl AppendParser {
    pub fn new(dialect: Dialect) -> AppendParser {
        AppendParser { dialect, tag: None, read: 0, target: None, items: Vec::new(), messages: Messages::new(false) }
    }

    /// The command's tag, once the first piece was read.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Reads the next piece, or again one that was held on to and has grown.
    ///
    /// # Errors
    /// [`Garbled`] when the piece is not in order; its place counts from the piece's beginning.
    pub fn read(&mut self, piece: &[u8], ending: Ending) -> Result<AppendPiece, Garbled> {
        self.go_on(piece, ending).map_err(|error| Garbled::new(self.tag.as_deref(), piece, error))
    }

    fn go_on(&mut self, piece: &[u8], ending: Ending) -> Result<AppendPiece, nom::Err<Wrong>> {
        let mut i = piece.get(self.read..).unwrap_or_default();
        let begin = i;
        if self.tag.is_none() {
            let (rest, tag) = tag(i)?;
            self.tag = Some(tag.to_owned());
            let (rest, replaced) = command_word(rest)?;
            let (rest, (mailbox, spelt)) = spelt(rest, self.dialect)?;
            self.messages = Messages::new(replaced.is_some());
            self.target = Some(AppendTarget { mailbox, spelt, replaced });
            i = rest;
        }
        let (rest, next) = self.messages.read(i, ending, &mut self.items)?;
        in_utf8(&begin[..begin.len() - rest.len()], self.dialect)
            .map_err(|error| error.map(|wrong| Wrong { left: wrong.left + rest.len(), ..wrong }))?;
        if next == Next::Hold {
            self.read = piece.len() - rest.len();
            return Ok(AppendPiece { target: None, items: Vec::new(), next });
        }
        self.read = 0;
        Ok(AppendPiece { target: self.target.take(), items: std::mem::take(&mut self.items), next })
    }
}

/// append = "APPEND" SP mailbox 1*append-message (RFC 4466 §3), as a line without streamed literals
pub(super) fn append(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    line(i, None, dialect)
}

/// replace = "REPLACE" SP seq-number SP mailbox append-message (RFC 8508 §5), as such a line
pub(super) fn replace(i: &[u8], dialect: Dialect, uid: bool) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, number) = set_bound(i)?;
    let (i, ()) = space(i)?;
    line(i, Some(Replaced { number, uid }), dialect)
}

fn line(i: &[u8], replaced: Option<Replaced>, dialect: Dialect) -> Parsed<'_, Body> {
    let (i, (mailbox, spelt)) = spelt(i, dialect)?;
    let mut messages = Messages::new(replaced.is_some());
    let mut items = Vec::new();
    let (i, _) = messages.read(i, Ending::Line, &mut items)?;
    Ok((i, Body::Append(Append { target: AppendTarget { mailbox, spelt, replaced }, items })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{AppendMessage, BadMailboxName, SetBound};
    use crate::wire::parse;

    /// Reads the first piece of a command, up to a literal.
    fn head(line: &str) -> Result<AppendPiece, String> {
        AppendParser::new(Dialect::default()).read(line.as_bytes(), Ending::Literal).map_err(|e| e.to_string())
    }

    fn message(line: &str) -> AppendMessage {
        match head(line).expect(line).items.swap_remove(0) {
            AppendItem::Message(message) => message,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// Reads pieces of one command and gives all items and the last thing to do.
    fn pieces(pieces: &[(&str, Ending)]) -> Result<(Vec<AppendItem>, Vec<Next>), String> {
        let mut parser = AppendParser::new(Dialect::default());
        let (mut items, mut steps) = (Vec::new(), Vec::new());
        for (piece, ending) in pieces {
            let piece = parser.read(piece.as_bytes(), *ending).map_err(|e| e.to_string())?;
            items.extend(piece.items);
            steps.push(piece.next);
        }
        Ok((items, steps))
    }

    use AppendItem::{MessageEnd, Octets, Url};
    use Ending::{Line, Literal};

    fn plain() -> AppendItem {
        AppendItem::Message(AppendMessage::default())
    }

    fn catenated() -> AppendItem {
        AppendItem::Message(AppendMessage { is_catenated: true, ..AppendMessage::default() })
    }

    #[test]
    fn heads() {
        let line = "a1 append \"INBOX\" (\\Seen \\Recent $x) \"17-Jul-1996 02:44:25 -0700\" ";
        let mut parser = AppendParser::new(Dialect::default());
        let full = parser.read(line.as_bytes(), Literal).expect("a head");
        assert_eq!((parser.tag(), full.next), (Some("a1"), Next::Stream));
        assert!(full.target.is_some_and(|t| t.replaced.is_none() && t.mailbox.is_ok_and(|name| name.is_inbox())));
        let flags: Vec<_> = message(line).flags.iter().map(|f| f.wire().to_owned()).collect();
        assert_eq!(flags, ["\\Seen", "$x"]);
        assert_eq!(message(line).date.map(|d| d.unix_seconds), Some(837_596_665));
        for line in ["a APPEND x ", "a APPEND x () ", "a APPEND {3}\r\na b "] {
            assert_eq!(head(line).map(|piece| piece.items), Ok(vec![plain(), Octets { utf8: false }]), "{line}");
        }
        let utf8 = head("a APPEND Sent (\\Seen) utf8 (").expect("a head");
        assert_eq!(utf8.items[1], Octets { utf8: true });
        let target = head("a APPEND &Jjo! ").expect("a head").target;
        assert_eq!(target.map(|t| t.mailbox), Some(Err(BadMailboxName::Encoding)));
    }

    #[test]
    fn replace_names_one_message() {
        let replaced = |line| head(line).map(|piece| piece.target.and_then(|target| target.replaced));
        let number = |n, uid| Ok(Some(Replaced { number: n, uid }));
        assert_eq!(replaced("a REPLACE 4 Drafts (\\Draft) "), number(SetBound::Number(4), false));
        assert_eq!(replaced("a uid replace * Drafts CATENATE (TEXT "), number(SetBound::Star, true));
        let second = pieces(&[("a REPLACE 4 x ", Literal), (" ", Literal)]);
        assert_eq!(second, Err("expected the end of the command at octet 1".into()));
        let whole = pieces(&[("a REPLACE 4 x ", Literal), ("", Line)]).expect("whole");
        assert_eq!(whole.1, [Next::Stream, Next::End]);
        let bad = [
            ("a REPLACE x Drafts ", "a message number or \"*\" at octet 11"),
            ("a REPLACE 0 Drafts ", "a number from 1 to 4294967295 without a leading 0 at octet 11"),
            ("a REPLACE $ Drafts ", "a message number or \"*\" at octet 11"),
            ("a REPLACE 1:2 Drafts ", "a space at octet 12"),
            ("a REPLACE 1  Drafts ", "a single space at octet 13"),
            ("a UID APPEND Drafts ", "APPEND or REPLACE at octet 7"),
        ];
        for (line, expected) in bad {
            assert_eq!(replaced(line), Err(format!("expected {expected}")), "{line}");
        }
    }

    #[test]
    fn bad_heads() {
        let bad = [
            ("a APPEND x", "a space at octet 11"),
            ("a APPEND x y ", "a flag list, a date-time, CATENATE or a literal at octet 12"),
            ("a APPEND x (\\Foo) ", "a known system flag at octet 13"),
            ("a APPEND x (\\Seen)", "a space at octet 19"),
            ("a APPEND x (\\Seen) y ", "a date-time, CATENATE or a literal at octet 20"),
            (
                "a APPEND x \"1-Jul-1996 02:44:25 -0700\" ",
                "a date-time like \"17-Jul-1996 02:44:25 -0700\" at octet 12",
            ),
            ("a APPEND x \"17-Jul-1996 02:44:25 -0700\" () ", "CATENATE or a literal at octet 41"),
            ("a APPEND x UTF8 ( ", "a literal at octet 18"),
            ("a APPEND x UTF8 ", "a flag list, a date-time, CATENATE or a literal at octet 12"),
            ("a APPEND x CATENATE ", "a flag list, a date-time, CATENATE or a literal at octet 12"),
            ("a APPEND x CATENATE (", "TEXT, URL or UTF8 at octet 22"),
            ("a APPEND x CATENATE (TEXT", "a space at octet 26"),
            ("a APPEND x CATENATE (TEXT x ", "a literal at octet 27"),
            ("a APPEND x CATENATE (UTF8 ", "\"(\" at octet 27"),
            ("a APPEND x CATENATE (FILE ", "TEXT, URL or UTF8 at octet 22"),
            ("a APPEND x CATENATE (URL x", "a space or \")\" at octet 27"),
            ("a APPEND x CATENATE (URL x )", "TEXT, URL or UTF8 at octet 28"),
            ("a APPEND x CATENATE (URL x) (", "a flag at octet 30"),
            ("a APPEND x CATENATE (URL x)y ", "the end of the command or another message at octet 28"),
            ("a APPEND x  ", "a single space at octet 12"),
            ("a NOOP ", "APPEND or REPLACE at octet 3"),
        ];
        for (line, expected) in bad {
            assert_eq!(head(line), Err(format!("expected {expected}")), "{line}");
        }
        let tag = |line: &str| AppendParser::new(Dialect::default()).read(line.as_bytes(), Literal).map_err(|e| e.tag);
        assert_eq!(tag("a1 APPEND x"), Err(Some("a1".into())));
        let url = format!("a APPEND x CATENATE (URL {} TEXT ", "x".repeat(8193));
        assert!(head(&url).is_err_and(|e| e.contains("at most 8192 octets")));
        let parts = |n: usize| format!("a APPEND x CATENATE ({}", "URL x ".repeat(n) + "TEXT ");
        assert!(head(&parts(999)).is_ok());
        assert!(head(&parts(1000)).is_err_and(|e| e.contains("at most 1000 parts")));
    }

    #[test]
    fn only_messages_leave_the_common_path() {
        let of = |line: &str| literal_use(line.as_bytes());
        assert_eq!(of("a APPEND INBOX "), LiteralUse::Append);
        assert_eq!(of("a append {5}\r\nINBOX (\\Seen) "), LiteralUse::Append);
        assert_eq!(of("a APPEND INBOX rubbish"), LiteralUse::Append);
        assert_eq!(of("a APPEND INBOX CATENATE (URL "), LiteralUse::Append);
        assert_eq!(of("a uid replace 5 INBOX "), LiteralUse::Append);
        assert_eq!(of("a REPLACE * \"x y\" (\\Seen) "), LiteralUse::Append);
        let held = ["a APPEND ", "a APPEND INBOX", "a LOGIN x ", "a APPENDIX INBOX ", "", "\u{1}", "a SEARCH TEXT "];
        for line in held.into_iter().chain(["a REPLACE 5 ", "a REPLACE ", "a UID REPLACE 5 x", "a UID APPEND x "]) {
            assert_eq!(of(line), LiteralUse::Hold, "{line}");
        }
    }

    #[test]
    fn several_messages() {
        let (octets, steps) = (Octets { utf8: false }, |n| vec![Next::Stream; n]);
        let (items, mut next) = pieces(&[("a APPEND x ", Literal), (" ", Literal), ("", Line)]).expect("two");
        assert_eq!(items, [plain(), octets.clone(), MessageEnd, plain(), octets.clone(), MessageEnd]);
        assert_eq!((next.pop(), next), (Some(Next::End), steps(2)));
        let (items, _) = pieces(&[("a APPEND x UTF8 (", Literal), (") UTF8 (", Literal), (")", Line)]).expect("two");
        assert_eq!(items[1..3], [Octets { utf8: true }, MessageEnd]);
        let bad = [
            (vec![("a APPEND x ", Literal), ("", Literal)], "the end of the command or another message at octet 1"),
            (vec![("a APPEND x UTF8 (", Literal), (" ", Literal)], "\")\" at octet 1"),
            (vec![("a APPEND x UTF8 (", Literal), ("", Line)], "\")\" at octet 1"),
            (
                vec![("a APPEND x ", Literal), (" x", Line)],
                "a flag list, a date-time, CATENATE or a literal at octet 2",
            ),
            (vec![("a APPEND x ", Literal), (" ", Line)], "a flag list, a date-time, CATENATE or a literal at octet 2"),
            (vec![("a APPEND x ", Literal), (")", Line)], "the end of the command or another message at octet 1"),
            (vec![("a APPEND x CATENATE (TEXT ", Literal), ("", Line)], "a space or \")\" at octet 1"),
            (vec![("a APPEND x CATENATE (TEXT ", Literal), (" ", Line)], "TEXT, URL or UTF8 at octet 2"),
        ];
        for (given, expected) in bad {
            assert_eq!(pieces(&given), Err(format!("expected {expected}")), "{given:?}");
        }
    }

    #[test]
    fn parts_of_every_kind() {
        let (octets, url) = (Octets { utf8: false }, |text: &str| Url(text.into()));
        // Each URL that is a literal lengthens the same piece.
        let given = [
            ("a APPEND x CATENATE (URL \"/a\" URL ", Literal),
            ("a APPEND x CATENATE (URL \"/a\" URL {2}\r\n/b URL ", Literal),
            ("a APPEND x CATENATE (URL \"/a\" URL {2}\r\n/b URL {2}\r\n/c TEXT ", Literal),
            (" URL /d UTF8 (", Literal),
            (")) (\\Seen) CATENATE (TEXT ", Literal),
            (") ", Literal),
            (" CATENATE (URL ", Literal),
            (" CATENATE (URL {2}\r\n/e)", Line),
        ];
        let (items, steps) = pieces(&given).expect("in order");
        let flags = message("a APPEND x (\\Seen) ").flags;
        let seen = AppendItem::Message(AppendMessage { flags, is_catenated: true, date: None });
        let expected = vec![
            catenated(),
            url("/a"),
            url("/b"),
            url("/c"),
            octets.clone(),
            url("/d"),
            Octets { utf8: true },
            MessageEnd,
            seen,
            octets.clone(),
            MessageEnd,
            plain(),
            octets,
            MessageEnd,
            catenated(),
            url("/e"),
            MessageEnd,
        ];
        assert_eq!(items, expected);
        use Next::{End, Hold, Stream};
        assert_eq!(steps, [Hold, Hold, Stream, Stream, Stream, Stream, Hold, End]);
    }

    #[test]
    fn held_octets_are_read_once() {
        let mut parser = AppendParser::new(Dialect::default());
        let mut piece = b"a APPEND x CATENATE (URL ".to_vec();
        for _ in 0..900 {
            assert_eq!(parser.read(&piece, Literal).map(|piece| piece.next), Ok(Next::Hold));
            assert_eq!(parser.read, piece.len() - "URL ".len());
            piece.extend_from_slice(b"{8}\r\n/a;UID=1 URL ");
        }
    }

    #[test]
    fn a_mailbox_name_has_to_be_utf8_once_that_is_spoken() {
        let head = |line: &[u8], utf8| {
            let dialect = Dialect { utf8, rev2: false };
            AppendParser::new(dialect).read(line, Literal).map(|piece| piece.target.map(|target| target.mailbox))
        };
        let name = crate::types::MailboxName::new("Entwürfe");
        assert_eq!(head("a APPEND \"Entwürfe\" ".as_bytes(), true), Ok(Some(name)));
        assert_eq!(head("a APPEND \"Entwürfe\" ".as_bytes(), false), Ok(Some(Err(BadMailboxName::Encoding))));
        let garbled = head(b"a APPEND \"\xff\" () ", true).expect_err("not UTF-8");
        assert_eq!(garbled.to_string(), "expected UTF-8 in a quoted string at octet 10");
    }

    #[test]
    fn a_line_of_urls_is_a_command_of_its_own() {
        let whole = |line: &str| match parse(line.as_bytes()).map(|c| c.body) {
            Ok(Body::Append(append)) => Ok((append.target.replaced, append.items)),
            Ok(other) => panic!("{line}: {other:?}"),
            Err(garbled) => Err(garbled.to_string()),
        };
        let items = vec![catenated(), Url("/a;UID=1".into()), MessageEnd];
        assert_eq!(whole("a APPEND x CATENATE (URL \"/a;UID=1\")"), Ok((None, items.clone())));
        let replaced = Replaced { number: SetBound::Number(7), uid: true };
        assert_eq!(whole("a uid replace 7 x catenate (url {8}\r\n/a;UID=1)"), Ok((Some(replaced), items)));
        let two = whole("a APPEND x CATENATE (URL b) CATENATE (URL c URL d)").expect("two");
        assert_eq!(two.1.iter().filter(|item| **item == MessageEnd).count(), 2);
        let bad = [
            ("a APPEND x", "a literal with the message at octet 11"),
            ("a APPEND x (\\Seen)", "a space at octet 19"),
            ("a APPEND x \"text\"", "a date-time like \"17-Jul-1996 02:44:25 -0700\" at octet 12"),
            ("a APPEND x CATENATE (URL b", "a space or \")\" at octet 27"),
            ("a APPEND x CATENATE (TEXT \"b\")", "a literal at octet 27"),
            ("a APPEND x CATENATE (URL b) x", "a flag list, a date-time, CATENATE or a literal at octet 29"),
            ("a REPLACE 7 x CATENATE (URL b) CATENATE (URL b)", "the end of the command at octet 31"),
            ("a REPLACE 7 x", "a literal with the message at octet 14"),
        ];
        for (line, expected) in bad {
            assert_eq!(whole(line), Err(format!("expected {expected}")), "{line}");
        }
    }
}

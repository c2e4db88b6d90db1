//! APPEND and REPLACE as a session reads them, from the framer through the parser: the same items in whatever pieces the
//! octets come, every message with its end, and a fault told with its place.

use pillarbox::types::{AppendItem, AppendMessage};
use pillarbox::wire::append::Next;
use pillarbox::wire::{self, AppendParser, Dialect, Ending, Event, Framer, Limits, LiteralUse};

const LIMITS: Limits = Limits { line_bytes: 4096, held_bytes: 4096, literals: 100 };

pub fn check(input: &[u8]) {
    for dialect in super::DIALECTS {
        let whole = super::in_linear_time(input.len(), || Session::play([input], dialect));
        assert_eq!(Session::play(input.chunks(1), dialect), whole, "octet by octet");
        assert_eq!(Session::play(super::pieces(input, 40), dialect), whole, "in pieces");
    }
}

/// What a session does with octets that are APPENDs, and a note of it.
struct Session {
    dialect: Dialect,
    /// While an APPEND is under way.
    parser: Option<AppendParser>,
    /// A message has begun: its parts so far.
    parts: Option<usize>,
    told: Vec<String>,
}

/// What is to be done with an announced literal.
enum Decision {
    Hold,
    Stream,
    Refuse,
}

impl Session {
    fn play<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, dialect: Dialect) -> Vec<String> {
        let mut session = Session { dialect, parser: None, parts: None, told: Vec::new() };
        let (mut framer, mut streamed) = (Framer::new(LIMITS), 0);
        for piece in pieces {
            framer.feed(piece);
            loop {
                let decision = match framer.next() {
                    Event::NeedMore => break,
                    Event::Piece(octets) => {
                        streamed += octets.len();
                        continue;
                    }
                    Event::LiteralEnd => {
                        session.told.push(format!("streamed {}", std::mem::take(&mut streamed)));
                        continue;
                    }
                    Event::Line(line) => {
                        session.line(line);
                        continue;
                    }
                    Event::TooLong(_) | Event::BadLiteral { .. } => {
                        session.end("too long");
                        continue;
                    }
                    Event::Literal(literal) => session.literal(literal.head),
                };
                match decision {
                    Decision::Hold if framer.hold().is_ok() => {}
                    Decision::Stream => framer.stream(),
                    Decision::Hold | Decision::Refuse => {
                        session.end("refused");
                        framer.refuse();
                    }
                }
            }
        }
        session.told
    }

    fn line(&mut self, line: &[u8]) {
        let Some(parser) = &mut self.parser else { return };
        let read = parser.read(line, Ending::Line);
        self.take(line, read.map(|piece| (piece.target.is_some(), piece.items, piece.next)));
        if self.parser.is_some() {
            assert!(self.parts.is_none(), "a message without its end");
            self.end("whole");
        }
    }

    fn literal(&mut self, head: &[u8]) -> Decision {
        if self.parser.is_none() {
            if wire::literal_use(head) == LiteralUse::Hold {
                return Decision::Hold;
            }
            self.parser = Some(AppendParser::new(self.dialect));
        }
        let Some(parser) = &mut self.parser else { return Decision::Refuse };
        let read = parser.read(head, Ending::Literal);
        match self.take(head, read.map(|piece| (piece.target.is_some(), piece.items, piece.next))) {
            Some(Next::Stream) => Decision::Stream,
            Some(Next::Hold) => Decision::Hold,
            Some(Next::End) => panic!("the end where a literal was announced"),
            None => Decision::Refuse,
        }
    }

    /// Notes what a piece held, and checks that messages are whole; `None` after a fault.
    fn take(&mut self, piece: &[u8], read: Result<(bool, Vec<AppendItem>, Next), wire::Garbled>) -> Option<Next> {
        let (has_target, items, next) = match read {
            Ok(read) => read,
            Err(garbled) => {
                assert!((1..=piece.len() + 1).contains(&garbled.at), "{garbled} in {} octets", piece.len());
                assert!(!garbled.expected.is_empty() && garbled.expected != "something else", "{garbled}");
                self.end(&garbled.to_string());
                return None;
            }
        };
        assert!(next != Next::Hold || items.is_empty() && !has_target, "told before it is read");
        for item in &items {
            self.parts = match (item, self.parts) {
                (AppendItem::Message(_), None) => Some(0),
                (AppendItem::Url(_) | AppendItem::Octets { .. }, Some(parts)) => Some(parts + 1),
                (AppendItem::MessageEnd, Some(1..)) => None,
                (item, parts) => panic!("{item:?} with {parts:?} parts"),
            };
            assert!(self.parts.is_none_or(|parts| parts <= AppendMessage::MAX_PARTS));
        }
        self.told.push(format!("{has_target} {items:?} {next:?}"));
        Some(next)
    }

    fn end(&mut self, how: &str) {
        if self.parser.take().is_some() {
            self.told.push(how.to_string());
        }
        self.parts = None;
    }
}

//! Framing: the same octets give the same events, in whatever pieces they come, and no more is held than the limits
//! allow.

use pillarbox::wire::{Announced, Event, Framer, Limits};

const LIMITS: Limits = Limits { line_bytes: 120, held_bytes: 100, literals: 3 };

pub fn check(input: &[u8]) {
    let whole = super::in_linear_time(input.len(), || events([input]));
    assert_eq!(events(input.chunks(1)), whole, "octet by octet");
    assert_eq!(events(super::pieces(input, 40)), whole, "in pieces");
}

/// All events as text; pieces of a literal are joined.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut framer = Framer::new(LIMITS);
    let (mut all, mut streamed) = (Vec::new(), Vec::new());
    for piece in pieces {
        framer.feed(piece);
        while let Some(event) = next(&mut framer, &mut streamed) {
            all.extend(event);
        }
        let most = LIMITS.line_bytes + LIMITS.held_bytes + 100;
        assert!(framer.buffered() <= most, "{} octets are held", framer.buffered());
    }
    all.push(format!("partial {} {}", framer.has_partial_command(), streamed.len()));
    all
}

/// `None`: more is needed. What is done with a literal is told by the octet in front of it.
fn next(framer: &mut Framer, streamed: &mut Vec<u8>) -> Option<Option<String>> {
    let mut literal = None;
    let told = match framer.next() {
        Event::NeedMore => return None,
        Event::Line(line) => Some(format!("line {line:?}")),
        Event::Literal(Announced { octets, non_sync, binary, head }) => {
            literal = Some(head.last().copied());
            Some(format!("literal {octets} {non_sync} {binary} {head:?}"))
        }
        Event::Piece(octets) => {
            assert!(!octets.is_empty(), "a piece of nothing");
            streamed.extend_from_slice(octets);
            None
        }
        Event::LiteralEnd => Some(format!("streamed {:?}", std::mem::take(streamed))),
        Event::TooLong(head) => Some(format!("too long {head:?}")),
        Event::BadLiteral { line, non_sync } => Some(format!("bad literal {non_sync} {line:?}")),
    };
    match literal {
        None => {}
        Some(Some(b's')) => framer.stream(),
        Some(Some(b'd')) => framer.discard(),
        Some(Some(b'r')) => framer.refuse(),
        Some(_) if framer.hold().is_err() => framer.refuse(),
        Some(_) => {}
    }
    Some(told)
}

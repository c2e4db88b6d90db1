//! Bytes arrive in any pieces; whole command lines and literal pieces come out (RFC 3501 §2.2.1, RFC 7888 §3).
//!
//! The framer knows nothing of commands. It finds line ends and literals, and asks what to do with each literal
//! before its octets are taken. It holds no more than its limits and what was fed last, takes time in
//! proportion to the input, and gives all memory back when nothing is begun.

use std::ops::Range;

use super::announcement::{self, Announcement};

/// How much of one command is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most octets of text: the command's lines without their ends and without literals. A streamed or discarded
    /// literal begins the count anew, as what stands before it is held no longer.
    pub line_bytes: usize,
    /// Most octets of held literals together.
    pub held_bytes: usize,
    /// Most held literals.
    pub literals: usize,
}

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All that was fed is used up. Feed more.
    NeedMore,
    /// A whole command without its final line end, held literals in place as they came: `{n}`, line end, octets.
    /// After a streamed or discarded literal only what stands behind it. May be empty.
    Line(&'a [u8]),
    /// A literal follows. Answer with exactly one of `hold`, `stream`, `discard`, `refuse`; until then it is repeated.
    Literal(Announced<'a>),
    /// Octets of a literal being streamed, never none.
    Piece(&'a [u8]),
    /// The streamed literal is complete.
    LiteralEnd,
    /// The command is longer than its limit; here are its first octets, so that its tag can be told. The rest of
    /// it is swallowed without being held.
    TooLong(&'a [u8]),
    /// A line ends in a literal whose size is no number below 2^63; the command so far is dropped. A client that
    /// did not wait (`non_sync`) sends octets nobody can count: close.
    BadLiteral { line: &'a [u8], non_sync: bool },
}

/// A literal that was announced at a line's end and not yet taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced<'a> {
    pub octets: u64,
    /// `{n+}`: the octets come without an invitation (RFC 7888 §3).
    pub non_sync: bool,
    /// `~{n}`: the octets may hold NUL (RFC 3516 §4.4).
    pub binary: bool,
    /// The command so far, without the announcement.
    pub head: &'a [u8],
}

/// The literal does not fit the limits. It waits for another decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit;

impl std::fmt::Display for OverLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the literal is more than may be held for one command")
    }
}

impl std::error::Error for OverLimit {}

/// See the top of this file.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: Vec<u8>,
    /// Where in `buffer` the command, or what is left of it, begins. Everything before is used up.
    start: usize,
    /// Where the line now being read begins; behind `start` when literals are held. It may lie beyond the
    /// buffer while a held literal is still arriving.
    line: usize,
    /// No line end is between `line` and here.
    scanned: usize,
    /// Octets of text in the lines from `start` to `line`.
    text: usize,
    /// A literal of the command has been taken; it has begun even when nothing of it is in the buffer.
    is_begun: bool,
    /// Octets and number of the literals held so far.
    held: usize,
    literals: usize,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Line,
    Decide(Waiting),
    Stream(u64),
    Discard(u64),
    /// The rest of a dropped command: to the line's end.
    SwallowLine,
    /// And a literal in it that comes whether we want it or not.
    SwallowLiteral(u64),
}

/// An announced literal as the framer remembers it.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    octets: u64,
    non_sync: bool,
    binary: bool,
    /// Where `~{` or `{` stands, where the line's text ends, and where the literal begins.
    head_end: usize,
    text_end: usize,
    begin: usize,
}

impl Framer {
    /// How much of a command that is too long is shown.
    pub const SHOWN_OCTETS: usize = 128;
    /// What is kept of a line being swallowed: an announcement and a CR.
    const KEPT_OCTETS: usize = announcement::MAX_OCTETS + 1;

    pub fn new(limits: Limits) -> Framer {
        Framer {
            limits,
            buffer: Vec::new(),
            start: 0,
            line: 0,
            scanned: 0,
            text: 0,
            is_begun: false,
            held: 0,
            literals: 0,
            state: State::Line,
        }
    }

    /// Changes the limits, from the next line on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes what the client sent. Call [`Framer::next`] until it needs more before feeding again, or what
    /// was fed piles up.
    pub fn feed(&mut self, octets: &[u8]) {
        // Moving the rest to the front only when at least as much in front of it is free keeps the time linear.
        if self.start > 0 && self.start * 2 >= self.buffer.len() {
            self.buffer.drain(..self.start);
            self.rebase();
        }
        self.buffer.extend_from_slice(octets);
    }

    /// How many octets were fed and not yet used up.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// True when a command has begun and not ended. Meant to be asked after [`Event::NeedMore`].
    pub fn has_partial_command(&self) -> bool {
        self.buffered() > 0 || !matches!(self.state, State::Line) || self.is_begun
    }

    /// Forgets everything that was fed: what came before STARTTLS must not be read behind it.
    pub fn clear(&mut self) {
        *self = Framer::new(self.limits);
    }

    /// The next command, if the whole of it is here and it is one line without a literal. [`Framer::next`] gives it out.
    pub fn peek(&self) -> Option<&[u8]> {
        if !matches!(self.state, State::Line) || self.is_begun || self.line != self.start {
            return None;
        }
        let rest = self.buffer.get(self.start..)?;
        let line = &rest[..rest.iter().position(|b| *b == b'\n')?];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_plain = line.len() <= self.limits.line_bytes && announcement::read(line) == Announcement::None;
        is_plain.then_some(line)
    }

    /// The next thing that came. After [`Event::Literal`] it waits for a decision.
    // An iterator cannot lend what it owns.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Event<'_> {
        loop {
            match self.state {
                State::Line => match self.read_line() {
                    Some(found) => return self.show(found),
                    None => return self.need_more(),
                },
                State::Decide(waiting) => return self.show(Found::Literal(waiting)),
                State::Stream(0) => {
                    self.go_on_with_line();
                    return Event::LiteralEnd;
                }
                State::Discard(0) => self.go_on_with_line(),
                State::SwallowLiteral(0) => self.state = State::SwallowLine,
                State::Stream(left) | State::Discard(left) | State::SwallowLiteral(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffered());
                    if taken == 0 {
                        return self.need_more();
                    }
                    let left = left - taken as u64;
                    let piece = self.start..self.start + taken;
                    self.move_to(piece.end);
                    match self.state {
                        State::Stream(_) => {
                            self.state = State::Stream(left);
                            return Event::Piece(&self.buffer[piece]);
                        }
                        State::Discard(_) => self.state = State::Discard(left),
                        _ => self.state = State::SwallowLiteral(left),
                    }
                }
                State::SwallowLine => {
                    if !self.swallow_line() {
                        return self.need_more();
                    }
                }
            }
        }
    }

    /// Collects the announced literal into the command. If `non_sync` is false, invite the client first.
    ///
    /// # Errors
    /// [`OverLimit`]: it does not fit; nothing has been decided.
    pub fn hold(&mut self) -> Result<(), OverLimit> {
        let State::Decide(waiting) = self.state else { return Ok(()) };
        let held = usize::try_from(waiting.octets).ok().and_then(|octets| self.held.checked_add(octets));
        match held {
            Some(held) if held <= self.limits.held_bytes && self.literals < self.limits.literals => {
                self.held = held;
                self.literals += 1;
                self.text += waiting.text_end - self.line;
                self.line = waiting.begin + waiting.octets as usize;
                self.scanned = self.line;
                self.is_begun = true;
                self.state = State::Line;
                Ok(())
            }
            _ => Err(OverLimit),
        }
    }

    /// Gives the announced literal out in pieces; the line goes on behind it. What came before it is forgotten.
    pub fn stream(&mut self) {
        self.take_literal(State::Stream);
    }

    /// Reads past the announced literal; the line goes on behind it. What came before it is forgotten.
    pub fn discard(&mut self) {
        self.take_literal(State::Discard);
    }

    /// Drops the command. If the literal comes without an invitation, it and the rest of the command are
    /// read past; otherwise the next octet begins a new command.
    pub fn refuse(&mut self) {
        let State::Decide(waiting) = self.state else { return };
        self.begin_command(waiting.begin);
        if waiting.non_sync {
            self.state = State::SwallowLiteral(waiting.octets);
        }
    }

    fn take_literal(&mut self, state: fn(u64) -> State) {
        let State::Decide(waiting) = self.state else { return };
        self.begin_command(waiting.begin);
        self.is_begun = true;
        self.state = state(waiting.octets);
    }

    /// A literal is over and its command goes on.
    fn go_on_with_line(&mut self) {
        self.move_to(self.start);
        self.state = State::Line;
    }

    fn move_to(&mut self, at: usize) {
        self.start = at;
        self.line = at;
        self.scanned = at;
    }

    fn begin_command(&mut self, at: usize) {
        self.move_to(at);
        self.text = 0;
        self.is_begun = false;
        self.held = 0;
        self.literals = 0;
        self.state = State::Line;
    }

    /// Looks for the end of the line and at what stands there. `None`: it has not come yet.
    fn read_line(&mut self) -> Option<Found> {
        let unscanned = self.buffer.get(self.scanned..)?;
        let end_of_line = unscanned.iter().position(|b| *b == b'\n').map(|at| self.scanned + at);
        let end = end_of_line.unwrap_or(self.buffer.len());
        self.scanned = end;
        // Telnet sends a bare LF; a bare CR is left in the line, where every parser refuses it.
        let text_end = if self.buffer[self.line..end].ends_with(b"\r") { end - 1 } else { end };
        if self.text + (text_end - self.line) > self.limits.line_bytes {
            let shown = self.start..self.start + Self::SHOWN_OCTETS.min(self.limits.line_bytes);
            self.begin_command(self.line);
            self.state = State::SwallowLine;
            return Some(Found::TooLong(shown));
        }
        let begin = end_of_line? + 1;
        Some(match announcement::read(&self.buffer[self.line..text_end]) {
            Announcement::None => {
                let line = self.start..text_end;
                self.begin_command(begin);
                Found::Line(line)
            }
            Announcement::Literal { octets, non_sync, binary, at } => {
                let waiting = Waiting { octets, non_sync, binary, head_end: self.line + at, text_end, begin };
                self.state = State::Decide(waiting);
                Found::Literal(waiting)
            }
            Announcement::Bad { non_sync } => {
                let line = self.start..text_end;
                self.begin_command(begin);
                Found::BadLiteral { line, non_sync }
            }
        })
    }

    /// Reads past a line of a dropped command. False: its end has not come yet.
    fn swallow_line(&mut self) -> bool {
        let end_of_line = self.buffer[self.scanned..].iter().position(|b| *b == b'\n').map(|at| self.scanned + at);
        let Some(end) = end_of_line else {
            // The line's last octets decide whether a literal follows it.
            self.start = self.start.max(self.buffer.len().saturating_sub(Self::KEPT_OCTETS));
            self.scanned = self.buffer.len();
            return false;
        };
        let line = &self.buffer[self.start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match announcement::read(&line[line.len().saturating_sub(announcement::MAX_OCTETS)..]) {
            Announcement::Literal { octets, non_sync: true, .. } => {
                self.move_to(end + 1);
                self.state = State::SwallowLiteral(octets);
            }
            // A client that waits for an invitation has got its answer instead, and begins anew.
            _ => self.begin_command(end + 1),
        }
        true
    }

    fn show(&self, found: Found) -> Event<'_> {
        match found {
            Found::Line(line) => Event::Line(&self.buffer[line]),
            Found::Literal(waiting) => Event::Literal(Announced {
                octets: waiting.octets,
                non_sync: waiting.non_sync,
                binary: waiting.binary,
                head: &self.buffer[self.start..waiting.head_end],
            }),
            Found::TooLong(shown) => Event::TooLong(&self.buffer[shown]),
            Found::BadLiteral { line, non_sync } => Event::BadLiteral { line: &self.buffer[line], non_sync },
        }
    }

    /// Gives memory back that a short rest does not need: an idle client must not keep its longest command's.
    fn need_more(&mut self) -> Event<'_> {
        if self.start == self.buffer.len() {
            self.buffer = Vec::new();
            self.rebase();
        } else if self.buffer.capacity() > 2 * self.buffered() + 4096 {
            self.buffer = self.buffer[self.start..].to_vec();
            self.rebase();
        }
        Event::NeedMore
    }

    /// The octets before `start` are gone from the buffer.
    fn rebase(&mut self) {
        self.line = self.line.saturating_sub(self.start);
        self.scanned = self.scanned.saturating_sub(self.start);
        if let State::Decide(waiting) = &mut self.state {
            waiting.head_end -= self.start;
            waiting.text_end -= self.start;
            waiting.begin -= self.start;
        }
        self.start = 0;
    }
}

/// An event before it borrows the buffer.
enum Found {
    Line(Range<usize>),
    Literal(Waiting),
    TooLong(Range<usize>),
    BadLiteral { line: Range<usize>, non_sync: bool },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { line_bytes: 60, held_bytes: 50, literals: 3 };

    /// What the tests do with a literal, told by the last octet in front of it.
    fn decide(framer: &mut Framer, last: Option<u8>) {
        match last {
            Some(b's') => framer.stream(),
            Some(b'd') => framer.discard(),
            Some(b'r') => framer.refuse(),
            _ => {
                if framer.hold().is_err() {
                    framer.refuse();
                }
            }
        }
    }

    /// All events of an input that comes in pieces of the given sizes, as text; pieces of a literal joined.
    fn events(input: &[u8], sizes: &[usize]) -> Vec<String> {
        let mut framer = Framer::new(LIMITS);
        let (mut all, mut piece) = (Vec::new(), Vec::new());
        let mut sizes = sizes.iter().copied().chain(std::iter::repeat(usize::MAX));
        let mut rest = input;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
            framer.feed(now);
            rest = later;
            loop {
                let text = String::from_utf8_lossy;
                let mut decision = None;
                let peeked = framer.peek().map(<[u8]>::to_vec);
                let next = framer.next();
                assert!(peeked.is_none_or(|line| next == Event::Line(&line)));
                match next {
                    Event::NeedMore => break,
                    Event::Line(line) => all.push(format!("line {}", text(line))),
                    Event::Literal(literal) => {
                        let Announced { octets, non_sync, binary, head } = literal;
                        all.push(format!("literal {octets} {non_sync} {binary} {}", text(head)));
                        decision = Some(head.last().copied());
                    }
                    Event::Piece(octets) => piece.extend_from_slice(octets),
                    Event::LiteralEnd => all.push(format!("streamed {}", text(&std::mem::take(&mut piece)))),
                    Event::TooLong(head) => all.push(format!("long {}", text(head))),
                    Event::BadLiteral { line, non_sync } => all.push(format!("bad {non_sync} {}", text(line))),
                }
                if let Some(last) = decision {
                    decide(&mut framer, last);
                }
            }
            assert!(framer.buffered() <= LIMITS.line_bytes + LIMITS.held_bytes + 20, "{}", framer.buffered());
            assert!(framer.buffer.capacity() <= 2 * framer.buffered() + 4096);
            if framer.buffered() == 0 {
                assert_eq!(framer.buffer.capacity(), 0);
            }
        }
        all
    }

    fn whole(input: &str) -> Vec<String> {
        events(input.as_bytes(), &[])
    }

    #[test]
    fn lines_end_in_crlf_or_lf() {
        assert_eq!(whole("a NOOP\r\nb NOOP\n\r\nc\rd\r\ne"), ["line a NOOP", "line b NOOP", "line ", "line c\rd"]);
    }

    #[test]
    fn held_literals_stay_in_the_command() {
        let expected = [
            "literal 3 false false a LOGIN ",
            "literal 1 true false a LOGIN {3}\r\nann ",
            "line a LOGIN {3}\r\nann {1+}\r\n\n",
        ];
        assert_eq!(whole("a LOGIN {3}\r\nann {1+}\r\n\n\r\n"), expected);
        assert_eq!(whole("a {0}\r\n\r\n"), ["literal 0 false false a ", "line a {0}\r\n"]);
    }

    #[test]
    fn streamed_and_discarded_literals_leave_the_rest_of_the_line() {
        let expected = ["literal 5 false true a s", "streamed 12{3}", "line  x", "line b"];
        assert_eq!(whole("a s~{5}\r\n12{3} x\r\nb\r\n"), expected);
        assert_eq!(whole("a d{2}\r\n\r\n x\r\n"), ["literal 2 false false a d", "line  x"]);
        assert_eq!(whole("a s{0}\r\n\r\n"), ["literal 0 false false a s", "streamed ", "line "]);
        let expected = ["literal 1 true false a s", "streamed x", "literal 1 true false  s", "streamed y", "line "];
        assert_eq!(whole("a s{1+}\r\nx s{1+}\r\ny\r\n"), expected);
    }

    #[test]
    fn a_refused_literal_leaves_us_in_step() {
        assert_eq!(whole("a r{5}\r\nb NOOP\r\n"), ["literal 5 false false a r", "line b NOOP"]);
        let unwanted = "a r{5+}\r\n12345 x {2+}\r\n\r\n y {9}\r\nb NOOP\r\n";
        assert_eq!(whole(unwanted), ["literal 5 true false a r", "line b NOOP"]);
    }

    #[test]
    fn limits_of_a_command() {
        let (full, over) = ("x".repeat(60), "x".repeat(61));
        assert_eq!(whole(&format!("{full}\r\n")), [format!("line {full}")]);
        assert_eq!(whole(&format!("{over}\r\nb\r\n")), [format!("long {full}"), "line b".into()]);
        // Text counts over all lines; literals do not.
        let two_lines = format!("{} {{40+}}\r\n{} {}\r\nb\r\n", "x".repeat(30), "y".repeat(40), "z".repeat(30));
        assert_eq!(whole(&two_lines).last().map(String::as_str), Some("line b"));
        assert!(whole(&two_lines)[1].starts_with("long xxx"));
        // A literal that comes anyway with a line that is too long belongs to it.
        assert_eq!(whole(&format!("{over} {{3+}}\r\na\r\n c\r\nb\r\n")), [format!("long {full}"), "line b".into()]);
        // What was before a streamed literal is forgotten.
        let (left, right) = ("x".repeat(50), "y".repeat(50));
        let streamed = whole(&format!("{left}s{{1+}}\r\nz{right}\r\n"));
        assert_eq!(streamed.last(), Some(&format!("line {right}")));
        // Sum and number of held literals.
        assert!(!whole("a {51+}\r\n").is_empty());
        let sum = whole(&format!("a {{30+}}\r\n{} {{21+}}\r\n{}\r\nb\r\n", "y".repeat(30), "z".repeat(21)));
        assert_eq!(sum.last().map(String::as_str), Some("line b"));
        assert_eq!(sum.len(), 3);
        let many = whole("a {0+}\r\n {0+}\r\n {0+}\r\n {0+}\r\n\r\nb\r\n");
        assert_eq!((many.len(), many.last().map(String::as_str)), (5, Some("line b")));
    }

    #[test]
    fn sizes_that_are_no_numbers() {
        assert_eq!(whole("a {99999999999999999999}\r\nb\r\n"), ["bad false a {99999999999999999999}", "line b"]);
        assert_eq!(whole("a {9223372036854775808+}\r\n"), ["bad true a {9223372036854775808+}"]);
    }

    #[test]
    fn a_decision_is_waited_for_and_clear_forgets_all() {
        let mut framer = Framer::new(LIMITS);
        assert!(!framer.has_partial_command());
        framer.feed(b"a\r\na {3}\r\nx");
        assert_eq!(framer.peek(), Some(&b"a"[..]));
        assert_eq!(framer.next(), Event::Line(b"a"));
        assert_eq!(framer.peek(), None);
        for _ in 0..2 {
            assert!(matches!(framer.next(), Event::Literal(Announced { octets: 3, .. })));
        }
        assert!(framer.has_partial_command());
        framer.feed(b"yz b\r\n");
        assert!(matches!(framer.next(), Event::Literal(_)));
        framer.clear();
        assert!(!framer.has_partial_command());
        assert_eq!(framer.next(), Event::NeedMore);
        framer.feed(b"a s{3}\r\n");
        assert!(matches!(framer.next(), Event::Literal(_)));
        framer.stream();
        assert_eq!(framer.next(), Event::NeedMore);
        framer.feed(b"xyz");
        assert_eq!(framer.next(), Event::Piece(b"xyz"));
        assert_eq!(framer.next(), Event::LiteralEnd);
        assert_eq!(framer.next(), Event::NeedMore);
        assert!(framer.has_partial_command() && framer.buffered() == 0);
        framer.feed(b"\r\n");
        assert_eq!(framer.next(), Event::Line(b""));
        assert!(!framer.has_partial_command());
    }

    #[test]
    fn time_is_linear_even_octet_by_octet() {
        let limits = Limits { line_bytes: 1 << 20, held_bytes: 1 << 20, literals: 10 };
        let mut framer = Framer::new(limits);
        for _ in 0..1 << 20 {
            framer.feed(b"(");
            assert_eq!(framer.next(), Event::NeedMore);
        }
        framer.feed(b"\n");
        assert!(matches!(framer.next(), Event::Line(line) if line.len() == 1 << 20));
        // Many short commands at once, with more arriving between them.
        framer.feed("a\n".repeat(200_000).as_bytes());
        for _ in 0..200_000 {
            assert_eq!(framer.next(), Event::Line(b"a"));
            framer.feed(b"b");
        }
    }

    fn input() -> impl Strategy<Value = Vec<u8>> {
        let fragment = prop_oneof![
            4 => "[a-c sdr]{0,8}",
            2 => Just("\r\n".to_owned()),
            1 => Just("\n".to_owned()),
            1 => Just("\r".to_owned()),
            2 => (0u32..40, any::<bool>()).prop_map(|(n, plus)| format!("{{{n}{}}}\r\n", if plus { "+" } else { "" })),
            1 => "[{}+~0-9]{0,6}",
            1 => (50usize..70).prop_map(|n| "x".repeat(n)),
            1 => Just("{99999999999999999999999999999+}\r\n".to_owned()),
        ];
        proptest::collection::vec(fragment, 0..24).prop_map(|parts| parts.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_splitting_gives_the_same_events(input in input(), sizes in proptest::collection::vec(1usize..9, 0..80)) {
            let together = events(&input, &[]);
            prop_assert_eq!(&events(&input, &sizes), &together);
            prop_assert_eq!(&events(&input, &vec![1; input.len()]), &together);
        }
    }
}

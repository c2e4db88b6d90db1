//! What is wrong with a command: what was expected, and where. The parsers' one error type, and what the
//! client is told of it.

use std::fmt;

use nom::error::{ErrorKind, ParseError};

/// A command that does not follow the grammar. Its `Display` is the text for the BAD:
/// `expected a mailbox name at octet 14`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbled {
    /// The command's tag, if at least that could be read; without it the BAD is untagged.
    pub tag: Option<String>,
    /// Where, in octets from 1, counted from the start of what was parsed.
    pub at: usize,
    /// A noun with its article.
    pub expected: &'static str,
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at octet {}", self.expected, self.at)
    }
}

impl std::error::Error for Garbled {}

impl Garbled {
    /// Builds it from a parser's error on `whole`.
    pub(super) fn new(tag: Option<&str>, whole: &[u8], error: nom::Err<Wrong>) -> Garbled {
        let (left, expected) = match error {
            nom::Err::Error(wrong) | nom::Err::Failure(wrong) => (wrong.left, wrong.expected),
            // Only streaming parsers say this, and none is used here.
            nom::Err::Incomplete(_) => (0, "more octets"),
        };
        Garbled { tag: tag.map(str::to_owned), at: whole.len().saturating_sub(left) + 1, expected }
    }
}

/// A parser's error. The place is the number of octets left, so that it needs no lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong {
    pub left: usize,
    pub expected: &'static str,
}

impl ParseError<&[u8]> for Wrong {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        Wrong { left: input.len(), expected: "something else" }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// What every parser here returns: what is left, and the value.
pub(super) type Parsed<'a, T> = nom::IResult<&'a [u8], T, Wrong>;

/// Fails at `input`, where `what` was expected.
pub(super) fn fail<'a, T>(input: &'a [u8], what: &'static str) -> Parsed<'a, T> {
    Err(wrong(input, what))
}

/// The error itself, for functions that return something else.
pub(super) fn wrong(input: &[u8], what: &'static str) -> nom::Err<Wrong> {
    nom::Err::Error(Wrong { left: input.len(), expected: what })
}

/// `parser`, with `what` as the thing it expected when it fails where it began.
pub(super) fn expected<'a, T>(
    what: &'static str,
    mut parser: impl nom::Parser<&'a [u8], Output = T, Error = Wrong>,
) -> impl FnMut(&'a [u8]) -> Parsed<'a, T> {
    move |input| {
        parser.parse(input).map_err(|error| {
            error.map(|wrong| if wrong.left == input.len() { Wrong { expected: what, ..wrong } } else { wrong })
        })
    }
}

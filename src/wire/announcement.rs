//! The end of a line that announces a literal: `{n}`, `{n+}`, and with a `~` in front for binary ones.

/// What a line's end announces.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announcement {
    None,
    Literal {
        octets: u64,
        non_sync: bool,
        binary: bool,
        /// Where in the line it begins.
        at: usize,
    },
    /// The size is no number below 2^63.
    Bad {
        non_sync: bool,
    },
}

/// The longest announcement that is not [`Announcement::Bad`], without its `~`.
pub(super) const MAX_OCTETS: usize = "{1234567890123456789+}".len();

/// Reads the end of a line, given without its CRLF.
///
/// RFC 7888 §3: it is looked for at the end of every line, even where the grammar has no place for a literal.
/// literal = "{" number ["+"] "}"; literal8 = "~{" number ["+"] "}"
pub(super) fn read(line: &[u8]) -> Announcement {
    let Some(inner) = line.strip_suffix(b"}") else { return Announcement::None };
    let (inner, non_sync) = inner.strip_suffix(b"+").map_or((inner, false), |inner| (inner, true));
    let digits = inner.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (front, digits) = inner.split_at(inner.len() - digits);
    let Some(head) = front.strip_suffix(b"{") else { return Announcement::None };
    let add = |n: u64, b: &u8| n.checked_mul(10)?.checked_add(u64::from(b - b'0'));
    match digits.iter().try_fold(0, add) {
        _ if digits.is_empty() => Announcement::None,
        Some(octets) if octets < 1 << 63 && digits.len() < 20 => {
            let (at, binary) = head.strip_suffix(b"~").map_or((head.len(), false), |head| (head.len(), true));
            Announcement::Literal { octets, non_sync, binary, at }
        }
        _ => Announcement::Bad { non_sync },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_every_kind() {
        let literal = |octets, non_sync, binary, at| Announcement::Literal { octets, non_sync, binary, at };
        assert_eq!(read(b"a {0}"), literal(0, false, false, 2));
        assert_eq!(read(b"{007+}"), literal(7, true, false, 0));
        assert_eq!(read(b"a ~{5}"), literal(5, false, true, 2));
        assert_eq!(read(b"\"x~{9223372036854775807+}"), literal(i64::MAX as u64, true, true, 2));
    }

    #[test]
    fn what_is_none_and_what_is_bad() {
        for line in ["", "}", "a {}", "a {x}", "a 5}", "a {-1}", "a {5}x", "a {5++}", "a {+}", "a {5} ", "a {1 2}"] {
            assert_eq!(read(line.as_bytes()), Announcement::None, "{line}");
        }
        for line in ["{9223372036854775808}", "{99999999999999999999}", "{00000000000000000001}"] {
            assert_eq!(read(line.as_bytes()), Announcement::Bad { non_sync: false }, "{line}");
        }
        assert_eq!(read(b"{99999999999999999999+}"), Announcement::Bad { non_sync: true });
    }
}

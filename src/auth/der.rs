//! As much of ASN.1's DER as it takes to find a few fields of a certificate: no recursion, no copies, no panics.

/// Tags, as they are written for universal types.
pub const OID: u8 = 0x06;
pub const OCTET_STRING: u8 = 0x04;
pub const BOOLEAN: u8 = 0x01;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// What is left to read of a constructed value.
#[derive(Debug, Clone, Copy)]
pub struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub fn new(octets: &'a [u8]) -> Self {
        Der(octets)
    }

    /// The tag of the next value, if there is one.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag and what it holds. `None`: there is none, or it is not whole.
    pub fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        // A tag of several octets is in no field that is looked for.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0x00..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    /// The next value, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek() != Some(tag) {
            return None;
        }
        self.next().map(|(_, value)| value)
    }

    /// The next value, which must be constructed and have this tag.
    pub fn enter(&mut self, tag: u8) -> Option<Der<'a>> {
        self.expect(tag).map(Der)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_one_by_one() {
        let mut der = Der::new(&[0x30, 0x05, 0x06, 0x01, 0x2a, 0x05, 0x00, 0x04, 0x81, 0x01, 0xff]);
        let mut inner = der.enter(SEQUENCE).expect("a sequence");
        assert_eq!(inner.expect(OCTET_STRING), None);
        assert_eq!(inner.expect(OID), Some(&[0x2a][..]));
        assert_eq!(inner.next(), Some((5, &[][..])));
        assert_eq!(inner.next(), None);
        assert_eq!(der.expect(OCTET_STRING), Some(&[0xff][..]));
        assert_eq!(der.peek(), None);
    }

    #[test]
    fn what_is_not_whole_is_nothing() {
        for octets in [
            &[0x30][..],
            &[0x30, 5, 1],
            &[0x30, 0x80],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x30, 0x84, 0xff],
            &[0x1f, 1, 1],
        ] {
            assert_eq!(Der::new(octets).next(), None, "{octets:?}");
        }
        assert_eq!(Der::new(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1]).next(), None);
    }
}

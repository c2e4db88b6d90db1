//! Paths of the envelope: `<anna@example.org>`, `<>`, `<"odd name"@[IPv6:::1]>`, `<@old.example:anna@example.org>`.
//! Pure functions over octets; what they give holds no control character, so it can stand in a header line.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest path with its brackets, in octets. RFC 5321 §4.5.3.1.3 asks for 256; long senders of lists and of UTF-8 need
/// more, and twice as much still fits into a header line.
pub const MOST_PATH_OCTETS: usize = 512;

/// A mailbox somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What stands before the `@`, quotes and backslashes taken away. May be empty (`""@example.org`).
    pub local: String,
    /// As it was written; an address literal with its brackets. `None`: there is no `@`.
    pub domain: Option<String>,
    /// The whole as it was written, without a source route.
    pub text: String,
}

/// Who sent a message, or nobody: the null sender of reports (RFC 5321 §4.5.5).
pub type Sender = Option<Address>;

/// Why octets are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    Syntax,
    TooLong,
}

impl Address {
    /// RFC 6531 §3.3: needs the SMTPUTF8 parameter.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }

    /// Reads a bare address such as `anna@example.org` or `anna`.
    pub fn parse(octets: &[u8]) -> Result<Address, BadPath> {
        if octets.len() > MOST_PATH_OCTETS {
            return Err(BadPath::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| BadPath::Syntax)?;
        let (local, rest) = local_part(text).ok_or(BadPath::Syntax)?;
        let domain = match rest.strip_prefix('@') {
            None if rest.is_empty() => None,
            Some(domain) if is_domain(domain) || is_literal(domain) => Some(domain.to_owned()),
            _ => return Err(BadPath::Syntax),
        };
        Ok(Address { local, domain, text: text.to_owned() })
    }
}

/// Takes a path off the front: the address in it (`None` for `<>`) and what stands behind the `>`.
// RFC 5321 §4.1.2: Path = "<" [ A-d-l ":" ] Mailbox ">"; Reverse-path = Path / "<>"
pub fn path(octets: &[u8]) -> Result<(Option<Address>, &[u8]), BadPath> {
    let inside = octets.strip_prefix(b"<").ok_or(BadPath::Syntax)?;
    let end = closing(inside).ok_or(match inside.len() > MOST_PATH_OCTETS {
        true => BadPath::TooLong,
        false => BadPath::Syntax,
    })?;
    if end + 2 > MOST_PATH_OCTETS {
        return Err(BadPath::TooLong);
    }
    let (inside, rest) = (&inside[..end], &inside[end + 1..]);
    if inside.is_empty() {
        return Ok((None, rest));
    }
    let mailbox = without_route(inside).ok_or(BadPath::Syntax)?;
    Ok((Some(Address::parse(mailbox)?), rest))
}

/// Where the `>` stands that is in no quoted string.
fn closing(inside: &[u8]) -> Option<usize> {
    let (mut is_quoted, mut at) = (false, 0);
    loop {
        match *inside.get(at)? {
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted => at += 1,
            b'>' if !is_quoted => return Some(at),
            _ => {}
        }
        at += 1;
    }
}

/// RFC 5321 §4.1.1.3 and appendix C: a source route is accepted and ignored.
fn without_route(inside: &[u8]) -> Option<&[u8]> {
    if !inside.starts_with(b"@") {
        return Some(inside);
    }
    // A-d-l = At-domain *( "," At-domain ); no domain holds a colon, and literals do not stand here.
    let colon = inside.iter().position(|octet| *octet == b':')?;
    let route = std::str::from_utf8(&inside[..colon]).ok()?;
    let is_fine = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    is_fine.then_some(&inside[colon + 1..])
}

/// A local part without its quotes, and what follows it.
// RFC 5321 §4.1.2: Local-part = Dot-string / Quoted-string
fn local_part(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut local = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => return Some((local, &quoted[at + 1..])),
                '\\' => match characters.next()?.1 {
                    escaped @ ' '..='~' => local.push(escaped),
                    _ => return None,
                },
                c if c.is_control() => return None,
                c => local.push(c),
            }
        }
        return None;
    }
    let end = text.find('@').unwrap_or(text.len());
    let (local, rest) = text.split_at(end);
    // Dot-string = Atom *("." Atom). A dot too many is written by some phone companies' users and hurts nobody.
    let is_fine = !local.is_empty() && local.chars().all(|c| is_atext(c) || c == '.');
    is_fine.then(|| (local.to_owned(), rest))
}

/// RFC 5322 §3.2.3 and, for what is not ASCII, RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c),
        false => !c.is_control() && !c.is_whitespace(),
    }
}

// RFC 5321 §4.1.2: Domain = sub-domain *("." sub-domain). The underscore is against it and in use.
pub fn is_domain(text: &str) -> bool {
    let is_fit = |c: char| if c.is_ascii() { c.is_ascii_alphanumeric() || "-_".contains(c) } else { is_atext(c) };
    text.len() <= 255 && text.split('.').all(|label| !label.is_empty() && label.chars().all(is_fit))
}

/// RFC 5321 §4.1.3: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
pub fn is_literal(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    match inside.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => inside.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<(String, Option<String>)>, BadPath> {
        let (address, rest) = path(text.as_bytes())?;
        assert_eq!(rest, b"", "{text}");
        Ok(address.map(|address| (address.local, address.domain)))
    }

    #[test]
    fn addresses_of_every_kind() {
        for (text, local, domain) in [
            ("<anna@example.org>", "anna", Some("example.org")),
            ("<anna>", "anna", None),
            ("<anna+lists/rust@Example.ORG>", "anna+lists/rust", Some("Example.ORG")),
            ("<\"\">", "", None),
            ("<\"\"@example.org>", "", Some("example.org")),
            ("<\"a b\\\"c>@\"@example.org>", "a b\"c>@", Some("example.org")),
            ("<anna@[192.0.2.1]>", "anna", Some("[192.0.2.1]")),
            ("<anna@[IPv6:2001:db8::1]>", "anna", Some("[IPv6:2001:db8::1]")),
            ("<anna@[ipv6:::1]>", "anna", Some("[ipv6:::1]")),
            ("<@old.example,@older.example:anna@example.org>", "anna", Some("example.org")),
            ("<o'brien..x@mail_1.example>", "o'brien..x", Some("mail_1.example")),
            ("<jürgen@bücher.example>", "jürgen", Some("bücher.example")),
        ] {
            assert_eq!(read(text), Ok(Some((local.into(), domain.map(Into::into)))), "{text}");
        }
        assert_eq!(read("<>"), Ok(None));
        let (address, rest) = path(b"<@a.example:anna@example.org> SIZE=5").expect("a path");
        assert_eq!((address.map(|a| a.text).as_deref(), rest), (Some("anna@example.org"), &b" SIZE=5"[..]));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "anna@example.org",
            "<anna@example.org",
            "<anna@>",
            "<@example.org>",
            "<anna@example..org>",
            "<anna@.example>",
            "<anna @example.org>",
            "<an\tna@example.org>",
            "<a@b@c>",
            "<<a@b>>",
            "<\"anna@example.org>",
            "<\"an\u{7}na\"@example.org>",
            "<\"a\"b@example.org>",
            "<anna@[192.0.2]>",
            "<anna@[IPv6:xyz]>",
            "<anna@[]>",
            "<anna@[IPv6:]>",
            "<@a.example:>",
            "<@a.example,b.example:anna@example.org>",
            "<@:anna@example.org>",
            "<anna@exa\u{a0}mple.org>",
        ] {
            assert_eq!(path(text.as_bytes()).map(|_| ()), Err(BadPath::Syntax), "{text}");
        }
        assert_eq!(path(b"<a\xff@example.org>").map(|_| ()), Err(BadPath::Syntax), "not UTF-8");
        let longest = format!("<{}@example.org>", "x".repeat(MOST_PATH_OCTETS - 14));
        assert!(path(longest.as_bytes()).is_ok());
        assert_eq!(path(format!("<x{}", &longest[1..]).as_bytes()).map(|_| ()), Err(BadPath::TooLong));
        assert_eq!(path(format!("<{}", "x".repeat(5000)).as_bytes()).map(|_| ()), Err(BadPath::TooLong));
    }

    proptest! {
        #[test]
        fn no_octets_are_too_odd(octets in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = path(&octets);
            let _ = Address::parse(&octets);
        }

        #[test]
        fn what_is_read_can_stand_in_a_header(text in "<[ -~ü@\\.\"\\\\\t\r\n]{0,40}>") {
            if let Ok((Some(address), _)) = path(text.as_bytes()) {
                prop_assert!(!address.text.contains(char::is_control), "{:?}", address);
                prop_assert!(!address.local.contains(char::is_control), "{:?}", address);
                // Read again from its own text it is the same.
                prop_assert_eq!(Address::parse(address.text.as_bytes()), Ok(address));
            }
        }
    }
}

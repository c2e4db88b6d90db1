//! Modified UTF-7, the old way of IMAP to write mailbox names in ASCII (RFC 3501 §5.1.3).
//! Each text has exactly one form; every other one is refused, or two names could look the same.

use std::borrow::Cow;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// The text `octets` stand for; `None` if they are not the one form in which [`encode`] writes it.
pub fn decode(octets: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(octets).ok()?;
    if !octets.iter().all(|b| stands_for_itself(*b) || *b == b'&') {
        return None;
    }
    if !octets.contains(&b'&') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        decoded.push_str(plain);
        let (base64, behind) = shifted.split_once('-')?;
        match base64 {
            "" => decoded.push('&'),
            _ => decoded.push_str(&String::from_utf16(&units(base64.as_bytes())?).ok()?),
        }
        rest = behind;
    }
    decoded.push_str(rest);
    // Stray bits, printable ASCII in base64 and two shifts that should be one all end here.
    (encode(&decoded) == text).then_some(Cow::Owned(decoded))
}

/// `text` in modified UTF-7.
pub fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(stands_for_itself) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let (mut bits, mut held, mut shifted) = (0u32, 0u32, false);
    for c in text.chars() {
        let plain = c.is_ascii() && (stands_for_itself(c as u8) || c == '&');
        if plain && shifted {
            unshift(&mut out, bits, held);
            (bits, held, shifted) = (0, 0, false);
        }
        match c {
            '&' => out.push_str("&-"),
            c if plain => out.push(c),
            c => {
                if !shifted {
                    out.push('&');
                    shifted = true;
                }
                for unit in c.encode_utf16(&mut [0; 2]) {
                    bits = bits << 16 | u32::from(*unit);
                    held += 16;
                    while held >= 6 {
                        held -= 6;
                        out.push(char::from(ALPHABET[(bits >> held & 63) as usize]));
                    }
                    bits &= (1 << held) - 1;
                }
            }
        }
    }
    if shifted {
        unshift(&mut out, bits, held);
    }
    Cow::Owned(out)
}

fn unshift(out: &mut String, bits: u32, held: u32) {
    if held > 0 {
        out.push(char::from(ALPHABET[(bits << (6 - held) & 63) as usize]));
    }
    out.push('-');
}

fn stands_for_itself(b: u8) -> bool {
    (0x20..=0x7e).contains(&b) && b != b'&'
}

/// The UTF-16 units in a run of modified BASE64.
fn units(base64: &[u8]) -> Option<Vec<u16>> {
    let mut units = Vec::with_capacity(base64.len() * 6 / 16);
    let (mut bits, mut held) = (0u32, 0u32);
    for b in base64 {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b',' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push((bits >> held) as u16);
            bits &= (1 << held) - 1;
        }
    }
    Some(units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_names() {
        let pairs = [
            ("INBOX", "INBOX"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("a&b", "a&-b"),
            ("台&", "&U,A-&-"),
            ("&", "&-"),
            ("😀", "&2D3eAA-"),
            ("\u{1}", "&AAE-"),
            ("", ""),
        ];
        for (text, wire) in pairs {
            assert_eq!(encode(text), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text), "{wire}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let bad: [&[u8]; 14] = [
            b"&Jjo!",              // no shift back
            b"&U,BTFw-&ZeVnLIqe-", // a superfluous shift
            b"&AGE-",              // `a` needs no shift
            b"&ACY-",              // nor does `&`
            b"&AP1-",              // stray bits are not zero
            b"&APwA-",             // a whole stray digit
            b"&2D0-",              // half a surrogate pair
            b"&3gA-",              // the other half
            b"&",
            b"a&",
            b"&AP/-", // `/` is no digit here
            b"&-&",
            "Entwürfe".as_bytes(),
            b"a\tb",
        ];
        for wire in bad {
            assert_eq!(decode(wire), None, "{}", String::from_utf8_lossy(wire));
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let wire = encode(&text).into_owned();
            prop_assert!(wire.bytes().all(|b| (0x20..=0x7e).contains(&b)));
            let decoded = decode(wire.as_bytes());
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn what_is_accepted_is_the_only_form(wire in "[&A-C,0a-]{0,12}") {
            if let Some(text) = decode(wire.as_bytes()) {
                prop_assert_eq!(encode(&text), wire.as_str());
            }
        }
    }
}

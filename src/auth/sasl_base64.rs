//! Base64 as SASL exchanges in IMAP use it: padded, without line breaks, strict (RFC 4648 §4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Writes a challenge or response.
pub fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

/// Reads a response line, without its line end. `None`: not base64 in its one strict form.
pub fn decode(line: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(line).ok()
}

/// Reads the initial response of AUTHENTICATE.
pub fn decode_initial(word: &[u8]) -> Option<Vec<u8>> {
    // RFC 4959 §3: a single "=" is an initial response of no octets.
    if word == b"=" { Some(Vec::new()) } else { decode(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for octets in [&b""[..], b"\0", b"\0alice\0pw", b"\xff\xfe\xfd"] {
            assert_eq!(decode(encode(octets).as_bytes()).as_deref(), Some(octets));
        }
    }

    #[test]
    fn only_the_strict_form_is_read() {
        for bad in [&b"AGE"[..], b"AGE= ", b"A=GE", b"AGF=", b"****", b"=", b"AG\nE="] {
            assert_eq!(decode(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
        assert_eq!(decode_initial(b"="), Some(Vec::new()));
    }
}

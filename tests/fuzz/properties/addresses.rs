//! ENVELOPE of any header block: ten items, address lists of four strings, nothing that could end a line.

use crate::tokens::{self, Token};
use pillarbox::message::{Letters, envelope};

pub fn check(input: &[u8]) {
    let fields: [&[u8]; 4] =
        [b"", b"From: ", b"Subject: x\r\nTo: a@b,\r\n ", b"Content-Type: a/b; charset=utf-8\r\nCc: "];
    for field in fields {
        let block = [field, input, b"\r\n\r\n"].concat();
        for letters in [Letters::SevenBit, Letters::Utf8] {
            let told = super::in_linear_time(block.len(), || envelope(&block, letters));
            assert!(letters == Letters::Utf8 || told.is_ascii(), "{}", String::from_utf8_lossy(&told));
            assert!(std::str::from_utf8(&told).is_ok(), "{}", String::from_utf8_lossy(&told));
            envelope_is_well_formed(&told);
        }
    }
}

/// RFC 3501 §9, envelope: date, subject, six address lists, in-reply-to, message-id.
pub fn envelope_is_well_formed(envelope: &[u8]) {
    let shown = || String::from_utf8_lossy(envelope).into_owned();
    let mut tokens = tokens::cut(envelope).unwrap_or_else(|error| panic!("ENVELOPE: {error}"));
    let Some(Token::List(items)) = tokens.pop() else { panic!("no list: {}", shown()) };
    assert!(tokens.is_empty() && items.len() == 10, "{}", shown());
    for (at, item) in items.iter().enumerate() {
        let is_address_list = (2..8).contains(&at);
        match item {
            Token::List(addresses) if is_address_list => {
                assert!(!addresses.is_empty() && addresses.iter().all(is_address), "item {at} of {}", shown());
            }
            Token::Text(_) if !is_address_list => {}
            other => assert!(is_nil(other), "item {at} of {}", shown()),
        }
    }
}

fn is_nil(token: &Token) -> bool {
    matches!(token, Token::Atom(atom) if atom == b"NIL")
}

/// address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
fn is_address(token: &Token) -> bool {
    let is_string = |token: &Token| matches!(token, Token::Text(_)) || is_nil(token);
    matches!(token, Token::List(four) if four.len() == 4 && four.iter().all(is_string))
}

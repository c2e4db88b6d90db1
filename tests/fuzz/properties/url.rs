//! IMAP URLs: any octets are one or are refused with a place; what is read is read the same when it is written again.

use pillarbox::wire::url::{parse, rump, write};

pub fn check(input: &[u8]) {
    match super::in_linear_time(input.len(), || parse(input)) {
        Ok(url) => {
            let mut written = Vec::new();
            write(&mut written, &url);
            assert_eq!(parse(&written), Ok(url), "written again: {}", String::from_utf8_lossy(&written));
        }
        Err(garbled) => assert!((1..=input.len() + 1).contains(&garbled.at), "{garbled}"),
    }
    assert!(input.starts_with(rump(input)), "a rump that is not its beginning");
}

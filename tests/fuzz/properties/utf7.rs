//! Modified UTF-7: what is accepted is the one form of its text, and every text has a form.

use pillarbox::wire::utf7::{decode, encode};
use pillarbox::wire::write;

pub fn check(input: &[u8]) {
    if let Some(text) = super::in_linear_time(input.len(), || decode(input)) {
        assert_eq!(encode(&text).as_bytes(), input, "{text:?}");
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let wire = super::in_linear_time(input.len(), || encode(text));
    assert!(wire.bytes().all(|b| (0x20..=0x7e).contains(&b)), "{wire:?}");
    assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text));
    for dialect in super::DIALECTS {
        let Ok(name) = dialect.mailbox_name(input) else { continue };
        let mut out = b"a SELECT ".to_vec();
        write::mailbox(&mut out, &name, dialect);
        let again = pillarbox::wire::parse_in(&out, dialect).map(|command| command.body);
        assert!(
            matches!(&again, Ok(pillarbox::types::Body::Select(select)) if select.mailbox.as_ref() == Ok(&name)),
            "{again:?}"
        );
    }
}

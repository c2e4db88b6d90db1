//! What SORT and THREAD compare (RFC 5256, RFC 5957), derived once when a message is stored.
//! Texts are decoded and keep their case; folding them is the business of the collation.

use super::address::{Entry, addresses};
use super::date::{SentDate, parse_date};
use super::envelope::EnvelopeFields;
use super::subject::base_subject;
use super::words::decode_header_value;

/// Longest key kept, in octets of UTF-8.
pub const KEY_OCTETS: usize = 1024;
/// References kept of one message: the oldest and the newest of a longer chain.
pub const REFERENCES: usize = 1000;
/// Longest message id believed, in octets (RFC 5322 §2.1.1: a line has at most 998).
const ID_OCTETS: usize = 998;

/// The sort keys of one message. A key is empty when the message has nothing to make it of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SortKeys {
    /// `None`: no Date that can be read; the internal date takes its place (RFC 5256 §2.2).
    pub sent: Option<SentDate>,
    /// The base subject (RFC 5256 §2.1).
    pub subject: String,
    /// The subject was marked as that of a reply or forward; threading asks (RFC 5256 §3).
    pub is_reply: bool,
    /// The mailbox of the first address (RFC 5256 §3, FROM, TO, CC).
    pub from: String,
    pub to: String,
    pub cc: String,
    /// The first address as people see it (RFC 5957 §3).
    pub from_display: String,
    pub to_display: String,
}

impl SortKeys {
    pub(super) fn of(fields: &EnvelopeFields<'_>) -> SortKeys {
        let subject = fields.subject.map(base_subject).unwrap_or_default();
        let (from, from_display) = first_address(fields.from.as_slice());
        let (to, to_display) = first_address(&fields.to);
        let (cc, _) = first_address(&fields.cc);
        SortKeys {
            sent: fields.date.and_then(parse_date),
            subject: subject.text,
            is_reply: subject.is_reply,
            from,
            to,
            cc,
            from_display,
            to_display,
        }
    }
}

/// The mailbox and the display text of the first address, a group's name standing for both.
fn first_address(values: &[&[u8]]) -> (String, String) {
    let entries = addresses(values.iter().copied());
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(KEY_OCTETS));
        text
    };
    match entries.first() {
        Some(Entry::Mailbox(mailbox)) => {
            let local = decode_header_value(&mailbox.local);
            let name = mailbox.name.as_deref().map(decode_header_value).filter(|name| !name.is_empty());
            let display = name.unwrap_or_else(|| format!("{local}@{}", decode_header_value(&mailbox.domain)));
            (cut(local), cut(display))
        }
        Some(Entry::GroupStart(name)) => {
            let name = decode_header_value(name);
            (cut(name.clone()), cut(name))
        }
        Some(Entry::GroupEnd) | None => (String::new(), String::new()),
    }
}

/// How a message mentions a message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReferenceRole {
    /// It is this message's own.
    MessageId = 0,
    /// It stands in References; the order of several is that of the field, oldest first.
    References = 1,
    /// It is the first valid one of In-Reply-To, which counts when References has none (RFC 5256 §3).
    InReplyTo = 2,
}

/// A message id in its one normal form, and how it is mentioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub role: ReferenceRole,
    /// `left@right`, without brackets, quoting or blanks. Octets: nothing says it is text.
    pub id: Vec<u8>,
}

/// The ids a message mentions: its own, those of References in order, the first of In-Reply-To.
pub(super) fn references(fields: &EnvelopeFields<'_>) -> Vec<Reference> {
    let with = |role| move |id| Reference { role, id };
    let own = fields.message_id.and_then(|value| message_ids(value).next());
    let mut chain: Vec<Vec<u8>> = Vec::new();
    for id in fields.references.into_iter().flat_map(message_ids) {
        // Of a chain that is too long the oldest, which is the root of the thread, and the newest matter.
        if chain.len() >= 2 * REFERENCES {
            chain.drain(1..=REFERENCES);
        }
        chain.push(id);
    }
    if chain.len() > REFERENCES {
        chain.drain(1..=chain.len() - REFERENCES);
    }
    let parent = fields.in_reply_to.and_then(|value| message_ids(value).next());
    let own = own.into_iter().map(with(ReferenceRole::MessageId));
    let chain = chain.into_iter().map(with(ReferenceRole::References));
    own.chain(chain).chain(parent.into_iter().map(with(ReferenceRole::InReplyTo))).collect()
}

/// The valid message ids of a field's value, in order and normalised.
// RFC 5256 §3: <"a"@b> and <a@b> are one id. RFC 5322 §3.6.4: msg-id = "<" id-left "@" id-right ">".
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut rest = value;
    std::iter::from_fn(move || {
        while let Some(start) = memchr::memchr(b'<', rest) {
            let (id, used) = bracketed(&rest[start + 1..]);
            rest = &rest[start + 1 + used..];
            if id.is_some() {
                return id;
            }
        }
        None
    })
}

/// Reads up to the `>`; gives the id if it is one, and how many octets were used.
fn bracketed(text: &[u8]) -> (Option<Vec<u8>>, usize) {
    let mut id = Vec::new();
    let mut at_sign = None;
    let mut is_quoted = false;
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        match octet {
            b'>' if !is_quoted => {
                let is_valid = at_sign.is_some_and(|sign: usize| sign > 0 && sign + 1 < id.len());
                return ((is_valid && id.len() <= ID_OCTETS).then_some(id), at + 1);
            }
            // The bracket was never closed; a new id begins here.
            b'<' if !is_quoted => return (None, at),
            b'"' => is_quoted = !is_quoted,
            b'\\' if is_quoted && at + 1 < text.len() => {
                at += 1;
                id.push(text[at]);
            }
            _ if octet.is_ascii_whitespace() || octet == 0 => {}
            _ => {
                if octet == b'@' && !is_quoted {
                    at_sign = Some(id.len());
                }
                id.push(octet);
            }
        }
        at += 1;
    }
    (None, at)
}

/// The number under which an id is kept in the store. The key is the account's secret: without it nobody can
/// choose ids that collide.
pub fn reference_hash(key: &[u8; 16], id: &[u8]) -> u64 {
    let mut long_key = [0; 32];
    long_key[..16].copy_from_slice(key);
    let digest = blake3::keyed_hash(&long_key, id);
    let (first, _) = digest.as_bytes().split_at(8);
    first.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(value: &str) -> Vec<String> {
        message_ids(value.as_bytes()).map(|id| String::from_utf8_lossy(&id).into_owned()).collect()
    }

    #[test]
    fn message_ids_are_normalised() {
        assert_eq!(ids("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>"), ids("<01KF8JCEOCBS0045PS@xxx.yyy.com>"));
        assert_eq!(ids(" <a@b>\r\n\t<c@d><e@f>"), ["a@b", "c@d", "e@f"]);
        assert_eq!(ids("<a.very.long.one\r\n @host>"), ["a.very.long.one@host"]);
        assert_eq!(ids("<\"a>b\\\"\"@c>"), ["a>b\"@c"]);
        assert_eq!(ids("Message of Tue from Kim <kim@x.test> <real@id>"), ["kim@x.test", "real@id"]);
    }

    #[test]
    fn what_is_no_message_id() {
        for bad in ["", "a@b", "<>", "<@b>", "<a@>", "<ab>", "<a@b", "<\"a@b\">"] {
            assert!(ids(bad).is_empty(), "{bad}");
        }
        assert_eq!(ids("<broken <a@b>"), ["a@b"]);
        assert!(ids(&format!("<{}@b>", "a".repeat(1000))).is_empty());
    }

    #[test]
    fn a_long_chain_keeps_its_ends() {
        let begun = std::time::Instant::now();
        let value: String = (0..100_000).map(|n| format!("<{n}@x>")).collect();
        let fields = EnvelopeFields {
            references: Some(value.as_bytes()),
            message_id: Some(b"<own@x>"),
            in_reply_to: Some(b"<up@x> <no@x>"),
            ..EnvelopeFields::default()
        };
        let found = references(&fields);
        assert_eq!(found.len(), REFERENCES + 2);
        assert_eq!((found[0].role, &found[0].id[..]), (ReferenceRole::MessageId, &b"own@x"[..]));
        assert_eq!(found[1].id, b"0@x");
        assert_eq!(found[2].id, b"99001@x");
        assert_eq!(found[REFERENCES].id, b"99999@x");
        assert_eq!(found[REFERENCES + 1], Reference { role: ReferenceRole::InReplyTo, id: b"up@x".to_vec() });
        let flood = "<\"".repeat(200_000);
        assert!(ids(&flood).is_empty());
        assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    }

    #[test]
    fn keys_of_addresses() {
        let table: [(&[u8], &str, &str); 5] = [
            (b"Kim <kim@x.test>, lee@x.test", "kim", "Kim"),
            (b"kim@x.test", "kim", "kim@x.test"),
            (b"=?utf-8?Q?Zo=C3=AB?= <z@x.test>", "z", "Zoë"),
            (b"Friends: a@b;", "Friends", "Friends"),
            (b"", "", ""),
        ];
        for (value, mailbox, display) in table {
            assert_eq!(first_address(&[value]), (mailbox.into(), display.into()), "{:?}", value.escape_ascii());
        }
    }

    #[test]
    fn hashes_depend_on_key_and_id() {
        let hash = reference_hash(&[1; 16], b"a@b");
        assert_eq!(hash, reference_hash(&[1; 16], b"a@b"));
        assert_ne!(hash, reference_hash(&[2; 16], b"a@b"));
        assert_ne!(hash, reference_hash(&[1; 16], b"a@c"));
    }
}

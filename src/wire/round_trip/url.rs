//! URLs of every kind, written and read the same, and rubbish that is only ever refused.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::common::mailboxes;
use super::fetch::sections;
use crate::types::{
    DateTime, ImapUrl, Secret, Uid, UidValidity, UrlAccess, UrlAuthorization, UrlMailbox, UrlMessage, UrlPlace,
    UrlServer, UrlVerifier,
};
use crate::wire::url::{parse, rump, write};

fn servers() -> impl Strategy<Value = UrlServer> {
    let host = prop_oneof![Just("[2001:db8::1]".to_owned()), "[a-z0-9]{1,9}(\\.[a-z-]{1,5}){0,2}"];
    (option::of("[a-z@:/;ü ]{1,8}"), option::of("\\*|[A-Z0-9-]{1,8}"), host, option::of(any::<u16>()))
        .prop_map(|(user, auth, host, port)| UrlServer { user, auth, host, port })
}

fn places() -> impl Strategy<Value = UrlPlace> {
    let mailbox = || {
        (mailboxes(), option::of(1u32..)).prop_map(|(name, validity)| UrlMailbox {
            name: name.expect("good"),
            uid_validity: validity.map(UidValidity),
        })
    };
    let access = prop_oneof![
        "[a-z@:ü]{1,8}".prop_map(UrlAccess::Submit),
        "[a-z@:ü]{1,8}".prop_map(UrlAccess::User),
        Just(UrlAccess::AuthUser),
        Just(UrlAccess::Anonymous),
    ];
    let verifier = ("[A-Z.-]{1,8}", "[0-9a-fA-F]{32,40}")
        .prop_map(|(mechanism, token)| UrlVerifier { mechanism, token: Secret::new(token) });
    let expire = (-60_000_000_000i64..250_000_000_000, -1439i16..1440)
        .prop_map(|(unix_seconds, zone_minutes)| DateTime { unix_seconds, zone_minutes });
    let authorization = (option::of(expire), access, option::of(verifier))
        .prop_map(|(expire, access, verifier)| UrlAuthorization { expire, access, verifier });
    let partial = (0u64..1 << 63, option::of(1u64..1 << 63));
    let message = (1u32.., sections(), option::of(partial), option::of(authorization)).prop_map(
        |(uid, section, partial, authorization)| UrlMessage { uid: Uid(uid), section, partial, authorization },
    );
    prop_oneof![
        1 => Just(UrlPlace::Server),
        2 => (mailbox(), option::of(vec(any::<u8>(), 1..9)))
            .prop_map(|(mailbox, search)| UrlPlace::Mailbox { mailbox, search }),
        5 => (mailbox(), message).prop_map(|(mailbox, message)| UrlPlace::Message { mailbox, message }),
    ]
}

fn urls() -> impl Strategy<Value = ImapUrl> {
    (option::of(servers()), places()).prop_map(|(server, place)| ImapUrl { server, place })
}

fn written(url: &ImapUrl) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, url);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_url_is_read_the_same(url in urls()) {
        let text = written(&url);
        prop_assert!(text.iter().all(u8::is_ascii_graphic), "{}", String::from_utf8_lossy(&text));
        prop_assert_eq!(parse(&text), Ok(url.clone()), "{}", String::from_utf8_lossy(&text));
        // What is authorized reads as the same URL without its verifier.
        let mut bare = url;
        if let UrlPlace::Message { message: UrlMessage { authorization: Some(authorization), .. }, .. } = &mut bare.place {
            authorization.verifier = None;
        }
        prop_assert_eq!(parse(rump(&text)), Ok(bare));
    }

    #[test]
    fn one_wrong_octet_is_only_ever_refused(url in urls(), at in any::<usize>(), octet in any::<u8>()) {
        let mut text = written(&url);
        let at = at % text.len();
        text[at] = octet;
        if let Err(garbled) = parse(&text) {
            prop_assert!((1..=text.len() + 1).contains(&garbled.at), "{}", garbled);
            prop_assert!(garbled.expected != "something else", "{}", garbled);
        }
    }

    #[test]
    fn rubbish_is_only_ever_refused(text in "(imap://|/)?[a-z;:@/?=%.0-9UIDSECTION]{0,30}") {
        let _ = parse(text.as_bytes());
        let _ = rump(text.as_bytes());
    }
}

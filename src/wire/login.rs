//! The commands around login: LOGIN, AUTHENTICATE, ENABLE, ID; and the lines CAPABILITY, ENABLED, NAMESPACE, ID.

use nom::Parser;
use nom::bytes::complete::take_while1;

use super::dialect::Dialect;
use super::garbled::{Parsed, expected, fail};
use super::lexical::{astring, atom, close, nil, nstring, open, space, spaced, string};
use super::write;
use crate::types::command::{Authenticate, Login};
use crate::types::{Body, Secret};

/// login = "LOGIN" SP userid SP password; both are astrings
pub(super) fn login(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, user) = expected("a user name", astring).parse(i)?;
    let (i, ()) = space(i)?;
    let (i, password) = expected("a password", astring).parse(i)?;
    Ok((i, Body::Login(Login { user: user.into_owned(), password: Secret::new(password) })))
}

/// authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")] (RFC 4959 §3)
pub(super) fn authenticate(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, mechanism) = expected("the name of a mechanism", atom).parse(i)?;
    let mechanism = mechanism.to_ascii_uppercase();
    if i.is_empty() {
        return Ok((i, Body::Authenticate(Authenticate { mechanism, initial_response: None })));
    }
    let (i, ()) = space(i)?;
    let in_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let (i, response) = expected("an initial response in base64", take_while1(in_base64)).parse(i)?;
    let response = if response == b"=" { Secret::new("") } else { Secret::new(response) };
    Ok((i, Body::Authenticate(Authenticate { mechanism, initial_response: Some(response) })))
}

/// "ENABLE" 1*(SP capability) (RFC 5161 §4)
pub(super) fn enable(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, names) = spaced(i, expected("the name of a capability", atom))?;
    Ok((i, Body::Enable(names.iter().map(|name| name.to_ascii_uppercase()).collect())))
}

// RFC 2971 §3.3: no more than 30 pairs, values of no more than 1024 octets. Longer field names are let be.
const ID_PAIRS: usize = 30;
const ID_OCTETS: usize = 1024;

/// id ::= "ID" SPACE id_params_list; id_params_list ::= "(" #(string SPACE nstring) ")" / nil (RFC 2971 §4)
pub(super) fn id(i: &[u8]) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    if let Ok((i, ())) = nil(i) {
        return Ok((i, Body::Id(Vec::new())));
    }
    let (mut i, ()) = expected("NIL or \"(\"", open).parse(i)?;
    let mut pairs = Vec::new();
    while i.first() != Some(&b')') {
        if !pairs.is_empty() {
            i = space(i)?.0;
        }
        if pairs.len() == ID_PAIRS {
            return fail(i, "at most 30 pairs");
        }
        let (rest, field) = string(i)?;
        let (rest, ()) = space(rest)?;
        let (rest, value) = nstring(rest)?;
        if field.len() > ID_OCTETS || value.as_ref().is_some_and(|value| value.len() > ID_OCTETS) {
            return fail(i, "strings of at most 1024 octets");
        }
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        pairs.push((text(&field), value.as_deref().map(text)));
        i = rest;
    }
    let (i, ()) = close(i)?;
    Ok((i, Body::Id(pairs)))
}

/// `* CAPABILITY IMAP4rev1 ...` (RFC 3501 §7.2.1)
pub fn write_capability<'a>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) {
    words(out, "* CAPABILITY", names);
}

/// `* ENABLED ...` (RFC 5161 §3.2); nothing enabled is written too.
pub fn write_enabled<'a>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) {
    words(out, "* ENABLED", names);
}

fn words<'a>(out: &mut Vec<u8>, head: &str, names: impl IntoIterator<Item = &'a str>) {
    out.extend_from_slice(head.as_bytes());
    for name in names {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
    }
    write::end(out);
}

/// `* ID (...)`, or `* ID NIL` without pairs (RFC 2971 §3.2).
pub fn write_id(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID ");
    if pairs.is_empty() {
        write::nil(out);
    } else {
        for (at, (field, value)) in pairs.iter().enumerate() {
            out.push(if at == 0 { b'(' } else { b' ' });
            write::string(out, field.as_bytes());
            out.push(b' ');
            write::string(out, value.as_bytes());
        }
        out.push(b')');
    }
    write::end(out);
}

/// The prefixes of each kind of namespace, as text; `/` is the separator in all of them (RFC 2342 §5).
#[derive(Debug, Clone, Copy, Default)]
pub struct Namespaces<'a> {
    pub personal: &'a [&'a str],
    /// Those of other users.
    pub others: &'a [&'a str],
    pub shared: &'a [&'a str],
}

/// `* NAMESPACE personal others shared`; a kind without any prefix is NIL.
pub fn write_namespace(out: &mut Vec<u8>, namespaces: &Namespaces<'_>, dialect: Dialect) {
    out.extend_from_slice(b"* NAMESPACE");
    for prefixes in [namespaces.personal, namespaces.others, namespaces.shared] {
        out.push(b' ');
        if prefixes.is_empty() {
            write::nil(out);
            continue;
        }
        out.push(b'(');
        for prefix in prefixes {
            out.push(b'(');
            write::name_string(out, &dialect.encode(prefix));
            out.extend_from_slice(b" \"/\")");
        }
        out.push(b')');
    }
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn body(line: &[u8]) -> Option<Body> {
        parse(line).ok().map(|c| c.body)
    }

    fn login_of(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        match body(line) {
            Some(Body::Login(login)) => Some((login.user.clone(), login.password.reveal().to_vec())),
            _ => None,
        }
    }

    #[test]
    fn login_takes_every_kind_of_string() {
        let cases: [(&[u8], &[u8], &[u8]); 5] = [
            (b"a LOGIN ann secret", b"ann", b"secret"),
            (br#"a login "ann" "a\"b\\c""#, b"ann", br#"a"b\c"#),
            (b"a LOGIN {11+}\r\nFRED FOOBAR {7}\r\nfat man", b"FRED FOOBAR", b"fat man"),
            (b"a LOGIN ann \"gr\xc3\xbcn\"", b"ann", b"gr\xc3\xbcn"),
            (b"a LOGIN \"\" \"\"", b"", b""),
        ];
        for (line, user, password) in cases {
            assert_eq!(login_of(line), Some((user.to_vec(), password.to_vec())), "{}", String::from_utf8_lossy(line));
        }
        for line in
            ["a LOGIN ann", "a LOGIN ann  x", "a LOGIN ann x y", "a LOGIN ann x ", "a LOGIN", "a LOGIN {3}\r\nann"]
        {
            assert_eq!(login_of(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn authenticate_with_and_without_an_initial_response() {
        let response = |line: &str| match body(line.as_bytes()) {
            Some(Body::Authenticate(a)) => {
                assert_eq!(a.mechanism, "PLAIN");
                Ok(a.initial_response.map(|r| r.reveal().to_vec()))
            }
            other => Err(other.map(Box::new)),
        };
        assert_eq!(response("a AUTHENTICATE plain"), Ok(None));
        assert_eq!(response("a AUTHENTICATE PLAIN ="), Ok(Some(vec![])));
        assert_eq!(response("a AUTHENTICATE PLAIN AGEAYg=="), Ok(Some(b"AGEAYg==".to_vec())));
        for bad in ["a AUTHENTICATE", "a AUTHENTICATE PLAIN ", "a AUTHENTICATE PLAIN \"x\"", "a AUTHENTICATE PLAIN a b"]
        {
            assert_eq!(response(bad), Err(None), "{bad}");
        }
    }

    #[test]
    fn enable_wants_names() {
        let names = vec!["CONDSTORE".to_owned(), "UTF8=ACCEPT".to_owned()];
        assert_eq!(body(b"a ENABLE condstore UTF8=Accept"), Some(Body::Enable(names)));
        assert_eq!(body(b"a ENABLE"), None);
    }

    #[test]
    fn id_takes_lists_within_bounds() {
        let pairs = vec![("name".to_owned(), Some("x y".to_owned())), ("os".to_owned(), None)];
        assert_eq!(body(br#"a ID ("name" "x y" "os" NIL)"#), Some(Body::Id(pairs)));
        assert_eq!(body(b"a ID nil"), Some(Body::Id(vec![])));
        assert_eq!(body(b"a ID ()"), Some(Body::Id(vec![])));
        let many = |n: usize| format!("a ID ({})", vec!["\"a\" \"b\""; n].join(" "));
        assert!(body(many(30).as_bytes()).is_some());
        assert!(body(many(31).as_bytes()).is_none());
        assert!(body(format!("a ID (\"a\" \"{}\")", "x".repeat(1025)).as_bytes()).is_none());
        for bad in ["a ID", "a ID (\"a\")", "a ID (a b)", "a ID (\"a\" \"b\" )", "a ID (\"a\"", "a ID ("] {
            assert_eq!(body(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lines() {
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(written(&|out| write_capability(out, ["IMAP4rev1", "IDLE"])), "* CAPABILITY IMAP4rev1 IDLE\r\n");
        assert_eq!(written(&|out| write_enabled(out, [])), "* ENABLED\r\n");
        assert_eq!(written(&|out| write_id(out, &[("name", "Pillarbox")])), "* ID (\"name\" \"Pillarbox\")\r\n");
        assert_eq!(written(&|out| write_id(out, &[])), "* ID NIL\r\n");
        let namespaces = Namespaces { personal: &[""], others: &["Other Üser/"], shared: &[] };
        assert_eq!(
            written(&|out| write_namespace(out, &namespaces, Dialect::default())),
            "* NAMESPACE ((\"\" \"/\")) ((\"Other &ANw-ser/\" \"/\")) NIL\r\n"
        );
    }
}

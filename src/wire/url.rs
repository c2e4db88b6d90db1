//! IMAP URLs (RFC 5092), read and written: absolute ones, and those that begin with `/` and are relative to the
//! session's server and user, which is all that CATENATE wants (RFC 4469 §3).
//!
//! Mailbox names in URLs are UTF-8, whatever the session's dialect. Strings match in any case where the grammar's do.

use nom::Parser;
use nom::bytes::complete::{tag_no_case, take_while, take_while1};

use super::date::{internet_date_time, write_internet_date_time};
use super::fetch::{section, write_section_spec};
use super::garbled::{Garbled, Parsed, Wrong, expected, fail, wrong};
use super::lexical::{ascii, number64, nz_number, nz_number64};
use super::write;
use crate::types::{
    ImapUrl, MailboxName, Secret, Section, Uid, UidValidity, UrlAccess, UrlAuthorization, UrlMailbox, UrlMessage,
    UrlPlace, UrlServer, UrlVerifier,
};

/// Reads a whole URL.
///
/// # Errors
/// [`Garbled`], without a tag, when it is no IMAP URL, or one that says where to go from another (RFC 5092 §7.2:
/// relative paths are not accepted).
pub fn parse(url: &[u8]) -> Result<ImapUrl, Garbled> {
    match whole(url) {
        Ok((&[], url)) => Ok(url),
        Ok((rest, _)) => Err(Garbled::new(None, url, wrong(rest, "the end of the URL"))),
        Err(error) => Err(Garbled::new(None, url, error)),
    }
}

/// The URL without its verifier: the text that is authorized (RFC 4467 §2.6, authimapurlrump). All of it when there is
/// none. Meant for a URL that [`parse`] has read.
pub fn rump(url: &[u8]) -> &[u8] {
    const MARK: &[u8] = b";URLAUTH=";
    let found = url.windows(MARK.len()).rposition(|window| window.eq_ignore_ascii_case(MARK));
    let Some(access) = found.map(|at| at + MARK.len()) else { return url };
    // A colon is in no access identifier.
    let end = url[access..].iter().position(|b| *b == b':').map_or(url.len(), |at| access + at);
    &url[..end]
}

/// imapurl = "imap://" iserver ipath-query; imapurl-rel = "//" iserver ipath-query / "/" [icommand]
fn whole(i: &[u8]) -> Parsed<'_, ImapUrl> {
    if i.len() > ImapUrl::MAX_OCTETS {
        return fail(i, "a URL of at most 8192 octets");
    }
    let begins = |text: &str| tag_no_case::<_, _, Wrong>(text).parse(i).map(|(rest, _)| rest).ok();
    let (i, server) = match begins("imap://").or_else(|| begins("//")) {
        Some(rest) => server(rest).map(|(i, server)| (i, Some(server)))?,
        None => (i, None),
    };
    // ipath-query = ["/" [ icommand ]]
    if i.is_empty() && server.is_some() {
        return Ok((i, ImapUrl { server, place: UrlPlace::Server }));
    }
    let begin = if server.is_some() { "\"/\"" } else { "\"imap://\" or \"/\"" };
    let Some(i) = i.strip_prefix(b"/") else { return fail(i, begin) };
    if i.is_empty() {
        return Ok((i, ImapUrl { server, place: UrlPlace::Server }));
    }
    let (i, place) = command(i)?;
    Ok((i, ImapUrl { server, place }))
}

/// iserver = [iuserinfo "@"] host [ ":" port ]
fn server(i: &[u8]) -> Parsed<'_, UrlServer> {
    let end = i.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(i.len());
    let (mut user, mut auth) = (None, None);
    let mut i = i;
    if i[..end].contains(&b'@') {
        // iuserinfo = enc-user [iauth] / [enc-user] iauth; iauth = ";AUTH=" ( "*" / enc-auth-type )
        if !i.starts_with(b";") {
            let (rest, name) = encoded_text(i, is_achar, "a user name")?;
            (i, user) = (rest, Some(name));
        }
        if let Some(rest) = parameter(i, ";AUTH=") {
            let (rest, name) = encoded_text(rest, is_achar, "a mechanism or \"*\"")?;
            (i, auth) = (rest, Some(name));
        }
        i = i.strip_prefix(b"@").ok_or_else(|| wrong(i, "\"@\" behind the user name"))?;
    }
    let (i, host) = host(i)?;
    let Some(i) = i.strip_prefix(b":") else { return Ok((i, UrlServer { user, auth, host, port: None })) };
    let (rest, digits) = take_while(|b: u8| b.is_ascii_digit()).parse(i)?;
    // RFC 3986 §3.2.3: the port may be empty.
    let port = match ascii(digits) {
        "" => None,
        digits => Some(digits.parse().map_err(|_| wrong(i, "a port number"))?),
    };
    Ok((rest, UrlServer { user, auth, host, port }))
}

/// host = IP-literal / IPv4address / reg-name (RFC 3986 §3.2.2)
fn host(i: &[u8]) -> Parsed<'_, String> {
    let what = "a host";
    if let Some(inner) = i.strip_prefix(b"[") {
        let is_address = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
        let (rest, _) = expected(what, take_while1(is_address)).parse(inner)?;
        let rest = rest.strip_prefix(b"]").ok_or_else(|| wrong(rest, "\"]\""))?;
        return Ok((rest, ascii(&i[..i.len() - rest.len()]).to_ascii_lowercase()));
    }
    let is_name = |b: u8| is_unreserved(b) && b != b'~' && b != b'_';
    let (rest, name) = expected(what, take_while1(is_name)).parse(i)?;
    if name.len() > 255 {
        return fail(i, "a host of at most 255 octets");
    }
    Ok((rest, ascii(name).to_ascii_lowercase()))
}

/// icommand = imessagelist / imessagepart [iurlauth]
fn command(i: &[u8]) -> Parsed<'_, UrlPlace> {
    // enc-mailbox = 1*bchar; the "/" in front of ";UID=" is one as well.
    let (rest, name) = encoded(i, is_bchar, "a mailbox name")?;
    let written = &i[..i.len() - rest.len()];
    let (written, is_message) = match written.strip_suffix(b"/") {
        Some(written) if parameter(rest, ";UID=").is_some() => (written, true),
        _ => (written, false),
    };
    let name = if is_message { &name[..name.len() - 1] } else { &name[..] };
    // RFC 5092 §7: such levels would be taken for steps, unless they are encoded.
    if written.split(|b| *b == b'/').any(|level| level == b"." || level == b"..") {
        return fail(i, "a mailbox name without levels \".\" and \"..\"");
    }
    let name = std::str::from_utf8(name).ok().and_then(|name| MailboxName::new(name).ok());
    let Some(name) = name else { return fail(i, "a mailbox name in UTF-8, percent-encoded") };
    let (mut i, mut uid_validity) = (rest, None);
    // uidvalidity = ";UIDVALIDITY=" nz-number
    if let Some(rest) = parameter(i, ";UIDVALIDITY=") {
        let (rest, n) = nz_number(rest)?;
        (i, uid_validity) = (rest, Some(UidValidity(n)));
    }
    let mailbox = UrlMailbox { name, uid_validity };
    // iuid = "/;UID=" nz-number
    if let Some(rest) = parameter(i, if is_message { ";UID=" } else { "/;UID=" }) {
        let (i, uid) = nz_number(rest)?;
        let (i, message) = message(i, Uid(uid))?;
        return Ok((i, UrlPlace::Message { mailbox, message }));
    }
    // imessagelist = imailbox-ref [ "?" enc-search ]
    let Some(rest) = i.strip_prefix(b"?") else { return Ok((i, UrlPlace::Mailbox { mailbox, search: None })) };
    let (i, search) = encoded(rest, is_bchar, "a search")?;
    Ok((i, UrlPlace::Mailbox { mailbox, search: Some(search) }))
}

/// [isection] [ipartial] [iurlauth]
fn message(i: &[u8], uid: Uid) -> Parsed<'_, UrlMessage> {
    let (mut i, mut partial, mut section) = (i, None, Section::default());
    // isection = "/;SECTION=" enc-section; enc-section = 1*bchar
    if let Some(begin) = parameter(i, "/;SECTION=") {
        let (rest, text) = encoded(begin, is_bchar, "a section")?;
        let ends_early = parameter(rest, ";PARTIAL=").is_some() && begin[..begin.len() - rest.len()].ends_with(b"/");
        let text = if ends_early { &text[..text.len() - 1] } else { &text[..] };
        section = section_spec(text).ok_or_else(|| wrong(begin, "a section like 1.2.HEADER"))?;
        // The slash belongs to what follows.
        i = if ends_early { &begin[begin.len() - rest.len() - 1..] } else { rest };
    }
    // ipartial = "/;PARTIAL=" number ["." nz-number], of 64 bits since RFC 9051 §9
    if let Some(rest) = parameter(i, "/;PARTIAL=") {
        let (rest, first) = number64(rest)?;
        (i, partial) = match rest.strip_prefix(b".") {
            Some(rest) => nz_number64(rest).map(|(rest, count)| (rest, Some((first, Some(count)))))?,
            None => (rest, Some((first, None))),
        };
    }
    let (i, authorization) = authorization(i)?;
    Ok((i, UrlMessage { uid, section, partial, authorization }))
}

/// section-spec, as it stands between the brackets of BODY[...]; never empty
fn section_spec(text: &[u8]) -> Option<Section> {
    let bracketed = [b"[", text, b"]"].concat();
    match section(&bracketed) {
        Ok((&[], found)) if !text.is_empty() => Some(found),
        _ => None,
    }
}

/// iurlauth = iurlauth-rump iua-verifier; iurlauth-rump = [";EXPIRE=" date-time] ";URLAUTH=" access;
/// iua-verifier = ":" uauth-mechanism ":" enc-urlauth
fn authorization(i: &[u8]) -> Parsed<'_, Option<UrlAuthorization>> {
    let (mut i, mut expire) = (i, None);
    if let Some(rest) = parameter(i, ";EXPIRE=") {
        let (rest, moment) = internet_date_time(rest)?;
        (i, expire) = (rest, Some(moment));
    }
    let Some(rest) = parameter(i, ";URLAUTH=") else {
        return if expire.is_some() { fail(i, "\";URLAUTH=\"") } else { Ok((i, None)) };
    };
    let (i, access) = access(rest)?;
    let Some(i) = i.strip_prefix(b":") else {
        return Ok((i, Some(UrlAuthorization { expire, access, verifier: None })));
    };
    let is_mechanism = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let (i, mechanism) = expected("a mechanism", take_while1(is_mechanism)).parse(i)?;
    let i = i.strip_prefix(b":").ok_or_else(|| wrong(i, "\":\" and a token"))?;
    let (rest, token) = take_while(|b: u8| b.is_ascii_hexdigit()).parse(i)?;
    // enc-urlauth = 32*HEXDIG
    if token.len() < 32 {
        return fail(i, "a token of 32 hexadecimal digits or more");
    }
    let verifier = Some(UrlVerifier { mechanism: ascii(mechanism).to_ascii_uppercase(), token: Secret::new(token) });
    Ok((rest, Some(UrlAuthorization { expire, access, verifier })))
}

/// access = "submit+" enc-user / "user+" enc-user / "authuser" / "anonymous"
fn access(i: &[u8]) -> Parsed<'_, UrlAccess> {
    let user = |rest| encoded_text(rest, is_achar, "a user name");
    if let Some(rest) = parameter(i, "submit+") {
        user(rest).map(|(i, user)| (i, UrlAccess::Submit(user)))
    } else if let Some(rest) = parameter(i, "user+") {
        user(rest).map(|(i, user)| (i, UrlAccess::User(user)))
    } else if let Some(rest) = parameter(i, "authuser") {
        Ok((rest, UrlAccess::AuthUser))
    } else if let Some(rest) = parameter(i, "anonymous") {
        Ok((rest, UrlAccess::Anonymous))
    } else {
        fail(i, "submit+, user+, authuser or anonymous")
    }
}

/// What stands behind `name`, if it is there.
fn parameter<'a>(i: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (head, rest) = i.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name.as_bytes()).then_some(rest)
}

/// 1*(allowed / pct-encoded), decoded
fn encoded<'a>(i: &'a [u8], allowed: fn(u8) -> bool, what: &'static str) -> Parsed<'a, Vec<u8>> {
    let (mut rest, mut decoded) = (i, Vec::new());
    loop {
        rest = match rest {
            [b'%', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(digit(*high) << 4 | digit(*low));
                behind
            }
            [b'%', ..] => return fail(rest, "two hexadecimal digits behind \"%\""),
            [b, behind @ ..] if allowed(*b) => {
                decoded.push(*b);
                behind
            }
            _ if decoded.is_empty() => return fail(i, what),
            _ => return Ok((rest, decoded)),
        }
    }
}

/// The same as text.
fn encoded_text<'a>(i: &'a [u8], allowed: fn(u8) -> bool, what: &'static str) -> Parsed<'a, String> {
    let (rest, octets) = encoded(i, allowed, what)?;
    String::from_utf8(octets).map(|text| (rest, text)).map_err(|_| wrong(i, "UTF-8"))
}

fn digit(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        _ => b.to_ascii_lowercase() - b'a' + 10,
    }
}

/// unreserved (RFC 3986 §2.3)
fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

/// achar = uchar / "&" / "="; uchar = unreserved / sub-delims-sh / pct-encoded
fn is_achar(b: u8) -> bool {
    is_unreserved(b) || matches!(b, b'!' | b'$' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'&' | b'=')
}

/// bchar = achar / ":" / "@" / "/"
fn is_bchar(b: u8) -> bool {
    is_achar(b) || matches!(b, b':' | b'@' | b'/')
}

/// Writes a URL in the form that [`parse`] reads.
pub fn write(out: &mut Vec<u8>, url: &ImapUrl) {
    if let Some(server) = &url.server {
        write_server(out, server);
    }
    out.push(b'/');
    match &url.place {
        UrlPlace::Server => {}
        UrlPlace::Mailbox { mailbox, search } => {
            write_mailbox(out, mailbox);
            if let Some(search) = search {
                out.push(b'?');
                write_encoded(out, search, is_bchar);
            }
        }
        UrlPlace::Message { mailbox, message } => {
            write_mailbox(out, mailbox);
            write_message(out, message);
        }
    }
}

fn write_server(out: &mut Vec<u8>, server: &UrlServer) {
    out.extend_from_slice(b"imap://");
    if let Some(user) = &server.user {
        write_encoded(out, user.as_bytes(), is_achar);
    }
    if let Some(auth) = &server.auth {
        out.extend_from_slice(b";AUTH=");
        write_encoded(out, auth.as_bytes(), is_achar);
    }
    if server.user.is_some() || server.auth.is_some() {
        out.push(b'@');
    }
    out.extend_from_slice(server.host.as_bytes());
    if let Some(port) = server.port {
        out.push(b':');
        write::number(out, port);
    }
}

fn write_mailbox(out: &mut Vec<u8>, mailbox: &UrlMailbox) {
    for (at, level) in mailbox.name.levels().enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        // RFC 5092 §7: "." and ".." as levels would be taken for steps.
        let is_step = level == "." || level == "..";
        write_encoded(out, level.as_bytes(), if is_step { |_| false } else { is_bchar });
    }
    if let Some(uid_validity) = mailbox.uid_validity {
        out.extend_from_slice(b";UIDVALIDITY=");
        write::number(out, uid_validity.0);
    }
}

fn write_message(out: &mut Vec<u8>, message: &UrlMessage) {
    out.extend_from_slice(b"/;UID=");
    write::number(out, message.uid.0);
    if message.section != Section::default() {
        let mut spec = Vec::new();
        write_section_spec(&mut spec, &message.section);
        out.extend_from_slice(b"/;SECTION=");
        write_encoded(out, &spec, is_bchar);
    }
    if let Some((first, count)) = message.partial {
        out.extend_from_slice(b"/;PARTIAL=");
        write::number(out, first);
        if let Some(count) = count {
            out.push(b'.');
            write::number(out, count);
        }
    }
    if let Some(authorization) = &message.authorization {
        write_authorization(out, authorization);
    }
}

fn write_authorization(out: &mut Vec<u8>, authorization: &UrlAuthorization) {
    if let Some(expire) = authorization.expire {
        out.extend_from_slice(b";EXPIRE=");
        write_internet_date_time(out, expire);
    }
    out.extend_from_slice(b";URLAUTH=");
    match &authorization.access {
        UrlAccess::Submit(user) => {
            out.extend_from_slice(b"submit+");
            write_encoded(out, user.as_bytes(), is_achar);
        }
        UrlAccess::User(user) => {
            out.extend_from_slice(b"user+");
            write_encoded(out, user.as_bytes(), is_achar);
        }
        UrlAccess::AuthUser => out.extend_from_slice(b"authuser"),
        UrlAccess::Anonymous => out.extend_from_slice(b"anonymous"),
    }
    if let Some(verifier) = &authorization.verifier {
        out.push(b':');
        out.extend_from_slice(verifier.mechanism.as_bytes());
        out.push(b':');
        out.extend_from_slice(verifier.token.reveal());
    }
}

fn write_encoded(out: &mut Vec<u8>, octets: &[u8], allowed: fn(u8) -> bool) {
    for b in octets {
        if allowed(*b) { out.push(*b) } else { write::percent(out, *b) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SectionText;

    fn read(url: &str) -> Result<ImapUrl, String> {
        parse(url.as_bytes()).map_err(|garbled| garbled.to_string())
    }

    fn again(url: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, &read(url).expect(url));
        String::from_utf8(out).expect("ASCII")
    }

    fn message(url: &str) -> UrlMessage {
        match read(url).map(|url| url.place) {
            Ok(UrlPlace::Message { message, .. }) => message,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn urls_come_back_in_their_own_form() {
        let same = [
            "/",
            "/INBOX",
            "/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=HEADER",
            "/a/b%20c/;UID=3002",
            "/Entw%C3%BCrfe?SUBJECT%20%22x%22",
            "/x/;UID=1/;SECTION=1.2.HEADER.FIELDS%20(From%20to)/;PARTIAL=0.1024",
            "/x/;UID=1/;PARTIAL=5000000000",
            "/%2E%2E/a/;UID=1",
            "imap://example.com/",
            "imap://;AUTH=*@example.com:143/",
            "imap://joe;AUTH=SCRAM-SHA-256@[2001:db8::1]:1143/INBOX/;UID=20",
            "imap://joe%40x@example.com/INBOX/;UID=20;EXPIRE=2026-01-01T12:00:00Z;URLAUTH=submit+fred",
            "imap://joe@example.com/INBOX/;UID=20/;SECTION=1.2;URLAUTH=user+a%3Ab:INTERNAL:91354a473744909de610943775f92038",
            "/x/;UID=1;URLAUTH=authuser",
            "/x/;UID=1;EXPIRE=2026-01-01T12:00:00+01:30;URLAUTH=anonymous",
        ];
        for url in same {
            assert_eq!(again(url), url);
        }
        let other = [
            ("IMAP://Example.COM", "imap://example.com/"),
            ("//example.com:/INBOX", "imap://example.com/INBOX"),
            ("/inbox/;uid=5/;section=text", "/INBOX/;UID=5/;SECTION=TEXT"),
            ("/%69nbox%2fSub/", "/INBOX/Sub"),
            (
                "/x/;UID=1;urlauth=AUTHUSER:internal:91354A473744909DE610943775F92038",
                "/x/;UID=1;URLAUTH=authuser:INTERNAL:91354A473744909DE610943775F92038",
            ),
        ];
        for (url, expected) in other {
            assert_eq!(again(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_meant() {
        let whole = message("/x/;UID=7");
        assert_eq!((whole.uid, whole.section, whole.partial), (Uid(7), Section::default(), None));
        let part = message("/x/;UID=7/;SECTION=1.2.MIME/;PARTIAL=10.5");
        assert_eq!(part.section, Section { path: vec![1, 2], text: SectionText::Mime });
        assert_eq!(part.partial, Some((10, Some(5))));
        let Ok(UrlPlace::Mailbox { mailbox, search }) = read("/Entw%c3%bcrfe;UIDVALIDITY=3?ALL").map(|url| url.place)
        else {
            panic!("no mailbox")
        };
        assert_eq!((mailbox.name.as_str(), mailbox.uid_validity), ("Entwürfe", Some(UidValidity(3))));
        assert_eq!(search.as_deref(), Some(&b"ALL"[..]));
        let authorized = message("/x/;UID=7;URLAUTH=submit+fred:internal:91354a473744909de610943775f92038");
        let authorized = authorized.authorization.expect("given");
        assert_eq!(authorized.access, UrlAccess::Submit("fred".into()));
        assert!(!format!("{authorized:?}").contains("91354a"), "a token is not printed");
    }

    #[test]
    fn what_is_authorized_is_the_text_before_the_verifier() {
        let of = |url: &'static str| rump(url.as_bytes());
        assert_eq!(of("/x/;UID=7;urlauth=user+a:internal:91"), b"/x/;UID=7;urlauth=user+a");
        assert_eq!(of("imap://h:1/x/;UID=7;URLAUTH=anonymous"), b"imap://h:1/x/;UID=7;URLAUTH=anonymous");
        assert_eq!(of("/x:y/;UID=7"), b"/x:y/;UID=7");
    }

    #[test]
    fn what_is_no_url() {
        let name = "a mailbox name in UTF-8, percent-encoded";
        let bad = [
            ("", "\"imap://\" or \"/\" at octet 1"),
            ("http://x/", "\"imap://\" or \"/\" at octet 1"),
            ("INBOX/;UID=1", "\"imap://\" or \"/\" at octet 1"),
            (";UID=1", "\"imap://\" or \"/\" at octet 1"),
            ("imap:///INBOX", "a host at octet 8"),
            ("imap://a@b@c/", "\"/\" at octet 11"),
            ("imap://a:70000/", "a port number at octet 10"),
            ("imap://a:1x/", "\"/\" at octet 11"),
            ("imap://[::1/", "\"]\" at octet 12"),
            ("imap://a;AUTH=@b/", "a mechanism or \"*\" at octet 15"),
            ("imap://a?x", "\"/\" at octet 9"),
            ("/;UID=1", "a mailbox name at octet 2"),
            ("/a b", "the end of the URL at octet 3"),
            ("/a%2", "two hexadecimal digits behind \"%\" at octet 3"),
            ("/a%zz", "two hexadecimal digits behind \"%\" at octet 3"),
            ("/%ff", &format!("{name} at octet 2")),
            ("/a%00", &format!("{name} at octet 2")),
            ("/a//b", &format!("{name} at octet 2")),
            ("/a/../b", "a mailbox name without levels \".\" and \"..\" at octet 2"),
            ("/./;UID=1", "a mailbox name without levels \".\" and \"..\" at octet 2"),
            ("/a;UID=1", "the end of the URL at octet 3"),
            ("/a;UIDVALIDITY=0", "a number from 1 to 4294967295 without a leading 0 at octet 16"),
            ("/a/;UID=0", "a number from 1 to 4294967295 without a leading 0 at octet 9"),
            ("/a/;UID=*", "a number from 1 to 4294967295 without a leading 0 at octet 9"),
            ("/a/;UID=1/", "the end of the URL at octet 10"),
            ("/a/;UID=1?ALL", "the end of the URL at octet 10"),
            ("/a/;UID=1/;SECTION=", "a section at octet 20"),
            ("/a/;UID=1/;SECTION=0", "a section like 1.2.HEADER at octet 20"),
            ("/a/;UID=1/;SECTION=1]", "the end of the URL at octet 21"),
            ("/a/;UID=1/;SECTION=1%5D", "a section like 1.2.HEADER at octet 20"),
            ("/a/;UID=1/;SECTION=1;PARTIAL=1", "the end of the URL at octet 21"),
            ("/a/;UID=1/;PARTIAL=", "a number below 9223372036854775808 at octet 20"),
            ("/a/;UID=1/;PARTIAL=1.0", "a number from 1 to 9223372036854775807 without a leading 0 at octet 22"),
            ("/a/;UID=1/;PARTIAL=1/;SECTION=1", "the end of the URL at octet 21"),
            ("/a/;UID=1;EXPIRE=2026-01-01T12:00:00Z", "\";URLAUTH=\" at octet 38"),
            ("/a/;UID=1;EXPIRE=2026;URLAUTH=authuser", "a date-time like 1996-12-19T16:39:57-08:00 at octet 18"),
            ("/a/;UID=1;URLAUTH=all", "submit+, user+, authuser or anonymous at octet 19"),
            ("/a/;UID=1;URLAUTH=user+", "a user name at octet 24"),
            ("/a/;UID=1;URLAUTH=authuser:", "a mechanism at octet 28"),
            ("/a/;UID=1;URLAUTH=authuser:INTERNAL", "\":\" and a token at octet 36"),
            ("/a/;UID=1;URLAUTH=authuser:INTERNAL:12", "a token of 32 hexadecimal digits or more at octet 37"),
            ("/a;URLAUTH=authuser", "the end of the URL at octet 3"),
        ];
        for (url, expected) in bad {
            assert_eq!(read(url), Err(format!("expected {expected}")), "{url}");
        }
        let long = format!("/{}", "a/".repeat(5000));
        assert_eq!(read(&long), Err("expected a URL of at most 8192 octets at octet 1".into()));
    }
}

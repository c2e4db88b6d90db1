//! GETQUOTA, GETQUOTAROOT and SETQUOTA, and the lines QUOTA and QUOTAROOT (RFC 9208).

use nom::Parser;

use super::dialect::Dialect;
use super::garbled::{Parsed, expected, fail};
use super::lexical::{astring, atom, listed_or_none, number64, space};
use super::mailbox::only;
use super::write;
use crate::types::quota::{ResourceArgument, SetQuota, UnknownResource};
use crate::types::{Body, MailboxName, Resource, ResourceUsage};

/// getquota = "GETQUOTA" SP quota-root-name
pub(super) fn get(i: &[u8]) -> Parsed<'_, Body> {
    root(i).map(|(i, root)| (i, Body::GetQuota(root)))
}

/// getquotaroot = "GETQUOTAROOT" SP mailbox
pub(super) fn get_root(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    only(i, dialect).map(|(i, name)| (i, Body::GetQuotaRoot(name)))
}

/// setquota = "SETQUOTA" SP quota-root-name SP "(" [setquota-resource *(SP setquota-resource)] ")"
pub(super) fn set(i: &[u8]) -> Parsed<'_, Body> {
    let (i, root) = root(i)?;
    let (i, ()) = space(i)?;
    let mut limits: Vec<(ResourceArgument, u64)> = Vec::new();
    let (i, _) = listed_or_none(i, |i| {
        let (rest, (resource, limit)) = limit(i)?;
        if limits.iter().any(|(known, _)| *known == resource) {
            return fail(i, "each resource only once");
        }
        if limits.len() == SetQuota::MAX_LIMITS {
            return fail(i, "at most 32 limits");
        }
        limits.push((resource, limit));
        Ok((rest, ()))
    })?;
    Ok((i, Body::SetQuota(SetQuota { root, limits })))
}

/// SP quota-root-name; quota-root-name = astring
fn root(i: &[u8]) -> Parsed<'_, Vec<u8>> {
    let (i, ()) = space(i)?;
    let (i, root) = expected("the name of a quota root", astring).parse(i)?;
    Ok((i, root.into_owned()))
}

/// setquota-resource = resource-name SP resource-limit; resource-limit = number64
fn limit(i: &[u8]) -> Parsed<'_, (ResourceArgument, u64)> {
    let (i, name) = expected("a resource", atom).parse(i)?;
    let (i, ()) = space(i)?;
    let (i, limit) = number64(i)?;
    let known = Resource::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.wire()));
    Ok((i, (known.ok_or_else(|| UnknownResource(name.to_ascii_uppercase())), limit)))
}

/// `* QUOTA root (resource used limit ...)` (RFC 9208 §4.2.1); without limits the list is empty.
pub fn write_quota(out: &mut Vec<u8>, root: &str, usages: &[ResourceUsage]) {
    out.extend_from_slice(b"* QUOTA ");
    write::astring(out, root.as_bytes());
    out.extend_from_slice(b" (");
    for (at, usage) in usages.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(usage.resource.wire().as_bytes());
        out.push(b' ');
        write::number(out, usage.used);
        out.push(b' ');
        write::number(out, usage.limit);
    }
    out.push(b')');
    write::end(out);
}

/// `* QUOTAROOT name root root` (RFC 9208 §4.2.2)
pub fn write_quota_root(out: &mut Vec<u8>, name: &MailboxName, roots: &[&str], dialect: Dialect) {
    out.extend_from_slice(b"* QUOTAROOT ");
    write::mailbox(out, name, dialect);
    for root in roots {
        out.push(b' ');
        write::astring(out, root.as_bytes());
    }
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn body(line: &str) -> Result<Body, String> {
        parse(line.as_bytes()).map(|command| command.body).map_err(|garbled| garbled.to_string())
    }

    #[test]
    fn commands() {
        assert_eq!(body("a GETQUOTA \"#user/alice\""), Ok(Body::GetQuota(b"#user/alice".to_vec())));
        assert_eq!(body("a getquota \"\""), Ok(Body::GetQuota(vec![])));
        assert_eq!(body("a GETQUOTAROOT inbox"), Ok(Body::GetQuotaRoot(Ok(MailboxName::inbox()))));
        let set = |limits| Body::SetQuota(SetQuota { root: b"x".to_vec(), limits });
        let limits = vec![(Ok(Resource::Storage), 510), (Err(UnknownResource("CATS".into())), 9)];
        assert_eq!(body("a SETQUOTA x (storage 510 Cats 9)"), Ok(set(limits)));
        let most = vec![(Ok(Resource::AnnotationStorage), i64::MAX as u64)];
        assert_eq!(body("a SETQUOTA x (ANNOTATION-STORAGE 9223372036854775807)"), Ok(set(most)));
        assert_eq!(body("a SETQUOTA x ()"), Ok(set(vec![])));
        let bad = [
            ("a GETQUOTA", "a space at octet 11"),
            ("a GETQUOTA ", "the name of a quota root at octet 12"),
            ("a GETQUOTA x y", "the end of the command at octet 13"),
            ("a GETQUOTAROOT", "a space at octet 15"),
            ("a SETQUOTA x", "a space at octet 13"),
            ("a SETQUOTA x STORAGE 5", "\"(\" at octet 14"),
            ("a SETQUOTA x (STORAGE)", "a space at octet 22"),
            ("a SETQUOTA x (STORAGE x)", "a number below 9223372036854775808 at octet 23"),
            ("a SETQUOTA x (STORAGE 9223372036854775808)", "a number below 9223372036854775808 at octet 23"),
            ("a SETQUOTA x (STORAGE 1 storage 2)", "each resource only once at octet 25"),
            ("a SETQUOTA x (STORAGE 1 )", "a resource at octet 25"),
            ("a SETQUOTA x (STORAGE 1", "a space or \")\" at octet 24"),
        ];
        for (line, expected) in bad {
            assert_eq!(body(line), Err(format!("expected {expected}")), "{line}");
        }
        let many = |n: usize| {
            let limits: Vec<_> = (0..n).map(|n| format!("R{n} 1")).collect();
            format!("a SETQUOTA x ({})", limits.join(" "))
        };
        assert!(body(&many(32)).is_ok() && body(&many(33)).is_err_and(|e| e.contains("at most 32")));
    }

    #[test]
    fn lines() {
        let mut out = Vec::new();
        let usage = |resource, used, limit| ResourceUsage { resource, used, limit };
        write_quota(&mut out, "#user/alice", &[usage(Resource::Storage, 54, 111), usage(Resource::Message, 42, 1000)]);
        write_quota(&mut out, "", &[]);
        write_quota_root(&mut out, &MailboxName::inbox(), &["", "a b"], Dialect::default());
        write_quota_root(&mut out, &MailboxName::inbox(), &[], Dialect::default());
        let expected = "* QUOTA #user/alice (STORAGE 54 111 MESSAGE 42 1000)\r\n* QUOTA \"\" ()\r\n\
                        * QUOTAROOT INBOX \"\" \"a b\"\r\n* QUOTAROOT INBOX\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

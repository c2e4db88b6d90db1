//! STATUS: its items, and the line that answers it.

use super::dialect::Dialect;
use super::garbled::{Parsed, fail};
use super::lexical::{listed, space, word};
use super::mailbox::only;
use super::write;
use crate::types::{Body, MailboxName, Status, StatusItem, StatusValue};

/// status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
pub(super) fn command(i: &[u8], dialect: Dialect) -> Parsed<'_, Body> {
    let (i, mailbox) = only(i, dialect)?;
    let (i, ()) = space(i)?;
    let (i, items) = items(i, dialect)?;
    Ok((i, Body::Status(Status { mailbox, items })))
}

/// "(" status-att *(SP status-att) ")"
pub(super) fn items(i: &[u8], dialect: Dialect) -> Parsed<'_, Vec<StatusItem>> {
    let (rest, items) = listed(i, |i| item(i, dialect))?;
    if items.len() > Status::MAX_ITEMS {
        return fail(i, "at most 64 items");
    }
    Ok((rest, items))
}

/// status-att = "MESSAGES" / "RECENT" / "UIDNEXT" / "UIDVALIDITY" / "UNSEEN", and those of extensions
fn item(i: &[u8], dialect: Dialect) -> Parsed<'_, StatusItem> {
    let (rest, name) = word(i)?;
    match StatusItem::ALL.into_iter().find(|item| name.eq_ignore_ascii_case(item.wire().as_bytes())) {
        // RFC 9051 appendix E: IMAP4rev2 has no RECENT.
        Some(StatusItem::Recent) if dialect.rev2 => fail(i, "a STATUS item of IMAP4rev2"),
        Some(item) => Ok((rest, item)),
        None => fail(i, "a STATUS item"),
    }
}

/// `* STATUS name (item value ...)` (RFC 3501 §7.2.4)
pub fn write_line(out: &mut Vec<u8>, name: &MailboxName, values: &[(StatusItem, StatusValue)], dialect: Dialect) {
    out.extend_from_slice(b"* STATUS ");
    write::mailbox(out, name, dialect);
    out.extend_from_slice(b" (");
    for (at, (item, value)) in values.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(item.wire().as_bytes());
        out.push(b' ');
        match value {
            StatusValue::Number(n) => write::number(out, *n),
            StatusValue::Nil => write::nil(out),
            StatusValue::Id(id) => write::object_id(out, id),
        }
    }
    out.push(b')');
    write::end(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ObjectId;
    use crate::wire::{parse, parse_in};

    fn items(line: &str) -> Option<Vec<StatusItem>> {
        match parse(line.as_bytes()).ok()?.body {
            Body::Status(status) => Some(status.items),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn items_in_the_order_asked() {
        use StatusItem::{HighestModSeq, Messages, Recent, UidNext, UidValidity, Unseen};
        assert_eq!(items("a STATUS INBOX (uidnext MESSAGES)"), Some(vec![UidNext, Messages]));
        let all = "a STATUS {5}\r\nINBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)";
        assert_eq!(items(all), Some(vec![Messages, Recent, UidNext, UidValidity, Unseen, HighestModSeq]));
        use StatusItem::{AppendLimit, Deleted, DeletedStorage, MailboxId, Size};
        let more = items("a STATUS x (Size deleted DELETED-STORAGE APPENDLIMIT mailboxid)");
        assert_eq!(more, Some(vec![Size, Deleted, DeletedStorage, AppendLimit, MailboxId]));
        let many = |n| format!("a STATUS x ({})", vec!["SIZE"; n].join(" "));
        assert!(items(&many(64)).is_some() && items(&many(65)).is_none());
        let bad = ["()", "MESSAGES", "(MESSAGES", "(FOO)", "(MESSAGES )", "( MESSAGES)", "(MESSAGES  UNSEEN)", ""];
        for bad in bad {
            assert_eq!(items(&format!("a STATUS INBOX {bad}")), None, "{bad}");
        }
        assert_eq!(items("a STATUS INBOX"), None);
        assert_eq!(parse(b"a STATUS x ()").expect_err("no item").to_string(), "expected a STATUS item at octet 13");
    }

    #[test]
    fn rev2_knows_no_recent() {
        let rev2 = Dialect { utf8: false, rev2: true };
        let message = |line: &str| parse_in(line.as_bytes(), rev2).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(message("a STATUS x (MESSAGES UNSEEN SIZE DELETED)"), Ok(()));
        assert_eq!(message("a STATUS x (RECENT)"), Err("expected a STATUS item of IMAP4rev2 at octet 13".into()));
        assert!(message("a LIST \"\" * RETURN (STATUS (UNSEEN RECENT))").is_err());
    }

    #[test]
    fn a_line() {
        let mut out = Vec::new();
        let name = MailboxName::new("blurdy bloop").expect("a name");
        let id = ObjectId::new("F2212ea87").expect("an id");
        let values = [
            (StatusItem::Messages, StatusValue::Number(231)),
            (StatusItem::HighestModSeq, StatusValue::Number(u64::MAX)),
            (StatusItem::AppendLimit, StatusValue::Nil),
            (StatusItem::MailboxId, StatusValue::Id(id)),
        ];
        write_line(&mut out, &name, &values, Dialect::default());
        let expected = "* STATUS \"blurdy bloop\" (MESSAGES 231 HIGHESTMODSEQ 18446744073709551615 \
                        APPENDLIMIT NIL MAILBOXID (F2212ea87))\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

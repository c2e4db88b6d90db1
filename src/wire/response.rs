//! Status responses: OK, NO, BAD, BYE and PREAUTH with their codes, and the invitation to continue (RFC 3501 §7.1, §7.5).

use super::write;
use crate::types::{Code, Condition, Progress};

/// A status response: `tag OK [CODE] text`.
#[derive(Debug, Clone, Copy)]
pub struct StatusResponse<'a> {
    /// None for an untagged one.
    pub tag: Option<&'a str>,
    pub condition: Condition,
    pub code: Option<&'a Code>,
    /// A sentence for a person. What it quotes of a client's input cannot end the line or pass for a code.
    pub text: &'a str,
}

/// Writes it. There is always some text, and every code is followed by a space: Gmail's missing ones broke parsers.
pub fn write_status(out: &mut Vec<u8>, status: &StatusResponse<'_>) {
    out.extend_from_slice(status.tag.unwrap_or("*").as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.condition.wire().as_bytes());
    out.push(b' ');
    if let Some(code) = status.code {
        out.push(b'[');
        write_code(out, code);
        out.extend_from_slice(b"] ");
    }
    write_text(out, status.text);
    write::end(out);
}

/// `+ text`. The space is there even when the text is empty: without it the Gmail app could not APPEND.
pub fn write_continuation(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    out.extend(text.bytes().map(printable));
    write::end(out);
}

/// text = 1*TEXT-CHAR, here in printable ASCII
fn write_text(out: &mut Vec<u8>, text: &str) {
    let text = if text.is_empty() { "Done" } else { text };
    let start = out.len();
    out.extend(text.chars().map(|c| if c.is_ascii() { printable(c as u8) } else { b'?' }));
    if out[start] == b'[' {
        out[start] = b'(';
    }
}

fn printable(b: u8) -> u8 {
    if (0x20..0x7f).contains(&b) { b } else { b'?' }
}

/// resp-text-code, without its brackets
fn write_code(out: &mut Vec<u8>, code: &Code) {
    out.extend_from_slice(code.word().as_bytes());
    let mut value = |n: u64| {
        out.push(b' ');
        write::number(out, n);
    };
    match code {
        Code::UidNext(uid) => value(uid.0.into()),
        Code::UidValidity(uid_validity) => value(uid_validity.0.into()),
        Code::Unseen(seq) => value(seq.0.into()),
        Code::HighestModSeq(mod_seq) => value(mod_seq.0),
        Code::BadCharset(known) => {
            for (at, charset) in known.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b" (" } else { b" " });
                write::astring(out, charset.as_bytes());
            }
            if !known.is_empty() {
                out.push(b')');
            }
        }
        Code::Capability(names) => {
            for name in names {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
            }
        }
        Code::PermanentFlags { flags, new_keywords } => {
            out.push(b' ');
            // flag-perm = flag / "\*"
            let star = new_keywords.then_some("\\*");
            write::flag_list(out, flags.bits(), flags.keywords().iter().map(|k| k.as_str()).chain(star), false);
        }
        // resp-code-apnd = "APPENDUID" SP nz-number SP append-uid (RFC 4315 §4)
        Code::AppendUid { uid_validity, uids } => {
            value(uid_validity.0.into());
            out.push(b' ');
            write::runs(out, uids);
        }
        // resp-code-copy = "COPYUID" SP nz-number SP uid-set SP uid-set
        Code::CopyUid { uid_validity, from, to } => {
            value(uid_validity.0.into());
            out.push(b' ');
            write::runs(out, from);
            out.push(b' ');
            write::runs(out, to);
        }
        Code::Modified(numbers) => {
            out.push(b' ');
            write::runs(out, numbers);
        }
        // badurl-response-code = "BADURL" SP url-resp-text; any TEXT-CHAR except "]" (RFC 4469 §5)
        Code::BadUrl(url) => {
            out.push(b' ');
            write_url(out, url);
        }
        Code::NoUpdate(tag) => {
            out.push(b' ');
            write::quoted(out, tag.as_bytes());
        }
        // unsupported-events-code = "BADEVENT" SP "(" event-name *(SP event-name) ")" (RFC 5465 §8)
        Code::BadEvent(supported) => {
            for (at, name) in supported.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b" (" } else { b" " });
                out.extend_from_slice(name.wire().as_bytes());
            }
            out.push(b')');
        }
        Code::MailboxId(id) => {
            out.push(b' ');
            write::object_id(out, id);
        }
        Code::InProgress { tag, progress } => write_progress(out, tag.as_deref(), *progress),
        Code::MessageLimit { limit, lowest } => {
            value((*limit).into());
            if let Some(uid) = lowest {
                out.push(b' ');
                write::number(out, uid.0);
            }
        }
        Code::Alert
        | Code::Parse
        | Code::ReadOnly
        | Code::ReadWrite
        | Code::TryCreate
        | Code::UidNotSticky
        | Code::NoModSeq
        | Code::Closed
        | Code::Unavailable
        | Code::AuthenticationFailed
        | Code::AuthorizationFailed
        | Code::Expired
        | Code::PrivacyRequired
        | Code::ContactAdmin
        | Code::NoPerm
        | Code::InUse
        | Code::ExpungeIssued
        | Code::Corruption
        | Code::ServerBug
        | Code::ClientBug
        | Code::Cannot
        | Code::Limit
        | Code::OverQuota
        | Code::AlreadyExists
        | Code::NonExistent
        | Code::TooBig
        | Code::UnknownCte
        | Code::CompressionActive
        | Code::NotSaved
        | Code::NotificationOverflow
        | Code::UseAttr
        | Code::HasChildren
        | Code::UidRequired
        | Code::TooFew
        | Code::TooMany => {}
    }
}

/// A URL that can neither end the code nor the line: what would is percent-encoded.
fn write_url(out: &mut Vec<u8>, url: &str) {
    for b in url.bytes() {
        if (0x20..0x7f).contains(&b) && b != b']' {
            out.push(b);
        } else {
            write::percent(out, b);
        }
    }
}

/// "INPROGRESS" [SP "(" inprogress-tag SP inprogress-state ")"] (RFC 9585 §5)
fn write_progress(out: &mut Vec<u8>, tag: Option<&str>, progress: Option<Progress>) {
    // RFC 9585 §4: NIL stands for a tag with "]" in it. Without a list all of it is unknown.
    let tag = tag.filter(|tag| !tag.contains(']'));
    if tag.is_none() && progress.is_none() {
        return;
    }
    out.extend_from_slice(b" (");
    write::nstring(out, tag.map(str::as_bytes));
    out.push(b' ');
    let Some(Progress { done, goal }) = progress else {
        out.extend_from_slice(b"NIL NIL)");
        return;
    };
    // RFC 9585 §4: the goal MUST be greater than the progress.
    let goal = goal.filter(|goal| *goal > 0);
    write::number(out, goal.map_or(done, |goal| done.min(goal - 1)));
    out.push(b' ');
    match goal {
        Some(goal) => write::number(out, goal),
        None => write::nil(out),
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{EventName, FlagSet, ModSeq, ObjectId, Seq, SystemFlag, Uid, UidRuns, UidValidity};

    fn line(tag: Option<&str>, condition: Condition, code: Option<Code>, text: &str) -> String {
        let mut out = Vec::new();
        write_status(&mut out, &StatusResponse { tag, condition, code: code.as_ref(), text });
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn conditions() {
        assert_eq!(line(Some("a1"), Condition::Ok, None, "NOOP completed"), "a1 OK NOOP completed\r\n");
        assert_eq!(
            line(None, Condition::Bye, Some(Code::Unavailable), "shutting down"),
            "* BYE [UNAVAILABLE] shutting down\r\n"
        );
        assert_eq!(line(Some("a"), Condition::No, Some(Code::TryCreate), ""), "a NO [TRYCREATE] Done\r\n");
        let mut out = Vec::new();
        write_continuation(&mut out, "");
        write_continuation(&mut out, "idling");
        assert_eq!(out, b"+ \r\n+ idling\r\n");
    }

    #[test]
    fn a_text_cannot_leave_its_line() {
        assert_eq!(line(None, Condition::No, None, "[ALERT] x\r\n* BYE ü"), "* NO (ALERT] x??* BYE ?\r\n");
    }

    #[test]
    fn codes_with_arguments() {
        let code = |code| line(None, Condition::Ok, Some(code), "x");
        let runs = |numbers: &[u32]| numbers.iter().copied().collect::<UidRuns>();
        let uid_validity = UidValidity(38_505);
        assert_eq!(code(Code::UidNext(Uid(4392))), "* OK [UIDNEXT 4392] x\r\n");
        assert_eq!(code(Code::UidValidity(uid_validity)), "* OK [UIDVALIDITY 38505] x\r\n");
        assert_eq!(code(Code::Unseen(Seq(12))), "* OK [UNSEEN 12] x\r\n");
        assert_eq!(code(Code::HighestModSeq(ModSeq(7))), "* OK [HIGHESTMODSEQ 7] x\r\n");
        assert_eq!(code(Code::BadCharset(vec!["US-ASCII", "UTF-8"])), "* OK [BADCHARSET (US-ASCII UTF-8)] x\r\n");
        assert_eq!(code(Code::BadCharset(vec![])), "* OK [BADCHARSET] x\r\n");
        assert_eq!(code(Code::Capability(vec!["IMAP4rev1".into()])), "* OK [CAPABILITY IMAP4rev1] x\r\n");
        let flags = FlagSet::from_parts(SystemFlag::Seen as u8, vec![]);
        let permanent = |flags: &FlagSet, new_keywords| Code::PermanentFlags { flags: flags.clone(), new_keywords };
        assert_eq!(code(permanent(&flags, true)), "* OK [PERMANENTFLAGS (\\Seen \\*)] x\r\n");
        assert_eq!(code(permanent(&FlagSet::new(), false)), "* OK [PERMANENTFLAGS ()] x\r\n");
        assert_eq!(code(Code::AppendUid { uid_validity, uids: runs(&[3955]) }), "* OK [APPENDUID 38505 3955] x\r\n");
        let copied = Code::CopyUid { uid_validity, from: runs(&[304, 319, 320]), to: runs(&[3956, 3957, 3958]) };
        assert_eq!(code(copied), "* OK [COPYUID 38505 304,319:320 3956:3958] x\r\n");
        assert_eq!(code(Code::Modified(runs(&[7, 9]))), "* OK [MODIFIED 7,9] x\r\n");
    }

    #[test]
    fn codes_of_extensions() {
        let code = |code| line(None, Condition::Ok, Some(code), "x");
        assert_eq!(code(Code::NotSaved), "* OK [NOTSAVED] x\r\n");
        assert_eq!(
            code(Code::BadUrl("/a b/;UID=1]\r\n\u{fc}".into())),
            "* OK [BADURL /a b/;UID=1%5D%0D%0A%C3%BC] x\r\n"
        );
        assert_eq!(code(Code::NoUpdate("B02".into())), "* OK [NOUPDATE \"B02\"] x\r\n");
        let events = vec![EventName::MessageNew, EventName::MessageExpunge];
        assert_eq!(code(Code::BadEvent(events)), "* OK [BADEVENT (MessageNew MessageExpunge)] x\r\n");
        let id = ObjectId::new("F2212").expect("an id");
        assert_eq!(code(Code::MailboxId(id)), "* OK [MAILBOXID (F2212)] x\r\n");
        let limit = |lowest| Code::MessageLimit { limit: 1000, lowest };
        assert_eq!(code(limit(None)), "* OK [MESSAGELIMIT 1000] x\r\n");
        assert_eq!(code(limit(Some(Uid(7)))), "* OK [MESSAGELIMIT 1000 7] x\r\n");
        assert_eq!(code(Code::UnknownCte), "* OK [UNKNOWN-CTE] x\r\n");
    }

    #[test]
    fn progress_stays_below_its_goal() {
        let code = |tag: Option<&str>, progress: Option<(u32, Option<u32>)>| {
            let progress = progress.map(|(done, goal)| Progress { done, goal });
            line(None, Condition::Ok, Some(Code::InProgress { tag: tag.map(str::to_owned), progress }), "x")
        };
        assert_eq!(code(None, None), "* OK [INPROGRESS] x\r\n");
        assert_eq!(code(Some("a]"), None), "* OK [INPROGRESS] x\r\n");
        assert_eq!(code(Some("a1"), None), "* OK [INPROGRESS (\"a1\" NIL NIL)] x\r\n");
        assert_eq!(code(None, Some((5, None))), "* OK [INPROGRESS (NIL 5 NIL)] x\r\n");
        assert_eq!(code(Some("a1"), Some((5, Some(9)))), "* OK [INPROGRESS (\"a1\" 5 9)] x\r\n");
        assert_eq!(code(Some("a1"), Some((9, Some(9)))), "* OK [INPROGRESS (\"a1\" 8 9)] x\r\n");
        assert_eq!(code(Some("a1"), Some((5, Some(0)))), "* OK [INPROGRESS (\"a1\" 5 NIL)] x\r\n");
    }
}

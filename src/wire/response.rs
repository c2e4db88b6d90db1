//! Status responses: OK, NO, BAD, BYE and PREAUTH with their codes, and the invitation to continue (RFC 3501 §7.1, §7.5).

use super::write;
use crate::types::{Code, Condition};

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
        | Code::TooBig => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{FlagSet, ModSeq, Seq, SystemFlag, Uid, UidRuns, UidValidity};

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
}

//! EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1). What went is told by the one path that tells
//! all changes.

use crate::imap::answer::{Answer, Done};
use crate::imap::session::Selected;
use crate::types::{Code, NumSet};

pub async fn expunge(cx: Selected<'_>, within: Option<&NumSet>) -> Answer {
    cx.selection.writable()?;
    cx.selection.present()?;
    let within = match within {
        Some(set) => cx.selection.resolve(set, true)?,
        // Only what this session knows of: a message it was never told of is not its to expunge.
        None => cx.selection.view.membership().all(),
    };
    let (_, modseq) = cx.selection.view.expunge(Some(within)).await?;
    // RFC 7162 §3.2.7
    Ok(Done { code: modseq.filter(|_| cx.enabled.qresync).map(Code::HighestModSeq), text: String::new() })
}

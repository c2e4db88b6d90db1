//! COPY and MOVE (RFC 3501 §6.4.7, RFC 6851, RFC 4315 §3).

use crate::imap::answer::{Answer, Done, missing_target, no, write_condition};
use crate::imap::session::Selected;
use crate::mailstore::Copied;
use crate::types::command::Copy;
use crate::types::{Code, Condition};

pub async fn copy(cx: Selected<'_>, arguments: Copy) -> Answer {
    let target = arguments.mailbox.map_err(|bad| no(Code::Cannot, bad.to_string()))?;
    let uids = cx.selection.resolve(&arguments.set, arguments.uid)?;
    cx.account.find(&target).map_err(missing_target)?;
    if uids.is_empty() {
        return Ok(Done::default());
    }
    cx.selection.present()?;
    let copied = cx.selection.view.copy(uids, &target).await.map_err(missing_target)?;
    Ok(Done { code: code_of(copied), text: String::new() })
}

pub async fn move_messages(cx: Selected<'_>, arguments: Copy, _word: &str) -> Answer {
    cx.selection.writable()?;
    let target = arguments.mailbox.map_err(|bad| no(Code::Cannot, bad.to_string()))?;
    let uids = cx.selection.resolve(&arguments.set, arguments.uid)?;
    cx.account.find(&target).map_err(missing_target)?;
    if uids.is_empty() {
        return Ok(Done::default());
    }
    cx.selection.present()?;
    let moved = cx.selection.view.move_to_mailbox(uids, &target).await.map_err(missing_target)?;
    let modseq = moved.modseq.filter(|_| cx.enabled.qresync);
    // RFC 6851 §4.3: COPYUID comes untagged, before the expunges that the end of the command tells.
    if let Some(code) = code_of(moved) {
        write_condition(&mut cx.channel.out, None, Condition::Ok, Some(&code), "Moved");
    }
    // RFC 7162 §3.2.8
    Ok(Done { code: modseq.map(Code::HighestModSeq), text: String::new() })
}

fn code_of(copied: Copied) -> Option<Code> {
    let Copied { uid_validity, from, to, .. } = copied;
    (!to.is_empty()).then_some(Code::CopyUid { uid_validity, from, to })
}

//! COPY and MOVE (RFC 3501 §6.4.7, RFC 6851, RFC 4315 §3).

use crate::imap::answer::{Answer, Done, missing_target, no, write_condition};
use crate::imap::session::Session;
use crate::mailstore::Copied;
use crate::types::command::Copy;
use crate::types::{Code, Condition};

pub async fn copy(session: &mut Session, arguments: Copy) -> Answer {
    let cx = session.selected()?;
    let target = arguments.mailbox.map_err(|bad| no(Code::Cannot, bad.to_string()))?;
    let uids = cx.selection.resolve(&arguments.set, arguments.uid)?;
    cx.account.find(&target).map_err(missing_target)?;
    if uids.is_empty() {
        return Ok(Done::default());
    }
    cx.selection.present()?;
    cx.limit.whole_save(uids.count())?;
    let copied = cx.selection.view.copy(uids, &target).await.map_err(missing_target)?;
    if let Some(modseq) = copied.modseq {
        session.note_own(modseq);
    }
    Ok(Done { code: code_of(copied), text: String::new() })
}

pub async fn move_messages(session: &mut Session, arguments: Copy) -> Answer {
    let cx = session.selected()?;
    cx.selection.writable()?;
    let target = arguments.mailbox.map_err(|bad| no(Code::Cannot, bad.to_string()))?;
    let share = cx.limit.share(cx.selection.resolve(&arguments.set, arguments.uid)?);
    cx.account.find(&target).map_err(missing_target)?;
    if share.uids.is_empty() {
        return Ok(Done::default());
    }
    cx.selection.present()?;
    let moved = cx.selection.view.move_to_mailbox(share.uids.clone(), &target).await.map_err(missing_target)?;
    let modseq = moved.modseq.filter(|_| cx.enabled.qresync);
    let own = moved.modseq;
    // RFC 6851 §4.3: COPYUID comes untagged, before the expunges that the end of the command tells.
    if let Some(code) = code_of(moved) {
        write_condition(&mut cx.channel.out, None, Condition::Ok, Some(&code), "Moved");
    }
    // RFC 7162 §3.2.7 asks it of EXPUNGE; a MOVE expunges too.
    let done = Done { code: modseq.map(Code::HighestModSeq), text: String::new() };
    let done = share.end(&mut cx.channel.out, done);
    if let Some(own) = own {
        session.note_own(own);
    }
    Ok(done)
}

fn code_of(copied: Copied) -> Option<Code> {
    let Copied { uid_validity, from, to, .. } = copied;
    (!to.is_empty()).then_some(Code::CopyUid { uid_validity, from, to })
}

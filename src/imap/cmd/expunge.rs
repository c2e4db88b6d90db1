//! EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1). What went is told by the one path that tells
//! all changes.

use super::search;
use crate::imap::answer::{Answer, Done, Stop};
use crate::imap::session::Selected;
use crate::types::{Code, NumSet, SearchKey, SystemFlag, UidRuns};

/// EXPUNGE has no limit (RFC 9738 §3).
pub async fn expunge(mut cx: Selected<'_>) -> Answer {
    cx.selection.writable()?;
    cx.selection.present()?;
    // Only what this session knows of: a message it was never told of is not its to expunge.
    let within = cx.selection.view.membership().all();
    expunge_within(&mut cx, within).await
}

pub async fn uid_expunge(mut cx: Selected<'_>, tag: &str, set: &NumSet) -> Answer {
    cx.selection.writable()?;
    cx.selection.present()?;
    let within = cx.selection.resolve(set, true)?;
    if cx.limit.whole(within.count()).is_ok() {
        return expunge_within(&mut cx, within).await;
    }
    // RFC 9738 §3.1: those that are `\Deleted` are counted.
    let question = search::question(&cx, &SearchKey::Flag(SystemFlag::Deleted), None)?;
    let deleted = search::matching(&mut cx, tag, &within, &question).await?;
    let share = cx.limit.share(deleted);
    let done = expunge_within(&mut cx, share.uids.clone()).await?;
    Ok(share.end(&mut cx.channel.out, done))
}

async fn expunge_within(cx: &mut Selected<'_>, within: UidRuns) -> Result<Done, Stop> {
    let (_, modseq) = cx.selection.view.expunge(Some(within)).await?;
    // RFC 7162 §3.2.7
    Ok(Done { code: modseq.filter(|_| cx.enabled.qresync).map(Code::HighestModSeq), text: String::new() })
}

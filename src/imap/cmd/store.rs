//! STORE and UID STORE (RFC 3501 §6.4.6).

use crate::imap::answer::{Answer, Done};
use crate::imap::progress::waiting;
use crate::imap::session::Selected;
use crate::imap::updates::{Manner, write_flag_change, write_flags, write_mod_seq_only};
use crate::mailstore::SetFlags;
use crate::types::command::Store;
use crate::types::{Code, UidRuns};

pub async fn store(cx: Selected<'_>, tag: &str, arguments: Store) -> Answer {
    let Selected { selection, channel, enabled, limit, .. } = cx;
    selection.writable()?;
    selection.present()?;
    let share = limit.share(selection.resolve(&arguments.set, arguments.uid)?);
    let uids = &share.uids;
    if uids.is_empty() {
        return Ok(Done::default());
    }
    channel.messages += uids.count();
    let order = SetFlags {
        uids: uids.clone(),
        change: arguments.change,
        flags: arguments.flags.into_iter().collect(),
        unchanged_since: arguments.unchanged_since,
        told: selection.view.modseq(),
        own: selection.own.clone(),
    };
    let known = selection.view.keywords().len();
    let done = waiting(channel, tag, selection.view.set_flags(order)).await??;
    selection.remember_own(done.modseq);
    let keywords = selection.view.newest_keywords();
    if keywords.len() != known {
        // RFC 3501 §7.2.6: a keyword new to the mailbox is told before a message shows it.
        write_flags(&mut channel.out, &keywords, selection.is_read_only);
        selection.view.know_keywords(keywords);
    }
    // RFC 3501 §6.4.6: .SILENT spares the client what it knows, not what others changed before.
    // RFC 7162 §3.1.3: it does not spare it the new MODSEQ; and what failed UNCHANGEDSINCE is told as it is, so that
    // the client need not ask.
    let told = match (arguments.silent, enabled.condstore) {
        (false, _) => uids.clone(),
        (true, true) if arguments.unchanged_since.is_some() => uids.clone(),
        (true, true) => done.changed.clone(),
        (true, false) => done.news.clone(),
    };
    let flags_too = |uid| !arguments.silent || done.news.contains(uid) || done.modified.contains(uid);
    let manner = Manner { enabled, with_uid: arguments.uid };
    let table = selection.view.flag_table();
    for (span, piece) in selection.view.by_span(&told) {
        let rows = selection.view.rows(span, &piece).await?;
        if enabled.condstore {
            selection.note_told(&rows);
        }
        for row in rows {
            if !flags_too(row.uid.0) {
                write_mod_seq_only(selection, &mut channel.out, manner, &row);
            } else {
                write_flag_change(selection, &mut channel.out, manner, &table, &row);
            }
            channel.flush_if_full().await?;
        }
    }
    if done.modified.is_empty() {
        return Ok(share.end(&mut channel.out, Done::default()));
    }
    // RFC 7162 §3.1.3: the set is of what the command counted in.
    let membership = selection.view.membership();
    let modified: UidRuns = match arguments.uid {
        true => done.modified,
        false => done.modified.iter().filter_map(|uid| membership.seq(uid)).collect(),
    };
    let done =
        Done { code: Some(Code::Modified(modified)), text: "Some messages were changed by others before".into() };
    Ok(share.end(&mut channel.out, done))
}

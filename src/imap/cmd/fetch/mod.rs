//! FETCH and UID FETCH (RFC 3501 §6.4.5): numbers from the view, values from the newest rows, the rest in pages.

mod plan;
mod send;

use crate::imap::answer::{Answer, Done, Stop, bad, no};
use crate::imap::session::Selected;
use crate::mailstore::{Row, SetFlags};
use crate::types::command::FlagChange;
use crate::types::{Code, Fetch, FetchItem, Flag, FlagSet, ModSeq, NumSet, Partial, SystemFlag, UidRuns};
use crate::wire::write;
use plan::Plan;
use send::{Sent, send};

/// `\Seen` is ordered for at most so many messages at a time.
const SEEN_AT_ONCE: usize = 256;

/// PARTIAL (RFC 2062, section 6.4.OBS.1): what programs of 1994 send for a piece of a message.
pub async fn partial(cx: Selected<'_>, arguments: Partial) -> Answer {
    let cut = (u64::from(arguments.first.saturating_sub(1)), u64::from(arguments.count));
    let fetch = Fetch {
        set: NumSet::one(arguments.number),
        uid: false,
        items: vec![arguments.item],
        changed_since: None,
        vanished: false,
        partial: None,
    };
    answer(cx, fetch, Some(cut)).await
}

pub async fn fetch(cx: Selected<'_>, arguments: Fetch) -> Answer {
    answer(cx, arguments, None).await
}

async fn answer(mut cx: Selected<'_>, arguments: Fetch, cut: Option<(u64, u64)>) -> Answer {
    if arguments.vanished && !(arguments.uid && arguments.changed_since.is_some() && cx.enabled.qresync) {
        // RFC 7162 §3.2.6
        return Err(bad("VANISHED needs UID FETCH, CHANGEDSINCE, and QRESYNC enabled"));
    }
    let mut uids = cx.selection.resolve(&arguments.set, arguments.uid)?;
    if let (true, Some(since)) = (arguments.vanished, arguments.changed_since) {
        let asked = arguments.set.resolve(cx.selection.view.uid_next().saturating_sub(1));
        let vanished = cx.selection.view.vanished_since(since, asked).await?;
        write::vanished(&mut cx.channel.out, &vanished, true);
    }
    if let Some(range) = arguments.partial {
        cx.limit.whole(range.asked())?;
        // RFC 9394 §3.4: the slice is taken first, then what has not changed falls out.
        let wanted = range.within(uids.count());
        uids = uids.slice(wanted.start, wanted.end);
    }
    let share = cx.limit.share(uids);
    let may_set_seen = !cx.selection.is_read_only && !cx.selection.view.is_gone();
    let mut plan = Plan::new(&arguments, may_set_seen, cx.enabled);
    if let Some((from, most)) = cut {
        plan = plan.cut(from, most);
    }
    let mut undecodable = 0;
    for (span, piece) in cx.selection.view.by_span(&share.uids) {
        if arguments.changed_since.is_some_and(|since| !cx.selection.view.may_have_changed(span, since)) {
            continue;
        }
        let mut rows = cx.selection.view.rows(span, &piece).await?;
        if let Some(since) = arguments.changed_since {
            rows.retain(|row| row.modseq > since);
        }
        undecodable += tell(&mut cx, &plan, span, rows).await?.undecodable;
    }
    if undecodable > 0 {
        // RFC 3516 §4.3: clients fetch the part as it is and decode it themselves.
        return Err(no(Code::UnknownCte, "a part is not encoded as it says; fetch it with BODY"));
    }
    Ok(share.end(&mut cx.channel.out, Done::default()))
}

/// Begins to read for a FETCH of one message that will run soon. What cannot be said without waiting is left to it.
pub fn begin(cx: Selected<'_>, arguments: &Fetch) {
    if arguments.changed_since.is_some() || arguments.vanished || arguments.partial.is_some() {
        return;
    }
    let Some(uids) = cx.selection.resolve(&arguments.set, arguments.uid).ok().filter(|uids| uids.count() == 1) else {
        return;
    };
    let Some(row) = uids.first().and_then(|uid| cx.selection.view.row_at_hand(uid)) else { return };
    let plan = Plan::new(arguments, false, cx.enabled);
    if plan.wanted.is_anything() {
        cx.selection.reading.begin(&cx.selection.view, row, plan.wanted);
    }
}

/// Tells rows of one span, first marking as read what is read.
async fn tell(cx: &mut Selected<'_>, plan: &Plan, span: u32, rows: Vec<Row>) -> Result<Sent, Stop> {
    if !plan.sets_seen {
        return send(cx, plan, rows, &UidRuns::new()).await;
    }
    let mut all = Sent::default();
    for some in rows.chunks(SEEN_AT_ONCE) {
        let newly = set_seen(cx, some).await?;
        let some: Vec<Row> = if newly.is_empty() {
            some.to_vec()
        } else {
            cx.selection.view.rows(span, &some.iter().map(|row| row.uid.0).collect()).await?
        };
        all.undecodable += send(cx, plan, some, &newly).await?.undecodable;
    }
    Ok(all)
}

/// Tells what NOTIFY asked to be told of new messages (RFC 5465 §5.2), but for those this session made itself. Nothing
/// is marked as read by it.
pub async fn tell_new(mut cx: Selected<'_>, items: &[FetchItem], new: &UidRuns, own: &[ModSeq]) -> Result<(), Stop> {
    let arguments = Fetch {
        set: NumSet::Ranges(Vec::new()),
        // RFC 5465 §5.2 leaves it to the client; to know the UID is what it is there for.
        uid: true,
        items: items.to_vec(),
        changed_since: None,
        vanished: false,
        partial: None,
    };
    let plan = Plan::new(&arguments, false, cx.enabled);
    for (span, piece) in cx.selection.view.by_span(new) {
        let mut rows = cx.selection.view.rows(span, &piece).await?;
        rows.retain(|row| !own.contains(&row.modseq));
        // A part that cannot be decoded is left for the client to ask for.
        send(&mut cx, &plan, rows, &UidRuns::new()).await?;
    }
    Ok(())
}

/// Marks messages as read; gives those that were not.
async fn set_seen(cx: &mut Selected<'_>, rows: &[Row]) -> Result<UidRuns, Stop> {
    let table = cx.selection.view.flag_table();
    let is_unseen = |row: &&Row| table.set(row.flagset).is_some_and(|set| !set.set.has(SystemFlag::Seen));
    let unseen: UidRuns = rows.iter().filter(is_unseen).map(|row| row.uid.0).collect();
    if unseen.is_empty() {
        return Ok(unseen);
    }
    let order = SetFlags {
        uids: unseen,
        change: FlagChange::Add,
        flags: FlagSet::from_iter([Flag::System(SystemFlag::Seen)]),
        unchanged_since: None,
        told: cx.selection.view.modseq(),
        own: cx.selection.own.clone(),
    };
    let done = cx.selection.view.set_flags(order).await?;
    cx.selection.remember_own(done.modseq);
    Ok(done.changed)
}

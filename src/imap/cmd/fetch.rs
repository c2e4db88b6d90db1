//! FETCH and UID FETCH (RFC 3501 §6.4.5): numbers from the view, values from the newest rows, the rest in
//! pages that are read ahead while the last one is being sent.

use std::sync::Arc;

use crate::imap::answer::{Answer, Done, Stop, bad, no};
use crate::imap::session::Selected;
use crate::imap::updates::write_row_flags;
use crate::mailstore::{FlagTable, Page, PageRow, Piece, Row, SetFlags, Wanted, WantedSection};
use crate::message::body_without_extensions;
use crate::types::command::FlagChange;
use crate::types::{Code, Fetch, FetchItem, Flag, FlagSet, Section, SectionText, Seq, SystemFlag, UidRuns};
use crate::wire::fetch::Items;
use crate::wire::write;

/// `\Seen` is ordered for at most so many messages at a time.
const SEEN_AT_ONCE: usize = 256;

/// One item of the answer, in the order it is sent.
enum Slot {
    Flags,
    InternalDate,
    Size,
    ModSeq,
    Envelope,
    Body,
    BodyStructure,
    /// The n-th of the wanted sections, and how its name is written.
    Section(usize, SectionName),
}

enum SectionName {
    Asked(Section, Option<u32>),
    Old(&'static str),
}

/// A FETCH worked out: what is sent, and what has to be read for it.
struct Plan {
    slots: Vec<Slot>,
    with_uid: bool,
    tells_flags: bool,
    sets_seen: bool,
    wanted: Arc<Wanted>,
}

impl Plan {
    fn new(arguments: &Fetch, may_set_seen: bool, with_mod_seq: bool) -> Result<Self, Stop> {
        let mut short = Vec::new();
        let mut long = Vec::new();
        let mut wanted = Wanted::default();
        let mut with_uid = arguments.uid;
        let mut sets_seen = false;
        let mut section = |section: Section, partial: Option<(u32, u32)>, name: SectionName| {
            let partial = partial.map(|(from, most)| (u64::from(from), u64::from(most)));
            wanted.sections.push(WantedSection { path: section.path, text: section.text, partial });
            long.push(Slot::Section(wanted.sections.len() - 1, name));
        };
        let whole = |text: SectionText| Section { path: Vec::new(), text };
        for item in &arguments.items {
            match item {
                FetchItem::Uid => with_uid = true,
                FetchItem::Flags => short.push(Slot::Flags),
                FetchItem::InternalDate => short.push(Slot::InternalDate),
                FetchItem::Rfc822Size => short.push(Slot::Size),
                FetchItem::ModSeq => short.push(Slot::ModSeq),
                FetchItem::Envelope => short.push(Slot::Envelope),
                FetchItem::Body => short.push(Slot::Body),
                FetchItem::BodyStructure => short.push(Slot::BodyStructure),
                FetchItem::Section { section: asked, peek, partial } => {
                    sets_seen |= !peek;
                    let origin = partial.map(|(from, _)| from);
                    section(asked.clone(), *partial, SectionName::Asked(asked.clone(), origin));
                }
                FetchItem::SaveDate
                | FetchItem::Preview { .. }
                | FetchItem::EmailId
                | FetchItem::ThreadId
                | FetchItem::Binary { .. }
                | FetchItem::BinarySize { .. } => return Err(no(Code::Cannot, "FETCH cannot tell this item")),
                FetchItem::Rfc822 => {
                    sets_seen = true;
                    section(whole(SectionText::Whole), None, SectionName::Old("RFC822"));
                }
                // RFC 3501 §6.4.5: the header may be looked at without reading the message.
                FetchItem::Rfc822Header => section(whole(SectionText::Header), None, SectionName::Old("RFC822.HEADER")),
                FetchItem::Rfc822Text => {
                    sets_seen = true;
                    section(whole(SectionText::Text), None, SectionName::Old("RFC822.TEXT"));
                }
            }
        }
        let has = |wants: fn(&Slot) -> bool| short.iter().any(wants);
        wanted.internal_date = has(|slot| matches!(slot, Slot::InternalDate));
        wanted.envelope = has(|slot| matches!(slot, Slot::Envelope));
        wanted.bodystructure = has(|slot| matches!(slot, Slot::Body | Slot::BodyStructure));
        let tells_flags = has(|slot| matches!(slot, Slot::Flags));
        let tells_mod_seq = has(|slot| matches!(slot, Slot::ModSeq));
        if with_mod_seq && !tells_mod_seq {
            // RFC 7162 §3.1: from its first use on, every answer about a message carries it.
            short.push(Slot::ModSeq);
        }
        // Short items go before long ones: there are programs that rely on it.
        short.extend(long);
        let sets_seen = sets_seen && may_set_seen;
        Ok(Plan { slots: short, with_uid, tells_flags, sets_seen, wanted: Arc::new(wanted) })
    }

    fn needs_page(&self) -> bool {
        let wanted = &self.wanted;
        wanted.internal_date || wanted.envelope || wanted.bodystructure || !wanted.sections.is_empty()
    }
}

pub async fn fetch(mut cx: Selected<'_>, arguments: Fetch) -> Answer {
    let uids = cx.selection.resolve(&arguments.set, arguments.uid)?;
    let may_set_seen = !cx.selection.is_read_only && !cx.selection.view.is_gone();
    if arguments.vanished {
        // RFC 7162 §3.2.6
        let Some(since) = arguments.changed_since.filter(|_| cx.enabled.qresync && arguments.uid) else {
            return Err(bad("VANISHED needs UID FETCH, CHANGEDSINCE, and QRESYNC enabled"));
        };
        let asked = arguments.set.resolve(cx.selection.view.uid_next().saturating_sub(1));
        let vanished = cx.selection.view.vanished_since(since, asked).await?;
        write::vanished(&mut cx.channel.out, &vanished, true);
    }
    let plan = Plan::new(&arguments, may_set_seen, cx.enabled.condstore)?;
    for (span, piece) in cx.selection.view.by_span(&uids) {
        if arguments.changed_since.is_some_and(|since| !cx.selection.view.may_have_changed(span, since)) {
            continue;
        }
        let mut rows = cx.selection.view.rows(span, &piece).await?;
        if let Some(since) = arguments.changed_since {
            rows.retain(|row| row.modseq > since);
        }
        if plan.sets_seen {
            for some in rows.chunks(SEEN_AT_ONCE) {
                let newly = set_seen(&mut cx, some).await?;
                let some: Vec<Row> = if newly.is_empty() {
                    some.to_vec()
                } else {
                    cx.selection.view.rows(span, &some.iter().map(|row| row.uid.0).collect()).await?
                };
                send(&mut cx, &plan, some, &newly).await?;
            }
        } else {
            send(&mut cx, &plan, rows, &UidRuns::new()).await?;
        }
    }
    Ok(Done::default())
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

/// Sends the answers for rows of one span. `newly` have become `\Seen` by this command and show their flags.
async fn send(cx: &mut Selected<'_>, plan: &Plan, rows: Vec<Row>, newly: &UidRuns) -> Result<(), Stop> {
    let table = cx.selection.view.flag_table();
    if !plan.needs_page() {
        let nothing = PageRow { internal_date: None, envelope: 0..0, bodystructure: 0..0, sections: Vec::new() };
        for row in &rows {
            let items = write_short(cx, plan, &table, row, &nothing, &[], newly);
            items.close(&mut cx.channel.out);
            cx.channel.flush_if_full().await?;
        }
        return Ok(());
    }
    let rows: Arc<[Row]> = rows.into();
    let mut at = 0;
    if rows.is_empty() {
        return Ok(());
    }
    let mut coming = Some(cx.selection.view.page(rows.clone(), 0, plan.wanted.clone()));
    while let Some(page) = coming.take() {
        let page = page.await?;
        let here = at;
        at += page.rows.len();
        if at < rows.len() {
            coming = Some(cx.selection.view.page(rows.clone(), at, plan.wanted.clone()));
        }
        for (row, found) in rows[here..at].iter().zip(&page.rows) {
            let mut items = write_short(cx, plan, &table, row, found, &page.octets, newly);
            write_sections(&mut items, cx, plan, row, found, &page).await?;
            items.close(&mut cx.channel.out);
        }
        cx.channel.flush_if_full().await?;
    }
    Ok(())
}

fn write_short(
    cx: &mut Selected<'_>,
    plan: &Plan,
    table: &FlagTable,
    row: &Row,
    found: &PageRow,
    octets: &[u8],
    newly: &UidRuns,
) -> Items {
    let out = &mut cx.channel.out;
    let seq = cx.selection.view.membership().seq(row.uid.0).unwrap_or(0);
    let mut items = Items::open(out, Seq(seq));
    let is_newly_seen = newly.contains(row.uid.0);
    // RFC 7162 §3.2.4: a client that is told MODSEQ is told the UID too, when flags change.
    if plan.with_uid || (is_newly_seen && cx.enabled.condstore) {
        items.uid(out, row.uid);
    }
    if !plan.tells_flags && is_newly_seen {
        // RFC 3501 §6.4.5: when flags change because of the FETCH, they are part of its answer.
        write_row_flags(&mut items, cx.selection, out, table, row);
    }
    for slot in &plan.slots {
        match slot {
            Slot::Flags => write_row_flags(&mut items, cx.selection, out, table, row),
            Slot::InternalDate => {
                if let Some(date) = found.internal_date {
                    items.internal_date(out, date);
                }
            }
            Slot::Size => items.size(out, row.size.into()),
            Slot::ModSeq => items.mod_seq(out, row.modseq),
            Slot::Envelope => items.ready(out, "ENVELOPE", &octets[found.envelope.clone()]),
            Slot::Body => {
                let short = body_without_extensions(&octets[found.bodystructure.clone()]);
                // What we wrote ourselves has a short form; if the stored text is damaged NIL says so.
                items.ready(out, "BODY", short.as_deref().unwrap_or(b"NIL"));
            }
            Slot::BodyStructure => items.ready(out, "BODYSTRUCTURE", &octets[found.bodystructure.clone()]),
            Slot::Section(..) => {}
        }
    }
    items
}

async fn write_sections(
    items: &mut Items,
    cx: &mut Selected<'_>,
    plan: &Plan,
    row: &Row,
    found: &PageRow,
    page: &Page,
) -> Result<(), Stop> {
    for slot in &plan.slots {
        let Slot::Section(index, name) = slot else { continue };
        let out = &mut cx.channel.out;
        match name {
            SectionName::Asked(section, origin) => items.section(out, section, *origin),
            SectionName::Old(name) => items.name(out, name),
        }
        match &found.sections[*index] {
            Piece::Missing => write::nil(out),
            Piece::Octets(range) => write::content(out, &page.octets[range.clone()]),
            Piece::Stream { offset, octets } => {
                write::literal_head(out, *octets);
                let mut stream = cx.selection.view.stream(row.content, row.size, *offset, *octets);
                loop {
                    match stream.next().await {
                        Ok(Some(piece)) => {
                            cx.channel.out.extend_from_slice(&piece);
                            cx.channel.flush_if_full().await?;
                        }
                        Ok(None) => break,
                        // The literal is begun and cannot be taken back: the connection is cut before it
                        // ends, so that damaged octets are never taken for the message.
                        Err(error) => {
                            tracing::error!(%error, "a body broke off while it was being sent");
                            return Err(Stop::Gone);
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

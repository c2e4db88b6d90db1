//! The answers of FETCH on their way: pages are read ahead while the last one is being sent, long bodies stream.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::plan::{Plan, SectionName, Slot};
use crate::imap::answer::Stop;
use crate::imap::session::Selected;
use crate::imap::updates::{Enabled, open, write_row_flags};
use crate::mailstore::{Decoded, FlagTable, Page, PageRow, Piece, Row, without_nul};
use crate::message::{body_without_extensions, with_decoded_parameters};
use crate::types::{DateTime, UidRuns};
use crate::wire::fetch::Items;
use crate::wire::write;

/// What became of some answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    /// Messages that could not be told, because a part of theirs cannot be decoded (RFC 3516 §4.3).
    pub undecodable: u32,
}

/// Sends the answers for rows of one span. `newly` have become `\Seen` by this command and show their flags.
pub async fn send(cx: &mut Selected<'_>, plan: &Plan, rows: Vec<Row>, newly: &UidRuns) -> Result<Sent, Stop> {
    let table = cx.selection.view.flag_table();
    let mut sent = Sent::default();
    cx.channel.messages += rows.len() as u64;
    if cx.enabled.condstore {
        cx.selection.note_told(&rows);
    }
    if !plan.wanted.is_anything() {
        let nothing = PageRow::default();
        for row in &rows {
            let items = write_short(cx, plan, &table, row, &nothing, &[], newly);
            items.close(&mut cx.channel.out);
            cx.channel.flush_if_full().await?;
        }
        return Ok(sent);
    }
    let rows: Arc<[Row]> = rows.into();
    let mut at = 0;
    if rows.is_empty() {
        return Ok(sent);
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
            if found.binaries.contains(&Decoded::Undecodable) {
                sent.undecodable += 1;
                continue;
            }
            cx.channel.begin_line();
            let mut items = write_short(cx, plan, &table, row, found, &page.octets, newly);
            write_long(&mut items, cx, plan, row, found, &page).await?;
            items.close(&mut cx.channel.out);
            cx.channel.end_line();
        }
        cx.channel.flush_if_full().await?;
    }
    Ok(sent)
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
    let mut items = open(out, cx.enabled, seq, row.uid);
    let is_newly_seen = newly.contains(row.uid.0);
    // RFC 7162 §3.2.4: a client that is told MODSEQ is told the UID too, when flags change.
    if plan.with_uid || (is_newly_seen && cx.enabled.condstore && !cx.enabled.uid_only) {
        items.uid(out, row.uid);
    }
    if !plan.tells_flags && is_newly_seen {
        // RFC 3501 §6.4.5: when flags change because of the FETCH, they are part of its answer.
        write_row_flags(&mut items, cx.selection, out, table, row);
    }
    let (arrived, saved) = found.dates.unwrap_or((DateTime::utc(0), 0));
    for slot in &plan.slots {
        match slot {
            Slot::Flags => write_row_flags(&mut items, cx.selection, out, table, row),
            Slot::InternalDate => items.internal_date(out, arrived),
            Slot::SaveDate => items.save_date(out, Some(DateTime::utc(saved))),
            Slot::Size => items.size(out, cx.selection.view.told_size(row).into()),
            Slot::ModSeq => items.mod_seq(out, row.modseq),
            Slot::EmailId => {
                if let Some(id) = &found.email_id {
                    items.email_id(out, id);
                }
            }
            Slot::ThreadId => items.thread_id(out, found.thread_id.as_ref()),
            Slot::Preview => {
                let text = std::str::from_utf8(&octets[found.preview.clone()]).unwrap_or("");
                items.preview(out, Some(text), cx.enabled.dialect());
            }
            Slot::Envelope => items.ready(out, "ENVELOPE", &octets[found.envelope.clone()]),
            Slot::Body => {
                let short = body_without_extensions(&structure(&octets[found.bodystructure.clone()], cx.enabled));
                // What we wrote ourselves has a short form; if the stored text is damaged NIL says so.
                items.ready(out, "BODY", short.as_deref().unwrap_or(b"NIL"));
            }
            Slot::BodyStructure => {
                items.ready(out, "BODYSTRUCTURE", &structure(&octets[found.bodystructure.clone()], cx.enabled));
            }
            Slot::BinarySize(index, path) => {
                // A part that is not there has no octets; the grammar has no NIL here.
                let size = if let Decoded::Size(octets) = &found.binaries[*index] { *octets } else { 0 };
                items.binary_size(out, path, size);
            }
            Slot::Section(..) | Slot::Binary(..) => {}
        }
    }
    items
}

/// BODYSTRUCTURE as this client is to be told it.
fn structure(stored: &[u8], enabled: Enabled) -> Cow<'_, [u8]> {
    // RFC 9051 §7.5.2
    let decoded = if enabled.rev2 { with_decoded_parameters(stored) } else { None };
    decoded.map_or(Cow::Borrowed(stored), Cow::Owned)
}

async fn write_long(
    items: &mut Items,
    cx: &mut Selected<'_>,
    plan: &Plan,
    row: &Row,
    found: &PageRow,
    page: &Page,
) -> Result<(), Stop> {
    for slot in &plan.slots {
        match slot {
            Slot::Section(index, name) => {
                let out = &mut cx.channel.out;
                match name {
                    SectionName::Asked(section, origin) => items.section(out, section, *origin),
                    SectionName::Old(name) => items.name(out, name),
                }
                match &found.sections[*index] {
                    Piece::Missing => write::nil(out),
                    Piece::Octets(range) => write::content(out, &page.octets[range.clone()]),
                    Piece::Stream { offset, octets } => stream_told(cx, row, found, *offset..*offset + *octets).await?,
                }
            }
            Slot::Binary(index, path, origin) => {
                let out = &mut cx.channel.out;
                items.binary(out, path, *origin);
                match &found.binaries[*index] {
                    Decoded::Octets(range) => write::binary_content(out, &page.octets[range.clone()]),
                    Decoded::Stream(part) => {
                        match part.has_nul {
                            true => write::literal8_head(out, part.octets),
                            false => write::literal_head(out, part.octets),
                        }
                        let mut stream = cx.selection.view.stream_decoded(row.content, row.size, part);
                        while let Some(piece) = stream.next().await.map_err(broken_off)? {
                            cx.channel.out.extend_from_slice(&piece);
                            cx.channel.flush_if_full().await?;
                        }
                    }
                    Decoded::Missing | Decoded::Undecodable | Decoded::Size(_) => write::nil(out),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

async fn stream_told(cx: &mut Selected<'_>, row: &Row, found: &PageRow, octets: Range<u64>) -> Result<(), Stop> {
    let (offset, octets) = (octets.start, octets.end - octets.start);
    write::literal_head(&mut cx.channel.out, octets);
    let mut stream = cx.selection.view.stream_told(row, found.retelling.as_deref(), offset, octets);
    while let Some(mut piece) = stream.next().await.map_err(broken_off)? {
        without_nul(&mut piece);
        cx.channel.out.extend_from_slice(&piece);
        cx.channel.flush_if_full().await?;
    }
    Ok(())
}

/// The literal is begun and cannot be taken back: the connection is cut before it ends, so that damaged octets are
/// never taken for the message.
fn broken_off(error: crate::mailstore::Error) -> Stop {
    tracing::error!(%error, "a body broke off while it was being sent");
    Stop::Gone
}

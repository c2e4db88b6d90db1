//! What others changed, as untagged lines: expunges first, then EXISTS, then flags. One path for the end
//! of commands and for IDLE.

use super::answer::{Stop, write_condition};
use super::channel::Channel;
use super::selection::Selection;
use crate::mailstore::{Changes, FlagTable, Row};
use crate::types::{Code, Condition, FlagSet, Keyword, Seq, SystemFlag, Uid, UidRuns};
use crate::wire::fetch::Items;
use crate::wire::{Dialect, write};

/// What a client has switched on (RFC 5161), for the rest of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Enabled {
    /// Flags are told with their UID and MODSEQ (RFC 7162 §3.1, §3.2.4).
    pub condstore: bool,
    /// Expunges are told as VANISHED (RFC 7162 §3.2.3).
    pub qresync: bool,
    /// The client speaks IMAP4rev2 (RFC 9051).
    pub rev2: bool,
    /// Strings and names are UTF-8 (RFC 9755); rev2 brings it along.
    pub utf8: bool,
    /// `UTF8=ACCEPT` itself: then no command names a charset (RFC 9755 §3).
    pub utf8_accept: bool,
    /// Nobody counts: answers carry UIDs in the place of sequence numbers (RFC 9586).
    pub uid_only: bool,
}

impl Enabled {
    /// How this client is spoken to.
    pub fn dialect(self) -> Dialect {
        Dialect { utf8: self.utf8, rev2: self.rev2 }
    }
}

/// How a session wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    pub enabled: Enabled,
    /// Flag changes carry the UID: after a UID command (RFC 3501 §7.4.2 allows it always).
    pub with_uid: bool,
}

impl Manner {
    /// RFC 7162 §3.2.4, RFC 9051 §7.5.2: whoever is told MODSEQ or speaks IMAP4rev2 is told the UID too. With UIDONLY
    /// every line begins with it.
    fn tells_uid(self) -> bool {
        !self.enabled.uid_only && (self.with_uid || self.enabled.condstore || self.enabled.rev2)
    }
}

/// All flags a mailbox can show, for FLAGS and PERMANENTFLAGS (RFC 3501 §7.2.6).
pub fn all_flags(keywords: &[Keyword]) -> FlagSet {
    let bits = SystemFlag::ALL.iter().fold(0, |sum, flag| sum | *flag as u8);
    FlagSet::from_parts(bits, keywords.to_vec())
}

/// Writes FLAGS and PERMANENTFLAGS.
pub fn write_flags(out: &mut Vec<u8>, keywords: &[Keyword], is_read_only: bool) {
    let flags = all_flags(keywords);
    write::flags_line(out, &flags);
    let permanent = if is_read_only { FlagSet::new() } else { flags };
    let code = Code::PermanentFlags { flags: permanent, new_keywords: !is_read_only };
    let text = if is_read_only { "Nothing can be changed here" } else { "Flags that stay" };
    write_condition(out, None, Condition::Ok, Some(&code), text);
}

/// What of the changes is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// Changed flags are.
    pub flags: bool,
    /// When something was expunged nothing is told yet (RFC 5465 §6.1.2).
    pub holds_expunges: bool,
}

/// Tells what a session has not been told, and moves its view there. Gives the UIDs that are new to it.
pub async fn tell(
    selection: &mut Selection,
    channel: &mut Channel,
    manner: Manner,
    telling: Telling,
) -> Result<UidRuns, Stop> {
    if !selection.view.is_behind() {
        return Ok(UidRuns::new());
    }
    let changes = selection.view.changes(&selection.own).await?;
    if telling.holds_expunges && !changes.expunged.is_empty() {
        return Ok(UidRuns::new());
    }
    selection.own.clear();
    if changes.is_gone {
        // The messages stay readable here; the next order that needs the mailbox says what happened.
        selection.view.advance(&changes);
        return Ok(UidRuns::new());
    }
    let first_new = selection.view.uid_next();
    if let Some(keywords) = &changes.keywords {
        write_flags(&mut channel.out, keywords, selection.is_read_only);
    }
    if manner.enabled.qresync || manner.enabled.uid_only {
        // RFC 7162 §3.2.10, RFC 9586 §3.4: one line, whatever the number of them.
        write::vanished(&mut channel.out, &changes.expunged, false);
    } else {
        write_expunged(selection, channel, &changes).await?;
    }
    let before = selection.view.membership().count() - changes.expunged.count() as u32;
    let recent = selection.view.recent_count();
    selection.view.advance(&changes);
    let out = &mut channel.out;
    if changes.has_new || selection.view.membership().count() != before {
        write::exists(out, selection.view.membership().count());
    }
    let now_recent = selection.view.recent_count();
    if now_recent != recent && !manner.enabled.rev2 {
        write::recent(out, now_recent as u32);
    }
    let table = selection.view.flag_table();
    for row in changes.changed.iter().filter(|_| telling.flags) {
        write_flag_change(selection, &mut channel.out, manner, &table, row);
        channel.flush_if_full().await?;
    }
    Ok(selection.view.membership().select(&UidRuns::range(first_new, u32::MAX)))
}

/// Before a tagged line: says how far a client knows the mailbox that was told a MODSEQ ahead of other changes, which it
/// would take for told.
// RFC 7162 §6: "Whenever the client receives a tagged response ... If the HIGHESTMODSEQ response code is received, the
// client MUST use it even if it has seen higher mod-sequences. Otherwise, the client calculates the highest value among all
// MODSEQ FETCH data items".
pub async fn tell_how_far(selection: &mut Selection, channel: &mut Channel) {
    let Some(ahead) = selection.ahead.take().filter(|ahead| *ahead > selection.view.modseq()) else { return };
    if let Ok(changes) = selection.view.changes(&selection.own).await
        && changes.is_empty()
        && ahead <= changes.modseq()
    {
        // All of it was this session's own doing. With nothing to tell, moving the view tells nothing.
        selection.own.clear();
        selection.view.advance(&changes);
        return;
    }
    let code = Code::HighestModSeq(selection.view.modseq());
    write_condition(&mut channel.out, None, Condition::Ok, Some(&code), "Other changes are yet to be told");
}

/// RFC 3501 §7.4.1: each EXPUNGE counts with those before it already gone; from the highest down no number shifts.
async fn write_expunged(selection: &Selection, channel: &mut Channel, changes: &Changes) -> Result<(), Stop> {
    let membership = selection.view.membership();
    for uid in changes.expunged.iter().rev() {
        if let Some(seq) = membership.seq(uid) {
            write::expunge(&mut channel.out, Seq(seq));
            channel.flush_if_full().await?;
        }
    }
    Ok(())
}

/// `* n FETCH (FLAGS (...))` for one row.
pub fn write_flag_change(selection: &Selection, out: &mut Vec<u8>, manner: Manner, table: &FlagTable, row: &Row) {
    let Some(seq) = selection.view.membership().seq(row.uid.0) else { return };
    let mut items = open(out, manner.enabled, seq, row.uid);
    if manner.tells_uid() {
        items.uid(out, Uid(row.uid.0));
    }
    write_row_flags(&mut items, selection, out, table, row);
    if manner.enabled.condstore {
        items.mod_seq(out, row.modseq);
    }
    items.close(out);
}

/// `* n FETCH (MODSEQ (m))`: what a silent STORE still has to tell (RFC 7162 §3.1.3).
pub fn write_mod_seq_only(selection: &Selection, out: &mut Vec<u8>, manner: Manner, row: &Row) {
    let Some(seq) = selection.view.membership().seq(row.uid.0) else { return };
    let mut items = open(out, manner.enabled, seq, row.uid);
    if manner.tells_uid() {
        items.uid(out, Uid(row.uid.0));
    }
    items.mod_seq(out, row.modseq);
    items.close(out);
}

/// `* n FETCH (`, or with UIDONLY `* uid UIDFETCH (` (RFC 9586 §3.3).
pub fn open(out: &mut Vec<u8>, enabled: Enabled, seq: u32, uid: Uid) -> Items {
    match enabled.uid_only {
        true => Items::open_uid(out, uid),
        false => Items::open(out, Seq(seq)),
    }
}

/// `FLAGS (...)` of one row, with `\Recent` where it is.
pub fn write_row_flags(items: &mut Items, selection: &Selection, out: &mut Vec<u8>, table: &FlagTable, row: &Row) {
    items.name(out, "FLAGS");
    out.push(b'(');
    let is_recent = selection.tells_recent && selection.view.recent().contains(row.uid.0);
    if is_recent {
        out.extend_from_slice(b"\\Recent");
    }
    if let Some(set) = table.set(row.flagset)
        && !set.wire.is_empty()
    {
        if is_recent {
            out.push(b' ');
        }
        out.extend_from_slice(set.wire.as_bytes());
    }
    out.push(b')');
}

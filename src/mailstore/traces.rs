//! Where the contents of removed messages are and were: what tells a message that was moved from one that is gone. There
//! is no record of a MOVE; it shows in the rows, which one order wrote in the same second. Every question is a look-up,
//! so that many copies of one message cost no more than as many messages.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::Connection;

use super::error::Result;
use super::undelete::Gone;
use crate::types::MailboxId;

/// A row by its mailbox and UID.
type Place = (i64, u32);
/// The youngest of some rows and the next, with their modseqs.
type Youngest = [Option<(i64, Place)>; 2];

/// Where the contents of removed messages are and were.
#[derive(Default)]
pub(super) struct Traces {
    /// By content and second: the two youngest rows that came into a mailbox then, with their modseqs.
    came: HashMap<(u32, i64), Youngest>,
    /// By content and second: the rows that were removed then, with the modseqs they went with, the oldest first.
    went: HashMap<(u32, i64), VecDeque<(i64, Place)>>,
    /// When each removed row had come: the second and its modseq.
    removed: HashMap<Place, (i64, i64)>,
    /// Contents that are in some folder, and where, with INTERNALDATE.
    live: HashSet<u32>,
    live_in: HashSet<(u32, i64, i64)>,
}

impl Traces {
    pub fn read(conn: &Connection) -> Result<Self> {
        let mut traces = Traces::default();
        let mut contents: HashSet<u32> = HashSet::new();
        let mut query =
            conn.prepare_cached("SELECT mbox, uid, saved, modseq, cid, at, gone FROM removed ORDER BY gone")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (place, cid) = ((row.get(0)?, row.get(1)?), row.get(4)?);
            let (saved, modseq) = (row.get(2)?, row.get(3)?);
            contents.insert(cid);
            traces.note_came(cid, saved, modseq, place);
            traces.went.entry((cid, row.get(5)?)).or_default().push_back((row.get(6)?, place));
            traces.removed.insert(place, (saved, modseq));
        }
        // Of messages only those with a content that was removed somewhere matter.
        let mut query = conn.prepare_cached("SELECT mbox, uid, saved, modseq, cid, idate FROM message")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let cid = row.get(4)?;
            if contents.contains(&cid) {
                let mbox = row.get(0)?;
                traces.note_came(cid, row.get(2)?, row.get(3)?, (mbox, row.get(1)?));
                traces.live.insert(cid);
                traces.live_in.insert((cid, mbox, row.get(5)?));
            }
        }
        Ok(traces)
    }

    fn note_came(&mut self, cid: u32, saved: i64, modseq: i64, place: Place) {
        let [first, second] = self.came.entry((cid, saved)).or_default();
        let is_above = |other: &Option<(i64, Place)>| other.is_none_or(|(than, _)| modseq > than);
        if is_above(first) {
            *second = first.replace((modseq, place));
        } else if is_above(second) {
            *second = Some((modseq, place));
        }
    }

    /// MOVE makes the new row and takes the old one in one order: the same second, and a modseq no older.
    pub fn was_moved(&self, row: &Gone) -> bool {
        let came = self.came.get(&(row.cid, row.at)).into_iter().flatten().flatten();
        came.into_iter().any(|(modseq, place)| *place != (row.mbox, row.uid) && *modseq >= row.gone)
    }

    pub fn is_somewhere(&self, row: &Gone) -> bool {
        self.live.contains(&row.cid)
    }

    /// The rows from which MOVE after MOVE brought a removed message to where it was last, with the modseqs they went
    /// with. Each is given once, to one message.
    pub fn moved_from(&mut self, row: &Gone) -> Vec<(i64, u32, i64)> {
        let mut found = Vec::new();
        let mut last = self.removed.get(&(row.mbox, row.uid)).copied();
        while let Some((saved, modseq)) = last {
            let Some(rows) = self.went.get_mut(&(row.cid, saved)) else { break };
            // The oldest, and not the message itself.
            let at = usize::from(rows.front().is_some_and(|(_, place)| *place == (row.mbox, row.uid)));
            let Some((gone, place)) = rows.get(at).copied().filter(|(gone, _)| *gone <= modseq) else { break };
            rows.remove(at);
            found.push((place.0, place.1, gone));
            last = self.removed.get(&place).copied();
        }
        found
    }

    /// True when `mbox` has the same message already.
    pub fn is_in(&self, mbox: MailboxId, row: &Gone) -> bool {
        self.live_in.contains(&(row.cid, mbox.0, row.date.unix_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::processor_time;
    use crate::types::date::DateTime;
    use std::time::Duration;

    /// Copies of one message, all of them moved from folder 1 to folder 2 and expunged there, and one that stayed in 3.
    fn moved(copies: u32) -> (Connection, Vec<Gone>) {
        let conn = Connection::open_in_memory().expect("opened");
        conn.execute_batch(
            "CREATE TABLE removed(mbox, uid, saved, modseq, cid, at, gone);
             CREATE TABLE message(mbox, uid, saved, modseq, cid, idate);
             INSERT INTO message VALUES (3, 1, 10, 3, 7, 5);
             BEGIN",
        )
        .expect("made");
        let mut rows = Vec::new();
        for uid in 1..=copies {
            for (mbox, saved, modseq, at, gone) in [(1, 10, 3, 20, 4), (2, 20, 4, 30, 5)] {
                let mut insert = conn.prepare_cached("INSERT INTO removed VALUES (?, ?, ?, ?, 7, ?, ?)").expect("SQL");
                insert.execute((mbox, uid, saved, modseq, at, gone)).expect("added");
                rows.push(Gone::in_test((mbox, uid), DateTime::utc(5), 7, (at, gone)));
            }
        }
        (conn, rows)
    }

    /// What an undelete asks; the processor time it took.
    fn ask_all(copies: u32) -> Duration {
        let (conn, rows) = moved(copies);
        let before = processor_time();
        let mut traces = Traces::read(&conn).expect("read");
        let mut froms = HashSet::new();
        for row in &rows {
            assert_eq!(traces.was_moved(row), row.mbox == 1);
            assert!(traces.is_somewhere(row) && traces.is_in(MailboxId(3), row) && !traces.is_in(MailboxId(2), row));
            if row.mbox == 2 {
                let from = traces.moved_from(row);
                assert_eq!(from.len(), 1);
                assert!(from[0].0 == 1 && from[0].2 == 4 && froms.insert(from[0].1), "each row is given once");
            }
        }
        assert_eq!(froms.len(), copies as usize);
        processor_time().saturating_sub(before)
    }

    /// When each copy was compared with each other, eight times as many cost sixty times as much.
    #[test]
    fn many_copies_of_one_message_cost_no_more_than_as_many_messages() {
        let (few, many) = (ask_all(2_500), ask_all(20_000));
        println!("{few:?} for 2,500 copies, {many:?} for 20,000");
        assert!(many < few * 24, "{few:?} for 2,500 copies, {many:?} for 20,000");
    }
}

//! The hot columns of a mailbox in memory: spans of 1,024 UIDs, each with a bitmap of its members,
//! its counters, and a chunk of rows that is loaded when touched and thrown out when memory is short.
//! Everything here is immutable once published; a change makes new values and shares what is unchanged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::types::{ContentId, FlagSet, ModSeq, SystemFlag, Uid, UidRuns};

/// UIDs of one span.
pub const SPAN_UIDS: u32 = 1024;
const WORDS: usize = (SPAN_UIDS / 64) as usize;

/// First UID of the span that `uid` belongs to.
pub fn span_of(uid: u32) -> u32 {
    (uid - 1) / SPAN_UIDS * SPAN_UIDS + 1
}

/// Which UIDs of one span exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    pub lo: u32,
    pub count: u32,
    words: [u64; WORDS],
}

impl Members {
    pub fn empty(lo: u32) -> Self {
        Members { lo, count: 0, words: [0; WORDS] }
    }

    /// Reads what [`Members::stored`] wrote; `None` when it cannot be that.
    pub fn restore(lo: u32, count: u32, stored: Option<&[u8]>) -> Option<Self> {
        let mut members = Members::empty(lo);
        match stored {
            None if count <= SPAN_UIDS => (0..count).for_each(|i| members.insert(lo + i)),
            None => return None,
            Some(octets) => {
                if octets.len() != WORDS * 8 {
                    return None;
                }
                for (word, eight) in members.words.iter_mut().zip(octets.chunks_exact(8)) {
                    *word = u64::from_le_bytes(eight.try_into().ok()?);
                }
                members.count = members.words.iter().map(|w| w.count_ones()).sum();
                if members.count != count {
                    return None;
                }
            }
        }
        Some(members)
    }

    /// The bitmap for the span's row, or `None` when the members are simply the first `count` UIDs.
    pub fn stored(&self) -> Option<Vec<u8>> {
        let full = (self.count / 64) as usize;
        let rest = (1u64 << (self.count % 64)) - 1;
        let is_prefix =
            self.words[..full].iter().all(|w| *w == u64::MAX) && (full == WORDS || self.words[full] == rest);
        (!is_prefix).then(|| self.words.iter().flat_map(|w| w.to_le_bytes()).collect())
    }

    fn place(&self, uid: u32) -> Option<(usize, u64)> {
        let at = uid.checked_sub(self.lo).filter(|at| *at < SPAN_UIDS)?;
        Some(((at / 64) as usize, 1u64 << (at % 64)))
    }

    pub fn contains(&self, uid: u32) -> bool {
        self.place(uid).is_some_and(|(word, bit)| self.words[word] & bit != 0)
    }

    pub fn insert(&mut self, uid: u32) {
        if let Some((word, bit)) = self.place(uid)
            && self.words[word] & bit == 0
        {
            self.words[word] |= bit;
            self.count += 1;
        }
    }

    pub fn remove(&mut self, uid: u32) {
        if let Some((word, bit)) = self.place(uid)
            && self.words[word] & bit != 0
        {
            self.words[word] &= !bit;
            self.count -= 1;
        }
    }

    /// How many members are below `uid`.
    fn rank(&self, uid: u32) -> u32 {
        let Some(at) = uid.checked_sub(self.lo) else { return 0 };
        if at >= SPAN_UIDS {
            return self.count;
        }
        let (word, bit) = ((at / 64) as usize, at % 64);
        let whole: u32 = self.words[..word].iter().map(|w| w.count_ones()).sum();
        whole + (self.words[word] & ((1u64 << bit) - 1)).count_ones()
    }

    /// The member with `n` members below it.
    fn select(&self, mut n: u32) -> Option<u32> {
        for (index, word) in self.words.iter().enumerate() {
            let here = word.count_ones();
            if n < here {
                let mut word = *word;
                for _ in 0..n {
                    word &= word - 1;
                }
                return Some(self.lo + index as u32 * 64 + word.trailing_zeros());
            }
            n -= here;
        }
        None
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(move |(index, word)| {
            let base = self.lo + index as u32 * 64;
            std::iter::successors((*word != 0).then_some(*word), |w| {
                let next = w & (w - 1);
                (next != 0).then_some(next)
            })
            .map(move |w| base + w.trailing_zeros())
        })
    }

    /// All members.
    pub fn runs(&self) -> UidRuns {
        let mut runs = UidRuns::new();
        self.runs_into(&mut runs, self.lo, self.lo.saturating_add(SPAN_UIDS - 1));
        runs
    }

    fn runs_into(&self, runs: &mut UidRuns, lo: u32, hi: u32) {
        // Whole words are the common case in a mailbox that few messages left.
        let mut open: Option<u32> = None;
        for (index, word) in self.words.iter().enumerate() {
            let base = self.lo + index as u32 * 64;
            if *word == u64::MAX {
                open.get_or_insert(base);
                continue;
            }
            for bit in 0..64 {
                if word >> bit & 1 == 1 {
                    open.get_or_insert(base + bit);
                } else if let Some(start) = open.take() {
                    let (a, b) = (start.max(lo), (base + bit - 1).min(hi));
                    runs.push_run(a, b);
                }
            }
        }
        if let Some(start) = open {
            runs.push_run(start.max(lo), (self.lo + (SPAN_UIDS - 1)).min(hi));
        }
    }
}

/// The messages of a mailbox at one point in time, without their contents: what turns sequence
/// numbers into UIDs and back. Shared by every session at that point.
#[derive(Debug, Default)]
pub struct Membership {
    spans: Vec<Arc<Members>>,
    /// How many messages stand before each span.
    before: Vec<u32>,
    count: u32,
}

impl Membership {
    pub fn new(spans: Vec<Arc<Members>>) -> Self {
        let mut count = 0;
        let before = spans
            .iter()
            .map(|span| {
                let here = count;
                count += span.count;
                here
            })
            .collect();
        Membership { spans, before, count }
    }

    /// How many messages there are, which is the largest sequence number.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn spans(&self) -> &[Arc<Members>] {
        &self.spans
    }

    /// The span that holds `uid`, if any of its UIDs exist.
    pub fn span(&self, uid: u32) -> Option<&Arc<Members>> {
        let at = self.spans.partition_point(|s| s.lo + (SPAN_UIDS - 1) < uid);
        self.spans.get(at).filter(|s| s.lo <= uid)
    }

    pub fn contains(&self, uid: u32) -> bool {
        self.span(uid).is_some_and(|s| s.contains(uid))
    }

    pub fn last_uid(&self) -> Option<u32> {
        self.count.checked_sub(1).and_then(|n| self.uid(n + 1))
    }

    /// The UID with sequence number `seq`, from 1.
    pub fn uid(&self, seq: u32) -> Option<u32> {
        let n = seq.checked_sub(1).filter(|n| *n < self.count)?;
        let at = self.before.partition_point(|before| *before <= n) - 1;
        self.spans[at].select(n - self.before[at])
    }

    /// How many messages have a UID below `uid`; one less than the sequence number of `uid` when it exists.
    pub fn rank(&self, uid: u32) -> u32 {
        let at = self.spans.partition_point(|s| s.lo + (SPAN_UIDS - 1) < uid);
        match self.spans.get(at) {
            Some(span) => self.before[at] + span.rank(uid),
            None => self.count,
        }
    }

    /// The sequence number of `uid`.
    pub fn seq(&self, uid: u32) -> Option<u32> {
        self.contains(uid).then(|| self.rank(uid) + 1)
    }

    /// The members among `wanted`.
    pub fn select(&self, wanted: &UidRuns) -> UidRuns {
        let mut found = UidRuns::new();
        for &(lo, hi) in wanted.runs() {
            let first = self.spans.partition_point(|s| s.lo + (SPAN_UIDS - 1) < lo);
            for span in self.spans[first..].iter().take_while(|s| s.lo <= hi) {
                span.runs_into(&mut found, lo, hi);
            }
        }
        found
    }

    /// The UIDs of a run of sequence numbers; numbers past the end are left out.
    pub fn uids_of(&self, numbers: &UidRuns) -> UidRuns {
        let mut wanted = UidRuns::new();
        for &(lo, hi) in numbers.runs() {
            if let (Some(first), Some(last)) = (self.uid(lo), self.uid(hi.min(self.count))) {
                wanted.push_run(first, last);
            }
        }
        self.select(&wanted)
    }

    /// All UIDs.
    pub fn all(&self) -> UidRuns {
        self.select(&UidRuns::range(1, u32::MAX))
    }

    /// The UIDs that are here and not in `later`: those a session at `later` has to be told as gone.
    pub fn gone_in(&self, later: &Membership) -> UidRuns {
        self.spans
            .iter()
            .filter(|span| !later.span(span.lo).is_some_and(|other| Arc::ptr_eq(span, other) || span == &other))
            .flat_map(|span| {
                let other = later.span(span.lo);
                span.iter().filter(move |uid| !other.is_some_and(|o| o.contains(*uid)))
            })
            .collect()
    }
}

/// One message's hot columns, 24 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub modseq: ModSeq,
    pub uid: Uid,
    pub flagset: u32,
    pub content: ContentId,
    pub size: u32,
}

/// The rows of one span, by UID.
pub type Chunk = Vec<Row>;

/// Finds `uid` in a chunk.
pub fn find(chunk: &Chunk, uid: u32) -> Option<&Row> {
    chunk.binary_search_by_key(&uid, |row| row.uid.0).ok().map(|at| &chunk[at])
}

/// Sums over the messages of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub unseen: u32,
    pub deleted: u32,
    /// Octets of the messages marked `\Deleted`.
    pub deleted_bytes: u64,
    pub bytes: u64,
}

impl Counters {
    /// What one message adds.
    pub fn of(set: &FlagSet, size: u32) -> Self {
        let is_deleted = set.has(SystemFlag::Deleted);
        Counters {
            unseen: u32::from(!set.has(SystemFlag::Seen)),
            deleted: u32::from(is_deleted),
            deleted_bytes: if is_deleted { size.into() } else { 0 },
            bytes: size.into(),
        }
    }

    pub fn add(&mut self, other: &Counters) {
        self.unseen += other.unseen;
        self.deleted += other.deleted;
        self.deleted_bytes += other.deleted_bytes;
        self.bytes += other.bytes;
    }

    /// Takes away what was added before; never below nothing, which only a damaged store could ask for.
    pub fn take(&mut self, other: &Counters) {
        self.unseen = self.unseen.saturating_sub(other.unseen);
        self.deleted = self.deleted.saturating_sub(other.deleted);
        self.deleted_bytes = self.deleted_bytes.saturating_sub(other.deleted_bytes);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// One span of a mailbox as last committed.
#[derive(Debug)]
pub struct Span {
    pub members: Arc<Members>,
    pub counters: Counters,
    /// The highest modseq any message that is or was here has had.
    pub max_modseq: u64,
    chunk: Mutex<Option<Arc<Chunk>>>,
    /// Touched since the cache last looked.
    used: AtomicBool,
}

impl Clone for Span {
    fn clone(&self) -> Self {
        Span { members: self.members.clone(), chunk: Mutex::new(self.chunk()), used: AtomicBool::new(true), ..*self }
    }
}

impl Span {
    /// A span without messages, whose chunk is known: it is empty.
    pub fn empty(lo: u32) -> Self {
        Span {
            members: Arc::new(Members::empty(lo)),
            counters: Counters::default(),
            max_modseq: 0,
            chunk: Mutex::new(Some(Arc::default())),
            used: AtomicBool::new(true),
        }
    }

    /// A span as its stored row tells it; the chunk is not loaded.
    pub fn stored(members: Members, counters: Counters, max_modseq: u64) -> Self {
        Span { members: Arc::new(members), counters, max_modseq, chunk: Mutex::new(None), used: AtomicBool::new(false) }
    }

    pub fn lo(&self) -> u32 {
        self.members.lo
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Chunk>>> {
        self.chunk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows, if they are in memory.
    pub fn chunk(&self) -> Option<Arc<Chunk>> {
        self.used.store(true, Ordering::Relaxed);
        self.slot().clone()
    }

    /// Puts loaded rows in place, unless they cannot be this span's.
    pub fn fill(&self, chunk: Arc<Chunk>) -> bool {
        let fits = chunk.len() == self.members.count as usize;
        if fits {
            *self.slot() = Some(chunk);
        }
        fits
    }

    /// The rows for changing; only for a span that is not published yet.
    pub fn chunk_mut(&mut self) -> Option<&mut Chunk> {
        self.chunk.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().map(Arc::make_mut)
    }

    pub fn members_mut(&mut self) -> &mut Members {
        Arc::make_mut(&mut self.members)
    }
}

/// Bounds the memory of all chunks together: least recently used out, by second chance.
#[derive(Debug)]
pub struct ChunkCache {
    bound_bytes: i64,
    held_bytes: AtomicI64,
    queue: Mutex<VecDeque<(Weak<Span>, i64)>>,
}

impl ChunkCache {
    pub fn new(bound_bytes: u64) -> Self {
        let bound_bytes = i64::try_from(bound_bytes).unwrap_or(i64::MAX);
        ChunkCache { bound_bytes, held_bytes: AtomicI64::new(0), queue: Mutex::default() }
    }

    /// Counts a span whose chunk is in memory, and throws others out while there are too many.
    pub fn hold(&self, span: &Arc<Span>) {
        let bytes = i64::from(span.members.count) * size_of::<Row>() as i64 + 128;
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push_back((Arc::downgrade(span), bytes));
        let mut chances = queue.len() * 2;
        // Superseded spans at the head cost nothing any more: they are counted off first.
        while let Some((weak, bytes)) = queue.front() {
            let over = self.held_bytes.load(Ordering::Relaxed) > self.bound_bytes;
            let live = weak.upgrade();
            if live.is_some() && (!over || chances == 0) {
                break;
            }
            let bytes = *bytes;
            chances = chances.saturating_sub(1);
            let Some((weak, _)) = queue.pop_front() else { break };
            match live {
                Some(span) if span.used.swap(false, Ordering::Relaxed) && queue.len() > 1 => {
                    queue.push_back((weak, bytes))
                }
                Some(span) => {
                    *span.slot() = None;
                    self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
                None => {
                    self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
        }
        // A burst of changes supersedes many spans behind a live head; once they are most of the queue, sweep them.
        if queue.len() > 4096 && queue.len() > 2 * (self.bound_bytes / 24_576 + 1) as usize {
            queue.retain(|(weak, bytes)| {
                let live = weak.strong_count() > 0;
                if !live {
                    self.held_bytes.fetch_sub(*bytes, Ordering::Relaxed);
                }
                live
            });
        }
    }

    pub fn held_bytes(&self) -> i64 {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(lo: u32, uids: &[u32]) -> Arc<Members> {
        let mut members = Members::empty(lo);
        uids.iter().for_each(|uid| members.insert(*uid));
        Arc::new(members)
    }

    #[test]
    fn membership_counts_and_finds_across_spans() {
        let m = Membership::new(vec![members(1, &[2, 3, 64, 65, 1024]), members(2049, &[2050, 3000])]);
        assert_eq!(m.count(), 7);
        let uids = [2, 3, 64, 65, 1024, 2050, 3000];
        for (index, uid) in uids.iter().enumerate() {
            assert_eq!(m.uid(index as u32 + 1), Some(*uid));
            assert_eq!(m.seq(*uid), Some(index as u32 + 1));
        }
        assert_eq!((m.uid(0), m.uid(8), m.seq(4), m.last_uid()), (None, None, None, Some(3000)));
        assert_eq!(m.all().wire(), "2:3,64:65,1024,2050,3000");
        assert_eq!(m.uids_of(&UidRuns::range(2, 4)).wire(), "3,64:65");
        assert_eq!(m.select(&UidRuns::range(60, 2050)).wire(), "64:65,1024,2050");
        assert_eq!(m.rank(2000), 5);
    }

    #[test]
    fn what_is_gone_is_found_by_comparing() {
        let shared = members(1, &[1, 2, 3]);
        let before = Membership::new(vec![shared.clone(), members(1025, &[1025, 1026]), members(2049, &[2049])]);
        let after = Membership::new(vec![shared, members(1025, &[1026, 1027])]);
        assert_eq!(before.gone_in(&after).wire(), "1025,2049");
        assert_eq!(after.gone_in(&before).wire(), "1027");
    }

    #[test]
    fn members_survive_storing() {
        for uids in [vec![], vec![1, 2, 3], vec![2, 3], (1..=1024).collect::<Vec<_>>(), (1..=64).collect(), vec![1024]]
        {
            let before = members(1, &uids);
            let stored = before.stored();
            let is_prefix = uids.iter().enumerate().all(|(i, uid)| *uid == i as u32 + 1);
            assert_eq!(stored.is_none(), is_prefix, "{uids:?}");
            assert_eq!(Members::restore(1, before.count, stored.as_deref()).as_ref(), Some(&*before));
        }
        assert_eq!(Members::restore(1, 3, Some(&[0; 128])), None, "a count that is not the bitmap's");
        assert_eq!(Members::restore(1, 3, Some(&[0; 7])), None);
    }

    #[test]
    fn the_cache_keeps_to_its_bound() {
        let cache = ChunkCache::new(100_000);
        let row = Row { modseq: ModSeq(1), uid: Uid(1), flagset: 1, content: ContentId(1), size: 1 };
        let spans: Vec<Arc<Span>> = (0..20)
            .map(|i| {
                let lo = i * SPAN_UIDS + 1;
                let mut span = Span::empty(lo);
                for uid in lo..lo + SPAN_UIDS {
                    span.members_mut().insert(uid);
                    span.chunk_mut().expect("an empty span has its chunk").push(Row { uid: Uid(uid), ..row });
                }
                let span = Arc::new(span);
                cache.hold(&span);
                span
            })
            .collect();
        assert!(cache.held_bytes() <= 100_000, "{}", cache.held_bytes());
        assert!(spans.iter().filter(|s| s.slot().is_some()).count() <= 4);
        assert!(spans[19].slot().is_some(), "the newest stays");
    }
}

//! The end of a turn: what changed is written back, committed, published, and the hub told. In this order, so that
//! nobody is told of what a power cut could take back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::params;

use super::account::Loaded;
use super::crash;
use super::error::Result;
use super::events::What;
use super::turn::Turn;
use crate::metrics::{COMMITS, METRICS};
use crate::types::{Keyword, MailboxId, ModSeq};

impl Turn<'_> {
    /// Writes back what changed, commits, publishes, and tells the hub.
    pub fn commit(mut self) -> Result<()> {
        let mut changed: Vec<MailboxId> = self.works.iter().filter(|(_, w)| w.is_dirty).map(|(id, _)| *id).collect();
        changed.sort();
        for id in &changed {
            self.write_back(*id)?;
        }
        let must_commit = self.has_written || !changed.is_empty();
        if must_commit {
            if self.modseq != self.first_modseq {
                self.conn
                    .prepare_cached("UPDATE meta SET value = ? WHERE key = 'modseq'")?
                    .execute([self.modseq as i64])?;
            }
            crash::point("order.before_commit");
            self.account.commits.fetch_add(1, Ordering::AcqRel);
            let begun = Instant::now();
            let committed = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
            if let Err(error) = committed {
                self.account.commits.fetch_add(1, Ordering::AcqRel);
                let _ = self.conn.execute_batch("ROLLBACK");
                self.bury();
                return Err(error.into());
            }
            METRICS.store_commits.add(1);
            COMMITS.note(begun.elapsed());
            crash::point("order.after_commit");
        } else {
            self.conn.prepare_cached("ROLLBACK")?.execute([])?;
        }
        crash::point("order.before_publish");
        self.publish(must_commit);
        Ok(())
    }

    /// After a commit that failed in its sync, its frames lie whole in the WAL, and whoever opens the file anew would
    /// take them for a transaction. Another one is written over their beginning; if its sync fails too, what is
    /// found there is that. It has to change something: what is the same SQLite does not write.
    fn bury(&self) {
        let _ = self.conn.execute_batch(
            "BEGIN IMMEDIATE;
             INSERT INTO meta(key, value) VALUES ('buried', 1) ON CONFLICT(key) DO UPDATE SET value = value + 1;
             COMMIT",
        );
        let _ = self.conn.execute_batch("ROLLBACK");
    }

    fn publish(self, is_change: bool) {
        let newest = ModSeq(self.modseq);
        let Turn { account, sets, works, tree, growth, new_quota, events, .. } = self;
        account.publish_usage(account.usage().plus(growth));
        if new_quota.is_some() {
            account.publish_quota(new_quota);
        }
        sets.publish(&account.flagsets);
        let mut told = Vec::new();
        for (id, mut work) in works {
            work.spans.retain(|span| span.members.count > 0);
            let mut state = work.state;
            let old = state.loaded.take();
            let membership = match old {
                Some(old) if !work.members_changed => old.membership,
                _ => Loaded::new(work.spans.clone()).membership,
            };
            for span in work.spans.iter().filter(|s| work.dirty_spans.contains(&s.lo()) && s.chunk().is_some()) {
                account.shared.chunks.hold(span);
            }
            if work.is_dirty {
                told.push((id, state.modseq));
            }
            state.loaded = Some(Loaded { spans: work.spans, membership });
            if state.is_gone {
                super::owner::lock(&account.gone_mailboxes).push(Arc::downgrade(&work.live));
            }
            work.live.publish(Arc::new(state));
        }
        if let Some(tree) = tree {
            account.publish_tree(tree);
        }
        if is_change {
            account.commits.fetch_add(1, Ordering::AcqRel);
        }
        let has_tree_events = events.iter().any(|event| matches!(event.what, What::Tree { .. }));
        account.events.publish(events, newest);
        for (id, modseq) in told {
            account.shared.hub.tell(account.id, id, modseq);
        }
        if has_tree_events {
            account.shared.hub.tell_account(account.id, newest);
        }
    }

    fn write_back(&mut self, id: MailboxId) -> Result<()> {
        let Some(work) = self.works.get(&id) else { return Ok(()) };
        if work.state.is_gone {
            return Ok(());
        }
        let mut write = self.conn.prepare_cached(
            "INSERT OR REPLACE INTO span(mbox, lo, count, unseen, deleted, deleted_bytes, bytes, max_modseq, members)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for lo in &work.dirty_spans {
            let Ok(at) = work.spans.binary_search_by_key(lo, |s| s.lo()) else { continue };
            let span = &work.spans[at];
            if span.members.count == 0 {
                self.conn.prepare_cached("DELETE FROM span WHERE mbox = ? AND lo = ?")?.execute(params![id.0, lo])?;
                continue;
            }
            write.execute(params![
                id.0,
                lo,
                span.members.count,
                span.counters.unseen,
                span.counters.deleted,
                span.counters.deleted_bytes as i64,
                span.counters.bytes as i64,
                span.max_modseq as i64,
                span.members.stored(),
            ])?;
        }
        let state = &work.state;
        let keywords: Vec<&str> = state.keywords.iter().map(Keyword::as_str).collect();
        self.conn
            .prepare_cached(
                "UPDATE mailbox SET uidnext = ?, modseq = ?, recent_from = ?, messages = ?, unseen = ?, deleted = ?,
                        deleted_bytes = ?, bytes = ?, keywords = ?, expunged_floor = ?, expunged_rows = ? WHERE id = ?",
            )?
            .execute(params![
                state.uid_next,
                state.modseq.0 as i64,
                work.live.recent_from.load(Ordering::Relaxed),
                state.messages,
                state.counters.unseen,
                state.counters.deleted,
                state.counters.deleted_bytes as i64,
                state.counters.bytes as i64,
                keywords.join(" "),
                state.expunged_floor.0 as i64,
                state.expunged_rows,
                id.0,
            ])?;
        Ok(())
    }
}

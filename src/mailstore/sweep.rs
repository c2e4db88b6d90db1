//! The sweep: the only place that lets message content go. It runs in the account's own turns, deletes
//! rows, commits, and then unlinks; files without a row wait a day.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::account::AccountState;
use super::blobs;
use super::crash;
use super::draft::on_writer;
use super::error::Result;
use super::owner::lock;
use super::retold;
use super::turn::Turn;
use crate::metrics::METRICS;
use crate::types::{MailboxId, ModSeq};

/// Rows one turn of the sweep takes at most, so that it never delays others for long.
const BATCH: usize = 500;
/// A file that no row names is left alone so long, in seconds.
const ORPHAN_SECS: i64 = 86_400;
/// Free pages given back in one step.
const VACUUM_PAGES: i64 = 256;

/// What a sweep took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    pub messages: usize,
    pub contents: usize,
    pub files: usize,
}

impl AccountState {
    /// Takes away what was removed longer than `keep_secs` ago and nobody still reads, and content that
    /// nothing refers to any more.
    pub async fn sweep(self: &Arc<Self>, keep_secs: i64) -> Result<Swept> {
        let mut total = Swept::default();
        loop {
            let (swept, files, has_more) = self.order(move |turn| turn.sweep(keep_secs)).await?;
            total.messages += swept.messages;
            total.contents += swept.contents;
            total.files += files.len();
            METRICS.contents_swept.add(swept.contents as u64);
            let account = self.clone();
            on_writer(self, move || {
                crash::point("sweep.after_commit");
                account.unlink(&files);
                crash::point("sweep.after_unlink");
                Ok(())
            })
            .await?;
            if !has_more {
                break;
            }
        }
        let account = self.clone();
        total.files += on_writer(self, move || account.unlink_orphans()).await?;
        Ok(total)
    }

    /// Gives free pages back to the file system. True when there may be more.
    pub async fn give_back_pages(self: &Arc<Self>) -> Result<bool> {
        self.order(|turn| {
            let free: i64 = turn.conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
            if free == 0 {
                return Ok(false);
            }
            turn.wrote();
            let mut step = turn.conn.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            let mut rows = step.query([])?;
            while rows.next()?.is_some() {}
            Ok(free > VACUUM_PAGES)
        })
        .await
    }

    fn unlink(&self, files: &[String]) {
        // Behind a shut gate the path leads to other files by now.
        let Ok(_inside) = self.gate.enter() else { return };
        for file in files {
            if let Err(error) = fs::remove_file(self.dir.join("blobs").join(file))
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(account = self.id.0, file, %error, "a swept body's file cannot be unlinked");
            }
        }
    }

    /// Files whose purpose was lost in this process: their drafts were dropped or their content was here already.
    fn unlink_orphans(&self) -> Result<usize> {
        let orphans = std::mem::take(&mut *lock(&self.orphans));
        let unnamed = self.without_row(orphans)?;
        self.unlink(&unnamed);
        Ok(unnamed.len())
    }

    /// Looks through all of `blobs/` for files that no row names and that are older than a day.
    pub async fn unlink_strays(self: &Arc<Self>) -> Result<usize> {
        let account = self.clone();
        on_writer(self, move || {
            let now = account.shared.clock.now_secs();
            let mut old = Vec::new();
            for (name, ctime) in blobs::files_with_ctime(&account.dir)? {
                if now - ctime > ORPHAN_SECS && !lock(&account.files_in_flight).contains(&name) {
                    old.push(name);
                }
            }
            let strays = account.without_row(old)?;
            account.unlink(&strays);
            Ok(strays.len())
        })
        .await
    }

    fn without_row(&self, files: Vec<String>) -> Result<Vec<String>> {
        if files.is_empty() {
            return Ok(files);
        }
        self.with_reader(|conn| {
            let mut query = conn.prepare_cached("SELECT file FROM content WHERE hash = ?")?;
            let mut unnamed = Vec::new();
            for file in files {
                let hash = file.get(3..67).and_then(unhex);
                let named: Option<Option<String>> = match hash {
                    Some(hash) => query.query_row([hash], |row| row.get(0)).optional()?,
                    None => None,
                };
                if named.flatten().as_deref() != Some(file.as_str()) {
                    unnamed.push(file);
                }
            }
            Ok(unnamed)
        })
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

impl Turn<'_> {
    /// One batch. Gives what went, the files to unlink after the commit, and whether there is more.
    fn sweep(&mut self, keep_secs: i64) -> Result<(Swept, Vec<String>, bool)> {
        let mut swept = Swept::default();
        if self.account.shared.leases.is_copied(self.account.id) {
            return Ok((swept, Vec::new(), false));
        }
        let until = self.now - keep_secs;
        let mut candidates: Vec<(i64, u32, u32, i64)> = Vec::new();
        {
            let mut query = self.conn.prepare_cached(
                "SELECT mbox, uid, cid, gone FROM removed WHERE at <= ? ORDER BY at LIMIT ? OFFSET ?",
            )?;
            // Rows an open view still reads stay; a whole batch of them must not hide those behind.
            let mut offset = 0;
            while candidates.len() < BATCH {
                let mut rows = query.query(params![until, BATCH as i64, offset])?;
                let mut seen = 0;
                while let Some(row) = rows.next()? {
                    seen += 1;
                    let (mbox, gone): (i64, i64) = (row.get(0)?, row.get(3)?);
                    if !self.is_still_read(MailboxId(mbox), ModSeq(gone as u64)) {
                        candidates.push((mbox, row.get(1)?, row.get(2)?, gone));
                    }
                }
                if seen < BATCH {
                    break;
                }
                offset += BATCH as i64;
            }
        }
        candidates.truncate(BATCH);
        for (mbox, uid, cid, _) in &candidates {
            self.conn.prepare_cached("DELETE FROM removed WHERE mbox = ? AND uid = ?")?.execute(params![mbox, uid])?;
            self.conn.prepare_cached("UPDATE content SET refs = refs - 1 WHERE id = ?")?.execute([cid])?;
        }
        swept.messages = candidates.len();
        if swept.messages > 0 {
            self.conn
                .prepare_cached(
                    "DELETE FROM removed_mailbox WHERE at <= ?
                     AND NOT EXISTS (SELECT 1 FROM removed WHERE removed.mbox = removed_mailbox.id)",
                )?
                .execute([until])?;
        }
        let files = self.sweep_contents(&mut swept)?;
        if swept.messages + swept.contents > 0 {
            self.wrote();
        }
        crash::point("sweep.before_commit");
        let has_more = swept.messages == BATCH || swept.contents == BATCH;
        Ok((swept, files, has_more))
    }

    fn sweep_contents(&mut self, swept: &mut Swept) -> Result<Vec<String>> {
        let held: HashSet<u32> = lock(&self.account.contents_in_flight).keys().copied().collect();
        let unused: Vec<(u32, Option<String>)> = {
            let mut query = self.conn.prepare_cached("SELECT id, file FROM content WHERE refs = 0 LIMIT ?")?;
            let rows = query.query_map([(BATCH + held.len()) as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut files = Vec::new();
        for (id, file) in unused.into_iter().filter(|(id, _)| !held.contains(id)).take(BATCH) {
            for sql in [
                "DELETE FROM content WHERE id = ?",
                "DELETE FROM structure WHERE cid = ?",
                "DELETE FROM sortkey WHERE cid = ?",
                "DELETE FROM msgref WHERE cid = ?",
                "DELETE FROM body WHERE id = ?",
            ] {
                self.conn.prepare_cached(sql)?.execute([id])?;
            }
            retold::forget(self.conn, self.account, id)?;
            swept.contents += 1;
            files.extend(file);
        }
        Ok(files)
    }

    /// True while a session that has not been told of this removal may read the message.
    pub fn is_still_read(&self, mailbox: MailboxId, gone: ModSeq) -> bool {
        if let Some(mailbox) = self.tree().with_id(mailbox) {
            return mailbox.live.oldest_view().is_some_and(|told| told < gone);
        }
        let mut left = lock(&self.account.gone_mailboxes);
        left.retain(|live| live.strong_count() > 0);
        left.iter().filter_map(std::sync::Weak::upgrade).any(|live| live.id == mailbox && live.has_views())
    }
}

//! COPY and MOVE between accounts: the target first, then the source, so that a crash may leave two
//! of a message and never none.

use super::blobs;
use super::crash;
use super::draft::{Body, Prepared, on_writer};
use super::error::{Error, Result};
use super::owner::lock;
use super::pages::PAGE_BYTES;
use super::place::NewMessage;
use super::view::View;
use super::{Account, Copied};
use crate::types::date::DateTime;
use crate::types::{FlagSet, MailboxName, UidRuns};

impl View {
    /// COPY into another account. Large bodies are linked, small ones written again.
    pub async fn copy_across(&self, uids: UidRuns, target: &Account, to: &MailboxName) -> Result<Copied> {
        let mut messages = Vec::new();
        let mut from = UidRuns::new();
        let there = self.membership().select(&uids);
        for (span, piece) in self.by_span(&there) {
            for row in self.rows(span, &piece).await? {
                let (prepared, date) = self.prepare_for(&row, target).await?;
                from.push(row.uid.0);
                let flags: FlagSet = self.flags(&row);
                messages.push(NewMessage { prepared, flags, internal_date: Some(date) });
            }
        }
        if messages.is_empty() {
            let uid_validity = target.find(to)?.uid_validity;
            return Ok(Copied { uid_validity, from, to: UidRuns::new(), modseq: None });
        }
        let placed = target.place(to, messages).await?;
        Ok(Copied { uid_validity: placed.uid_validity, from, to: placed.uids, modseq: Some(placed.modseq) })
    }

    /// MOVE into another account.
    pub async fn move_across(&self, uids: UidRuns, target: &Account, to: &MailboxName) -> Result<Copied> {
        let copied = self.copy_across(uids, target, to).await?;
        crash::point("move.between_accounts");
        let (mailbox, gone) = (self.mailbox(), copied.from.clone());
        if !gone.is_empty() {
            self.account()
                .state
                .order(move |turn| {
                    let modseq = turn.next_modseq();
                    turn.remove(mailbox, &gone, modseq)
                })
                .await?;
        }
        Ok(copied)
    }

    /// The body of a message once more, in another account.
    async fn prepare_for(&self, row: &super::Row, target: &Account) -> Result<(Prepared, DateTime)> {
        let (mailbox, uid, content) = (self.mailbox(), row.uid, row.content);
        let source = self.account().state;
        let (date, hash, file) = source
            .visit(move |conn, _| {
                let sql = "SELECT m.idate, m.idate_zone, c.hash, c.file
                           FROM message m JOIN content c ON c.id = m.cid WHERE m.mbox = ?1 AND m.uid = ?2";
                conn.prepare_cached(sql)?
                    .query_row(rusqlite::params![mailbox.0, uid.0], |row| {
                        let date = DateTime { unix_seconds: row.get(0)?, zone_minutes: row.get(1)? };
                        Ok((date, row.get::<_, [u8; 32]>(2)?, row.get::<_, Option<String>>(3)?))
                    })
                    .map_err(Error::from)
            })
            .await?;
        let mut draft = target.draft();
        let mut stream = self.stream(content, row.size, 0, u64::from(row.size));
        let Some(file) = file else {
            while let Some(piece) = stream.next().await? {
                draft.write(&piece).await?;
            }
            return Ok((draft.finish().await?, date));
        };
        // The octets are read once for their description and their hash; they are not written again.
        let mut scanner = crate::message::Scanner::new();
        while let Some(piece) = stream.next().await? {
            for part in piece.chunks(PAGE_BYTES) {
                scanner.feed(part);
            }
        }
        let (state, source_dir) = (target.state.clone(), source.dir.clone());
        let name = file.clone();
        let linked = on_writer(&target.state, move || {
            let linked = blobs::link_from(&source_dir, &name, &state.dir)?;
            if let Some(linked) = &linked {
                lock(&state.files_in_flight).insert(linked.clone());
            }
            Ok(linked)
        })
        .await?;
        match linked {
            Some(linked) => {
                let prepared = Prepared {
                    account: target.state.clone(),
                    hash,
                    size: row.size,
                    body: Body::File(linked),
                    description: scanner.finish(),
                };
                Ok((prepared, date))
            }
            None => {
                let mut stream = self.stream(content, row.size, 0, u64::from(row.size));
                while let Some(piece) = stream.next().await? {
                    draft.write(&piece).await?;
                }
                Ok((draft.finish().await?, date))
            }
        }
    }
}

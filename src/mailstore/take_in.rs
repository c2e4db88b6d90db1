//! Folders out of a backup, beside what there is. First what is needed is taken out of the backup into a small file of
//! its own, next to the account; from there whoever owns the account takes it in: contents ahead, in orders of a few
//! MiB, then one order that makes the folders and all messages in them. So they are there as a whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::arrive::Arrival;
use super::backup::{BlobFile, is_blob_name};
use super::draft::{Body, Prepared, on_writer};
use super::error::{Error, Result};
use super::owner::lock;
use super::turn::Turn;
use super::{Account, MailStore, blobs, connection};
use crate::message::Scanner;
use crate::types::date::DateTime;
use crate::types::{AccountId, ContentId, FlagSet, Keyword, MailboxName};

/// Contents are written in orders of this size.
const AHEAD_BYTES: usize = 4 << 20;
/// About what a content's rows take besides its body.
const ROW_BYTES: usize = 1024;
/// How many names like the wanted one are tried before giving up.
const MOST_NAMES: u32 = 1000;

const SCHEMA: &str = "
    CREATE TABLE folder(id INTEGER PRIMARY KEY, path TEXT NOT NULL);
    CREATE TABLE message(folder INTEGER NOT NULL, uid INTEGER NOT NULL, bits INTEGER NOT NULL, names TEXT NOT NULL,
                         idate INTEGER NOT NULL, idate_zone INTEGER NOT NULL, cid INTEGER NOT NULL);
    CREATE TABLE content(id INTEGER PRIMARY KEY, hash BLOB NOT NULL, size INTEGER NOT NULL, file TEXT, data BLOB);";

/// What was taken out of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extract {
    pub folders: Vec<String>,
    pub messages: u64,
    /// Bodies that have to be laid beside it, in `blobs/`.
    pub files: Vec<BlobFile>,
}

/// Where the folders shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The folder in the backup; those below it come along.
    pub from: MailboxName,
    /// What it becomes.
    pub to: MailboxName,
    /// Whether messages may go into a folder that is there. If not, a name that is free is found.
    pub may_exist: bool,
}

/// What was taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// The name of the outermost folder.
    pub folder: String,
    pub folders: u64,
    pub messages: u64,
    /// Messages whose octets are damaged in the backup and that were left out.
    pub damaged: u64,
}

/// Where what is taken in lies: beside the account.
pub fn import_dir(data_dir: &Path, id: AccountId) -> PathBuf {
    data_dir.join("accounts").join(format!("{id}.import"))
}

fn import_file(dir: &Path) -> PathBuf {
    dir.join("import.db")
}

/// Takes a folder and those below it out of a backup's database. `NoSuchMailbox`: it has none of that name.
pub fn extract(database: &Path, dir: &Path, folder: &MailboxName) -> Result<Extract> {
    let from = connection::open_resting(database)?;
    let to = Connection::open(import_file(dir))?;
    to.execute_batch(&format!("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {SCHEMA} BEGIN;"))?;
    let mut found = Extract::default();
    for (id, path) in folders(&from)? {
        let is_meant = MailboxName::new(&path).is_ok_and(|name| name == *folder || name.is_below(folder));
        if !is_meant {
            continue;
        }
        to.execute("INSERT INTO folder(id, path) VALUES (?, ?)", params![id, path])?;
        found.folders.push(path);
        found.messages += extract_messages(&from, &to, id)?;
    }
    if found.folders.is_empty() {
        return Err(Error::NoSuchMailbox);
    }
    found.files = extract_contents(&from, &to)?;
    to.execute_batch("COMMIT")?;
    drop(to);
    std::fs::File::open(import_file(dir))?.sync_all()?;
    Ok(found)
}

/// The folders in a backup's database, by name.
pub fn folders_in(database: &Path) -> Result<Vec<String>> {
    let mut paths: Vec<String> = folders(&connection::open_resting(database)?)?.into_iter().map(|f| f.1).collect();
    paths.sort();
    Ok(paths)
}

fn folders(conn: &Connection) -> Result<Vec<(i64, String)>> {
    let sql = "WITH RECURSIVE tree(id, path, attrs, depth) AS (
                   SELECT id, name, attrs, 1 FROM mailbox WHERE parent = 0
                   UNION ALL
                   SELECT m.id, tree.path || '/' || m.name, m.attrs, depth + 1
                   FROM mailbox m JOIN tree ON m.parent = tree.id WHERE depth < 200
               ) SELECT id, path FROM tree WHERE attrs & 1 = 0 ORDER BY path";
    let mut query = conn.prepare(sql)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn extract_messages(from: &Connection, to: &Connection, folder: i64) -> Result<u64> {
    let mut query = from.prepare_cached(
        "SELECT m.uid, f.bits, f.names, m.idate, m.idate_zone, m.cid
         FROM message m LEFT JOIN flagset f ON f.id = m.flagset WHERE m.mbox = ? ORDER BY m.uid",
    )?;
    let mut insert = to.prepare_cached("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    let mut rows = query.query([folder])?;
    let mut messages = 0;
    while let Some(row) = rows.next()? {
        let (uid, bits, names): (u32, Option<u8>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (idate, zone, cid): (i64, i16, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
        insert.execute(params![folder, uid, bits.unwrap_or(0), names.unwrap_or_default(), idate, zone, cid])?;
        messages += 1;
    }
    Ok(messages)
}

fn extract_contents(from: &Connection, to: &Connection) -> Result<Vec<BlobFile>> {
    let mut files = Vec::new();
    let mut wanted = to.prepare("SELECT DISTINCT cid FROM message ORDER BY cid")?;
    let ids: Vec<i64> = wanted.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut query = from.prepare_cached(
        "SELECT c.hash, c.size, c.file, b.data FROM content c LEFT JOIN body b ON b.id = c.id WHERE c.id = ?",
    )?;
    let mut insert = to.prepare_cached("INSERT INTO content VALUES (?, ?, ?, ?, ?)")?;
    for id in ids {
        let mut rows = query.query([id])?;
        let Some(row) = rows.next()? else { continue };
        let (hash, size): ([u8; 32], i64) = (row.get(0)?, row.get(1)?);
        let (file, data): (Option<String>, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
        insert.execute(params![id, hash, size, file, data])?;
        files.extend(file.filter(|name| is_blob_name(name)).map(|name| BlobFile { name, hash, size: size as u64 }));
    }
    Ok(files)
}

impl MailStore {
    /// Takes in what lies in an account's [`import_dir`]. When this returns it would survive a power cut.
    pub async fn take_in(&self, id: AccountId, target: Target) -> Result<TakenIn> {
        let account = self.account(id).await?;
        account.room()?;
        let dir = import_dir(&self.shared.data_dir, id);
        TakingIn { account, dir, contents: HashMap::new(), held: Vec::new() }.run(target).await
    }
}

/// A message on its way.
struct Coming {
    folder: i64,
    flags: FlagSet,
    date: DateTime,
    cid: i64,
}

struct TakingIn {
    account: Account,
    dir: PathBuf,
    /// Contents of the import file as the account knows them.
    contents: HashMap<i64, (ContentId, u32)>,
    /// Content rows written ahead, which the sweep must leave alone until the last order is through.
    held: Vec<ContentId>,
}

impl TakingIn {
    async fn run(mut self, target: Target) -> Result<TakenIn> {
        let file = import_file(&self.dir);
        let (folders, messages, ids) = on_writer(&self.account.state, move || read(&file)).await?;
        let mut batch: Vec<(i64, Prepared)> = Vec::new();
        let mut bytes = 0;
        for id in ids {
            // What is damaged gets no number here, and its messages are counted as left out.
            if let Some(prepared) = self.prepare(id).await? {
                bytes += prepared.inline_bytes() + ROW_BYTES;
                batch.push((id, prepared));
            }
            if bytes >= AHEAD_BYTES {
                self.write(std::mem::take(&mut batch), bytes).await?;
                bytes = 0;
            }
        }
        self.write(batch, bytes).await?;
        let contents = self.contents.clone();
        let order =
            self.account.state.growing_order(0, move |turn| turn.take_in(&target, &folders, &messages, &contents));
        let taken = order.await?;
        Ok(taken)
    }

    /// A content of the import file, described. `None`: its octets are not what they were.
    async fn prepare(&self, id: i64) -> Result<Option<Prepared>> {
        let (dir, state) = (self.dir.clone(), self.account.state.clone());
        on_writer(&self.account.state, move || {
            let conn = connection::open_resting(&import_file(&dir))?;
            let (hash, file, data): ([u8; 32], Option<String>, Option<Vec<u8>>) =
                conn.query_row("SELECT hash, file, data FROM content WHERE id = ?", [id], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            if let Some(octets) = data {
                let mut scanner = Scanner::new();
                scanner.feed(&octets);
                let size = u32::try_from(octets.len()).map_err(|_| Error::TooLarge)?;
                let is_whole = octets.len() <= blobs::INLINE_BYTES && blake3::hash(&octets).as_bytes() == &hash;
                let (account, body) = (state.clone(), Body::Inline(octets));
                let prepared = Prepared { account, hash, size, body, description: scanner.finish() };
                return Ok(is_whole.then_some(prepared));
            }
            let Some(name) = file.filter(|name| is_blob_name(name)) else { return Ok(None) };
            let path = dir.join("blobs").join(&name);
            let Ok(seen) = super::repair::see_file(&path) else { return Ok(None) };
            if seen.hash != hash {
                return Ok(None);
            }
            // The import lies on the same file system, so that a second name is enough.
            let linked = blobs::link_from(&dir, &name, &state.dir)?;
            let linked = linked.ok_or_else(|| Error::Fault("the import is not on the store's file system".into()))?;
            lock(&state.files_in_flight).insert(linked.clone());
            let size = u32::try_from(seen.size).map_err(|_| Error::TooLarge)?;
            let (account, body) = (state.clone(), Body::File(linked));
            Ok(Some(Prepared { account, hash, size, body, description: seen.description }))
        })
        .await
    }

    /// Writes contents ahead of the messages that will refer to them.
    async fn write(&mut self, batch: Vec<(i64, Prepared)>, bytes: usize) -> Result<()> {
        let batch = Arc::new(batch);
        let written = batch.clone();
        let order = self.account.state.growing_order(bytes, move |turn| {
            let mut contents = Vec::new();
            for (id, prepared) in written.iter() {
                let content = turn.content(prepared, 0)?;
                *lock(&turn.account.contents_in_flight).entry(content.0).or_default() += 1;
                contents.push((*id, (content, prepared.size())));
            }
            Ok(contents)
        });
        for (id, (content, size)) in order.await? {
            self.held.push(content);
            self.contents.insert(id, (content, size));
        }
        Ok(())
    }
}

impl Drop for TakingIn {
    fn drop(&mut self) {
        let mut held = lock(&self.account.state.contents_in_flight);
        for content in &self.held {
            if let Some(count) = held.get_mut(&content.0) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&content.0);
                }
            }
        }
    }
}

type Import = (Vec<(i64, MailboxName)>, Arc<Vec<Coming>>, Vec<i64>);

/// The folders of an import file, their messages, and the numbers of its contents.
fn read(file: &Path) -> Result<Import> {
    let conn = connection::open_resting(file)?;
    let mut folders = Vec::new();
    let mut query = conn.prepare("SELECT id, path FROM folder ORDER BY path")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let path: String = row.get(1)?;
        let name = MailboxName::new(&path).map_err(|bad| Error::Fault(format!("{path:?} in the backup: {bad}")))?;
        folders.push((row.get(0)?, name));
    }
    let mut messages = Vec::new();
    let mut query =
        conn.prepare("SELECT folder, bits, names, idate, idate_zone, cid FROM message ORDER BY folder, uid")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let names: String = row.get(2)?;
        let keywords = names.split_ascii_whitespace().filter_map(Keyword::new).collect();
        messages.push(Coming {
            folder: row.get(0)?,
            flags: FlagSet::from_parts(row.get(1)?, keywords),
            date: DateTime { unix_seconds: row.get(3)?, zone_minutes: row.get(4)? },
            cid: row.get(5)?,
        });
    }
    let mut query = conn.prepare("SELECT id FROM content ORDER BY id")?;
    let ids = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok((folders, Arc::new(messages), ids))
}

impl Turn<'_> {
    fn take_in(
        &mut self,
        target: &Target,
        folders: &[(i64, MailboxName)],
        messages: &[Coming],
        contents: &HashMap<i64, (ContentId, u32)>,
    ) -> Result<TakenIn> {
        let root = self.free_root(target)?;
        let mut taken = TakenIn { folder: root.to_string(), ..TakenIn::default() };
        let mut ids = HashMap::new();
        for (folder, name) in folders {
            let text = format!("{root}{}", &name.as_str()[target.from.as_str().len()..]);
            let name = MailboxName::new(&text).map_err(|_| Error::Limit("the length of a mailbox name"))?;
            let id = match self.selectable(&name) {
                Ok(mailbox) => mailbox.id,
                Err(Error::NoSuchMailbox | Error::NotSelectable) => self.create(&name, "")?.id,
                Err(error) => return Err(error),
            };
            ids.insert(*folder, id);
            taken.folders += 1;
        }
        let modseq = self.next_modseq();
        for message in messages {
            let Some(mailbox) = ids.get(&message.folder) else { continue };
            let Some((content, size)) = contents.get(&message.cid) else {
                taken.damaged += 1;
                continue;
            };
            self.conn.prepare_cached("UPDATE content SET refs = refs + 1 WHERE id = ?")?.execute([content.0])?;
            let (flags, date) = (message.flags.clone(), message.date);
            self.arrive(*mailbox, &Arrival { content: *content, size: *size, flags, date }, modseq)?;
            taken.messages += 1;
        }
        super::crash::point("take_in.before_commit");
        Ok(taken)
    }

    /// The name of the outermost folder: the wanted one, or one like it that is free.
    fn free_root(&self, target: &Target) -> Result<MailboxName> {
        let tree = self.tree();
        if target.may_exist || tree.named(&target.to).is_none() {
            return Ok(target.to.clone());
        }
        let names = (2..MOST_NAMES).map(|n| MailboxName::new(&format!("{} {n}", target.to)));
        let mut free = names.filter_map(std::result::Result::ok).filter(|name| tree.named(name).is_none());
        free.next().ok_or(Error::AlreadyExists)
    }
}

//! Interned sets of flags: a message's row holds the number of a set, and the set's wire text is made once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension, params};

use super::error::Result;
use crate::types::command::FlagChange;
use crate::types::{Flag, FlagSet, Keyword};

/// One set of flags with its text as it stands between the parentheses of `FLAGS (...)`.
#[derive(Debug, PartialEq, Eq)]
pub struct Interned {
    pub set: FlagSet,
    pub wire: Box<str>,
}

/// The sets of one account. Entries are added when a turn commits and never change their meaning.
#[derive(Debug, Default)]
pub struct FlagSets {
    table: RwLock<Arc<Table>>,
}

/// A point in time of the table; cheap to share.
#[derive(Debug, Default, Clone)]
pub struct Table {
    by_id: HashMap<u32, Arc<Interned>>,
    by_set: HashMap<FlagSet, u32>,
    /// Keywords by their folded form, in the letters they were first written in.
    spelling: HashMap<Keyword, Keyword>,
}

impl Table {
    pub fn set(&self, id: u32) -> Option<&Arc<Interned>> {
        self.by_id.get(&id)
    }

    pub fn id(&self, set: &FlagSet) -> Option<u32> {
        self.by_set.get(set).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<Interned>)> {
        self.by_id.iter().map(|(id, set)| (*id, set))
    }

    /// The set with every keyword in the letters it was first written in.
    pub fn spelled(&self, set: &FlagSet) -> FlagSet {
        let keywords = set.keywords().iter().map(|k| self.spelling.get(k).unwrap_or(k).clone()).collect();
        FlagSet::from_parts(set.bits(), keywords)
    }

    fn add(&mut self, id: u32, set: FlagSet) {
        for keyword in set.keywords() {
            self.spelling.entry(keyword.clone()).or_insert_with(|| keyword.clone());
        }
        self.by_set.insert(set.clone(), id);
        let wire = set.wire().into();
        self.by_id.insert(id, Arc::new(Interned { set, wire }));
    }
}

impl FlagSets {
    pub fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads all sets from disk.
    pub fn read(&self, conn: &Connection) -> Result<()> {
        let mut table = Table::default();
        let mut query = conn.prepare_cached("SELECT id, bits, names FROM flagset ORDER BY id")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let names: String = row.get(2)?;
            let keywords = names.split_ascii_whitespace().filter_map(Keyword::new).collect();
            table.add(row.get(0)?, FlagSet::from_parts(row.get(1)?, keywords));
        }
        self.publish(table);
        Ok(())
    }

    fn publish(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

/// The table as one turn sees it: the published one and what the turn has added.
#[derive(Debug)]
pub struct TurnSets {
    base: Arc<Table>,
    added: Vec<(u32, FlagSet)>,
    table: Option<Table>,
}

impl TurnSets {
    pub fn new(sets: &FlagSets) -> Self {
        TurnSets { base: sets.table(), added: Vec::new(), table: None }
    }

    pub fn table(&self) -> &Table {
        self.table.as_ref().unwrap_or(&self.base)
    }

    /// The number of a set, which gets a row when it has none yet.
    pub fn intern(&mut self, conn: &Connection, set: &FlagSet) -> Result<u32> {
        let set = self.table().spelled(set);
        if let Some(id) = self.table().id(&set) {
            return Ok(id);
        }
        let names: Vec<&str> = set.keywords().iter().map(Keyword::as_str).collect();
        let names = names.join(" ");
        let stored: Option<u32> = conn
            .prepare_cached("SELECT id FROM flagset WHERE bits = ? AND names = ?")?
            .query_row(params![set.bits(), names], |row| row.get(0))
            .optional()?;
        let id = match stored {
            Some(id) => id,
            None => {
                conn.prepare_cached("INSERT INTO flagset(bits, names) VALUES (?, ?)")?
                    .execute(params![set.bits(), names])?;
                u32::try_from(conn.last_insert_rowid()).map_err(|_| super::Error::Limit("flag combinations"))?
            }
        };
        self.added.push((id, set.clone()));
        self.table.get_or_insert_with(|| (*self.base).clone()).add(id, set);
        Ok(id)
    }

    /// How many sets the turn has added, for [`TurnSets::undo_to`].
    pub fn mark(&self) -> usize {
        self.added.len()
    }

    /// Forgets what was added after `mark`: its rows were rolled back.
    pub fn undo_to(&mut self, mark: usize) {
        if self.added.len() > mark {
            self.added.truncate(mark);
            let mut table = (*self.base).clone();
            for (id, set) in &self.added {
                table.add(*id, set.clone());
            }
            self.table = Some(table);
        }
    }

    /// Makes the turn's additions known to everyone. Only after the commit.
    pub fn publish(self, sets: &FlagSets) {
        if let Some(table) = self.table {
            sets.publish(table);
        }
    }
}

/// The flags a message has after a STORE that names `named` (RFC 3501 §6.4.6).
pub fn apply(change: FlagChange, old: &FlagSet, named: &FlagSet) -> FlagSet {
    match change {
        FlagChange::Replace => named.clone(),
        FlagChange::Add => exclusive(old.union(named), named),
        FlagChange::Remove => old.difference(named),
    }
}

/// Junk and not-junk shut each other out: mail programs that look at both must not find both (RFC 9979's
/// keywords, and their older spellings). What the client named just now wins.
fn exclusive(set: FlagSet, named: &FlagSet) -> FlagSet {
    const JUNK: [&str; 2] = ["$Junk", "Junk"];
    const NOT_JUNK: [&str; 3] = ["$NotJunk", "NonJunk", "NotJunk"];
    let has = |set: &FlagSet, names: &[&str]| names.iter().filter_map(|n| Keyword::new(n)).any(|k| set.has_keyword(&k));
    let all = |names: &[&str]| names.iter().filter_map(|n| Keyword::new(n)).map(Flag::Keyword).collect::<FlagSet>();
    match (has(named, &JUNK), has(named, &NOT_JUNK)) {
        (true, false) => set.difference(&all(&NOT_JUNK)),
        (false, true) => set.difference(&all(&JUNK)),
        _ => set,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> FlagSet {
        names.iter().filter_map(|n| Keyword::new(n)).map(Flag::Keyword).collect()
    }

    #[test]
    fn junk_and_not_junk_are_exclusive() {
        let junk = apply(FlagChange::Add, &set(&["NonJunk", "x"]), &set(&["Junk"]));
        assert_eq!(junk.wire(), "Junk x");
        let not = apply(FlagChange::Add, &set(&["$Junk", "Junk"]), &set(&["$NotJunk"]));
        assert_eq!(not.wire(), "$NotJunk");
        assert_eq!(apply(FlagChange::Replace, &set(&["a"]), &set(&["Junk", "NonJunk"])).wire(), "Junk NonJunk");
    }

    #[test]
    fn a_keyword_keeps_its_first_spelling() {
        let mut table = Table::default();
        table.add(1, set(&["$Forwarded"]));
        assert_eq!(table.spelled(&set(&["$FORWARDED"])).wire(), "$Forwarded");
    }
}

//! Where mailboxes hang. A parent that is missing, a ring of parents, a name that is none or stands twice: each gets a
//! place of its own, so that the tree is one again and no folder is out of reach.

use std::collections::{BTreeMap, HashSet};

use super::collect::MailboxRow;
use crate::types::MailboxName;

/// The names given so far.
#[derive(Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
}

/// A mailbox's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub parent: i64,
    pub leaf: String,
    pub path: String,
    /// It is not the one that its row says.
    pub is_renamed: bool,
}

impl Names {
    /// Gives all mailboxes their places, parents before children.
    pub fn plant(&mut self, rows: &BTreeMap<i64, MailboxRow>) -> Vec<(i64, Place)> {
        let mut children: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (id, parent) in mended_parents(rows) {
            children.entry(parent).or_default().push(id);
        }
        let mut places: Vec<(i64, Place)> = Vec::new();
        let mut left: Vec<(i64, i64, String)> = Vec::new();
        let below = |children: &BTreeMap<i64, Vec<i64>>, parent: i64, path: &str| {
            let ids = children.get(&parent).cloned().unwrap_or_default();
            ids.into_iter().rev().map(|id| (id, parent, path.to_owned())).collect::<Vec<_>>()
        };
        left.extend(below(&children, 0, ""));
        while let Some((id, parent, above)) = left.pop() {
            let Some(row) = rows.get(&id) else { continue };
            let place = self.place(id, row, parent, &above);
            left.extend(below(&children, id, &place.path));
            places.push((id, place));
        }
        places
    }

    fn place(&mut self, id: i64, row: &MailboxRow, parent: i64, above: &str) -> Place {
        let path = |leaf: &str| if above.is_empty() { leaf.to_owned() } else { format!("{above}/{leaf}") };
        let wanted = path(&row.name);
        let is_fine = !row.name.contains('/')
            && MailboxName::new(&wanted).is_ok_and(|name| name.as_str() == wanted)
            && !self.taken.contains(&wanted);
        if is_fine {
            self.taken.insert(wanted.clone());
            return Place { parent, leaf: row.name.clone(), path: wanted, is_renamed: parent != row.parent };
        }
        // At the root every made-up name is short enough.
        let plain: String = row.name.chars().filter(|c| !c.is_control() && *c != '/').take(60).collect();
        let base = match plain.trim() {
            "" => format!("Recovered folder {id}"),
            plain => plain.to_owned(),
        };
        Place { is_renamed: true, ..self.free(&base) }
    }

    /// A name at the root that is like `base` and free.
    pub fn free(&mut self, base: &str) -> Place {
        let names = std::iter::once(base.to_owned()).chain((2..).map(|n| format!("{base} ({n})")));
        let is_free = |name: &String| {
            !self.taken.contains(name) && MailboxName::new(name).is_ok_and(|canonical| canonical.as_str() == name)
        };
        let name = names.into_iter().find(is_free).unwrap_or_default();
        self.taken.insert(name.clone());
        Place { parent: 0, leaf: name.clone(), path: name, is_renamed: false }
    }

    pub fn has_inbox(&self) -> bool {
        self.taken.contains("INBOX")
    }
}

/// Each mailbox's parent, such that all lead to the root: who has none that exists hangs at the root, and a ring is cut
/// at its lowest number.
fn mended_parents(rows: &BTreeMap<i64, MailboxRow>) -> BTreeMap<i64, i64> {
    let is_there = |parent: i64| if rows.contains_key(&parent) { parent } else { 0 };
    let mut parents: BTreeMap<i64, i64> = rows.iter().map(|(id, row)| (*id, is_there(row.parent))).collect();
    let mut settled: HashSet<i64> = HashSet::from([0]);
    for id in rows.keys() {
        let mut way = Vec::new();
        let mut at = *id;
        while !settled.contains(&at) {
            if let Some(from) = way.iter().position(|passed| *passed == at) {
                let lowest = way[from..].iter().copied().min().unwrap_or(at);
                parents.insert(lowest, 0);
                break;
            }
            way.push(at);
            at = parents.get(&at).copied().unwrap_or(0);
        }
        settled.extend(way);
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(parent: i64, name: &str) -> MailboxRow {
        MailboxRow { uid_validity: 1, ..MailboxRow::bare(parent, name.into()) }
    }

    #[test]
    fn every_folder_gets_a_place_and_no_name_twice() {
        let rows = BTreeMap::from([
            (1, row(0, "INBOX")),
            (2, row(1, "sub")),
            (3, row(99, "orphan")),
            (4, row(5, "ring")),
            (5, row(4, "of two")),
            (6, row(0, "")),
            (7, row(0, "a/b\u{7}")),
            (8, row(0, "orphan")),
            (9, row(0, "inbox")),
            (10, row(3, "child")),
        ]);
        let mut names = Names::default();
        let places: BTreeMap<i64, Place> = names.plant(&rows).into_iter().collect();
        let path = |id: i64| places[&id].path.as_str();
        assert_eq!(places.len(), rows.len());
        assert_eq!([path(1), path(2), path(3), path(10)], ["INBOX", "INBOX/sub", "orphan", "orphan/child"]);
        assert_eq!([path(4), path(5), path(6)], ["ring", "ring/of two", "Recovered folder 6"]);
        assert_eq!([path(7), path(8), path(9)], ["ab", "orphan (2)", "inbox (2)"]);
        assert!(names.has_inbox() && !places[&1].is_renamed && places[&4].is_renamed);
        let all: HashSet<&str> = places.values().map(|place| place.path.as_str()).collect();
        assert_eq!(all.len(), rows.len());
    }
}

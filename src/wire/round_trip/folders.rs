//! SELECT and LIST as a client writes them, and of every kind.

use proptest::option;
use proptest::prelude::*;

use super::common::{mailboxes, mod_seqs, name, runs, text};
use crate::types::command::{QResync, Select};
use crate::types::{Pattern, UidValidity};
use crate::wire::Dialect;

/// Patterns cannot be written back, they are only matched. So a command is made together with its text for them.
pub(super) const PATTERNS: [(&str, &str); 4] = [("", "*"), ("a/", "%"), ("", ""), ("x y", "b*%c")];

pub(super) fn select(out: &mut Vec<u8>, word: &str, select: &Select, dialect: Dialect) {
    text(out, word);
    name(out, &select.mailbox, dialect);
    let mut parameters = Vec::new();
    if select.condstore {
        parameters.push("CONDSTORE".to_owned());
    }
    if let Some(known) = &select.qresync {
        let uids = known.known_uids.as_ref().map_or(String::new(), |uids| format!(" {}", uids.wire()));
        let pairs = known.known_pairs.as_ref();
        let pairs = pairs.map_or(String::new(), |(seqs, uids)| format!(" ({} {})", seqs.wire(), uids.wire()));
        parameters.push(format!("QRESYNC ({} {}{uids}{pairs})", known.uid_validity, known.mod_seq));
    }
    if !parameters.is_empty() {
        text(out, &format!(" ({})", parameters.join(" ")));
    }
}

pub(super) fn pattern(out: &mut Vec<u8>, word: &str, pattern: &Pattern) {
    let known = PATTERNS.iter().find(|(reference, mailbox)| *pattern == Pattern::new(reference, mailbox));
    let (reference, mailbox) = known.expect("only these are made");
    text(out, &format!("{word} \"{reference}\" \"{mailbox}\""));
}

pub(super) fn selects() -> impl Strategy<Value = Select> {
    let qresync =
        (1u32.., mod_seqs(), option::of(runs()), option::of(runs())).prop_map(|(validity, mod_seq, uids, pairs)| {
            let known_pairs = pairs.map(|runs| (runs.clone(), runs));
            QResync { uid_validity: UidValidity(validity), mod_seq, known_uids: uids, known_pairs }
        });
    (mailboxes(), any::<bool>(), option::of(qresync)).prop_map(|(mailbox, condstore, qresync)| Select {
        mailbox,
        condstore,
        qresync,
    })
}

//! `docs/capabilities.md` is made from the table in `src/imap/capability.rs`, and agrees with `docs/rfc.md`.
//! PILLARBOX_WRITE_DOCS=1 writes the page anew.

use pillarbox::imap::capability::CAPABILITIES;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

const OPENING: &str = "\
# Capabilities

Every capability of the registry, in the order they are named: *offered*, *planned*, or *declined* with the reason. This page is
made from `src/imap/capability.rs`; `PILLARBOX_WRITE_DOCS=1 cargo test --test it capabilities` writes it anew. What an
RFC's state is as a whole stands in [rfc.md](rfc.md).

| capability | RFC | state | note |
|---|---|---|---|
";

fn page() -> String {
    let mut page = OPENING.to_string();
    for row in CAPABILITIES {
        let (state, note) = row.offered.told();
        let rfc = if row.rfc.is_empty() { "-" } else { row.rfc };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {} | {rfc} | {state} | {note} |", row.name);
    }
    page
}

#[test]
fn the_page_of_capabilities_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/capabilities.md");
    if std::env::var_os("PILLARBOX_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let page = page();
    let differing = page.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(made, there)| made != there);
    assert!(
        page == written,
        "docs/capabilities.md is not the table in src/imap/capability.rs: {differing:?}; PILLARBOX_WRITE_DOCS=1 writes it"
    );
}

#[test]
fn a_capability_has_one_row_with_a_reason() {
    assert_eq!(CAPABILITIES[0].name, "IMAP4rev1", "there are clients that look no further");
    let mut names = BTreeSet::new();
    for row in CAPABILITIES {
        assert!(names.insert(row.name.to_uppercase()), "{} stands twice in the table", row.name);
        let (state, note) = row.offered.told();
        assert!(state == "offered" || !note.is_empty(), "{} is {state} without a word why", row.name);
    }
}

#[test]
fn what_is_offered_is_not_planned_or_declined_among_the_rfcs() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rfc.md")).expect("docs/rfc.md");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let rows = page.lines().map(cells).filter(|cells| cells.len() == 4);
    let rows: BTreeMap<String, Vec<String>> = rows.map(|cells| (cells[0].clone(), cells)).collect();
    let mut complaints = Vec::new();
    for row in CAPABILITIES.iter().filter(|row| !row.rfc.is_empty()) {
        let (state, _) = row.offered.told();
        let Some([_, _, rfc_state, note]) = rows.get(row.rfc).map(Vec::as_slice) else {
            complaints.push(format!("{}: RFC {} has no row", row.name, row.rfc));
            continue;
        };
        let is_behind = match state {
            "offered" => matches!(rfc_state.as_str(), "planned" | "declined") || note.contains("comes next"),
            "declined" => rfc_state == "done",
            _ => false,
        };
        if is_behind {
            complaints.push(format!("{} is {state}, and RFC {} is {rfc_state}: {note}", row.name, row.rfc));
        }
    }
    assert!(complaints.is_empty(), "docs/rfc.md:\n{}", complaints.join("\n"));
}

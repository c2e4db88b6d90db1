//! The house checks itself: floors and doors, file sizes, opening comments, citations. It only reads files.
//! The rules are tables; a change of a rule is a change of a row here, with its reason in the commit.

use crate::source::{self, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a room may name besides itself.
enum Uses {
    /// Every room of a lower floor, none of its own.
    Below,
    /// Only these.
    Only(&'static [&'static str]),
}

/// Imports go down, never up and never sideways.
const ROOMS: &[(u8, &str, Uses)] = &[
    (1, "types", Uses::Only(&[])),
    (1, "clock", Uses::Only(&[])),
    (1, "metrics", Uses::Only(&[])),
    (2, "wire", Uses::Below),
    (2, "message", Uses::Below),
    (2, "auth", Uses::Below),
    (2, "access", Uses::Below),
    (2, "config", Uses::Below),
    (2, "hub", Uses::Below),
    (3, "query", Uses::Only(&["types", "message"])),
    (4, "mailstore", Uses::Only(&["types", "message", "query", "access", "hub", "clock", "metrics"])),
    (5, "login", Uses::Below),
    (5, "transfer", Uses::Below),
    (5, "care", Uses::Below),
    (6, "imap", Uses::Below),
    (6, "lmtp", Uses::Below),
    (6, "submission", Uses::Below),
    (6, "control", Uses::Below),
    (7, "server", Uses::Below),
    (8, "cli", Uses::Below),
    (9, "main", Uses::Below),
    (9, "lib", Uses::Below),
];

/// The folder of TLS, and the doctor, who shakes hands as a mail program would.
const TLS: &[&str] = &[
    "server/tls/mod.rs",
    "server/tls/certificates.rs",
    "server/tls/dial.rs",
    "server/tls/tests.rs",
    "server/doctor.rs",
];

/// Who reads certificates out of files: TLS, and the doctor who looks at them.
const PEM: &[&str] = &["server/tls/mod.rs", "server/tls/certificates.rs", "care/doctor/certificate.rs"];

/// Every outside package has one door: the rooms or files that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("nom", &["wire"]),
    ("rusqlite", &["mailstore"]),
    ("mail_parser", &["message"]),
    ("toml", &["config"]),
    ("serde", &["config", "login", "control"]),
    ("serde_json", &["config", "login", "control"]),
    ("rustls", TLS),
    ("tokio_rustls", TLS),
    ("rustls_pemfile", PEM),
    ("ring", &["login"]),
    ("tikv_jemallocator", &["main.rs"]),
    // For a first start; elsewhere tests make certificates to read.
    ("rcgen", &["server", "auth/certificate.rs", "care/doctor/certificate.rs", "cli/introduction.rs"]),
    // The doctor's questions to name servers.
    ("simple_dns", &["care/doctor/dns.rs"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli/paper.rs"]),
    ("clap_mangen", &["cli/paper.rs"]),
    ("listenfd", &["server/passed.rs"]),
    ("sd_notify", &["server/supervisor.rs"]),
    ("indicatif", &["cli"]),
    // Where names and letters are compared: one form for what looks the same.
    ("icu_normalizer", &["types", "query", "login"]),
];

/// Rooms that are read, tested and fuzzed as plain functions.
const WITHOUT_TOKIO: &[&str] = &["types", "wire", "message", "query", "auth", "access"];

/// A file tells one story; past this many lines it has often begun a second one.
const LONGEST_FILE: usize = 600;

/// Files that are longer, each with its reason.
const LONGER_FILES: &[(&str, &str)] = &[];

/// The whole house at once: what may lie at the top level besides dot-files.
const TOP_LEVEL: &[&str] = &["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "config", "docs", "src", "tests"];

/// The tree to read: this one, or the one PILLARBOX_HOUSE names.
fn root() -> PathBuf {
    std::env::var_os("PILLARBOX_HOUSE").map_or(PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

fn house() -> Vec<Source> {
    let sources = source::sources(&root().join("src"));
    assert!(!sources.is_empty(), "there is no source below {}", root().display());
    sources
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn imports_go_down() {
    none(house().iter().flat_map(|source| up_or_sideways(source, ROOMS)).collect());
}

fn up_or_sideways(source: &Source, rooms: &[(u8, &str, Uses)]) -> Vec<String> {
    let row = |room: &str| rooms.iter().find(|(_, name, _)| *name == room);
    let Some((floor, own, uses)) = row(source.room()) else {
        return vec![format!("src/{}: the room {:?} has no floor in tests/it/house.rs", source.path, source.room())];
    };
    let complaint = |(line, room): (usize, String)| {
        let is_allowed = match (row(&room), uses) {
            // A name that is no room is an item of the crate's root, or a macro's `$crate`.
            (None, _) => return Some(format!("src/{}:{line}: crate::{room} is no room", source.path)),
            (Some(_), _) if room == *own => true,
            (Some((other, _, _)), Uses::Below) => other < floor,
            (Some(_), Uses::Only(names)) => names.contains(&room.as_str()),
        };
        (!is_allowed).then(|| format!("src/{}:{line}: {own} (floor {floor}) may not use {room}", source.path))
    };
    source.rooms_named().into_iter().filter_map(complaint).collect()
}

#[test]
fn outside_packages_come_in_by_their_doors() {
    none(house().iter().flat_map(by_the_window).collect());
}

fn by_the_window(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (package, doors) in DOORS {
        if !doors.iter().any(|door| *door == source.room() || *door == source.path) {
            let lines = source.lines_naming(package);
            complaints.extend(
                lines
                    .iter()
                    .map(|line| format!("src/{}:{line}: {package} is only for {}", source.path, doors.join(", "))),
            );
        }
    }
    if WITHOUT_TOKIO.contains(&source.room()) {
        let lines = source.lines_naming("tokio");
        complaints.extend(
            lines.iter().map(|line| {
                format!("src/{}:{line}: {} is plain functions: tokio stays out", source.path, source.room())
            }),
        );
    }
    complaints
}

#[test]
fn a_file_tells_one_story() {
    let mut complaints = Vec::new();
    let sources = house();
    for source in &sources {
        let lines = source.text.lines().count();
        let reason = LONGER_FILES.iter().find(|(path, _)| *path == source.path);
        if lines > LONGEST_FILE && reason.is_none() {
            complaints.push(format!("src/{}: {lines} lines; split it, or say why not in LONGER_FILES", source.path));
        }
        if lines <= LONGEST_FILE && reason.is_some() {
            complaints.push(format!("src/{}: {lines} lines need no row in LONGER_FILES", source.path));
        }
    }
    for (path, _) in LONGER_FILES {
        if !sources.iter().any(|source| source.path == *path) {
            complaints.push(format!("src/{path} is in LONGER_FILES and is not there"));
        }
    }
    none(complaints);
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = root();
    let mut paths = Vec::new();
    source::files(&root.join("src"), "rs", &mut paths);
    source::files(&root.join("tests"), "rs", &mut paths);
    let silent = paths.iter().filter_map(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let is_silent = !text.starts_with("//! ");
        is_silent.then(|| format!("{}: opens without //! lines", shown(path, &root)))
    });
    none(silent.collect());
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let sources = house();
    let unwraps = sources.iter().flat_map(|source| {
        let lines = source.lines_with(&[".", "unwrap", "(", ")"]);
        lines.into_iter().map(|line| {
            format!("src/{}:{line}: unwrap(): handle it, or expect(\"why this cannot happen\")", source.path)
        })
    });
    none(unwraps.collect());
}

#[test]
fn unsafe_code_is_forbidden() {
    let sources = house();
    for root in ["lib.rs", "main.rs"] {
        let text = sources.iter().find(|source| source.path == root).map_or("", |source| source.text.as_str());
        assert!(
            root == "main.rs" && !text.contains("mod ") || text.contains("#![forbid(unsafe_code)]"),
            "src/{root} lacks #![forbid(unsafe_code)]"
        );
    }
}

#[test]
fn every_rfc_cited_has_its_row() {
    let root = root();
    let table = std::fs::read_to_string(root.join("docs/rfc.md")).unwrap_or_default();
    let rows = rows(&table);
    let mut paths = Vec::new();
    source::files(&root.join("src"), "rs", &mut paths);
    source::files(&root.join("src"), "sql", &mut paths);
    source::files(&root.join("tests/transcripts"), "imap", &mut paths);
    let mut complaints = Vec::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for (line, number) in citations(&text) {
            if !rows.contains(&number) {
                complaints.push(format!("{}:{line}: RFC {number} has no row in docs/rfc.md", shown(path, &root)));
            }
        }
    }
    none(complaints);
}

/// The RFC numbers that begin a row of the table.
fn rows(table: &str) -> BTreeSet<u32> {
    let first_cell =
        |line: &str| line.strip_prefix('|')?.split('|').next()?.trim().trim_start_matches("RFC ").parse().ok();
    table.lines().filter_map(first_cell).collect()
}

/// Where a text says `RFC 3501`, by line.
fn citations(text: &str) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("RFC ") {
            let digits: String = line[at + 4..].chars().take_while(char::is_ascii_digit).collect();
            found.extend(digits.parse().ok().map(|number| (index + 1, number)));
        }
    }
    found
}

#[test]
fn the_top_level_holds_only_the_agreed_entries() {
    let root = root();
    let entries = std::fs::read_dir(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let names = entries.filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_string_lossy().into_owned()));
    // `target` is where cargo builds; it is never committed.
    let is_extra = |name: &String| !name.starts_with('.') && name != "target" && !TOP_LEVEL.contains(&name.as_str());
    none(names.filter(is_extra).map(|name| format!("{name} at the top level")).collect());
}

fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaints about a file of this content.
    fn complaints(path: &str, text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("created");
        std::fs::write(file, text).expect("written");
        let sources = source::sources(folder.path());
        sources.iter().flat_map(|s| [up_or_sideways(s, ROOMS), by_the_window(s)].concat()).collect()
    }

    #[test]
    fn what_goes_up_or_sideways_is_found() {
        for (path, text) in [
            ("types/a.rs", "use crate::clock::Now;"),
            ("wire/a.rs", "use crate::message::Description;"),
            ("query/a.rs", "use crate::{types::Uid, wire};"),
            ("mailstore/a.rs", "fn f() { crate::login::check() }"),
            ("login/mod.rs", "use super::imap::Host;"),
            ("cellar/a.rs", ""),
            ("wire/a.rs", "use crate::attic;"),
            ("imap/a.rs", "use rusqlite::Connection;"),
            ("server/listen.rs", "use tokio_rustls::rustls;"),
            ("auth/plain.rs", "#[tokio::test]\nasync fn f() {}"),
        ] {
            assert_eq!(complaints(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn what_goes_down_is_fine() {
        for (path, text) in [
            ("types/a.rs", "use crate::types::ids::Uid;"),
            (
                "imap/cmd/fetch.rs",
                "use crate::{imap::output, mailstore::{Account, View}, wire};\nuse super::super::session;",
            ),
            ("server/tls/mod.rs", "use tokio_rustls::rustls; use tokio::net;"),
            ("main.rs", "fn main() { pillarbox::cli::run() }"),
        ] {
            assert_eq!(complaints(path, text), Vec::<String>::new(), "{path}: {text}");
        }
    }

    #[test]
    fn citations_and_rows() {
        assert_eq!(citations("x\n// RFC 3501 §6, RFC 2177; RFCs"), [(2, 3501), (2, 2177)]);
        assert_eq!(
            rows("| RFC | title |\n|---|---|\n| 3501 | IMAP |\n| RFC 2177 | IDLE |"),
            BTreeSet::from([2177, 3501])
        );
    }
}

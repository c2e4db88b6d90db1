//! The documents that name tests: what `docs/rfc3501.md` and `docs/clients.md` name exists, and no client's transcript is
//! forgotten. They only read files.

use crate::source;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    let path = root().join("docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of all tables, as cells; heads and rules apart.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let tables = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    tables.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every transcript, `folder/name`.
fn transcripts() -> BTreeSet<String> {
    let folder = root().join("tests/transcripts");
    let mut paths = Vec::new();
    source::files(&folder, "imap", &mut paths);
    let name =
        |path: &PathBuf| path.strip_prefix(&folder).ok().map(|path| path.with_extension("").display().to_string());
    paths.iter().filter_map(name).collect()
}

/// What a cell names that is not there; a name without a folder lies in `home`. Also how many it names.
fn missing(cell: &str, home: &str, transcripts: &BTreeSet<String>) -> (usize, Vec<String>) {
    let mut named = 0;
    let mut missing = Vec::new();
    for name in quoted(cell) {
        let is_file = name.starts_with("src/") || name.starts_with("tests/");
        let is_transcript = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/".contains(c));
        let is_there = match (is_file, is_transcript) {
            (true, _) => root().join(name).exists(),
            (false, true) if name.contains('/') => transcripts.contains(name),
            (false, true) if !home.is_empty() => transcripts.contains(&format!("{home}/{name}")),
            // A word of the protocol, a setting, a folder.
            (false, _) => continue,
        };
        named += 1;
        if !is_there {
            missing.push(name.to_string());
        }
    }
    (named, missing)
}

#[test]
fn every_demand_of_rfc_3501_names_tests_that_exist() {
    let transcripts = transcripts();
    let page = page("rfc3501.md");
    let (demands, rest) = page.split_once("## Without a MUST").expect("the second table");
    for (title, part) in [("demands", demands), ("others", rest)] {
        let (mut shown, mut reasoned, mut complaints) = (0, 0, Vec::new());
        for row in rows(part).into_iter().filter(|row| row[0] != "§") {
            let [section, demand, by] = row[..] else { panic!("three cells: {row:?}") };
            let (named, missing) = missing(by, "", &transcripts);
            if named > 0 {
                shown += 1;
            } else {
                reasoned += 1;
            }
            if by.is_empty() || demand.is_empty() {
                complaints.push(format!("§{section} {demand}: nothing shows it, and nothing says why"));
            }
            complaints.extend(missing.iter().map(|name| format!("§{section}: {name} is not there")));
        }
        println!("{title}: {shown} shown by tests, {reasoned} with a reason");
        assert!(shown > 0 && complaints.is_empty(), "docs/rfc3501.md:\n{}", complaints.join("\n"));
    }
}

#[test]
fn every_rule_of_clients_names_transcripts_that_exist() {
    let transcripts = transcripts();
    let page = page("clients.md");
    let mut complaints = Vec::new();
    let mut named = BTreeSet::new();
    for row in rows(&page) {
        let last = row.last().copied().unwrap_or_default();
        if last.is_empty() {
            complaints.push(format!("{}: no transcript and no reason", row[0]));
        }
        let (_, missing) = missing(last, "clients", &transcripts);
        complaints.extend(missing.iter().map(|name| format!("{}: {name} is not there", row[0])));
        named.extend(quoted(last).map(|name| format!("clients/{name}")));
    }
    let forgotten = transcripts.iter().filter(|name| name.starts_with("clients/") && !named.contains(*name));
    complaints.extend(forgotten.map(|name| format!("{name} is in no row")));
    assert!(complaints.is_empty(), "docs/clients.md:\n{}", complaints.join("\n"));
}

#[test]
fn a_name_that_is_not_there_is_found() {
    let transcripts = BTreeSet::from(["a/b".to_string(), "clients/c".to_string()]);
    assert_eq!(missing("`a/b`, `OK [X]`", "", &transcripts), (1, vec![]));
    assert_eq!(missing("`a/c` and `src/nowhere.rs`", "", &transcripts).1, ["a/c", "src/nowhere.rs"]);
    assert_eq!(missing("`c`, `d`", "clients", &transcripts).1, ["d"]);
}

/// A test is named by its path: `attacks::parentheses_without_end`; that there is a function of this name is enough.
#[test]
fn every_attack_names_tests_that_exist() {
    let transcripts = transcripts();
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        source::files(&root().join(folder), "rs", &mut sources);
    }
    let code: String = sources.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let page = page("security.md");
    let (mut complaints, mut shown) = (Vec::new(), 0);
    for row in rows(&page).into_iter().filter(|row| row[0] != "what happens elsewhere") {
        let [what, here, by] = row[..] else { panic!("three cells: {row:?}") };
        let (mut named, mut absent) = missing(by, "", &transcripts);
        for test in quoted(by).filter_map(|name| name.rsplit_once("::")) {
            named += 1;
            if !code.contains(&format!("fn {}(", test.1)) {
                absent.push(test.1.to_string());
            }
        }
        shown += usize::from(named > 0);
        if here.is_empty() || (named == 0 && !by.starts_with("the code: ")) {
            complaints.push(format!("{what}: nothing shows it, and nothing says why"));
        }
        complaints.extend(absent.iter().map(|name| format!("{what}: {name} is not there")));
    }
    assert!(shown > 20 && complaints.is_empty(), "docs/security.md:\n{}", complaints.join("\n"));
}

//! What each target begins with: the lines of `seeds/` and `finds/`, and what the transcripts and messages beside them
//! hold. Nothing is stored twice.

use pillarbox::message::{describe, fields};
use std::path::{Path, PathBuf};

/// The inputs of one target, in a fixed order. `tests` is the folder `tests` of the tree.
///
/// # Panics
/// When a file cannot be read or a line is not in the form of `seeds/`: both are mistakes in the tree.
pub fn of(target: &str, tests: &Path) -> Vec<Vec<u8>> {
    let mut found = stored(&tests.join(format!("fuzz/seeds/{target}.txt")));
    found.extend(finds(target, tests));
    match target {
        "commands" => found.extend(sent(tests).into_iter().map(|line| with_literals(&line))),
        "append" => {
            found.extend(sent(tests).into_iter().filter(|line| is_append(line)).map(|line| with_literals(&line)))
        }
        "framer" => {
            let session: Vec<Vec<u8>> = sent(tests).into_iter().map(|line| with_literals(&line)).collect();
            found.extend(session.chunks(40).map(|lines| [lines.join(&b"\r\n"[..]), b"\r\n".to_vec()].concat()));
        }
        "message" => found.extend(messages(tests)),
        "parts" => found.extend(messages(tests).iter().map(|message| describe(message).parts)),
        "addresses" | "words" => found.extend(messages(tests).iter().flat_map(|message| values(message))),
        "html" => found.push(read(&tests.join("messages/html.eml"))),
        "config" => found.push(read(&tests.join("../config/pillarbox.toml"))),
        _ => {}
    }
    assert!(!found.is_empty(), "{target} has no seed");
    found
}

/// What was found once and must never come back.
pub fn finds(target: &str, tests: &Path) -> Vec<Vec<u8>> {
    let path = tests.join(format!("fuzz/finds/{target}.txt"));
    if path.exists() { stored(&path) } else { Vec::new() }
}

/// One input a line; `\r \n \t \0 \\ \" \xHH` as in the transcripts, and `\{1000|NOT }` for a thousand times `NOT `.
/// A line that begins with `#` is a comment.
fn stored(path: &Path) -> Vec<Vec<u8>> {
    let text = String::from_utf8(read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(at, line)| unescape(line).unwrap_or_else(|| panic!("{}:{}: not in its form", path.display(), at + 1)))
        .collect()
}

fn unescape(line: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (escape, after) = rest[at + 1..].split_at_checked(1)?;
        rest = after;
        match escape {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "0" => out.push(0),
            "\\" | "\"" | "'" => out.extend_from_slice(escape.as_bytes()),
            "x" => {
                let (digits, after) = rest.split_at_checked(2)?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = after;
            }
            "{" => {
                let (times, behind) = rest.split_once('|')?;
                let (word, after) = behind.split_once('}')?;
                out.extend_from_slice(&unescape(word)?.repeat(times.parse().ok()?));
                rest = after;
            }
            _ => return None,
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// Every command that a client sends in a transcript, with its tag, once.
fn sent(tests: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for path in files(&tests.join("transcripts"), "imap") {
        let text = String::from_utf8_lossy(&read(&path)).into_owned();
        let commands = text.lines().filter_map(|line| line.split_once("> "));
        let of_a_client = commands.filter(|(name, _)| name.len() == 1);
        lines.extend(of_a_client.map(|(name, command)| format!("{} {command}", name.to_lowercase())));
    }
    lines.sort();
    lines.dedup();
    lines
}

/// `{"text"}` as a literal, and a short message in place of each file.
fn with_literals(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("{\"").into_iter().chain(rest.find("{@")).min() {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (name, after) = rest[at + 1..].split_once('}').unwrap_or((&rest[at + 1..], ""));
        let (name, plus) = name.strip_suffix('+').map_or((name, ""), |name| (name, "+"));
        let text = if name.starts_with('@') { "A: b\r\n\r\nc" } else { name.trim_matches('"') };
        out.extend_from_slice(format!("{{{}{plus}}}\r\n{text}", text.len()).as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn is_append(line: &str) -> bool {
    line.split(' ').any(|word| word.eq_ignore_ascii_case("APPEND") || word.eq_ignore_ascii_case("REPLACE"))
}

fn messages(tests: &Path) -> Vec<Vec<u8>> {
    files(&tests.join("messages"), "eml").iter().map(|path| read(path)).collect()
}

/// The header fields' values of a message.
fn values(message: &[u8]) -> Vec<Vec<u8>> {
    fields(message).map(|field| field.value.to_vec()).filter(|value| value.len() < 1000).collect()
}

/// All files below a folder, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|other| other == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

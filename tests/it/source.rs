//! Reads Rust source just well enough to ask what it names: words and marks with their line numbers, without
//! comments and without what stands in strings. No parser, and none is needed.

use std::path::{Path, PathBuf};

/// One `.rs` file of the tree.
pub struct Source {
    /// Below `src/`, with `/`.
    pub path: String,
    pub text: String,
    pub words: Vec<Word>,
}

/// An identifier or a single mark (`::` is one).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub line: usize,
    pub text: String,
    /// Within a `#[cfg(test)]` module or a file of tests.
    pub is_test: bool,
    /// How many inline modules it stands in.
    pub nesting: usize,
}

/// Every `.rs` file below `folder`, sorted.
pub fn sources(folder: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    files(folder, "rs", &mut paths);
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        let words = words(&text, is_test);
        Source { path, text, words }
    };
    paths.into_iter().map(read).collect()
}

/// Every file below `folder` with this extension, sorted.
pub fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            // Where cargo builds.
            true if path.file_name().is_some_and(|name| name == "target") => {}
            true => files(&path, extension, found),
            false if path.extension().is_some_and(|e| e == extension) => found.push(path),
            false => {}
        }
    }
}

impl Source {
    /// The room a file belongs to: the first folder, or the file itself.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many modules lie between the root of the crate and this file's own level, itself included.
    fn depth(&self) -> usize {
        let levels = self.path.split('/').count();
        match self.path.as_str() {
            "lib.rs" | "main.rs" => 0,
            path if path.ends_with("/mod.rs") => levels - 1,
            _ => levels,
        }
    }

    /// The rooms this file names, with their lines: `crate::room`, `crate::{room, ...}`, `pillarbox::room`, and
    /// `super::super::room` where that reaches the root.
    pub fn rooms_named(&self) -> Vec<(usize, String)> {
        let mut named = Vec::new();
        let text = |at: usize| self.words.get(at).map_or("", |word| word.text.as_str());
        for (at, word) in self.words.iter().enumerate() {
            let is_first = at == 0 || text(at - 1) != "::";
            let root = match word.text.as_str() {
                "crate" | "pillarbox" if is_first && text(at + 1) == "::" => Some(at + 2),
                "super" if is_first => {
                    let chain =
                        (0..).take_while(|n| text(at + 2 * n) == "super" && text(at + 2 * n + 1) == "::").count();
                    (chain > 0 && chain >= self.depth() + word.nesting).then_some(at + 2 * chain)
                }
                _ => None,
            };
            let Some(first) = root else { continue };
            if text(first) != "{" {
                named.extend(self.words.get(first).map(|word| (word.line, word.text.clone())));
                continue;
            }
            let mut depth = 0;
            for index in first.. {
                match text(index) {
                    "" => break,
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    name if depth == 1 && matches!(text(index - 1), "{" | ",") => {
                        named.push((self.words[index].line, name.to_string()));
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        named
    }

    /// The lines that name this outside package.
    pub fn lines_naming(&self, package: &str) -> Vec<usize> {
        let text = |at: usize| self.words.get(at).map_or("", |word| word.text.as_str());
        let names = |at: &usize| {
            let is_first = *at == 0 || !matches!(text(at - 1), "::" | "." | "mod" | "fn" | "let");
            let is_path = text(at + 1) == "::" || *at > 0 && text(at - 1) == "use";
            text(*at) == package && is_first && is_path
        };
        (0..self.words.len()).filter(names).map(|at| self.words[at].line).collect()
    }

    /// Lines outside tests on which these words follow each other.
    pub fn lines_with(&self, wanted: &[&str]) -> Vec<usize> {
        let windows = self.words.windows(wanted.len());
        let is_there = |window: &&[Word]| {
            !window[0].is_test && window.iter().map(|word| word.text.as_str()).eq(wanted.iter().copied())
        };
        windows.filter(is_there).map(|window| window[0].line).collect()
    }
}

/// The words and marks of `text`.
fn words(text: &str, is_test_file: bool) -> Vec<Word> {
    let plain = without_comments_and_strings(text);
    let mut words: Vec<Word> = Vec::new();
    let mut line = 1;
    let mut rest = plain.as_str();
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\n' => {
                line += 1;
                rest = &rest[1..];
                continue;
            }
            c if c.is_whitespace() => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
            ':' if rest.starts_with("::") => 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        words.push(Word { line, text: rest[..length].to_string(), is_test: is_test_file, nesting: 0 });
        rest = &rest[length..];
    }
    mark_modules(&mut words);
    words
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Says of each word which inline modules it stands in, and whether one of them is only for tests.
fn mark_modules(words: &mut [Word]) {
    let mut braces = 0_usize;
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut is_test_next = false;
    for at in 0..words.len() {
        let text = |n: usize| words.get(n).map_or("", |word| word.text.as_str());
        match text(at) {
            "{" => {
                if at >= 2 && text(at - 2) == "mod" {
                    open.push((braces, is_test_next));
                }
                is_test_next = false;
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                if open.last().is_some_and(|(outer, _)| *outer == braces) {
                    open.pop();
                }
            }
            "cfg" if text(at + 1) == "(" && text(at + 2) == "test" => is_test_next = true,
            ";" => is_test_next = false,
            _ => {}
        }
        words[at].nesting = open.len();
        words[at].is_test |= open.iter().any(|(_, is_test)| *is_test);
    }
}

/// The same lines with comments and the inside of strings and characters blanked out.
fn without_comments_and_strings(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let at_is = |at: usize, wanted: &str| wanted.chars().enumerate().all(|(n, c)| bytes.get(at + n) == Some(&c));
    let mut at = 0;
    while at < bytes.len() {
        let end = if at_is(at, "//") {
            (at..bytes.len()).find(|n| bytes[*n] == '\n').unwrap_or(bytes.len())
        } else if at_is(at, "/*") {
            comment_end(&bytes, at)
        } else if bytes[at] == '"' {
            string_end(&bytes, at)
        } else if bytes[at] == 'r' && (at == 0 || !is_word(bytes[at - 1]) || bytes[at - 1] == 'b') {
            raw_string_end(&bytes, at).unwrap_or(at)
        } else if bytes[at] == '\'' {
            character_end(&bytes, at).unwrap_or(at)
        } else {
            at
        };
        if end == at {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        // A mark in its place, so that what stands before and after does not grow together.
        out.push_str(if bytes[at] == '/' { " " } else { "\"\"" });
        out.extend(bytes[at..end].iter().filter(|c| **c == '\n'));
        at = end;
    }
    out
}

fn comment_end(text: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

fn string_end(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn raw_string_end(text: &[char], start: usize) -> Option<usize> {
    let hashes = text[start + 1..].iter().take_while(|c| **c == '#').count();
    if text.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let body = start + 2 + hashes;
    let is_end = |at: &usize| text[*at] == '"' && text[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some((body..text.len()).find(is_end).map_or(text.len(), |at| at + 1 + hashes))
}

/// A character, not a lifetime: `'a'`, `'\n'`, `'\u{1f600}'`.
fn character_end(text: &[char], start: usize) -> Option<usize> {
    match text.get(start + 1)? {
        '\\' => (start + 3..text.len()).find(|at| text[*at] == '\'').map(|at| at + 1),
        _ => (text.get(start + 2) == Some(&'\'')).then_some(start + 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_string(), text: text.to_string(), words: words(text, false) }
    }

    #[test]
    fn rooms_are_found_in_every_form() {
        let text = "use crate::types::ids::Uid;\nuse crate::{wire::{a, b}, message};\nfn f() { crate::imap::g() }\n\
                    // crate::server\nlet s = \"crate::cli\"; let r = r#\"crate::\"login\"#; let c = '\"'; crate::hub::x;\n";
        let rooms: Vec<String> = source("query/a.rs", text).rooms_named().into_iter().map(|(_, room)| room).collect();
        assert_eq!(rooms, ["types", "wire", "message", "imap", "hub"]);
    }

    #[test]
    fn super_may_reach_the_root() {
        let text = "use super::b;\nuse super::super::wire;\nmod tests {\n use super::super::c;\n use super::super::super::imap;\n}";
        assert_eq!(source("query/a.rs", text).rooms_named(), [(2, "wire".to_string()), (5, "imap".to_string())]);
        assert_eq!(source("query/mod.rs", "use super::types;").rooms_named(), [(1, "types".to_string())]);
    }

    #[test]
    fn packages_are_found_where_they_are_paths() {
        let text =
            "use nom::Parser;\nuse nom;\nfn f(nom: u8) { nom + 1; self.nom; x::nom::y; nom::bytes(); }\n// nom::\n";
        assert_eq!(source("wire/a.rs", text).lines_naming("nom"), [1, 2, 3]);
    }

    #[test]
    fn what_is_only_for_tests_is_known() {
        let text = "fn a() { b.unwrap(); }\n#[cfg(test)]\nmod tests {\n fn c<'a>() { d.unwrap(); }\n}\nfn e() { f.unwrap() }\n";
        assert_eq!(source("a.rs", text).lines_with(&[".", "unwrap", "(", ")"]), [1, 6]);
    }
}

//! What is wrong with a configuration, said with file, line and, for a misspelt key, the nearest valid one.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{CapabilityMask, Config};

/// A configuration that cannot be used. Prints as `FILE:LINE: sentence`, always on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadConfig {
    file: PathBuf,
    /// From 1; `None` when the fault is not at one place.
    line: Option<usize>,
    text: String,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.text)
    }
}

impl std::error::Error for BadConfig {}

impl BadConfig {
    /// A fault with a setting of a file that parsed well, such as `tls.key`; found out after reading it.
    pub fn at(file: &Path, setting: &str, text: String) -> Self {
        let source = std::fs::read_to_string(file).unwrap_or_default();
        let line = spot(&source, setting).map(|span| line_of(&source, span.start));
        BadConfig { file: file.into(), line, text: one_line(&text) }
    }

    /// A fault with the file as a whole.
    pub(super) fn whole_file(file: &Path, text: String) -> Self {
        BadConfig { file: file.into(), line: None, text: one_line(&text) }
    }

    /// A fault with one setting of `source`; the setting is named in the sentence.
    pub(super) fn in_text(file: &Path, source: &str, setting: &str, text: String) -> Self {
        let line = spot(source, setting).map(|span| line_of(source, span.start));
        BadConfig { file: file.into(), line, text: one_line(&format!("{}: {text}", without_numbers(setting))) }
    }

    /// What the TOML reader found wrong, with the setting it was reading.
    pub(super) fn from_toml(file: &Path, source: &str, error: &toml::de::Error) -> Self {
        let span = error.span();
        let line = span.as_ref().map(|span| line_of(source, span.start));
        let setting = span.and_then(|span| setting_at(source, &span));
        let text = match setting {
            Some(setting) => format!("{setting}: {}", error.message()),
            None => error.message().to_owned(),
        };
        BadConfig { file: file.into(), line, text: one_line(&text) }
    }
}

/// Refuses the first key the code does not know, with the nearest one it does.
pub(super) fn refuse_unknown_keys(file: &Path, source: &str) -> Result<(), BadConfig> {
    let document = DeTable::parse(source).map_err(|error| BadConfig::from_toml(file, source, &error))?;
    let known = known_keys();
    let mut first: Option<(usize, String)> = None;
    find_unknown(document.get_ref(), &known, &[], &mut |span, text| {
        if first.as_ref().is_none_or(|(at, _)| span.start < *at) {
            first = Some((span.start, text));
        }
    });
    match first {
        Some((at, text)) => {
            Err(BadConfig { file: file.into(), line: Some(line_of(source, at)), text: one_line(&text) })
        }
        None => Ok(()),
    }
}

/// True when the file has the top-level key or table `name`.
pub(super) fn mentions(source: &str, name: &str) -> bool {
    DeTable::parse(source).is_ok_and(|table| table.get_ref().keys().any(|key| key.get_ref() == name))
}

/// One table of the configuration and the keys it may have.
struct KnownTable {
    /// The keys from the top to here; empty for the top itself.
    path: Vec<String>,
    /// Written `[[name]]`, once for each entry.
    is_list: bool,
    keys: Vec<String>,
}

impl KnownTable {
    fn spoken(&self) -> String {
        let path = self.path.join(".");
        match (path.is_empty(), self.is_list) {
            (true, _) => "the top of the file".to_owned(),
            (false, true) => format!("[[{path}]]"),
            (false, false) => format!("[{path}]"),
        }
    }
}

/// All tables, read off the defaults: so that no list of keys has to be kept beside the code.
fn known_keys() -> Vec<KnownTable> {
    fn walk(path: Vec<String>, is_list: bool, table: &toml::Table, known: &mut Vec<KnownTable>) {
        for (key, value) in table {
            let mut below = path.clone();
            below.push(key.clone());
            match value {
                toml::Value::Table(inner) => walk(below, false, inner, known),
                toml::Value::Array(list) => {
                    if let Some(toml::Value::Table(inner)) = list.first() {
                        walk(below, true, inner, known);
                    }
                }
                _ => {}
            }
        }
        known.push(KnownTable { path, is_list, keys: table.keys().cloned().collect() });
    }
    // Tables that are empty by default show their keys in one entry.
    let mask = CapabilityMask {
        hide: Vec::new(),
        user: "x".into(),
        listener: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 143))),
    };
    let defaults = Config { capability: vec![mask], ..Config::default() };
    let defaults = toml::Table::try_from(defaults).unwrap_or_default();
    let mut known = Vec::new();
    walk(Vec::new(), false, &defaults, &mut known);
    known
}

fn find_unknown(
    table: &DeTable<'_>,
    known: &[KnownTable],
    path: &[String],
    found: &mut impl FnMut(Range<usize>, String),
) {
    let Some(here) = known.iter().find(|table| table.path == path) else { return };
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if !here.keys.iter().any(|known| known == name) {
            let is_table = path.is_empty() && is_tabular(value.get_ref());
            found(key.span(), unknown_key(name, is_table, here, known));
            continue;
        }
        let mut below = path.to_vec();
        below.push(name.to_owned());
        match value.get_ref() {
            DeValue::Table(inner) => find_unknown(inner, known, &below, found),
            DeValue::Array(list) => {
                for inner in list.iter().filter_map(|entry| entry.get_ref().as_table()) {
                    find_unknown(inner, known, &below, found);
                }
            }
            _ => {}
        }
    }
}

fn is_tabular(value: &DeValue<'_>) -> bool {
    let holds_table = |list: &toml::de::DeArray<'_>| list.iter().any(|entry| entry.get_ref().is_table());
    value.is_table() || value.as_array().is_some_and(holds_table)
}

fn unknown_key(name: &str, is_table: bool, here: &KnownTable, known: &[KnownTable]) -> String {
    if is_table {
        let tables: Vec<&KnownTable> = known.iter().filter(|table| table.path.len() == 1).collect();
        let nearest = nearest(name, tables.iter().map(|table| table.path[0].as_str()));
        let meant = nearest.and_then(|meant| tables.iter().find(|table| table.path[0] == meant));
        let hint = meant.map(|table| format!("; did you mean {}?", table.spoken())).unwrap_or_default();
        return format!("unknown table [{name}]{hint}");
    }
    let place = match here.path.is_empty() {
        true => format!("at {}", here.spoken()),
        false => format!("in {}", here.spoken()),
    };
    let home = known.iter().find(|table| table.keys.iter().any(|key| key == name));
    let hint = match (home, nearest(name, here.keys.iter().map(String::as_str))) {
        (Some(home), _) if home.path.is_empty() => {
            "; it belongs at the top of the file, before the first table".to_owned()
        }
        (Some(home), _) => format!("; it belongs in {}", home.spoken()),
        (None, Some(meant)) => format!("; did you mean \"{meant}\"?"),
        (None, None) => format!("; known here: {}", here.keys.join(", ")),
    };
    format!("unknown key \"{name}\" {place}{hint}")
}

/// The known word closest to what was written, if it is close enough to have been meant.
fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = 2.max(written.chars().count() / 3);
    let distance = |word: &str| match written.len() >= 3 && word.starts_with(written) {
        true => 1,
        false => edits(written, word),
    };
    known.map(|word| (distance(word), word)).filter(|(distance, _)| *distance <= far).min().map(|(_, word)| word)
}

/// How many letters must be changed, added, dropped or swapped with their neighbour to make `b` of `a`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Where the value of a setting such as `tls.key` or `listen.1.address` stands, or its nearest table that is there.
fn spot(source: &str, setting: &str) -> Option<Range<usize>> {
    let document = DeTable::parse(source).ok()?;
    let mut found = None;
    let mut table = document.get_ref();
    let mut parts = setting.split('.').peekable();
    while let Some(part) = parts.next() {
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == part)?;
        found = Some(key.span());
        table = match value.get_ref() {
            DeValue::Table(inner) => inner,
            DeValue::Array(list) => {
                let Some(at) = parts.next().and_then(|part| part.parse::<usize>().ok()) else { return found };
                match list.get(at).map(|entry| entry.get_ref()) {
                    Some(DeValue::Table(inner)) => inner,
                    _ => return found,
                }
            }
            _ => return found,
        };
    }
    found
}

/// The innermost setting whose value covers `span`, such as `limits.nesting`.
fn setting_at(source: &str, span: &Range<usize>) -> Option<String> {
    fn inside(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
        let covers = |other: Range<usize>| other.start <= span.start && span.end <= other.end;
        for (key, value) in table {
            let below = match value.get_ref() {
                DeValue::Table(inner) => inside(inner, span),
                DeValue::Array(list) => list.iter().find_map(|entry| inside(entry.get_ref().as_table()?, span)),
                _ => None,
            };
            let is_list_entry =
                value.get_ref().as_array().is_some_and(|list| list.iter().any(|one| covers(one.span())));
            if below.is_some() || is_list_entry || covers(value.span()) || covers(key.span()) {
                let below = below.map(|below| format!(".{below}")).unwrap_or_default();
                return Some(format!("{}{below}", key.get_ref()));
            }
        }
        None
    }
    inside(DeTable::parse(source).ok()?.get_ref(), span)
}

fn without_numbers(setting: &str) -> String {
    let parts: Vec<&str> = setting.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    parts.join(".")
}

fn line_of(source: &str, at: usize) -> usize {
    1 + source.bytes().take(at).filter(|b| *b == b'\n').count()
}

/// Folds a text to one line and makes control characters visible: the message goes to terminals and logs.
fn one_line(text: &str) -> String {
    let folded = text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    folded.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_what_fingers_do() {
        for (a, b, n) in [("adress", "address", 1), ("lsiten", "listen", 1), ("", "abc", 3), ("key", "key", 0)] {
            assert_eq!(edits(a, b), n, "{a} {b}");
        }
    }

    #[test]
    fn only_a_near_word_is_offered() {
        let known = ["certificate", "key"];
        assert_eq!(nearest("cert", known.into_iter()), Some("certificate"));
        assert_eq!(nearest("certifcate", known.into_iter()), Some("certificate"));
        assert_eq!(nearest("password", known.into_iter()), None);
    }

    #[test]
    fn settings_are_found_in_every_way_of_writing_them() {
        let source = "tls = { key = \"a\" }\n[[listen]]\naddress = 1\n\n[[listen]]\naddress = 2\n";
        let line = |setting| spot(source, setting).map(|span| line_of(source, span.start));
        assert_eq!(line("tls.key"), Some(1));
        assert_eq!(line("listen.1.address"), Some(6));
        assert_eq!(line("limits.nesting"), None);
        assert_eq!(line("tls.certificate"), None);
    }
}

//! What a backup says of itself: lines of a word and a value, ending with a hash of all of them. A file that was cut
//! off or changed is no manifest. The one of an account names its database, so that renaming the manifest into place is
//! the moment at which a new copy counts and the old one no longer does.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::files;

/// Longest manifest read, in octets.
const MOST_BYTES: u64 = 64 << 20;

/// The lines of a manifest, without the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    lines: Vec<(String, String)>,
}

/// A file that a manifest vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    pub name: String,
    pub hash: blake3::Hash,
    /// In octets.
    pub size: u64,
}

impl Manifest {
    /// Adds a line. Line ends in a value become spaces.
    pub fn add(&mut self, word: &str, value: impl std::fmt::Display) {
        let value = value.to_string().replace(['\n', '\r'], " ");
        self.lines.push((word.to_owned(), value));
    }

    pub fn add_file(&mut self, word: &str, file: &Vouched) {
        self.add(word, format_args!("{} {} {}", file.name, file.hash.to_hex(), file.size));
    }

    /// The first value of this word.
    pub fn value(&self, word: &str) -> Option<&str> {
        self.lines.iter().find(|(name, _)| name == word).map(|(_, value)| value.as_str())
    }

    pub fn values<'m>(&'m self, word: &'m str) -> impl Iterator<Item = &'m str> {
        self.lines.iter().filter(move |(name, _)| name == word).map(|(_, value)| value.as_str())
    }

    pub fn number(&self, word: &str) -> Option<u64> {
        self.value(word)?.parse().ok()
    }

    /// A file named by this word; its name is a plain one, never a path.
    pub fn file(&self, word: &str) -> Option<Vouched> {
        let mut parts = self.value(word)?.split(' ');
        let (name, hash, size) = (parts.next()?, parts.next()?, parts.next()?);
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
        let hash = blake3::Hash::from_hex(hash).ok()?;
        is_plain.then_some(Vouched { name: name.to_owned(), hash, size: size.parse().ok()? })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (word, value) in &self.lines {
            let _ = writeln!(text, "{word} {value}");
        }
        let hash = blake3::hash(text.as_bytes());
        let _ = writeln!(text, "end {}", hash.to_hex());
        text
    }

    /// Writes it into place; when this returns it is durable.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        files::write_durably(path, self.text().as_bytes())
    }

    /// Reads one that begins with this word. `Ok(None)`: there is none. An error says what is wrong with it.
    pub fn read(path: &Path, first: &str) -> Result<Option<Manifest>, String> {
        let wrong = |what: &str| format!("{}: {what}", path.display());
        match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&error.to_string())),
            Ok(found) if found.len() > MOST_BYTES => return Err(wrong("is too long for a manifest")),
            Ok(_) => {}
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
        let manifest = Self::parse(&text).ok_or_else(|| wrong("is damaged or was cut off"))?;
        match manifest.lines.first() {
            Some((word, version)) if word == first && version == "1" => Ok(Some(manifest)),
            Some((word, version)) if word == first => {
                Err(wrong(&format!("has version {version}; a newer Pillarbox wrote it")))
            }
            _ => Err(wrong("is something else")),
        }
    }

    fn parse(text: &str) -> Option<Manifest> {
        let at = text.trim_end().rfind("\nend ")? + 1;
        let (body, end) = text.split_at(at);
        let told = end.strip_prefix("end ")?.trim_end();
        (blake3::Hash::from_hex(told).ok()? == blake3::hash(body.as_bytes())).then_some(())?;
        let line = |line: &str| line.split_once(' ').map(|(word, value)| (word.to_owned(), value.to_owned()));
        Some(Manifest { lines: body.lines().map(line).collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let mut manifest = Manifest::default();
        manifest.add("pillarbox-test", 1);
        manifest.add("fault", "two\nlines");
        manifest.add("fault", "another");
        let hash = blake3::hash(b"x");
        manifest.add_file("database", &Vouched { name: "mail-1.db".into(), hash, size: 12 });
        manifest
    }

    #[test]
    fn what_was_written_is_read_back() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("manifest");
        assert_eq!(Manifest::read(&path, "pillarbox-test"), Ok(None));
        sample().write(&path).expect("written");
        let read = Manifest::read(&path, "pillarbox-test").expect("read").expect("there");
        assert_eq!(read, sample());
        assert_eq!(read.values("fault").collect::<Vec<_>>(), ["two lines", "another"]);
        assert_eq!(read.file("database").map(|file| file.size), Some(12));
        assert!(Manifest::read(&path, "pillarbox-backup").is_err(), "another kind");
    }

    #[test]
    fn one_changed_octet_or_a_cut_is_seen() {
        let text = sample().text();
        assert!(Manifest::parse(&text).is_some());
        for cut in 0..text.len() - 1 {
            assert_eq!(Manifest::parse(&text[..cut]), None, "cut at {cut}");
        }
        for at in 0..text.len() - 1 {
            let mut octets = text.clone().into_bytes();
            octets[at] ^= 1;
            let changed = String::from_utf8_lossy(&octets).into_owned();
            assert_eq!(Manifest::parse(&changed), None, "changed at {at}");
        }
    }

    #[test]
    fn a_name_in_a_manifest_is_never_a_path() {
        for name in ["../mail.db", "/etc/passwd", ".hidden", ""] {
            let mut manifest = Manifest::default();
            manifest.add("database", format_args!("{name} {} 1", blake3::hash(b"").to_hex()));
            assert_eq!(manifest.file("database"), None, "{name}");
        }
    }
}

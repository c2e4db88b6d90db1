//! For tests: the messages we ship, and a folder of real and odd ones when PILLARBOX_CORPUS names it.
//! The folder holds `real/*.mbox.zst` (mboxrd) and `nasty/collected.tar.zst`; the programs zstd and tar unpack them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::grammar::check;
use super::hostile::{allowed, processor_time};
use super::{Description, Encoding, MediaKind, PartTable, Scanner, describe, readable_text};

fn shipped(name: &str) -> (Vec<u8>, Description) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(name);
    let message = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let description = describe(&message);
    (message, description)
}

#[test]
fn the_messages_we_ship_are_described() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("tests/messages is in the tree") {
        let path = entry.expect("readable").path();
        if path.extension() == Some(OsStr::new("eml")) {
            let message = fs::read(&path).expect("readable");
            assert_eq!(check(&message, &describe(&message)), Ok(()), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
}

#[test]
fn what_the_shipped_messages_say() {
    let (_, nested) = shipped("nested.eml");
    let table = PartTable::decode(&nested.parts).expect("our own");
    let kinds: Vec<(Vec<u32>, MediaKind)> = table.iter().map(|(path, part)| (path, part.kind)).collect();
    use MediaKind::*;
    assert_eq!(kinds, [(vec![1], Text), (vec![2], Message), (vec![2, 1], Text), (vec![2, 2], Html)]);

    let (_, words) = shipped("nonascii.eml");
    assert_eq!(words.sort.subject, "Grüße aus Zürich");
    assert!(words.sort.is_reply);
    assert_eq!(words.sort.from_display, "Jürgen Müller");
    assert!(!words.has_8bit_header);

    let (_, raw) = shipped("eightbit.eml");
    assert!(raw.has_8bit_header);
    assert!(raw.envelope.is_ascii() && raw.bodystructure.is_ascii());
    assert_eq!(raw.sort.subject, "Crème brûlée");

    let (message, attachment) = shipped("attachment.eml");
    let table = PartTable::decode(&attachment.parts).expect("our own");
    let part = table.find(&[2]).expect("an attachment");
    assert_eq!((part.kind, part.encoding), (Other, Encoding::Base64));
    let body = &message[part.body.start as usize..part.body.end as usize];
    assert!(readable_text(part, body).starts_with("Item;Price"));

    let (_, first) = shipped("thread1.eml");
    let (_, second) = shipped("thread2.eml");
    let (_, third) = shipped("thread3.eml");
    let key = [7; 16];
    let own = |description: &Description| description.reference_hashes(&key)[0].0;
    let all =
        |description: &Description| -> Vec<u64> { description.reference_hashes(&key).iter().map(|r| r.0).collect() };
    assert!(all(&second).contains(&own(&first)));
    assert_eq!(all(&third)[1..], [own(&first), own(&second)]);
    assert_eq!(first.sort.subject, third.sort.subject);

    let (message, none) = shipped("noheader.eml");
    let table = PartTable::decode(&none.parts).expect("our own");
    assert_eq!(table.top().header, 0..2);
    assert_eq!(table.top().body, 2..message.len() as u64);

    let (_, big) = shipped("big-header.eml");
    let table = PartTable::decode(&big.parts).expect("our own");
    assert!(table.top().header.end > 8_000);
    assert_eq!(shipped("html.eml").1.preview.as_deref(), Some("Dear reader, 3 < 4 & that's all."));
}

/// Checks one message of the corpus; gives the fault.
fn examine(message: &[u8]) -> Result<(), String> {
    let begun = processor_time();
    let description = describe(message);
    let spent = processor_time().saturating_sub(begun);
    check(message, &description)?;
    if spent > allowed(message.len()) {
        return Err(format!("{spent:?} for {} octets", message.len()));
    }
    for size in [1, 7, 1000] {
        let mut scanner = Scanner::new();
        message.chunks(size).for_each(|piece| scanner.feed(piece));
        if scanner.finish() != description {
            return Err(format!("other in pieces of {size}"));
        }
    }
    // Mail is cut off on its way, anywhere.
    for cut in [message.len() / 3, message.len() / 2, message.len().saturating_sub(9)] {
        check(&message[..cut], &describe(&message[..cut])).map_err(|fault| format!("cut at {cut}: {fault}"))?;
    }
    let table = PartTable::decode(&description.parts).map_err(|fault| fault.to_string())?;
    for (_, part) in table.iter().filter(|(_, part)| part.kind.is_text()) {
        readable_text(part, &message[part.body.start as usize..part.body.end as usize]);
    }
    Ok(())
}

fn unpacked(path: &Path) -> Vec<u8> {
    let output = Command::new("zstd").arg("-dc").arg(path).output().expect("the program zstd");
    assert!(output.status.success(), "zstd -dc {}", path.display());
    output.stdout
}

/// The messages of an mboxrd file, with CRLF.
fn mbox_messages(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in mbox.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b"From ") {
            messages.push(Vec::new());
            continue;
        }
        let Some(message) = messages.last_mut() else { continue };
        let quotes = line.iter().take_while(|b| **b == b'>').count();
        let line = if quotes > 0 && line[quotes..].starts_with(b"From ") { &line[1..] } else { line };
        match line.strip_suffix(b"\n") {
            Some(text) => {
                message.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                message.extend_from_slice(b"\r\n");
            }
            None => message.extend_from_slice(line),
        }
    }
    messages
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// The folder of the corpus; without one says so, and the test that asked should end.
pub(crate) fn corpus_folder() -> Option<PathBuf> {
    let corpus = std::env::var_os("PILLARBOX_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        eprintln!("skipped: PILLARBOX_CORPUS names no folder");
    }
    corpus
}

/// Shows each message of real mailboxes, with a name for it.
pub(crate) fn each_real_message(corpus: &Path, mut look: impl FnMut(String, &[u8])) {
    for path in files_below(&corpus.join("real")).iter().filter(|path| path.extension() == Some(OsStr::new("zst"))) {
        for (number, message) in mbox_messages(&unpacked(path)).iter().enumerate() {
            look(format!("{} #{number}", path.display()), message);
        }
    }
}

#[test]
fn every_message_of_the_corpus() {
    let Some(corpus) = corpus_folder() else { return };
    let mut count = 0;
    let mut faults = Vec::new();
    let mut look = |name: String, message: &[u8]| {
        count += 1;
        if let Err(fault) = examine(message) {
            faults.push(format!("{name}: {fault}"));
        }
    };
    each_real_message(&corpus, &mut look);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("nasty.tar");
    fs::write(&archive, unpacked(&corpus.join("nasty/collected.tar.zst"))).expect("room for the archive");
    let messages = folder.path().join("messages");
    fs::create_dir(&messages).expect("room for a folder");
    let status = Command::new("tar").arg("xf").arg(&archive).arg("-C").arg(&messages).status();
    assert!(status.expect("the program tar").success());
    for path in files_below(&messages) {
        look(path.display().to_string(), &fs::read(&path).expect("readable"));
    }
    eprintln!("{count} messages");
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    assert!(count > 7000, "{count}");
}

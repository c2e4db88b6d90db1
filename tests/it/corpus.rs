//! Every message of a folder of real and odd ones (PILLARBOX_CORPUS, see below) goes in by APPEND and comes out byte for
//! byte, and each part that BODYSTRUCTURE names is there and lies within the message. Over the wire, against the program.
//! The folder has `real/*.mbox.zst` (mboxrd) and `nasty/collected.tar.zst` (one message a file).

use crate::client::{Client, PATIENCE};
use crate::server::Server;
use crate::tokens::{Token, cut, shown};
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSWORD: &str = "correct-horse";
/// Messages of one MULTIAPPEND.
const BATCH: usize = 50;
/// Most octets of one FETCH's sections: the line of a command is bounded.
const LINE_OCTETS: usize = 4000;

/// A message, and where it is from.
struct Mail {
    name: String,
    octets: Vec<u8>,
}

#[test]
fn every_message_goes_in_and_comes_out() {
    let Some(corpus) = std::env::var_os("PILLARBOX_CORPUS").map(PathBuf::from) else {
        println!("skipped: PILLARBOX_CORPUS names no folder");
        return;
    };
    let (with_nul, mail): (Vec<Mail>, Vec<Mail>) =
        collect(&corpus).into_iter().partition(|mail| mail.octets.contains(&0));
    assert!(mail.len() > 7000, "{} messages", mail.len());
    let server = Server::start().unwrap_or_else(|error| panic!("{error}"));
    server.add_user("ada", PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    let mut client = Client::connect(server.address()).expect("connected");
    assert!(client.line(PATIENCE).expect("greeted").is_some());
    order(&mut client, &format!("LOGIN ada {PASSWORD}"));
    for batch in mail.chunks(BATCH) {
        append(&mut client, batch);
    }
    order(&mut client, "SELECT INBOX");
    let (mut parts, mut faults) = (0, Vec::new());
    for (number, mail) in (1..).zip(&mail) {
        match examine(&mut client, number, &mail.octets) {
            Ok(named) => parts += named,
            Err(fault) => faults.push(format!("{}: {fault}", mail.name)),
        }
    }
    println!("{} messages, {parts} parts, {} with NUL", mail.len(), with_nul.len());
    assert!(faults.is_empty(), "{} messages:\n{}", faults.len(), faults.join("\n"));
    for mail in &with_nul {
        binary_only(&mut client, mail);
    }
    order(&mut client, "LOGOUT");
    // What the server says of itself agrees.
    let output = server.run(&["check"], b"").expect("run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The answer of a command that must end with OK.
fn order(client: &mut Client, command: &str) -> Vec<Vec<u8>> {
    let told = client.order("a", command, None).expect("answered");
    let last = told.last().map(|line| shown(line)).unwrap_or_default();
    assert!(last.starts_with("a OK"), "{command}: {last}");
    told
}

fn append(client: &mut Client, batch: &[Mail]) {
    let mut command = b"a APPEND INBOX".to_vec();
    for mail in batch {
        command.extend(format!(" {{{}+}}\r\n", mail.octets.len()).into_bytes());
        command.extend(&mail.octets);
    }
    command.extend(b"\r\n");
    client.send(&command).expect("sent");
    loop {
        let line = client.line(PATIENCE).expect("answered").expect("open");
        if line.starts_with(b"a ") {
            assert!(line.starts_with(b"a OK [APPENDUID"), "{}: {}", batch[0].name, shown(&line));
            return;
        }
    }
}

/// Fetches a message whole and in parts; gives how many parts it has.
fn examine(client: &mut Client, number: u32, octets: &[u8]) -> Result<usize, String> {
    let told = order(client, &format!("FETCH {number} (RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"));
    let items = items(&told)?;
    let size = item(&items, "RFC822.SIZE")?;
    if *size != Token::Atom(octets.len().to_string().into_bytes()) {
        return Err(format!("{size:?} octets are told, {} were sent", octets.len()));
    }
    match item(&items, "BODY[]")? {
        Token::Text(whole) if whole == octets => {}
        _ => return Err("other octets came out".into()),
    }
    match item(&items, "ENVELOPE")? {
        Token::List(fields) if fields.len() == 10 => {}
        other => return Err(format!("no envelope: {other:?}")),
    }
    let Token::List(structure) = item(&items, "BODYSTRUCTURE")? else { return Err("no body structure".into()) };
    let mut names = Vec::new();
    name_parts(structure, "", &mut names)?;
    let named = names.len();
    while !names.is_empty() {
        let mut command = format!("FETCH {number} (UID");
        while command.len() < LINE_OCTETS {
            let Some(name) = names.pop() else { break };
            command.push_str(&format!(" BODY.PEEK[{name}]"));
        }
        command.push(')');
        let told = order(client, &command);
        let items = self::items(&told)?;
        for pair in items.chunks(2) {
            let [Token::Atom(name), Token::Text(part)] = pair else { continue };
            if !part.is_empty() && memchr::memmem::find(octets, part).is_none() {
                return Err(format!("{} is not in the message", shown(name)));
            }
        }
        if items.iter().any(|token| *token == Token::Atom(b"NIL".to_vec())) {
            return Err("a part that is named is not there".into());
        }
    }
    Ok(named)
}

/// The items of the one FETCH line.
fn items(told: &[Vec<u8>]) -> Result<Vec<Token>, String> {
    let line = told.iter().find(|line| line.starts_with(b"* ")).ok_or("nothing was fetched")?;
    let tokens = cut(line)?;
    match tokens.into_iter().last() {
        Some(Token::List(items)) => Ok(items),
        _ => Err("no list of items".into()),
    }
}

fn item<'t>(items: &'t [Token], name: &str) -> Result<&'t Token, String> {
    let at = items.iter().position(|token| *token == Token::Atom(name.as_bytes().to_vec()));
    at.and_then(|at| items.get(at + 1)).ok_or_else(|| format!("no {name}"))
}

/// Every section that a body structure names (RFC 3501 §6.4.5): parts of multiparts from 1 on, a message's own below it.
fn name_parts(structure: &[Token], above: &str, names: &mut Vec<String>) -> Result<(), String> {
    let below = |n: usize| if above.is_empty() { n.to_string() } else { format!("{above}.{n}") };
    if !matches!(structure.first(), Some(Token::List(_))) {
        let name = below(1);
        names.push(name.clone());
        return inside(structure, &name, names);
    }
    for (at, part) in structure.iter().enumerate() {
        let Token::List(part) = part else { break };
        let name = below(at + 1);
        names.push(name.clone());
        names.push(format!("{name}.MIME"));
        match part.first() {
            Some(Token::List(_)) => name_parts(part, &name, names)?,
            Some(_) => inside(part, &name, names)?,
            None => return Err("an empty part".into()),
        }
    }
    Ok(())
}

/// The same of a message within a part.
fn inside(part: &[Token], name: &str, names: &mut Vec<String>) -> Result<(), String> {
    let is = |at: usize, text: &str| match part.get(at) {
        Some(Token::Text(word)) => word.eq_ignore_ascii_case(text.as_bytes()),
        _ => false,
    };
    if !(is(0, "message") && (is(1, "rfc822") || is(1, "global"))) {
        return Ok(());
    }
    match part.get(8) {
        Some(Token::List(structure)) => name_parts(structure, name, names),
        _ => Err("a message inside without a structure".into()),
    }
}

/// NUL cannot be in a literal (RFC 3501 §9, CHAR8), only in a literal8 (RFC 3516 §4.4): a refusal, and then the way in.
fn binary_only(client: &mut Client, mail: &Mail) {
    let told = client.order("a", "APPEND INBOX", Some(&mail.octets)).expect("answered");
    let last = told.last().map(|line| shown(line)).unwrap_or_default();
    assert!(last.starts_with("a NO") || last.starts_with("a BAD"), "{}: {last}", mail.name);
    client.send(format!("a APPEND INBOX ~{{{}}}\r\n", mail.octets.len()).as_bytes()).expect("sent");
    assert!(client.line(PATIENCE).expect("answered").expect("open").starts_with(b"+"));
    client.send(&mail.octets).expect("sent");
    client.send(b"\r\n").expect("sent");
    loop {
        let line = client.line(PATIENCE).expect("answered").expect("open");
        if line.starts_with(b"a ") {
            assert!(line.starts_with(b"a OK"), "{}: {}", mail.name, shown(&line));
            break;
        }
    }
    let told = order(client, "FETCH * (BINARY.PEEK[])");
    let whole = told.iter().find(|line| line.starts_with(b"* ") && line.windows(7).any(|w| w == b"BINARY["));
    let whole = whole.unwrap_or_else(|| panic!("{}: nothing was fetched", mail.name));
    assert!(memchr::memmem::find(whole, &mail.octets).is_some(), "{}: other octets came out", mail.name);
}

fn collect(corpus: &Path) -> Vec<Mail> {
    let mut all = Vec::new();
    for path in files(&corpus.join("real")) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for (n, octets) in messages(&unpacked(&path)).into_iter().enumerate() {
            all.push(Mail { name: format!("{name} #{n}"), octets });
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = corpus.join("nasty/collected.tar.zst");
    let tar = Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(folder.path()).status();
    assert!(tar.expect("the program tar").success(), "{}", archive.display());
    for path in files(folder.path()) {
        let octets = std::fs::read(&path).expect("readable");
        all.push(Mail { name: path.strip_prefix(folder.path()).unwrap_or(&path).display().to_string(), octets });
    }
    // An empty file is no message, and no APPEND: a literal of no octets cancels it (RFC 3502 §4).
    all.retain(|mail| !mail.octets.is_empty());
    all
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn unpacked(path: &Path) -> Vec<u8> {
    let output = Command::new("zstd").arg("-dc").arg(path).output().expect("the program zstd");
    assert!(output.status.success(), "zstd -dc {}", path.display());
    output.stdout
}

/// The messages of an mboxrd file, with CRLF.
fn messages(mbox: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in mbox.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b"From ") {
            messages.push(Vec::new());
            continue;
        }
        let Some(message) = messages.last_mut() else { continue };
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        let line = if quotes > 0 && line[quotes..].starts_with(b"From ") { &line[1..] } else { line };
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        message.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
        message.extend_from_slice(b"\r\n");
    }
    messages
}

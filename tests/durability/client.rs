//! A small blocking IMAP client: sends one command, reads up to its tagged answer, keeps everything
//! untagged as tokens. It believes nothing it did not read, and it never hides how an answer ended:
//! a lost connection is an error of its own, because then nobody knows what the server did.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::socket::Socket;

/// So many lines of the last dialogue are remembered, each up to so many octets.
const DIALOGUE_LINES: usize = 150;
const DIALOGUE_OCTETS: usize = 400;

/// One value of a response line. Atoms keep their case; `BODY[...]` with its brackets is one atom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Atom(String),
    Text(Vec<u8>),
    List(Vec<Token>),
}

impl Token {
    pub fn word(&self) -> Option<&str> {
        match self {
            Token::Atom(word) => Some(word),
            Token::Text(bytes) => std::str::from_utf8(bytes).ok(),
            Token::List(_) => None,
        }
    }

    pub fn is_word(&self, wanted: &str) -> bool {
        self.word().is_some_and(|word| word.eq_ignore_ascii_case(wanted))
    }

    pub fn number(&self) -> Option<u64> {
        self.word()?.parse().ok()
    }

    pub fn list(&self) -> Option<&[Token]> {
        match self {
            Token::List(items) => Some(items),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    No,
    Bad,
}

/// A complete answer to one command.
#[derive(Clone, Debug)]
pub struct Answer {
    pub verdict: Verdict,
    /// The tagged line after the verdict, response code and text as they came.
    pub text: String,
    /// Every untagged line, without its `* `.
    pub untagged: Vec<Vec<Token>>,
}

impl Answer {
    /// The arguments of a response code, in the tagged line or in an untagged OK (RFC 6851 §4.3).
    pub fn code(&self, name: &str) -> Option<Vec<String>> {
        let tagged = code_of(&self.text, name);
        tagged.or_else(|| {
            self.untagged.iter().filter(|line| line.first().is_some_and(|word| word.is_word("OK"))).find_map(|line| {
                let text: Vec<&str> = line.iter().skip(1).filter_map(Token::word).collect();
                code_of(&text.join(" "), name)
            })
        })
    }

    /// Every untagged line of this kind: `* NAME ...` or `* <number> NAME ...`.
    pub fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [Token]> {
        self.untagged.iter().map(Vec::as_slice).filter(move |line| {
            let place = usize::from(line.first().is_some_and(|word| word.number().is_some()));
            line.get(place).is_some_and(|word| word.is_word(name))
        })
    }
}

fn code_of(text: &str, name: &str) -> Option<Vec<String>> {
    let inside = text.trim_start().strip_prefix('[')?.split(']').next()?;
    let mut words = inside.split(' ');
    if !words.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    Some(words.map(str::to_owned).collect())
}

pub struct Client {
    stream: BufReader<Socket>,
    dialogue: VecDeque<String>,
    tag_prefix: String,
    commands: u64,
    capabilities: Vec<String>,
    was_told_bye: bool,
}

impl Client {
    /// Connects and reads the greeting. Tags will be `<tag_prefix>-1`, `<tag_prefix>-2`, ...
    pub fn connect(address: &str, tag_prefix: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        // Far beyond anything a healthy server needs: only a hang is cut short by it.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut client = Self {
            stream: BufReader::with_capacity(64 * 1024, Socket::new(stream)),
            dialogue: VecDeque::new(),
            tag_prefix: tag_prefix.to_owned(),
            commands: 0,
            capabilities: Vec::new(),
            was_told_bye: false,
        };
        let greeting = client.line()?;
        match greeting.get(1) {
            Some(word) if word.is_word("OK") => Ok(client),
            _ => Err(io::Error::other(format!("greeted with {greeting:?}"))),
        }
    }

    pub fn sign_in(address: &str, tag_prefix: &str, user: &str, password: &str) -> io::Result<Self> {
        let mut client = Self::connect(address, tag_prefix)?;
        client.expect_ok(&format!("LOGIN {user} {password}"))?;
        let answer = client.expect_ok("CAPABILITY")?;
        client.capabilities = answer
            .lines("CAPABILITY")
            .flat_map(|line| line.iter().filter_map(Token::word).map(str::to_ascii_uppercase).collect::<Vec<_>>())
            .collect();
        Ok(client)
    }

    pub fn offers(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|offered| offered == capability)
    }

    /// Whether the server said goodbye before the connection ended.
    pub fn was_told_bye(&self) -> bool {
        self.was_told_bye
    }

    /// The tag of the last command sent.
    pub fn last_tag(&self) -> String {
        format!("{}-{}", self.tag_prefix, self.commands)
    }

    /// The last lines of what was said, for the report of a failure.
    pub fn dialogue(&self) -> String {
        self.dialogue.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn remember(&mut self, who: &str, octets: &[u8]) {
        if self.dialogue.len() >= DIALOGUE_LINES {
            self.dialogue.pop_front();
        }
        let octets = &octets[..octets.len().min(DIALOGUE_OCTETS)];
        self.dialogue.push_back(format!("{who} {}", String::from_utf8_lossy(octets).trim_end()));
    }

    fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.remember(">", octets);
        self.stream.get_mut().write_all(octets)
    }

    /// COMPRESS (RFC 4978): what follows the OK is compressed in both directions.
    pub fn compress(&mut self) -> io::Result<()> {
        self.expect_ok("COMPRESS DEFLATE")?;
        let came = self.stream.buffer().to_vec();
        self.stream.consume(came.len());
        self.stream.get_mut().compress(came);
        Ok(())
    }

    /// Sends a command and hangs up without a LOGOUT, having read no word of its answer. Returns when the server has
    /// closed the connection too, so that the command is surely done.
    pub fn command_and_hang_up(&mut self, text: &str) -> io::Result<()> {
        self.commands += 1;
        self.send(format!("{} {text}\r\n", self.last_tag()).as_bytes())?;
        self.hang_up()
    }

    /// Hangs up without a LOGOUT; returns when the server has closed the connection too.
    pub fn hang_up(&mut self) -> io::Result<()> {
        self.stream.get_ref().hang_up()?;
        match io::copy(&mut self.stream, &mut io::sink()) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(()),
        }
    }

    pub fn command(&mut self, text: &str) -> io::Result<Answer> {
        self.command_with(text, &[])
    }

    /// The same as [`Client::command_with`] with literals that wait for nobody (RFC 7888): all goes at once.
    pub fn command_at_once(&mut self, text: &str, literals: &[(&str, &[u8])]) -> io::Result<Answer> {
        self.commands += 1;
        let tag = self.last_tag();
        let mut octets = format!("{tag} {text}").into_bytes();
        for (before, literal) in literals {
            octets.extend_from_slice(format!("{before}{{{}+}}\r\n", literal.len()).as_bytes());
            octets.extend_from_slice(literal);
        }
        octets.extend_from_slice(b"\r\n");
        self.send(&octets)?;
        let answer = self.read_until(&tag, &mut Vec::new(), false)?;
        answer.ok_or_else(|| io::Error::other("a continuation request where none was due"))
    }

    /// A command whose OK is taken for granted; anything else is an error that quotes it.
    pub fn expect_ok(&mut self, text: &str) -> io::Result<Answer> {
        let answer = self.command(text)?;
        if answer.verdict == Verdict::Ok {
            return Ok(answer);
        }
        Err(io::Error::other(format!("{text} was answered {:?} {}", answer.verdict, answer.text)))
    }

    /// Sends `text`, and after it each literal: (announced by what stands before it, its bytes). Literals
    /// are synchronizing (RFC 3501 §4.3), so a refusal may come before any of them is sent.
    pub fn command_with(&mut self, text: &str, literals: &[(&str, &[u8])]) -> io::Result<Answer> {
        self.commands += 1;
        let tag = self.last_tag();
        let mut untagged = Vec::new();
        let mut pending = format!("{tag} {text}").into_bytes();
        for (before, literal) in literals {
            pending.extend_from_slice(format!("{before}{{{}}}\r\n", literal.len()).as_bytes());
            self.send(&pending)?;
            if let Some(answer) = self.read_until(&tag, &mut untagged, true)? {
                return Ok(answer);
            }
            pending = literal.to_vec();
        }
        pending.extend_from_slice(b"\r\n");
        self.send(&pending)?;
        let answer = self.read_until(&tag, &mut untagged, false)?;
        answer.ok_or_else(|| io::Error::other("a continuation request where none was due"))
    }

    /// IDLE, ended as soon as the server has said that it idles; what it told until then is in the answer.
    pub fn idle(&mut self) -> io::Result<Answer> {
        self.commands += 1;
        let tag = self.last_tag();
        let mut untagged = Vec::new();
        self.send(format!("{tag} IDLE\r\n").as_bytes())?;
        if let Some(refused) = self.read_until(&tag, &mut untagged, true)? {
            return Ok(refused);
        }
        self.send(b"DONE\r\n")?;
        let answer = self.read_until(&tag, &mut untagged, false)?;
        answer.ok_or_else(|| io::Error::other("a continuation request where none was due"))
    }

    /// The tagged answer, or None at a continuation request when one `may_continue`.
    fn read_until(
        &mut self,
        tag: &str,
        untagged: &mut Vec<Vec<Token>>,
        may_continue: bool,
    ) -> io::Result<Option<Answer>> {
        loop {
            let mut line = self.line()?;
            let first = if line.is_empty() { Token::Atom(String::new()) } else { line.remove(0) };
            if first.is_word("+") && may_continue {
                return Ok(None);
            }
            if first.is_word("*") {
                self.was_told_bye |= line.first().is_some_and(|word| word.is_word("BYE"));
                untagged.push(line);
                continue;
            }
            if !first.is_word(tag) {
                return Err(io::Error::other(format!("expected an answer to {tag}, came {first:?} {line:?}")));
            }
            let verdict = match line.first() {
                Some(word) if word.is_word("OK") => Verdict::Ok,
                Some(word) if word.is_word("NO") => Verdict::No,
                Some(word) if word.is_word("BAD") => Verdict::Bad,
                other => return Err(io::Error::other(format!("no verdict: {other:?}"))),
            };
            let text: Vec<&str> = line.iter().skip(1).filter_map(Token::word).collect();
            return Ok(Some(Answer { verdict, text: text.join(" "), untagged: std::mem::take(untagged) }));
        }
    }

    /// One response line with its literals, as tokens. OK, NO, BAD, BYE, PREAUTH and `+` lines are plain
    /// text after that word: a sentence need not balance its quotes.
    fn line(&mut self) -> io::Result<Vec<Token>> {
        let mut raw = Vec::new();
        loop {
            let from = raw.len();
            if self.stream.read_until(b'\n', &mut raw)? == 0 || !raw.ends_with(b"\r\n") {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended"));
            }
            let Some(length) = announced_literal(&raw[from..raw.len() - 2]) else { break };
            let at = raw.len();
            raw.resize(at + length, 0);
            self.stream.read_exact(&mut raw[at..])?;
        }
        raw.truncate(raw.len() - 2);
        self.remember("<", &raw);
        let mut words = raw.splitn(3, |byte| *byte == b' ');
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_text = first == b"+" || [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].contains(&second);
        if is_text {
            return Ok([first, second, words.next().unwrap_or_default()]
                .iter()
                .map(|word| Token::Atom(String::from_utf8_lossy(word).into_owned()))
                .collect());
        }
        tokens(&raw).ok_or_else(|| io::Error::other(format!("cannot read {}", String::from_utf8_lossy(&raw))))
    }
}

fn announced_literal(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?;
    let open = digits.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&digits[open + 1..]).ok()?.parse().ok()
}

/// All tokens of a line; None when brackets or quotes do not close.
pub fn tokens(line: &[u8]) -> Option<Vec<Token>> {
    let mut at = 0;
    let found = sequence(line, &mut at, false)?;
    Some(found)
}

fn sequence(line: &[u8], at: &mut usize, inside: bool) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    loop {
        match line.get(*at) {
            None => return (!inside).then_some(found),
            Some(b' ') => *at += 1,
            Some(b')') => {
                *at += 1;
                return inside.then_some(found);
            }
            Some(b'(') => {
                *at += 1;
                found.push(Token::List(sequence(line, at, true)?));
            }
            Some(b'"') => found.push(quoted(line, at)?),
            Some(b'{') => {
                let end = *at + line[*at..].iter().position(|byte| *byte == b'\n')?;
                let length = announced_literal(&line[*at..end - 1])?;
                found.push(Token::Text(line.get(end + 1..end + 1 + length)?.to_vec()));
                *at = end + 1 + length;
            }
            Some(_) => found.push(atom(line, at)),
        }
    }
}

fn quoted(line: &[u8], at: &mut usize) -> Option<Token> {
    let mut bytes = Vec::new();
    loop {
        *at += 1;
        match line.get(*at)? {
            b'"' => break,
            b'\\' => {
                *at += 1;
                bytes.push(*line.get(*at)?);
            }
            byte => bytes.push(*byte),
        }
    }
    *at += 1;
    Some(Token::Text(bytes))
}

fn atom(line: &[u8], at: &mut usize) -> Token {
    let from = *at;
    let mut depth = 0;
    while let Some(byte) = line.get(*at) {
        match byte {
            b'[' => depth += 1,
            b']' if depth > 0 => depth -= 1,
            b' ' | b'(' | b')' if depth == 0 => break,
            _ => {}
        }
        *at += 1;
    }
    Token::Atom(String::from_utf8_lossy(&line[from..*at]).into_owned())
}

/// The numbers of a UID set as servers write it in APPENDUID and COPYUID: `4,7:9`, ranges either way.
pub fn numbers(set: &str) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for piece in set.split(',') {
        let (first, last) = piece.split_once(':').unwrap_or((piece, piece));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        found.extend(first.min(last)..=first.max(last));
    }
    Some(found)
}

/// A UID set for a command.
pub fn set_of(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_line_becomes_tokens() {
        let line = b"2 FETCH (UID 7 FLAGS (\\Seen $x) BODY[HEADER.FIELDS (TO)] {5}\r\na)\"\r\n X \"q\\\"\")";
        let found = tokens(line).expect("tokens");
        let items = found[2].list().expect("list");
        assert_eq!(items[1].number(), Some(7));
        assert_eq!(items[3].list().map(<[_]>::len), Some(2));
        assert_eq!(items[4], Token::Atom("BODY[HEADER.FIELDS (TO)]".into()));
        assert_eq!(items[5], Token::Text(b"a)\"\r\n".to_vec()));
        assert_eq!(items[7], Token::Text(b"q\"".to_vec()));
        assert_eq!(tokens(b"(a (b)"), None);
    }

    #[test]
    fn response_codes_are_found_tagged_and_untagged() {
        let mut answer = Answer { verdict: Verdict::Ok, text: "[APPENDUID 5 7:8] done".into(), untagged: Vec::new() };
        assert_eq!(answer.code("appenduid"), Some(vec!["5".into(), "7:8".into()]));
        answer.untagged.push(vec![Token::Atom("OK".into()), Token::Atom("[COPYUID 1 2 3] moved".into())]);
        assert_eq!(answer.code("COPYUID").map(|words| words.len()), Some(3));
        assert_eq!(numbers("4,9:7"), Some(vec![4, 7, 8, 9]));
    }
}

//! A session with an IMAP server, as a client: lines, literals, commands. Blocking. What the server may send has bounds;
//! only the messages themselves, which are given on in pieces, may be large.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::answer::{self, Ending, Token};
use crate::auth::client::{self, Bound, ScramClient};
use crate::auth::{ChannelBindings, sasl_base64};
use crate::transfer::Stopped;
use crate::types::Secret;
use crate::wire::write;

/// Longest line, in octets.
const MOST_LINE_BYTES: u64 = 1 << 20;
/// Longest literal that is held, in octets.
const MOST_LITERAL_BYTES: u64 = 1 << 20;
/// Largest piece of a message that is given on.
const PIECE_BYTES: usize = 64 * 1024;

/// Most challenges of one log-in.
const MOST_ROUNDS: usize = 4;

/// What opens an account over there.
#[derive(Debug)]
pub enum Key {
    Password(Secret),
    /// An access token of OAuth 2.0.
    Token(Secret),
}

/// The two directions of a connection.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// An open session.
pub struct Link {
    stream: BufReader<Box<dyn Wire>>,
    tag: u64,
    capabilities: Vec<String>,
    /// The server knew who was there without being told (RFC 3501 §7.1.4).
    is_logged_in: bool,
    /// What both ends know of the TLS connection; nothing without TLS.
    bindings: ChannelBindings,
    /// Ends of commands that came while that of another was waited for.
    early: Vec<(String, Ended)>,
}

/// A command whose answer was not heard yet.
#[derive(Debug)]
pub struct Begun(String);

/// One untagged answer.
#[derive(Debug)]
pub enum Untagged {
    /// LIST, LSUB and FETCH: its tokens from the word or number on.
    Tokens(Vec<Token>),
    /// Any other: its text after the star.
    Text(Vec<u8>),
}

/// The tagged end of a command.
#[derive(Debug)]
pub struct Ended {
    pub is_ok: bool,
    /// What the server says, with the response code.
    pub text: String,
}

/// Who is given the octets of messages as they come.
pub type Octets<'a> = dyn FnMut(&[u8]) -> Result<(), Stopped> + 'a;

/// What is answered to a challenge of this number.
type Reply<'a> = dyn FnMut(usize, &[u8]) -> Result<Vec<u8>, Stopped> + 'a;

impl Link {
    /// Begins a session; `is_greeted`: the greeting was read before, on the way to TLS.
    pub fn begin(stream: Box<dyn Wire>, is_greeted: bool, bindings: ChannelBindings) -> Result<Link, Stopped> {
        let stream = BufReader::with_capacity(PIECE_BYTES, stream);
        let (capabilities, early) = (Vec::new(), Vec::new());
        let mut link = Link { stream, tag: 0, capabilities, is_logged_in: false, bindings, early };
        if !is_greeted {
            let line = link.line()?;
            link.is_logged_in = line.starts_with(b"* PREAUTH");
            if !link.is_logged_in && !line.starts_with(b"* OK") {
                return Err(unexpected(&line));
            }
        }
        link.ask_capabilities()?;
        Ok(link)
    }

    fn ask_capabilities(&mut self) -> Result<(), Stopped> {
        let mut words = Vec::new();
        let ended = self.command(&[b"CAPABILITY"], &mut no_octets, &mut |untagged| {
            if let Untagged::Text(text) = untagged
                && text.get(..11).is_some_and(|word| word.eq_ignore_ascii_case(b"CAPABILITY "))
            {
                let text = String::from_utf8_lossy(&text[11..]).to_ascii_uppercase();
                words = text.split_ascii_whitespace().map(str::to_owned).collect();
            }
            Ok(())
        })?;
        self.capabilities = words;
        ended.or_stop("CAPABILITY")
    }

    /// Whether the server offers this.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|word| word == capability)
    }

    /// Logs in, if the server wants that.
    pub fn log_in(&mut self, user: &str, key: &Key) -> Result<(), Stopped> {
        if self.is_logged_in {
            return Ok(());
        }
        let ended = match key {
            Key::Password(password) => self.show_password(user, password)?,
            Key::Token(token) => self.show_token(user, token)?,
        };
        if !ended.is_ok {
            return Err(Stopped::Outside(format!("the server does not let {user} in: {}", ended.text)));
        }
        // RFC 3501 §6.2.2: they may be others now.
        self.ask_capabilities()
    }

    /// The best way first that the server offers.
    fn show_password(&mut self, user: &str, password: &Secret) -> Result<Ended, Stopped> {
        if let Some(ended) = self.prove_password(user, password)? {
            // Servers offer it for all users and may have kept no more than a hash of some.
            if ended.is_ok || !self.has("AUTH=PLAIN") {
                return Ok(ended);
            }
        }
        if self.has("AUTH=PLAIN") {
            // RFC 4616 §2: authorization identity, authentication identity, password.
            let message = [b"\0", user.as_bytes(), b"\0", password.reveal()].concat();
            return self.authenticate("PLAIN", &mut |_, _| Ok(message.clone()));
        }
        let (user, password) = (string(user.as_bytes()), string(password.reveal()));
        self.command(&[b"LOGIN", &user, &password], &mut no_octets, &mut |_| Ok(()))
    }

    /// `None`: the server knows no way on which the password is not shown.
    fn prove_password(&mut self, user: &str, password: &Secret) -> Result<Option<Ended>, Stopped> {
        let bindings = self.bindings.clone();
        if self.has("AUTH=SCRAM-SHA-256-PLUS") && bindings.are_there() {
            // RFC 5802 §6: one who can bind, and is offered it, does.
            let mut last = None;
            for (kind, data) in bindings.types() {
                let (ended, is_known) = self.prove("SCRAM-SHA-256-PLUS", (user, password), Bound::To(kind, data))?;
                last = Some(ended);
                // Which types a server knows is nowhere told: one that refuses before it has said anything may know another.
                if is_known {
                    break;
                }
            }
            return Ok(last);
        }
        if !self.has("AUTH=SCRAM-SHA-256") {
            return Ok(None);
        }
        let bound = if bindings.are_there() { Bound::NotOffered } else { Bound::Unknown };
        Ok(Some(self.prove("SCRAM-SHA-256", (user, password), bound)?.0))
    }

    /// One exchange; also whether the server took the client's first message.
    fn prove(
        &mut self,
        mechanism: &str,
        (user, password): (&str, &Secret),
        bound: Bound<'_>,
    ) -> Result<(Ended, bool), Stopped> {
        let mut octets = [0; 18];
        getrandom::fill(&mut octets).map_err(|error| Stopped::Outside(format!("no random octets: {error}")))?;
        let mut scram = ScramClient::new(user, password, sasl_base64::encode(&octets), bound);
        let (mut is_taken, mut is_proven) = (false, false);
        let liar = || Stopped::Outside("the server could not prove that it knows the password".into());
        let ended = self.authenticate(mechanism, &mut |round, challenge| match round {
            0 => Ok(scram.first()),
            // RFC 5802 §7: server-error, after which the exchange is over.
            _ if challenge.starts_with(b"e=") => Ok(Vec::new()),
            1 => {
                is_taken = true;
                scram.answer(challenge).ok_or_else(|| unexpected(challenge))
            }
            // RFC 5802 §3: who does not know the password cannot play the server.
            _ if scram.is_proven(challenge) => {
                is_proven = true;
                Ok(Vec::new())
            }
            _ => Err(liar()),
        })?;
        if ended.is_ok && !is_proven { Err(liar()) } else { Ok((ended, is_taken)) }
    }

    fn show_token(&mut self, user: &str, token: &Secret) -> Result<Ended, Stopped> {
        // RFC 7628 §3.2.3: why it was refused is answered with something that means nothing.
        let (mechanism, message, nothing): (_, _, &[u8]) = if self.has("AUTH=OAUTHBEARER") {
            ("OAUTHBEARER", client::oauthbearer(user, token), b"\x01")
        } else if self.has("AUTH=XOAUTH2") {
            ("XOAUTH2", client::xoauth2(user, token), b"")
        } else {
            return Err(Stopped::Outside(
                "the server takes no tokens: it offers neither OAUTHBEARER nor XOAUTH2".into(),
            ));
        };
        self.authenticate(mechanism, &mut |round, _| Ok(if round == 0 { message.clone() } else { nothing.to_vec() }))
    }

    /// AUTHENTICATE; `answer` is given the number of the challenge and what is in it.
    fn authenticate(&mut self, mechanism: &str, answer: &mut Reply<'_>) -> Result<Ended, Stopped> {
        self.tag += 1;
        let tag = format!("p{}", self.tag);
        self.send(format!("{tag} AUTHENTICATE {mechanism}\r\n").as_bytes())?;
        let mut round = 0;
        loop {
            let line = self.line()?;
            if let Some(challenge) = line.strip_prefix(b"+").filter(|_| round < MOST_ROUNDS) {
                // What stands there before anything was said is for people, if it is anything.
                let challenge = sasl_base64::decode(challenge.trim_ascii());
                let challenge = challenge.or((round == 0).then(Vec::new)).ok_or_else(|| unexpected(&line))?;
                let reply = sasl_base64::encode(&answer(round, &challenge)?);
                self.send(&[reply.as_bytes(), b"\r\n"].concat())?;
                round += 1;
            } else if !line.starts_with(b"* ") || round >= MOST_ROUNDS {
                return tagged(&line, &tag).ok_or_else(|| unexpected(&line));
            }
        }
    }

    /// Sends a command of these words and hears its answer to the end. A word with an end of line in it is sent in two,
    /// as literals want it; see [`string`].
    pub fn command(
        &mut self,
        words: &[&[u8]],
        octets: &mut Octets<'_>,
        each: &mut dyn FnMut(Untagged) -> Result<(), Stopped>,
    ) -> Result<Ended, Stopped> {
        self.tag += 1;
        let tag = format!("p{}", self.tag);
        let line = [tag.as_bytes(), b" ", &words.join(&b' '), b"\r\n"].concat();
        let mut rest = line.as_slice();
        while let Some(at) = memchr::memmem::find(rest, b"}\r\n") {
            let (now, later) = rest.split_at(at + 3);
            if later.is_empty() {
                break;
            }
            self.send(now)?;
            let answer = self.line()?;
            if !answer.starts_with(b"+") {
                return tagged(&answer, &tag).ok_or_else(|| unexpected(&answer));
            }
            rest = later;
        }
        self.send(rest)?;
        self.until_tagged(&tag, octets, each)
    }

    /// Sends a command in one line; others may be sent before [`Link::hear`] is told its answer (RFC 3501 §5.5).
    pub fn begin_command(&mut self, words: &[&[u8]]) -> Result<Begun, Stopped> {
        self.tag += 1;
        let tag = format!("p{}", self.tag);
        self.send(&[tag.as_bytes(), b" ", &words.join(&b' '), b"\r\n"].concat())?;
        Ok(Begun(tag))
    }

    /// Hears the answer to a command to its end; of others that were sent, what comes before that.
    pub fn hear(
        &mut self,
        begun: Begun,
        octets: &mut Octets<'_>,
        each: &mut dyn FnMut(Untagged) -> Result<(), Stopped>,
    ) -> Result<Ended, Stopped> {
        match self.early.iter().position(|(tag, _)| *tag == begun.0) {
            Some(at) => Ok(self.early.swap_remove(at).1),
            None => self.until_tagged(&begun.0, octets, each),
        }
    }

    fn until_tagged(
        &mut self,
        tag: &str,
        octets: &mut Octets<'_>,
        each: &mut dyn FnMut(Untagged) -> Result<(), Stopped>,
    ) -> Result<Ended, Stopped> {
        loop {
            let line = self.line()?;
            if let Some(ended) = tagged(&line, tag) {
                return Ok(ended);
            }
            let Some(text) = line.strip_prefix(b"* ") else {
                self.early.push(self.other_end(&line, tag).ok_or_else(|| unexpected(&line))?);
                continue;
            };
            if has_tokens(text) {
                let tokens = self.tokens(text.to_vec(), octets)?;
                each(Untagged::Tokens(tokens))?;
            } else if text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"BYE")) {
                return Err(Stopped::Outside(format!(
                    "the server ends the session: {}",
                    String::from_utf8_lossy(text)
                )));
            } else {
                each(Untagged::Text(text.to_vec()))?;
            }
        }
    }

    /// The end of a command that was sent after the one that is waited for: some servers do several at once.
    fn other_end(&self, line: &[u8], awaited: &str) -> Option<(String, Ended)> {
        let number = |tag: &str| tag.strip_prefix('p')?.parse::<u64>().ok();
        let end = line.iter().position(|octet| *octet == b' ')?;
        let tag = std::str::from_utf8(&line[..end]).ok()?;
        let is_later = (number(awaited)? + 1..=self.tag).contains(&number(tag)?);
        let is_known = self.early.iter().any(|(known, _)| known == tag);
        let ended = tagged(line, tag).filter(|_| is_later && !is_known)?;
        Some((tag.to_owned(), ended))
    }

    /// The whole of an answer that began with this line.
    fn tokens(&mut self, mut line: Vec<u8>, octets: &mut Octets<'_>) -> Result<Vec<Token>, Stopped> {
        let mut tokens = Vec::new();
        loop {
            match answer::tokens(&line, &mut tokens).ok_or_else(|| unexpected(&line))? {
                Ending::Line => return Ok(tokens),
                Ending::Literal(length) if answer::is_body(&tokens) => {
                    self.give(length, octets)?;
                    tokens.push(Token::Streamed);
                }
                Ending::Literal(length) if length <= MOST_LITERAL_BYTES => {
                    let mut text = vec![0; length as usize];
                    self.stream.read_exact(&mut text).map_err(gone)?;
                    tokens.push(Token::Text(text));
                }
                Ending::Literal(_) => return Err(unexpected(&line)),
            }
            line = self.line()?;
        }
    }

    fn give(&mut self, mut left: u64, octets: &mut Octets<'_>) -> Result<(), Stopped> {
        let mut piece = vec![0; PIECE_BYTES];
        while left > 0 {
            let most = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            self.stream.read_exact(&mut piece[..most]).map_err(gone)?;
            octets(&piece[..most])?;
            left -= most as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>, Stopped> {
        line_of(&mut self.stream)
    }

    fn send(&mut self, octets: &[u8]) -> Result<(), Stopped> {
        let stream = self.stream.get_mut();
        stream.write_all(octets).and_then(|()| stream.flush()).map_err(gone)
    }
}

/// Brings a session in clear text to the point where TLS begins. Reads octet by octet, so that none of TLS is taken.
pub fn start_tls(stream: &mut (impl Read + Write)) -> Result<(), Stopped> {
    let greeting = line_of(&mut BufReader::with_capacity(1, &mut *stream))?;
    if !greeting.starts_with(b"* OK") {
        return Err(unexpected(&greeting));
    }
    stream.write_all(b"p0 STARTTLS\r\n").map_err(gone)?;
    let answer = line_of(&mut BufReader::with_capacity(1, &mut *stream))?;
    match tagged(&answer, "p0") {
        Some(Ended { is_ok: true, .. }) => Ok(()),
        _ => Err(unexpected(&answer)),
    }
}

impl Ended {
    /// A command that was refused ends the transfer.
    pub fn or_stop(self, command: &str) -> Result<(), Stopped> {
        match self.is_ok {
            true => Ok(()),
            false => Err(Stopped::Outside(format!("the server refuses {command}: {}", self.text))),
        }
    }
}

fn no_octets(_: &[u8]) -> Result<(), Stopped> {
    Ok(())
}

/// Whether an answer has a form of its own, and is not text for people.
fn has_tokens(text: &[u8]) -> bool {
    let mut words = text.split(|octet| *octet == b' ');
    let (first, second) = (words.next().unwrap_or(b""), words.next().unwrap_or(b""));
    let is = |word: &[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
    is(first, b"LIST") || is(first, b"LSUB") || first.iter().all(u8::is_ascii_digit) && is(second, b"FETCH")
}

fn tagged(line: &[u8], tag: &str) -> Option<Ended> {
    let text = String::from_utf8_lossy(line.strip_prefix(tag.as_bytes())?.strip_prefix(b" ")?).into_owned();
    let is_ok = text.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("OK"));
    Some(Ended { is_ok, text })
}

fn line_of(stream: &mut impl BufRead) -> Result<Vec<u8>, Stopped> {
    let mut line = Vec::new();
    io::Read::take(&mut *stream, MOST_LINE_BYTES).read_until(b'\n', &mut line).map_err(gone)?;
    if !line.ends_with(b"\n") {
        let why = if line.len() as u64 == MOST_LINE_BYTES { "sends a line without an end" } else { "hung up" };
        return Err(Stopped::Outside(format!("the server {why}; the same command goes on where this one stopped")));
    }
    line.pop();
    if line.ends_with(b"\r") {
        line.pop();
    }
    Ok(line)
}

fn gone(error: io::Error) -> Stopped {
    Stopped::Outside(format!("the connection broke ({error}); the same command goes on where this one stopped"))
}

fn unexpected(line: &[u8]) -> Stopped {
    let shown = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
    Stopped::Outside(format!("the server answers something unexpected: {shown}"))
}

/// A string for a command: quoted where it can be, else a literal.
pub fn string(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::string(&mut out, octets);
    out
}

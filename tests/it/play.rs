//! Plays one transcript against a server and compares what comes. The whole dialogue is kept for the report.

use crate::client::{Client, PATIENCE};
use crate::matching::{self, Captures, Pattern, Piece, Whose};
use crate::script::{Action, Answer, Expected, Given, Part, Port, Script, Step};
use crate::server::{Addresses, Server};
use crate::tls::Trust;
use crate::tokens::{self, Token};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

/// Where the transcript is played and as whom.
pub struct Stage<'a> {
    /// A foreign server has only the plain one.
    pub addresses: Addresses,
    /// What a client needs for TLS, where that can be had.
    pub trust: Option<Trust>,
    pub user: String,
    pub password: String,
    /// Our own server, when the transcript may end and restart it.
    pub server: Option<&'a mut Server>,
}

/// What became of a transcript.
pub enum Played {
    Passed,
    /// These capabilities are not offered.
    Skipped(Vec<String>),
}

/// Plays it from the first line to the last. The error is the whole report.
pub fn play(script: &Script, stage: Stage<'_>) -> Result<Played, String> {
    let captures = [
        ("user", stage.user.clone()),
        ("password", stage.password.clone()),
        ("plain", base64(format!("\0{}\0{}", stage.user, stage.password).as_bytes())),
    ];
    let captures = captures.into_iter().map(|(name, text)| (name.to_string(), Token::Atom(text.into()))).collect();
    let mut player = Player { stage, speakers: BTreeMap::new(), captures, dialogue: String::new() };
    let missing = player.missing(&script.needs)?;
    if !missing.is_empty() {
        return Ok(Played::Skipped(missing));
    }
    for step in &script.steps {
        player.take(step).map_err(|complaint| {
            let place = format!("{}:{}", script.path.display(), step.line);
            format!("{place}: {complaint}\n  the whole dialogue:\n{}", player.dialogue)
        })?;
    }
    Ok(Played::Passed)
}

struct Player<'a> {
    stage: Stage<'a>,
    speakers: BTreeMap<char, Speaker>,
    captures: Captures,
    dialogue: String,
}

/// One client of the transcript.
struct Speaker {
    client: Client,
    /// Lines that came while a literal waited for its invitation.
    early: VecDeque<Vec<u8>>,
    /// Tags of commands that have not been answered, oldest first.
    due: VecDeque<String>,
    tags: u32,
    /// The last line matched was a continuation: what is sent next gets no tag.
    is_invited: bool,
    /// The greeting has not been asked for by the transcript.
    is_greeted: bool,
    /// The server this client spoke to has been ended; it connects anew when it speaks.
    is_stale: bool,
}

impl Player<'_> {
    fn note(&mut self, name: char, direction: &str, bytes: &[u8]) {
        let mut shown = tokens::shown(bytes);
        if shown.len() > 600 {
            let cut = (0..=400).rev().find(|at| shown.is_char_boundary(*at)).unwrap_or(0);
            shown = format!("{} ... ({} octets)", &shown[..cut], bytes.len());
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.dialogue, "    {name}{direction} {shown}");
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match &step.action {
            Action::Given { mailbox, messages } => self.fill(mailbox, messages),
            Action::Account { name, password } => {
                let server = self.stage.server.as_mut().ok_or("this server's accounts are not ours to add")?;
                server.add_user(name, password)
            }
            Action::Fresh(name, port) => {
                let addresses = &self.stage.addresses;
                let address = match port {
                    Port::Plain => &addresses.plain,
                    Port::StartTls => &addresses.starttls,
                    Port::Tls => &addresses.tls,
                };
                let client = Client::connect(address).map_err(|error| format!("connecting: {error}"))?;
                self.speakers.insert(*name, Speaker::new(client));
                if *port == Port::Tls { self.start_tls(*name) } else { Ok(()) }
            }
            Action::StartTls(name) => self.start_tls(*name),
            Action::Kill => self.with_server(Server::kill_and_start),
            Action::Restart => self.with_server(Server::restart),
            Action::Send { client, parts } => self.send(*client, parts),
            Action::SendRaw { client, text } => {
                self.ready(*client)?;
                self.note(*client, ">>", text);
                let speaker = self.speaker(*client)?;
                speaker.is_invited = false;
                speaker.client.send(text).map_err(|error| format!("sending: {error}"))
            }
            Action::Expect { client, answer } => self.hear(*client, answer),
        }
    }

    fn start_tls(&mut self, name: char) -> Result<(), String> {
        let trust = self.stage.trust.clone().ok_or("this server's certificate is not ours to trust")?;
        let client = &mut self.speaker(name)?.client;
        client.start_tls(&trust).map_err(|error| format!("{name} shaking hands: {error}"))?;
        let _ = writeln!(self.dialogue, "    -- {name} speaks TLS --");
        Ok(())
    }

    fn with_server(&mut self, order: fn(&mut Server) -> Result<(), String>) -> Result<(), String> {
        let server = self.stage.server.as_mut().ok_or("this server is not ours to end")?;
        order(server)?;
        self.stage.addresses = server.addresses().clone();
        self.speakers.values_mut().for_each(|speaker| speaker.is_stale = true);
        let _ = writeln!(self.dialogue, "    -- the server was ended and started again --");
        Ok(())
    }

    /// A connection of our own that is logged in, for what the transcript only takes for granted.
    fn behind_the_scenes(&self) -> Result<(Client, Vec<Vec<u8>>), String> {
        let failed = |error| format!("preparing: {error}");
        let mut client = Client::connect(&self.stage.addresses.plain).map_err(failed)?;
        client.line(PATIENCE).map_err(failed)?;
        let mut lines = client.order("p1", "CAPABILITY", None).map_err(failed)?;
        let login = format!("LOGIN {} {}", self.stage.user, self.stage.password);
        let answer = client.order("p2", &login, None).map_err(failed)?;
        if !answer.last().is_some_and(|line| line.starts_with(b"p2 OK")) {
            return Err(format!("preparing: the login was refused: {}", shown_lines(&answer)));
        }
        lines.extend(client.order("p3", "CAPABILITY", None).map_err(failed)?);
        Ok((client, lines))
    }

    fn missing(&self, needs: &[String]) -> Result<Vec<String>, String> {
        if needs.is_empty() {
            return Ok(Vec::new());
        }
        let (_, lines) = self.behind_the_scenes()?;
        let offered: Vec<String> = lines
            .iter()
            .filter(|line| line.starts_with(b"* CAPABILITY "))
            .flat_map(|line| String::from_utf8_lossy(line).split(' ').map(str::to_uppercase).collect::<Vec<_>>())
            .collect();
        Ok(needs.iter().filter(|need| !offered.contains(&need.to_uppercase())).cloned().collect())
    }

    fn fill(&mut self, mailbox: &str, messages: &[Given]) -> Result<(), String> {
        let (mut client, _) = self.behind_the_scenes()?;
        if !mailbox.eq_ignore_ascii_case("INBOX") {
            // It may be there already: whether it is shows in the APPEND or in the transcript.
            client.order("g0", &format!("CREATE \"{mailbox}\""), None).map_err(|error| format!("CREATE: {error}"))?;
        }
        for (index, message) in messages.iter().enumerate() {
            let tag = format!("g{}", index + 1);
            let flags = message.flags.as_ref().map_or(String::new(), |flags| format!(" {flags}"));
            let order = format!("APPEND \"{mailbox}\"{flags}");
            let answer =
                client.order(&tag, &order, Some(&message.octets)).map_err(|error| format!("given: {error}"))?;
            if !answer.last().is_some_and(|line| line.starts_with(format!("{tag} OK").as_bytes())) {
                return Err(format!("given: {}", shown_lines(&answer)));
            }
        }
        // Its session must be over before the first client of the transcript begins, or it takes \Recent away.
        client.order("g", "LOGOUT", None).map(|_| ()).map_err(|error| format!("LOGOUT: {error}"))
    }

    fn speaker(&mut self, name: char) -> Result<&mut Speaker, String> {
        self.speakers.get_mut(&name).ok_or_else(|| format!("{name} has not connected"))
    }

    /// Connects and logs in a client that is heard of for the first time or whose server was ended.
    fn ready(&mut self, name: char) -> Result<(), String> {
        let failed = |error| format!("{name} connecting: {error}");
        if let Some(speaker) = self.speakers.get_mut(&name)
            && !speaker.is_stale
        {
            if !std::mem::replace(&mut speaker.is_greeted, true) {
                let greeting = speaker.client.line(PATIENCE).map_err(failed)?.unwrap_or_default();
                self.note(name, "<", &greeting);
            }
            return Ok(());
        }
        let mut client = Client::connect(&self.stage.addresses.plain).map_err(failed)?;
        client.line(PATIENCE).map_err(failed)?;
        let login = format!("LOGIN {} {}", self.stage.user, self.stage.password);
        let answer = client.order("l", &login, None).map_err(failed)?;
        if !answer.last().is_some_and(|line| line.starts_with(b"l OK")) {
            return Err(format!("{name} was not logged in: {}", shown_lines(&answer)));
        }
        self.speakers.insert(name, Speaker { is_greeted: true, ..Speaker::new(client) });
        Ok(())
    }

    /// Sends one command with a tag, or what a continuation asked for without one.
    fn send(&mut self, name: char, parts: &[Part]) -> Result<(), String> {
        self.ready(name)?;
        let captures = self.captures.clone();
        let failed = |error| format!("{name} sending: {error}");
        let speaker = self.speaker(name)?;
        let mut line = Vec::new();
        if !std::mem::replace(&mut speaker.is_invited, false) {
            speaker.tags += 1;
            let tag = format!("{}{}", name.to_ascii_lowercase(), speaker.tags);
            line = format!("{tag} ").into_bytes();
            speaker.due.push_back(tag);
        }
        for part in parts {
            match part {
                Part::Text(text) => line.extend(filled_in(text, &captures)),
                Part::Literal { octets, waits: false } => {
                    line.extend(format!("{{{}+}}\r\n", octets.len()).as_bytes());
                    line.extend(octets);
                }
                Part::Literal { octets, waits: true } => {
                    line.extend(format!("{{{}}}\r\n", octets.len()).as_bytes());
                    self.note(name, ">", &line);
                    let speaker = self.speaker(name)?;
                    speaker.client.send(&std::mem::take(&mut line)).map_err(failed)?;
                    loop {
                        let came = speaker.client.line(PATIENCE).map_err(failed)?;
                        let came = came.ok_or("closed where a literal was to be invited")?;
                        if came.starts_with(b"+") {
                            self.note(name, "<", &came);
                            break;
                        }
                        // RFC 3501 §7.5: refused by a tagged answer instead, the literal is not sent.
                        let is_refused = speaker.due.back().is_some_and(|tag| came.starts_with(tag.as_bytes()));
                        speaker.early.push_back(came);
                        if is_refused {
                            return Ok(());
                        }
                    }
                    line.extend(octets);
                }
            }
        }
        line.extend(b"\r\n");
        self.note(name, ">", &line);
        self.speaker(name)?.client.send(&line).map_err(failed)
    }

    /// Reads until everything expected has come, and complains about everything else.
    fn hear(&mut self, name: char, answer: &Answer) -> Result<(), String> {
        if !self.speakers.contains_key(&name) {
            self.ready(name)?;
        }
        self.speaker(name)?.is_greeted = true;
        let mut left: Vec<&Expected> = answer.lines.iter().collect();
        while !left.is_empty() || answer.closes {
            let speaker = self.speaker(name)?;
            let line = match speaker.early.pop_front() {
                Some(line) => Some(line),
                None => speaker.client.line(PATIENCE).map_err(|error| format!("{}\n  {error}", due(&left)))?,
            };
            let Some(line) = line else {
                return match left.is_empty() {
                    true => Ok(()),
                    false => Err(format!("{}\n  got      the end of the connection", due(&left))),
                };
            };
            self.note(name, "<", &line);
            self.compare(name, &line, answer, &mut left)
                .map_err(|complaint| format!("{complaint}\n  {}\n  got      {}", due(&left), tokens::shown(&line)))?;
        }
        Ok(())
    }

    fn compare(&mut self, name: char, line: &[u8], answer: &Answer, left: &mut Vec<&Expected>) -> Result<(), String> {
        let due = self.speaker(name)?.due.front().cloned();
        for unwanted in &answer.never {
            if unwanted.pattern.matches(line, due.as_deref(), &mut self.captures.clone())? {
                return Err(format!("line {} says this must not come: {}", unwanted.line, unwanted.text));
            }
        }
        // The line that ends an answer is last even where the others come in any order.
        let candidates = match answer.is_in_any_order {
            true => left.iter().position(|expected| expected.pattern.is_last()).unwrap_or(left.len()).max(1),
            false => 1,
        };
        for at in 0..candidates.min(left.len()) {
            if left[at].pattern.matches(line, due.as_deref(), &mut self.captures)? {
                let pattern = &left.remove(at).pattern;
                let speaker = self.speaker(name)?;
                match pattern {
                    Pattern::Continuation(_) => speaker.is_invited = true,
                    // What is told while a client idles leaves it idling.
                    Pattern::Data(_) | Pattern::Exactly(_) | Pattern::Status { whose: Whose::Untagged, .. } => {}
                    Pattern::Status { whose: Whose::Named(_), .. } => speaker.is_invited = false,
                    Pattern::Status { whose: Whose::Due, .. } => {
                        speaker.is_invited = false;
                        speaker.due.pop_front();
                    }
                }
                return Ok(());
            }
        }
        // Nothing is expected of this line; but it must be well-formed.
        Pattern::Data(vec![matching::Wanted::Anything]).matches(line, None, &mut Captures::new())?;
        match answer.others_may_come && line.starts_with(b"* ") {
            true => Ok(()),
            false => Err("what came was not expected".to_string()),
        }
    }
}

impl Speaker {
    fn new(client: Client) -> Speaker {
        Speaker {
            client,
            early: VecDeque::new(),
            due: VecDeque::new(),
            tags: 0,
            is_invited: false,
            is_greeted: false,
            is_stale: false,
        }
    }
}

fn due(left: &[&Expected]) -> String {
    match left.first() {
        Some(expected) => format!("expected {} (line {})", expected.text, expected.line),
        None => "expected <closed>".to_string(),
    }
}

fn shown_lines(lines: &[Vec<u8>]) -> String {
    lines.iter().map(|line| tokens::shown(line)).collect::<Vec<_>>().join(" / ")
}

/// Puts captured values where their names stand.
fn filled_in(text: &str, captures: &Captures) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in matching::pieces(text) {
        match piece {
            Piece::Exactly(text) => out.extend(text.into_bytes()),
            Piece::Anything => out.extend(b"<*>"),
            Piece::Capture(name) => match captures.get(&name) {
                Some(token) => out.extend(token.wire()),
                None => out.extend(format!("<{name}>").into_bytes()),
            },
        }
    }
    out
}

/// RFC 4648 §4, for AUTHENTICATE.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for index in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * index)) as usize & 63];
            out.push(if index <= three.len() { letter as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn captures_are_put_into_commands() {
        let captures = Captures::from([
            ("uid".to_string(), Token::Atom(b"7".to_vec())),
            ("name".to_string(), Token::Text(b"a\"b".to_vec())),
        ]);
        assert_eq!(
            filled_in("UID FETCH <uid>:* <name> <other> <x@y>", &captures),
            b"UID FETCH 7:* \"a\\\"b\" <other> <x@y>"
        );
    }
}

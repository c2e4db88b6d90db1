//! Reads a transcript: a plain text file in which clients speak with the server, line by line.
//! The form is explained in `tests/transcripts/README.md`. Mistakes in the file are found before anything is played.

use crate::matching::{self, Pattern};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One transcript.
pub struct Script {
    pub path: PathBuf,
    /// Capabilities without which the transcript means nothing.
    pub needs: Vec<String>,
    /// How other servers answer, from a comment that begins with `Differs:`; with one, a failure there is expected.
    pub differs: Option<String>,
    /// Settings of the server, each a line of TOML with its whole key.
    pub settings: Vec<String>,
    pub steps: Vec<Step>,
}

/// One line that does something.
pub struct Step {
    pub line: usize,
    pub action: Action,
}

/// A client is named by one capital letter.
pub enum Action {
    /// Puts these messages into the mailbox first, creating it if need be.
    Given {
        mailbox: String,
        messages: Vec<Given>,
    },
    /// Adds another account.
    Account {
        name: String,
        password: Vec<u8>,
    },
    /// The client connects and is not logged in.
    Fresh(char, Port),
    /// The client begins TLS, after STARTTLS.
    StartTls(char),
    Kill,
    Restart,
    Send {
        client: char,
        parts: Vec<Part>,
    },
    /// Sends octets with nothing added.
    SendRaw {
        client: char,
        text: Vec<u8>,
    },
    Expect {
        client: char,
        answer: Answer,
    },
}

/// Which of the server's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Plain,
    /// Clear text until STARTTLS.
    StartTls,
    /// TLS from the first octet.
    Tls,
}

/// A message of a `given` line.
pub struct Given {
    pub octets: Vec<u8>,
    pub flags: Option<String>,
}

/// What is sent: text in which captures are put, and literals.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Literal {
        octets: Vec<u8>,
        /// False for `{n+}`, which does not wait for the server's invitation.
        waits: bool,
    },
}

/// Consecutive `<` lines of one client: everything up to a tagged line, a continuation, or the next thing done.
#[derive(Default)]
pub struct Answer {
    pub lines: Vec<Expected>,
    pub never: Vec<Expected>,
    pub others_may_come: bool,
    pub is_in_any_order: bool,
    /// The server closes the connection after all this.
    pub closes: bool,
    is_complete: bool,
}

/// One line that must come, or must not.
pub struct Expected {
    pub line: usize,
    /// As the transcript has it, for the report.
    pub text: String,
    pub pattern: Pattern,
}

impl Script {
    /// Reads the file; what is wrong with it is told with its line number.
    pub fn read(path: &Path, messages: &Path) -> Result<Script, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (needs, settings, steps) = (Vec::new(), Vec::new(), Vec::new());
        let mut script = Script { path: path.to_path_buf(), needs, differs: None, settings, steps };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            script.take(number, line.trim_end(), messages).map_err(|e| format!("{}:{number}: {e}", path.display()))?;
        }
        match text.starts_with("# ") {
            true => Ok(script),
            false => Err(format!("{}:1: begin with a comment that says which behaviour this is", path.display())),
        }
    }

    /// True when the transcript ends the server, wants it otherwise than usual or adds accounts: it cannot share one.
    pub fn needs_own_server(&self) -> bool {
        let is_for_one = |step: &Step| matches!(step.action, Action::Kill | Action::Restart | Action::Account { .. });
        !self.settings.is_empty() || self.steps.iter().any(is_for_one)
    }

    /// True when it can only be played against a server of ours: it ends it, wants settings, or trusts its certificate.
    pub fn needs_our_server(&self) -> bool {
        let wants_tls =
            |step: &Step| matches!(step.action, Action::StartTls(_) | Action::Fresh(_, Port::StartTls | Port::Tls));
        self.needs_own_server() || self.steps.iter().any(wants_tls)
    }

    /// Every client that speaks.
    pub fn clients(&self) -> BTreeSet<char> {
        let named = |step: &Step| match &step.action {
            Action::Send { client, .. } | Action::SendRaw { client, .. } | Action::Expect { client, .. } => {
                Some(*client)
            }
            _ => None,
        };
        self.steps.iter().filter_map(named).collect()
    }

    fn take(&mut self, number: usize, line: &str, messages: &Path) -> Result<(), String> {
        if let Some(comment) = line.strip_prefix('#') {
            if let Some(difference) = comment.trim().strip_prefix("Differs:") {
                self.differs = Some(difference.trim().to_string());
            }
            return Ok(());
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let action = match word {
            "" => return Ok(()),
            "needs" => {
                self.needs.extend(rest.split_whitespace().map(str::to_string));
                return Ok(());
            }
            "with" if rest.contains('=') => {
                self.settings.push(rest.to_string());
                return Ok(());
            }
            "given" => given(rest, messages)?,
            "account" => {
                let (name, password) = rest.split_once(' ').ok_or("account NAME PASSWORD")?;
                Action::Account { name: name.to_string(), password: matching::unescape(password)? }
            }
            "fresh" => fresh(rest)?,
            "tls" => Action::StartTls(client(rest.trim())?),
            "kill" => Action::Kill,
            "restart" => Action::Restart,
            _ => match word.split_at_checked(1) {
                Some((name, ">>")) => Action::SendRaw { client: client(name)?, text: matching::unescape(rest)? },
                Some((name, ">")) => Action::Send { client: client(name)?, parts: parts(rest, messages)? },
                Some((name, "<")) => return self.expect(number, client(name)?, rest, messages),
                Some((name, "<<")) => {
                    let pattern = Pattern::exactly(rest)?;
                    self.answer(number, client(name)?)?.add(Expected { line: number, text: rest.to_string(), pattern });
                    return Ok(());
                }
                _ => return Err(format!("{word:?} is no line of a transcript")),
            },
        };
        self.steps.push(Step { line: number, action });
        Ok(())
    }

    /// The answer under way, or a new one.
    fn answer(&mut self, number: usize, client: char) -> Result<&mut Answer, String> {
        let is_under_way = matches!(self.steps.last(), Some(Step { action: Action::Expect { client: name, answer }, .. })
            if *name == client && !answer.is_complete);
        if !is_under_way {
            self.steps.push(Step { line: number, action: Action::Expect { client, answer: Answer::default() } });
        }
        match self.steps.last_mut() {
            Some(Step { action: Action::Expect { answer, .. }, .. }) => Ok(answer),
            _ => Err("an expected line has no answer to belong to".to_string()),
        }
    }

    fn expect(&mut self, number: usize, client: char, text: &str, messages: &Path) -> Result<(), String> {
        let answer = self.answer(number, client)?;
        match text {
            "..." => answer.others_may_come = true,
            "in any order" => answer.is_in_any_order = true,
            "<closed>" => {
                answer.closes = true;
                answer.is_complete = true;
            }
            _ => {
                let unwanted = text.strip_prefix("never ");
                let pattern = Pattern::read(unwanted.unwrap_or(text), messages)?;
                let expected = Expected { line: number, text: text.to_string(), pattern };
                match unwanted {
                    Some(_) => answer.never.push(expected),
                    None => answer.add(expected),
                }
            }
        }
        Ok(())
    }
}

impl Answer {
    fn add(&mut self, expected: Expected) {
        self.is_complete = expected.pattern.is_last();
        self.lines.push(expected);
    }
}

fn client(name: &str) -> Result<char, String> {
    let mut letters = name.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_uppercase() => Ok(letter),
        _ => Err(format!("{name:?} is no client: one capital letter is")),
    }
}

/// `CLIENT [PORT]`
fn fresh(text: &str) -> Result<Action, String> {
    let (name, port) = text.split_once(' ').unwrap_or((text, ""));
    let port = match port {
        "" => Port::Plain,
        "starttls" => Port::StartTls,
        "tls" => Port::Tls,
        other => return Err(format!("{other:?} is no port: starttls and tls are")),
    };
    Ok(Action::Fresh(client(name)?, port))
}

/// `MAILBOX [FILE [(FLAGS)]]...`; a mailbox with spaces stands in quotes.
fn given(text: &str, messages: &Path) -> Result<Action, String> {
    let (mailbox, mut rest) = match text.strip_prefix('"') {
        Some(inner) => inner.split_once('"').ok_or("a quote is not closed")?,
        None => text.split_once(' ').unwrap_or((text, "")),
    };
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(Action::Given { mailbox: mailbox.to_string(), messages: found });
        }
        if rest.starts_with('(') {
            let end = rest.find(')').ok_or("a list of flags is not closed")?;
            let last: &mut Given = found.last_mut().ok_or("flags come after the file they belong to")?;
            last.flags = Some(rest[..=end].to_string());
            rest = &rest[end + 1..];
        } else {
            let (file, more) = rest.split_once(' ').unwrap_or((rest, ""));
            found.push(Given { octets: read_message(file, messages)?, flags: None });
            rest = more;
        }
    }
}

/// Text and literals: `{@file}`, `{@file+}`, `{"text"}`, `{"text"+}`.
fn parts(text: &str, messages: &Path) -> Result<Vec<Part>, String> {
    let mut found = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let literal = match (rest.strip_prefix("{@"), rest.strip_prefix("{\"")) {
            (Some(inner), _) => {
                let (name, more) = inner.split_once('}').ok_or("{@file is not closed")?;
                let waits = !name.ends_with('+');
                Some((read_message(name.trim_end_matches('+'), messages)?, waits, more))
            }
            (_, Some(inner)) => {
                let waiting = inner.find("\"}").map(|at| (at, true, &inner[at + 2..]));
                let hasty = inner.find("\"+}").map(|at| (at, false, &inner[at + 3..]));
                let first = [waiting, hasty].into_iter().flatten().min_by_key(|(at, _, _)| *at);
                let (at, waits, more) = first.ok_or("{\"text is not closed")?;
                Some((matching::unescape(&inner[..at])?, waits, more))
            }
            _ => None,
        };
        match literal {
            Some((octets, waits, more)) => {
                found.push(Part::Text(std::mem::take(&mut plain)));
                found.push(Part::Literal { octets, waits });
                rest = more;
            }
            None => {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    found.push(Part::Text(plain));
    Ok(found)
}

fn read_message(name: &str, messages: &Path) -> Result<Vec<u8>, String> {
    let path = messages.join(name);
    std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Script, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("m.eml"), "abc").expect("written");
        let path = folder.path().join("t.imap");
        std::fs::write(&path, text).expect("written");
        Script::read(&path, folder.path())
    }

    #[test]
    fn answers_end_at_their_tagged_line() {
        let script = read(
            "# x\n# Differs: a server says NO\nneeds IDLE MOVE\ngiven INBOX m.eml (\\Seen) m.eml\nA> NOOP\nA> CHECK\n\
             A< * 1 EXISTS\nA< ...\nA< OK\nA< in any order\nA< never * 1 EXPUNGE\nA< OK\nB< * BYE\nB< <closed>\nkill\n",
        );
        let script = script.map_err(|error| panic!("{error}")).expect("a transcript");
        assert_eq!(script.needs, ["IDLE", "MOVE"]);
        assert_eq!(script.differs.as_deref(), Some("a server says NO"));
        assert!(script.needs_own_server());
        assert_eq!(script.clients().into_iter().collect::<String>(), "AB");
        let answers: Vec<&Answer> = script
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Expect { answer, .. } => Some(answer),
                _ => None,
            })
            .collect();
        assert_eq!(answers.len(), 3);
        assert!(answers[0].lines.len() == 2 && answers[0].others_may_come && !answers[0].is_in_any_order);
        assert!(answers[1].lines.len() == 1 && answers[1].never.len() == 1 && answers[1].is_in_any_order);
        assert!(answers[2].closes);
        assert!(matches!(&script.steps[0].action, Action::Given { messages, .. } if messages.len() == 2
            && messages[0].flags.as_deref() == Some("(\\Seen)") && messages[1].flags.is_none()));
    }

    #[test]
    fn literals_are_cut_out() {
        let folder = Path::new("tests/messages");
        let wanted = vec![
            Part::Text("LOGIN ".into()),
            Part::Literal { octets: b"a\"b".to_vec(), waits: true },
            Part::Text(" ".into()),
            Part::Literal { octets: b"c".to_vec(), waits: false },
            Part::Text(String::new()),
        ];
        assert_eq!(parts("LOGIN {\"a\\\"b\"} {\"c\"+}", folder), Ok(wanted));
        assert_eq!(parts("LOGIN {5}", folder), Ok(vec![Part::Text("LOGIN {5}".into())]));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line) in [
            ("A> NOOP\n", 1),
            ("# x\nA NOOP\n", 2),
            ("# x\n\nab> NOOP\n", 3),
            ("# x\nA< nonsense\n", 2),
            ("# x\nA< * 1 FETCH (FLAGS\n", 2),
            ("# x\nA> APPEND INBOX {@absent.eml}\n", 2),
            ("# x\ngiven INBOX (\\Seen)\n", 2),
            ("# x\nA>> \\q\n", 2),
            ("# x\nfresh A ssl\n", 2),
            ("# x\nwith nothing\n", 2),
        ] {
            let error = read(text).err().unwrap_or_default();
            assert!(error.contains(&format!(".imap:{line}: ")), "{text:?} gives {error:?}");
        }
    }
}

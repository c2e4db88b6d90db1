//! Passwords from a person or a pipe. What is typed is not shown, and the terminal is put back however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::auth::MOST_PASSWORD_OCTETS;
use crate::auth::bearer::MOST_TOKEN_OCTETS;
use crate::types::Secret;

/// Reads a password from standard input: all of it but one line end at the very end.
pub(super) fn from_stdin() -> Result<Secret, String> {
    read_piped(io::stdin().lock())
}

fn read_piped(input: impl Read) -> Result<Secret, String> {
    let mut octets = Vec::with_capacity(MOST_PASSWORD_OCTETS + 3);
    let most = MOST_PASSWORD_OCTETS as u64 + 3;
    input.take(most).read_to_end(&mut octets).map_err(|error| format!("cannot read the password: {error}"))?;
    if octets.ends_with(b"\n") {
        octets.pop();
    }
    if octets.ends_with(b"\r") {
        octets.pop();
    }
    Ok(Secret::new(octets))
}

/// Reads an access token: visible characters, and white space around them that means nothing.
pub(super) fn token(input: impl Read) -> Result<Secret, String> {
    let mut octets = Vec::with_capacity(MOST_TOKEN_OCTETS + 1);
    let most = MOST_TOKEN_OCTETS as u64 + 1;
    input.take(most).read_to_end(&mut octets).map_err(|error| format!("cannot read the token: {error}"))?;
    let token = Secret::new(octets.trim_ascii());
    octets.fill(0);
    // RFC 6750 §2.1: b64token. Anything else would end the field it stands in.
    match token.reveal().iter().all(u8::is_ascii_graphic) && (1..=MOST_TOKEN_OCTETS).contains(&token.reveal().len()) {
        true => Ok(token),
        false => Err("that is no access token: one line of visible characters is".into()),
    }
}

/// Asks once on the terminal: for a password that is in use already.
pub(super) fn ask_once() -> Result<Secret, String> {
    ask(&mut terminal()?, "Password: ")
}

fn terminal() -> Result<File, String> {
    let no_terminal = |_| "there is no terminal to ask for a password; use --password-stdin".to_owned();
    OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)
}

/// Asks twice on the terminal and compares.
pub(super) fn ask_twice() -> Result<Secret, String> {
    let mut terminal = terminal()?;
    let first = ask(&mut terminal, "Password: ")?;
    let second = ask(&mut terminal, "Password again: ")?;
    if first != second {
        return Err("the two passwords differ".into());
    }
    Ok(first)
}

/// Asks on the terminal whether to go on. Anything but a yes is a no.
pub(super) fn agrees(question: &str) -> Result<bool, String> {
    let no_terminal = |_| "there is no terminal to ask on; use --yes".to_owned();
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(no_terminal)?;
    let trouble = |error: io::Error| format!("cannot ask: {error}");
    terminal.write_all(format!("{question} [y/N] ").as_bytes()).map_err(trouble)?;
    let mut answer = String::new();
    BufReader::new(terminal.take(100)).read_line(&mut answer).map_err(trouble)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn ask(terminal: &mut File, question: &str) -> Result<Secret, String> {
    let trouble = |error: io::Error| format!("cannot ask for a password: {error}");
    terminal.write_all(question.as_bytes()).map_err(trouble)?;
    let quiet = Quiet::begin(terminal).map_err(trouble)?;
    let typed = read_typed(&mut &*terminal);
    drop(quiet);
    terminal.write_all(b"\n").map_err(trouble)?;
    match typed.map_err(trouble)? {
        Some(password) => Ok(password),
        None => Err("given up".into()),
    }
}

/// Reads key by key up to Enter. `None`: Ctrl-C, or Ctrl-D on an empty line.
fn read_typed(keys: &mut impl Read) -> io::Result<Option<Secret>> {
    // Roomy from the start: growing would leave copies of the password behind in freed memory.
    let mut typed = Vec::with_capacity(MOST_PASSWORD_OCTETS + 1);
    let mut key = [0];
    loop {
        if keys.read(&mut key)? == 0 {
            return Ok(None);
        }
        match key[0] {
            b'\r' | b'\n' => return Ok(Some(Secret::new(typed))),
            // Ctrl-C; Ctrl-D.
            0x03 => return Ok(None),
            0x04 if typed.is_empty() => return Ok(None),
            // Backspace, in both its codes, takes a whole character.
            0x08 | 0x7f => while typed.pop().is_some_and(|octet| octet & 0xc0 == 0x80) {},
            // Ctrl-U.
            0x15 => typed.clear(),
            octet if typed.len() <= MOST_PASSWORD_OCTETS => typed.push(octet),
            // Too long already: what more comes is dropped, and the length is refused later.
            _ => {}
        }
    }
}

/// A terminal that shows nothing and gives each key at once, until this is dropped. Ctrl-C comes as a key, because as
/// a signal it would end the process before the terminal is put back.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> io::Result<Quiet<'a>> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Quiet { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_piped_password() {
        for (piped, password) in
            [("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), ("pw\n\n", "pw\n"), (" p w ", " p w ")]
        {
            assert_eq!(read_piped(piped.as_bytes()), Ok(Secret::new(password)), "{piped:?}");
        }
        let endless = read_piped(io::repeat(b'x')).expect("read");
        assert!(endless.reveal().len() > MOST_PASSWORD_OCTETS, "so that its length is refused");
    }

    #[test]
    fn keys_do_what_people_expect() {
        let cases = [
            ("pw\r", Some("pw")),
            ("pä\u{7f}w\n", Some("pw")),
            ("xx\u{8}\u{8}\u{8}pw\n", Some("pw")),
            ("wrong\u{15}pw\n", Some("pw")),
            ("pw\u{3}\n", None),
            ("\u{4}", None),
            ("p\u{4}w\n", Some("p\u{4}w")),
            ("pw", None),
        ];
        for (keys, password) in cases {
            assert_eq!(read_typed(&mut keys.as_bytes()).expect("read"), password.map(Secret::new), "{keys:?}");
        }
    }
}

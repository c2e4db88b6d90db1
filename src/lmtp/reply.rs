//! Replies: a code, an enhanced code and a sentence, written as lines of a bounded length.

use std::borrow::Cow;

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// RFC 2034 §4, RFC 3463: such as `2.1.5`; empty where none may stand.
    pub enhanced: &'static str,
    /// One line, ASCII.
    pub text: Cow<'static, str>,
}

impl Reply {
    pub const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
        Reply { code, enhanced, text: Cow::Borrowed(text) }
    }

    pub fn with(code: u16, enhanced: &'static str, text: String) -> Reply {
        Reply { code, enhanced, text: Cow::Owned(text) }
    }

    /// RFC 5321 §4.3.2 tells what a client makes of it: 4yz is worth another try, 5yz is not.
    pub fn is_good(&self) -> bool {
        self.code < 400
    }

    /// Writes the reply as its line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let gap = if self.enhanced.is_empty() { "" } else { " " };
        out.extend_from_slice(format!("{} {}{gap}{}\r\n", self.code, self.enhanced, self.text).as_bytes());
    }
}

/// Writes a reply of several lines without enhanced codes, which is the answer to LHLO.
pub fn write_lines(out: &mut Vec<u8>, code: u16, lines: &[String]) {
    for (at, line) in lines.iter().enumerate() {
        let mark = if at + 1 == lines.len() { ' ' } else { '-' };
        out.extend_from_slice(format!("{code}{mark}{line}\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_their_form() {
        let mut out = Vec::new();
        Reply::new(250, "2.1.5", "fine").write(&mut out);
        Reply::new(354, "", "go on").write(&mut out);
        write_lines(&mut out, 250, &["host".into(), "PIPELINING".into(), "CHUNKING".into()]);
        assert_eq!(out, b"250 2.1.5 fine\r\n354 go on\r\n250-host\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    }
}

//! Cuts a response line into atoms, strings and lists, so that two ways of writing the same thing compare equal.
//! A quoted string and a literal are both a string; `BODY[HEADER.FIELDS (From)]<0>` is one atom.

/// One piece of a response line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Atom(Vec<u8>),
    Text(Vec<u8>),
    List(Vec<Token>),
}

impl Token {
    /// As it would stand on the wire: what a captured token puts back into a command.
    pub fn wire(&self) -> Vec<u8> {
        match self {
            Token::Atom(name) => name.clone(),
            Token::Text(text) => {
                let mut out = vec![b'"'];
                for byte in text {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
                out.push(b'"');
                out
            }
            Token::List(items) => {
                let inner: Vec<Vec<u8>> = items.iter().map(Token::wire).collect();
                [b"(", inner.join(&b' ').as_slice(), b")"].concat()
            }
        }
    }
}

/// Cuts a whole line, or says where it is not well-formed. Two spaces in a row are a mistake of the server's, and so is
/// none, except between two lists.
pub fn cut(line: &[u8]) -> Result<Vec<Token>, String> {
    let mut cutter = Cutter { line, at: 0 };
    let tokens = cutter.sequence(None)?;
    Ok(tokens)
}

struct Cutter<'a> {
    line: &'a [u8],
    at: usize,
}

impl Cutter<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn complain<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} at octet {} of {}", self.at, shown(self.line)))
    }

    fn sequence(&mut self, closing: Option<u8>) -> Result<Vec<Token>, String> {
        let mut tokens = Vec::new();
        let mut is_spaced = true;
        loop {
            match self.peek() {
                None if closing.is_none() => return Ok(tokens),
                None => return self.complain("the list is not closed"),
                Some(byte) if Some(byte) == closing => {
                    self.at += 1;
                    return Ok(tokens);
                }
                Some(b' ') => {
                    self.at += 1;
                    let is_between = !tokens.is_empty() && !matches!(self.peek(), None | Some(b' '));
                    if !is_between || self.peek() == closing {
                        return self.complain("a space too many");
                    }
                    is_spaced = true;
                }
                Some(b')') => return self.complain("a parenthesis too many"),
                Some(byte) => {
                    let follows_list = byte == b'(' && matches!(tokens.last(), Some(Token::List(_)));
                    if !is_spaced && !follows_list {
                        return self.complain("a space is missing");
                    }
                    is_spaced = false;
                    let token = self.token()?;
                    tokens.push(token);
                }
            }
        }
    }

    fn token(&mut self) -> Result<Token, String> {
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                Ok(Token::List(self.sequence(Some(b')'))?))
            }
            Some(b'"') => self.quoted().map(Token::Text),
            Some(b'{') => self.literal().map(Token::Text),
            Some(b'~') if self.line.get(self.at + 1) == Some(&b'{') => {
                self.at += 1;
                self.literal().map(Token::Text)
            }
            _ => self.atom().map(Token::Atom),
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            match self.peek() {
                None => return self.complain("the quoted string is not closed"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(byte @ (b'"' | b'\\')) => text.push(byte),
                        _ => return self.complain("a backslash before what needs none"),
                    }
                }
                // RFC 3501 §9, QUOTED-CHAR: TEXT-CHAR has neither CR nor LF.
                Some(b'\r' | b'\n' | 0) => return self.complain("a quoted string cannot hold this octet"),
                Some(byte) => text.push(byte),
            }
            self.at += 1;
        }
    }

    fn literal(&mut self) -> Result<Vec<u8>, String> {
        let rest = &self.line[self.at..];
        let head = rest.windows(3).position(|three| three == b"}\r\n");
        let Some(head) = head else { return self.complain("a brace that begins no literal") };
        let octets = std::str::from_utf8(&rest[1..head]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(text) = octets.and_then(|octets| rest.get(head + 3..head + 3 + octets)) else {
            return self.complain("a literal that is not whole");
        };
        let text = text.to_vec();
        self.at += head + 3 + text.len();
        Ok(text)
    }

    /// An atom goes up to a space or parenthesis; brackets within it hold anything, `BODY[HEADER.FIELDS (From)]`.
    fn atom(&mut self) -> Result<Vec<u8>, String> {
        let mut name = Vec::new();
        let mut is_in_brackets = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => is_in_brackets = true,
                b']' => is_in_brackets = false,
                b' ' | b'(' | b')' | b'\r' if !is_in_brackets => break,
                // Field names may come quoted: BODY[HEADER.FIELDS ("From")] is the same section.
                b'"' if is_in_brackets => {
                    self.at += 1;
                    continue;
                }
                b'"' => return self.complain("a quote within an atom"),
                _ => {}
            }
            name.push(byte);
            self.at += 1;
        }
        match is_in_brackets {
            true => self.complain("a bracket is not closed"),
            false if name.is_empty() => self.complain("nothing where a word is due"),
            false => Ok(name),
        }
    }
}

/// Bytes for a person to read: CR, LF and what is not printable are escaped.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().fold(String::new(), |mut out, c| {
        match c {
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_quoted_strings_are_the_same() {
        assert_eq!(cut(b"a {3}\r\nx\"y b"), cut(b"a \"x\\\"y\" b"));
    }

    #[test]
    fn a_section_is_one_atom() {
        let tokens = cut(b"BODY[HEADER.FIELDS (\"From\" To)]<0> (a (b)(c))").expect("well-formed");
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens[0], Token::Atom(b"BODY[HEADER.FIELDS (From To)]<0>".to_vec()));
        assert_eq!(tokens[1].wire(), b"(a (b) (c))");
    }

    #[test]
    fn what_is_not_well_formed_is_an_error() {
        for bad in
            ["(a", "a)", "a  b", "a ", "\"a", "{5}\r\nab", "( a)", "(a )", "{1}\r\n(b", "(a)b", "a\"b\"", "\"a\rb\""]
        {
            assert!(cut(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}

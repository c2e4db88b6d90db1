//! Command lines -> commands. Pure; a line is given without its CRLF, and anything may stand in it.

use super::address::{Address, BadPath, Sender, is_domain, is_literal, path};
use super::reply::Reply;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// RFC 2033 §4.1. What the client calls itself, fit for a header line.
    Lhlo(String),
    Mail(Mail),
    Rcpt(Address),
    Data,
    /// RFC 3030 §2.
    Bdat {
        octets: u64,
        is_last: bool,
    },
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
}

/// MAIL with what it may bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub sender: Sender,
    /// RFC 1870 §5: how large the message will be, as far as the client knows.
    pub size: Option<u64>,
    /// RFC 6531 §3.4: addresses and header may be UTF-8.
    pub is_utf8: bool,
    /// RFC 3030 §3: any octets may stand in it, so it comes with BDAT.
    pub is_binary: bool,
}

const SYNTAX: Reply = Reply::new(501, "5.5.4", "this command is written otherwise");
const NO_ARGUMENT: Reply = Reply::new(501, "5.5.4", "nothing may follow this command");
const UNKNOWN: Reply = Reply::new(500, "5.5.1", "unknown command");
const NOT_SMTP: Reply = Reply::new(500, "5.5.1", "LMTP is spoken here: say LHLO");
const NOT_OFFERED: Reply = Reply::new(502, "5.5.1", "this is not offered");
const BAD_HOST: Reply = Reply::new(501, "5.5.4", "LHLO needs a host name or an address in brackets");
const BAD_SENDER: Reply = Reply::new(501, "5.1.7", "write MAIL FROM:<user@domain> or MAIL FROM:<>");
const BAD_RECIPIENT: Reply = Reply::new(501, "5.1.3", "write RCPT TO:<user@domain>");
const LONG_PATH: Reply = Reply::new(501, "5.1.3", "this address is too long");
const BAD_PARAMETER: Reply = Reply::new(501, "5.5.4", "a parameter is written otherwise, or stands here twice");
const UNKNOWN_PARAMETER: Reply = Reply::new(555, "5.5.4", "a parameter is not known here");
// RFC 6531 §3.5
const NEEDS_UTF8: Reply = Reply::new(553, "5.6.7", "an address that is not ASCII needs MAIL with SMTPUTF8");

/// Reads a command, or gives the reply that says what is wrong with it. `is_utf8`: MAIL said SMTPUTF8.
pub fn parse(line: &[u8], is_utf8: bool) -> Result<Command, Reply> {
    // RFC 5321 §2.3.8: CR and LF stand only together, at the end. What hides one is nobody's honest command.
    if line.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
        return Err(Reply::new(500, "5.5.2", "a command has no NUL and no bare CR or LF"));
    }
    let line = line.trim_ascii_end();
    let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start();
    let alone = |command| if rest.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_slice() {
        b"LHLO" => lhlo(rest),
        b"MAIL" => mail(rest),
        b"RCPT" => rcpt(rest, is_utf8),
        b"DATA" => alone(Command::Data),
        b"BDAT" => bdat(rest),
        b"RSET" => alone(Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"QUIT" => alone(Command::Quit),
        b"VRFY" if rest.is_empty() => Err(SYNTAX),
        b"VRFY" => Ok(Command::Vrfy),
        b"HELP" => Ok(Command::Help),
        // RFC 2033 §4.1: never a positive answer to these.
        b"HELO" | b"EHLO" => Err(NOT_SMTP),
        b"EXPN" | b"STARTTLS" | b"AUTH" | b"ETRN" | b"TURN" => Err(NOT_OFFERED),
        _ => Err(UNKNOWN),
    }
}

fn lhlo(rest: &[u8]) -> Result<Command, Reply> {
    let name = std::str::from_utf8(rest).map_err(|_| BAD_HOST)?;
    // RFC 6531 §3.7.1: what is not ASCII is no host name here.
    let is_host = name.is_ascii() && (is_domain(name) || is_literal(name));
    if is_host { Ok(Command::Lhlo(name.to_owned())) } else { Err(BAD_HOST) }
}

fn mail(rest: &[u8]) -> Result<Command, Reply> {
    let rest = behind(rest, b"FROM:").ok_or(BAD_SENDER)?;
    let (sender, rest) = path(rest).map_err(|bad| told(bad, BAD_SENDER))?;
    let mut mail = Mail { sender, size: None, is_utf8: false, is_binary: false };
    let mut has_body = false;
    for (keyword, value) in parameters(rest)? {
        match (keyword.as_slice(), value) {
            // RFC 1870 §3: size-value = 1*20DIGIT
            (b"SIZE", Some(value)) if mail.size.is_none() && value.len() <= 20 => {
                mail.size = Some(number(value).ok_or(BAD_PARAMETER)?);
            }
            // RFC 6152 §2. Every message is taken as it comes: what it is called says only how it may come.
            (b"BODY", Some(value)) if !has_body => {
                has_body = true;
                match value.to_ascii_uppercase().as_slice() {
                    b"7BIT" | b"8BITMIME" => {}
                    b"BINARYMIME" => mail.is_binary = true,
                    _ => return Err(BAD_PARAMETER),
                }
            }
            (b"SMTPUTF8", None) if !mail.is_utf8 => mail.is_utf8 = true,
            (b"SIZE" | b"BODY" | b"SMTPUTF8", _) => return Err(BAD_PARAMETER),
            _ => return Err(UNKNOWN_PARAMETER),
        }
    }
    if mail.sender.as_ref().is_some_and(|sender| !sender.is_ascii()) && !mail.is_utf8 {
        return Err(NEEDS_UTF8);
    }
    Ok(Command::Mail(mail))
}

fn rcpt(rest: &[u8], is_utf8: bool) -> Result<Command, Reply> {
    let rest = behind(rest, b"TO:").ok_or(BAD_RECIPIENT)?;
    let (address, rest) = path(rest).map_err(|bad| told(bad, BAD_RECIPIENT))?;
    let address = address.ok_or(BAD_RECIPIENT)?;
    // RFC 3461 §4: NOTIFY and ORCPT are for servers that announce DSN.
    if let Some(_unknown) = parameters(rest)?.first() {
        return Err(UNKNOWN_PARAMETER);
    }
    if !address.is_ascii() && !is_utf8 {
        return Err(NEEDS_UTF8);
    }
    Ok(Command::Rcpt(address))
}

// RFC 3030 §2: "BDAT" SP chunk-size [ SP end-marker ]
fn bdat(rest: &[u8]) -> Result<Command, Reply> {
    let mut words = rest.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let octets = words.next().and_then(number).ok_or(SYNTAX)?;
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return Err(SYNTAX),
    };
    if words.next().is_some() { Err(SYNTAX) } else { Ok(Command::Bdat { octets, is_last }) }
}

/// What follows a word in any case. A space behind it is against RFC 5321 §3.3 and written all the same.
fn behind<'a>(rest: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = rest.split_at_checked(word.len())?;
    begin.eq_ignore_ascii_case(word).then(|| rest.trim_ascii_start())
}

fn told(bad: BadPath, syntax: Reply) -> Reply {
    match bad {
        BadPath::Syntax => syntax,
        BadPath::TooLong => LONG_PATH,
    }
}

/// A parameter's keyword in capitals and its value.
type Parameter<'a> = (Vec<u8>, Option<&'a [u8]>);

// RFC 5321 §4.1.2: esmtp-param = esmtp-keyword ["=" esmtp-value]
fn parameters(rest: &[u8]) -> Result<Vec<Parameter<'_>>, Reply> {
    if !rest.is_empty() && !rest.starts_with(b" ") {
        return Err(BAD_PARAMETER);
    }
    let words = rest.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    words.map(|word| parameter(word).ok_or(BAD_PARAMETER)).collect()
}

fn parameter(word: &[u8]) -> Option<Parameter<'_>> {
    let (keyword, value) = match word.iter().position(|octet| *octet == b'=') {
        Some(at) => (&word[..at], Some(&word[at + 1..])),
        None => (word, None),
    };
    let is_keyword = keyword.first().is_some_and(u8::is_ascii_alphanumeric)
        && keyword.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    let is_value = value.is_none_or(|value| {
        !value.is_empty() && value.iter().all(|octet| *octet > b' ' && *octet != b'=' && *octet != 0x7f)
    });
    (is_keyword && is_value).then(|| (keyword.to_ascii_uppercase(), value))
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(line: &str) -> (u16, &'static str) {
        let reply = parse(line.as_bytes(), false).expect_err(line);
        (reply.code, reply.enhanced)
    }

    #[test]
    fn commands_are_read_in_any_case() {
        let parsed = |line: &str| parse(line.as_bytes(), false).expect(line);
        assert_eq!(parsed("lhlo mail.example.org"), Command::Lhlo("mail.example.org".into()));
        assert_eq!(parsed("LHLO [IPv6:::1]"), Command::Lhlo("[IPv6:::1]".into()));
        assert_eq!(parsed("BDAT 0 last"), Command::Bdat { octets: 0, is_last: true });
        assert_eq!(parsed("bdat 18446744073709551615"), Command::Bdat { octets: u64::MAX, is_last: false });
        assert_eq!(parsed("NOOP whatever"), Command::Noop);
        assert_eq!(parsed("QUIT "), Command::Quit);
        let null = Mail { sender: None, size: None, is_utf8: false, is_binary: false };
        assert_eq!(parsed("mail from:<>"), Command::Mail(null.clone()));
        let binary = Mail { is_binary: true, ..null.clone() };
        assert_eq!(parsed("MAIL FROM:<> body=BinaryMime"), Command::Mail(binary));
        let sized = Mail { size: Some(500), ..null };
        assert_eq!(parsed("MAIL FROM: <>  size=500 Body=8BitMime"), Command::Mail(sized));
        let Command::Rcpt(address) = parsed("rcpt to:<\"anna b\"@example.org>") else { panic!("no RCPT") };
        assert_eq!(address.local, "anna b");
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        for (line, expected) in [
            ("", (500, "5.5.1")),
            ("FLY", (500, "5.5.1")),
            ("EHLO mail.example.org", (500, "5.5.1")),
            ("HELO mail.example.org", (500, "5.5.1")),
            ("STARTTLS", (502, "5.5.1")),
            ("EXPN staff", (502, "5.5.1")),
            ("LHLO", (501, "5.5.4")),
            ("LHLO a b", (501, "5.5.4")),
            ("LHLO bücher.example", (501, "5.5.4")),
            ("DATA now", (501, "5.5.4")),
            ("RSET now", (501, "5.5.4")),
            ("VRFY", (501, "5.5.4")),
            ("MAIL", (501, "5.1.7")),
            ("MAIL FROM:", (501, "5.1.7")),
            ("MAIL FROM:anna@example.org", (501, "5.1.7")),
            ("MAIL TO:<a@b>", (501, "5.1.7")),
            ("RCPT TO:<>", (501, "5.1.3")),
            ("RCPT TO:<a@b", (501, "5.1.3")),
            ("RCPT FROM:<a@b>", (501, "5.1.3")),
            ("MAIL FROM:<a@b>SIZE=1", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE=", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE=-1", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE=99999999999999999999", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1", (501, "5.5.4")),
            ("MAIL FROM:<a@b> BODY=9BIT", (501, "5.5.4")),
            ("MAIL FROM:<a@b> BODY=7BIT BODY=7BIT", (501, "5.5.4")),
            ("MAIL FROM:<a@b> SMTPUTF8=1", (501, "5.5.4")),
            ("MAIL FROM:<a@b> BODY=BINARYMIME BODY=7BIT", (501, "5.5.4")),
            ("MAIL FROM:<a@b> BODY=BINARY", (501, "5.5.4")),
            ("MAIL FROM:<a@b> RET=HDRS", (555, "5.5.4")),
            ("MAIL FROM:<a@b> ENVID=1", (555, "5.5.4")),
            ("MAIL FROM:<a@b> AUTH=<>", (555, "5.5.4")),
            ("MAIL FROM:<a@b> =x", (501, "5.5.4")),
            ("RCPT TO:<a@b> NOTIFY=NEVER", (555, "5.5.4")),
            ("RCPT TO:<a@b> ORCPT=rfc822;a@b", (555, "5.5.4")),
            ("MAIL FROM:<jürgen@example.org>", (553, "5.6.7")),
            ("RCPT TO:<jürgen@example.org>", (553, "5.6.7")),
            ("BDAT", (501, "5.5.4")),
            ("BDAT x", (501, "5.5.4")),
            ("BDAT 18446744073709551616", (501, "5.5.4")),
            ("BDAT 5 FIRST", (501, "5.5.4")),
            ("BDAT 5 LAST LAST", (501, "5.5.4")),
            ("NOOP\nQUIT", (500, "5.5.2")),
            ("NOOP\rQUIT", (500, "5.5.2")),
            ("NOOP\0", (500, "5.5.2")),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
        assert!(parse("RCPT TO:<jürgen@example.org>".as_bytes(), true).is_ok());
        assert!(parse("MAIL FROM:<jürgen@example.org> SMTPUTF8".as_bytes(), false).is_ok());
        assert_eq!(code(&format!("RCPT TO:<{}@b>", "x".repeat(600))), (501, "5.1.3"));
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd(line in prop::collection::vec(any::<u8>(), 0..100), utf8: bool) {
            let _ = parse(&line, utf8);
        }

        #[test]
        fn nor_one_that_begins_well(
            verb in "(LHLO |MAIL FROM:<|RCPT TO:<|BDAT |MAIL FROM:<>)",
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let line = [verb.as_bytes(), &rest].concat();
            if let Err(reply) = parse(&line, true) {
                prop_assert!((500..=555).contains(&reply.code) && reply.text.is_ascii());
            }
        }
    }
}

//! What counts as the same line and what does not: the tables behind every transcript.

use super::*;

fn check(pattern: &str, line: &str) -> Result<bool, String> {
    Pattern::read(pattern, Path::new("tests/messages"))?.matches(line.as_bytes(), Some("t1"), &mut Captures::new())
}

#[test]
fn lines_that_are_the_same() {
    for (pattern, line) in [
        ("OK", "t1 OK done"),
        ("OK", "t1 OK [READ-WRITE] done"),
        ("OK [READ-WRITE]", "t1 OK [READ-WRITE] done"),
        ("OK [COPYUID <*> 1:3 <x>:<y>]", "t1 OK [COPYUID 77 1,2,3 5:7] done"),
        ("BAD <*>mailbox<*>", "t1 BAD expected a mailbox name at octet 3"),
        ("x9 BAD", "x9 BAD what"),
        ("* OK [UIDNEXT <n>]", "* OK [UIDNEXT 3] soon"),
        ("* OK [PERMANENTFLAGS (\\* \\Seen <*>)]", "* OK [PERMANENTFLAGS (\\Answered \\Seen \\*)] these"),
        ("+", "+ "),
        ("+ idling", "+ idling"),
        ("* <n> EXISTS", "* 17 EXISTS"),
        ("* 1 FETCH (UID <u> FLAGS (\\Seen <*>))", "* 1 FETCH (FLAGS (\\Recent \\Seen) UID 4)"),
        ("* 1 FETCH (FLAGS (a b))", "* 1 FETCH (FLAGS (b a))"),
        ("* 1 FETCH (UID 1 <*>)", "* 1 FETCH (FLAGS () UID 1 RFC822.SIZE 4)"),
        ("* 1 FETCH (BODY[TEXT] \"a\\r\\n\")", "* 1 FETCH (BODY[TEXT] {3}\r\na\r\n)"),
        ("* 1 FETCH (BODY[]<0> \"a\")", "* 1 FETCH (BODY[]<0> \"a\")"),
        ("* 1 FETCH (BODY[HEADER.FIELDS (TO)] <*>)", "* 1 FETCH (BODY[HEADER.FIELDS (\"To\")] {2}\r\n\r\n)"),
        ("* 1 FETCH (BODY (\"TEXT\" \"PLAIN\" <*>))", "* 1 FETCH (BODY (\"text\" \"plain\" NIL 1 2))"),
        ("* STATUS box (MESSAGES 1 UIDNEXT 2)", "* STATUS \"box\" (UIDNEXT 2 MESSAGES 1)"),
        ("* LIST (\\HasNoChildren <*>) \"/\" \"a b\"", "* LIST (\\Marked \\HasNoChildren) \"/\" \"a b\""),
        ("* SEARCH 2 1", "* SEARCH 1 2"),
        ("* SEARCH", "* SEARCH"),
        ("* CAPABILITY IMAP4rev1 <*>", "* CAPABILITY IDLE IMAP4rev1"),
        ("* <*> EXPUNGE", "* 3 EXPUNGE"),
        ("* VANISHED (EARLIER) 1:3", "* VANISHED (EARLIER) 1,2,3"),
    ] {
        assert_eq!(check(pattern, line), Ok(true), "{pattern} against {line}");
    }
}

#[test]
fn lines_that_differ() {
    for (pattern, line) in [
        ("OK", "t2 OK done"),
        ("OK", "t1 NO done"),
        ("OK", "* OK done"),
        ("OK [READ-WRITE]", "t1 OK done"),
        ("OK [READ-WRITE]", "t1 OK [READ-ONLY] done"),
        ("OK [COPYUID <*> 1:3 <x>]", "t1 OK [COPYUID 77 3,2,1 5:7] done"),
        ("x9 BAD", "t1 BAD what"),
        ("* OK [PERMANENTFLAGS (\\Seen)]", "* OK [PERMANENTFLAGS (\\Answered \\Seen)] these"),
        ("+ idling", "+ go"),
        ("* 2 EXISTS", "* 17 EXISTS"),
        ("* 1 FETCH (FLAGS (\\Seen))", "* 1 FETCH (FLAGS (\\Recent \\Seen))"),
        ("* 1 FETCH (FLAGS (\\Seen))", "* 2 FETCH (FLAGS (\\Seen))"),
        ("* 1 FETCH (UID 1)", "* 1 FETCH (FLAGS () UID 1)"),
        ("* 1 FETCH (UID 1 <*>)", "* 1 FETCH (FLAGS () RFC822.SIZE 4)"),
        ("* 1 FETCH (FLAGS ($A))", "* 1 FETCH (FLAGS ($a))"),
        ("* 1 FETCH (BODY[TEXT] \"a\")", "* 1 FETCH (BODY[TEXT] NIL)"),
        ("* 1 FETCH (BODY[TEXT] NIL)", "* 1 FETCH (BODY[TEXT] \"NIL\")"),
        ("* 1 FETCH (BODY[]<0> \"a\")", "* 1 FETCH (BODY[] \"a\")"),
        ("* STATUS box (MESSAGES 1)", "* STATUS BOX (MESSAGES 1)"),
        ("* STATUS box (MESSAGES 1)", "* STATUS box (MESSAGES 1 UIDNEXT 2)"),
        ("* LIST () \"/\" box", "* LIST (\\Marked) \"/\" box"),
        ("* LIST () \"/\" box", "* LSUB () \"/\" box"),
        ("* SEARCH 1 2", "* SEARCH 1 2 3"),
        ("* SEARCH", "* SEARCH 1"),
    ] {
        assert_eq!(check(pattern, line), Ok(false), "{pattern} against {line}");
    }
}

#[test]
fn what_is_not_imap_is_an_error_whatever_was_expected() {
    for line in ["* OK [ALERT]", "t1 OK", "+", "* 1 FETCH (FLAGS (a)", "* LIST  () NIL a", "", "hello"] {
        assert!(check("OK", line).is_err(), "{line:?}");
    }
}

#[test]
fn a_capture_must_be_the_same_after() {
    let mut captures = Captures::new();
    let mut told = |pattern: &str, line: &str| {
        let pattern = Pattern::read(pattern, Path::new(".")).expect("a pattern");
        pattern.matches(line.as_bytes(), None, &mut captures).expect("well-formed")
    };
    assert!(told("* <n> EXISTS", "* 5 EXISTS"));
    assert!(!told("* <n> EXPUNGE", "* 4 EXPUNGE"));
    assert!(told("* <n> EXPUNGE", "* 5 EXPUNGE"));
    // A line that does not match captures nothing.
    assert!(!told("* <x> FETCH (UID <y> FLAGS ())", "* 7 FETCH (UID 3 FLAGS (a))"));
    assert!(told("* <x> FETCH (UID <y>)", "* 8 FETCH (UID 4)"));
}

#[test]
fn names_and_other_things_between_angle_brackets() {
    assert_eq!(pieces("<a1>:<*>"), [Piece::Capture("a1".into()), Piece::Exactly(":".into()), Piece::Anything]);
    assert_eq!(pieces("BODY[]<0.5>"), [Piece::Exactly("BODY[]<0.5>".into())]);
    assert_eq!(pieces("<x@y> <Z>"), [Piece::Exactly("<x@y> <Z>".into())]);
}

#[test]
fn what_must_come_exactly() {
    let check = |pattern: &str, line: &str| {
        Pattern::exactly(pattern).and_then(|pattern| pattern.matches(line.as_bytes(), None, &mut Captures::new()))
    };
    assert_eq!(check("* 1 FETCH (UID <u> FLAGS (<*>))", "* 1 FETCH (UID 4 FLAGS (\\Seen))"), Ok(true));
    assert_eq!(check("* 1 FETCH (FLAGS () UID 4)", "* 1 FETCH (UID 4 FLAGS ())"), Ok(false));
    assert_eq!(check("* LIST (\\\\Noselect) \"/\" \"\"", "* LIST (\\Noselect) \"/\" \"\""), Ok(true));
    assert_eq!(check("* OK x", "* OK  x"), Ok(false));
    assert!(Pattern::exactly("OK").is_err());
}

#[test]
fn escapes_and_repetitions() {
    assert_eq!(unescape("a\\r\\n\\x41\\\\").as_deref(), Ok(&b"a\r\nA\\"[..]));
    assert_eq!(unescape("x\\{3|ab\\t}y").as_deref(), Ok(&b"xab\tab\tab\ty"[..]));
    for bad in ["\\q", "\\x4", "\\{3}", "\\{x|a}", "\\{3|a"] {
        assert!(unescape(bad).is_err(), "{bad}");
    }
}

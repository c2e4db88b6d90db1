//! A reader of answers as a client would be one, and stricter: what we write must come back as the tree it was meant
//! to be, with single spaces, balanced lists and literals as long as they say.

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// An atom, a number, NIL; a section or a code with its brackets and all they hold.
    Word(String),
    /// A quoted string or a literal.
    Text(Vec<u8>),
    /// `~{n}`
    Binary(Vec<u8>),
    List(Vec<Item>),
}

pub(super) fn word(word: impl ToString) -> Item {
    Item::Word(word.to_string())
}

pub(super) fn quoted(text: &str) -> Item {
    Item::Text(text.as_bytes().to_vec())
}

/// Reads one whole answer with its line end, behind the `* `.
pub(super) fn read(answer: &[u8]) -> Vec<Item> {
    let line = answer.strip_prefix(b"* ").expect("untagged");
    let (rest, items) = row(line);
    assert_eq!(rest, b"\r\n", "{}", String::from_utf8_lossy(answer));
    items
}

/// Items with a space between them, or lists without one.
fn row(mut i: &[u8]) -> (&[u8], Vec<Item>) {
    let mut items = Vec::new();
    loop {
        let (rest, item) = item(i);
        items.push(item);
        i = match rest {
            [b' ', after @ ..] => after,
            [b'(', ..] if matches!(items.last(), Some(Item::List(_))) => rest,
            _ => return (rest, items),
        };
    }
}

fn item(i: &[u8]) -> (&[u8], Item) {
    match i {
        [b'(', b')', rest @ ..] => (rest, Item::List(Vec::new())),
        [b'(', rest @ ..] => {
            let (rest, items) = row(rest);
            (rest.strip_prefix(b")").expect("a list's end"), Item::List(items))
        }
        [b'"', rest @ ..] => {
            let (mut text, mut rest) = (Vec::new(), rest);
            loop {
                match rest {
                    [b'"', after @ ..] => return (after, Item::Text(text)),
                    [b'\\', b @ (b'"' | b'\\'), after @ ..] | [b @ (0x20..=0x7e | 0x80..), after @ ..] => {
                        assert!(*b != b'\\' || rest[0] == b'\\' && rest.len() > after.len() + 1, "a lone backslash");
                        text.push(*b);
                        rest = after;
                    }
                    _ => panic!("a string's end in {}", String::from_utf8_lossy(i)),
                }
            }
        }
        [b'{', rest @ ..] => literal(rest, Item::Text),
        [b'~', b'{', rest @ ..] => literal(rest, Item::Binary),
        _ => word_at(i),
    }
}

fn literal(i: &[u8], item: fn(Vec<u8>) -> Item) -> (&[u8], Item) {
    let digits = i.iter().take_while(|b| b.is_ascii_digit()).count();
    let octets: usize = std::str::from_utf8(&i[..digits]).expect("ASCII").parse().expect("a size");
    let rest = i[digits..].strip_prefix(b"}\r\n").expect("a literal's head");
    (&rest[octets..], item(rest[..octets].to_vec()))
}

fn word_at(i: &[u8]) -> (&[u8], Item) {
    let (mut brackets, mut end) = (0, 0);
    for (at, b) in i.iter().enumerate() {
        match b {
            b'[' => brackets += 1,
            b']' => brackets -= 1,
            b' ' | b'(' | b')' if brackets == 0 => break,
            b'\r' | b'\n' => break,
            _ => {}
        }
        end = at + 1;
    }
    assert!(end > 0, "an item in {}", String::from_utf8_lossy(i));
    (&i[end..], Item::Word(String::from_utf8(i[..end].to_vec()).expect("UTF-8")))
}

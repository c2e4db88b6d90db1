//! Files and answers of other mail systems: whatever is in them, reading comes to its end in time in proportion to their
//! size, makes little more of it than was there, and what is written out is read back the same.

use pillarbox::transfer::crlf::{ToNetwork, ToUnix};
use pillarbox::transfer::imap::answer;
use pillarbox::transfer::maildir::lists::{self, Extra, UidList};
use pillarbox::transfer::mbox::headers;
use pillarbox::transfer::mbox::reader::{Quoting, Reader};
use std::convert::Infallible;
use std::io::Cursor;

pub fn check(input: &[u8]) {
    for quoting in [Quoting::Rd, Quoting::O, Quoting::None] {
        super::in_linear_time(input.len(), || mbox(input, quoting));
    }
    super::in_linear_time(input.len(), || beside_mail(input));
    super::in_linear_time(input.len(), || answers(input));
    line_ends(input);
}

/// Messages lie one behind the other, and none is larger than its place with a CR for each line end.
fn mbox(input: &[u8], quoting: Quoting) {
    let mut reader = Reader::new(Cursor::new(input), quoting);
    let mut last = 0;
    loop {
        let mut octets = 0;
        let found = reader.next(|piece| {
            octets += piece.len() as u64;
            Ok::<(), Infallible>(())
        });
        let Ok(Some(found)) = found else { return };
        assert!(found.from >= last && found.to > found.from, "{found:?}");
        assert!(found.to <= input.len() as u64, "{found:?}");
        assert!(octets <= 2 * (found.to - found.from), "{octets} octets of {found:?}");
        last = found.to;
    }
}

fn beside_mail(input: &[u8]) {
    let mut lines = input.split(|octet| *octet == b'\n');
    if let Some(mut list) = lines.next().and_then(UidList::read_head) {
        assert!(list.uid_validity > 0);
        for (uid, base) in lines.filter_map(lists::listed) {
            list.note(uid);
            assert!(uid > 0 && (uid < list.uid_next || uid == u32::MAX) && !base.is_empty());
        }
    }
    let (keywords, _) = lists::keywords(input);
    assert!(keywords.len() <= lists::LETTERS);
    let (base, letters) = lists::split(input);
    assert!(base.len() + letters.len() <= input.len());
    let (flags, _) = lists::flags(letters, &keywords);
    let mut table = Vec::new();
    let (written, without) = lists::letters(&flags, &mut table);
    let known: Vec<_> = table.into_iter().map(Some).collect();
    let (mut back, unknown) = lists::flags(written.as_bytes(), &known);
    assert!(unknown.is_empty());
    without.into_iter().map(pillarbox::types::Flag::Keyword).for_each(|flag| back.insert(flag));
    assert_eq!(back, flags, "flags and their letters");
    assert!(lists::subscriptions(input).iter().flatten().flatten().count() <= input.len());
    for (base, extra) in input.split(|octet| *octet == b'\n').filter_map(Extra::read_line) {
        let line = extra.write(std::str::from_utf8(&base).expect("lines of text"));
        assert_eq!(Extra::read_line(line.trim_end_matches('\n').as_bytes()), Some((base, extra)));
    }
    if let Some(Some(date)) = headers::from_line(input) {
        let day = headers::from_line(headers::write_from(date).as_bytes()).flatten();
        assert_eq!(day.map(|day| day.unix_seconds), Some(date.unix_seconds));
    }
}

fn answers(input: &[u8]) {
    let mut tokens = Vec::new();
    let _ = answer::tokens(input, &mut tokens);
    let octets: usize = tokens.iter().filter_map(|token| token.octets()).map(<[u8]>::len).sum();
    assert!(octets <= input.len(), "tokens are made of what was there");
    let _ = (answer::listed(&tokens), answer::fetched(&tokens), answer::is_body(&tokens));
    let _: Option<u32> = answer::code(input, "UIDVALIDITY");
}

/// Line ends go out and come back, in any pieces.
fn line_ends(input: &[u8]) {
    let (mut ends, mut unix) = (ToUnix::default(), Vec::new());
    for piece in super::pieces(input, 7) {
        if ends.feed(piece, &mut unix).is_err() {
            return;
        }
    }
    ends.finish(&mut unix);
    let (mut ends, mut network) = (ToNetwork::default(), Vec::new());
    super::pieces(&unix, 5).into_iter().for_each(|piece| ends.feed(piece, &mut network));
    if ends.nuls() == 0 {
        assert_eq!(network, input);
    }
}

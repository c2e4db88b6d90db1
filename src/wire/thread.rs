//! THREAD: its arguments, and the line that answers it. What it shares with SEARCH is in `search.rs`.

use super::dialect::Dialect;
use super::garbled::{Parsed, fail};
use super::lexical::{space, word};
use super::search::criteria;
use super::write;
use crate::types::{Body, Thread, ThreadAlgorithm, ThreadNode};

/// thread = "THREAD" SP thread-alg SP charset 1*(SP search-key) (RFC 5256 §5)
pub(super) fn command(i: &[u8], dialect: Dialect, uid: bool) -> Parsed<'_, Body> {
    let (i, ()) = space(i)?;
    let (i, algorithm) = algorithm(i)?;
    let (i, ()) = space(i)?;
    let (i, (charset, key)) = criteria(i, dialect)?;
    Ok((i, Body::Thread(Thread { uid, algorithm, charset, key })))
}

/// thread-alg = "ORDEREDSUBJECT" / "REFERENCES" / thread-alg-ext
fn algorithm(i: &[u8]) -> Parsed<'_, ThreadAlgorithm> {
    let (rest, name) = word(i)?;
    match ThreadAlgorithm::ALL.into_iter().find(|known| name.eq_ignore_ascii_case(known.wire().as_bytes())) {
        Some(algorithm) => Ok((rest, algorithm)),
        None => fail(i, "ORDEREDSUBJECT, REFERENCES or REFS"),
    }
}

/// `* THREAD (1)(2 3 (4)(5))`, and sent when there are no threads too (RFC 5256 §4).
///
/// A message that is not there shows only where it holds several replies together: `((3)(5))`. One below which
/// nothing is left is not written. Neither the depth of the forest nor its width costs any stack.
pub fn write_line(out: &mut Vec<u8>, forest: &[ThreadNode]) {
    out.extend_from_slice(b"* THREAD");
    let places = places(forest);
    // For each level that is open: whether it began with a parenthesis.
    let mut open: Vec<bool> = Vec::new();
    for (node, place) in forest.iter().zip(&places).filter(|(_, place)| place.is_shown) {
        close(out, &mut open, place.depth as usize);
        // thread-members = nz-number *(SP nz-number) [SP thread-nested]; thread-nested = 2*thread-list
        let begins_list = place.parent.is_none_or(|parent| places[parent as usize].replies > 1);
        if out.last().is_some_and(u8::is_ascii_alphanumeric) {
            out.push(b' ');
        }
        if begins_list {
            out.push(b'(');
        }
        if let Some(number) = node.number {
            write::number(out, number);
        }
        open.push(begins_list);
    }
    close(out, &mut open, 0);
    write::end(out);
}

/// Ends what is open below `depth`.
fn close(out: &mut Vec<u8>, open: &mut Vec<bool>, depth: usize) {
    while open.len() > depth {
        if open.pop() == Some(true) {
            out.push(b')');
        }
    }
}

/// What has to be known of a node before it is written. Small, as a large mailbox has a million of them.
struct Place {
    depth: u32,
    parent: Option<u32>,
    /// It is a message, or there is one below it.
    is_shown: bool,
    /// How many of its replies are shown.
    replies: u32,
}

fn places(forest: &[ThreadNode]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(forest.len());
    let mut path: Vec<u32> = Vec::new();
    for (node, at) in forest.iter().zip(0..) {
        path.truncate(node.depth as usize);
        let (depth, parent) = (path.len() as u32, path.last().copied());
        places.push(Place { depth, parent, is_shown: node.number.is_some(), replies: 0 });
        path.push(at);
    }
    // Replies stand behind what they answer, so one pass from the end knows them all.
    for at in (0..places.len()).rev() {
        if let Some(parent) = places[at].parent.filter(|_| places[at].is_shown) {
            let parent = &mut places[parent as usize];
            parent.is_shown = true;
            parent.replies += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;
    use proptest::prelude::*;

    fn line(forest: &[(u32, u32)]) -> String {
        let node =
            |(depth, number): &(u32, u32)| ThreadNode { depth: *depth, number: (*number > 0).then_some(*number) };
        let mut out = Vec::new();
        write_line(&mut out, &forest.iter().map(node).collect::<Vec<_>>());
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn commands() {
        let thread = |arguments: &str| match parse(format!("a {arguments}").as_bytes()).map(|c| c.body) {
            Ok(Body::Thread(thread)) => Ok((thread.uid, thread.algorithm, thread.charset)),
            Ok(other) => panic!("{arguments}: {other:?}"),
            Err(garbled) => Err(garbled.to_string()),
        };
        use ThreadAlgorithm::{OrderedSubject, References, Refs};
        assert_eq!(thread("THREAD ORDEREDSUBJECT UTF-8 ALL"), Ok((false, OrderedSubject, "UTF-8".into())));
        assert_eq!(thread("uid thread references us-ascii 1:5 SEEN"), Ok((true, References, "us-ascii".into())));
        assert_eq!(thread("UID THREAD Refs \"UTF-8\" UID $"), Ok((true, Refs, "UTF-8".into())));
        let bad = [
            ("THREAD", "expected a space at octet 9"),
            ("THREAD FROB UTF-8 ALL", "expected ORDEREDSUBJECT, REFERENCES or REFS at octet 10"),
            ("THREAD REFERENCES", "expected a space at octet 20"),
            ("THREAD REFERENCES UTF-8", "expected a space at octet 26"),
            ("THREAD REFERENCES  UTF-8 ALL", "expected a single space at octet 21"),
            ("THREAD (REFERENCES) UTF-8 ALL", "expected ORDEREDSUBJECT, REFERENCES or REFS at octet 10"),
            ("THREAD RETURN () REFERENCES UTF-8 ALL", "expected ORDEREDSUBJECT, REFERENCES or REFS at octet 10"),
        ];
        for (arguments, expected) in bad {
            assert_eq!(thread(arguments), Err(expected.to_owned()), "{arguments}");
        }
    }

    #[test]
    fn threads_as_the_document_shows_them() {
        assert_eq!(line(&[]), "* THREAD\r\n");
        let forest = [(0, 2), (0, 3), (1, 6), (2, 4), (3, 23), (2, 44), (3, 7), (4, 96)];
        assert_eq!(line(&forest), "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n");
        assert_eq!(line(&[(0, 0), (1, 3), (1, 5)]), "* THREAD ((3)(5))\r\n");
        assert_eq!(line(&[(0, 0), (1, 185), (2, 186), (1, 187)]), "* THREAD ((185 186)(187))\r\n");
    }

    #[test]
    fn messages_that_are_not_there() {
        assert_eq!(line(&[(0, 0), (1, 3)]), "* THREAD (3)\r\n");
        assert_eq!(line(&[(0, 0), (1, 0), (0, 0)]), "* THREAD\r\n");
        assert_eq!(line(&[(0, 1), (1, 0), (2, 3), (2, 4), (1, 0)]), "* THREAD (1 (3)(4))\r\n");
        assert_eq!(line(&[(0, 1), (1, 2), (1, 0), (2, 3), (2, 4)]), "* THREAD (1 (2)((3)(4)))\r\n");
        // A depth that leaves out a level counts as the next one.
        assert_eq!(line(&[(7, 1), (9, 2)]), "* THREAD (1 2)\r\n");
    }

    #[test]
    fn a_long_chain_and_a_deep_comb_need_no_stack() {
        let chain: Vec<_> = (0..100_000).map(|n| (n, n + 1)).collect();
        assert_eq!(
            line(&chain).len(),
            "* THREAD ()\r\n".len() + chain.iter().map(|(_, n)| n.to_string().len() + 1).sum::<usize>() - 1
        );
        let comb: Vec<_> = (0..100_000).flat_map(|n| [(n, n + 1), (n + 1, 100_001 + n)]).collect();
        let comb = line(&comb);
        assert!(comb.starts_with("* THREAD (1 (100001)(2 (100002)(3 "), "{}", &comb[..60]);
        assert_eq!(comb.matches('(').count(), comb.matches(')').count());
    }

    proptest! {
        #[test]
        fn what_is_written_is_balanced_and_names_every_message_once(depths in proptest::collection::vec((0u32..5, any::<bool>()), 0..40)) {
            let forest: Vec<_> = depths.iter().zip(1..).map(|((depth, is_there), n)| (*depth, if *is_there { n } else { 0 })).collect();
            let line = line(&forest);
            let numbers: Vec<u32> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
            let expected: Vec<u32> = forest.iter().map(|(_, n)| *n).filter(|n| *n > 0).collect();
            prop_assert_eq!(numbers, expected);
            prop_assert_eq!(line.matches('(').count(), line.matches(')').count());
            for wrong in ["()", "( ", " )", "  ", ") "] {
                prop_assert!(!line.contains(wrong), "{}", line);
            }
        }
    }
}

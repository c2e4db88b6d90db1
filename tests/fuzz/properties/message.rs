//! Describing a message: nothing in it does harm, every part lies inside, the description does not depend on the pieces
//! in which the message came, and what is sent to clients is well-formed.

use super::addresses::envelope_is_well_formed;
use crate::tokens;
use pillarbox::message::{
    Letters, Located, PREVIEW_CHARACTERS, Part, PartTable, REFERENCES, Retelling, Scanner, SectionText,
    body_without_extensions, describe, filter_header, locate, readable_text, with_decoded_parameters,
};

pub fn check(message: &[u8]) {
    let description = super::in_linear_time(message.len(), || describe(message));
    for pieces in [message.chunks(1).collect(), super::pieces(message, 100)] {
        let mut scanner = Scanner::new();
        pieces.iter().for_each(|piece| scanner.feed(piece));
        assert_eq!(scanner.finish(), description, "in {} pieces", pieces.len());
    }
    assert_eq!(description.size, message.len() as u64);
    assert_eq!(description.has_nul, message.contains(&0));
    let characters = description.preview.as_ref().map_or(0, |preview| preview.chars().count());
    assert!(characters <= PREVIEW_CHARACTERS, "a preview of {characters}");
    assert!(description.references.len() <= REFERENCES + 2);

    assert!(description.envelope.is_ascii() && description.bodystructure.is_ascii());
    let mut scanner = Scanner::with_letters(Letters::Utf8);
    scanner.feed(message);
    let for_utf8 = scanner.finish();
    for description in [&description, &for_utf8] {
        envelope_is_well_formed(&description.envelope);
        structure_is_well_formed(&description.bodystructure);
    }
    let table = PartTable::decode(&description.parts).expect("our own table");
    assert_eq!((table.top().header.start, table.top().body.end), (0, message.len() as u64));
    assert_eq!(table.message_octets(), message.len() as u64);
    for (path, part) in table.iter() {
        look_at(message, &table, &path, part);
    }
    if let Some(retelling) = Retelling::of(&table) {
        let mut told = Vec::new();
        retelling.begin(0).feed(message, &mut told);
        assert_eq!(told.len() as u64, description.size + description.growth);
        let again = describe(&told);
        assert_eq!(again.bodystructure, description.bodystructure, "what is told is not what is described");
    }
}

/// Everything FETCH can ask of one part.
fn look_at(message: &[u8], table: &PartTable, path: &[u32], part: &Part) {
    assert!(part.header.start <= part.header.end && part.body.start <= part.body.end, "{path:?} {part:?}");
    assert!(part.header.end <= part.body.start && part.body.end <= message.len() as u64, "{path:?} {part:?}");
    assert_eq!(table.find(path), Some(part), "{path:?}");
    use SectionText::{Header, HeaderFields, Mime, Text, Whole};
    for text in [Whole, Header, HeaderFields, Text, Mime] {
        let Some(Located::Octets(range) | Located::HeaderBlock(range)) = locate(table, path, text) else { continue };
        let octets = &message[range.start as usize..range.end as usize];
        if text == HeaderFields {
            let kept =
                filter_header(octets, &["from", "x"], false).len() + filter_header(octets, &["from", "x"], true).len();
            // Each of the two answers ends with a blank line of its own.
            assert!(kept <= octets.len() + 4, "{path:?}: {kept} of {} octets", octets.len());
        }
    }
    if part.kind.is_text() {
        let body = &message[part.body.start as usize..part.body.end as usize];
        super::in_linear_time(body.len(), || readable_text(part, body));
    }
}

fn structure_is_well_formed(structure: &[u8]) {
    let shown = || String::from_utf8_lossy(structure).into_owned();
    let tokens = tokens::cut(structure).unwrap_or_else(|error| panic!("BODYSTRUCTURE: {error}"));
    assert!(matches!(&tokens[..], [tokens::Token::List(_)]), "BODYSTRUCTURE {}", shown());
    let short = body_without_extensions(structure).unwrap_or_else(|| panic!("no BODY of {}", shown()));
    tokens::cut(&short).unwrap_or_else(|error| panic!("BODY: {error}"));
    if let Some(decoded) = with_decoded_parameters(structure) {
        tokens::cut(&decoded).unwrap_or_else(|error| panic!("BODYSTRUCTURE, decoded: {error}"));
        assert!(body_without_extensions(&decoded).is_some(), "no BODY of {}", decoded.escape_ascii());
    }
}

//! Header text: charsets, encoded words, folding, base subjects, message ids.

use pillarbox::message::{
    base_subject, decode_charset, decode_header_value, fields, filter_header, message_ids, unfold,
};

/// RFC 5256 does not bound it; our own bound is on what is kept.
const BASE_SUBJECT_OCTETS: usize = 4096;

pub fn check(input: &[u8]) {
    let line = super::in_linear_time(input.len(), || unfold(input));
    assert!(!line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "not unfolded");
    let text = super::in_linear_time(input.len(), || decode_header_value(input));
    // Every octet can become a replacement character at most, and a stateful charset writes no more than that.
    assert!(text.len() <= 4 * input.len() + 4, "{} octets of {}", text.len(), input.len());
    let subject = super::in_linear_time(input.len(), || base_subject(input));
    assert!(subject.text.len() <= BASE_SUBJECT_OCTETS, "a base subject of {}", subject.text.len());
    let ids = super::in_linear_time(input.len(), || message_ids(input).map(|id| id.len()).sum::<usize>());
    assert!(ids <= input.len(), "ids of {ids} octets in {}", input.len());

    // Up to the first line end: a charset's name; behind it: text in it.
    if let Some(at) = input.iter().position(|b| *b == b'\n') {
        let (name, octets) = (&input[..at], &input[at + 1..]);
        super::in_linear_time(octets.len(), || decode_charset(name, octets));
        let block: Vec<&[u8]> = super::in_linear_time(input.len(), || fields(input).map(|field| field.whole).collect());
        assert!(input.starts_with(&block.concat()), "fields that do not stand there");
        let (with, without) = (filter_header(input, &[name], false), filter_header(input, &[name], true));
        assert!(with.len() + without.len() <= input.len() + 4, "more than there is");
    }
}

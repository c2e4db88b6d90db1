//! LIST's patterns against a matcher that is slow and plain: reference, pattern and name stand on a line each.

use icu_normalizer::ComposingNormalizerBorrowed;
use pillarbox::types::Pattern;

/// The plain matcher takes time in proportion to the product of both lengths.
const OCTETS: usize = 300;

pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n');
    let (reference, pattern, name) =
        (lines.next().unwrap_or(""), lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    // Names are kept composed (RFC 9051 §5.1), and a pattern is taken as if it were written so.
    let composed = |text| ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let name = &*composed(name);
    let matches = super::in_linear_time(input.len(), || Pattern::new(reference, pattern).matches(name));
    let (reference, pattern) = (&*composed(reference), &*composed(pattern));
    if pattern.is_empty() || reference.len() + pattern.len() > OCTETS || name.len() > OCTETS {
        return;
    }
    assert_eq!(matches, plainly(reference, pattern, name), "{reference:?} {pattern:?} {name:?}");
}

/// RFC 3501 §6.3.8: `*` is anything, `%` anything but the separator; wildcards in the reference are plain text.
fn plainly(reference: &str, pattern: &str, name: &str) -> bool {
    let caseless = if name == "INBOX" || name.starts_with("INBOX/") { 5 } else { 0 };
    let name = name.as_bytes();
    // fits[i]: what was read of the pattern fits the first i octets of the name.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    let plain = reference.bytes().map(|b| (b, false));
    for (b, is_wild) in plain.chain(pattern.bytes().map(|b| (b, b == b'*' || b == b'%'))) {
        let before = fits;
        fits = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            fits[at] = match is_wild {
                true => before[at] || at > 0 && fits[at - 1] && (b == b'*' || name[at - 1] != b'/'),
                false => {
                    at > 0
                        && before[at - 1]
                        && (b == name[at - 1] || at <= caseless && b.eq_ignore_ascii_case(&name[at - 1]))
                }
            };
        }
    }
    fits[name.len()]
}

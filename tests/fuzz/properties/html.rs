//! Text out of HTML: within its limit, on one line with single spaces, and the shorter one a beginning of the longer.

use pillarbox::message::html_to_text;

pub fn check(input: &[u8]) {
    let html = String::from_utf8_lossy(input);
    let whole = super::in_linear_time(html.len(), || html_to_text(&html, usize::MAX));
    assert!(!whole.contains("  ") && !whole.starts_with(' '), "{whole:?}");
    for limit in [0, 1, 10, 200] {
        let short = html_to_text(&html, limit);
        assert!(short.chars().count() <= limit, "{} characters of {limit}", short.chars().count());
        assert!(whole.starts_with(short.trim_end()), "{short:?} does not begin {whole:?}");
    }
}

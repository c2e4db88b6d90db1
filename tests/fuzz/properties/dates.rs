//! Dates: of a Date field, which may be anything, and as IMAP writes them, which are strict.

use pillarbox::message::parse_date;
use pillarbox::types::{AppendItem, Body, DateTime, SearchKey};
use pillarbox::wire::date::write_date_time;
use pillarbox::wire::{AppendParser, Dialect, Ending, parse};

pub fn check(input: &[u8]) {
    if let Some(date) = super::in_linear_time(input.len(), || parse_date(input)) {
        assert!((-1439..=1439).contains(&date.zone_minutes), "{date:?}");
        // Years 0 to 9999 and a day for the zone.
        assert!((-62_167_219_200 - 86_400..=253_402_300_800 + 86_400).contains(&date.utc_secs), "{date:?}");
    }
    let line = [b"a SEARCH SENTON ", input].concat();
    if let Ok(Body::Search(search)) = parse(&line).map(|command| command.body)
        && let SearchKey::On(_, date) = search.key
    {
        assert!((1..=31).contains(&date.day()) && (1..=12).contains(&date.month()), "{date:?}");
    }
    if let Some(moment) = of_append(input) {
        let mut written = Vec::new();
        write_date_time(&mut written, moment);
        assert_eq!(of_append(&written), Some(moment), "{}", String::from_utf8_lossy(&written));
    }
}

/// What APPEND makes of these octets where its date may stand.
fn of_append(date: &[u8]) -> Option<DateTime> {
    let head = [b"a APPEND b ", date, b" "].concat();
    let piece = AppendParser::new(Dialect::default()).read(&head, Ending::Literal).ok()?;
    piece.items.into_iter().find_map(|item| if let AppendItem::Message(message) = item { message.date } else { None })
}

//! The stored table of parts: any octets are refused or are a table that can be asked everything.

use pillarbox::message::{Located, PARTS, PartTable, SectionText, locate};

pub fn check(input: &[u8]) {
    let Ok(table) = super::in_linear_time(input.len(), || PartTable::decode(input)) else { return };
    assert_eq!(PartTable::decode(&table.encode()).as_ref(), Ok(&table), "written again");
    let mut count = 0;
    for (path, part) in table.iter() {
        count += 1;
        assert_eq!(table.find(&path), Some(part), "{path:?}");
        assert!(part.body.end <= table.message_octets(), "{path:?} {part:?}");
        for text in
            [SectionText::Whole, SectionText::Header, SectionText::HeaderFields, SectionText::Text, SectionText::Mime]
        {
            if let Some(Located::Octets(range) | Located::HeaderBlock(range)) = locate(&table, &path, text) {
                assert!(range.start <= range.end && range.end <= table.message_octets(), "{path:?} {text:?} {range:?}");
            }
        }
    }
    assert!(count <= PARTS);
    // Paths of the input's own making, most of which name nothing.
    let path: Vec<u32> = input.iter().take(6).map(|b| u32::from(*b)).collect();
    (0..path.len()).for_each(|end| {
        table.find(&path[..end]);
        table.inner(&path[..end]);
    });
}

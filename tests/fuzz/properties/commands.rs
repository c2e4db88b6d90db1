//! Commands: whatever a line holds, it is a command or is refused with a place and a reason; what is read is read the
//! same when a client writes it again.

use super::client;
use pillarbox::wire;

pub fn check(line: &[u8]) {
    for dialect in super::DIALECTS {
        match super::in_linear_time(line.len(), || wire::parse_in(line, dialect)) {
            Ok(command) => {
                assert!(!command.tag.is_empty(), "a command without a tag");
                let Some(written) = client::written(&command, dialect) else { continue };
                let shown = String::from_utf8_lossy(&written).into_owned();
                assert_eq!(wire::parse_in(&written, dialect), Ok(command), "written again: {shown}");
            }
            Err(garbled) => {
                assert!((1..=line.len() + 1).contains(&garbled.at), "{garbled}");
                assert!(!garbled.expected.is_empty() && garbled.expected != "something else", "{garbled}");
                if let (Some(told), Some(tag)) = (&garbled.tag, wire::tag_of(line)) {
                    assert_eq!(told, tag);
                }
            }
        }
    }
    wire::is_done(line);
}

//! COMPRESS DEFLATE (RFC 4978). The tagged OK is the last line that is not compressed.

use crate::imap::answer::{Answer, Done, bad, no};
use crate::imap::session::Session;
use crate::types::Code;

pub fn compress(session: &mut Session) -> Answer {
    if session.channel.is_compressed() {
        return Err(no(Code::CompressionActive, "compression is on already"));
    }
    // RFC 4978 §3: the client waits for the answer; what it sent without waiting could not be told apart.
    if session.channel.framer.buffered() > 0 {
        return Err(bad("nothing may be sent behind COMPRESS before it is answered"));
    }
    session.begins_compression = true;
    Ok(Done { code: None, text: "Compression begins now".into() })
}

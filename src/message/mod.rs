//! What a stored message is: its structure, envelope, sections, preview and sort keys.
//! [`Scanner`] reads a message once, in pieces, and gives a [`Description`] that is stored beside it, so that FETCH,
//! SORT and THREAD never parse. Everything here is bounded: memory by constants, time by the message's length,
//! the stack by having no recursion. Nothing fails: any octets are some message.

mod address;
mod bodystructure;
mod date;
mod envelope;
mod header;
mod html;
mod media;
mod parameters;
mod parts;
mod preview;
mod retelling;
mod scanner;
mod section;
mod sortkeys;
mod strings;
mod subject;
mod text;
mod transfer;
mod tree;
mod words;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod grammar;
#[cfg(test)]
mod hostile;

#[cfg(test)]
pub(crate) use corpus::{corpus_folder, each_real_message};
#[cfg(test)]
pub(crate) use hostile::processor_time;

pub use bodystructure::{body_without_extensions, with_decoded_parameters};
pub use date::{SentDate, parse_date};
pub use envelope::envelope;
pub use header::{Field, Fields, fields, filter_header};
pub use html::html_to_text;
pub use parts::{BadPartTable, DEPTH, MediaKind, PARTS, Part, PartTable};
pub use preview::PREVIEW_CHARACTERS;
pub use retelling::{Reteller, Retelling, Source};
pub use scanner::Scanner;
pub use section::{Located, SectionText, locate};
pub use sortkeys::{REFERENCES, Reference, ReferenceRole, SortKeys, message_ids, reference_hash};
pub use strings::Letters;
pub use subject::{BaseSubject, base_subject};
pub use text::{decode_text, readable_text};
pub use transfer::{BadEncoding, Care, Encoding, TransferDecoder, decode_tolerantly};
pub use words::{decode_charset, decode_header_value, unfold};

/// The version of what [`Scanner`] writes. It is stored with each description: one made by an older version, with
/// a fault since mended, is made again from the message.
pub const DESCRIPTION_VERSION: u32 = 1;

/// All that is kept about a message so that it need not be parsed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// ENVELOPE as wire bytes; literals may stand inside (RFC 3501 §7.4.2).
    pub envelope: Vec<u8>,
    /// BODYSTRUCTURE as wire bytes with all extension data. BODY is made from it by [`body_without_extensions`].
    pub bodystructure: Vec<u8>,
    /// The parts, for [`PartTable::decode`].
    pub parts: Vec<u8>,
    pub sort: SortKeys,
    /// The message's own id, those of References in order, the first of In-Reply-To; at most [`REFERENCES`] + 2.
    pub references: Vec<Reference>,
    /// Up to [`PREVIEW_CHARACTERS`] characters (RFC 8970); `None` when the message has no text to show.
    pub preview: Option<String>,
    /// Octets of the message.
    pub size: u64,
    /// What clients are told of it more than that: binary parts with NUL are told in base64, see [`Retelling`].
    pub growth: u64,
    /// A NUL stands somewhere in the message: RFC 3501 §4.3.1 lets it out in literal8 only.
    pub has_nul: bool,
    /// Some header field, of the message or of a part, has octets above 127. What UTF8=ACCEPT clients are told
    /// of such a message differs from what is stored here (see [`Letters`]).
    pub has_8bit_header: bool,
}

impl Description {
    /// The rows of the store's reference index: each id under its keyed hash, in order, each at most once with
    /// its first role.
    pub fn reference_hashes(&self, key: &[u8; 16]) -> Vec<(u64, ReferenceRole)> {
        let mut seen = std::collections::HashSet::new();
        let hashes = self.references.iter().map(|reference| (reference_hash(key, &reference.id), reference.role));
        hashes.filter(|(hash, _)| seen.insert(*hash)).collect()
    }
}

/// Describes a message that is in memory as a whole.
pub fn describe(message: &[u8]) -> Description {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

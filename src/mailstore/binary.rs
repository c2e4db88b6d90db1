//! Parts without their transfer encoding (RFC 3516): measured and judged in one pass, so that a part that cannot be
//! decoded is refused before the first octet of it is sent.

use std::ops::Range;

use super::error::Result;
use super::pages::{Decoded, IN_PAGE_BYTES, WantedBinary};
use super::reading::Reader;
use super::snapshot::Row;
use super::streams::{DecodedPart, PIECE_BYTES};
use crate::message::{Care, Encoding, PartTable, TransferDecoder};

/// What is found out about a part while it is decoded.
struct Measured {
    /// Decoded octets in all.
    octets: u64,
    /// The wanted ones, unless there are too many for a page.
    held: Vec<u8>,
    has_nul: bool,
}

impl Reader<'_> {
    /// Decodes a part, as far as `wanted`.
    pub fn binary(
        &mut self,
        wanted: &WantedBinary,
        row: &Row,
        parts: &mut Option<PartTable>,
        out: &mut Vec<u8>,
    ) -> Result<Decoded> {
        let (stored, encoding) = match wanted.path.as_slice() {
            [] => (0..u64::from(row.size), Encoding::Binary),
            path => match self.table(row, parts)?.find(path) {
                Some(part) => (part.body.clone(), part.encoding),
                None => return Ok(Decoded::Missing),
            },
        };
        let (skip, most) = wanted.partial.unwrap_or((0, u64::MAX));
        let Some(measured) = self.measure(row, stored.clone(), encoding, skip..skip.saturating_add(most))? else {
            return Ok(Decoded::Undecodable);
        };
        if wanted.is_size_only {
            return Ok(Decoded::Size(measured.octets));
        }
        let octets = measured.octets.saturating_sub(skip).min(most);
        if octets > IN_PAGE_BYTES {
            return Ok(Decoded::Stream(DecodedPart { stored, encoding, skip, octets, has_nul: measured.has_nul }));
        }
        let from = out.len();
        out.extend_from_slice(&measured.held);
        Ok(Decoded::Octets(from..out.len()))
    }

    /// `None`: the octets are not what their encoding says, or it is one that nobody knows.
    fn measure(
        &mut self,
        row: &Row,
        stored: Range<u64>,
        encoding: Encoding,
        wanted: Range<u64>,
    ) -> Result<Option<Measured>> {
        if encoding == Encoding::Unknown {
            return Ok(None);
        }
        let mut decoder = TransferDecoder::new(encoding, Care::Strict);
        let mut measured = Measured { octets: 0, held: Vec::new(), has_nul: false };
        let (mut at, mut piece, mut decoded) = (stored.start, Vec::new(), Vec::new());
        while at < stored.end {
            let to = stored.end.min(at + PIECE_BYTES as u64);
            piece.clear();
            self.read(row, at..to, &mut piece)?;
            if decoder.feed(&piece, &mut decoded).is_err() {
                return Ok(None);
            }
            measured.take_in(&decoded, &wanted);
            decoded.clear();
            at = to;
        }
        if decoder.finish(&mut decoded).is_err() {
            return Ok(None);
        }
        measured.take_in(&decoded, &wanted);
        Ok(Some(measured))
    }
}

impl Measured {
    fn take_in(&mut self, decoded: &[u8], wanted: &Range<u64>) {
        let (start, end) = (self.octets, self.octets + decoded.len() as u64);
        self.octets = end;
        let (from, to) = (wanted.start.max(start), wanted.end.min(end));
        if from >= to {
            return;
        }
        let some = &decoded[(from - start) as usize..(to - start) as usize];
        self.has_nul = self.has_nul || memchr::memchr(0, some).is_some();
        // One octet more than fits shows that it is too much.
        let room = (IN_PAGE_BYTES as usize + 1).saturating_sub(self.held.len());
        self.held.extend_from_slice(&some[..some.len().min(room)]);
    }
}

//! Large bodies on their way to a client: in pieces, outside any transaction, each read for itself, so that a slow
//! client holds nothing.

use std::sync::Arc;

use rusqlite::{Connection, MAIN_DB, OptionalExtension};

use super::account::AccountState;
use super::blobs;
use super::error::{Error, Result};
use super::owner::lock;
use super::view::View;
use crate::message::{Care, Encoding, TransferDecoder};
use crate::metrics::METRICS;
use crate::types::ContentId;

/// A streamed body comes in pieces of this size.
pub const PIECE_BYTES: usize = 256 * 1024;

impl View {
    /// Begins to stream octets of a message's body.
    pub fn stream(&self, content: ContentId, size: u32, offset: u64, octets: u64) -> BodyStream {
        let is_whole = offset == 0 && octets == u64::from(size);
        BodyStream {
            account: self.account().state,
            content,
            at: offset,
            left: octets,
            check: is_whole.then(|| Box::new(blake3::Hasher::new())),
            source: None,
        }
    }

    /// Begins to stream the decoded octets of a part that was found to be decodable (RFC 3516).
    pub fn stream_decoded(&self, content: ContentId, size: u32, part: &DecodedPart) -> DecodedStream {
        let (offset, octets) = (part.stored.start, part.stored.end - part.stored.start);
        DecodedStream {
            stored: self.stream(content, size, offset, octets),
            decoder: Some(TransferDecoder::new(part.encoding, Care::Strict)),
            skip: part.skip,
            left: part.octets,
        }
    }
}

/// A body that comes in pieces. When the whole of it was asked for, the last piece comes only after
/// the hash was found right; until then the caller must not have ended the literal.
pub struct BodyStream {
    account: Arc<AccountState>,
    content: ContentId,
    at: u64,
    left: u64,
    check: Option<Box<blake3::Hasher>>,
    source: Option<([u8; 32], Option<String>)>,
}

impl BodyStream {
    /// The next piece, or `None` at the end. `Corrupt`: the octets are not what was stored.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let (content, at) = (self.content, self.at);
        let octets = self.left.min(PIECE_BYTES as u64) as usize;
        let source = self.source.take();
        let (piece, source) = self
            .account
            .visit(move |conn, account| {
                let source = match source {
                    Some(source) => source,
                    None => source_of(conn, content)?,
                };
                let piece = match &source.1 {
                    Some(file) => blobs::read_piece(&account.dir, file, content, at, octets)?,
                    None => {
                        let blob = conn.blob_open(MAIN_DB, "body", "data", i64::from(content.0), true)?;
                        let mut piece = vec![0; octets];
                        blob.read_at_exact(&mut piece, at as usize).map_err(|_| Error::Corrupt(content))?;
                        piece
                    }
                };
                Ok((piece, source))
            })
            .await
            .inspect_err(|error| note_corruption(&self.account, error))?;
        let is_short = piece.len() < octets;
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        if let Some(hasher) = &mut self.check {
            hasher.update(&piece);
        }
        let is_wrong = self.left == 0 && self.check.as_ref().is_some_and(|h| *h.finalize().as_bytes() != source.0);
        if is_short || is_wrong {
            let error = Error::Corrupt(content);
            note_corruption(&self.account, &error);
            return Err(error);
        }
        self.source = Some(source);
        Ok(Some(piece))
    }
}

pub fn note_corruption(account: &AccountState, error: &Error) {
    if let Error::Corrupt(content) = error {
        METRICS.bodies_corrupt.add(1);
        tracing::error!(account = account.id.0, content = content.0, "a stored body does not match its hash");
        lock(&account.corrupt).insert(*content);
    }
}

pub fn source_of(conn: &Connection, content: ContentId) -> Result<([u8; 32], Option<String>)> {
    conn.prepare_cached("SELECT hash, file FROM content WHERE id = ?")?
        .query_row([content.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(Error::Corrupt(content))
}

/// Where a part lies, how it is encoded, and which of its decoded octets are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedPart {
    pub stored: std::ops::Range<u64>,
    pub encoding: Encoding,
    /// Decoded octets that are passed over.
    pub skip: u64,
    /// Decoded octets that are wanted behind them.
    pub octets: u64,
    /// There is a NUL among them.
    pub has_nul: bool,
}

/// A decoded part that comes in pieces.
pub struct DecodedStream {
    stored: BodyStream,
    decoder: Option<TransferDecoder>,
    skip: u64,
    left: u64,
}

impl DecodedStream {
    /// The next piece, or `None` at the end. `Corrupt`: the octets are not what was measured.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        while self.left > 0 {
            let content = self.stored.content;
            let mut decoded = Vec::new();
            let outcome = match (self.stored.next().await?, &mut self.decoder) {
                (Some(piece), Some(decoder)) => decoder.feed(&piece, &mut decoded),
                (None, decoder) => match decoder.take() {
                    Some(decoder) => decoder.finish(&mut decoded),
                    None => return Err(Error::Corrupt(content)),
                },
                (Some(_), None) => return Err(Error::Corrupt(content)),
            };
            outcome.map_err(|_| Error::Corrupt(content))?;
            let over = usize::try_from(self.skip).unwrap_or(usize::MAX).min(decoded.len());
            self.skip -= over as u64;
            decoded.drain(..over);
            decoded.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= decoded.len() as u64;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
    }
}

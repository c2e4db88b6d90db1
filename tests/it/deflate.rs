//! A client's side of COMPRESS=DEFLATE (RFC 4978). What it sends is flushed only partially, as phones do it: the server
//! has to give out all of a command that ends between two octets of the stream.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::io;

/// Both directions of one connection.
pub struct Deflate {
    compress: Compress,
    decompress: Decompress,
}

impl Deflate {
    pub fn new() -> Deflate {
        // RFC 4978 §3: raw DEFLATE, without the header of zlib.
        Deflate { compress: Compress::new(Compression::default(), false), decompress: Decompress::new(false) }
    }

    /// What is to be sent for these octets.
    pub fn pack(&mut self, octets: &[u8]) -> io::Result<Vec<u8>> {
        let (from, mut packed) = (self.compress.total_in(), Vec::new());
        loop {
            packed.reserve(1024);
            let taken = (self.compress.total_in() - from) as usize;
            self.compress
                .compress_vec(&octets[taken..], &mut packed, FlushCompress::Partial)
                .map_err(io::Error::other)?;
            // Room that is left says that nothing waits inside.
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
        }
    }

    /// All that these octets stand for.
    pub fn unpack(&mut self, octets: &[u8]) -> io::Result<Vec<u8>> {
        let (from, mut plain) = (self.decompress.total_in(), Vec::new());
        loop {
            plain.reserve(16 * 1024);
            let taken = (self.decompress.total_in() - from) as usize;
            self.decompress
                .decompress_vec(&octets[taken..], &mut plain, FlushDecompress::Sync)
                .map_err(io::Error::other)?;
            if plain.len() < plain.capacity() {
                return Ok(plain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again_piece_by_piece() {
        let (mut ours, mut theirs) = (Deflate::new(), Deflate::new());
        for text in [b"a1 NOOP\r\n".to_vec(), b"x".repeat(100_000), (0..=255).cycle().take(70_000).collect()] {
            let packed = ours.pack(&text).expect("packed");
            let halves = packed.split_at(packed.len() / 2);
            let mut plain = theirs.unpack(halves.0).expect("unpacked");
            plain.extend(theirs.unpack(halves.1).expect("unpacked"));
            assert!(plain == text, "{} octets became {}", text.len(), plain.len());
        }
    }
}

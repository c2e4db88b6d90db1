//! Transfer encodings: the same in any pieces, never more than was there, and what is strictly right is read the same
//! with tolerance.

use pillarbox::message::{Care, Encoding, TransferDecoder, decode_tolerantly};

pub fn check(input: &[u8]) {
    for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::EightBit] {
        let whole = super::in_linear_time(input.len(), || decode_tolerantly(encoding, input));
        assert!(whole.len() <= input.len(), "{encoding:?} makes {} of {}", whole.len(), input.len());
        let strict = decode(encoding, Care::Strict, &[input]);
        if let Some(octets) = &strict {
            assert_eq!(octets, &whole, "{encoding:?}");
        }
        for pieces in [input.chunks(1).collect(), super::pieces(input, 30)] {
            assert_eq!(decode(encoding, Care::Tolerant, &pieces).as_ref(), Some(&whole), "{encoding:?}");
            assert_eq!(decode(encoding, Care::Strict, &pieces), strict, "{encoding:?}");
        }
    }
}

fn decode(encoding: Encoding, care: Care, pieces: &[&[u8]]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut decoder = TransferDecoder::new(encoding, care);
    for piece in pieces {
        decoder.feed(piece, &mut out).ok()?;
    }
    decoder.finish(&mut out).ok()?;
    Some(out)
}

//! What must hold for any octets at all, one function for each target; a violation is a panic.
//! The same functions are replayed by `cargo test` (tests/it/fuzz.rs) and driven by libFuzzer (fuzz_targets/).

pub mod addresses;
pub mod append;
pub mod client;
pub mod commands;
pub mod config;
pub mod dates;
pub mod framer;
pub mod html;
pub mod imports;
pub mod message;
pub mod parts;
pub mod patterns;
pub mod sasl;
pub mod transfer;
pub mod url;
pub mod utf7;
pub mod words;

use pillarbox::wire::Dialect;
use std::time::{Duration, Instant};

/// Every way in which a client can be spoken to.
const DIALECTS: [Dialect; 4] = [
    Dialect { utf8: false, rev2: false },
    Dialect { utf8: true, rev2: false },
    Dialect { utf8: false, rev2: true },
    Dialect { utf8: true, rev2: true },
];

/// A property: it takes anything, and returns when it holds.
pub type Property = fn(&[u8]);

/// Every target with its property.
pub const TARGETS: &[(&str, Property)] = &[
    ("addresses", addresses::check),
    ("append", append::check),
    ("commands", commands::check),
    ("config", config::check),
    ("dates", dates::check),
    ("framer", framer::check),
    ("html", html::check),
    ("imports", imports::check),
    ("message", message::check),
    ("parts", parts::check),
    ("patterns", patterns::check),
    ("sasl", sasl::check),
    ("transfer", transfer::check),
    ("url", url::check),
    ("utf7", utf7::check),
    ("words", words::check),
];

/// Shorter inputs are not measured: asking for the time would take longer than most of them.
const SHORT_OCTETS: usize = 256;

/// Runs `work` on an input of so many octets. It may take a moment, and so much for each octet: enough for a debug
/// build with the fuzzer's counters in it, and little enough that time in proportion to the square stands out.
fn in_linear_time<T>(octets: usize, work: impl FnOnce() -> T) -> T {
    let allowed = Duration::from_millis(500) + Duration::from_micros(octets as u64 * 5);
    if octets < SHORT_OCTETS {
        return work();
    }
    let begun = Instant::now();
    let spent = processor_time();
    let result = work();
    // A busy machine may let us wait for a processor; only the time we had one counts.
    if begun.elapsed() > allowed {
        let spent = processor_time().saturating_sub(spent);
        assert!(spent <= allowed, "{spent:?} for {octets} octets");
    }
    result
}

/// Time this thread has had a processor; where nobody counts it, none.
fn processor_time() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = counted.and_then(|line| line.split(' ').next().and_then(|word| word.parse().ok()));
    nanos.map_or(Duration::ZERO, Duration::from_nanos)
}

/// Cuts `octets` into pieces whose sizes follow from their content, so that a find can be played again.
fn pieces(octets: &[u8], largest: usize) -> Vec<&[u8]> {
    let (mut pieces, mut rest, mut state) = (Vec::new(), octets, 0x9e37_79b9_u32 ^ octets.len() as u32);
    while !rest.is_empty() {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453) ^ u32::from(rest[0]);
        let (piece, after) = rest.split_at((1 + (state >> 8) as usize % largest).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

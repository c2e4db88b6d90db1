//! Drives ../properties/words.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("words"),
    |octets: &[u8]| pillarbox::properties::words::check(octets)
);

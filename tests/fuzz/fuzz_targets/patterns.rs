//! Drives ../properties/patterns.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("patterns"),
    |octets: &[u8]| pillarbox::properties::patterns::check(octets)
);

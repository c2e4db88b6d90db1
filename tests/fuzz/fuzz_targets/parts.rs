//! Drives ../properties/parts.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("parts"),
    |octets: &[u8]| pillarbox::properties::parts::check(octets)
);

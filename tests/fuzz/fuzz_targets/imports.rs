//! Drives ../properties/imports.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("imports"),
    |octets: &[u8]| pillarbox::properties::imports::check(octets)
);

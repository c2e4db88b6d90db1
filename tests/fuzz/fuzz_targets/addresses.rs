//! Drives ../properties/addresses.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("addresses"),
    |octets: &[u8]| pillarbox::properties::addresses::check(octets)
);

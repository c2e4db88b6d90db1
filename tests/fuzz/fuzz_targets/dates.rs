//! Drives ../properties/dates.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("dates"),
    |octets: &[u8]| pillarbox::properties::dates::check(octets)
);

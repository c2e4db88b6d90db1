//! Drives ../properties/append.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("append"),
    |octets: &[u8]| pillarbox::properties::append::check(octets)
);

//! Drives ../properties/framer.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("framer"),
    |octets: &[u8]| pillarbox::properties::framer::check(octets)
);

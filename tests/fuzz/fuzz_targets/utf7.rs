//! Drives ../properties/utf7.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("utf7"),
    |octets: &[u8]| pillarbox::properties::utf7::check(octets)
);

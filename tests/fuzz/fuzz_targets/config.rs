//! Drives ../properties/config.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("config"),
    |octets: &[u8]| pillarbox::properties::config::check(octets)
);

//! Drives ../properties/html.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("html"),
    |octets: &[u8]| pillarbox::properties::html::check(octets)
);

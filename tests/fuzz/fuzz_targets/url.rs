//! Drives ../properties/url.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("url"),
    |octets: &[u8]| pillarbox::properties::url::check(octets)
);

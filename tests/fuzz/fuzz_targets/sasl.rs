//! Drives ../properties/sasl.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("sasl"),
    |octets: &[u8]| pillarbox::properties::sasl::check(octets)
);

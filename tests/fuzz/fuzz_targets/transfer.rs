//! Drives ../properties/transfer.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("transfer"),
    |octets: &[u8]| pillarbox::properties::transfer::check(octets)
);

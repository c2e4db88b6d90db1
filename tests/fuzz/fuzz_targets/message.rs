//! Drives ../properties/message.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("message"),
    |octets: &[u8]| pillarbox::properties::message::check(octets)
);

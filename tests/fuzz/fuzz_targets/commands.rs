//! Drives ../properties/commands.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: pillarbox::lay_out("commands"),
    |octets: &[u8]| pillarbox::properties::commands::check(octets)
);

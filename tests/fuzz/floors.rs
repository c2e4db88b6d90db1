//! The rooms of floors 1 and 2 that are plain functions, as a library of their own: fuzzing them needs neither SQLite nor
//! tokio nor TLS, and so builds in a fraction of the time. It bears the name of the whole, so that the properties
//! here and in `cargo test` are the same files.

extern crate self as pillarbox;

#[path = "../../src/auth/mod.rs"]
pub mod auth;
#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/message/mod.rs"]
pub mod message;
#[path = "../../src/types/mod.rs"]
pub mod types;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

/// Of this room what reads the files and answers of others: the rest needs the mail store.
#[path = "."]
pub mod transfer {
    #[path = "../../src/transfer/crlf.rs"]
    pub mod crlf;
    #[path = "."]
    pub mod imap {
        #[path = "../../src/transfer/imap/answer.rs"]
        pub mod answer;
    }
    #[path = "."]
    pub mod maildir {
        #[path = "../../src/transfer/maildir/lists.rs"]
        pub mod lists;
    }
    #[path = "."]
    pub mod mbox {
        #[path = "../../src/transfer/mbox/headers.rs"]
        pub mod headers;
        #[path = "../../src/transfer/mbox/reader.rs"]
        pub mod reader;
    }
}

pub mod properties;
pub mod seeds;
// Only `cut` is needed here.
#[allow(dead_code)]
#[path = "../it/tokens.rs"]
mod tokens;

use std::path::Path;

/// Writes the seeds of a target as files into `corpus/TARGET` beside this file, where libFuzzer reads them.
///
/// # Panics
/// When they cannot be read or written.
pub fn lay_out(target: &str) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = fuzz.join("corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for (at, seed) in seeds::of(target, &fuzz.join("..")).iter().enumerate() {
        let path = folder.join(format!("seed-{at:04}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

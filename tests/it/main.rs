//! The tests of the whole server from outside, in one binary: one link instead of many.
//! `transcripts` plays `tests/transcripts/**/*.imap`, `clients` runs real mail programs, `fuzz` plays seeds and chance
//! through the properties of `tests/fuzz`, `house`, `documents` and `capabilities` read the tree.

mod capabilities;
mod client;
mod clients;
mod documents;
mod fuzz;
mod house;
mod logins;
mod matching;
mod play;
mod script;
mod server;
mod source;
mod tls;
mod tokens;
mod transcripts;

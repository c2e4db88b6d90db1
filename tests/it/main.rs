//! The tests of the whole server from outside, in one binary: one link instead of many.
//! `transcripts` plays `tests/transcripts/**/*.imap`, `clients` runs real mail programs, `house` reads the tree,
//! `lmtp` and `postfix` bring mail in.

mod client;
mod clients;
mod house;
mod lmtp;
mod lmtp_client;
mod matching;
mod play;
mod postfix;
mod script;
mod server;
mod source;
mod tokens;
mod transcripts;

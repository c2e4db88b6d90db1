//! The tests of the whole server from outside, in one binary: one link instead of many.
//! `transcripts` plays `tests/transcripts/**/*.imap`, `clients` runs real mail programs, `house` reads the tree,
//! `trial` does what the README tells a newcomer.

mod client;
mod clients;
mod house;
mod matching;
mod play;
mod script;
mod server;
mod source;
mod tokens;
mod transcripts;
mod trial;

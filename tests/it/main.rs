//! The tests of the whole server from outside, in one binary: one link instead of many.
//! `transcripts` plays `tests/transcripts/**/*.imap`, `clients` runs real mail programs, `lmtp` and `postfix` bring mail
//! in, `fuzz` plays seeds and chance through the properties of `tests/fuzz`, `house`, `documents` and `capabilities` read
//! the tree, `trial` does what the README tells a newcomer, `transfer` moves mail in and
//! out.

mod capabilities;
mod client;
mod clients;
mod documents;
mod fuzz;
mod house;
mod lmtp;
mod lmtp_client;
mod logins;
mod matching;
mod patience;
mod play;
mod postfix;
mod script;
mod server;
mod source;
mod tls;
mod tokens;
mod transcripts;
mod transfer;
mod trial;

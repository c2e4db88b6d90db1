//! The tests of the whole server from outside, in one binary: one link instead of many.
//! `transcripts` plays `tests/transcripts/**/*.imap`, `clients` runs real mail programs, `compress` speaks DEFLATE, `lmtp`
//! and `postfix` bring mail in, `supervised` runs under a service manager, `watching` and `fail2ban` look on, `overflow`
//! makes NOTIFY give up, `renewal` changes certificates, `trial` does what the README tells a newcomer, `transfer` moves
//! mail in and out, `fuzz` plays seeds and chance through the properties of `tests/fuzz`, `house`, `documents` and
//! `capabilities` read the tree.

mod capabilities;
mod client;
mod clients;
mod compress;
mod corpus;
mod deflate;
mod documents;
mod fail2ban;
mod fuzz;
mod house;
mod lmtp;
mod lmtp_client;
mod logins;
mod matching;
mod overflow;
mod patience;
mod play;
mod postfix;
mod renewal;
mod script;
mod server;
#[path = "../durability/socket.rs"]
mod socket;
mod source;
mod supervised;
mod tls;
mod tokens;
mod transcripts;
mod transfer;
mod trial;
mod watching;

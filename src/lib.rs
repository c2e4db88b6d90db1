//! Pillarbox, an IMAP mail server. This page is the table of contents; `docs/architecture.md` is the map.

#![forbid(unsafe_code)]

// Floor 1: plain values.
pub mod clock; // time as a value that is passed in
pub mod metrics; // plain counters the operator can read
pub mod types; // the nouns of IMAP
// Floor 2: pure functions and small tools.
pub mod auth; // password hashes and SASL mechanisms
pub mod config; // the TOML file -> a checked Config
pub mod hub; // who wants to know that something changed
pub mod message; // what a stored message is: structure, envelope, sections
pub mod wire; // bytes <-> types
// Floor 3: questions about messages.
pub mod query; // search matching, SORT, THREAD, collations
// Floor 4: where mail is kept.
pub mod mailstore; // accounts, mailboxes, messages, blobs
// Floor 5: next to the store.
pub mod care; // backup, restore, repair, and advice for the operator
pub mod login; // who are you: look-up, password pool, sessions
pub mod transfer; // mail moves in from elsewhere, and out
// Floor 6: behaviour.
pub mod control; // the socket between a running server and the commands
pub mod imap; // what each command does
pub mod lmtp; // mail comes in
// Floor 7 and 8.
pub mod cli; // the command line
pub mod server; // listeners, TLS, connections, shutdown

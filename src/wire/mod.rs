//! Bytes <-> types, without waiting and without I/O.
//!
//! [`Framer`] cuts what a client sends into command lines and literals; [`parse`] turns one framed command into
//! a [`Command`](crate::types::Command). Each command family has one file that parses its arguments and writes
//! its answers: all writers append to a `Vec<u8>` and cannot fail.

pub mod acl;
mod announcement;
pub mod append;
mod command;
pub mod date;
pub mod dialect;
pub mod esearch;
pub mod fetch;
pub mod framer;
mod garbled;
mod lexical;
pub mod list;
pub mod login;
mod mailbox;
pub mod metadata;
mod notify;
pub mod old;
pub mod quota;
pub mod response;
pub mod search;
mod select;
pub mod sort;
pub mod status;
mod store;
pub mod thread;
pub mod uid_batches;
pub mod url;
pub mod utf7;
pub mod write;

#[cfg(test)]
mod round_trip;

pub use append::{AppendParser, Ending, LiteralUse, Next, literal_use};
pub use command::{is_done, parse, parse_in, tag_of};
pub use dialect::Dialect;
pub use framer::{Announced, Event, Framer, Limits, OverLimit};
pub use garbled::Garbled;

//! The handlers: one file per command family, named as on every other floor.

pub mod any;
pub mod append;
pub mod compose;
pub mod compress;
pub mod copy;
pub mod enable;
pub mod expunge;
pub mod fetch;
pub mod idle;
pub mod list;
pub mod login;
pub mod lsub;
pub mod mailbox;
pub mod notify;
pub mod old;
pub mod quota;
pub mod search;
pub mod select;
pub mod sort;
pub mod status;
pub mod store;
pub mod thread;
pub mod uid_batches;

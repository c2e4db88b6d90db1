//! mailstore

pub mod directory;
pub mod lock;

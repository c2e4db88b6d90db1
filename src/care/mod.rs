//! Taking care of what is stored: backups and their verification, restoring, repair, and the two advisers of an
//! operator, doctor and autoconfig. What is SQL about it lies in the mail store; here are directories, manifests, order
//! of steps, and words for a person. Everything here blocks and runs in the command's own process.

pub mod autoconfig;
pub mod backup;
pub mod doctor;
mod files;
mod manifest;
pub mod moment;
pub mod owner;
pub mod repair;
pub mod restore;
pub mod undelete;
pub mod verify;

#[cfg(test)]
mod autoconfig_tests;
#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod restore_tests;

pub use owner::{AtRest, Owner};

/// Who is told how it goes.
pub trait Watch {
    /// A line for the person who asked.
    fn say(&mut self, line: &str);
    /// How far one long step has come, in octets.
    fn progress(&mut self, what: &str, done: u64, total: u64);
}

/// A count with its noun: "1 message", "2 messages".
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

//! `pillarbox user app-password ...`: a password for each device, made here and shown once.

use clap::Subcommand;

use super::user::{find, open, tell_of_change};
use super::{Failure, Place, say};
use crate::login::credentials;
use crate::types::DateTime;

#[derive(Debug, Subcommand)]
pub(super) enum AppPasswordCommand {
    /// Make a password for one device of a user, and show it once
    Add {
        /// `user` or `user@domain`
        name: String,
        /// What the owner calls the device
        #[arg(long)]
        device: String,
        #[command(flatten)]
        place: Place,
    },
    /// List a user's app passwords: device, when made, when last used
    List {
        /// `user` or `user@domain`
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Take a device's password away
    Remove {
        /// `user` or `user@domain`
        name: String,
        /// What the owner calls the device
        #[arg(long)]
        device: String,
        #[command(flatten)]
        place: Place,
    },
}

pub(super) fn obey(command: AppPasswordCommand) -> Result<(), Failure> {
    match command {
        AppPasswordCommand::Add { name, device, place } => {
            let config = place.load()?;
            let directory = open(&config)?;
            let user = find(&directory, &name, &config)?;
            let made = credentials::make_app_password(&user, &device, config.login.store_scram);
            let (shown, stored) = made.map_err(Failure::of)?;
            directory.add_app_password(&user.name, &stored).map_err(Failure::of)?;
            tell_of_change(&config);
            say(&shown);
            eprintln!("This is the password of {device}; it is not shown again.");
        }
        AppPasswordCommand::List { name, place } => {
            let config = place.load()?;
            let user = find(&open(&config)?, &name, &config)?;
            for one in user.app_passwords {
                let used = one.used.map_or("never used".to_owned(), |at| format!("used {}", shown_time(at)));
                say(&format!("{}\tmade {}\t{used}", one.device, shown_time(one.created)));
            }
        }
        AppPasswordCommand::Remove { name, device, place } => {
            let config = place.load()?;
            let directory = open(&config)?;
            let user = find(&directory, &name, &config)?;
            directory.remove_app_password(&user.name, &device).map_err(Failure::of)?;
            tell_of_change(&config);
            say(&format!("removed the app password of {device}"));
        }
    }
    Ok(())
}

/// A moment as `2026-11-25 21:13 UTC`.
fn shown_time(unix_seconds: i64) -> String {
    let (date, second) = DateTime::utc(unix_seconds).clock();
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{:04}-{:02}-{:02} {hour:02}:{minute:02} UTC", date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        assert_eq!(shown_time(0), "1970-01-01 00:00 UTC");
        assert_eq!(shown_time(1_709_251_199), "2024-02-29 23:59 UTC");
    }
}

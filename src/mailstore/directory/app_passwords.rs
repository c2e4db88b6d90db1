//! Passwords that belong to one device of a user: added, listed and removed one by one, each with its last use.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Directory, DirectoryError, canonical_name, seconds_now, user_row};

/// Most app passwords of one user.
pub const MOST_APP_PASSWORDS: usize = 32;

/// Longest name of a device, in octets.
pub const MOST_DEVICE_OCTETS: usize = 100;

/// One device's password, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct AppPassword {
    /// What its owner calls the device.
    pub device: String,
    /// The first letters of the password: they say which hash to check, and are no secret.
    pub selector: String,
    /// Its Argon2id hash.
    pub hash: String,
    /// Its SCRAM verifier, with salt and count of the user's other ones.
    pub scram: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it was last used; `None`: never.
    pub used: Option<i64>,
}

impl fmt::Debug for AppPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppPassword({:?}, ..)", self.device)
    }
}

impl Directory {
    /// Adds a device's password. `created` and `used` of what is given do not matter.
    pub fn add_app_password(&self, name: &str, password: &AppPassword) -> Result<(), DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        let device = &password.device;
        if device.trim().is_empty() || device.len() > MOST_DEVICE_OCTETS || device.contains(char::is_control) {
            return Err(DirectoryError::BadDevice);
        }
        self.write(|change| {
            user_row(change, &name)?.ok_or_else(|| DirectoryError::Missing(name.clone()))?;
            let others = app_passwords(change, &name)?;
            if others.len() >= MOST_APP_PASSWORDS {
                return Err(DirectoryError::TooManyDevices);
            }
            let is_taken = |other: &AppPassword| other.device == *device || other.selector == password.selector;
            if others.iter().any(is_taken) {
                return Err(DirectoryError::DeviceTaken(device.clone()));
            }
            change.execute(
                "INSERT INTO app_password (user, device, selector, hash, scram, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![name, device, password.selector, password.hash, password.scram, seconds_now()],
            )?;
            Ok(())
        })
    }

    /// Takes a device's password away.
    pub fn remove_app_password(&self, name: &str, device: &str) -> Result<(), DirectoryError> {
        let name = canonical_name(name).map_err(DirectoryError::BadName)?;
        self.write(|change| {
            user_row(change, &name)?.ok_or_else(|| DirectoryError::Missing(name.clone()))?;
            let gone = change.execute("DELETE FROM app_password WHERE user=?1 AND device=?2", params![name, device])?;
            if gone == 0 { Err(DirectoryError::NoDevice(device.to_owned())) } else { Ok(()) }
        })
    }

    /// Notes that a device's password was used now. Nothing that was remembered of the directory is wrong for it, so
    /// its version stays.
    pub fn note_use(&self, name: &str, device: &str) -> Result<(), DirectoryError> {
        self.write_quietly(|change| {
            let sql = "UPDATE app_password SET used=?3 WHERE user=?1 AND device=?2";
            change.execute(sql, params![name, device, seconds_now()])?;
            Ok(())
        })
    }
}

/// The app passwords of a user, by device.
pub(super) fn app_passwords(connection: &Connection, name: &str) -> rusqlite::Result<Vec<AppPassword>> {
    let mut query = connection.prepare_cached(
        "SELECT device, selector, hash, scram, created, used FROM app_password WHERE user=?1 ORDER BY device",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(AppPassword {
            device: row.get(0)?,
            selector: row.get(1)?,
            hash: row.get(2)?,
            scram: row.get(3)?,
            created: row.get(4)?,
            used: row.get(5)?,
        })
    };
    query.query_map(params![name], read)?.collect()
}

impl Directory {
    /// A key of the server's own, made at its first use and the same for ever after, restarts included.
    pub fn secret(&self, purpose: &str) -> Result<[u8; 32], DirectoryError> {
        // Looked for without a transaction first: a server starts on a full disk too.
        if let Some(key) = stored_secret(&self.lock().connection, purpose)? {
            return Ok(key);
        }
        self.write_quietly(|change| {
            if let Some(key) = stored_secret(change, purpose)? {
                return Ok(key);
            }
            let mut key = [0; 32];
            getrandom::fill(&mut key)
                .map_err(|_| DirectoryError::Trouble("the system gave no random octets".to_owned()))?;
            change
                .execute("INSERT OR REPLACE INTO secret (name, value) VALUES (?1, ?2)", params![purpose, &key[..]])?;
            Ok(key)
        })
    }
}

fn stored_secret(connection: &Connection, purpose: &str) -> rusqlite::Result<Option<[u8; 32]>> {
    let sql = "SELECT value FROM secret WHERE name=?1";
    let found: Option<Vec<u8>> = connection.query_row(sql, params![purpose], |row| row.get(0)).optional()?;
    Ok(found.and_then(|octets| octets.try_into().ok()))
}

//! Exchanging an account's files as a whole. The new ones are made ready in `accounts/N.staged`; a small file that
//! says what is meant is the moment at which the new account becomes the account. Renames follow, and whoever opens
//! the store after a crash finishes them. So there is the old account or the new one, never a mixture and never none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::crash;
use super::lock::account_dir;
use crate::types::AccountId;
use crate::types::date::DateTime;

/// Why the old files were put aside; the word is part of their new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A backup took their place.
    Replaced,
    /// They were damaged, and what could be saved took their place.
    Damaged,
}

impl Kept {
    pub fn word(self) -> &'static str {
        match self {
            Kept::Replaced => "replaced",
            Kept::Damaged => "damaged",
        }
    }
}

/// Where an account's new files are made ready.
pub fn staged_dir(data_dir: &Path, id: AccountId) -> PathBuf {
    data_dir.join("accounts").join(format!("{id}.staged"))
}

/// True while an exchange was decided and is not finished.
pub fn is_pending(data_dir: &Path, id: AccountId) -> bool {
    intent_file(data_dir, id).exists()
}

fn intent_file(data_dir: &Path, id: AccountId) -> PathBuf {
    data_dir.join("accounts").join(format!("{id}.exchange"))
}

/// Puts what is staged in the account's place; everything in it is durable already. Gives the name of the directory
/// that holds the old files, if there were any. The caller owns the data directory and nobody has the account open.
pub fn exchange(data_dir: &Path, id: AccountId, kept: Kept, now_secs: i64) -> io::Result<Option<String>> {
    let accounts = data_dir.join("accounts");
    if !staged_dir(data_dir, id).join("mail.db").exists() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "nothing is staged"));
    }
    let has_old = account_dir(data_dir, id).exists();
    let name = free_name(&accounts, id, kept, now_secs);
    let intent = intent_file(data_dir, id);
    let draft = intent.with_extension("exchange-draft");
    crash::point("exchange.before_intent");
    let mut file = File::create(&draft)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, &intent)?;
    File::open(&accounts)?.sync_all()?;
    crash::point("exchange.after_intent");
    finish(data_dir, id)?;
    Ok(has_old.then_some(name))
}

/// Finishes what a crash interrupted. For whoever owns the data directory, before any account is opened.
pub fn finish_all(data_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data_dir.join("accounts"))? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match (path.extension().and_then(|e| e.to_str()), id) {
            (Some("exchange"), Some(id)) => {
                tracing::warn!(account = id, "finishing an exchange of files that was interrupted");
                finish(data_dir, AccountId(id))?;
            }
            // Cut off before it meant anything.
            (Some("exchange-draft"), Some(_)) => fs::remove_file(&path)?,
            _ => {}
        }
    }
    Ok(())
}

fn finish(data_dir: &Path, id: AccountId) -> io::Result<()> {
    let (live, staged, intent) = (account_dir(data_dir, id), staged_dir(data_dir, id), intent_file(data_dir, id));
    let accounts = data_dir.join("accounts");
    let kept = accounts.join(plain_name(&fs::read_to_string(&intent)?, id)?);
    let sync = || File::open(&accounts)?.sync_all();
    if staged.exists() {
        if live.exists() {
            fs::rename(&live, &kept)?;
            sync()?;
        }
        crash::point("exchange.after_away");
        fs::rename(&staged, &live)?;
        sync()?;
    }
    crash::point("exchange.after_rename");
    fs::remove_file(&intent)?;
    sync()
}

/// The name in an intent, if it can be one of ours: it is about to be renamed to.
fn plain_name(text: &str, id: AccountId) -> io::Result<&str> {
    let is_ours = text.starts_with(&format!("{id}.")) && !text.contains(['/', '\0', '\n']);
    if is_ours { Ok(text) } else { Err(io::Error::other(format!("accounts/{id}.exchange holds no name"))) }
}

/// `7.damaged-20260102T030405Z`, and on with a number when that is taken.
fn free_name(accounts: &Path, id: AccountId, kept: Kept, now_secs: i64) -> String {
    let base = format!("{id}.{}-{}", kept.word(), compact_time(now_secs));
    let names = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
    let free = names.into_iter().find(|name| !accounts.join(name).exists());
    free.unwrap_or(base)
}

/// A moment as it stands in names: `20260102T030405Z`.
pub fn compact_time(unix_secs: i64) -> String {
    let (date, second) = DateTime::utc(unix_secs).clock();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: AccountId = AccountId(7);

    fn site() -> tempfile::TempDir {
        let home = tempfile::tempdir().expect("a folder");
        for (dir, text) in [("accounts/7", "old"), ("accounts/7.staged", "new")] {
            fs::create_dir_all(home.path().join(dir)).expect("made");
            fs::write(home.path().join(dir).join("mail.db"), text).expect("written");
        }
        home
    }

    fn content(home: &tempfile::TempDir, dir: &str) -> Option<String> {
        fs::read_to_string(home.path().join("accounts").join(dir).join("mail.db")).ok()
    }

    #[test]
    fn the_old_files_are_kept_under_a_name_that_says_why_and_when() {
        let home = site();
        let kept = exchange(home.path(), SEVEN, Kept::Damaged, 1_767_323_045).expect("exchanged");
        assert_eq!(kept.as_deref(), Some("7.damaged-20260102T030405Z"));
        assert_eq!(content(&home, "7").as_deref(), Some("new"));
        assert_eq!(content(&home, "7.damaged-20260102T030405Z").as_deref(), Some("old"));
        assert_eq!(fs::read_dir(home.path().join("accounts")).expect("listed").count(), 2);
        assert!(exchange(home.path(), SEVEN, Kept::Damaged, 0).is_err(), "nothing is staged any more");
        // In the same second once more, and with nothing there before.
        fs::create_dir(home.path().join("accounts/7.staged")).expect("made");
        fs::write(home.path().join("accounts/7.staged/mail.db"), "newer").expect("written");
        let again = exchange(home.path(), SEVEN, Kept::Damaged, 1_767_323_045).expect("exchanged");
        assert_eq!(again.as_deref(), Some("7.damaged-20260102T030405Z-2"));
        fs::rename(home.path().join("accounts/7"), home.path().join("accounts/8.staged")).expect("renamed");
        assert_eq!(exchange(home.path(), AccountId(8), Kept::Replaced, 0).expect("exchanged"), None);
    }

    /// Every state a crash can leave: what was meant happens from the intent on, and not before.
    #[test]
    fn an_interrupted_exchange_is_finished_from_any_point() {
        for stop in 0..5 {
            let home = site();
            let accounts = home.path().join("accounts");
            if stop >= 1 {
                fs::write(accounts.join("7.exchange-draft"), "7.rep").expect("written");
            }
            if stop >= 2 {
                fs::remove_file(accounts.join("7.exchange-draft")).expect("removed");
                fs::write(accounts.join("7.exchange"), "7.replaced-x").expect("written");
            }
            if stop >= 3 {
                fs::rename(accounts.join("7"), accounts.join("7.replaced-x")).expect("renamed");
            }
            if stop >= 4 {
                fs::rename(accounts.join("7.staged"), accounts.join("7")).expect("renamed");
            }
            finish_all(home.path()).expect("finished");
            let is_new = stop >= 2;
            assert_eq!(content(&home, "7").as_deref(), Some(if is_new { "new" } else { "old" }), "stop {stop}");
            assert_eq!(content(&home, "7.replaced-x").as_deref(), is_new.then_some("old"), "stop {stop}");
            assert!(!accounts.join("7.exchange").exists() && !accounts.join("7.exchange-draft").exists());
        }
    }

    #[test]
    fn an_intent_that_names_another_place_is_refused() {
        for name in ["", "../7", "8.replaced", "7.a/b", "7.a\n"] {
            let home = site();
            fs::write(home.path().join("accounts/7.exchange"), name).expect("written");
            assert!(finish_all(home.path()).is_err(), "{name:?}");
            assert_eq!(content(&home, "7").as_deref(), Some("old"));
        }
    }
}

//! `pillarbox check --repair`: closes an account, lets the mail store put together what can be read of it, and puts the
//! result in its place. The damaged files are kept under a name that says so and when.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::files;
use super::owner::{Held, Owner};
use super::restore::begin;
use super::{Watch, counted};
use crate::mailstore::lock::account_dir;
use crate::mailstore::repair::{Repaired, Report, key_of, repair, workshop_dir};
use crate::mailstore::{Kept, Purpose, crash, staged_dir};
use crate::types::AccountId;

/// Repairs an account and tells what was found and done. The last sentence is the outcome.
pub fn repair_account(
    data_dir: &Path,
    id: AccountId,
    now_secs: i64,
    owner: &Arc<dyn Owner>,
    watch: &mut dyn Watch,
) -> Result<String, String> {
    let live = account_dir(data_dir, id);
    if !live.exists() {
        return Ok("this account has no mail yet".into());
    }
    let _lock = begin(data_dir, id)?;
    let accounts = data_dir.join("accounts");
    let (workshop, staged) = (workshop_dir(&accounts, id.0), staged_dir(data_dir, id));
    let key = key_of(data_dir).map_err(|error| error.to_string())?;
    let held = Held::begin(owner, id, Purpose::Exchange)?;
    let repaired = repair(&live, &workshop, &staged, &key, now_secs);
    let cleared = fs::remove_dir_all(&workshop);
    let (found, report) = match repaired.map_err(|error| error.to_string())? {
        Repaired::NotNeeded => return Ok("nothing is damaged, and nothing was changed".into()),
        Repaired::Staged { found, report } => (found, report),
    };
    cleared.map_err(|error| format!("{}: {error}", workshop.display()))?;
    found.iter().for_each(|find| watch.say(&format!("found: {find}")));
    report.lines.iter().for_each(|line| watch.say(line));
    files::give_to_owner(&staged, &accounts).map_err(|error| format!("{}: {error}", staged.display()))?;
    crash::point("repair.before_exchange");
    if !held.is_unbroken() {
        return Err("the account was not left alone meanwhile; nothing was changed, begin again".into());
    }
    let kept = owner.exchange(id, Kept::Damaged)?;
    Ok(told(&report, &accounts, kept.as_deref()))
}

fn told(report: &Report, accounts: &Path, kept: Option<&str>) -> String {
    let mut text = format!("repaired: {} looked at", counted(report.messages, "message"));
    let parts = [
        (report.damaged, "damaged, each replaced by a note"),
        (report.lost, "of those without a single octet left"),
        (report.recovered, "recovered into a folder of their own"),
        (report.flagless, "without their flags"),
    ];
    for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    if let Some(kept) = kept {
        text.push_str(&format!("; the damaged files are kept in {}", accounts.join(kept).display()));
    }
    text
}

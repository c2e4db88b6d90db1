//! `pillarbox backup --verify`: reads a whole backup once and holds it against its manifests. It needs nothing but the
//! directory, and changes nothing in it, so that it may lie on a disk that is read-only.

use std::fs;
use std::path::Path;

use super::backup::{KEY, MANIFEST, OF_ACCOUNT, TOP, account_backup};
use super::files;
use super::manifest::{Manifest, Vouched};
use super::{Watch, counted};
use crate::mailstore::backup;
use crate::types::AccountId;

/// Verifies a backup and tells each find. True: everything in it is complete and whole.
pub fn verify(dir: &Path, watch: &mut dyn Watch) -> Result<bool, String> {
    let top = Manifest::read(&dir.join(MANIFEST), TOP)?
        .ok_or_else(|| format!("{} has no manifest: no backup into it was ever finished", dir.display()))?;
    let mut is_fine = true;
    let mut find = |text: String, watch: &mut dyn Watch| {
        is_fine = false;
        watch.say(&text);
    };
    match fs::read(dir.join(KEY)) {
        Ok(key) if Some(blake3::hash(&key).to_hex().as_str()) == top.value("key") => {}
        Ok(_) => find(format!("{KEY} is damaged"), watch),
        Err(error) => find(format!("{KEY}: {error}"), watch),
    }
    match top.file("server") {
        None => find("the manifest names no server.db".into(), watch),
        Some(server) => {
            if let Err(fault) = same(dir, &server, "users", watch) {
                find(fault, watch);
            }
        }
    }
    let mut accounts = 0;
    for line in top.values("account") {
        let mut words = line.split(' ');
        let Some(account) = words.next().and_then(|word| word.parse().ok()).map(AccountId) else { continue };
        accounts += 1;
        let name = match line.rsplit(' ').next() {
            Some("-") | None => format!("account {account}"),
            Some(user) => user.to_owned(),
        };
        let faults = verify_account(&account_backup(dir, account), &name, watch);
        for fault in &faults {
            find(format!("{name}: {fault}"), watch);
        }
    }
    if is_fine {
        let taken = top.value("taken").unwrap_or("-");
        watch.say(&format!("{} backed up until {taken}, complete and whole", counted(accounts, "account")));
    }
    Ok(is_fine)
}

/// What is wrong with one account's backup.
fn verify_account(dir: &Path, name: &str, watch: &mut dyn Watch) -> Vec<String> {
    let manifest = match Manifest::read(&dir.join(MANIFEST), OF_ACCOUNT) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return vec!["has no manifest: its backup was never finished".into()],
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    if manifest.value("state") != Some("complete") {
        faults.push(format!("is marked incomplete ({})", manifest.value("taken").unwrap_or("-")));
        faults.extend(manifest.values("fault").map(str::to_owned));
    }
    let Some(database) = manifest.file("database") else {
        faults.push("there is no database".into());
        return faults;
    };
    if let Err(fault) = same(dir, &database, name, watch) {
        faults.push(fault);
        return faults;
    }
    let path = dir.join(&database.name);
    match backup::inspect(&path) {
        Err(error) => faults.push(format!("{}: {error}", database.name)),
        Ok(found) => {
            let told = [("mailboxes", found.mailboxes), ("messages", found.messages), ("files", found.files)];
            let wrong = told.iter().filter(|(word, count)| manifest.number(word) != Some(*count));
            faults.extend(wrong.map(|(word, count)| format!("the manifest counts other {word}; there are {count}")));
            let is_told = |problem: &String| manifest.values("fault").any(|fault| fault == problem);
            faults.extend(found.problems.into_iter().filter(|problem| !is_told(problem)));
        }
    }
    let total = manifest.number("body-bytes").unwrap_or(0);
    let mut done = 0;
    let blobs = dir.join("blobs");
    let what = format!("{name}: large messages");
    let read = backup::each_file(&path, &mut |file| {
        let mut advance = |octets| {
            done += octets;
            watch.progress(&what, done, total);
        };
        match files::hash_file(&blobs.join(&file.name), &mut advance) {
            Ok((hash, size)) if *hash.as_bytes() == file.hash && size == file.size => {}
            Ok(_) => faults.push(format!("the body {} is damaged", file.name)),
            Err(error) => faults.push(format!("the body {}: {error}", file.name)),
        }
        Ok(())
    });
    faults.extend(read.err());
    faults
}

/// Whether a file is what the manifest vouches for.
fn same(dir: &Path, file: &Vouched, name: &str, watch: &mut dyn Watch) -> Result<(), String> {
    let what = format!("{name}: database");
    let mut done = 0;
    let mut advance = |octets| {
        done += octets;
        watch.progress(&what, done, file.size);
    };
    match files::hash_file(&dir.join(&file.name), &mut advance) {
        Ok((hash, _)) if hash == file.hash => Ok(()),
        Ok(_) => Err(format!("{} is not what was written", file.name)),
        Err(error) => Err(format!("{}: {error}", file.name)),
    }
}

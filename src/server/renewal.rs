//! A certificate that is renewed on the disk is taken into use without anybody's doing: the files are looked at now and
//! then, and read again when one is another than before. Open connections keep what they have.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use super::Reloader;
use super::tls::TlsFault;
use crate::config;

/// How often a watch that is switched off looks whether it still is.
const OFF: Duration = Duration::from_secs(60);

/// What tells two files of one name apart: device, number, size and time of the last change. `None`: it is not there.
pub(super) type Mark = Option<(u64, u64, u64, i64, i64)>;

/// Looks at the files for ever.
pub(super) async fn watch(reloader: Arc<Reloader>) {
    let settings = |reloader: &Reloader| reloader.config.load().tls.clone();
    let mut failed: Option<Vec<Mark>> = None;
    loop {
        let every = settings(&reloader).watch_seconds;
        tokio::time::sleep(if every.is_zero() { OFF } else { every }).await;
        let tls = settings(&reloader);
        let Some(known) = reloader.tls.marks().filter(|_| !tls.watch_seconds.is_zero()) else { continue };
        let now = match tokio::task::spawn_blocking(move || marks(&tls)).await {
            Ok(now) if now != known => now,
            _ => continue,
        };
        let reader = reloader.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || reader.reload_certificates()).await else { continue };
        match read {
            Ok(()) => {
                info!("the certificate has changed on the disk and was read again");
                failed = None;
            }
            // A new certificate whose key is still to come. It is tried again at every look, and told once.
            Err(fault) if failed.as_ref() != Some(&now) => {
                warn!(setting = fault.setting, "the certificate on the disk cannot be used yet: {}", fault.text);
                failed = Some(now);
            }
            Err(_) => {}
        }
    }
}

impl Reloader {
    /// Reads certificates and keys again, with the configuration as it is.
    fn reload_certificates(&self) -> Result<(), TlsFault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.tls.load(&self.config.load_full())
    }
}

/// Symbolic links are followed: ACME clients put a new file behind an old name.
pub(super) fn marks(tls: &config::Tls) -> Vec<Mark> {
    let pairs = tls.additional.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
    [&tls.certificate, &tls.key, &tls.client_ca].into_iter().chain(pairs).map(|path| mark(path)).collect()
}

fn mark(path: &Path) -> Mark {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_behind_a_link_is_another() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        fs::write(at("one"), "same").expect("written");
        fs::write(at("two"), "same").expect("written");
        std::os::unix::fs::symlink(at("one"), at("link")).expect("linked");
        let before = mark(&at("link"));
        assert_eq!(before, mark(&at("one")));
        fs::remove_file(at("link")).expect("removed");
        assert_eq!(mark(&at("link")), None);
        std::os::unix::fs::symlink(at("two"), at("link")).expect("linked");
        assert_ne!(mark(&at("link")), before);
    }
}

//! A certificate of one's own making, for a first start: valid for this machine's loopback names and nothing else.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};

use crate::types::Date;

/// How long it is valid. Apple's systems refuse certificates that are valid for more than 825 days.
const VALID_DAYS: i64 = 800;

/// Makes a key and a certificate for `localhost` and `127.0.0.1`, both as PEM files with mode 0600, valid from the
/// day before `now_secs` (seconds since 1970): clocks differ. Files that are there are replaced.
pub fn make(certificate: &Path, key: &Path, now_secs: i64) -> io::Result<()> {
    let mut wanted = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).map_err(trouble)?;
    wanted.distinguished_name.push(DnType::CommonName, "Pillarbox on this machine");
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = now_secs.div_euclid(86_400);
    let day = |days: i64| {
        let date = Date::from_days_since_1970(days);
        rcgen::date_time_ymd(i32::from(date.year()), date.month(), date.day())
    };
    wanted.not_before = day(today - 1);
    wanted.not_after = day(today + VALID_DAYS);
    let pair = KeyPair::generate().map_err(trouble)?;
    let made = wanted.self_signed(&pair).map_err(trouble)?;
    // The key first: who finds the certificate finds its key.
    write_private(key, &pair.serialize_pem())?;
    write_private(certificate, &made.pem())
}

fn trouble(error: rcgen::Error) -> io::Error {
    io::Error::other(error)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_pair_is_for_its_owner_and_made_anew_each_time() {
        let home = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        let mut seen = Vec::new();
        for now in [0, 1_800_000_000] {
            make(&certificate, &key, now).expect("made");
            for path in [&certificate, &key] {
                let mode = std::fs::metadata(path).expect("there").permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            }
            seen.push(std::fs::read(&key).expect("read"));
        }
        assert_ne!(seen[0], seen[1]);
    }
}

//! One line of a passwd-file as another server keeps it, and how it becomes a user here.
//! `name:password:uid:gid:gecos:home:shell:extra`, of which only the name and the password are ours.

use std::fmt;

use super::credentials::{self, BadPassword};
use super::names;
use crate::auth::imported::{self, Imported};
use crate::mailstore::directory::{Credential, CredentialKind};

/// A user as a line has him.
pub struct Line {
    /// In canonical form.
    pub name: String,
    pub credentials: Vec<Credential>,
    /// The line says that he may not log in.
    pub is_disabled: bool,
    /// What the line says besides, and is not kept; a sentence each.
    pub left_out: Vec<String>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:?}, ..)", self.name)
    }
}

/// Extra fields that restrict who may log in or how: leaving one out silently would open a door.
const RESTRICTIONS: [&str; 6] = ["allow_nets", "allow_real_nets", "allow_users", "proxy", "host", "login_user"];

/// Reads a line. `Ok(None)`: it is empty or a comment. The error says why nobody can be made of it.
pub fn read(line: &str, with_scram: bool) -> Result<Option<Line>, String> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.splitn(8, ':');
    let (name, password) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    let extra = fields.nth(5).unwrap_or_default();
    let name = names::canonical(name).map_err(|bad| bad.to_string())?;
    // "!" before a hash, and "*" for one, are how a system bars a user.
    let (password, is_locked) = match password.strip_prefix('!') {
        Some(rest) => (rest.trim_start_matches('!'), true),
        None => (password, false),
    };
    if password.is_empty() || password == "*" {
        return Err("there is no password in the line; add the user with a new one".into());
    }
    let credentials = match imported::read(password)? {
        Imported::Password(password) => {
            credentials::make(&password, with_scram).map_err(|bad: BadPassword| bad.to_string())?
        }
        Imported::Scram(verifier) => {
            vec![Credential { kind: CredentialKind::ScramSha256, value: verifier.to_string() }]
        }
        Imported::Hash(value) => vec![Credential { kind: CredentialKind::Imported, value }],
    };
    let mut left_out = Vec::new();
    let mut is_barred = is_locked;
    for word in extra.split_whitespace() {
        let key = word.split('=').next().unwrap_or_default();
        match key {
            "nologin" => is_barred = true,
            key if RESTRICTIONS.contains(&key) => {
                left_out.push(format!("{key} restricts who may log in, and is not kept"))
            }
            key => left_out.push(format!("{key} is not kept")),
        }
    }
    Ok(Some(Line { name, credentials, is_disabled: is_barred, left_out }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "{SHA256}cPwmmWo+TyzEY1K5kLjQzGdKyl56yrUq3sBLOLr8qMc=";

    fn kinds(line: &str) -> Vec<CredentialKind> {
        let line = read(line, true).expect(line).expect("a user");
        line.credentials.iter().map(|credential| credential.kind).collect()
    }

    #[test]
    fn lines_of_every_length_become_users() {
        for line in [
            format!("Anna:{HASH}"),
            format!("anna:{HASH}:1000:1000"),
            format!("anna:{HASH}::::::\r\n"),
            format!("anna:{HASH}:1000:1000:Anna A.:/home/anna:/bin/sh:userdb_quota=x"),
        ] {
            let read = read(&line, true).expect("fine").expect("a user");
            assert_eq!((read.name.as_str(), read.is_disabled), ("anna", false), "{line}");
        }
        assert_eq!(kinds(&format!("anna:{HASH}")), [CredentialKind::Imported]);
        assert_eq!(kinds("anna:{PLAIN}sesame:"), [CredentialKind::Argon2id, CredentialKind::ScramSha256]);
    }

    #[test]
    fn what_bars_a_user_there_bars_him_here() {
        for line in
            [format!("anna:!{HASH}"), format!("anna:{HASH}::::::nologin"), format!("anna:{HASH}::::::a=b nologin=y")]
        {
            assert!(read(&line, true).expect("fine").expect("a user").is_disabled, "{line}");
        }
        let line = read(&format!("anna:{HASH}::::::allow_nets=10.0.0.0/8"), true).expect("fine").expect("a user");
        assert!(line.left_out[0].contains("allow_nets restricts"), "{:?}", line.left_out);
    }

    #[test]
    fn comments_are_nothing_and_the_rest_has_its_reason() {
        for nothing in ["", "  \n", "# anna:x", "#"] {
            assert!(read(nothing, true).expect("fine").is_none(), "{nothing:?}");
        }
        for (line, word) in [
            ("anna", "no password"),
            ("anna:", "no password"),
            ("anna:*:1:1", "no password"),
            ("anna:!", "no password"),
            ("anna:$y$j9T$abc$def", "yescrypt"),
            ("../anna:{PLAIN}x", "slashes"),
            (":{PLAIN}x", "empty"),
            ("anna:{PLAIN}", "empty"),
            ("anna:{PLAIN}a\u{1}b", "control characters"),
        ] {
            let told = read(line, true).map(|_| ()).expect_err(line);
            assert!(told.contains(word), "{line}: {told}");
        }
    }
}

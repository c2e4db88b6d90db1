//! From an address to users: the user himself, an alias, `user+folder`, the catch-all of the domain, in this order.
//! Reads the directory and nothing else. Blocks.

use super::address::Address;
use super::refusal::Refusal;
use crate::config::Config;
use crate::login::names;
use crate::mailstore::directory::{BadUserName, Directory, DirectoryError, UserRecord};

/// The settings that say what an address means.
#[derive(Debug, Clone)]
pub struct Rules {
    pub default_domain: String,
    pub local_domains: Vec<String>,
    /// Between user and folder; `None`: there are no such addresses.
    pub separator: Option<char>,
}

/// Whom an address leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Never empty, and nobody is in it twice.
    pub users: Vec<UserRecord>,
    /// What stood behind the separator.
    pub folder: Option<String>,
}

impl Rules {
    pub fn of(config: &Config) -> Rules {
        Rules {
            default_domain: config.login.default_domain.clone(),
            local_domains: config.lmtp.local_domains.clone(),
            separator: config.lmtp.separator.chars().next(),
        }
    }

    /// True for domains in which users without a domain are reached.
    fn is_local(&self, domain: &str) -> bool {
        (!self.default_domain.is_empty() && domain == self.default_domain)
            || self.local_domains.iter().any(|local| local == domain)
    }
}

/// The one form of an alias's name: that of a user's name, or `@` and a domain. As [`names::canonical`].
pub fn canonical_alias(name: &str) -> Result<String, BadUserName> {
    match name.strip_prefix('@') {
        // A domain is what may stand behind any user's `@`.
        Some(domain) => names::canonical(&format!("x@{domain}")).map(|name| name[1..].to_owned()),
        None => names::canonical(name),
    }
}

/// Finds the users of an address. Those who are disabled are left out as long as somebody remains.
pub fn find(directory: &Directory, address: &Address, rules: &Rules) -> Result<Found, Refusal> {
    let found = search(directory, address, rules).map_err(|error| {
        tracing::error!(%error, "the directory of users cannot be read");
        Refusal::Trouble
    })?;
    let mut found = found?;
    found.users.retain(|user| !user.is_disabled);
    if found.users.is_empty() { Err(Refusal::Disabled) } else { Ok(found) }
}

type Outcome<T> = Result<T, DirectoryError>;

fn search(directory: &Directory, address: &Address, rules: &Rules) -> Outcome<Result<Found, Refusal>> {
    let domain = address.domain.as_ref().map(|domain| domain.to_lowercase());
    let wanted = Wanted { directory, rules, domain: domain.as_deref() };
    let local = address.local.as_str();
    // `"anna@example.org"` without a domain is an odd name and not the user anna@example.org.
    if !local.is_empty() && !local.contains('@') {
        let users = wanted.named(local)?;
        if !users.is_empty() {
            return Ok(Ok(Found { users, folder: None }));
        }
        if let Some((name, folder)) = rules.separator.and_then(|separator| local.split_once(separator))
            && !name.is_empty()
        {
            let users = wanted.named(name)?;
            if !users.is_empty() {
                let folder = Some(folder.to_owned()).filter(|folder| !folder.is_empty());
                return Ok(Ok(Found { users, folder }));
            }
        }
        let users = wanted.aliased("")?;
        if !users.is_empty() {
            return Ok(Ok(Found { users, folder: None }));
        }
    }
    match wanted.domain {
        Some(domain) if !rules.is_local(domain) && !directory.has_domain(domain)? => Ok(Err(Refusal::NoSuchDomain)),
        _ => Ok(Err(Refusal::NoSuchUser)),
    }
}

/// What is asked of the directory about one address.
struct Wanted<'a> {
    directory: &'a Directory,
    rules: &'a Rules,
    /// In lower case.
    domain: Option<&'a str>,
}

impl Wanted<'_> {
    /// The user of this local part, else those of the alias.
    fn named(&self, local: &str) -> Outcome<Vec<UserRecord>> {
        let user = match self.domain {
            Some(domain) => names::find_user(self.directory, &format!("{local}@{domain}"), &self.rules.default_domain)?,
            None => None,
        };
        let user = match user {
            None if self.is_local() => names::find_user(self.directory, local, &self.rules.default_domain)?,
            found => found,
        };
        match user {
            Some(user) => Ok(vec![user]),
            None => self.aliased(local),
        }
    }

    /// The users of the alias; an empty local part asks for the domain's catch-all.
    fn aliased(&self, local: &str) -> Outcome<Vec<UserRecord>> {
        let mut forms: Vec<String> = self.domain.iter().map(|domain| format!("{local}@{domain}")).collect();
        if self.is_local() {
            if !local.is_empty() {
                forms.push(local.to_owned());
            }
            if !self.rules.default_domain.is_empty() {
                forms.push(format!("{local}@{}", self.rules.default_domain));
            }
        }
        for form in forms {
            // What is no name is an alias that is not there.
            let Ok(name) = canonical_alias(&form) else { continue };
            let users = self.directory.alias_users(&name)?;
            if !users.is_empty() {
                return Ok(users);
            }
        }
        Ok(Vec::new())
    }

    fn is_local(&self) -> bool {
        self.domain.is_none_or(|domain| self.rules.is_local(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(home.path()).expect("opened");
        for name in ["anna", "bert@example.org", "cleo@example.net", "dora+work", "eve", "müller"] {
            directory.add_user(name, &[]).expect("added");
        }
        let names = |users: &[&str]| users.iter().map(ToString::to_string).collect::<Vec<_>>();
        directory.add_alias("sales", &names(&["anna", "bert@example.org"])).expect("added");
        directory.add_alias("help@example.net", &names(&["cleo@example.net"])).expect("added");
        directory.add_alias("@example.net", &names(&["eve"])).expect("added");
        (home, directory)
    }

    fn rules() -> Rules {
        Rules {
            default_domain: "example.org".into(),
            local_domains: vec!["mail.example.org".into()],
            separator: Some('+'),
        }
    }

    fn ask(directory: &Directory, rules: &Rules, address: &str) -> Result<(Vec<String>, Option<String>), Refusal> {
        let address = Address::parse(address.as_bytes()).expect(address);
        let found = find(directory, &address, rules)?;
        Ok((found.users.into_iter().map(|user| user.name).collect(), found.folder))
    }

    #[test]
    fn addresses_lead_to_users() {
        let (_home, directory) = directory();
        for (address, users, folder) in [
            ("anna", &["anna"][..], None),
            ("Anna@Example.ORG", &["anna"], None),
            ("anna@mail.example.org", &["anna"], None),
            ("\"anna\"@example.org", &["anna"], None),
            ("bert@example.org", &["bert@example.org"], None),
            ("bert", &["bert@example.org"], None),
            ("bert@mail.example.org", &["bert@example.org"], None),
            ("cleo@example.net", &["cleo@example.net"], None),
            ("anna+Lists/Rust@example.org", &["anna"], Some("Lists/Rust")),
            ("anna+a+b@example.org", &["anna"], Some("a+b")),
            ("anna+@example.org", &["anna"], None),
            ("\"anna+two words\"@example.org", &["anna"], Some("two words")),
            ("dora+work@example.org", &["dora+work"], None),
            ("sales@example.org", &["anna", "bert@example.org"], None),
            ("sales+x@mail.example.org", &["anna", "bert@example.org"], Some("x")),
            ("help@example.net", &["cleo@example.net"], None),
            ("whoever+x@example.net", &["eve"], None),
            ("MÜLLER@example.org", &["müller"], None),
            ("mu\u{308}ller@example.org", &["müller"], None),
        ] {
            let users = users.iter().map(ToString::to_string).collect();
            assert_eq!(ask(&directory, &rules(), address), Ok((users, folder.map(Into::into))), "{address}");
        }
    }

    #[test]
    fn who_is_not_there_is_told_from_where_nobody_is() {
        let (_home, directory) = directory();
        for (address, refusal) in [
            ("nobody@example.org", Refusal::NoSuchUser),
            ("nobody", Refusal::NoSuchUser),
            ("nobody@mail.example.org", Refusal::NoSuchUser),
            ("cleo@example.org", Refusal::NoSuchUser),
            ("anna@example.com", Refusal::NoSuchDomain),
            ("anna@[127.0.0.1]", Refusal::NoSuchDomain),
            ("\"\"", Refusal::NoSuchUser),
            ("\"\"@example.net", Refusal::NoSuchUser),
            ("\"bert@example.org\"", Refusal::NoSuchUser),
            ("\"bert@example.org\"@example.net", Refusal::NoSuchUser),
            ("+x@example.org", Refusal::NoSuchUser),
            ("\"an na\"@example.org", Refusal::NoSuchUser),
            ("../anna@example.org", Refusal::NoSuchUser),
        ] {
            assert_eq!(ask(&directory, &rules(), address), Err(refusal), "{address}");
        }
        let nowhere = Rules { default_domain: String::new(), local_domains: Vec::new(), separator: None };
        assert_eq!(ask(&directory, &nowhere, "anna@example.org"), Err(Refusal::NoSuchUser), "bert is in it");
        assert_eq!(ask(&directory, &nowhere, "anna+x"), Err(Refusal::NoSuchUser), "no separator");
        assert!(ask(&directory, &nowhere, "anna").is_ok());
    }

    #[test]
    fn the_disabled_are_left_out_while_somebody_remains() {
        let (_home, directory) = directory();
        directory.set_disabled("anna", true).expect("disabled");
        assert_eq!(ask(&directory, &rules(), "anna@example.org"), Err(Refusal::Disabled));
        let (users, _) = ask(&directory, &rules(), "sales@example.org").expect("somebody");
        assert_eq!(users, ["bert@example.org"]);
        directory.set_disabled("bert@example.org", true).expect("disabled");
        assert_eq!(ask(&directory, &rules(), "sales@example.org"), Err(Refusal::Disabled));
    }

    #[test]
    fn names_have_one_form() {
        for (given, form) in [
            ("Sales@Example.ORG", "sales@example.org"),
            ("@Example.ORG", "@example.org"),
            ("Info", "info"),
            ("mu\u{308}ller", "müller"),
        ] {
            assert_eq!(canonical_alias(given).as_deref(), Ok(form));
        }
        for bad in ["", "@", "@a@b", "a@b@c", "@..", "a b", "@a/b", "@a b", "@a\0"] {
            assert!(canonical_alias(bad).is_err(), "{bad:?}");
        }
    }
}

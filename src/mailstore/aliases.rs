//! Aliases: addresses that are no user's own and are delivered to users of this server. An alias names users only, never
//! another alias and never an address elsewhere, so there can be no loop. `@domain` is a domain's catch-all.
//! All names come in their one form: lower case, composed.

use rusqlite::params;

use super::directory::{Directory, DirectoryError, UserRecord};

/// Most users of one alias. Each is one more mailbox to write to for one address in an envelope.
pub const MOST_ALIAS_USERS: u32 = 1000;

/// An alias and those it is delivered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `name`, `name@domain`, or `@domain` for all that nobody else has there.
    pub name: String,
    /// The users' names, in order. Never empty.
    pub users: Vec<String>,
}

/// Why an alias is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AliasError {
    /// A user of this name gets the mail himself: the alias would never be asked.
    #[error("there is a user {0}, who gets this mail himself")]
    IsUser(String),
    #[error("there is no alias {0}")]
    Missing(String),
    /// The alias is there, but not for this user.
    #[error("the alias {name} is not delivered to {user}")]
    NotTo { name: String, user: String },
    #[error("an alias has at most {MOST_ALIAS_USERS} users")]
    TooMany,
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<rusqlite::Error> for AliasError {
    fn from(error: rusqlite::Error) -> Self {
        AliasError::Directory(error.into())
    }
}

impl Directory {
    /// Adds users to an alias, made if it is not there. Those it has already stay. All or none.
    pub fn add_alias(&self, name: &str, users: &[String]) -> Result<(), AliasError> {
        self.write(|change| {
            let is_user = "SELECT EXISTS (SELECT 1 FROM user WHERE name=?1)";
            if change.query_row(is_user, params![name], |row| row.get(0))? {
                return Err(AliasError::IsUser(name.to_owned()));
            }
            for user in users {
                if !change.query_row(is_user, params![user], |row| row.get(0))? {
                    return Err(DirectoryError::Missing(user.clone()).into());
                }
                change.execute("INSERT OR IGNORE INTO alias (name, user) VALUES (?1, ?2)", params![name, user])?;
            }
            let count: u32 =
                change.query_row("SELECT count(*) FROM alias WHERE name=?1", params![name], |row| row.get(0))?;
            if count > MOST_ALIAS_USERS { Err(AliasError::TooMany) } else { Ok(()) }
        })
    }

    /// Takes users from an alias, or with none named the whole of it.
    pub fn remove_alias(&self, name: &str, users: &[String]) -> Result<(), AliasError> {
        self.write(|change| {
            if users.is_empty() && change.execute("DELETE FROM alias WHERE name=?1", params![name])? == 0 {
                return Err(AliasError::Missing(name.to_owned()));
            }
            for user in users {
                if change.execute("DELETE FROM alias WHERE name=?1 AND user=?2", params![name, user])? == 0 {
                    return Err(AliasError::NotTo { name: name.to_owned(), user: user.clone() });
                }
            }
            Ok(())
        })
    }

    /// The users an alias is delivered to, by name, without their credentials. Empty: there is no such alias.
    pub fn alias_users(&self, name: &str) -> Result<Vec<UserRecord>, DirectoryError> {
        let database = self.lock();
        let mut query = database.connection.prepare_cached(
            "SELECT user.name, user.account, user.disabled, user.master FROM alias JOIN user ON user.name=alias.user
             WHERE alias.name=?1 ORDER BY user.name",
        )?;
        let users = query.query_map(params![name], super::directory::read_user)?.collect::<Result<_, _>>()?;
        Ok(users)
    }

    /// All aliases by name.
    pub fn aliases(&self) -> Result<Vec<Alias>, DirectoryError> {
        let database = self.lock();
        let mut query = database.connection.prepare("SELECT name, user FROM alias ORDER BY name, user")?;
        let mut rows = query.query([])?;
        let mut aliases: Vec<Alias> = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, user): (String, String) = (row.get(0)?, row.get(1)?);
            match aliases.last_mut() {
                Some(alias) if alias.name == name => alias.users.push(user),
                _ => aliases.push(Alias { name, users: vec![user] }),
            }
        }
        Ok(aliases)
    }

    /// True when some user or alias is in this domain, which is in lower case. Reads all names: it is asked only to
    /// tell whoever sent to an unknown address whether the domain or the person is wrong.
    pub fn has_domain(&self, domain: &str) -> Result<bool, DirectoryError> {
        let ending = format!("@{domain}");
        let database = self.lock();
        let mut query = database.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM user WHERE substr(name, -length(?1)) = ?1
             UNION ALL SELECT 1 FROM alias WHERE substr(name, -length(?1)) = ?1)",
        )?;
        Ok(query.query_row(params![ending], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Directory) {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(home.path()).expect("opened");
        for name in ["anna@example.org", "bert", "cleo"] {
            directory.add_user(name, &[]).expect("added");
        }
        (home, directory)
    }

    fn names(users: &[&str]) -> Vec<String> {
        users.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_alias_is_added_found_and_removed() {
        let (_home, directory) = open();
        let before = directory.version().expect("a version");
        directory.add_alias("sales@example.org", &names(&["bert", "anna@example.org"])).expect("added");
        assert_ne!(directory.version().expect("a version"), before);
        directory.add_alias("sales@example.org", &names(&["bert", "cleo"])).expect("added");
        directory.add_alias("@example.net", &names(&["cleo"])).expect("added");
        let found = directory.alias_users("sales@example.org").expect("asked");
        assert_eq!(
            found.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(),
            ["anna@example.org", "bert", "cleo"]
        );
        assert_eq!(directory.aliases().expect("listed").len(), 2);

        directory.remove_alias("sales@example.org", &names(&["bert"])).expect("removed");
        assert_eq!(directory.alias_users("sales@example.org").expect("asked").len(), 2);
        let none = directory.remove_alias("sales@example.org", &names(&["anna@example.org", "bert"]));
        assert!(matches!(none, Err(AliasError::NotTo { .. })));
        assert_eq!(directory.alias_users("sales@example.org").expect("asked").len(), 2, "all or none");
        directory.remove_alias("sales@example.org", &[]).expect("removed");
        assert!(matches!(directory.remove_alias("sales@example.org", &[]), Err(AliasError::Missing(_))));
    }

    #[test]
    fn an_alias_names_users_only_and_never_hides_one() {
        let (_home, directory) = open();
        directory.add_alias("sales", &names(&["bert"])).expect("added");
        let refused = directory.add_alias("info", &names(&["bert", "sales"]));
        assert!(matches!(refused, Err(AliasError::Directory(DirectoryError::Missing(_)))));
        assert!(directory.alias_users("info").expect("asked").is_empty(), "all or none");
        assert!(matches!(directory.add_alias("bert", &names(&["cleo"])), Err(AliasError::IsUser(_))));
        directory.remove("bert").expect("removed");
        assert!(directory.alias_users("sales").expect("asked").is_empty(), "it went with its only user");
        assert_eq!(directory.check().expect("checked"), Vec::<String>::new());
    }

    #[test]
    fn an_alias_has_a_bound() {
        let (_home, directory) = open();
        let crowd: Vec<String> = (0..=MOST_ALIAS_USERS).map(|n| format!("user{n}")).collect();
        let added = directory.write(|change| {
            let mut add = change.prepare("INSERT INTO user (name, account, created) VALUES (?1, 1, 0)")?;
            crowd.iter().try_for_each(|name| add.execute(params![name]).map(|_| ()))
        });
        added.map_err(|error: rusqlite::Error| error.to_string()).expect("added");
        assert!(matches!(directory.add_alias("all", &crowd), Err(AliasError::TooMany)));
        directory.add_alias("all", &crowd[1..]).expect("as many as may be");
    }

    #[test]
    fn domains_are_those_that_somebody_is_in() {
        let (_home, directory) = open();
        directory.add_alias("sales@example.net", &names(&["bert"])).expect("added");
        directory.add_alias("@example.com", &names(&["bert"])).expect("added");
        for (domain, is_known) in [
            ("example.org", true),
            ("example.net", true),
            ("example.com", true),
            ("xample.org", false),
            ("%", false),
            ("", false),
            ("'", false),
        ] {
            assert_eq!(directory.has_domain(domain).expect("asked"), is_known, "{domain:?}");
        }
    }
}

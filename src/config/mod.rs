//! The TOML file -> a checked [`Config`]. The only room that knows TOML.
//! What is not understood is refused with file, line and the nearest valid key, so that a slip of the pen never
//! becomes a default that nobody chose.

mod fault;
mod fields;
mod lmtp;
mod logins;
mod network;
mod protocol;
mod settings;

pub use fault::BadConfig;
pub use lmtp::{Lmtp, MissingFolder, OverQuota};
pub use logins::{Algorithm, CertificateUser, Checker, OAuth};
pub use network::Network;
pub use protocol::{CapabilityMask, Protocol};
pub use settings::{
    AllowPlaintext, CertificatePair, Config, Limits, Listen, Log, LogFormat, LogLevel, LoginSettings, Mail, NewMailbox,
    Security, Tls,
};

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Largest configuration file read, in octets. A wrong path (a mailbox, a disk) must not fill the memory.
const MOST_FILE_BYTES: u64 = 1024 * 1024;

impl Config {
    /// Reads and checks the file. Relative paths in it are taken from the directory the file lies in. When any
    /// listener speaks TLS, or the file has a `[tls]` table, both TLS files must be readable; whether they hold
    /// a certificate and its key is for the TLS room to say.
    pub fn load(file: &Path) -> Result<Config, BadConfig> {
        let text = read(file)?;
        let mut config = Config::parse(file, &text)?;
        let home = file.parent().unwrap_or(Path::new(""));
        for path in config.paths() {
            // Empty means "none", and must not become the directory itself.
            if !path.as_os_str().is_empty() {
                *path = home.join(&*path);
            }
        }
        if !config.lmtp.socket.as_os_str().is_empty() {
            config.lmtp.socket = home.join(&config.lmtp.socket);
        }
        let says_tls = fault::mentions(&text, "tls");
        if config.needs_tls() || says_tls {
            let more = [("tls.certificate", &config.tls.certificate), ("tls.key", &config.tls.key)];
            let client_ca = Some(("tls.client_ca", &config.tls.client_ca)).filter(|(_, ca)| !ca.as_os_str().is_empty());
            for (setting, path) in more.into_iter().chain(client_ca) {
                if let Err(error) = std::fs::File::open(path) {
                    let text = format!("cannot read {}: {error}", path.display());
                    return Err(BadConfig::at(file, setting, text));
                }
            }
        }
        Ok(config)
    }

    /// Reads and checks a text as if it stood in `file`. Touches no other file.
    pub fn parse(file: &Path, text: &str) -> Result<Config, BadConfig> {
        fault::refuse_unknown_keys(file, text)?;
        let config: Config = toml::from_str(text).map_err(|error| BadConfig::from_toml(file, text, &error))?;
        match config.contradiction() {
            Some((setting, words)) => Err(BadConfig::in_text(file, text, &setting, words)),
            None => Ok(config),
        }
    }

    /// True when some listener needs the certificate.
    pub fn needs_tls(&self) -> bool {
        self.listen.iter().any(|listen| listen.security != Security::None)
    }

    /// Every path in it.
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let tls = &mut self.tls;
        let mut paths = vec![&mut self.data_dir, &mut tls.certificate, &mut tls.key, &mut tls.client_ca];
        paths.extend(tls.additional.iter_mut().flat_map(|pair| [&mut pair.certificate, &mut pair.key]));
        let oauth = &mut self.oauth;
        paths.extend([&mut oauth.jwks_file, &mut oauth.introspection_client_secret_file, &mut oauth.ca_file]);
        paths.push(&mut self.checker.socket);
        paths
    }

    /// The settings that differ from `newer` and that only a restart can change.
    pub fn needs_restart_for(&self, newer: &Config) -> Vec<&'static str> {
        let mut settings = Vec::new();
        if self.data_dir != newer.data_dir {
            settings.push("data_dir");
        }
        if self.listen != newer.listen {
            settings.push("listen");
        }
        if self.log != newer.log {
            settings.push("log");
        }
        if self.lmtp.doors() != newer.lmtp.doors() {
            settings.push("where [lmtp] listens");
        }
        if self.login.password_threads != newer.login.password_threads {
            settings.push("login.password_threads");
        }
        if self.login.password_queue != newer.login.password_queue {
            settings.push("login.password_queue");
        }
        if self.checker.at_once != newer.checker.at_once {
            settings.push("checker.at_once");
        }
        settings
    }

    /// The default settings as TOML, every key present. For the documentation's tests and for a first file.
    pub fn defaults_as_toml() -> String {
        toml::to_string(&Config::default()).unwrap_or_default()
    }

    /// A contradiction between settings that are each fine alone: the setting to point at, and a sentence.
    fn contradiction(&self) -> Option<(String, String)> {
        if self.listen.is_empty() {
            return Some(("listen".into(), "there must be at least one [[listen]] table".into()));
        }
        for (at, listen) in self.listen.iter().enumerate() {
            let is_twin = |other: &Listen| other.address == listen.address && listen.address.port() != 0;
            if self.listen[..at].iter().any(is_twin) {
                let text = format!("two [[listen]] tables have the address {}", listen.address);
                return Some((format!("listen.{at}.address"), text));
            }
        }
        if let Some((setting, words)) = self.oauth.contradiction() {
            return Some((setting.into(), words.into()));
        }
        if let Some((setting, words)) = self.lmtp.contradiction() {
            return Some((setting.into(), words));
        }
        let is_taken = |address: &SocketAddr| address.port() != 0 && self.listen.iter().any(|l| l.address == *address);
        if let Some(address) = self.lmtp.listen.iter().find(|address| is_taken(address)) {
            return Some(("lmtp.listen".into(), format!("a [[listen]] table has the address {address} too")));
        }
        if self.limits.line_bytes < self.limits.line_bytes_before_login {
            let text = "must not be below line_bytes_before_login".to_owned();
            return Some(("limits.line_bytes".into(), text));
        }
        if self.limits.append_bytes < self.limits.message_bytes {
            return Some(("limits.append_bytes".into(), "must not be below message_bytes".into()));
        }
        for (at, mailbox) in self.mail.new_account_mailboxes.iter().enumerate() {
            let earlier = &self.mail.new_account_mailboxes[..at];
            if earlier.iter().any(|other| other.name == mailbox.name) {
                let text = format!("\"{}\" stands in the list twice", mailbox.name);
                return Some(("mail.new_account_mailboxes".into(), text));
            }
        }
        None
    }
}

fn read(file: &Path) -> Result<String, BadConfig> {
    let cannot = |error: std::io::Error| BadConfig::whole_file(file, format!("cannot read the configuration: {error}"));
    let size = std::fs::metadata(file).map_err(cannot)?.len();
    if size > MOST_FILE_BYTES {
        let text = format!("the configuration has {size} octets, more than {MOST_FILE_BYTES}");
        return Err(BadConfig::whole_file(file, text));
    }
    std::fs::read_to_string(file).map_err(cannot)
}

/// Where the configuration is looked for when nobody says.
pub fn usual_place() -> PathBuf {
    PathBuf::from("/etc/pillarbox/pillarbox.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("p.toml"), text).map_err(|bad| bad.to_string())
    }

    const SAMPLE: &str = include_str!("../../config/pillarbox.toml");

    #[test]
    fn the_shipped_file_holds_exactly_the_defaults() {
        assert_eq!(parse(SAMPLE), Ok(Config::default()));
    }

    #[test]
    fn an_empty_file_is_the_defaults_too() {
        assert_eq!(parse(""), Ok(Config::default()));
    }

    /// Every key of the code, as `table.key`.
    fn every_key() -> Vec<String> {
        fn walk(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
            for (key, value) in table {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                match value {
                    toml::Value::Table(inner) => walk(&path, inner, keys),
                    toml::Value::Array(list) => match list.first() {
                        Some(toml::Value::Table(inner)) => walk(&path, inner, keys),
                        _ => keys.push(path),
                    },
                    _ => keys.push(path),
                }
            }
        }
        let defaults: toml::Table = Config::defaults_as_toml().parse().expect("our own TOML");
        let mut keys = Vec::new();
        walk("", &defaults, &mut keys);
        keys
    }

    #[test]
    fn the_shipped_file_and_the_page_name_every_key() {
        let page = include_str!("../../docs/configuration.md");
        let keys = every_key();
        assert!(keys.len() > 30, "{keys:?}");
        let shipped: toml::Table = SAMPLE.parse().expect("the shipped file is TOML");
        for path in keys {
            let mut value = &toml::Value::Table(shipped.clone());
            for part in path.split('.') {
                let inner = match value {
                    toml::Value::Array(list) => &list[0],
                    other => other,
                };
                value = inner.get(part).unwrap_or_else(|| panic!("config/pillarbox.toml lacks {path}"));
            }
            let key = path.rsplit('.').next().expect("a path has a last part");
            assert!(page.contains(&format!("`{key}`")), "docs/configuration.md lacks {path}");
        }
    }

    #[test]
    fn every_setting_of_the_shipped_file_has_its_sentence() {
        let mut before = "";
        for (at, line) in SAMPLE.lines().enumerate() {
            let is_setting = line.starts_with(|c: char| c.is_ascii_lowercase());
            if is_setting {
                let has_sentence = before.starts_with('#') || line.contains(" # ");
                assert!(has_sentence, "line {}: {line}", at + 1);
            }
            before = line;
        }
    }

    #[test]
    fn a_misspelt_key_is_told_with_line_and_the_nearest() {
        let text = "data_dir = \"/x\"\n\n[[listen]]\nadress = \"127.0.0.1:1\"\n";
        let told = "p.toml:4: unknown key \"adress\" in [[listen]]; did you mean \"address\"?";
        assert_eq!(parse(text), Err(told.into()));
        let told = parse("[limit]\nmessage_bytes = 5\n").expect_err("no such table");
        assert_eq!(told, "p.toml:1: unknown table [limit]; did you mean [limits]?");
    }

    #[test]
    fn a_key_in_the_wrong_table_is_told_where_it_belongs() {
        let told = parse("[limits]\ndata_dir = \"/x\"\n").expect_err("wrong table");
        assert_eq!(
            told,
            "p.toml:2: unknown key \"data_dir\" in [limits]; it belongs at the top of the file, before the first table"
        );
        let told = parse("keep_removed = \"7d\"\n").expect_err("wrong table");
        assert_eq!(told, "p.toml:1: unknown key \"keep_removed\" at the top of the file; it belongs in [mail]");
    }

    #[test]
    fn wrong_types_and_bounds_name_line_and_setting() {
        let cases = [
            ("[limits]\n\nmessage_bytes = \"big\"\n", "p.toml:3: limits.message_bytes: "),
            ("[limits]\nidle_timeout_seconds = 60\n", "p.toml:2: limits.idle_timeout_seconds: "),
            ("[limits]\nnesting = -1\n", "p.toml:2: limits.nesting: "),
            ("[mail]\nkeep_removed = \"5m\"\n", "p.toml:2: mail.keep_removed: "),
            ("[login]\nallow_plaintext = \"sometimes\"\n", "p.toml:2: login.allow_plaintext: "),
            ("[[listen]]\naddress = \"localhost\"\n", "p.toml:2: listen.address: "),
            ("[[listen]]\nsecurity = \"tls\"\n", "p.toml:1: listen: "),
            ("listen = []\n", "p.toml:1: "),
            ("[login]\ndefault_domain = \"a@b\"\n", "p.toml:2: login.default_domain: "),
            ("[limits]\ntrusted_networks = [\"10.0.0.0/99\"]\n", "p.toml:2: limits.trusted_networks: "),
            ("x = \n", "p.toml:1: "),
            ("a = 1\na = 2\n", "p.toml:2: "),
        ];
        for (text, beginning) in cases {
            let told = parse(text).expect_err(text);
            assert!(told.starts_with(beginning), "{text:?} gave {told:?}");
            assert!(!told.contains('\n'), "one line only: {told:?}");
        }
    }

    #[test]
    fn what_only_a_restart_can_change_is_named() {
        let old = Config::default();
        let newer = parse("data_dir = \"/x\"\n[limits]\nnesting = 9\n[log]\nlevel = \"debug\"\n").expect("fine");
        assert_eq!(old.needs_restart_for(&newer), ["data_dir", "log"]);
        assert!(old.needs_restart_for(&old).is_empty());
    }

    #[test]
    fn two_listeners_on_one_address_are_refused() {
        let text = "[[listen]]\naddress = \"127.0.0.1:143\"\n[[listen]]\naddress = \"127.0.0.1:143\"\n";
        let told = parse(text).expect_err("twins");
        assert!(told.starts_with("p.toml:4: "), "{told}");
        assert!(parse(&text.replace("143", "0")).is_ok(), "port 0 is a fresh port each time");
    }

    #[test]
    fn an_unreadable_certificate_is_told_with_its_line() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("p.toml");
        std::fs::write(&file, "[tls]\ncertificate = \"none.pem\"\nkey = \"none.key\"\n").expect("written");
        let told = Config::load(&file).expect_err("no certificate").to_string();
        let expected = format!("{}:2: cannot read {}/none.pem: ", file.display(), home.path().display());
        assert!(told.starts_with(&expected), "{told}");
    }

    #[test]
    fn without_tls_no_certificate_is_asked_for_and_paths_start_at_the_file() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("p.toml");
        let text = "data_dir = \"mail\"\n[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n";
        std::fs::write(&file, text).expect("written");
        let config = Config::load(&file).expect("fine");
        assert_eq!(config.data_dir, home.path().join("mail"));
    }
}

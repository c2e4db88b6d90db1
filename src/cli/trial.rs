//! `pillarbox try`: a server with sample mail in a temporary folder, on this machine only, with nothing to set up.
//! It asks nothing, needs no root and no network, tells exactly what a mail program wants to know, and takes the
//! folder away when it stops, unless it was asked to keep it.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, samples, say, source};
use crate::clock::Clock;
use crate::config::{Listen, Security};
use crate::login::credentials;
use crate::mailstore::directory::Directory;
use crate::mailstore::{Account, MailStore};
use crate::server::{self, Occasion, self_signed, tls};
use crate::types::Secret;

/// Who logs in, and with which password: the same word, so that nobody has to remember two.
const USER: &str = "demo";
const PASSWORD: &str = "demo";
/// The ports tried first: the usual ones plus 1000, so that no root is needed.
const STARTTLS_PORT: u16 = 1143;
const TLS_PORT: u16 = 1993;

#[derive(Debug, Args)]
pub(super) struct Trial {
    /// Keep everything in this directory; the next `try` with it goes on with what is there
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Serve this mail too: an mbox, a folder of them, or a Maildir with its folders
    #[arg(long, value_name = "FILE")]
    mail: Option<PathBuf>,
}

pub(super) fn obey(trial: &Trial) -> Result<(), Failure> {
    // A slip of the pen is told before anything is made.
    if let Some(mail) = &trial.mail
        && let Err(error) = fs::metadata(mail)
    {
        return Err(Failure::Failed(format!("{}: {error}", mail.display())));
    }
    let folder = match &trial.keep {
        Some(path) => Folder::kept(path)?,
        None => Folder::temporary().map_err(|error| Failure::Failed(format!("no temporary folder: {error}")))?,
    };
    let trouble = |error: io::Error| Failure::Failed(format!("{}: {error}", folder.path.display()));
    let (certificate, key) = (folder.path.join("cert.pem"), folder.path.join("key.pem"));
    if !(certificate.exists() && key.exists()) {
        self_signed::make(
            &["localhost".to_owned(), "127.0.0.1".to_owned()],
            &certificate,
            &key,
            Clock::System.now_secs(),
        )
        .map_err(trouble)?;
    }
    let fingerprint = tls::fingerprint(&certificate).map_err(Failure::Failed)?;
    let config = folder.path.join("pillarbox.toml");
    let ports = [free_port(STARTTLS_PORT), free_port(TLS_PORT)];
    fs::write(&config, configuration(ports)).map_err(trouble)?;
    Ok(server::serve_with(&config, Run { folder: &folder, fingerprint, mail: trial.mail.clone() })?)
}

/// Where everything lies while the trial runs. A temporary one goes when this is dropped.
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn temporary() -> io::Result<Folder> {
        let mut octets = [0u8; 8];
        getrandom::fill(&mut octets).map_err(io::Error::other)?;
        let mut name = "pillarbox-try-".to_owned();
        octets.iter().for_each(|octet| {
            let _ = write!(name, "{octet:02x}");
        });
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder { path, is_temporary: true })
    }

    /// The directory the user named: a new one, an empty one, or that of an earlier trial.
    fn kept(path: &Path) -> Result<Folder, Failure> {
        let trouble = |error: io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let is_empty = fs::read_dir(path).map_err(trouble)?.next().is_none();
                if !is_empty && !path.join("pillarbox.toml").is_file() {
                    let text = format!("{} holds other things; name a new or empty directory", path.display());
                    return Err(Failure::Failed(text));
                }
            }
            Err(error) => return Err(trouble(error)),
        }
        Ok(Folder { path: path.canonicalize().map_err(trouble)?, is_temporary: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            eprintln!("pillarbox: {} could not be removed: {error}", self.path.display());
        }
    }
}

/// `wanted`, or 0 when another program has it: then the system gives any that is free.
fn free_port(wanted: u16) -> u16 {
    match TcpListener::bind(("127.0.0.1", wanted)) {
        Ok(_) => wanted,
        Err(error) => {
            say(&format!("Port {wanted} cannot be used ({error}), another one is taken."));
            0
        }
    }
}

/// The configuration, in the form of any other: so that the other commands work on the trial too.
fn configuration([starttls, tls]: [u16; 2]) -> String {
    let mut text = "# Written anew each time `pillarbox try` starts.\ndata_dir = \"data\"\n".to_owned();
    for (port, security) in [(starttls, Security::StartTls), (tls, Security::Tls)] {
        let word = security.word();
        let _ = write!(text, "\n[[listen]]\naddress = \"127.0.0.1:{port}\"\nsecurity = \"{word}\"\n");
    }
    text.push_str("\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    // A trial works on a disk that is nearly full too, and says nothing besides its own text.
    text.push_str("\n[limits]\nmin_free_bytes = 0\n\n[log]\nlevel = \"warn\"\n");
    text
}

struct Run<'a> {
    folder: &'a Folder,
    fingerprint: String,
    mail: Option<PathBuf>,
}

impl Run<'_> {
    /// Takes over the mail that was named. What cannot be taken is told, and no reason not to show the rest.
    async fn take_over(&self, store: &MailStore, account: &Account) -> Result<(), String> {
        let Some(mail) = self.mail.clone() else { return Ok(()) };
        let line = server::transfer::beside(store, account).map_err(|error| error.to_string())?;
        let taking = tokio::task::spawn_blocking(move || source::from_anything(&mail, line));
        if let Err(reason) = taking.await.map_err(|error| error.to_string())? {
            say(&reason);
        }
        Ok(())
    }
}

impl Occasion for Run<'_> {
    async fn prepare(&self, directory: &Directory, store: &MailStore) -> Result<(), String> {
        let known = directory.look_up(USER).map_err(|error| error.to_string())?;
        let user = match known {
            Some(user) => user,
            None => {
                let credentials = credentials::make(&Secret::new(PASSWORD), true).map_err(|bad| bad.to_string())?;
                directory.add_user(USER, &credentials).map_err(|error| error.to_string())?
            }
        };
        let account = store.account(user.account).await.map_err(|error| error.to_string())?;
        samples::place(&account).await.map_err(|error| error.to_string())?;
        self.take_over(store, &account).await
    }

    fn moves(&self, reason: &str) -> bool {
        say(&format!("{reason}. Other ports serve instead."));
        true
    }

    fn ready(&self, doors: &[Listen]) {
        let port = |security| doors.iter().find(|door| door.security == security).map_or(0, |door| door.address.port());
        let (starttls, tls) = (port(Security::StartTls), port(Security::Tls));
        let (folder, fingerprint) = (self.folder.path.display(), &self.fingerprint);
        let fate = if self.folder.is_temporary { "is removed when this stops" } else { "is kept" };
        let text = format!(
            "Pillarbox is ready. In Thunderbird: New Account, Email, Configure manually; then type

    Your full name         Demo
    Email address          demo@localhost
    Password               {PASSWORD}

    Incoming server
      Protocol             IMAP
      Hostname             127.0.0.1
      Port                 {tls}
      Connection security  SSL/TLS
      Authentication       Normal password
      Username             {USER}

    or with STARTTLS
      Port                 {starttls}
      Connection security  STARTTLS

    Outgoing server        there is none: type the same hostname; sending will fail

Other mail programs want the same. They will ask about the certificate, which was made on this machine.
Its SHA-256 fingerprint is
    {fingerprint}

Everything lies in {folder} and {fate}.
Press Ctrl-C to stop."
        );
        text.lines().for_each(say);
    }

    fn ends_with_its_terminal(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_configuration_it_writes_is_a_good_one() {
        let config = Config::parse(Path::new("p.toml"), &configuration([1143, 0])).expect("fine");
        let doors: Vec<_> = config.listen.iter().map(|door| (door.address.to_string(), door.security)).collect();
        let expected = [("127.0.0.1:1143".to_owned(), Security::StartTls), ("127.0.0.1:0".to_owned(), Security::Tls)];
        assert_eq!(doors, expected);
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_refused() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("letter.txt"), "mine").expect("written");
        assert!(Folder::kept(home.path()).is_err());
        assert!(Folder::kept(&home.path().join("new")).is_ok());
        assert!(Folder::kept(&home.path().join("new")).is_ok(), "an empty one will do");
    }
}

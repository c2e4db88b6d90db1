//! Where mail comes from: `pillarbox import maildir`, `mbox` and `imap`, and `pillarbox try --mail`.

use std::fs::File;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::progress::Progress;
use super::{Failure, Place, prompt};
use crate::auth::ChannelBindings;
use crate::config::Config;
use crate::control::{AskError, client};
use crate::server::tls::TlsDial;
use crate::server::transfer::at_rest;
use crate::transfer::imap::link::{Key, Link, Wire, start_tls};
use crate::transfer::imap::{self, Source};
use crate::transfer::intake::{Intake, Line};
use crate::transfer::mbox::reader::Quoting;
use crate::transfer::{Stopped, maildir, mbox};
use crate::types::MailboxName;

/// How long a server may take to answer, and to be reached.
const PATIENCE: Duration = Duration::from_secs(300);
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// Whose mail it becomes, and where it goes.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The user whose mail it becomes
    user: String,
    /// Put everything into and below this mailbox
    #[arg(long, value_name = "MAILBOX")]
    into: Option<String>,
}

/// How lines that look like a message's beginning are quoted in an mbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Dialect {
    /// `>From` and `>>From` each lose one mark; right for most files
    Mboxrd,
    /// Only `>From` loses its mark
    Mboxo,
    /// Nothing is quoted; Content-Length tells where a message ends
    Mboxcl2,
}

impl From<Dialect> for Quoting {
    fn from(dialect: Dialect) -> Quoting {
        match dialect {
            Dialect::Mboxrd => Quoting::Rd,
            Dialect::Mboxo => Quoting::O,
            Dialect::Mboxcl2 => Quoting::None,
        }
    }
}

/// How a source is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Security {
    Tls,
    Starttls,
    /// In clear text, with the password: on this machine or inside a tunnel only
    None,
}

/// A server to pull from.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Its name, which its certificate must bear
    #[arg(long)]
    host: String,
    /// Usually 993, and 143 without TLS from the start
    #[arg(long)]
    port: Option<u16>,
    #[arg(long, value_enum, default_value = "tls")]
    security: Security,
    /// The user's name there
    #[arg(long, value_name = "NAME")]
    login: String,
    /// Read the password there from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// Read an access token of OAuth 2.0 from standard input instead of a password
    #[arg(long, conflicts_with = "password_stdin")]
    token_stdin: bool,
    /// Read an access token of OAuth 2.0 from this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["password_stdin", "token_stdin"])]
    token_file: Option<PathBuf>,
    /// Delete here what was deleted there since it was taken, unless it was changed here; `undelete` brings it back
    #[arg(long)]
    delete_gone: bool,
    /// The authorities whose certificates are believed, as PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    ca: PathBuf,
}

pub(super) fn from_maildir(path: &Path, target: &Target, place: &Place) -> Result<(), Failure> {
    take(target, &place.load()?, |below, intake| maildir::import(path, below, intake))
}

pub(super) fn from_mbox(path: &Path, dialect: Dialect, target: &Target, place: &Place) -> Result<(), Failure> {
    take(target, &place.load()?, |below, intake| mbox::import(path, below, dialect.into(), intake))
}

pub(super) fn from_imap(server: &Server, target: &Target, place: &Place) -> Result<(), Failure> {
    let config = place.load()?;
    let key = server.key().map_err(Failure::Failed)?;
    take(target, &config, |below, intake| {
        let mut link = server.connect(&key)?;
        let source = Source {
            host: server.host.to_ascii_lowercase(),
            user: server.login.clone(),
            deletes_gone: server.delete_gone,
        };
        imap::import(&mut link, &source, below, intake)
    })
}

/// The mail that `try` shows besides its samples: an mbox, or a Maildir with its folders.
pub(super) fn from_anything(path: &Path, line: Line) -> Result<(), String> {
    let mut progress = Progress::new();
    let mut intake = Intake::new(line, &mut progress);
    let outcome = match maildir::is_maildir(path) {
        true => maildir::import(path, None, &mut intake),
        false => mbox::import(path, None, Quoting::Rd, &mut intake),
    };
    let tally = intake.tally();
    drop(intake);
    progress.end("taken:", tally, outcome)
}

/// Runs an import into the user's account.
fn take(
    target: &Target,
    config: &Config,
    work: impl FnOnce(Option<&MailboxName>, &mut Intake<'_>) -> Result<(), Stopped>,
) -> Result<(), Failure> {
    let below = match &target.into {
        None => None,
        Some(name) => Some(MailboxName::new(name).map_err(|bad| Failure::Failed(format!("{name}: {bad}")))?),
    };
    let ended = with_account(config, &target.user, |line| {
        let mut progress = Progress::new().ended_by_interrupt("the same command goes on from here");
        let mut intake = Intake::new(line, &mut progress);
        let outcome = work(below.as_ref(), &mut intake);
        let tally = intake.tally();
        drop(intake);
        progress.end("taken:", tally, outcome)
    })?;
    ended.map_err(Failure::Failed)
}

/// Runs `work` with the way to a user's account: through the running server, or without one.
pub(super) fn with_account<T>(config: &Config, user: &str, work: impl FnOnce(Line) -> T) -> Result<T, Failure> {
    match client::transfer(&config.data_dir, user) {
        Ok(Ok((reader, writer))) => Ok(work(Line::new(reader, writer))),
        Ok(Err(reason)) => Err(Failure::Failed(reason)),
        Err(AskError::NotRunning) => at_rest(config, user, work).map_err(Failure::Failed),
        Err(error) => Err(Failure::of(error)),
    }
}

impl Server {
    /// What it is opened with.
    fn key(&self) -> Result<Key, String> {
        match &self.token_file {
            Some(file) => {
                let trouble = |error: std::io::Error| format!("{}: {error}", file.display());
                prompt::token(File::open(file).map_err(trouble)?).map(Key::Token)
            }
            None if self.token_stdin => prompt::token(std::io::stdin().lock()).map(Key::Token),
            None if self.password_stdin => prompt::from_stdin().map(Key::Password),
            None => prompt::ask_once().map(Key::Password),
        }
    }

    /// Connects and logs in.
    fn connect(&self, key: &Key) -> Result<Link, Stopped> {
        let port = self.port.unwrap_or(if self.security == Security::Tls { 993 } else { 143 });
        let trouble = |error: std::io::Error| Stopped::Outside(format!("{}:{port}: {error}", self.host));
        let mut tcp = self.dial(port).map_err(trouble)?;
        let mut link = match self.security {
            Security::None => Link::begin(Box::new(tcp), false, ChannelBindings::default())?,
            Security::Tls => {
                let (stream, bindings) = self.encrypt(tcp).map_err(trouble)?;
                Link::begin(stream, false, bindings)?
            }
            Security::Starttls => {
                start_tls(&mut tcp)?;
                let (stream, bindings) = self.encrypt(tcp).map_err(trouble)?;
                Link::begin(stream, true, bindings)?
            }
        };
        link.log_in(&self.login, key)?;
        Ok(link)
    }

    fn dial(&self, port: u16) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::other("the name leads to no address");
        for address in (self.host.as_str(), port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
                Ok(tcp) => {
                    tcp.set_read_timeout(Some(PATIENCE))?;
                    tcp.set_write_timeout(Some(PATIENCE))?;
                    return Ok(tcp);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn encrypt(&self, tcp: TcpStream) -> std::io::Result<(Box<dyn Wire>, ChannelBindings)> {
        let (stream, bindings) = TlsDial::default().over(tcp, &self.host, &self.ca)?;
        Ok((Box::new(stream), bindings))
    }
}

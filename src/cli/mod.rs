//! The command line: what can be asked for, and the exit code of each outcome. Thin: it asks the rooms below.

mod advice;
mod alias;
mod app_password;
mod deliver;
mod export;
mod import;
mod introduction;
mod paper;
mod progress;
mod prompt;
mod restore;
mod samples;
mod self_signed;
mod source;
mod trial;
mod upkeep;
mod user;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, BadConfig, Config};
use crate::control::{AskError, Reply, Request, client};
use crate::server::{self, ServeError};

/// An IMAP mail server that is complete, fast, small, and does not lose mail.
#[derive(Debug, Parser)]
#[command(name = "pillarbox", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try Pillarbox: serve sample mail from a temporary folder, with everything set up
    Try(trial::Trial),
    /// Run the server until SIGTERM; SIGHUP reads configuration and certificate again
    Serve(Place),
    /// Say whether a configuration is fine, and where it is not
    CheckConfig(Place),
    /// Add, change, list and remove users; works with and without a running server
    #[command(subcommand)]
    User(user::UserCommand),
    /// Copy all mail while the server runs; into the same directory again only what is new
    Backup(upkeep::BackupLine),
    /// Bring an account, or a folder of one, back out of a backup
    Restore(restore::RestoreLine),
    /// Bring back mail that was removed
    Undelete(upkeep::UndeleteLine),
    /// Examine the machine, the certificate and the running server, and say what to do
    Doctor(advice::DoctorLine),
    /// Write the files and DNS records in which mail programs look for a domain's servers
    Autoconfig(advice::AutoconfigLine),
    /// Take over what another server has; works with and without a running server
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Write a user's mail into a folder; works with and without a running server
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Add, remove and list aliases and catch-alls; works with and without a running server
    #[command(subcommand)]
    Alias(alias::AliasCommand),
    /// Deliver a message from standard input; exit codes as in sysexits.h
    Deliver(deliver::Deliver),
    /// Say how the running server goes
    Status(watch::Status),
    /// List the sessions of the running server
    Who(watch::Who),
    /// End sessions of the running server; the mail programs may come back
    Kick(watch::Kick),
    /// Watch the sessions of the running server, the busiest first
    Top(watch::Top),
    /// Tell the running server to read configuration and certificate again, and say what came of it
    Reload(Place),
    /// Make a certificate of one's own, for a first start
    SelfSigned(self_signed::SelfSigned),
    /// Write the man pages
    #[command(hide = true)]
    Man(paper::Man),
    /// Write completions for a shell
    #[command(hide = true)]
    Completions(paper::Completions),
    /// Check that all that is stored is whole; works with and without a running server
    Check {
        /// Only what belongs to this user
        user: Option<String>,
        /// Put what can be saved of a damaged account in its place; the damaged files are kept
        #[arg(long, requires = "user")]
        repair: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Place {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "PILLARBOX_CONFIG", default_value_os_t = config::usual_place())]
    config: PathBuf,
}

impl Place {
    fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.config)?)
    }
}

/// Why a command failed, and so with which exit code.
#[derive(Debug)]
enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 78, EX_CONFIG of sysexits.h: systemd and scripts tell it from a crash.
    Config(BadConfig),
    /// An exit code of sysexits.h: whoever hands mail over acts on it.
    Undelivered { exit: u8, reason: String },
}

impl Failure {
    fn of(error: impl fmt::Display) -> Self {
        Failure::Failed(error.to_string())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Config(_) => 78,
            Failure::Undelivered { exit, .. } => *exit,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(text) | Failure::Undelivered { reason: text, .. } => f.write_str(text),
            Failure::Config(bad) => bad.fmt(f),
        }
    }
}

impl From<BadConfig> for Failure {
    fn from(bad: BadConfig) -> Self {
        Failure::Config(bad)
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Config(bad) => Failure::Config(bad),
            ServeError::Failed(text) => Failure::Failed(text),
        }
    }
}

/// Does what the command line asks and gives the exit code: 0 fine, 1 failed, 2 wrong usage, 78 bad configuration;
/// `deliver` has those of sysexits.h.
pub fn run() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|word| word == "deliver") => {
            let _ = error.print();
            return ExitCode::from(deliver::USAGE);
        }
        // clap tells it and exits with 2; with 0 when it was asked for help.
        Err(error) => error.exit(),
    };
    match obey(line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}pillarbox: {failure}", server::weight_of_a_failure());
            ExitCode::from(failure.code())
        }
    }
}

fn obey(command: Command) -> Result<(), Failure> {
    match command {
        Command::Try(trial) => trial::obey(&trial),
        Command::Serve(place) => Ok(server::serve(&place.config)?),
        Command::CheckConfig(place) => {
            server::check_config(&place.config)?;
            say(&format!("{} is fine", place.config.display()));
            Ok(())
        }
        Command::User(command) => user::obey(command),
        Command::Backup(line) => upkeep::backup(line),
        Command::Undelete(line) => upkeep::undelete(line),
        Command::Doctor(line) => advice::doctor(line),
        Command::Autoconfig(line) => advice::autoconfig(line),
        Command::Restore(line) => restore::restore(line),
        Command::Import(command) => import::obey(command),
        Command::Export(command) => export::obey(command),
        Command::Alias(command) => alias::obey(command),
        Command::Deliver(asked) => deliver::obey(asked),
        Command::Status(asked) => watch::status(asked),
        Command::Who(asked) => watch::who(asked),
        Command::Kick(asked) => watch::kick(asked),
        Command::Top(asked) => watch::top(asked),
        Command::Reload(place) => watch::reload(&place.load()?),
        Command::SelfSigned(asked) => self_signed::make(&asked),
        Command::Man(asked) => paper::man(&asked),
        Command::Completions(asked) => {
            paper::completions(&asked);
            Ok(())
        }
        Command::Check { user: Some(user), repair: true, place } => restore::repair(&place.load()?, &user),
        Command::Check { user, place, .. } => check(&place.load()?, user),
    }
}

/// Asks the running server to check, or checks itself when none runs.
fn check(config: &Config, user: Option<String>) -> Result<(), Failure> {
    let request = Request::Check { user: user.clone() };
    let last = match client::ask(&config.data_dir, &request, say) {
        Ok(Reply::Done(_)) => Ok(true),
        Ok(Reply::Found(_)) => Ok(false),
        Ok(Reply::Failed(reason)) => Err(reason),
        Ok(_) => Err("the running server gave another answer than was asked for".into()),
        Err(AskError::NotRunning) => server::check_at_rest(config, user.as_deref(), &mut |line| say(&line)),
        Err(broken) => Err(broken.to_string()),
    };
    match last.map_err(Failure::Failed)? {
        true => {
            say("all is well");
            Ok(())
        }
        false => Err(Failure::Failed("there are faults".into())),
    }
}

/// Tells the running server, if there is one; the sentence it answers with.
fn tell_server(data_dir: &Path, request: &Request) -> Result<Option<String>, Failure> {
    match client::ask(data_dir, request, |_| {}) {
        Ok(Reply::Done(text)) => Ok(Some(text)),
        Ok(Reply::Failed(reason) | Reply::Found(reason) | Reply::Undelivered { reason, .. }) => {
            Err(Failure::Failed(reason))
        }
        Ok(Reply::Line(_) | Reply::Session(_) | Reply::Status(_) | Reply::SendMessage | Reply::Begin) => Ok(None),
        Err(AskError::NotRunning) => Ok(None),
        Err(broken) => Err(Failure::of(broken)),
    }
}

/// One line for the person who asked. Control characters are made visible: names may hold what a terminal obeys.
fn say(text: &str) {
    use std::io::Write;
    let shown: String = text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    // `pillarbox user list | head -1` closes the pipe early; that is no failure.
    let _ = writeln!(std::io::stdout(), "{shown}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn scripts_may_put_the_options_where_they_like() {
        for line in [
            "pillarbox try",
            "pillarbox try --keep d",
            "pillarbox try --mail m --keep d",
            "pillarbox import maildir anna d --into Old --config f",
            "pillarbox import mbox anna f --quoting mboxo",
            "pillarbox import imap anna --host h --login a --password-stdin --security starttls --port 1143",
            "pillarbox export maildir anna d --config f",
            "pillarbox export mbox anna d",
            "pillarbox serve --config f",
            "pillarbox check-config --config f",
            "pillarbox user add anna --password-stdin --config f",
            "pillarbox user add --config f --password-stdin anna",
            "pillarbox user passwd anna --config f",
            "pillarbox user list --config f",
            "pillarbox user remove anna --config f --delete-mail",
            "pillarbox user master anna --revoke --config f",
            "pillarbox user app-password add anna --device phone --config f",
            "pillarbox user app-password list --config f anna",
            "pillarbox user app-password remove anna --device phone --config f",
            "pillarbox import passwd users --config f",
            "pillarbox check --config f",
            "pillarbox check --config f anna",
            "pillarbox backup --config f d",
            "pillarbox backup d anna bert --prune --config f",
            "pillarbox backup --verify d",
            "pillarbox check anna --repair --config f",
            "pillarbox doctor --config f --host imap.example.org",
            "pillarbox autoconfig example.org --out d --config f",
            "pillarbox autoconfig example.org --print records.zone",
            "pillarbox restore d anna --yes",
            "pillarbox restore d anna --mailbox Work --to Old --as bert --config f",
            "pillarbox restore d --all",
            "pillarbox undelete anna --list --since 3d --mailbox Work --config f",
            "pillarbox undelete --config f anna --to Back --copies",
            "pillarbox alias add sales@example.org anna bert --config f",
            "pillarbox alias add --config f @example.org anna",
            "pillarbox alias remove sales@example.org",
            "pillarbox alias list",
            "pillarbox self-signed mail.example.org --certificate c --key k",
            "pillarbox man dir",
            "pillarbox completions zsh",
            "pillarbox status --json --config f",
            "pillarbox who anna --json --config f",
            "pillarbox kick anna --config f",
            "pillarbox kick --session 7 --config f",
            "pillarbox top --every 5 --times 1 --config f",
            "pillarbox reload --config f",
            "pillarbox deliver -u anna -m Archive -f bert@example.net --config f",
            "pillarbox deliver --config f --user anna+lists -f <>",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "pillarbox",
            "pillarbox fly",
            "pillarbox user add",
            "pillarbox serve --confg f",
            "pillarbox backup",
            "pillarbox backup d anna --verify",
            "pillarbox check --repair",
            "pillarbox restore d",
            "pillarbox restore d anna --to x",
            "pillarbox restore d anna --all",
            "pillarbox autoconfig example.org --out d --print records.zone",
            "pillarbox undelete anna --list --to x",
            "pillarbox alias add sales",
            "pillarbox deliver",
            "pillarbox serve --confg f",
            "pillarbox kick",
            "pillarbox kick anna --session 7",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}

//! `pillarbox status`, `who`, `kick`, `top` and `reload`: what the running server is doing, and what it is told to do,
//! over its control socket.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use super::{Failure, Place, say};
use crate::config::Config;
use crate::control::report::spell;
use crate::control::{AskError, Glance, Reply, Request, client};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Who {
    /// Only the sessions of this user
    user: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("whom").required(true)))]
pub(super) struct Kick {
    /// All sessions of this user
    #[arg(group = "whom")]
    user: Option<String>,
    /// The session with this number
    #[arg(long, group = "whom", value_name = "NUMBER")]
    session: Option<u64>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Top {
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Look so many times; 0: until interrupted. Without a terminal once
    #[arg(long, value_name = "TIMES")]
    times: Option<u64>,
    /// Show so many sessions
    #[arg(long, default_value_t = 20, value_name = "SESSIONS")]
    most: usize,
    #[command(flatten)]
    place: Place,
}

pub(super) fn status(asked: Status) -> Result<(), Failure> {
    match ask(&asked.place.load()?, &Request::Status, |_| {})? {
        Reply::Status(status) if asked.json => say(&status.json()),
        Reply::Status(status) => table(&[], &status.lines().iter().map(|line| cells(line)).collect::<Vec<_>>()),
        _ => return Err(unexpected()),
    }
    Ok(())
}

pub(super) fn who(asked: Who) -> Result<(), Failure> {
    let config = asked.place.load()?;
    if asked.json {
        // Told as they come: there may be very many.
        ask(&config, &Request::Who { user: asked.user }, |glance| say(&glance.json()))?;
        return Ok(());
    }
    // What moved is known from the second look on, and here is only one.
    let head = &HEAD[..HEAD.len() - 1];
    table(head, &glances(&config, asked.user)?.iter().map(|glance| row(glance, "")).collect::<Vec<_>>());
    Ok(())
}

pub(super) fn kick(asked: Kick) -> Result<(), Failure> {
    let Kick { user, session, place } = asked;
    match ask(&place.load()?, &Request::Kick { user, session }, |_| {})? {
        Reply::Done(told) => say(&told),
        _ => return Err(unexpected()),
    }
    Ok(())
}

/// Says what came of it and fails with the reason: `systemctl reload` is this command.
pub(super) fn reload(config: &Config) -> Result<(), Failure> {
    match ask(config, &Request::Reload, |_| {})? {
        Reply::Done(told) => say(&told),
        _ => return Err(unexpected()),
    }
    Ok(())
}

pub(super) fn top(asked: Top) -> Result<(), Failure> {
    let config = asked.place.load()?;
    let is_terminal = std::io::stdout().is_terminal();
    let times = asked.times.unwrap_or(if is_terminal { 0 } else { 1 });
    let mut before: HashMap<u64, u64> = HashMap::new();
    let mut looks = 0;
    loop {
        let mut glances = glances(&config, None)?;
        let octets = |glance: &Glance| glance.received.saturating_add(glance.sent);
        // A session that was not there at the last look did all of it since.
        let moved = |glance: &Glance| octets(glance).saturating_sub(before.get(&glance.session).copied().unwrap_or(0));
        glances
            .sort_by_key(|glance| (std::cmp::Reverse((!glance.doing.is_empty(), moved(glance))), glance.idle_seconds));
        let rows: Vec<_> =
            glances.iter().take(asked.most).map(|glance| row(glance, &moved(glance).to_string())).collect();
        if is_terminal {
            // Home, and away with what stood there.
            print!("\x1b[H\x1b[2J");
        }
        say(&format!("{} sessions; MOVED is octets since the last look", glances.len()));
        table(&HEAD, &rows);
        before = glances.iter().map(|glance| (glance.session, octets(glance))).collect();
        looks += 1;
        if looks == times {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(asked.every));
    }
}

fn glances(config: &Config, user: Option<String>) -> Result<Vec<Glance>, Failure> {
    let mut glances = Vec::new();
    ask(config, &Request::Who { user }, |glance| glances.push(glance))?;
    Ok(glances)
}

fn ask(config: &Config, request: &Request, mut tell: impl FnMut(Glance)) -> Result<Reply, Failure> {
    let each = |reply| {
        if let Reply::Session(glance) = reply {
            tell(*glance);
        }
    };
    match client::ask_each(&config.data_dir, request, each) {
        Ok(Reply::Failed(reason)) => Err(Failure::Failed(reason)),
        Ok(reply) => Ok(reply),
        Err(error @ AskError::NotRunning) => Err(Failure::of(format!("{error} on {}", config.data_dir.display()))),
        Err(error) => Err(Failure::of(error)),
    }
}

fn unexpected() -> Failure {
    Failure::Failed("the running server gave another answer than was asked for".into())
}

const HEAD: [&str; 10] = ["SESSION", "USER", "ADDRESS", "CLIENT", "STATE", "MAILBOX", "IDLE", "IN", "OUT", "MOVED"];

fn row(glance: &Glance, moved: &str) -> Vec<String> {
    let user = match glance.acting.as_str() {
        "" => glance.user.clone(),
        acting => format!("{} (by {acting})", glance.user),
    };
    let protocol = if glance.protocol == "IMAP" { "" } else { &glance.protocol };
    let state = [protocol, &glance.state, &glance.doing].into_iter().filter(|word| !word.is_empty());
    let address = format!("{}{}", glance.address, if glance.tls { " (tls)" } else { "" });
    vec![
        glance.session.to_string(),
        user,
        address,
        glance.client.clone(),
        state.collect::<Vec<_>>().join(" "),
        glance.mailbox.clone(),
        spell(glance.idle_seconds),
        glance.received.to_string(),
        glance.sent.to_string(),
        moved.to_string(),
    ]
}

fn cells(line: &str) -> Vec<String> {
    line.split('\t').map(str::to_owned).collect()
}

/// Rows under a head, each column as wide as its widest cell.
fn table(head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).filter(|head| !head.is_empty()).chain(rows).collect();
    let columns = all.iter().map(|row| row.len()).max().unwrap_or(0);
    let width = |at: usize| all.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    for row in &all {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        say(line.trim_end());
    }
}

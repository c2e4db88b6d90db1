//! `pillarbox import`: `passwd` takes over the users of another server with their password hashes, and `maildir`, `mbox`
//! and `imap` their mail (see `source.rs`).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::user::{refuse_twin, tell_of_change};
use super::{Failure, Place, say, source};
use crate::config::Config;
use crate::login::passwd_file;
use crate::mailstore::directory::Directory;
use crate::mailstore::lock;

/// Longest line read, in octets.
const MOST_LINE_BYTES: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Add the users of a passwd-file (`user:{SCHEME}hash:...`); tells line by line what was not taken
    Passwd {
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Take over a Maildir with its folders; again takes what is new
    Maildir {
        #[command(flatten)]
        target: source::Target,
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Take over an mbox, or a folder of them; again takes what is new
    Mbox {
        #[command(flatten)]
        target: source::Target,
        /// A file goes into INBOX, or where --into says; each file of a folder into a mailbox of its name
        path: PathBuf,
        #[arg(long, value_enum, default_value = "mboxrd")]
        quoting: source::Dialect,
        #[command(flatten)]
        place: Place,
    },
    /// Take over the mail of another IMAP server; again takes what is new
    Imap {
        #[command(flatten)]
        target: source::Target,
        #[command(flatten)]
        server: source::Server,
        #[command(flatten)]
        place: Place,
    },
}

pub(super) fn obey(command: ImportCommand) -> Result<(), Failure> {
    match command {
        ImportCommand::Passwd { file, place } => passwd(&place.load()?, &file),
        ImportCommand::Maildir { target, directory, place } => source::from_maildir(&directory, &target, &place),
        ImportCommand::Mbox { target, path, quoting, place } => source::from_mbox(&path, quoting, &target, &place),
        ImportCommand::Imap { target, server, place } => source::from_imap(&server, &target, &place),
    }
}

fn passwd(config: &Config, file: &Path) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Failed(format!("cannot read {}: {error}", file.display()));
    let mut lines = BufReader::new(File::open(file).map_err(cannot)?);
    let data_dir = lock::prepare(&config.data_dir).map_err(Failure::of)?;
    let directory = Directory::open(&data_dir).map_err(Failure::of)?;
    let (mut taken, mut refused, mut number) = (0, 0, 0);
    loop {
        let mut line = Vec::new();
        let read = lines.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line).map_err(cannot)?;
        if read == 0 {
            break;
        }
        number += 1;
        if read as u64 == MOST_LINE_BYTES && !line.ends_with(b"\n") {
            return Err(Failure::Failed(format!(
                "line {number} is longer than {MOST_LINE_BYTES} octets: no passwd-file"
            )));
        }
        match take(config, &directory, &line) {
            Ok(None) => {}
            Ok(Some(left_out)) => {
                taken += 1;
                for sentence in left_out {
                    say(&format!("line {number}: {sentence}"));
                }
            }
            Err(reason) => {
                refused += 1;
                say(&format!("line {number}: not taken: {reason}"));
            }
        }
    }
    tell_of_change(config);
    say(&format!("{taken} users were taken, {refused} lines were not"));
    match refused {
        0 => Ok(()),
        _ => Err(Failure::Failed("not every line was taken; what is said above stands in the way".into())),
    }
}

/// Makes a user of a line. `None`: there is none in it. The sentences say what of the line is not kept.
fn take(config: &Config, directory: &Directory, line: &[u8]) -> Result<Option<Vec<String>>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is no UTF-8".to_owned())?;
    let Some(read) = passwd_file::read(line, config.login.store_scram)? else { return Ok(None) };
    let name = read.name;
    let told = |reason: String| format!("{name}: {reason}");
    refuse_twin(directory, &name, config).map_err(|failure| told(failure.to_string()))?;
    let added = directory.add_user_as(&name, &read.credentials, read.is_disabled);
    added.map_err(|error| told(error.to_string()))?;
    Ok(Some(read.left_out.into_iter().map(told).collect()))
}

//! What is made of the command line's own definition: man pages, and completions for shells. For whoever packages it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Failure, Line};

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory to write them into; it is made if it is not there
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell they are for
    shell: Shell,
}

/// One page for the program and one for each of its commands.
pub(super) fn man(asked: &Man) -> Result<(), Failure> {
    let trouble = |error: std::io::Error| Failure::Failed(format!("{}: {error}", asked.dir.display()));
    fs::create_dir_all(&asked.dir).map_err(trouble)?;
    write_pages(&asked.dir).map_err(trouble)
}

fn write_pages(dir: &Path) -> std::io::Result<()> {
    let command = Line::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, dir)
}

/// To standard output.
pub(super) fn completions(asked: &Completions) {
    clap_complete::generate(asked.shell, &mut Line::command(), "pillarbox", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let home = tempfile::tempdir().expect("a directory");
        man(&Man { dir: home.path().join("man") }).expect("written");
        let read = |name: &str| fs::read_to_string(home.path().join("man").join(name)).unwrap_or_default();
        assert!(read("pillarbox.1").contains("IMAP mail server"));
        for command in Line::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(read(&format!("pillarbox-{}.1", command.get_name())).contains(".SH SYNOPSIS"), "{command}");
        }
        assert!(read("pillarbox-user-add.1").contains("password"));
    }
}

//! `pillarbox doctor` and `pillarbox autoconfig`: nothing is changed by the one, and files are written by the other.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Place, say};
use crate::care::autoconfig::{self, Service};
use crate::care::doctor::Weight;
use crate::server;

#[derive(Debug, Args)]
pub(super) struct DoctorLine {
    /// The name mail programs connect to, if the configuration does not say it
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct AutoconfigLine {
    /// The part of the addresses behind the @
    domain: String,
    /// Where the files go; without it into a directory named after the domain
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn doctor(line: DoctorLine) -> Result<(), Failure> {
    let finds = server::doctor::examine(&line.place.config, line.host.as_deref());
    finds.iter().for_each(|find| say(&find.to_string()));
    let count = |weight| finds.iter().filter(|find| find.weight == weight).count();
    match count(Weight::Fail) {
        0 => {
            say(&format!("{} fine, {} to look at", count(Weight::Pass), count(Weight::Warn)));
            Ok(())
        }
        failed => Err(Failure::Failed(format!("{failed} things are wrong"))),
    }
}

pub(super) fn autoconfig(line: AutoconfigLine) -> Result<(), Failure> {
    let config = line.place.load()?;
    let service = Service::of(&config, &line.domain).map_err(Failure::Failed)?;
    let dir = line.out.unwrap_or_else(|| PathBuf::from(format!("autoconfig-{}", service.domain)));
    let files = service.files();
    autoconfig::write(&files, &dir).map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))?;
    for file in &files {
        say(&format!("{} belongs to", dir.join(file.file).display()));
        file.places.iter().for_each(|place| say(&format!("    {place}")));
    }
    if service.smtp.is_empty() {
        say("say in [clients] smtp_host how people send; without it some programs cannot use these files");
    }
    Ok(())
}

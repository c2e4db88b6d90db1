//! `pillarbox doctor` and `pillarbox autoconfig`: nothing is changed by the one, and files are written by the other.

use std::net::SocketAddr;
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
    /// Ask this name server for the DNS records, and not the one this machine asks
    #[arg(long, value_name = "ADDRESS:PORT")]
    nameserver: Option<SocketAddr>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct AutoconfigLine {
    /// The part of the addresses behind the @
    domain: String,
    /// Write the files into this directory; without it they are shown
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show only this file, and nothing else
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    print: Option<String>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn doctor(line: DoctorLine) -> Result<(), Failure> {
    let host = line.host.as_deref();
    let finds = server::doctor::examine(&line.place.config, host, line.nameserver);
    finds.iter().for_each(|find| say(&find.to_string()));
    let count = |weight| finds.iter().filter(|find| find.weight == weight).count();
    match count(Weight::Fail) {
        0 => {
            say(&format!("{} fine, {} to look at", count(Weight::Pass), count(Weight::Warn)));
            Ok(())
        }
        1 => Err(Failure::Failed("1 thing is wrong".into())),
        failed => Err(Failure::Failed(format!("{failed} things are wrong"))),
    }
}

pub(super) fn autoconfig(line: AutoconfigLine) -> Result<(), Failure> {
    let config = line.place.load()?;
    let service = Service::of(&config, &line.domain).map_err(Failure::Failed)?;
    let files = service.files();
    if let Some(name) = &line.print {
        let file = files.iter().find(|file| file.file == name).ok_or_else(|| {
            let names: Vec<&str> = files.iter().map(|file| file.file).collect();
            Failure::Failed(format!("there is no file {name}, but {}", names.join(", ")))
        })?;
        file.text.lines().for_each(say);
        return Ok(());
    }
    if let Some(dir) = &line.out {
        autoconfig::write(&files, dir).map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))?;
    }
    for file in &files {
        let path = line.out.as_ref().map_or(PathBuf::from(file.file), |dir| dir.join(file.file));
        say(&format!("{} belongs to", path.display()));
        file.places.iter().for_each(|place| say(&format!("    {place}")));
        if line.out.is_none() {
            say("");
            file.text.lines().for_each(say);
            say("");
        }
    }
    if !service.is_login_short(&config) {
        say(&format!(
            "Outlook logs in with what stands before the @ unless the web server adds a <LoginName> with the address: set \
             login.default_domain = \"{}\", and both are the same",
            service.domain
        ));
    }
    if service.smtp.is_empty() {
        say("say in [clients] smtp_host how people send; without it some programs cannot use these files");
    }
    Ok(())
}

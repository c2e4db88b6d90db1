//! `pillarbox self-signed`: a certificate for a first start. Mail programs ask about it, since nobody vouches for it.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, say};
use crate::clock::Clock;
use crate::server::self_signed;

#[derive(Debug, Args)]
pub(super) struct SelfSigned {
    /// The names mail programs connect to
    #[arg(required = true)]
    names: Vec<String>,
    /// Where the certificate goes; nothing may be there yet
    #[arg(long, value_name = "FILE", default_value = "/etc/pillarbox/fullchain.pem")]
    certificate: PathBuf,
    /// Where its key goes; nothing may be there yet
    #[arg(long, value_name = "FILE", default_value = "/etc/pillarbox/privkey.pem")]
    key: PathBuf,
}

pub(super) fn make(asked: &SelfSigned) -> Result<(), Failure> {
    for path in [&asked.certificate, &asked.key] {
        // Also a link that leads nowhere: it may be a real one's, about to be renewed.
        if path.symlink_metadata().is_ok() {
            return Err(Failure::Failed(format!("there is {} already; it is not replaced", path.display())));
        }
    }
    self_signed::make(&asked.names, &asked.certificate, &asked.key, Clock::System.now_secs())
        .map_err(|error| Failure::Failed(format!("no certificate could be made: {error}")))?;
    say(&format!("made {} and {}, for {}", asked.certificate.display(), asked.key.display(), asked.names.join(", ")));
    Ok(())
}

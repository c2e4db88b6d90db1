//! The process's own limits: every session is an open file, and the usual 1,024 are soon gone.

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Fewer open files than this are worth a warning.
const FEW_FILES: u64 = 4096;

/// Raises the limit of open files as far as the system lets us. `besides`: files that mail coming in may need.
pub(super) fn raise_open_files(besides: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        debug!(?limit, "open files");
        return;
    }
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => debug!(?limit, "open files"),
        Err(error) => warn!(%error, "the limit of open files could not be raised"),
    }
    let now = getrlimit(Resource::Nofile).current;
    if now.is_some_and(|files| files < FEW_FILES.saturating_add(besides)) {
        warn!(files = now, "few files may be open at a time, so only few sessions; raise LimitNOFILE or ulimit -n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_the_limit_is_as_high_as_it_goes() {
        raise_open_files(200);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}

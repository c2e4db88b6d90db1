//! Where the control socket is, also when its path is longer than the system's address for it (108 octets).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Longest path that fits into a socket address everywhere.
const MOST_PATH_BYTES: usize = 100;

/// A path by which the socket can be reached, and what keeps that path alive.
pub struct Place {
    path: PathBuf,
    _directory: Option<File>,
}

impl Place {
    pub fn of(data_dir: &Path) -> io::Result<Place> {
        let path = data_dir.join("control.sock");
        if path.as_os_str().len() <= MOST_PATH_BYTES {
            return Ok(Place { path, _directory: None });
        }
        // The kernel's own short name for a directory that is open here.
        let directory = File::open(data_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/control.sock", directory.as_raw_fd()));
        Ok(Place { path, _directory: Some(directory) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

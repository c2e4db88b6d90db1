//! The commands' side: ask the running server, if there is one. Blocks; needs no runtime.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::place::Place;
use super::{MOST_LINE_BYTES, Reply, Request};

/// How long the server may be silent. Long, because a check of much mail says nothing while it is fine.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// No server runs on this data directory.
    NotRunning,
    /// A server runs, but the asking went wrong.
    Broken(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NotRunning => f.write_str("no server is running"),
            AskError::Broken(text) => write!(f, "the running server could not be asked: {text}"),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks one question. Lines go to `tell` as they come; what is returned is the last reply, never a `Line`.
pub fn ask(data_dir: &Path, request: &Request, mut tell: impl FnMut(&str)) -> Result<Reply, AskError> {
    let broken = |error: io::Error| AskError::Broken(error.to_string());
    let place = match Place::of(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(AskError::NotRunning),
        place => place.map_err(broken)?,
    };
    let stream = match UnixStream::connect(place.path()) {
        Ok(stream) => stream,
        // Refused: the file was left behind by a server that was killed.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(AskError::NotRunning);
        }
        Err(error) => return Err(broken(error)),
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
    stream.set_write_timeout(Some(Duration::from_secs(10))).map_err(broken)?;
    let mut question = serde_json::to_string(request).map_err(|error| AskError::Broken(error.to_string()))?;
    question.push('\n');
    (&stream).write_all(question.as_bytes()).map_err(broken)?;
    let mut reader = BufReader::new(&stream);
    loop {
        let mut line = String::new();
        reader.by_ref().take(MOST_LINE_BYTES as u64).read_line(&mut line).map_err(broken)?;
        if !line.ends_with('\n') {
            return Err(AskError::Broken("it hung up in the middle of its answer".into()));
        }
        let reply: Reply = serde_json::from_str(&line).map_err(|error| AskError::Broken(error.to_string()))?;
        match reply {
            Reply::Line(text) => tell(&text),
            last => return Ok(last),
        }
    }
}

//! The commands' side: ask the running server, if there is one. Blocks; needs no runtime.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::place::Place;
use super::{MOST_LINE_BYTES, Reply, Request, message};

/// How long the server may be silent. Long, because a check of much mail says nothing while it is fine.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long it may take nothing of what is sent: while it waits for a slow disk, a message stops.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// No server runs on this data directory.
    NotRunning,
    /// A server may run, but this user may not ask it.
    NotAllowed(String),
    /// A server runs, but the asking went wrong.
    Broken(String),
    /// The message that was to be delivered could not be read.
    Input(io::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NotRunning => f.write_str("no server is running"),
            AskError::NotAllowed(text) => write!(f, "the running server may not be asked by this user: {text}"),
            AskError::Broken(text) => write!(f, "the running server could not be asked: {text}"),
            AskError::Input(error) => write!(f, "the message cannot be read: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => AskError::NotAllowed(error.to_string()),
            _ => AskError::Broken(error.to_string()),
        }
    }
}

/// Asks one question. Lines go to `tell` as they come; what is returned is the last reply, never a `Line`.
pub fn ask(data_dir: &Path, request: &Request, mut tell: impl FnMut(&str)) -> Result<Reply, AskError> {
    ask_each(data_dir, request, |reply| {
        if let Reply::Line(text) = reply {
            tell(&text);
        }
    })
}

/// The same; whatever is not the end goes to `tell`.
pub fn ask_each(data_dir: &Path, request: &Request, mut tell: impl FnMut(Reply)) -> Result<Reply, AskError> {
    let mut asked = Conversation::begin(data_dir, request)?;
    loop {
        match asked.reply()? {
            reply @ (Reply::Line(_) | Reply::Session(_)) => tell(reply),
            last => return Ok(last),
        }
    }
}

/// Asks to deliver a message, whose pieces `next` gives, and `None` at its end. It is not called before the server has
/// said that it takes the message. What is returned is the last reply.
pub fn deliver(
    data_dir: &Path,
    request: &Request,
    next: &mut dyn FnMut() -> io::Result<Option<Vec<u8>>>,
) -> Result<Reply, AskError> {
    let mut asked = Conversation::begin(data_dir, request)?;
    match asked.reply()? {
        Reply::SendMessage => {}
        last => return Ok(last),
    }
    while let Some(piece) = next().map_err(AskError::Input)? {
        message::send_piece(asked.reader.get_ref(), &piece)?;
    }
    message::send_end(asked.reader.get_ref())?;
    asked.reply()
}

/// The two directions of a transfer's stream.
pub type Directions = (Box<dyn Read + Send>, Box<dyn Write + Send>);

/// Asks to move mail in or out of a user's account. The inner error is why the server does not let it begin.
pub fn transfer(data_dir: &Path, user: &str) -> Result<Result<Directions, String>, AskError> {
    let mut asked = Conversation::begin(data_dir, &Request::Transfer { user: user.into() })?;
    match asked.reply()? {
        Reply::Begin => {
            let writer = asked.reader.get_ref().try_clone()?;
            // The other side waits for its disk now and then, and for as long as that takes.
            writer.set_write_timeout(Some(PATIENCE))?;
            Ok(Ok((Box::new(asked.reader), Box::new(writer))))
        }
        Reply::Failed(reason) => Ok(Err(reason)),
        other => Err(AskError::Broken(format!("{other:?} is no answer to this"))),
    }
}

/// A question that was asked.
struct Conversation {
    reader: BufReader<UnixStream>,
}

impl Conversation {
    fn begin(data_dir: &Path, request: &Request) -> Result<Conversation, AskError> {
        let place = match Place::of(data_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(AskError::NotRunning),
            place => place?,
        };
        let stream = match UnixStream::connect(place.path()) {
            Ok(stream) => stream,
            // Refused: the file was left behind by a server that was killed.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Err(AskError::NotRunning);
            }
            Err(error) => return Err(error.into()),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let mut question = serde_json::to_string(request).map_err(|error| AskError::Broken(error.to_string()))?;
        question.push('\n');
        (&stream).write_all(question.as_bytes())?;
        Ok(Conversation { reader: BufReader::new(stream) })
    }

    fn reply(&mut self) -> Result<Reply, AskError> {
        let mut line = String::new();
        self.reader.by_ref().take(MOST_LINE_BYTES as u64).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(AskError::Broken("it hung up in the middle of its answer".into()));
        }
        serde_json::from_str(&line).map_err(|error| AskError::Broken(error.to_string()))
    }
}

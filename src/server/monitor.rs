//! The page for programs that watch the server: `GET /metrics` in Prometheus' text and `GET /health`, over HTTP on an
//! address of this machine itself. As little HTTP as that takes: one request a connection, its head bounded in size
//! and time, its body never read.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::numbers;
use super::supervisor::look;
use crate::imap::Host;
use crate::mailstore::directory::Directory;

/// Longest head of a request, in octets.
const MOST_HEAD_BYTES: usize = 8 * 1024;
/// How long a request may take to come, and its answer to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the store may take to show that it is alive.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// How many are answered at a time; more wait to be accepted.
const AT_ONCE: usize = 8;
/// How long accepting rests when there are no files or no memory left.
const REST: Duration = Duration::from_millis(200);

/// What the answers are made of.
pub(super) struct Monitor {
    pub host: Arc<Host>,
    pub directory: Arc<Directory>,
    pub started: Instant,
}

impl Monitor {
    /// Answers until dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "the metrics page cannot accept connections right now");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let monitor = self.clone();
            tokio::spawn(async move {
                if let Err(error) = monitor.answer(stream).await {
                    debug!(%error, "a question to the metrics page was not answered");
                }
                drop(place);
            });
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let asked = tokio::time::timeout(PATIENCE, read_head(&mut stream)).await??;
        let answer = match asked {
            Asked::Get(path) if path == "/metrics" => {
                Answer { status: "200 OK", content: numbers::page(&self.host, self.started) }
            }
            Asked::Get(path) if path == "/health" => self.health().await,
            Asked::Get(_) => Answer::short("404 Not Found", "there are /metrics and /health here"),
            Asked::Other => Answer::short("405 Method Not Allowed", "only GET is known here"),
            Asked::TooLong => Answer::short("431 Request Header Fields Too Large", "the request is too long"),
            Asked::Nonsense => Answer::short("400 Bad Request", "this is no request"),
        };
        let sending = async {
            stream.write_all(answer.head().as_bytes()).await?;
            stream.write_all(answer.content.as_bytes()).await?;
            stream.shutdown().await
        };
        tokio::time::timeout(PATIENCE, sending).await?
    }

    /// Fine when what is stored can be read, and mail can be taken in.
    async fn health(&self) -> Answer {
        let looked = tokio::time::timeout(LOOK_PATIENCE, look(&self.host, self.directory.clone())).await;
        let trouble = match looked {
            Ok(Ok(())) if self.host.store.is_disk_low() => "the disk is nearly full: no new mail is taken".to_owned(),
            Ok(Ok(())) => return Answer::short("200 OK", "fine"),
            Ok(Err(text)) => format!("what is stored cannot be read: {text}"),
            Err(_) => "the mail store does not answer".to_owned(),
        };
        Answer::short("503 Service Unavailable", &trouble)
    }
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The path, without its query.
    Get(String),
    /// Another method.
    Other,
    TooLong,
    Nonsense,
}

struct Answer {
    status: &'static str,
    content: String,
}

impl Answer {
    fn short(status: &'static str, text: &str) -> Answer {
        Answer { status, content: format!("{text}\n") }
    }

    fn head(&self) -> String {
        format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.status,
            self.content.len()
        )
    }
}

/// Reads to the empty line that ends the head.
async fn read_head(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if head.len() >= MOST_HEAD_BYTES {
            return Ok(Asked::TooLong);
        }
        let room = (MOST_HEAD_BYTES - head.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut head).await? == 0 {
            return Ok(Asked::Nonsense);
        }
    }
    Ok(understand(&head))
}

fn understand(head: &[u8]) -> Asked {
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split(' ').collect();
    match words.as_slice() {
        ["GET", path, version] if version.starts_with("HTTP/1.") => {
            Asked::Get(path.split('?').next().unwrap_or_default().to_owned())
        }
        [_, _, version] if version.starts_with("HTTP/1.") => Asked::Other,
        _ => Asked::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_of_http_is_understood() {
        let get = |path: &str| Asked::Get(path.into());
        for (head, asked) in [
            (&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"[..], get("/metrics")),
            (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", get("/metrics")),
            (b"POST /metrics HTTP/1.1\r\n\r\n", Asked::Other),
            (b"GET /metrics\r\n\r\n", Asked::Nonsense),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", Asked::Nonsense),
            (b"GET /metrics HTTP/2.0\r\n\r\n", Asked::Nonsense),
            (b"\xff\xff\r\n\r\n", Asked::Nonsense),
            (b"\r\n\r\n", Asked::Nonsense),
        ] {
            assert_eq!(understand(head), asked, "{}", String::from_utf8_lossy(head));
        }
    }
}

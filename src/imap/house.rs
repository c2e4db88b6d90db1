//! For tests: what a session lives in, without a listener.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::session::Session;
use super::{Host, Peer, serve};
use crate::login::{Login, Sessions, credentials};
use crate::mailstore::directory::Directory;
use crate::mailstore::{MailStore, Options};
use crate::types::Secret;

/// A store, users and everything else that sessions share. Failures are not delayed.
pub struct House {
    _home: tempfile::TempDir,
    pub host: Arc<Host>,
}

impl House {
    /// With these users and their passwords.
    pub fn with_users(users: &[(&str, &str)]) -> House {
        let home = tempfile::tempdir().expect("a directory");
        let directory = Directory::open(home.path()).expect("opened");
        for (name, password) in users {
            let credentials = credentials::make(&Secret::new(*password), false).expect("made");
            directory.add_user(name, &credentials).expect("added");
        }
        let mut config = crate::config::Config::default();
        config.login.failure_delay_seconds = Duration::ZERO;
        let config = Arc::new(arc_swap::ArcSwap::from_pointee(config));
        let store = MailStore::open(home.path(), Options::default()).expect("opened");
        let login = Login::new(Arc::new(directory), config.clone()).expect("started");
        let sessions = Sessions::new(config.clone());
        House { _home: home, host: Arc::new(Host { store, login, sessions, config }) }
    }

    /// Somebody who came in without TLS.
    pub fn peer(plaintext_allowed: bool) -> Peer {
        Peer { address: None, listener: None, is_tls: false, starttls_offered: false, plaintext_allowed, tls: None }
    }

    /// A session whose client says nothing.
    pub fn session(&self, plaintext_allowed: bool) -> Session {
        let ticket = self.host.sessions.admit(None).expect("room");
        Session::new(self.host.clone(), House::peer(plaintext_allowed), Box::new(tokio::io::duplex(4096).0), ticket)
    }
}

/// A client that waits for each answer.
pub struct Client {
    pipe: DuplexStream,
}

impl House {
    /// Somebody who logged in.
    pub async fn client(&self, name: &str, password: &str) -> Client {
        let (pipe, there) = tokio::io::duplex(1 << 20);
        let (host, ticket) = (self.host.clone(), self.host.sessions.admit(None).expect("room"));
        tokio::spawn(async move { serve(&host, House::peer(true), Box::new(there), true, ticket).await });
        let mut client = Client { pipe };
        client.say(&format!("LOGIN {name} {password}")).await;
        client
    }
}

impl Client {
    /// What is answered until the command has come to a good end.
    pub async fn say(&mut self, command: &str) -> String {
        self.pipe.write_all(format!("c {command}\r\n").as_bytes()).await.expect("sent");
        let (mut heard, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = self.pipe.read(&mut piece).await.expect("read");
            heard.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&heard);
            let last = text.strip_suffix("\r\n").and_then(|all| all.rsplit("\r\n").next()).unwrap_or_default();
            if last.starts_with("c OK") {
                return text.into_owned();
            }
            assert!(count > 0 && !last.starts_with("c "), "{command}: {text}");
        }
    }
}

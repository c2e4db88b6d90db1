//! Stands in for the rooms `imap` and `mailstore` until they are there: the same shapes, hardly any behaviour.
//! It greets, upgrades to TLS, logs in, and says BYE when told: enough to try everything around it.

pub mod mailstore {
    //! The front door of the mail store, as far as the server opens it.

    use std::path::Path;
    use std::time::Duration;

    use crate::types::AccountId;

    pub struct StoreOptions {
        pub connections: usize,
        pub snapshot_bytes: u64,
        pub min_free_bytes: u64,
        pub keep_removed: Duration,
    }

    pub struct MailStore;

    impl MailStore {
        pub fn open(_data_dir: &Path, options: StoreOptions) -> Result<MailStore, String> {
            tracing::debug!(
                options.connections,
                options.snapshot_bytes,
                options.min_free_bytes,
                ?options.keep_removed,
                "the store is a stand-in"
            );
            Ok(MailStore)
        }

        pub fn close_account(&self, _account: AccountId) {}
    }

    /// Checks all mail, or one account's. True: all is well.
    pub fn check(_data_dir: &Path, _account: Option<AccountId>, _tell: &mut dyn FnMut(String)) -> Result<bool, String> {
        Ok(true)
    }
}

pub mod imap {
    //! The IMAP session, as far as the server knows it.

    use std::net::SocketAddr;
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

    use super::mailstore::MailStore;
    use crate::config::Config;
    use crate::login::{Login, Sessions, Ticket};
    use crate::types::Secret;

    pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
    impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

    pub struct Peer {
        pub address: Option<SocketAddr>,
        pub is_tls: bool,
        pub starttls_offered: bool,
        pub plaintext_allowed: bool,
    }

    pub enum Ended {
        StartTls(Box<dyn Socket>),
        Closed,
    }

    pub struct Host {
        pub store: MailStore,
        pub login: Arc<Login>,
        pub sessions: Arc<Sessions>,
        pub config: Arc<ArcSwap<Config>>,
    }

    pub async fn serve(
        host: &Arc<Host>,
        peer: Peer,
        socket: Box<dyn Socket>,
        greet: bool,
        ticket: Arc<Ticket>,
    ) -> Ended {
        let mut stream = BufReader::with_capacity(512, socket);
        if greet && stream.write_all(b"* OK Pillarbox (stand-in) ready\r\n").await.is_err() {
            return Ended::Closed;
        }
        loop {
            let mut line = String::new();
            let mut bounded = (&mut stream).take(8192);
            tokio::select! {
                read = bounded.read_line(&mut line) => if !read.is_ok_and(|octets| octets > 0) { return Ended::Closed },
                reason = ticket.wait_end() => {
                    let _ = stream.write_all(format!("* BYE {}\r\n", reason.text()).as_bytes()).await;
                    let _ = stream.shutdown().await;
                    return Ended::Closed;
                }
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let (tag, word) = (words.first().copied().unwrap_or("*"), words.get(1).copied().unwrap_or_default());
            let answer = match word.to_ascii_uppercase().as_str() {
                "STARTTLS" if !peer.is_tls && peer.starttls_offered => {
                    let _ = stream.write_all(format!("{tag} OK go\r\n").as_bytes()).await;
                    return Ended::StartTls(stream.into_inner());
                }
                "LOGIN" if !peer.plaintext_allowed => format!("{tag} NO [PRIVACYREQUIRED] TLS first\r\n"),
                "LOGIN" if words.len() == 4 => {
                    let password = Secret::new(words[3].trim_matches('"'));
                    let checked = host.login.check(words[2].trim_matches('"'), &password, peer.address).await;
                    match checked.map(|signed_in| ticket.signed_in(signed_in.account, &signed_in.user)) {
                        Ok(Ok(())) => format!("{tag} OK in\r\n"),
                        Ok(Err(full)) => format!("{tag} NO [{}] {full}\r\n", full.code()),
                        Err(refusal) => format!("{tag} NO [{}] {refusal}\r\n", refusal.code()),
                    }
                }
                "NOOP" => format!("{tag} OK\r\n"),
                "PANIC" => panic!("asked for"),
                "LOGOUT" => {
                    let _ = stream.write_all(format!("* BYE\r\n{tag} OK\r\n").as_bytes()).await;
                    let _ = stream.shutdown().await;
                    return Ended::Closed;
                }
                _ => format!("{tag} BAD not yet\r\n"),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                return Ended::Closed;
            }
        }
    }
}

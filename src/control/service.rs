//! The server's side: listens, reads one question from each connection, and answers it.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tracing::{debug, info, warn};

pub use super::message::{Asked, Message};
use super::place::Place;
use super::{Figures, MOST_LINE_BYTES, Reply, Request, Status, upkeep};
use crate::login::{EndReason, Login, Sessions};
use crate::mailstore::MailStore;
use crate::metrics::METRICS;
use crate::types::AccountId;

/// How many questions are answered at a time.
const MOST_QUESTIONS: usize = 16;
/// How many transfers of mail are under way at a time.
const MOST_TRANSFERS: usize = 8;
/// How long a question may take to arrive, and an answer's line to leave.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks mail and tells each find; `None`: everybody's. True: all is well. Blocks.
pub type Check = dyn Fn(Option<&str>, &mut dyn FnMut(String)) -> Result<bool, String> + Send + Sync;
/// Closes an account and deletes its mail; the sentence says what was done. Blocks.
pub type DeleteMail = dyn Fn(AccountId) -> Result<String, String> + Send + Sync;
/// Reads configuration and certificate again; the sentence says what changed. Blocks.
pub type Reload = dyn Fn() -> Result<String, String> + Send + Sync;

/// Delivers a message; gives the last reply.
pub type Deliver = dyn Fn(Asked, Message) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync;

/// Moves mail in or out of a user's account until the asker hangs up.
pub type Transfer = dyn Fn(String, Stream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> + Send + Sync;

/// What the answers are made of.
pub struct ControlHost {
    pub login: Arc<Login>,
    pub sessions: Arc<Sessions>,
    pub store: MailStore,
    pub started: Instant,
    pub figures: Box<dyn Fn() -> Figures + Send + Sync>,
    pub check: Box<Check>,
    /// Ends the transfers of an account whose user is gone, and waits for them; how many.
    pub end_transfers: Box<dyn Fn(AccountId) -> usize + Send + Sync>,
    pub delete_mail: Box<DeleteMail>,
    pub reload: Box<Reload>,
    pub deliver: Box<Deliver>,
    pub transfer: Box<Transfer>,
}

/// The connection of somebody who asked for a transfer.
pub struct Stream {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Stream {
    /// Says that it may begin.
    pub async fn begin(mut self) -> io::Result<(BufReader<OwnedReadHalf>, OwnedWriteHalf)> {
        send(&mut self.writer, Reply::Begin).await?;
        Ok((self.reader, self.writer))
    }

    /// Says why it may not.
    pub async fn refuse(mut self, reason: String) -> io::Result<()> {
        send(&mut self.writer, Reply::Failed(reason)).await
    }
}

/// The listening socket. Its file goes away when this is dropped.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Opens the socket. The caller holds the data directory's lock, so a file that is there is a dead server's.
    pub fn bind(data_dir: &Path) -> io::Result<ControlSocket> {
        let path = data_dir.join("control.sock");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let place = Place::of(data_dir)?;
        let listener = UnixListener::bind(place.path())?;
        // Until this line the directory's own 0700 keeps strangers away.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(ControlSocket { listener, path })
    }

    /// Answers until dropped.
    pub async fn serve(self, host: Arc<ControlHost>) {
        let room = Arc::new(Semaphore::new(MOST_QUESTIONS));
        let transfers = Arc::new(Semaphore::new(MOST_TRANSFERS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "the control socket takes no question right now");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    continue;
                }
            };
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let (host, transfers) = (host.clone(), transfers.clone());
            tokio::spawn(async move {
                if let Err(error) = answer(stream, host, place, transfers).await {
                    debug!(%error, "a question on the control socket was not answered");
                }
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A file that stays is found dead by the commands, and replaced by the next server.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(
    stream: UnixStream,
    host: Arc<ControlHost>,
    place: OwnedSemaphorePermit,
    transfers: Arc<Semaphore>,
) -> io::Result<()> {
    let asker = stream.peer_cred()?.uid();
    if asker != 0 && asker != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("user {asker} may not ask")));
    }
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader);
    tokio::time::timeout(PATIENCE, (&mut reader).take(MOST_LINE_BYTES as u64).read_line(&mut line)).await??;
    let request: serde_json::Result<Request> = serde_json::from_str(&line);
    // Deliveries have a bound of their own, and must not keep the operator's questions waiting.
    let place = (!matches!(request, Ok(Request::Deliver { .. }))).then_some(place);
    if let Ok(Request::Transfer { user }) = request {
        drop(place);
        let stream = Stream { reader, writer };
        return match transfers.try_acquire() {
            Ok(_place) => (host.transfer)(user, stream).await,
            Err(_) => stream.refuse(format!("{MOST_TRANSFERS} other transfers are under way; try again later")).await,
        };
    }
    let (tell, mut replies) = mpsc::channel::<Reply>(64);
    tokio::spawn(async move {
        let last = match request {
            Ok(request) => obey(request, host, &tell, Message::new(reader, tell.clone())).await,
            Err(error) => Reply::Failed(format!("the question was not understood: {error}")),
        };
        // Nobody may be listening any more; what was asked is done all the same.
        let _ = tell.send(last).await;
    });
    while let Some(reply) = replies.recv().await {
        send(&mut writer, reply).await?;
    }
    drop(place);
    Ok(())
}

async fn send(writer: &mut OwnedWriteHalf, reply: Reply) -> io::Result<()> {
    let mut text = serde_json::to_string(&fitting(reply)).map_err(io::Error::other)?;
    text.push('\n');
    tokio::time::timeout(PATIENCE, writer.write_all(text.as_bytes())).await?
}

/// A reply whose line is short enough, even with every character escaped.
fn fitting(reply: Reply) -> Reply {
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(text.len().min(MOST_LINE_BYTES / 8)));
        text
    };
    match reply {
        Reply::Line(text) => Reply::Line(cut(text)),
        Reply::Done(text) => Reply::Done(cut(text)),
        Reply::Found(text) => Reply::Found(cut(text)),
        Reply::Failed(text) => Reply::Failed(cut(text)),
        // All texts of these are bounded where they are made.
        Reply::Session(_) | Reply::Status(_) | Reply::SendMessage | Reply::Begin => reply,
        Reply::Undelivered { exit, reason } => Reply::Undelivered { exit, reason: cut(reason) },
    }
}

/// Does what is asked; gives the last reply. `message`: what may follow the question.
async fn obey(request: Request, host: Arc<ControlHost>, tell: &mpsc::Sender<Reply>, message: Message) -> Reply {
    match request {
        Request::Status => Reply::Status(Box::new(status(&host))),
        Request::Who { user } => {
            let mut told = 0;
            for glance in host.sessions.glances() {
                if user.as_ref().is_some_and(|user| *user != glance.user && *user != glance.acting) {
                    continue;
                }
                told += 1;
                if tell.send(Reply::Session(Box::new(glance))).await.is_err() {
                    break;
                }
            }
            Reply::Done(format!("{told} sessions"))
        }
        Request::Kick { session: Some(session), .. } => match host.sessions.end_one(session, EndReason::Kicked) {
            true => {
                info!(session, "told to end by the operator");
                Reply::Done("1 session was told to end".into())
            }
            false => Reply::Failed(format!("there is no session {session}")),
        },
        Request::Kick { user: Some(user), session: None } => match host.login.account_of(&user).await {
            Some(account) => Reply::Done(end_sessions(&host, &user, account, EndReason::Kicked).await),
            None => Reply::Failed(format!("there is no user {user}")),
        },
        Request::Kick { user: None, session: None } => Reply::Failed("no session and no user was named".into()),
        Request::DirectoryChanged => {
            host.login.forget();
            Reply::Done("noted".into())
        }
        Request::UserRemoved { name, account, delete_mail } => {
            let mut told = end_sessions(&host, &name, AccountId(account), EndReason::UserRemoved).await;
            let work = move || {
                let ended = (host.end_transfers)(AccountId(account));
                let deleted = delete_mail.then(|| (host.delete_mail)(AccountId(account))).transpose()?;
                Ok((ended, deleted))
            };
            match blocking(work).await {
                Ok((ended, deleted)) => {
                    match ended {
                        0 => {}
                        1 => told.push_str("; 1 import or export was ended"),
                        _ => _ = write!(told, "; {ended} imports or exports were ended"),
                    }
                    deleted.iter().for_each(|deleted| _ = write!(told, "; {deleted}"));
                    Reply::Done(told)
                }
                Err(reason) => Reply::Failed(reason),
            }
        }
        Request::UserDisabled { name, account } => {
            Reply::Done(end_sessions(&host, &name, AccountId(account), EndReason::UserDisabled).await)
        }
        Request::Check { user } => {
            let lines = tell.clone();
            let checked = blocking(move || {
                let mut tell_line = |line: String| {
                    // Whoever asked may have left; the check runs to its end and is then forgotten.
                    let _ = lines.blocking_send(Reply::Line(line));
                };
                (host.check)(user.as_deref(), &mut tell_line)
            });
            match checked.await {
                Ok(true) => Reply::Done("all is well".into()),
                Ok(false) => Reply::Found("there are faults".into()),
                Err(reason) => Reply::Failed(reason),
            }
        }
        Request::Upkeep(question) => upkeep::obey(question, host, tell).await,
        Request::Deliver { user, mailbox, sender } => (host.deliver)(Asked { user, mailbox, sender }, message).await,
        Request::Transfer { .. } => Reply::Failed("a transfer is answered on its own".into()),
        Request::Reload => match blocking(move || (host.reload)()).await {
            Ok(done) => Reply::Done(done),
            Err(reason) => Reply::Failed(reason),
        },
    }
}

fn status(host: &ControlHost) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        process: std::process::id(),
        uptime_seconds: host.started.elapsed().as_secs(),
        sessions: host.sessions.count(),
        sessions_signed_in: host.sessions.count_signed_in(),
        store: (host.figures)(),
        login_limits: host.login.usage().into_iter().map(|(name, used)| (name.to_owned(), used)).collect(),
        counters: METRICS.list().iter().map(|counter| (counter.name.to_owned(), counter.count)).collect(),
    }
}

/// Ends the sessions of one account and waits until they have said BYE.
async fn end_sessions(host: &ControlHost, name: &str, account: AccountId, reason: EndReason) -> String {
    host.login.forget();
    let count = host.sessions.end_account(account, reason);
    info!(user = ?name, %account, sessions = count, "sessions ended, {}", reason.text());
    let all_gone = host.sessions.wait_account_empty(account, Duration::from_secs(10)).await;
    match (count, all_gone) {
        (0, _) => "no session was open".into(),
        (1, true) => "1 session was ended".into(),
        (_, true) => format!("{count} sessions were ended"),
        (_, false) => format!("{count} sessions were told to end, some are still at work"),
    }
}

/// Runs what blocks on a thread of its own: such questions are rare and may take hours.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (answer, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("control".into());
    let started = thread.spawn(move || {
        let _ = answer.send(work());
    });
    match started {
        Ok(_) => outcome.await.unwrap_or_else(|_| Err("the server failed at it; its log says more".into())),
        Err(error) => Err(format!("the server cannot start a thread: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::{self, AskError, ask};
    use super::*;
    use crate::config::Config;
    use crate::mailstore::Options;
    use crate::mailstore::directory::Directory;
    use arc_swap::ArcSwap;
    use std::io::{Read as _, Write as _};

    struct House {
        home: tempfile::TempDir,
        sessions: Arc<Sessions>,
        serving: tokio::task::JoinHandle<()>,
    }

    fn house(depth: usize) -> House {
        let home = tempfile::tempdir().expect("a directory");
        let data_dir = home.path().join("d".repeat(depth));
        std::fs::create_dir_all(&data_dir).expect("made");
        let config = Arc::new(ArcSwap::from_pointee(Config::default()));
        let directory = Arc::new(Directory::open(&data_dir).expect("opened"));
        let sessions = Sessions::new(config.clone());
        let host = ControlHost {
            login: Login::new(directory, config).expect("started"),
            sessions: sessions.clone(),
            store: MailStore::open(&data_dir, Options::default()).expect("opened"),
            started: Instant::now(),
            figures: Box::new(|| Figures { accounts_open: 3, ..Figures::default() }),
            check: Box::new(|user, tell| {
                for n in 0..200 {
                    tell(format!("{} {n}", user.unwrap_or("everybody")));
                }
                Ok(user.is_none())
            }),
            end_transfers: Box::new(|_| 0),
            delete_mail: Box::new(|account| match account.0 {
                7 => Ok("mail deleted".into()),
                _ => panic!("on purpose"),
            }),
            reload: Box::new(|| Err("p.toml:1: no".into())),
            deliver: Box::new(|asked, mut message| {
                Box::pin(async move {
                    if asked.user != "anna" {
                        return Reply::Undelivered { exit: 67, reason: "nobody".into() };
                    }
                    message.ask().await;
                    let mut octets = 0;
                    loop {
                        match message.next().await {
                            Ok(Some(piece)) => octets += piece.len(),
                            Ok(None) => return Reply::Done(format!("{octets} octets")),
                            Err(error) => return Reply::Failed(error.to_string()),
                        }
                    }
                })
            }),
            transfer: Box::new(|user, stream| {
                Box::pin(async move {
                    if user != "anna" {
                        return stream.refuse("nobody".into()).await;
                    }
                    let (mut reader, mut writer) = stream.begin().await?;
                    tokio::io::copy(&mut reader, &mut writer).await.map(|_| ())
                })
            }),
        };
        let socket = ControlSocket::bind(&data_dir).expect("bound");
        let serving = tokio::spawn(socket.serve(Arc::new(host)));
        House { home, sessions, serving }
    }

    async fn asked(house: &House, depth: usize, request: Request) -> (Vec<String>, Result<Reply, AskError>) {
        let data_dir = house.home.path().join("d".repeat(depth));
        let asking = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            let last = ask(&data_dir, &request, |line| lines.push(line.to_owned()));
            (lines, last)
        });
        asking.await.expect("joined")
    }

    #[tokio::test]
    async fn questions_are_answered_also_from_a_long_way_down() {
        for depth in [1, 200] {
            let house = house(depth);
            let (_, status) = asked(&house, depth, Request::Status).await;
            let Reply::Status(status) = status.expect("an answer") else { panic!("another answer") };
            assert_eq!((status.sessions, status.store.accounts_open), (0, 3));
            let (lines, found) = asked(&house, depth, Request::Check { user: Some("anna".into()) }).await;
            assert_eq!((lines.len(), lines[199].as_str()), (200, "anna 199"));
            assert!(matches!(found.expect("an answer"), Reply::Found(_)));
            let (_, reload) = asked(&house, depth, Request::Reload).await;
            assert_eq!(reload.expect("an answer"), Reply::Failed("p.toml:1: no".into()));
        }
    }

    #[tokio::test]
    async fn a_transfer_has_its_own_stream_and_a_bound() {
        let house = house(1);
        let data_dir = house.home.path().join("d");
        let asking = tokio::task::spawn_blocking(move || {
            assert_eq!(client::transfer(&data_dir, "bert").expect("an answer").err().as_deref(), Some("nobody"));
            let begin = || client::transfer(&data_dir, "anna").expect("an answer");
            let mut open: Vec<_> = (0..MOST_TRANSFERS).map(|_| begin().expect("begun")).collect();
            assert!(begin().err().is_some_and(|reason| reason.contains("try again later")));
            for (reader, writer) in &mut open {
                writer.write_all(b"frames").expect("written");
                let mut back = [0; 6];
                reader.read_exact(&mut back).expect("read");
                assert_eq!(&back, b"frames");
            }
        });
        asking.await.expect("joined");
    }

    #[tokio::test]
    async fn removing_a_user_ends_his_sessions_before_the_answer() {
        let house = house(1);
        let ticket = house.sessions.admit(None).expect("room");
        ticket.signed_in(AccountId(7), "anna").expect("room");
        let session = tokio::spawn(async move { ticket.wait_end().await });
        let request = Request::UserRemoved { name: "anna".into(), account: 7, delete_mail: true };
        let (_, told) = asked(&house, 1, request).await;
        assert_eq!(told.expect("an answer"), Reply::Done("1 session was ended; mail deleted".into()));
        assert_eq!(session.await.expect("joined"), EndReason::UserRemoved);
        assert_eq!(house.sessions.count(), 0);
        // Work that panics is told, and the server goes on.
        let request = Request::UserRemoved { name: "bert".into(), account: 8, delete_mail: true };
        assert!(matches!(asked(&house, 1, request).await.1, Ok(Reply::Failed(_))));
        assert!(asked(&house, 1, Request::DirectoryChanged).await.1.is_ok());
    }

    #[tokio::test]
    async fn sessions_are_shown_and_ended() {
        let house = house(1);
        let anna = house.sessions.admit(Some("192.0.2.1:4711".parse().expect("an address"))).expect("room");
        anna.signed_in(AccountId(7), "anna").expect("room");
        anna.activity().is_lmtp(None);
        let bert = house.sessions.admit(None).expect("room");
        bert.signed_in(AccountId(8), "bert").expect("room");
        let who = |user: Option<&str>| {
            let (data_dir, user) = (house.home.path().join("d"), user.map(str::to_owned));
            let asking = tokio::task::spawn_blocking(move || {
                let mut users = Vec::new();
                let last = client::ask_each(&data_dir, &Request::Who { user }, |reply| {
                    if let Reply::Session(glance) = reply {
                        users.push(glance.user);
                    }
                });
                (users, last.expect("an answer"))
            });
            async { asking.await.expect("joined") }
        };
        assert_eq!(who(None).await, (vec!["anna".into(), "bert".into()], Reply::Done("2 sessions".into())));
        assert_eq!(who(Some("bert")).await.0, ["bert"]);
        let kick = |session| Request::Kick { user: None, session };
        assert!(matches!(asked(&house, 1, kick(Some(99))).await.1, Ok(Reply::Failed(_))));
        assert!(matches!(asked(&house, 1, kick(None)).await.1, Ok(Reply::Failed(_))));
        let told = asked(&house, 1, kick(Some(anna.number()))).await.1.expect("an answer");
        assert_eq!(told, Reply::Done("1 session was told to end".into()));
        assert_eq!((anna.ended(), bert.ended()), (Some(EndReason::Kicked), None));
    }

    #[tokio::test]
    async fn a_socket_that_is_gone_or_dead_means_that_no_server_runs() {
        let house = house(1);
        let path = house.home.path().join("d/control.sock");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        house.serving.abort();
        let _ = tokio::time::timeout(Duration::from_secs(10), async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(matches!(asked(&house, 1, Request::Status).await.1, Err(AskError::NotRunning)));
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(matches!(asked(&house, 1, Request::Status).await.1, Err(AskError::NotRunning)));
        // A dead server's file is no hindrance.
        ControlSocket::bind(&house.home.path().join("d")).expect("bound over it");
    }

    #[tokio::test]
    async fn a_message_follows_its_question() {
        let house = house(1);
        let data_dir = house.home.path().join("d");
        let asking = tokio::task::spawn_blocking(move || {
            let mut outcomes = Vec::new();
            for (user, pieces) in [("anna", 3), ("bert", 3), ("anna", 0), ("anna", -1)] {
                let mut left = pieces;
                let mut next = || match left {
                    0 => Ok(None),
                    -1 => Err(io::Error::other("the pipe broke")),
                    _ => {
                        left -= 1;
                        Ok(Some(vec![b'x'; 300_000]))
                    }
                };
                let request = Request::Deliver { user: user.into(), mailbox: None, sender: None };
                let outcome = client::deliver(&data_dir, &request, &mut next);
                outcomes.push(outcome.map_err(|error| error.to_string()));
            }
            outcomes
        });
        let outcomes = asking.await.expect("joined");
        let refused = Reply::Undelivered { exit: 67, reason: "nobody".into() };
        assert_eq!(
            outcomes,
            [
                Ok(Reply::Done("900000 octets".into())),
                Ok(refused),
                Ok(Reply::Done("0 octets".into())),
                Err("the message cannot be read: the pipe broke".into()),
            ]
        );
    }

    #[tokio::test]
    async fn nonsense_is_told_so() {
        let house = house(1);
        let path = house.home.path().join("d/control.sock");
        for nonsense in [&b"{\"do\":\"fly\"}\n"[..], b"\n", b"\xff\n", &[b'x'; 100_000]] {
            let mut stream = UnixStream::connect(&path).await.expect("connected");
            // The other side may hang up before it has read it all.
            let _ = stream.write_all(nonsense).await;
            let mut told = Vec::new();
            let _ = stream.read_to_end(&mut told).await;
            let told = String::from_utf8_lossy(&told).into_owned();
            assert!(told.is_empty() || told.starts_with("{\"failed\":"), "{told}");
        }
        assert!(asked(&house, 1, Request::Status).await.1.is_ok());
    }
}

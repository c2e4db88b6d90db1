//! The running server: start, serve, reload, stop.
//! Start goes from what can be wrong in a file to what can be wrong with the machine, and opens the doors last, so
//! that a client never meets half a server.

mod connection;
pub mod deliver;
pub mod doctor;
mod limits;
mod listen;
mod lmtp;
mod logging;
mod monitor;
mod numbers;
mod occasion;
mod passed;
mod proxy;
mod renewal;
pub mod self_signed;
mod shutdown;
mod supervisor;
pub mod tls;
pub mod transfer;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use self::connection::Gate;
use self::listen::Listener;
pub use self::logging::weight_of_a_failure;
use self::monitor::Monitor;
pub use self::occasion::Occasion;
use self::occasion::Plain;
use self::passed::Passed;
use self::shutdown::{Signal, Signals};
use self::tls::{Tls, TlsDial};
use crate::care::AtRest;
use crate::config::{BadConfig, Config, Listen};
use crate::control::service::ControlSocket;
use crate::control::{ControlHost, Figures};
use crate::imap;
use crate::lmtp::{Host as LmtpHost, Rooms};
use crate::login::{EndReason, Login, Sessions, names, oauth};
use crate::mailstore::directory::Directory;
use crate::mailstore::lock::{self, DataLock};
use crate::mailstore::{EmptyAfter, MailStore, Options, QuotaLimits, make_room_to_start};
use crate::types::AccountId;

/// Why the server did not start, or not to the end.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration is at fault.
    Config(BadConfig),
    /// The machine, or the state of the data directory.
    Failed(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Config(bad) => bad.fmt(f),
            ServeError::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<BadConfig> for ServeError {
    fn from(bad: BadConfig) -> Self {
        ServeError::Config(bad)
    }
}

fn failed(error: impl fmt::Display) -> ServeError {
    ServeError::Failed(error.to_string())
}

/// Reads and checks a configuration all the way: the certificate and its key too.
pub fn check_config(file: &Path) -> Result<Config, BadConfig> {
    let config = Config::load(file)?;
    Tls::new(&config).map_err(|fault| BadConfig::at(file, &fault.setting, fault.text))?;
    oauth::check(&config.oauth).map_err(|text| BadConfig::at(file, "oauth.jwks_file", text))?;
    lmtp::check(&config).map_err(|(setting, text)| BadConfig::at(file, setting, text))?;
    Ok(config)
}

/// Checks the data directory while no server runs on it; `user`: only what is that user's. Each fault goes to `tell`.
/// True: there is none.
pub fn check_at_rest(config: &Config, user: Option<&str>, tell: &mut dyn FnMut(String)) -> Result<bool, String> {
    let data_dir = lock::find(&config.data_dir).map_err(|error| error.to_string())?;
    check_data(at_rest(config)?.store(), &data_dir, config, user, tell)
}

/// The data directory of a server that does not run, owned until the value is dropped.
pub fn at_rest(config: &Config) -> Result<AtRest, String> {
    let data_dir = lock::find(&config.data_dir).map_err(|error| error.to_string())?;
    let data_lock = DataLock::take(&data_dir).map_err(|error| error.to_string())?;
    let store = MailStore::open(&data_dir, store_options(config)).map_err(|error| error.to_string())?;
    Ok(AtRest::new(store, data_lock))
}

/// Checks users and mail; whoever calls owns the data directory.
fn check_data(
    store: &MailStore,
    data_dir: &Path,
    config: &Config,
    user: Option<&str>,
    tell: &mut dyn FnMut(String),
) -> Result<bool, String> {
    // A handle of its own: a long check must not hold up log-ins.
    let directory = Directory::open_existing(data_dir).map_err(|error| error.to_string())?;
    let account = match user {
        Some(name) => {
            let found = names::find_user(&directory, name, &config.login.default_domain);
            let user = found.map_err(|error| error.to_string())?;
            Some(user.ok_or_else(|| format!("there is no user {name}"))?.account)
        }
        None => None,
    };
    let finds = directory.check().map_err(|error| error.to_string())?;
    let is_directory_fine = finds.is_empty();
    finds.into_iter().for_each(&mut *tell);
    Ok(check_mail(store, account, tell)? && is_directory_fine)
}

/// Checks all mail, or one account's. True: all is well.
fn check_mail(store: &MailStore, account: Option<AccountId>, tell: &mut dyn FnMut(String)) -> Result<bool, String> {
    let accounts = match account {
        Some(account) => vec![account],
        None => store.accounts().map_err(|error| error.to_string())?,
    };
    let mut is_fine = true;
    for account in accounts.into_iter().filter(|account| store.has_account(*account)) {
        match store.check_now(account) {
            Ok(findings) => {
                is_fine &= findings.problems.is_empty();
                for problem in &findings.problems {
                    tell(format!("account {account}: {problem}"));
                }
            }
            Err(error) => {
                is_fine = false;
                tell(format!("account {account}: cannot be checked: {error}"));
            }
        }
    }
    Ok(is_fine)
}

/// Runs the server until it is told to stop. Blocks. At most once in a process: it takes over logs and signals.
pub fn serve(file: &Path) -> Result<(), ServeError> {
    serve_with(file, Plain)
}

/// The same with what an [`Occasion`] adds to it.
pub fn serve_with(file: &Path, occasion: impl Occasion) -> Result<(), ServeError> {
    let config = Config::load(file)?;
    let tls = Tls::new(&config).map_err(|fault| BadConfig::at(file, &fault.setting, fault.text))?;
    oauth::check(&config.oauth).map_err(|text| BadConfig::at(file, "oauth.jwks_file", text))?;
    lmtp::check(&config).map_err(|(setting, text)| BadConfig::at(file, setting, text))?;
    logging::start(&config.log);
    let passed = Passed::take().map_err(failed)?;
    // A connection, and the file a large message is written to.
    limits::raise_open_files(2 * config.lmtp.connections as u64);
    // Whatever is made from here on (the database's side files, the control socket) is for the owner only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("async")
        .enable_all()
        .build()
        .map_err(|error| failed(format!("cannot start the runtime: {error}")))?;
    // Before anything is made, so that a signal that comes during the start is not lost.
    let entered = runtime.enter();
    let signals = Signals::new().map_err(|error| failed(format!("cannot watch for signals: {error}")))?;
    drop(entered);
    let data_dir = lock::prepare(&config.data_dir).map_err(failed)?;
    let data_lock = DataLock::take(&data_dir).map_err(failed)?;
    let directory = Directory::open(&data_dir).or_else(|error| {
        // Without a free block not even the directory can be opened; the ballast is there for this.
        if make_room_to_start(&data_dir) { Directory::open(&data_dir) } else { Err(error) }
    });
    let directory = Arc::new(directory.map_err(failed)?);
    let store = MailStore::open(&data_dir, store_options(&config)).map_err(failed)?;

    let house = House::new(file, config, tls, directory.clone(), store)?;
    let outcome = runtime.block_on(run(&house, &data_dir, &directory, (signals, passed), occasion));
    // What is still running now was given its time; it is dropped at its next wait.
    runtime.shutdown_timeout(Duration::from_secs(5));
    house.gate.host.store.close();
    drop(house);
    drop(data_lock);
    outcome
}

/// What the store is told of the configuration.
fn store_options(config: &Config) -> Options {
    let limits = &config.limits;
    let folders = config.mail.new_account_mailboxes.iter();
    let rules = [("\\Trash", config.mail.empty_trash_after), ("\\Junk", config.mail.empty_junk_after)];
    let rule = |(special_use, after): (&str, Option<Duration>)| {
        let secs = i64::try_from(after?.as_secs()).unwrap_or(i64::MAX);
        Some(EmptyAfter { special_use: special_use.into(), secs })
    };
    Options {
        empty_after: rules.into_iter().filter_map(rule).collect(),
        account_connections: limits.account_connections,
        snapshot_bytes: limits.snapshot_bytes,
        min_free_bytes: limits.min_free_bytes,
        keep_removed_secs: i64::try_from(config.mail.keep_removed.as_secs()).unwrap_or(i64::MAX),
        keywords_per_mailbox: limits.keywords_per_mailbox,
        mailboxes: limits.mailboxes,
        quota: quota_limits(config),
        new_account_mailboxes: folders.map(|folder| (folder.name.to_string(), folder.special_use.clone())).collect(),
        ..Options::default()
    }
}

/// The configured limits of accounts that have none of their own.
fn quota_limits(config: &Config) -> QuotaLimits {
    let limit = |most: u64| (most > 0).then_some(most);
    QuotaLimits {
        bytes: limit(config.quota.storage_bytes),
        messages: limit(config.quota.messages),
        mailboxes: limit(config.quota.mailboxes),
        annotation_bytes: None,
    }
}

/// Everything that lives as long as the server.
struct House {
    gate: Arc<Gate>,
    lmtp: Arc<LmtpHost>,
    started: Instant,
    reloader: Arc<Reloader>,
}

/// Reads configuration and certificate again.
struct Reloader {
    file: PathBuf,
    config: Arc<ArcSwap<Config>>,
    tls: Arc<Tls>,
    store: MailStore,
    /// One at a time: a signal and the control socket may both ask.
    turn: Mutex<()>,
}

impl House {
    fn new(
        file: &Path,
        config: Config,
        tls: Tls,
        directory: Arc<Directory>,
        store: MailStore,
    ) -> Result<House, ServeError> {
        let config = Arc::new(ArcSwap::from_pointee(config));
        let dial = Arc::new(TlsDial::default());
        let login = Login::with_dial(directory.clone(), config.clone(), dial).map_err(failed)?;
        let sessions = Sessions::new(config.clone());
        let rooms = Rooms { store: store.clone(), directory };
        let lmtp = Arc::new(LmtpHost::new(rooms, sessions.clone(), config.clone()));
        let host = Arc::new(imap::Host { store: store.clone(), login, sessions, config: config.clone() });
        let tls = Arc::new(tls);
        let reloader = Reloader { file: file.into(), config, tls: tls.clone(), store, turn: Mutex::new(()) };
        let unsaid = Arc::new(Semaphore::new(connection::MOST_UNSAID));
        let gate = Arc::new(Gate { host, tls, unsaid });
        Ok(House { gate, lmtp, started: Instant::now(), reloader: Arc::new(reloader) })
    }

    fn control_host(&self, data_dir: &Path) -> ControlHost {
        let (host, reloader) = (self.gate.host.clone(), self.reloader.clone());
        let (check_dir, delete_dir) = (data_dir.to_owned(), data_dir.to_owned());
        let (config, check_host, delete_host) = (host.config.clone(), host.clone(), host.clone());
        let (lmtp, figures_host) = (self.lmtp.clone(), host.clone());
        let (transfer_host, transfer_dir) = (host.clone(), data_dir.to_owned());
        let transfers = Arc::new(transfer::Transfers::default());
        let ending = transfers.clone();
        ControlHost {
            login: host.login.clone(),
            sessions: host.sessions.clone(),
            store: host.store.clone(),
            started: self.started,
            figures: Box::new(move || figures(&figures_host.store)),
            check: Box::new(move |user, tell| {
                check_data(&check_host.store, &check_dir, &config.load_full(), user, tell)
            }),
            end_transfers: Box::new(move |account| ending.end(account)),
            delete_mail: Box::new(move |account| delete_mail(&delete_host.store, &delete_dir, account)),
            reload: Box::new(move || reloader.reload()),
            deliver: Box::new(move |asked, message| Box::pin(deliver::answer(lmtp.clone(), asked, message))),
            transfer: Box::new(move |user, stream| {
                let desk = transfer::Desk {
                    store: transfer_host.store.clone(),
                    data_dir: transfer_dir.clone(),
                    config: transfer_host.config.load_full(),
                    transfers: transfers.clone(),
                };
                Box::pin(transfer::answer(desk, user, stream))
            }),
        }
    }
}

fn figures(store: &MailStore) -> Figures {
    Figures {
        accounts_open: store.accounts_open(),
        connections_open: store.open_connections(),
        snapshot_bytes: u64::try_from(store.snapshot_bytes()).unwrap_or(0),
        disk_free_bytes: store.free_bytes(),
        disk_is_low: store.is_disk_low(),
    }
}

/// Opens the doors, serves, and closes them again.
async fn run(
    house: &House,
    data_dir: &Path,
    directory: &Directory,
    (mut signals, passed): (Signals, Passed),
    occasion: impl Occasion,
) -> Result<(), ServeError> {
    tokio::select! {
        prepared = occasion.prepare(directory, &house.gate.host.store) => prepared.map_err(failed)?,
        () = signals.next_stop() => return Ok(()),
    }
    let config = house.gate.host.config.load_full();
    let passed = passed.sort(&config.listen, &config.lmtp.listen).map_err(failed)?;
    let listeners = match listen::bind_all(&config.listen, passed.imap) {
        Err(reason) if occasion.moves(&reason) => listen::bind_all(&on_any_port(&config.listen), Vec::new()),
        bound => bound,
    };
    let listeners = listeners.map_err(failed)?;
    let mail_doors = lmtp::open(&house.lmtp, passed.lmtp, passed.unix).map_err(failed)?;
    let page = open_page(house, config.metrics.address).await?;
    drop(config);
    let control = ControlSocket::bind(data_dir)
        .map_err(|error| failed(format!("cannot open {}: {error}", data_dir.join("control.sock").display())))?;
    let control = tokio::spawn(control.serve(Arc::new(house.control_host(data_dir))));
    let real = |listener: &Listener| Listen {
        address: listener.address,
        security: listener.door.security,
        proxy_from: listener.door.proxy_from.clone(),
    };
    let open: Vec<Listen> = listeners.iter().map(real).collect();
    let doors: Vec<_> = listeners.into_iter().map(|listener| open_door(listener, house.gate.clone())).collect();
    let renewing = tokio::spawn(renewal::watch(house.reloader.clone()));
    let attending = tokio::spawn(supervisor::attend(house.gate.host.clone(), house.lmtp.rooms.directory.clone()));
    info!(pid = std::process::id(), data_dir = %data_dir.display(), "ready");
    supervisor::tell_ready("serving");
    occasion.ready(&open);

    loop {
        match signals.next().await {
            Signal::Stop => break,
            Signal::Reload if occasion.ends_with_its_terminal() => break,
            Signal::Reload => {
                let reloader = house.reloader.clone();
                // Both outcomes are logged where they happen.
                let _ = tokio::task::spawn_blocking(move || reloader.reload()).await;
            }
        }
    }
    for door in doors.into_iter().chain(mail_doors) {
        door.abort();
        // Who is not accepted by now waits for the next server, if the socket was passed in.
        let _ = door.await;
    }
    let sessions = &house.gate.host.sessions;
    let patience = house.gate.host.config.load().limits.shutdown_seconds;
    supervisor::tell_stopping(patience, sessions.count());
    // Not in the line of the log, which is not made when nobody wants it.
    let ended = sessions.end_all(EndReason::Shutdown);
    info!(sessions = ended, "stopping");
    tokio::select! {
        is_empty = sessions.wait_empty(patience) => {
            if !is_empty {
                warn!(sessions = sessions.count(), "some sessions did not finish in time and are cut off");
            }
        }
        _ = signals.next_stop() => warn!(sessions = sessions.count(), "told to stop again, not waiting any longer"),
    }
    attending.abort();
    renewing.abort();
    if let Some(page) = page {
        page.abort();
    }
    control.abort();
    let _ = control.await;
    info!("stopped");
    Ok(())
}

/// The page with the numbers, if it is wanted.
async fn open_page(house: &House, address: Option<SocketAddr>) -> Result<Option<JoinHandle<()>>, ServeError> {
    let Some(address) = address else { return Ok(None) };
    let cannot = |error| failed(format!("cannot listen on {address} for metrics: {error}"));
    let listener = TcpListener::bind(address).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    info!(%address, "telling metrics");
    let (host, directory) = (house.gate.host.clone(), house.lmtp.rooms.directory.clone());
    let monitor = Arc::new(Monitor { host, directory, started: house.started });
    Ok(Some(tokio::spawn(monitor.serve(listener))))
}

/// The same doors on whatever ports are free.
fn on_any_port(listens: &[Listen]) -> Vec<Listen> {
    let mut moved = listens.to_vec();
    moved.iter_mut().for_each(|listen| listen.address.set_port(0));
    moved
}

fn open_door(listener: Listener, gate: Arc<Gate>) -> JoinHandle<()> {
    // The tests and some scripts read the real port from this line.
    info!(address = %listener.address, security = listener.door.security.word(), "listening");
    let door = listener.door.clone();
    tokio::spawn(listener.accept_all(move |stream, peer| connection::begin(gate.clone(), stream, peer, &door)))
}

/// Deletes the mail of an account whose user is gone and whose sessions and transfers have ended. Whoever still has a
/// handle on it, such as a delivery, is refused from now on and makes no files of nobody.
fn delete_mail(store: &MailStore, data_dir: &Path, account: AccountId) -> Result<String, String> {
    store.retire(account);
    match lock::delete_account_files(data_dir, account) {
        Ok(true) => Ok("the mail was deleted".into()),
        Ok(false) => Ok("there was no mail to delete".into()),
        Err(error) => Err(format!("the mail could not be deleted: {error}")),
    }
}

impl Reloader {
    /// Puts the newly read configuration and certificate in place, or neither. New connections and new commands use
    /// them; what is under way goes on as it began.
    fn reload(&self) -> Result<String, String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        supervisor::tell_reloading();
        let outcome = self.try_reload().map_err(|bad| format!("nothing was changed: {bad}"));
        match &outcome {
            Ok(_) => info!("configuration and certificate read again"),
            Err(text) => error!("{text}"),
        }
        supervisor::tell_ready(outcome.as_ref().unwrap_or_else(|text| text));
        outcome
    }

    fn try_reload(&self) -> Result<String, BadConfig> {
        let mut newer = Config::load(&self.file)?;
        let current = self.config.load_full();
        let stale = current.needs_restart_for(&newer);
        // What only a restart can change stays as it is, so that nobody acts on half of it.
        newer.data_dir = current.data_dir.clone();
        newer.listen = current.listen.clone();
        (newer.log.level, newer.log.format) = (current.log.level, current.log.format);
        newer.metrics = current.metrics.clone();
        newer.lmtp.keep_doors_of(&current.lmtp);
        oauth::check(&newer.oauth).map_err(|text| BadConfig::at(&self.file, "oauth.jwks_file", text))?;
        self.tls.load(&newer).map_err(|fault| BadConfig::at(&self.file, &fault.setting, fault.text))?;
        self.store.set_quota_defaults(quota_limits(&newer));
        self.config.store(Arc::new(newer));
        if stale.is_empty() {
            return Ok("configuration and certificate read again".into());
        }
        let stale = stale.join(", ");
        warn!("changed in the file, but needs a restart: {stale}");
        Ok(format!("configuration and certificate read again; these need a restart: {stale}"))
    }
}

//! A real Postfix delivers to us through the Unix socket, with the lines we ship in `config/postfix/`. It has a
//! configuration, a queue and a port of its own, and is ended by its process id. Skipped where it is not installed.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::server::Server;

const PASSWORD: &str = "correct-horse";
/// Postfix looks at its queue, asks for an address, and starts programs for each: on a busy machine that takes its time.
const LONGEST: Duration = Duration::from_secs(60);

/// The services of a Postfix that takes mail by SMTP and gives it away by LMTP. The LMTP client is the shipped line.
const SERVICES: &str = "\
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
";

/// A running Postfix, ended when dropped.
struct Postfix {
    master: Child,
    port: u16,
    log: PathBuf,
}

/// Why there is none here.
fn missing() -> Option<&'static str> {
    if !Path::new("/usr/lib/postfix/sbin/master").exists() {
        return Some("postfix is not installed");
    }
    (!rustix::process::geteuid().is_root()).then_some("postfix can be started by root only")
}

/// The numbers of Postfix's own user.
fn owner() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postfix:"))?;
    let mut numbers = line.split(':').skip(2);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Postfix {
    fn start(home: &Path, socket: &Path) -> Postfix {
        let (config, queue, data) = (home.join("postfix"), home.join("queue"), home.join("postfix-data"));
        for folder in [&config, &queue, &data] {
            std::fs::create_dir(folder).expect("made");
        }
        let (user, group) = owner().expect("a user for Postfix");
        chown(&data, Some(user), Some(group)).expect("given away");
        // Taken and given back: Postfix cannot be asked which port it got.
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
        let log = home.join("mail.log");
        let shipped = include_str!("../../config/postfix/main.cf");
        let shipped = shipped.replace("/run/pillarbox/lmtp.sock", &socket.display().to_string());
        assert!(shipped.contains(&socket.display().to_string()));
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\nmaillog_file = {}\n\
             maillog_file_prefixes = {}\nmyhostname = mail.example.net\nmydestination =\ninet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\nmynetworks = 127.0.0.0/8\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n\
             smtputf8_enable = yes\nmessage_size_limit = 20000000\n{shipped}",
            queue.display(),
            data.display(),
            log.display(),
            home.display()
        );
        std::fs::write(config.join("main.cf"), main).expect("written");
        let services = include_str!("../../config/postfix/master.cf");
        let services = format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}{services}");
        std::fs::write(config.join("master.cf"), services).expect("written");
        // Makes the folders of the queue.
        let check = Command::new("/usr/sbin/postfix").arg("-c").arg(&config).arg("check").output().expect("run");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
        let master = Command::new("/usr/lib/postfix/sbin/master")
            .args(["-d", "-c"])
            .arg(&config)
            .env("MAIL_CONFIG", &config)
            .env("MAIL_LOGTAG", "postfix")
            .current_dir(&queue)
            // When it ends it ends its whole process group, which must not be ours.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let postfix = Postfix { master, port, log };
        let deadline = Instant::now() + LONGEST;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "postfix does not listen; it wrote:\n{}", postfix.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        postfix
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn connect(&self) -> Smtp {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.set_read_timeout(Some(LONGEST)).expect("set");
        let mut smtp = Smtp { stream: BufReader::new(stream) };
        assert!(smtp.reply().starts_with("220 "));
        assert!(smtp.ask("EHLO client.example.net").starts_with("250 "));
        smtp
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if let Some(id) = rustix::process::Pid::from_raw(self.master.id().cast_signed()) {
            // It may have ended by itself: then there is nothing to end.
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.master.wait();
        if std::thread::panicking() {
            eprintln!("postfix wrote:\n{}", self.log());
        }
    }
}

/// A client that brings mail.
struct Smtp {
    stream: BufReader<TcpStream>,
}

impl Smtp {
    /// The last line of the next reply.
    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("a reply");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    fn ask(&mut self, command: &str) -> String {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("sent");
        self.reply()
    }

    fn send(&mut self, options: &str, recipients: &[&str], message: &str) {
        let reply = self.ask(&format!("MAIL FROM:<sender@example.net>{options}"));
        assert!(reply.starts_with("250"), "{reply}");
        for recipient in recipients {
            let reply = self.ask(&format!("RCPT TO:<{recipient}>"));
            assert!(reply.starts_with("250"), "{recipient}: {reply}");
        }
        assert!(self.ask("DATA").starts_with("354"));
        let reply = self.ask(&format!("{message}\r\n."));
        assert!(reply.starts_with("250"), "{reply}");
    }
}

/// A client that has the mailbox open and waits for mail.
fn watch(server: &Server, user: &str, mailbox: &str) -> Client {
    let mut client = Client::connect(server.address()).expect("connected");
    client.line(PATIENCE).expect("greeted");
    client.order("a", &format!("LOGIN {user} {PASSWORD}"), None).expect("answered");
    client.order("b", &format!("SELECT {mailbox}"), None).expect("answered");
    client.send(b"c IDLE\r\n").expect("sent");
    assert!(client.line(PATIENCE).expect("read").is_some_and(|line| line.starts_with(b"+")));
    client
}

/// Waits until so many messages are there and gives their text.
fn await_mail(mut client: Client, count: usize) -> String {
    let wanted = format!("* {count} EXISTS");
    while client.line(LONGEST).expect("told in time").expect("still there") != wanted.as_bytes() {}
    client.send(b"DONE\r\n").expect("sent");
    while !client.line(PATIENCE).expect("read").expect("still there").starts_with(b"c OK") {}
    let told = client.order("d", "FETCH 1:* BODY.PEEK[]", None).expect("answered");
    told.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

#[test]
fn postfix_delivers_and_knows_who_is_there() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let settings = ["socket = \"lmtp.sock\"", "socket_group = \"postfix\"", "local_domains = [\"example.org\"]"];
    let settings = settings.map(|line| format!("lmtp.{line}"));
    let server = Server::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
    for user in ["ada", "bob"] {
        server.add_user(user, PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    }
    let alias = server.run(&["alias", "add", "team@example.org", "ada", "bob"], b"").expect("run");
    assert!(alias.status.success());
    let home = server.beside("");
    // Postfix's programs run as their own user and have to come through to the socket.
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o711)).expect("opened");
    let postfix = Postfix::start(&home, &server.beside("lmtp.sock"));

    let mut smtp = postfix.connect();
    assert!(smtp.ask("MAIL FROM:<sender@example.net>").starts_with("250"));
    let unknown = smtp.ask("RCPT TO:<nobody@example.org>");
    assert!(unknown.starts_with("550 5.1.1 ") && unknown.contains("there is no such user here"), "{unknown}");
    assert!(smtp.ask("RCPT TO:<ada@example.org>").starts_with("250 "));
    assert!(smtp.ask("RSET").starts_with("250"));

    let (ada, bob, archive) =
        (watch(&server, "ada", "INBOX"), watch(&server, "bob", "INBOX"), watch(&server, "ada", "Archive"));
    let large = "All work and no play makes Jack a dull boy.\r\n".repeat(10_000);
    smtp.send("", &["ada@example.org", "bob@example.org"], &format!("Subject: one\r\n\r\n..\r\n{large}"));
    smtp.send(" BODY=8BITMIME", &["team@example.org"], "Subject: two\r\n\r\nfür alle");
    smtp.send("", &["ada+archive@example.org"], "Subject: three\r\n\r\n");
    for mail in [await_mail(ada, 2), await_mail(bob, 2)] {
        assert!(mail.contains("Subject: one\r\n") && mail.contains(&format!("\r\n\r\n.\r\n{large}")));
        assert!(mail.contains("Subject: two\r\n") && mail.contains("\r\n\r\nfür alle\r\n"));
        assert!(mail.contains("Return-Path: <sender@example.net>\r\n"));
        assert!(mail.contains("Delivered-To: team@example.org\r\n"));
        assert!(mail.contains("Received: from mail.example.net\r\n\tby "), "{mail}");
    }
    assert!(await_mail(archive, 1).contains("Subject: three\r\n"));
    let log = postfix.log();
    assert!(log.contains("status=sent (250 2.0.0 stored, id "), "{log}");
}

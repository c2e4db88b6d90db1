//! Mail that moves in and out, by the program's own commands: with a server that runs and without one, from Maildir, mbox
//! and other IMAP servers, and back.

use crate::client::Client;
use crate::server::Server;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

pub const PASSWORD: &str = "correct-horse";
const DOVECOT: &str = "/usr/lib/dovecot/imap";
/// Longest wait for what another process does.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn server(users: &[&str]) -> Server {
    let server = Server::start().unwrap_or_else(|error| panic!("{error}"));
    users.iter().for_each(|user| server.add_user(user, PASSWORD).unwrap_or_else(|error| panic!("{error}")));
    server
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Runs a command of the program; its exit code and what it told.
/// `import imap` for a user of ours, logging in there as somebody.
pub fn by_imap<'a>(
    user: &'a str,
    (host, port): (&'a str, &'a str),
    security: &'a str,
    login: &'a str,
) -> [&'a str; 12] {
    [
        "import",
        "imap",
        user,
        "--host",
        host,
        "--port",
        port,
        "--security",
        security,
        "--login",
        login,
        "--password-stdin",
    ]
}

pub fn run(server: &Server, arguments: &[&str]) -> (i32, String) {
    told(server.run(arguments, PASSWORD.as_bytes()).unwrap_or_else(|error| panic!("{error}")))
}

pub fn told(output: Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A logged-in session.
pub struct Session(pub Client);

impl Session {
    pub fn of(server: &Server, user: &str) -> Session {
        let mut client = Client::connect(server.address()).expect("connected");
        client.line(PATIENCE).expect("greeted");
        let mut session = Session(client);
        session.ask(&format!("LOGIN {user} {PASSWORD}"));
        session
    }

    /// The untagged lines of an answer that must be OK.
    pub fn ask(&mut self, command: &str) -> Vec<String> {
        self.ask_with(command, None)
    }

    fn ask_with(&mut self, command: &str, literal: Option<&[u8]>) -> Vec<String> {
        let mut lines = self.0.order("t", command, literal).expect("answered");
        let last = lines.pop().unwrap_or_default();
        assert!(last.starts_with(b"t OK"), "{command}: {}", text(&last));
        lines.iter().map(|line| line.escape_ascii().to_string()).collect()
    }

    pub fn append(&mut self, mailbox: &str, flags: &str, date: &str, octets: &[u8]) {
        self.ask_with(&format!("APPEND \"{mailbox}\" ({flags}) \"{date}\""), Some(octets));
    }

    /// All that is to be the same after a move: each message's UID, flags, date and octets, in order.
    pub fn messages(&mut self, mailbox: &str) -> Vec<String> {
        self.ask(&format!("EXAMINE \"{mailbox}\""));
        let lines = self.ask("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
        lines.iter().filter(|line| line.contains(" FETCH (")).map(|line| without_recent(line)).collect()
    }

    pub fn status(&mut self, mailbox: &str) -> String {
        self.ask(&format!("STATUS \"{mailbox}\" (MESSAGES UIDNEXT UIDVALIDITY)")).join("")
    }

    fn mailboxes(&mut self) -> Vec<String> {
        let lines = self.ask("LIST \"\" \"*\"");
        let mut names: Vec<String> =
            lines.iter().filter_map(|line| line.split("\"/\\\" ").nth(1)).map(str::to_owned).collect();
        names.sort();
        names
    }
}

/// `\Recent` says who looked first, and flags come in any order.
fn without_recent(line: &str) -> String {
    let Some((before, rest)) = line.split_once("FLAGS (") else { return line.to_owned() };
    let Some((flags, after)) = rest.split_once(')') else { return line.to_owned() };
    let mut flags: Vec<&str> =
        flags.split(' ').filter(|flag| !flag.ends_with("\\Recent") && !flag.is_empty()).collect();
    flags.sort_unstable();
    format!("{before}FLAGS ({}){after}", flags.join(" "))
}

pub fn write(path: &Path, octets: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, octets).expect("written");
}

/// A Maildir++ as Dovecot leaves it.
fn sample_maildir(root: &Path) {
    let message = |n: u32| format!("Subject: {n}\nMessage-ID: <{n}@x>\n\nhello {n}\n").into_bytes();
    write(&root.join("cur/100.a.host,S=1:2,FSab"), &message(1));
    write(&root.join("cur/101.b.host:2,"), &message(2));
    write(&root.join("new/102.c.host"), &message(3));
    write(&root.join("dovecot-uidlist"), b"3 V1234567 N50 Gabc\n7 :100.a.host,S=1\n9 W7 :101.b.host\n");
    write(&root.join("dovecot-keywords"), b"0 $Work\n1 later\n");
    write(&root.join("subscriptions"), b"V\t2\n\nArchive\t2025\n");
    write(&root.join(".Archive.2025/cur/200.d.host:2,RT"), &message(4));
    write(&root.join(".Archive.2025/maildirfolder"), b"");
    write(&root.join(".Entw&APw-rfe.v1&AC4-2/cur/300.e.host:2,D"), &message(5));
    write(&root.join("cur/400.empty.host:2,S"), b"");
}

#[test]
fn a_maildir_comes_in_with_all_that_dovecot_wrote_beside_it() {
    let mut server = server(&["ada"]);
    let root = server.beside("Maildir");
    sample_maildir(&root);
    // Once with a server, then without, then with one again: taken is taken.
    let (code, said) = run(&server, &["import", "maildir", "ada", path(&root)]);
    assert_eq!(code, 1, "what is empty is not taken, and told:\n{said}");
    assert!(said.contains("400.empty.host:2,S: not taken: it is empty"), "{said}");
    assert!(said.contains("taken: 5 messages in 3 mailboxes"), "{said}");
    let mut session = Session::of(&server, "ada");
    assert!(session.mailboxes().iter().any(|name| name.contains("Archive/2025")));
    assert!(session.mailboxes().iter().any(|name| name.contains("Entw&APw-rfe/v1.2")), "{:?}", session.mailboxes());
    let status = session.status("INBOX");
    assert!(
        status.contains("MESSAGES 3") && status.contains("UIDNEXT 5") && status.contains("UIDVALIDITY 1234567"),
        "{status}"
    );
    let inbox = session.messages("INBOX");
    assert!(inbox[0].contains("UID 7 ") && inbox[0].contains("FLAGS ($Work \\\\Flagged \\\\Seen later)"), "{inbox:?}");
    assert!(inbox[0].contains("Subject: 1\\r\\nMessage-ID: <1@x>\\r\\n\\r\\nhello 1\\r\\n"), "{inbox:?}");
    assert!(inbox[1].contains("UID 9 ") && inbox[2].contains("UID 50 "), "{inbox:?}");
    let subscribed = session.ask("LSUB \"\" \"*\"").join("\n");
    assert!(subscribed.contains("Archive/2025") && !subscribed.contains("rfe"), "{subscribed}");
    let archive = session.messages("Archive/2025");
    assert!(archive[0].contains("\\\\Answered \\\\Deleted"), "{archive:?}");
    drop(session);

    server.terminate().expect("ended");
    write(&root.join("cur/103.f.host:2,S"), b"Subject: 6\n\n");
    std::fs::rename(root.join("cur/101.b.host:2,"), root.join("cur/101.b.host:2,S")).expect("renamed");
    let (_, said) = run(&server, &["import", "maildir", "ada", path(&root)]);
    assert!(said.contains("taken: 1 message in 3 mailboxes") && said.contains("5 taken before"), "{said}");
    server.kill_and_start().expect("started");
    let (_, said) = run(&server, &["import", "maildir", "ada", path(&root)]);
    assert!(said.contains("taken: 0 messages") && said.contains("6 taken before"), "{said}");
    assert!(Session::of(&server, "ada").status("INBOX").contains("MESSAGES 4"));
    let (code, said) = run(&server, &["import", "maildir", "bert", path(&root)]);
    assert!(code == 1 && said.contains("there is no user bert"), "{said}");
    let (code, said) = run(&server, &["check"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn mbox_files_come_in_one_by_one_and_by_the_folder() {
    let server = server(&["ada"]);
    let from = "From a@b Sat Jan  3 01:05:34 1996\n";
    let two = format!(
        "{from}Status: RO\nX-Status: F\nX-Keywords: work\nSubject: 1\n\n>From me\n\n{from}Subject: 2\n\nx\n\n{from}Subject: 2\n\nx\n"
    );
    write(&server.beside("one.mbox"), two.as_bytes());
    write(&server.beside("folder/Inbox"), format!("{from}Subject: 3\n\n").as_bytes());
    write(&server.beside("folder/Inbox.msf"), b"// an index");
    write(
        &server.beside("folder/Work.sbd/2024"),
        format!("{from}X-Mozilla-Status: 0009\nSubject: gone\n\n{from}X-Mozilla-Status: 0005\nSubject: 4\n\n")
            .as_bytes(),
    );
    let file = server.beside("one.mbox");
    let (code, said) = run(&server, &["import", "mbox", "ada", path(&file), "--into", "Old/one"]);
    assert!(code == 0 && said.contains("taken: 3 messages in 1 mailbox"), "equal ones are as many:\n{said}");
    let (_, said) = run(&server, &["import", "mbox", "ada", path(&file), "--into", "Old/one"]);
    assert!(said.contains("taken: 0 messages") && said.contains("3 taken before"), "{said}");
    let (code, said) = run(&server, &["import", "mbox", "ada", path(&server.beside("folder"))]);
    assert!(
        code == 0 && said.contains("taken: 2 messages in 2 mailboxes") && said.contains("was deleted there"),
        "{said}"
    );
    let mut session = Session::of(&server, "ada");
    let old = session.messages("Old/one");
    assert!(
        old[0].contains("FLAGS (\\\\Flagged \\\\Seen work)")
            && old[0].contains("{20}\\r\\nSubject: 1\\r\\n\\r\\nFrom me\\r\\n")
            || old[0].contains("From me"),
        "{old:?}"
    );
    assert!(
        old[0].contains("\" 3-Jan-1996 01:05:34 +0000\\\"") || old[0].contains("03-Jan-1996 01:05:34 +0000"),
        "{old:?}"
    );
    assert!(session.messages("Work/2024")[0].contains("\\\\Flagged \\\\Seen"));
    assert!(session.status("INBOX").contains("MESSAGES 1"));
    let (code, said) = run(&server, &["import", "mbox", "ada", path(&server.config())]);
    assert!(code == 1 && said.contains("is no mbox"), "{said}");
}

/// Mail of every awkward kind for ada, in mailboxes that are old: a UIDVALIDITY of today might have been given by the
/// other server too, and then would not be taken.
fn fill(server: &Server) -> Session {
    let date = "03-Jan-1996 01:05:34 +0130";
    let old = server.beside("Old");
    for (at, folder) in ["", ".Entw&APw-rfe", ".Entw&APw-rfe.v1&AC4-2", ".Empty"].iter().enumerate() {
        std::fs::create_dir_all(old.join(folder).join("cur")).expect("made");
        write(&old.join(folder).join("dovecot-uidlist"), format!("1 {} 1\n", 1_000_000 + at).as_bytes());
    }
    let (code, said) = run(server, &["import", "maildir", "ada", path(&old)]);
    assert_eq!(code, 0, "{said}");
    let mut session = Session::of(server, "ada");
    session.ask("UNSUBSCRIBE Empty");
    let awkward: [&[u8]; 9] = [
        b"Subject: plain\r\n\r\nbody\r\n",
        b"Subject: no end\r\n\r\nbody",
        b"Status: O\r\nX-UID: 9\r\nContent-Length: 3\r\nSubject: headers of an mbox\r\n\r\n>From a\r\nFrom b\r\n\r\nFrom c Sat Jan  3 01:05:34 1996\r\n",
        b"Subject: bare\r\n\r\none\ntwo\rthree\r\r\n",
        b"Subject: bare first\n\none\r\n",
        b"\r\n",
        b"From here it goes\r\n\r\n\r\n\r\n",
        b"X-Pillarbox-Mbox: raw cut\r\n\r\n\r",
        b"Subject: 8 bit \xff\xfe\r\n\r\n\xc3\xa4\r\n",
    ];
    for (at, octets) in awkward.iter().enumerate() {
        let flags = ["\\Seen", "", "\\Deleted $Work", "\\Draft \\Flagged", "\\Answered later"][at % 5];
        session.append("INBOX", flags, date, octets);
    }
    let many: Vec<String> = (0..40).map(|n| format!("word{n}")).collect();
    session.append("Entw&APw-rfe/v1.2", &many.join(" "), "03-Jan-2026 01:05:34 +0000", b"Subject: many\r\n\r\n");
    session.append("Entw&APw-rfe/v1.2", "WORD1 word39 $Forwarded", date, b"Subject: letters\r\n\r\n");
    let large = [b"Subject: large\r\n\r\n".to_vec(), b"0123456789abcdef\r\n".repeat(200_000)].concat();
    session.append("Entw&APw-rfe/v1.2", "", date, &large);
    let late = [large, b"a bare LF at the very end\n".to_vec()].concat();
    session.append("Entw&APw-rfe/v1.2", "", date, &late);
    session.ask("SELECT INBOX");
    session.ask("UID STORE 1 +FLAGS.SILENT (\\Deleted)");
    session.ask("UID EXPUNGE 1");
    session
}

#[test]
fn what_is_written_out_comes_back_octet_for_octet() {
    let server = server(&["ada", "bert", "cora"]);
    let mut ada = fill(&server);
    for (form, user) in [("maildir", "bert"), ("mbox", "cora")] {
        let folder = server.beside(form);
        let (code, said) = run(&server, &["export", form, "ada", path(&folder)]);
        assert!(code == 0 && said.contains("written: 12 messages"), "{said}");
        let (code, said) = run(&server, &["import", form, user, path(&folder)]);
        assert!(code == 0 && said.contains("taken: 12 messages"), "{said}");
        let mut back = Session::of(&server, user);
        assert_eq!(back.mailboxes(), ada.mailboxes(), "{form}");
        for mailbox in ["INBOX", "Entw&APw-rfe/v1.2", "Empty"] {
            assert_eq!(back.messages(mailbox), ada.messages(mailbox), "{form}: {mailbox}");
        }
        assert_eq!(back.status("INBOX"), ada.status("INBOX"), "{form}");
        assert_eq!(back.status("Entw&APw-rfe/v1.2"), ada.status("Entw&APw-rfe/v1.2"), "{form}");
        assert!(!back.ask("LSUB \"\" \"*\"").join("").contains("Empty"), "{form}");
        let (code, said) = run(&server, &["export", form, "ada", path(&folder)]);
        assert!(code == 1 && said.contains("holds other things"), "{said}");
    }
    let (code, said) = run(&server, &["check"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn mail_is_pulled_from_another_server_and_again_takes_what_is_new() {
    let source = server(&["ada"]);
    let mut ada = fill(&source);
    let mut target = server(&["bert"]);
    let pull = |target: &Server, security: &str, address: &str| {
        let (host, port) = address.rsplit_once(':').expect("a port");
        let host = if security == "none" { host } else { "localhost" };
        let ca = source.beside("cert.pem");
        let ca = ["--ca", path(&ca)];
        run(target, &[&by_imap("bert", (host, port), security, "ada")[..], &ca].concat())
    };
    let addresses = source.addresses().clone();
    let (code, said) = pull(&target, "tls", &addresses.tls);
    assert!(code == 0 && said.contains("taken: 12 messages"), "{said}");
    let mut bert = Session::of(&target, "bert");
    for mailbox in ["INBOX", "Entw&APw-rfe/v1.2", "Empty"] {
        assert_eq!(bert.messages(mailbox), ada.messages(mailbox), "{mailbox}");
        assert_eq!(bert.status(mailbox), ada.status(mailbox), "{mailbox}");
    }
    assert!(!bert.ask("LSUB \"\" \"*\"").join("").contains("Empty"));
    ada.append("INBOX", "\\Seen", "03-Jan-1996 01:05:34 +0130", b"Subject: new\r\n\r\n");
    drop(bert);
    target.terminate().expect("ended");
    let (code, said) = pull(&target, "starttls", &addresses.starttls);
    assert!(code == 0 && said.contains("taken: 1 message ") && said.contains("12 taken before"), "{said}");
    target.kill_and_start().expect("started");
    let mut bert = Session::of(&target, "bert");
    assert_eq!(bert.messages("INBOX"), ada.messages("INBOX"));
    // Mail that came here meanwhile has the UID the source gives next: nothing is lost, and the numbers are new ones.
    bert.append("INBOX", "", "03-Jan-1996 01:05:34 +0130", b"Subject: here\r\n\r\n");
    ada.append("INBOX", "", "03-Jan-1996 01:05:34 +0130", b"Subject: there\r\n\r\n");
    // Another name of the same host is another source; so the certificate's name is kept here.
    let (code, said) = pull(&target, "tls", &addresses.tls);
    assert!(code == 0 && said.contains("gets new UIDs from here on"), "{said}");
    assert_ne!(bert.status("INBOX"), ada.status("INBOX"));
    assert!(bert.status("INBOX").contains("MESSAGES 11"), "{}", bert.status("INBOX"));
    let output = target.run(
        &["import", "imap", "bert", "--host", "localhost", "--port", "1", "--login", "ada", "--password-stdin"],
        b"wrong",
    );
    assert_eq!(told(output.expect("ran")).0, 1);
    let (host, port) = addresses.plain.rsplit_once(':').expect("a port");
    let (code, said) = told(target.run(&by_imap("bert", (host, port), "none", "ada"), b"wrong").expect("ran"));
    assert!(code == 1 && said.contains("does not let ada in"), "{said}");
    let (code, said) = pull(&target, "tls", &addresses.plain);
    assert_eq!(code, 1, "no TLS is spoken there: {said}");
}

#[test]
fn an_import_that_is_killed_is_gone_on_with_and_nothing_comes_twice() {
    const MESSAGES: usize = 3000;
    let server = server(&["ada"]);
    let root = server.beside("Maildir");
    for n in 0..MESSAGES {
        write(&root.join(format!("cur/{n}.m.host:2,S")), format!("Subject: {n}\n\n{}", "x".repeat(500)).as_bytes());
    }
    let mut session = Session::of(&server, "ada");
    let count = |session: &mut Session| -> usize {
        let status = session.ask("STATUS INBOX (MESSAGES)").join("");
        status.split("MESSAGES ").nth(1).and_then(|rest| rest.trim_end_matches(')').parse().ok()).expect("a number")
    };
    let mut process = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(["import", "maildir", "ada", path(&root), "--config", path(&server.config())])
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let mut seen = 0;
    while seen == 0 {
        seen = count(&mut session);
        assert!(process.try_wait().expect("asked").is_none() || seen > 0, "it ended without a message");
    }
    process.kill().expect("killed");
    process.wait().expect("ended");
    println!("killed after {seen} messages or a few more");
    let (code, said) = run(&server, &["import", "maildir", "ada", path(&root)]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(count(&mut session), MESSAGES, "{said}");
    let (code, said) = run(&server, &["check"]);
    assert_eq!(code, 0, "{said}");
}

/// Dovecot's own IMAP process on a Maildir, without its login: each connection to the port gets one that knows its user.
struct Dovecot {
    port: u16,
    mail: PathBuf,
}

impl Dovecot {
    /// `None`, with a printed line: it is not installed.
    fn start(home: &Path) -> Option<Dovecot> {
        if !Path::new(DOVECOT).exists() {
            println!("skipped: {DOVECOT} is not installed");
            return None;
        }
        let mail = home.join("dovecot-mail");
        // Old ones: a UIDVALIDITY of today might have been given here too, and then would not be taken.
        for (at, name) in ["", ".Entw&APw-rfe.2025"].iter().enumerate() {
            for part in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(mail.join(name).join(part)).expect("made");
            }
            write(&mail.join(name).join("dovecot-uidlist"), format!("3 V{} N5\n", 2_000_000 + at).as_bytes());
        }
        let folder = path(home);
        let config = format!(
            "base_dir = {folder}/run\nstate_dir = {folder}/state\nlog_path = {folder}/dovecot.log\nssl = no\n\
             mail_location = maildir:{folder}/dovecot-mail\nfirst_valid_uid = 1\n\
             namespace inbox {{\n inbox = yes\n separator = /\n}}\n"
        );
        write(&home.join("dovecot.conf"), config.as_bytes());
        // It does not work as root.
        if is_root() {
            let given = Command::new("chown").args(["-R", "65534:65534", folder]).status();
            assert!(given.expect("chown is there").success());
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let conf = home.join("dovecot.conf");
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut process = Command::new(DOVECOT);
                process.arg("-c").arg(&conf).env("USER", "ada").env("HOME", "/nonexistent");
                if is_root() {
                    process.uid(65534).gid(65534);
                }
                let mut process = process
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("started");
                let (mut input, mut output) =
                    (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
                let mut from = stream.try_clone().expect("cloned");
                std::thread::spawn(move || pass(&mut from, &mut input));
                let mut to = stream;
                std::thread::spawn(move || {
                    pass(&mut output, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                    let _ = process.wait();
                });
            }
        });
        Some(Dovecot { port, mail })
    }

    fn session(&self) -> Session {
        let mut client = Client::connect(&format!("127.0.0.1:{}", self.port)).expect("connected");
        let greeting = client.line(PATIENCE).expect("greeted").unwrap_or_default();
        assert!(greeting.starts_with(b"* PREAUTH"), "{}", text(&greeting));
        Session(client)
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Passes octets on as they come.
fn pass(from: &mut impl Read, to: &mut impl Write) {
    let mut piece = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

#[test]
fn dovecots_mail_comes_in_by_either_way_and_goes_back() {
    let target = server(&["ada", "bert"]);
    let home = tempfile::tempdir().expect("a folder");
    open_to_all(home.path());
    let Some(dovecot) = Dovecot::start(home.path()) else { return };
    let mut there = dovecot.session();
    there.ask("SUBSCRIBE \"Entw&APw-rfe/2025\"");
    for n in 0..30 {
        let flags = ["\\Seen", "\\Flagged $Work", "\\Answered later", "\\Draft"][n % 4];
        let message = format!("Subject: {n}\r\nMessage-ID: <{n}@x>\r\n\r\nFrom {n}\r\n");
        let mailbox = if n % 3 == 0 { "Entw&APw-rfe/2025" } else { "INBOX" };
        there.append(mailbox, flags, "03-Jan-2006 01:05:34 +0000", message.as_bytes());
    }
    there.ask("SELECT INBOX");
    there.ask("UID STORE 7:9 +FLAGS.SILENT (\\Deleted)");
    there.ask("EXPUNGE");
    there.ask("UID STORE 11:13 +FLAGS.SILENT (third)");

    // By IMAP, and from its files.
    let port = dovecot.port.to_string();
    let arguments = by_imap("ada", ("127.0.0.1", &port), "none", "x");
    let (code, said) = run(&target, &arguments);
    assert!(code == 0 && said.contains("taken: 27 messages"), "{said}");
    let (code, said) = run(&target, &["import", "maildir", "bert", path(&dovecot.mail)]);
    assert!(code == 0 && said.contains("taken: 27 messages"), "{said}");
    for user in ["ada", "bert"] {
        let mut here = Session::of(&target, user);
        for mailbox in ["INBOX", "Entw&APw-rfe/2025"] {
            let (ours, theirs) = (here.messages(mailbox), there.messages(mailbox));
            assert_eq!(sorted(&ours), sorted(&theirs), "{user}: {mailbox}");
            assert_eq!(numbers(&here.status(mailbox)), numbers(&there.status(mailbox)), "{user}: {mailbox}");
        }
        assert!(here.ask("LSUB \"\" \"*\"").join("").contains("rfe/2025"), "{user}");
    }
    let (_, said) = run(&target, &arguments);
    assert!(said.contains("taken: 0 messages") && said.contains("27 taken before"), "{said}");

    // What an export writes is a Maildir to Dovecot too, with the same numbers and flags.
    let home = tempfile::tempdir().expect("a folder");
    open_to_all(home.path());
    let (code, said) = run(&target, &["export", "maildir", "ada", path(&home.path().join("out"))]);
    assert_eq!(code, 0, "{said}");
    let moved = home.path().join("second");
    std::fs::create_dir(&moved).expect("made");
    open_to_all(&moved);
    let again = Dovecot::start(&moved).expect("it is installed");
    std::fs::remove_dir_all(&again.mail).expect("removed");
    std::fs::rename(home.path().join("out"), &again.mail).expect("renamed");
    if is_root() {
        assert!(Command::new("chown").args(["-R", "65534:65534", path(&moved)]).status().expect("ran").success());
    }
    let (mut again, mut ada) = (again.session(), Session::of(&target, "ada"));
    for mailbox in ["INBOX", "Entw&APw-rfe/2025"] {
        assert_eq!(sorted(&again.messages(mailbox)), sorted(&ada.messages(mailbox)), "{mailbox}");
        assert_eq!(numbers(&again.status(mailbox)), numbers(&ada.status(mailbox)), "{mailbox}");
    }
}

/// So that another user's process reaches what is below.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("set");
}

/// Servers tell the items of a FETCH in orders of their own.
fn sorted(messages: &[String]) -> Vec<String> {
    let items = |line: &String| {
        let body = line.split_once("BODY[] ").map_or("", |(_, body)| body).split(')').next().unwrap_or("").to_owned();
        let uid = line.split("UID ").nth(1).and_then(|rest| rest.split([' ', ')']).next()).unwrap_or("").to_owned();
        let flags = line.split("FLAGS (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or("").to_owned();
        let date = line.split("INTERNALDATE ").nth(1).and_then(|rest| rest.get(..30)).unwrap_or("").to_owned();
        format!("{uid} {flags} {date} {body}")
    };
    messages.iter().map(items).collect()
}

/// The items of a STATUS answer in one order.
fn numbers(status: &str) -> Vec<String> {
    let items = status.rsplit_once('(').map_or("", |(_, items)| items).trim_end_matches(')');
    let words: Vec<&str> = items.split(' ').collect();
    let mut pairs: Vec<String> = words.chunks(2).map(|pair| pair.join(" ")).collect();
    pairs.sort();
    pairs
}

/// A server that answers what it likes.
pub fn liar(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().expect("accepted");
        for answer in answers {
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            let mut command = [0; 4096];
            if !matches!(stream.read(&mut command), Ok(1..)) {
                return;
            }
        }
    });
    port
}

#[test]
fn a_server_that_lies_costs_nothing_but_the_import() {
    let target = server(&["ada"]);
    let begin =
        ["* OK hi\r\n", "* CAPABILITY IMAP4rev1\r\np1 OK\r\n", "p2 OK\r\n", "* CAPABILITY IMAP4rev1\r\np3 OK\r\n"];
    let cases: [&'static [&'static str]; 3] = [
        Box::leak(Box::new([begin[0], begin[1], begin[2], begin[3], "* LIST () \"/\" {99999999999}\r\n"])),
        Box::leak(Box::new([
            begin[0],
            begin[1],
            begin[2],
            begin[3],
            "* LIST () \"/\" INBOX\r\np4 OK\r\n",
            "p5 OK\r\n",
            "* OK [UIDVALIDITY 7] x\r\np6 OK\r\n",
            "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 5)\r\np7 OK\r\n",
            "* 1 FETCH (UID 9 BODY[] {3}\r\nabc)\r\n* 2 FETCH (BODY[] {4}\r\nA: b UID 2 FLAGS (\\Seen))\r\np8 NO broken\r\n",
            "p9 OK\r\n",
        ])),
        Box::leak(Box::new(["+ what\r\n"])),
    ];
    let wanted = [
        "something unexpected",
        "UID 1 of INBOX: not taken: the server did not give it: NO broken",
        "something unexpected",
    ];
    for (case, wanted) in cases.into_iter().zip(wanted) {
        let port = liar(case).to_string();
        let (code, said) = run(&target, &by_imap("ada", ("127.0.0.1", &port), "none", "x"));
        assert!(code == 1 && said.contains(wanted), "{said}");
    }
    let mut ada = Session::of(&target, "ada");
    let inbox = ada.messages("INBOX");
    assert!(inbox.len() == 1 && inbox[0].contains("A: b"), "what another UID had is nobody's: {inbox:?}");
}

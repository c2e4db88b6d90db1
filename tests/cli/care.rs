//! What an operator does about mail that is there: doctor, autoconfig, backup and restore, folders that empty themselves.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;

use pillarbox::clock::Clock;
use pillarbox::mailstore::{MailStore, NewMessage, Options, wait_for};
use pillarbox::types::{AccountId, FlagSet, MailboxName};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Outcome, Site};

/// A port that was free a moment ago.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound")
}

/// A name server that knows no name.
fn empty_name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut octets = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut octets) {
            // RFC 1035 §4.1.1: a response, and "no such name".
            octets[2] |= 0x80;
            octets[3] = 3;
            let _ = socket.send_to(&octets[..length], from);
        }
    });
    address
}

#[test]
fn the_doctor_says_what_is_fine_and_what_to_do() {
    // A fixed port, so that the door can be tried; somebody else may have it for a moment.
    let free = free_port();
    let site =
        Site::with(&format!("[[listen]]\naddress = \"{free}\"\nsecurity = \"none\"\n[limits]\nmin_free_bytes = 0\n"));
    let before = site.run("doctor");
    assert_eq!(before.code, Some(1), "{}", before.stdout);
    assert!(before.stdout.contains("FAIL") && before.stdout.contains("user add"), "{}", before.stdout);
    site.add("anna", "pw");
    let resting = site.run("doctor").stdout;
    assert!(resting.contains("WARN  no server is running") && resting.contains("is for its owner only"), "{resting}");
    let _server = site.serve();
    let name_server = empty_name_server();
    let running = site.run(&format!("doctor --host localhost --nameserver {name_server}")).stdout;
    assert!(running.contains("PASS  the server runs: process "), "{running}");
    assert!(running.contains(&format!("PASS  {free} (none) answers")), "{running}");
    assert!(running.contains("has 1 user\n"), "{running}");
    assert!(running.contains(&format!("WARN  {name_server} knows no address of localhost: ")), "{running}");
    assert!(running.contains("SKIP  SRV records: no user's name has a domain"), "{running}");
    assert!(!running.contains("resolver tells addresses only"), "{running}");
    let is_find = |line: &str| ["PASS  ", "WARN  ", "FAIL  ", "SKIP  "].iter().any(|word| line.starts_with(word));
    assert!(running.lines().all(|line| is_find(line) || line.ends_with(" to look at")), "{running}");
}

/// Writes a certificate for `localhost` with the authority that signed it, its key, and the authority alone, whom to
/// trust.
fn write_signed_certificate(home: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    let own = params.signed_by(&key, &authority).expect("signed");
    let write = |name: &str, text: String| std::fs::write(home.join(name), text).expect("written");
    write("cert.pem", own.pem() + &authority.pem());
    write("trusted.pem", authority.pem());
    write("key.pem", key.serialize_pem());
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home.join("key.pem"), std::fs::Permissions::from_mode(0o600)).expect("set");
}

/// The doctor's finds where the authority of [`write_signed_certificate`] is trusted. What the machine of the test is like
/// is not ours to say; that the exit code tells of failures is.
fn examined(site: &Site, words: &str) -> String {
    let mut command = site.command(&format!("doctor --nameserver {} {words}", empty_name_server()));
    let output = command.env("SSL_CERT_FILE", site.home.path().join("trusted.pem")).output().expect("ran");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let has_failed = text.lines().any(|line| line.starts_with("FAIL  "));
    assert_eq!(output.status.code(), Some(i32::from(has_failed)), "{text}");
    text
}

#[test]
fn the_doctor_shakes_hands_like_a_mail_program_and_looks_at_every_door() {
    let (tls, plain, proxied, lmtp) = (free_port(), free_port(), free_port(), free_port());
    let site = Site { home: tempfile::tempdir().expect("a directory") };
    let socket = site.home.path().join("lmtp.sock");
    write_signed_certificate(site.home.path());
    site.configure(&format!(
        "[[listen]]\naddress = \"{tls}\"\nsecurity = \"tls\"\n[[listen]]\naddress = \"{plain}\"\n\
         [[listen]]\naddress = \"{proxied}\"\nsecurity = \"tls\"\nproxy_from = [\"127.0.0.0/8\"]\n\
         [tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n[clients]\nimap_host = \"localhost\"\n\
         [lmtp]\nsocket = \"{}\"\nlisten = [\"{lmtp}\"]\n[limits]\nmin_free_bytes = 0\n",
        socket.display()
    ));
    site.add("anna", "pw");
    let mut server = site.serve();
    let fine = examined(&site, "");
    for line in [
        format!("PASS  {tls} (tls) answers, and programs trust its certificate\n"),
        format!("PASS  {plain} (starttls) answers, and programs trust its certificate after STARTTLS\n"),
        format!("PASS  {proxied} (tls) answers, and programs trust its certificate\n"),
        format!("PASS  {} (LMTP) answers\n", socket.display()),
        format!("PASS  {lmtp} (LMTP) answers\n"),
        "PASS  the certificate is for localhost\n".to_owned(),
        "PASS  the chain has 2 certificates in order\n".to_owned(),
        "PASS  the key belongs to the certificate\n".to_owned(),
    ] {
        assert!(fine.contains(&line), "{line}{fine}");
    }
    let other = examined(&site, "--host mail.invalid");
    assert!(other.contains("FAIL  the certificate is for localhost, not for mail.invalid: get one that"), "{other}");

    // Renewed, and nobody told the server. The authority stays trusted beside the new one.
    let trusted = std::fs::read_to_string(site.home.path().join("trusted.pem")).expect("read");
    write_signed_certificate(site.home.path());
    let both = trusted + &std::fs::read_to_string(site.home.path().join("trusted.pem")).expect("read");
    std::fs::write(site.home.path().join("trusted.pem"), both).expect("written");
    let stale = examined(&site, "");
    let line = format!("FAIL  {tls} (tls) shows a certificate that the files do not have any more: ");
    assert!(stale.contains(&line), "{stale}");
    server.signal("HUP");
    server.wait_for("read again");
    assert!(examined(&site, "").contains(&format!("PASS  {tls} (tls) answers, and programs trust")));

    drop(server);
    let resting = examined(&site, "");
    assert!(resting.contains(&format!("PASS  {tls} is free for the server")), "{resting}");
    let _taken = TcpListener::bind(tls).expect("free");
    assert!(examined(&site, "").contains(&format!("FAIL  {tls} is taken by another program")));
}

#[test]
fn autoconfig_writes_its_files_or_says_what_is_missing() {
    let tls = "[tls]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n";
    let site = Site::with(tls);
    for name in ["c.pem", "k.pem"] {
        std::fs::write(site.home.path().join(name), "").expect("written");
    }
    let out = site.home.path().join("out");
    let words = format!("autoconfig example.org --out {}", out.display());
    let refused = site.run(&words);
    assert!(refused.code == Some(1) && refused.stderr.contains("imap_host"), "{}", refused.stderr);
    site.configure(&format!("{tls}[clients]\nimap_host = \"imap.example.org\"\nsmtp_host = \"smtp.example.org\"\n"));
    let written = site.run(&words);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    assert!(written.stdout.contains("https://autoconfig.example.org/mail/config-v1.1.xml"), "{}", written.stdout);
    for name in ["config-v1.1.xml", "autodiscover.xml", "mail.mobileconfig", "records.zone"] {
        let file = std::fs::read_to_string(out.join(name)).expect("written");
        assert!(file.len() > 100 && written.stdout.contains(&format!("{name} belongs to\n    ")), "{name}");
        assert_eq!(site.run(&format!("autoconfig example.org --print {name}")).stdout, file);
        assert!(site.run("autoconfig example.org").stdout.contains(&file), "{name}");
    }
    assert!(written.stdout.contains("set login.default_domain = \"example.org\""), "{}", written.stdout);
    site.configure(&format!(
        "{tls}[clients]\nimap_host = \"imap.example.org\"\n[login]\ndefault_domain = \"example.org\"\n"
    ));
    let short = site.run(&words).stdout;
    assert!(!short.contains("Outlook") && short.contains("say in [clients] smtp_host"), "{short}");
    let unknown = site.run("autoconfig example.org --print mail.xml");
    assert!(unknown.code == Some(1) && unknown.stderr.contains("records.zone"), "{}", unknown.stderr);
    assert_eq!(site.run("autoconfig example").code, Some(1), "that is no domain");
}

#[test]
fn a_backup_and_a_restore_with_and_without_a_running_server() {
    let site = Site::with("[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n[limits]\nmin_free_bytes = 0\n");
    site.add("anna", "pw");
    let dir = site.home.path().join("backup");
    let backup = format!("backup {}", dir.display());
    let verify = format!("backup --verify {}", dir.display());
    assert_eq!(site.run(&verify).code, Some(1), "there is none yet");
    assert_eq!(site.run(&backup).code, Some(0), "nobody has mail, and that is fine");
    let server = site.serve();
    let mut session = TcpStream::connect(server.addresses[0]).expect("connected");
    session.write_all(b"a LOGIN anna pw\r\nb APPEND INBOX {5}\r\n").expect("sent");
    let mut lines = BufReader::new(session.try_clone().expect("a handle")).lines();
    let mut wait = |what: &str| {
        let found = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with(what));
        assert!(found.is_some(), "no {what}");
    };
    wait("+");
    session.write_all(b"hello\r\n").expect("sent");
    wait("b OK");
    let told = site.run(&backup);
    assert!(told.code == Some(0) && told.stdout.contains("anna: complete, 1 message in 6 folders"), "{}", told.stdout);
    session.write_all(b"c SELECT INBOX\r\nd STORE 1 +FLAGS \\Deleted\r\ne EXPUNGE\r\n").expect("sent");
    wait("e OK");
    let listed = site.run("undelete anna --list");
    assert!(listed.stdout.contains("1 message can be brought back"), "{}{}", listed.stdout, listed.stderr);
    let unasked = site.run(&format!("restore {} anna", dir.display()));
    assert!(unasked.code == Some(1) || unasked.stderr.contains("terminal"), "{}", unasked.stderr);
    let restored = site.run(&format!("restore {} anna --yes", dir.display()));
    assert!(
        restored.code == Some(0) && restored.stdout.contains("1 message in 6 folders restored"),
        "{}",
        restored.stdout
    );
    wait("* BYE [UNAVAILABLE]");
    drop(server);
    assert_eq!(site.run(&verify).code, Some(0));
    let repaired = site.run("check anna --repair");
    assert!(repaired.stdout.contains("nothing is damaged"), "{}{}", repaired.stdout, repaired.stderr);
    let twice = site.run(&format!("restore {} anna --as carl --yes", dir.display()));
    assert!(twice.code == Some(0) && twice.stdout.contains("added carl with the password of anna"), "{}", twice.stderr);
    assert_eq!(site.run("check").code, Some(0));
}

#[test]
fn a_user_who_is_gone_comes_back_with_all_that_was_his_and_takes_nothing_from_others() {
    let site = Site::new();
    ["anna", "bert", "carl"].iter().for_each(|user| site.add(user, "pw"));
    let run = |line: &str| {
        let done = site.run(line);
        assert_eq!(done.code, Some(0), "{line}: {}", done.stderr);
        done.stdout
    };
    run("user app-password add anna --device phone");
    run("user master anna");
    for alias in ["sales anna bert", "info anna", "chef anna"] {
        run(&format!("alias add {alias}"));
    }
    let dir = site.home.path().join("backup").display().to_string();
    place_in_the_past(&site, "INBOX");
    run(&format!("backup {dir}"));
    // One who is there keeps what he has, whatever the backup says.
    run("user app-password remove anna --device phone");
    run("user master anna --revoke");
    assert!(!run(&format!("restore {dir} anna --yes")).contains("again"));
    assert!(run("user app-password list anna").is_empty());
    run("user app-password add anna --device tablet");
    run("user master anna");
    run(&format!("backup {dir}"));
    run("user remove anna");
    run("alias add info carl");
    site.add("chef", "pw");
    let told = run(&format!("restore {dir} anna --yes"));
    for line in [
        "the app password of tablet is valid again",
        "anna may act for all others again",
        "the alias sales leads to anna again",
        "the alias info is left as it is: it was given to carl since",
        "the alias chef is left as it is: there is a user chef",
    ] {
        assert!(told.contains(line), "no {line:?} in {told}");
    }
    assert!(run("user app-password list anna").contains("tablet"));
    assert!(run("user list --long").lines().any(|line| line.starts_with("anna\t") && line.ends_with("\tmaster")));
    let aliases = run("alias list");
    assert!(aliases.lines().any(|line| line.contains("sales") && line.contains("anna") && line.contains("bert")));
    assert!(aliases.lines().any(|line| line.contains("info") && !line.contains("anna")), "{aliases}");
    // Another user of that mail is another person.
    let told = run(&format!("restore {dir} anna --as dora --yes"));
    assert!(told.contains("stay with that name") && run("user app-password list dora").is_empty(), "{told}");
}

/// Places a message two days ago, with no server running.
fn place_in_the_past(site: &Site, mailbox: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let clock = Clock::fixed(i64::try_from(now).expect("not so far") - 2 * 86_400);
    let store = MailStore::open(&site.data_dir(), Options { clock, min_free_bytes: 0, ..Options::default() });
    let store = store.expect("opens");
    wait_for(async {
        let account = store.account(AccountId(1)).await.expect("opens");
        let mut draft = account.draft();
        draft.write(format!("Subject: old in {mailbox}\r\n\r\n").as_bytes()).await.expect("taken");
        let prepared = draft.finish().await.expect("taken");
        let message = NewMessage { prepared, flags: FlagSet::default(), internal_date: None };
        let name = MailboxName::new(mailbox).expect("a name");
        account.place(&name, vec![message]).await.expect("placed");
    });
    store.close();
}

#[test]
fn trash_and_junk_empty_themselves_while_a_session_looks_on() {
    let site = Site::with(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n[limits]\nmin_free_bytes = 0\n\
         [mail]\nempty_trash_after = \"1d\"\nempty_junk_after = \"3d\"\n",
    );
    site.add("anna", "pw");
    for mailbox in ["Trash", "Junk", "INBOX"] {
        place_in_the_past(&site, mailbox);
    }
    let server = site.serve();
    let mut client = server.connect();
    assert!(client.ask("LOGIN anna pw").starts_with("OK"));
    assert!(client.ask("APPEND Trash {3+}\r\nnew").starts_with("OK"));
    assert!(client.ask("SELECT Trash").starts_with("OK"));
    client.stream.get_mut().write_all(b"i IDLE\r\n").expect("sent");
    loop {
        let line = client.line();
        assert!(!line.is_empty(), "hung up");
        match line.trim_end() {
            "* 1 EXPUNGE" => break,
            other => assert!(!other.contains("EXPUNGE"), "{other}"),
        }
    }
    client.stream.get_mut().write_all(b"DONE\r\n").expect("sent");
    while !client.line().starts_with("i OK") {}
    assert_eq!(count(&mut client, "Trash"), 1, "the new one stays");
    assert_eq!(count(&mut client, "Junk"), 1, "younger than its rule says");
    assert_eq!(count(&mut client, "INBOX"), 1, "no rule says anything about it");
    let Outcome { stdout, stderr, .. } = site.run("undelete anna");
    assert!(stdout.contains("1 message came back into Trash"), "{stdout}{stderr}");
    assert_eq!(count(&mut client, "Trash"), 2);
}

fn count(client: &mut super::Client, mailbox: &str) -> u32 {
    client.stream.get_mut().write_all(format!("s STATUS {mailbox} (MESSAGES)\r\n").as_bytes()).expect("sent");
    let line = client.line();
    let number = line.split("MESSAGES ").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok());
    while !client.line().starts_with("s OK") {}
    number.unwrap_or_else(|| panic!("{line}"))
}

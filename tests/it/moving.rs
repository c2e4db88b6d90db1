//! Moving in while other things happen: the user is removed, the source changes, the terminal is narrow. See also
//! `transfer.rs`.

use crate::server::Server;
use crate::transfer::{PASSWORD, Session, by_imap, liar, path, run, server, told, write};
use pillarbox::auth::{ChannelBindings, certificate};
use pillarbox::transfer::imap::link::{Key, Link};
use pillarbox::types::Secret;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_rustls::rustls::StreamOwned;

/// A command of the program that is left to itself.
fn begin(server: &Server, arguments: &[&str]) -> Child {
    let mut process = Command::new(env!("CARGO_BIN_EXE_pillarbox"))
        .args(arguments)
        .args(["--config", path(&server.config())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut input = process.stdin.take().expect("piped");
    input.write_all(PASSWORD.as_bytes()).expect("written");
    process
}

/// What lies in the data directory for accounts.
fn accounts(server: &Server) -> Vec<String> {
    let listed = std::fs::read_dir(server.beside("data").join("accounts")).expect("listed");
    listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn an_import_ends_when_its_user_is_removed_and_leaves_nothing() {
    let server = server(&["ada"]);
    let root = server.beside("Maildir");
    for n in 0..20_000 {
        write(&root.join(format!("cur/{n}.m.host:2,S")), format!("Subject: {n}\n\nx\n").as_bytes());
    }
    let import = begin(&server, &["import", "maildir", "ada", path(&root)]);
    let until = Instant::now() + Duration::from_secs(60);
    while !accounts(&server)
        .iter()
        .any(|name| server.beside("data").join("accounts").join(name).join("mail.db").exists())
    {
        assert!(Instant::now() < until, "the import opens no account");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (code, said) = run(&server, &["user", "remove", "ada", "--delete-mail"]);
    assert!(code == 0 && said.contains("1 import or export was ended; the mail was deleted"), "{said}");
    let (code, said) = told(import.wait_with_output().expect("ended"));
    assert!(code == 1 && said.contains("the user was removed while this ran"), "{said}");
    assert_eq!(accounts(&server), Vec::<String>::new(), "files of nobody");
    let (code, said) = run(&server, &["import", "maildir", "ada", path(&root)]);
    assert!(code == 1 && said.contains("there is no user ada"), "{said}");
    server.add_user("ada", PASSWORD).expect("added again");
    let (code, said) = run(&server, &["check"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn an_interrupted_import_says_so_and_a_piped_one_writes_plain_lines() {
    const MESSAGES: usize = 20_000;
    let server = server(&["ada"]);
    let root = server.beside("Maildir");
    for n in 0..MESSAGES {
        write(&root.join(format!("cur/{n}.m.host:2,S")), format!("Subject: {n}\n\n\u{0}\n").as_bytes());
    }
    let mut import = begin(&server, &["import", "maildir", "ada", path(&root)]);
    // Its first line: a message with a NUL was sent, so it listens for the interrupt.
    let mut output = BufReader::new(import.stdout.take().expect("piped"));
    output.read_line(&mut String::new()).expect("a line");
    let interrupt = Command::new("kill").args(["-INT", &import.id().to_string()]).status();
    assert!(interrupt.expect("kill is there").success());
    drop(output);
    let (code, said) = told(import.wait_with_output().expect("ended"));
    assert!(code == 130 && said.ends_with("stopped: the same command goes on from here\n"), "{code} {said}");
    let (code, said) = run(&server, &["import", "maildir", "ada", path(&root)]);
    assert_eq!(code, 0);
    assert!(!said.contains('\x1b') && !said.contains('\r') && said.ends_with('\n'), "no bar in a file");
    assert!(Session::of(&server, "ada").status("INBOX").contains(&format!("MESSAGES {MESSAGES}")));
}

#[test]
fn a_user_is_not_half_removed_under_an_import_without_a_server() {
    let mut server = server(&["ada"]);
    server.terminate().expect("ended");
    // A source that takes the connection and says nothing: the import has the data directory by then.
    let source = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = source.local_addr().expect("an address").port().to_string();
    let mut import = begin(&server, &by_imap("ada", ("127.0.0.1", &port), "none", "x"));
    let connection = source.accept().expect("connected");
    let (code, said) = run(&server, &["user", "remove", "ada", "--delete-mail"]);
    let wanted = format!("is in use by process {}; nothing was removed", import.id());
    assert!(code == 1 && said.contains(&wanted), "{said}");
    let (_, users) = run(&server, &["user", "list"]);
    assert_eq!(users, "ada\n");
    drop(connection);
    import.wait().expect("ended");
    let (code, said) = run(&server, &["user", "remove", "ada", "--delete-mail"]);
    assert!(code == 0 && said.contains("the mail was deleted"), "{said}");
    assert_eq!(accounts(&server), Vec::<String>::new());
}

#[test]
fn a_second_pass_follows_what_changed_at_the_source() {
    let source = server(&["ada"]);
    let target = server(&["bert"]);
    let (host, port) = source.addresses().plain.rsplit_once(':').expect("a port");
    let pull = |more: &[&str]| run(&target, &[&by_imap("bert", (host, port), "none", "ada")[..], more].concat());
    let mut ada = Session::of(&source, "ada");
    for n in 1..=5 {
        let octets = format!("Subject: {n}\r\n\r\n");
        ada.append("INBOX", "", "03-Jan-1996 01:05:34 +0130", octets.as_bytes());
    }
    assert_eq!(pull(&[]).0, 0);
    ada.ask("SELECT INBOX");
    let mut bert = Session::of(&target, "bert");
    bert.ask("SELECT INBOX");
    // What only one side changed, what both did, and what is gone there.
    ada.ask("STORE 1 +FLAGS (\\Seen $Work)");
    ada.ask("STORE 2,4 +FLAGS (\\Flagged)");
    bert.ask("STORE 2,5 +FLAGS (\\Answered)");
    ada.ask("STORE 3,5 +FLAGS (\\Deleted)");
    ada.ask("EXPUNGE");
    let (code, said) = pull(&[]);
    let wanted = "3 taken before; flags of 2 brought up to date; 1 left alone that was changed here";
    assert!(code == 0 && said.contains(wanted), "{said}");
    let flags = |bert: &mut Session| -> Vec<String> {
        let lines = bert.messages("INBOX").into_iter();
        lines.map(|line| line.split("FLAGS (").nth(1).and_then(|l| l.split(')').next()).unwrap_or("").into()).collect()
    };
    let seen = ["$Work \\\\Seen", "\\\\Answered", "", "\\\\Flagged", "\\\\Answered"];
    assert_eq!(flags(&mut bert), seen);
    // What was followed may be followed again, also by a session that saw the change here.
    ada.ask("STORE 1 -FLAGS (\\Seen)");
    let (_, said) = pull(&[]);
    assert!(said.contains("3 taken before; flags of 1 brought up to date\n"), "{said}");
    let (_, said) = pull(&[]);
    assert!(said.contains("3 taken before\n"), "nothing is left to do: {said}");
    assert_eq!(flags(&mut bert).len(), 5, "what is gone there stays here unless somebody says so");
    let (code, said) = pull(&["--delete-gone"]);
    assert!(code == 0 && said.contains("; 1 deleted there and now here; 1 left alone"), "{said}");
    assert_eq!(flags(&mut bert).len(), 4);
    let (code, said) = run(&target, &["undelete", "bert"]);
    assert!(code == 0 && said.contains("1 message came back into INBOX"), "{said}");
    let (_, said) = pull(&["--delete-gone"]);
    assert!(!said.contains("deleted there"), "what was brought back is his own: {said}");
    assert_eq!(flags(&mut bert).len(), 5);
    let (code, said) = run(&target, &["check"]);
    assert_eq!(code, 0, "{said}");
}

/// A source without CONDSTORE that has two messages at first.
const FIRST: [&str; 10] = [
    "* OK hi\r\n",
    "* CAPABILITY IMAP4rev1\r\np1 OK\r\n",
    "p2 OK\r\n",
    "* CAPABILITY IMAP4rev1\r\np3 OK\r\n",
    "* LIST () \"/\" INBOX\r\np4 OK\r\n",
    "p5 OK\r\n",
    "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\np6 OK\r\n",
    "* 1 FETCH (UID 1 RFC822.SIZE 4)\r\n* 2 FETCH (UID 2 RFC822.SIZE 4)\r\np7 OK\r\n",
    "* 1 FETCH (UID 1 FLAGS () BODY[] {4}\r\nA: b)\r\n* 2 FETCH (UID 2 FLAGS () BODY[] {4}\r\nC: d)\r\np8 OK\r\n",
    "p9 OK\r\n",
];

#[test]
fn a_source_without_condstore_is_followed_and_one_that_hides_messages_deletes_nothing() {
    let target = server(&["ada"]);
    let second = |sizes: &'static str, flags: &'static str| -> &'static [&'static str] {
        let mut answers = FIRST;
        (answers[7], answers[8]) = (sizes, flags);
        Box::leak(Box::new(answers))
    };
    let pull = |answers: &'static [&'static str]| {
        let port = liar(answers).to_string();
        run(&target, &[&by_imap("ada", ("127.0.0.1", &port), "none", "x")[..], &["--delete-gone"]].concat())
    };
    let (code, said) = pull(&FIRST);
    assert!(said.contains("taken: 2 messages"), "{code} {said}");
    let (_, said) =
        pull(second(FIRST[7], "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n* 2 FETCH (FLAGS () UID 2)\r\np8 OK\r\n"));
    assert!(said.contains("2 taken before; flags of 1 brought up to date\n"), "{said}");
    let (code, said) =
        pull(second("* 2 FETCH (UID 2 RFC822.SIZE 4)\r\np7 OK\r\n", "* 2 FETCH (UID 2 FLAGS ())\r\np8 OK\r\n"));
    assert!(code == 1 && said.contains("shows fewer messages than it has; nothing was deleted here"), "{said}");
    let mut ada = Session::of(&target, "ada");
    assert!(ada.status("INBOX").contains("MESSAGES 2"));
}

/// A token of the issuer that the server believes, for this address.
fn token(key: &ring::signature::Ed25519KeyPair, address: &str) -> String {
    use base64::Engine;
    let encode = |octets: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(octets);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = format!(
        r#"{{"iss":"https://id.example","aud":"mail","exp":{},"email":"{address}","email_verified":true}}"#,
        now + 600
    );
    let signed = format!("{}.{}", encode(br#"{"alg":"EdDSA","kid":"ed"}"#), encode(claims.as_bytes()));
    format!("{signed}.{}", encode(key.sign(signed.as_bytes()).as_ref()))
}

#[test]
fn a_source_is_opened_with_a_proof_or_with_a_token() {
    use base64::Engine;
    use ring::signature::KeyPair;
    let folder = tempfile::tempdir().expect("a folder");
    let pkcs8 = ring::signature::Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).expect("a key");
    let key = ring::signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
    let public = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.public_key());
    let jwks = folder.path().join("jwks.json");
    write(&jwks, format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{public}"}}]}}"#).as_bytes());
    let source = Server::start_with(&[
        "login.failure_delay_seconds = 0".to_owned(),
        "oauth.issuer = \"https://id.example\"".to_owned(),
        "oauth.audience = \"mail\"".to_owned(),
        format!("oauth.jwks_file = {:?}", path(&jwks)),
    ])
    .unwrap_or_else(|error| panic!("{error}"));
    source.add_user("ada@example.org", PASSWORD).expect("added");
    let target = server(&["bert"]);
    let (_, port) = source.addresses().tls.rsplit_once(':').expect("a port");
    let ca = source.beside("cert.pem");
    let pull = |more: &[&str], input: &[u8]| {
        let how = ["import", "imap", "bert", "--host", "localhost", "--port", port, "--ca", path(&ca)];
        let all = [&how[..], &["--login", "ada@example.org"], more].concat();
        told(target.run(&all, input).expect("ran"))
    };
    let logged = |how: &str| source.log().lines().any(|line| line.contains("logged in") && line.contains(how));
    let (code, said) = pull(&["--password-stdin"], PASSWORD.as_bytes());
    assert!(code == 0 && logged("SCRAM-SHA-256-PLUS"), "{said}{}", source.log());
    assert!(!logged("PLAIN"));
    let (code, said) = pull(&["--password-stdin"], b"wrong");
    assert!(code == 1 && said.contains("does not let ada@example.org in"), "{said}");
    let good = token(&key, "ada@example.org");
    let (code, said) = pull(&["--token-stdin"], format!("{good}\n").as_bytes());
    assert!(code == 0 && logged("OAUTHBEARER"), "{said}{}", source.log());
    let file = folder.path().join("token");
    write(&file, token(&key, "other@example.org").as_bytes());
    let (code, said) = pull(&["--token-file", path(&file)], b"");
    assert!(code == 1 && said.contains("does not let ada@example.org in"), "{said}");
    let (code, said) = pull(&["--token-stdin"], b"two words");
    assert!(code == 1 && said.contains("that is no access token"), "{said}");
    assert!(!source.log().contains(&good[good.len() - 40..]), "no token in the log");
}

#[test]
fn a_log_in_is_bound_to_the_tls_connection_it_goes_over() {
    let source = server(&["ada"]);
    // The number of the log-in, counted from one, and how it went.
    let logged = |number: usize, how: &str| {
        let ended = source.log_with(&format!("session ended session={number} "));
        let of_session = format!("session{{number={number} ");
        let line = ended.lines().find(|line| line.contains("logged in") && line.contains(&of_session));
        assert!(line.is_some_and(|line| line.ends_with(&format!("how=\"{how}\""))), "{number}: {ended}");
    };
    let log_in = |change: fn(&mut ChannelBindings)| {
        let tcp = TcpStream::connect(&source.addresses().tls).expect("connected");
        let mut stream = StreamOwned::new(source.trust().connection().expect("a client"), tcp);
        stream.conn.complete_io(&mut stream.sock).expect("hands are shaken");
        // RFC 9266 §2
        let exported = stream.conn.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]));
        let shown = stream.conn.peer_certificates().and_then(<[_]>::first).expect("a certificate");
        let tls_server_end_point = certificate::end_point_hash(shown);
        let mut bindings = ChannelBindings { tls_exporter: exported.ok(), tls_server_end_point };
        change(&mut bindings);
        let mut link = Link::begin(Box::new(stream), false, bindings).expect("greeted");
        link.log_in("ada", &Key::Password(Secret::new(PASSWORD)))
    };
    log_in(|_| {}).expect("by what TLS 1.3 exports");
    logged(1, "SCRAM-SHA-256-PLUS");
    log_in(|bindings| bindings.tls_exporter = None).expect("by the certificate");
    logged(2, "SCRAM-SHA-256-PLUS");
    // What the one end knows is not what the other does: no proof. The password is shown then, as it is to servers that
    // have nothing but a hash of it; the certificate says who they are.
    log_in(|bindings| (bindings.tls_exporter, bindings.tls_server_end_point) = (Some([1; 32]), Some(vec![2; 32])))
        .expect("by the password");
    logged(3, "password");
    assert_eq!(source.log().matches("another channel binding").count(), 1, "it knew the type, so no other is tried");
    log_in(|bindings| *bindings = ChannelBindings::default()).expect("as one that cannot bind");
    logged(4, "SCRAM-SHA-256");
}

/// A server that gives 201 messages, and the last of them only when it was asked for all. It gives and ends the answers the
/// other way round than they were asked for.
fn answers_last_first(listener: &TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"* OK hi\r\n")?;
    let sizes = (1..=201).map(|uid| format!("* {uid} FETCH (UID {uid} RFC822.SIZE 16)\r\n")).collect::<String>();
    for answer in [
        "* CAPABILITY IMAP4rev1\r\np1 OK\r\n",
        "p2 OK\r\n",
        "* CAPABILITY IMAP4rev1\r\np3 OK\r\n",
        "* LIST () \"/\" INBOX\r\np4 OK\r\n",
        "p5 OK\r\n",
        "* OK [UIDVALIDITY 7] x\r\np6 OK\r\n",
        &format!("{sizes}p7 OK\r\n"),
    ] {
        lines.next().transpose()?;
        stream.write_all(answer.as_bytes())?;
    }
    let asked = [lines.next().transpose()?, lines.next().transpose()?];
    for asked in asked.into_iter().flatten().rev() {
        let (tag, uids) = asked.split_once(" UID FETCH ").expect("messages are asked for");
        let uids = uids.split_once(' ').map_or(uids, |(uids, _)| uids);
        let (first, last) = uids.split_once(':').unwrap_or((uids, uids));
        for uid in first.parse().expect("a UID")..=last.parse::<u32>().expect("a UID") {
            let message = format!("Subject: {uid:03}\r\n\r\n");
            let date = "01-Jan-2020 00:00:00 +0000";
            let head = format!("* {uid} FETCH (UID {uid} FLAGS () INTERNALDATE \"{date}\" BODY[] ");
            write!(stream, "{head}{{{}}}\r\n{message})\r\n", message.len())?;
        }
        write!(stream, "{tag} OK\r\n")?;
    }
    lines.next().transpose()?;
    stream.write_all(b"* BYE\r\np10 OK\r\n")
}

#[test]
fn a_source_is_asked_for_more_before_it_has_answered() {
    let target = server(&["ada"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port().to_string();
    let source = std::thread::spawn(move || answers_last_first(&listener));
    let (code, said) = run(&target, &by_imap("ada", ("127.0.0.1", &port), "none", "x"));
    assert!(code == 0 && said.contains("taken: 201 messages in 1 mailbox") && !said.contains("not taken"), "{said}");
    source.join().expect("no panic").expect("it was spoken to, to the end");
}

//! Moving in while other things happen: the user is removed, the source changes, the terminal is narrow. See also
//! `transfer.rs`.

use crate::server::Server;
use crate::transfer::{PASSWORD, by_imap, path, run, server, told, write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    std::io::Write::write_all(&mut input, PASSWORD.as_bytes()).expect("written");
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

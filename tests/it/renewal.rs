//! A certificate that changes on the disk, by hand and by certbot's hook.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};
use crate::server::Server;
use crate::tls::Trust;

fn start() -> Server {
    let server = Server::start_with(&["tls.watch_seconds = 1".to_owned()]);
    server.unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the server shows a certificate that is trusted here.
fn is_shown(server: &Server, trust: &Trust) -> bool {
    let mut client = Client::connect(&server.addresses().tls).expect("connected");
    client.start_tls(trust).is_ok()
}

fn wait_until(server: &Server, what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}; the log:\n{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_new_certificate_is_shown_once_its_key_is_there() {
    let server = start();
    assert!(is_shown(&server, server.trust()));
    let newer = Trust::make(&server.beside("newer.pem"), &server.beside("newer.key")).expect("made");
    std::fs::rename(server.beside("newer.pem"), server.beside("cert.pem")).expect("renamed");
    server.log_with("cannot be used yet");
    assert!(is_shown(&server, server.trust()) && !is_shown(&server, &newer));
    std::fs::rename(server.beside("newer.key"), server.beside("key.pem")).expect("renamed");
    wait_until(&server, "the new one is shown", || is_shown(&server, &newer));
    assert!(!is_shown(&server, server.trust()));
    assert_eq!(server.log().matches("cannot be used yet").count(), 1);
}

#[test]
fn the_hook_of_certbot_brings_the_new_one() {
    let server = start();
    let lineage = server.beside("live").join("mail.example.org");
    std::fs::create_dir_all(&lineage).expect("made");
    let newer = Trust::make(&lineage.join("fullchain.pem"), &lineage.join("privkey.pem")).expect("made");
    let folder = server.beside("etc");
    std::fs::create_dir(&folder).expect("made");
    for (old, name) in [("cert.pem", "fullchain.pem"), ("key.pem", "privkey.pem")] {
        // The server reads where the hook writes.
        std::fs::remove_file(server.beside(old)).expect("removed");
        std::os::unix::fs::symlink(folder.join(name), server.beside(old)).expect("linked");
    }
    let group = Command::new("id").arg("-g").output().expect("id runs");
    let hook = |wanted: &str| {
        let ran = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/certbot/pillarbox"))
            .env("RENEWED_LINEAGE", &lineage)
            .env("PILLARBOX_LINEAGE", wanted)
            .env("PILLARBOX_TLS_DIR", &folder)
            .env("PILLARBOX_GROUP", String::from_utf8_lossy(&group.stdout).trim())
            .status();
        assert!(ran.expect("the hook runs").success());
    };
    hook("other.example.org");
    assert!(!folder.join("privkey.pem").exists());
    hook("mail.example.org");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(folder.join(name)).expect("there").permissions().mode() & 0o777
    };
    assert_eq!((mode("privkey.pem"), mode("fullchain.pem")), (0o640, 0o644));
    wait_until(&server, "the new one is shown", || is_shown(&server, &newer));
}

//! Every way to log in, against the real binary with TLS, by programs that share no code with it:
//! `tests/clients/logins.py`.

use crate::server::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use std::path::Path;
use std::process::Command;

const SKIPPED: i32 = 77;
const PASSWORD: &str = "correct-horse";

/// An authority, the server's certificate and a client's, the issuer's key and its public half.
fn write_keys(folder: &Path) -> Result<(), String> {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than the others have, or openssl takes them for self-signed.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    write("ca.pem", authority.pem());
    let signed = |name: &str, params: CertificateParams| {
        let key = KeyPair::generate().expect("a key");
        write(&format!("{name}.pem"), params.signed_by(&key, &authority).expect("signed").pem());
        write(&format!("{name}.key"), key.serialize_pem());
    };
    signed("server", CertificateParams::new(vec!["localhost".to_owned()]).expect("a name"));
    let mut client = CertificateParams::new(Vec::new()).expect("no name");
    client.subject_alt_names.push(SanType::Rfc822Name("ada@example.org".try_into().expect("an address")));
    signed("client", client);

    let openssl = |words: &[&str]| {
        let output = Command::new("openssl").args(words).current_dir(folder).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).map_err(|error| error.to_string())
    };
    openssl(&["genrsa", "-out", "issuer.key", "2048"])?;
    let modulus = openssl(&["rsa", "-in", "issuer.key", "-noout", "-modulus"])?;
    let digits = modulus.trim().strip_prefix("Modulus=").ok_or("openssl gives no modulus")?;
    let octets = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let keys =
        format!(r#"{{"keys":[{{"kty":"RSA","kid":"rsa","use":"sig","n":"{}","e":"AQAB"}}]}}"#, base64url(&octets));
    write("jwks.json", keys);
    Ok(())
}

/// base64url without padding (RFC 4648 §5), so that no package is needed for one line.
fn base64url(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in octets.chunks(3) {
        let bits = three.iter().fold(0_usize, |bits, octet| bits << 8 | usize::from(*octet)) << (8 * (3 - three.len()));
        text.extend((0..=three.len()).map(|at| char::from(LETTERS[bits >> (18 - 6 * at) & 63])));
    }
    text
}

/// The port of the listener whose log line holds these words.
fn port(log: &str, words: &str) -> Option<String> {
    let line = log.lines().filter(|line| line.contains("listening")).find(|line| line.contains(words))?;
    let rest = line.split("127.0.0.1:").nth(1)?;
    Some(rest.chars().take_while(char::is_ascii_digit).collect())
}

#[test]
fn every_way_to_log_in() {
    let folder = tempfile::tempdir().expect("a folder");
    if let Err(error) = write_keys(folder.path()) {
        println!("skipped: openssl is not installed ({error})");
        return;
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let line = |key: &str, name: &str| format!("{key} = {:?}", path(name));
    let settings = [
        "login.default_domain = \"example.org\"".to_owned(),
        "login.failure_delay_seconds = 0".to_owned(),
        line("tls.certificate", "server.pem"),
        line("tls.key", "server.key"),
        line("tls.client_ca", "ca.pem"),
        "oauth.issuer = \"https://id.example\"".to_owned(),
        "oauth.audience = \"mail\"".to_owned(),
        line("oauth.jwks_file", "jwks.json"),
        "[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"starttls\"\nproxy_from = [\"127.0.0.0/8\"]".to_owned(),
    ];
    let server = Server::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
    for name in ["ada", "other"] {
        server.add_user(name, PASSWORD).unwrap_or_else(|error| panic!("{error}"));
    }
    let log = server.log();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/logins.py"))
        .env("FOLDER", folder.path())
        .env("TLS_PORT", port(&log, "security=\"tls\"").expect("a port"))
        .env("PROXY_PORT", port(&log, "security=\"starttls\"").expect("a port"))
        .env("SERVER_PID", server.pid().to_string())
        .envs([("IMAP_USER", "ada"), ("IMAP_PASSWORD", PASSWORD)])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: python3 is not installed");
            return;
        }
        Err(error) => panic!("logins.py: {error}"),
    };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    print!("{text}");
    let is_fine = output.status.success() || output.status.code() == Some(SKIPPED);
    assert!(is_fine, "logins.py: {}\n{text}\nthe server wrote:\n{}", output.status, server.log());
    assert!(!server.log().contains(PASSWORD), "no password in the log");
}

/// The example of `docs/logins.md`, as it is shipped.
#[test]
fn the_example_checker_checks() {
    use crate::client::Client;
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("checker.sock");
    std::fs::write(folder.path().join("users.json"), r#"{"carl": "sesame \u00e4"}"#).expect("written");
    let started = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/checker.py"))
        .arg(&socket)
        .arg("file")
        .arg(folder.path().join("users.json"))
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checker) = started else {
        println!("skipped: python3 is not installed");
        return;
    };
    let mut line = String::new();
    BufReader::new(checker.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.contains("listening"), "{line}");
    let settings =
        ["login.failure_delay_seconds = 0".to_owned(), format!("checker.socket = {:?}", socket.display().to_string())];
    let server = Server::start_with(&settings).unwrap_or_else(|error| panic!("{error}"));
    let login = |user: &str, password: &str| {
        let mut client = Client::connect(server.address()).expect("connected");
        client.line(crate::client::PATIENCE).expect("a greeting");
        let lines = client.order("a", &format!("LOGIN {user}"), Some(password.as_bytes())).expect("answered");
        String::from_utf8_lossy(lines.last().expect("a line")).into_owned()
    };
    assert!(login("Carl", "sesame ä").starts_with("a OK"));
    assert!(login("carl", "wrong").starts_with("a NO [AUTHENTICATIONFAILED]"));
    assert!(login("nobody", "sesame ä").starts_with("a NO [AUTHENTICATIONFAILED]"));
    std::fs::write(folder.path().join("users.json"), "nonsense").expect("written");
    assert!(login("carl", "other").starts_with("a NO [UNAVAILABLE]"), "trouble is no wrong password");
    checker.kill().expect("killed");
    checker.wait().expect("ended");
    assert!(login("carl", "other").starts_with("a NO [UNAVAILABLE]"), "nor is a dead checker");
}

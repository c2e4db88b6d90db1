//! What a new user types into a mail program, told when the user is added.

use std::fs;

use crate::config::{Config, Listen, Security};
use crate::server::tls;

/// Lines with server, port, encryption and user name.
pub(super) fn lines(config: &Config, user: &str) -> Vec<String> {
    let mut lines = vec!["In the mail program:".to_owned(), format!("  server     {}", server_name(config))];
    // RFC 8314 §3: TLS from the first octet is what to take if there is a choice.
    let by = |security| config.listen.iter().find(|listen: &&Listen| listen.security == security);
    let doors =
        [(by(Security::Tls), "SSL/TLS"), (by(Security::StartTls), "STARTTLS"), (by(Security::None), "no encryption")];
    let open: Vec<_> = doors.iter().filter_map(|(listen, words)| Some(((*listen)?, words))).collect();
    for (at, (listen, words)) in open.iter().enumerate() {
        let port = match listen.address.port() {
            0 => "the one the log tells".to_owned(),
            port => port.to_string(),
        };
        let first = if at == 0 { "  IMAP       port" } else { "    or else  port" };
        let here = if listen.address.ip().is_loopback() { ", from this machine only" } else { "" };
        lines.push(format!("{first} {port}, {words}{here}"));
    }
    lines.push(format!("  user name  {user}"));
    lines.push("  password   the one just set (\"normal password\")".into());
    lines
}

/// What the operator says, else the first name of the certificate that clients elsewhere could use, else the machine's own.
fn server_name(config: &Config) -> String {
    if !config.clients.imap_host.is_empty() {
        return config.clients.imap_host.clone();
    }
    let names = if config.needs_tls() { tls::names(&config.tls.certificate) } else { Vec::new() };
    let is_useful = |name: &String| name.contains('.') && !name.starts_with("*.");
    names.into_iter().find(is_useful).unwrap_or_else(|| {
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        match machine.trim() {
            "" => "localhost".into(),
            name => name.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_safest_way_comes_first_and_the_name_is_the_certificates() {
        let home = tempfile::tempdir().expect("a directory");
        let names = ["*.example.org".to_owned(), "mail.example.org".to_owned()];
        let certificate = home.path().join("c.pem");
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        fs::write(&certificate, made.cert.pem()).expect("written");
        let mut config = Config::default();
        config.tls.certificate = certificate;
        let told = lines(&config, "anna").join("\n");
        let expected = "In the mail program:\n  server     mail.example.org\n  IMAP       port 993, SSL/TLS\n    or else  \
                        port 143, STARTTLS\n  user name  anna\n";
        assert!(told.starts_with(expected), "{told}");
        config.clients.imap_host = "imap.example.org".into();
        let told = lines(&config, "anna");
        assert_eq!(told[1], "  server     imap.example.org", "the operator knows best");
        let text = "[[listen]]\naddress = \"127.0.0.1:1143\"\nsecurity = \"none\"\n";
        let config = Config::parse(Path::new("p.toml"), text).expect("fine");
        assert!(
            lines(&config, "anna").contains(&"  IMAP       port 1143, no encryption, from this machine only".into())
        );
    }
}

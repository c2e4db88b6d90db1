//! `pillarbox autoconfig`: the files and DNS records in which mail programs look for a domain's servers, so that people
//! type an address and a password and nothing else. TLS from the first octet is put first everywhere (RFC 8314 §3.3).

use std::fmt::{self, Write as _};
use std::path::Path;

use super::files;
use crate::config::{Config, Security};

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The part of an address behind the @.
    pub domain: String,
    /// How people know the service.
    pub name: String,
    pub imap: Vec<Door>,
    pub smtp: Vec<Door>,
}

/// A server as a program reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    pub host: String,
    pub port: u16,
    /// TLS from the first octet; else STARTTLS.
    pub is_implicit_tls: bool,
}

/// An SRV record (RFC 6186 §3, RFC 8314 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Without a dot at its end.
    pub name: String,
    pub priority: u16,
    /// `None`: this is not offered.
    pub door: Option<Door>,
}

impl fmt::Display for ServiceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. 3600 IN SRV ", self.name)?;
        match &self.door {
            Some(door) => write!(f, "{} 1 {} {}.", self.priority, door.port, door.host),
            // RFC 2782: a lone "." says so.
            None => f.write_str("0 0 0 ."),
        }
    }
}

/// A file that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub file: &'static str,
    pub text: String,
    /// Where it is looked for.
    pub places: Vec<String>,
}

impl Service {
    /// What the configuration offers to the people of a domain. `Err`: a sentence about what is missing.
    pub fn of(config: &Config, domain: &str) -> Result<Service, String> {
        let domain = plain_domain(domain)?;
        let host = &config.clients.imap_host;
        if host.is_empty() {
            return Err("say in [clients] imap_host which name mail programs connect to".into());
        }
        let mut imap: Vec<Door> = config
            .listen
            .iter()
            .filter(|listen| listen.security != Security::None && listen.address.port() != 0)
            .filter(|listen| !listen.address.ip().is_loopback())
            .map(|listen| Door {
                host: host.clone(),
                port: listen.address.port(),
                is_implicit_tls: listen.security == Security::Tls,
            })
            .collect();
        // RFC 8314 §3: TLS from the first octet is preferred.
        imap.sort_by_key(|door| (!door.is_implicit_tls, door.port));
        imap.dedup();
        if imap.is_empty() {
            return Err(
                "no [[listen]] offers TLS to the outside; programs are not told to send passwords in clear".into()
            );
        }
        let smtp = smtp_door(&config.clients.smtp_host).into_iter().collect();
        Ok(Service { name: domain.clone(), domain, imap, smtp })
    }

    /// Whether people of this domain may log in with what stands before the @.
    pub fn is_login_short(&self, config: &Config) -> bool {
        config.login.default_domain.eq_ignore_ascii_case(&self.domain)
    }

    /// All files, each with where it belongs.
    pub fn files(&self) -> Vec<Published> {
        let domain = &self.domain;
        let mut files = vec![
            Published {
                file: "config-v1.1.xml",
                text: self.thunderbird(),
                places: vec![
                    format!("https://autoconfig.{domain}/mail/config-v1.1.xml"),
                    format!("https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml"),
                ],
            },
            Published {
                file: "autodiscover.xml",
                text: self.outlook(),
                places: vec![
                    format!("https://autodiscover.{domain}/autodiscover/autodiscover.xml (POST and GET)"),
                    format!("https://{domain}/autodiscover/autodiscover.xml"),
                ],
            },
            Published { file: "records.zone", text: self.records(), places: vec![format!("the DNS zone of {domain}")] },
        ];
        if !self.smtp.is_empty() {
            files.insert(
                2,
                Published {
                    file: "mail.mobileconfig",
                    text: self.apple(),
                    places: vec![format!(
                        "any page of {domain}, as application/x-apple-aspen-config: people open it on the device"
                    )],
                },
            );
        }
        files
    }

    /// Mozilla's format, which many programs read: Thunderbird, K-9 Mail, Evolution, KMail, FairEmail.
    fn thunderbird(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n");
        let domain = escaped(&self.domain);
        let _ = write!(
            xml,
            "  <emailProvider id=\"{domain}\">\n    <domain>{domain}</domain>\n    <displayName>{0}</displayName>\n    \
             <displayShortName>{0}</displayShortName>\n",
            escaped(&self.name)
        );
        let servers = [("incomingServer", "imap", &self.imap), ("outgoingServer", "smtp", &self.smtp)];
        for (element, kind, doors) in servers {
            for door in doors {
                let security = if door.is_implicit_tls { "SSL" } else { "STARTTLS" };
                let _ = write!(
                    xml,
                    "    <{element} type=\"{kind}\">\n      <hostname>{}</hostname>\n      <port>{}</port>\n      \
                     <socketType>{security}</socketType>\n      <username>%EMAILADDRESS%</username>\n      \
                     <authentication>password-cleartext</authentication>\n    </{element}>\n",
                    escaped(&door.host),
                    door.port
                );
            }
        }
        xml.push_str("  </emailProvider>\n</clientConfig>\n");
        xml
    }

    /// The plain old XML answer of Autodiscover ([MS-OXDSCLI] §2.2.4). It has no LoginName, so that one answer serves
    /// everybody: Thunderbird logs in with the address then, Outlook with what stands before its @ (see `is_login_short`).
    fn outlook(&self) -> String {
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006\">\n  \
             <Response xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\">\n    \
             <Account>\n      <AccountType>email</AccountType>\n      <Action>settings</Action>\n",
        );
        for (kind, doors) in [("IMAP", &self.imap), ("SMTP", &self.smtp)] {
            for door in doors.iter().take(1) {
                let encryption = if door.is_implicit_tls { "SSL" } else { "TLS" };
                let _ = write!(
                    xml,
                    "      <Protocol>\n        <Type>{kind}</Type>\n        <Server>{}</Server>\n        \
                     <Port>{}</Port>\n        <DomainRequired>off</DomainRequired>\n        <SPA>off</SPA>\n        \
                     <SSL>on</SSL>\n        <Encryption>{encryption}</Encryption>\n        \
                     <AuthRequired>on</AuthRequired>\n{}      </Protocol>\n",
                    escaped(&door.host),
                    door.port,
                    // That sending takes the password of reading.
                    if kind == "SMTP" { "        <UsePOPAuth>on</UsePOPAuth>\n" } else { "" }
                );
            }
        }
        xml.push_str("    </Account>\n  </Response>\n</Autodiscover>\n");
        xml
    }

    /// A configuration profile for Apple's programs, not signed: the device says so and asks. Address and password are
    /// asked for, so that one file serves everybody.
    fn apple(&self) -> String {
        let (Some(imap), Some(smtp)) = (self.imap.first(), self.smtp.first()) else { return String::new() };
        let domain = escaped(&self.domain);
        let mut inner = String::new();
        let mut string = |key: &str, value: &str| {
            let _ = write!(inner, "        <key>{key}</key>\n        <string>{}</string>\n", escaped(value));
        };
        string("PayloadType", "com.apple.mail.managed");
        string("PayloadIdentifier", &format!("{}.mail.account", reversed(&self.domain)));
        string("PayloadUUID", &uuid(&format!("account {}", self.domain)));
        string("PayloadDisplayName", &format!("Mail of {}", self.name));
        string("EmailAccountType", "EmailTypeIMAP");
        string("EmailAccountDescription", &self.name);
        string("IncomingMailServerAuthentication", "EmailAuthPassword");
        string("IncomingMailServerHostName", &imap.host);
        string("OutgoingMailServerAuthentication", "EmailAuthPassword");
        string("OutgoingMailServerHostName", &smtp.host);
        let _ = write!(
            inner,
            "        <key>PayloadVersion</key>\n        <integer>1</integer>\n        \
             <key>IncomingMailServerPortNumber</key>\n        <integer>{}</integer>\n        \
             <key>IncomingMailServerUseSSL</key>\n        <true/>\n        \
             <key>OutgoingMailServerPortNumber</key>\n        <integer>{}</integer>\n        \
             <key>OutgoingMailServerUseSSL</key>\n        <true/>\n        \
             <key>OutgoingPasswordSameAsIncomingPassword</key>\n        <true/>\n",
            imap.port, smtp.port
        );
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
             \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n  <dict>\n    \
             <key>PayloadContent</key>\n    <array>\n      <dict>\n{inner}      </dict>\n    </array>\n    \
             <key>PayloadType</key>\n    <string>Configuration</string>\n    <key>PayloadVersion</key>\n    \
             <integer>1</integer>\n    <key>PayloadIdentifier</key>\n    <string>{}.mail</string>\n    \
             <key>PayloadUUID</key>\n    <string>{}</string>\n    <key>PayloadDisplayName</key>\n    \
             <string>Mail of {domain}</string>\n    <key>PayloadRemovalDisallowed</key>\n    <false/>\n  \
             </dict>\n</plist>\n",
            escaped(&reversed(&self.domain)),
            uuid(&format!("profile {}", self.domain))
        )
    }

    /// The SRV records of what is offered, and those that say what is not. Of a service that nobody said anything about
    /// there is none.
    pub fn service_records(&self) -> Vec<ServiceRecord> {
        let doors = |doors: &[Door], is_implicit_tls: bool| -> Option<Door> {
            doors.iter().find(|door| door.is_implicit_tls == is_implicit_tls).cloned()
        };
        let mut services = vec![("_imaps", doors(&self.imap, true), 0), ("_imap", doors(&self.imap, false), 10)];
        if !self.smtp.is_empty() {
            services.push(("_submissions", doors(&self.smtp, true), 0));
            services.push(("_submission", doors(&self.smtp, false), 10));
        }
        let name = |service: &str| format!("{service}._tcp.{}", self.domain);
        services
            .into_iter()
            .map(|(service, door, priority)| ServiceRecord { name: name(service), priority, door })
            .collect()
    }

    /// Records for a zone file. A single dot says that a service is not offered (RFC 6186 §3.4).
    fn records(&self) -> String {
        let domain = &self.domain;
        let mut zone = format!("; Where mail programs find the servers of {domain} (RFC 6186, RFC 8314).\n");
        for record in self.service_records() {
            let _ = writeln!(zone, "{record}");
        }
        let _ = writeln!(zone, "_pop3s._tcp.{domain}. 3600 IN SRV 0 0 0 .");
        let _ = writeln!(zone, "_pop3._tcp.{domain}. 3600 IN SRV 0 0 0 .");
        let _ = writeln!(zone, "; The hosts that serve the two XML files; put your web server's name in their place.");
        let _ = writeln!(zone, "autoconfig.{domain}. 3600 IN CNAME www.{domain}.");
        let _ = writeln!(zone, "autodiscover.{domain}. 3600 IN CNAME www.{domain}.");
        zone
    }
}

/// Writes all files into a directory.
pub fn write(published: &[Published], dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    published.iter().try_for_each(|file| files::write_durably(&dir.join(file.file), file.text.as_bytes()))
}

fn smtp_door(text: &str) -> Option<Door> {
    let (host, port) = text.split_once(':').unwrap_or((text, "465"));
    let port = port.parse().ok()?;
    // RFC 8314 §3.3: 465 is TLS from the first octet; RFC 6409 §3.1: 587 is not.
    (!host.is_empty()).then(|| Door { host: host.to_owned(), port, is_implicit_tls: port != 587 })
}

/// A domain that can stand in a zone file and in a URL as it is.
fn plain_domain(domain: &str) -> Result<String, String> {
    let domain = domain.trim_end_matches('.').to_lowercase();
    let is_label = |label: &str| {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() <= 63 && label.chars().all(is_letter) && !label.starts_with('-')
    };
    if domain.len() > 253 || !domain.contains('.') || !domain.split('.').all(is_label) {
        return Err(format!("{domain:?} is no domain; write it like example.org, an international one as xn--..."));
    }
    Ok(domain)
}

/// Text as it may stand in an element or an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 §2.2 has no other control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\t' | '\n') => {}
            c => out.push(c),
        }
    }
    out
}

fn reversed(domain: &str) -> String {
    domain.split('.').rev().collect::<Vec<_>>().join(".")
}

/// The same for the same text each time, so that a profile replaces its own older version on a device.
fn uuid(text: &str) -> String {
    let hash = blake3::hash(text.as_bytes()).to_hex().to_uppercase();
    // Version 8 is the one of one's own making.
    format!("{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

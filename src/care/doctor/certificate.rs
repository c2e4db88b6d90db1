//! What a certificate says: its names, its dates, who signed it. Read from the file as any stranger would be, with every
//! length held against what is there. Signatures are not verified here: the handshake does that.

use std::fs::File;
use std::io::BufReader;
use std::net::IpAddr;
use std::path::Path;

use super::Find;
use crate::auth::certificate::{self, CertificateNames};
use crate::auth::der::{Der, SEQUENCE};
use crate::care::moment::written;
use crate::types::date::{Date, DateTime};

/// Largest certificate file read, in octets, and most certificates in it.
const MOST_FILE_BYTES: u64 = 4 << 20;
const MOST_CERTIFICATES: usize = 20;
/// So long before its end a certificate should have been renewed; programs that renew do it 30 days before.
const SOON_SECS: i64 = 21 * 86_400;
const VERY_SOON_SECS: i64 = 5 * 86_400;

/// What is read of one certificate (RFC 5280 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// As encoded: only compared.
    issuer: Vec<u8>,
    subject: Vec<u8>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

/// Reads the certificates of a PEM file.
pub fn read_chain(path: &Path) -> Result<Vec<Certificate>, String> {
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let read = |octets: &Vec<u8>| Certificate::read(octets).ok_or_else(|| wrong("a certificate in it cannot be read"));
    let certificates: Vec<Certificate> =
        read_pem(path, MOST_CERTIFICATES)?.iter().map(read).collect::<Result<_, String>>()?;
    if certificates.is_empty() { Err(wrong("has no certificate in it")) } else { Ok(certificates) }
}

/// The certificates of a PEM file as they are encoded, at most `most` of them.
pub fn read_pem(path: &Path, most: usize) -> Result<Vec<Vec<u8>>, String> {
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let size = std::fs::metadata(path).map_err(|error| wrong(&error.to_string()))?.len();
    if size > MOST_FILE_BYTES {
        return Err(wrong("is too long for certificates"));
    }
    let mut file = BufReader::new(File::open(path).map_err(|error| wrong(&error.to_string()))?);
    let read = rustls_pemfile::certs(&mut file).take(most).map(|one| one.map(|one| one.to_vec()));
    read.collect::<Result<_, _>>().map_err(|error| wrong(&format!("a certificate in it cannot be read: {error}")))
}

/// What is to be said of a chain: its dates, its names, its order. The server's own certificate comes first.
pub fn chain(chain: &[Certificate], now: i64) -> Vec<Find> {
    let Some(own) = chain.first() else { return Vec::new() };
    let mut finds = vec![dates(own, now)];
    for above in chain.iter().skip(1).filter(|above| above.not_after < now) {
        let ended = written(above.not_after);
        finds.push(Find::fail(
            format!("an intermediate certificate ended at {ended}"),
            "get the chain anew from your CA",
        ));
    }
    if own.names.is_empty() && own.addresses.is_empty() {
        finds.push(Find::fail(
            "the certificate has no names in subjectAltName",
            "mail programs look nowhere else; get one that has",
        ));
    }
    let is_own_issuer = own.issuer == own.subject;
    let broken = chain.windows(2).position(|pair| pair[0].issuer != pair[1].subject);
    match (is_own_issuer, broken) {
        (true, _) => finds.push(Find::warn(
            "the certificate was signed by itself",
            "every program asks its user whether to trust it; get one from a CA, Let's Encrypt for one",
        )),
        (false, Some(at)) => finds.push(Find::fail(
            format!("certificate {} of the chain was not signed by the one behind it", at + 1),
            "the file must hold the server's own, then its issuer's, and so on",
        )),
        (false, None) if chain.len() == 1 => finds.push(Find::warn(
            "the file holds the server's certificate only",
            "many programs need the intermediate one too: use the file called fullchain.pem or the like",
        )),
        (false, None) => finds.push(Find::pass(format!("the chain has {} certificates in order", chain.len()))),
    }
    finds
}

/// Whether clients of `host` are shown a certificate that has its name. `shown`: the server's own ones, the first of which
/// goes to everybody who asks for a name that none of them has.
pub fn names(shown: &[Certificate], host: Option<&str>) -> Find {
    let names: Vec<&str> = shown.iter().flat_map(|own| &own.names).map(String::as_str).collect();
    let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    match host {
        None => Find::warn(
            format!("the certificate is for {names}"),
            "say which name mail programs use: clients.imap_host in the configuration, or --host",
        ),
        Some(host) if shown.iter().any(|own| own.covers(host)) => Find::pass(format!("the certificate is for {host}")),
        Some(host) => Find::fail(
            format!("the certificate is for {names}, not for {host}"),
            format!("get one that names {host}, or have programs connect to a name it has"),
        ),
    }
}

fn dates(own: &Certificate, now: i64) -> Find {
    let (begins, ends) = (written(own.not_before), written(own.not_after));
    if now < own.not_before {
        Find::fail(format!("the certificate begins at {begins}"), "wait, get another one, or set the clock")
    } else if now > own.not_after {
        Find::fail(format!("the certificate ended at {ends}"), "renew it, and `kill -HUP` the server")
    } else if own.not_after - now < VERY_SOON_SECS {
        Find::fail(format!("the certificate ends at {ends}"), "renew it now, and `kill -HUP` the server")
    } else if own.not_after - now < SOON_SECS {
        Find::warn(format!("the certificate ends at {ends}"), "see why it was not renewed yet")
    } else {
        Find::pass(format!("the certificate is good until {ends}"))
    }
}

impl Certificate {
    /// Reads one; `None` when it is none.
    pub fn read(octets: &[u8]) -> Option<Certificate> {
        let mut fields = Der::new(octets).enter(SEQUENCE)?.enter(SEQUENCE)?;
        if fields.peek() == Some(VERSION) {
            fields.next()?;
        }
        // serialNumber and signature
        fields.next()?;
        fields.next()?;
        let issuer = fields.expect(SEQUENCE)?.to_vec();
        let mut validity = fields.enter(SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = fields.expect(SEQUENCE)?.to_vec();
        let CertificateNames { mut dns_names, addresses, .. } = certificate::names(octets)?;
        dns_names.iter_mut().for_each(|name| *name = name.to_lowercase());
        Some(Certificate { issuer, subject, not_before, not_after, names: dns_names, addresses })
    }

    /// Whether a program that connects to `host` accepts the names (RFC 6125 §6.4).
    pub fn covers(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_lowercase();
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            // A star stands for one level.
            Some(rest) => host.split_once('.').is_some_and(|(first, above)| !first.is_empty() && above == rest),
            None => *name == host,
        })
    }
}

/// Tags of a certificate's fields (RFC 5280 §4.1).
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// UTCTime or GeneralizedTime (RFC 5280 §4.1.2.5).
fn time(fields: &mut Der<'_>) -> Option<i64> {
    let (tag, content) = fields.next()?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (digits, rest) = text.split_at_checked(if tag == GENERALIZED_TIME { 4 } else { 2 })?;
    let year = match (tag, digits.parse::<u16>().ok()?) {
        (GENERALIZED_TIME, year) => year,
        (UTC_TIME, year) if year < 50 => 2000 + year,
        (UTC_TIME, year) => 1900 + year,
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let date = Date::new(year, two(0)?, two(2)?)?;
    let second = u32::from(two(4)?) * 3600 + u32::from(two(6)?) * 60 + u32::from(two(8)?);
    Some(DateTime::on_clock(date, second, 0).unix_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::doctor::Weight;

    const NOW: i64 = 1_800_000_000;

    fn made(names: &[&str]) -> (Vec<u8>, Certificate) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("made");
        let octets = made.cert.der().to_vec();
        let read = Certificate::read(&octets).expect("read");
        (octets, read)
    }

    #[test]
    fn names_and_dates_are_read() {
        let (_, read) = made(&["Imap.Example.org", "*.example.net", "192.0.2.7", "2001:db8::7"]);
        assert_eq!(read.names, ["imap.example.org", "*.example.net"]);
        assert!(read.not_before < NOW && read.not_after > NOW);
        for host in ["imap.example.org", "IMAP.example.ORG.", "mail.example.net", "192.0.2.7", "2001:db8::7"] {
            assert!(read.covers(host), "{host}");
        }
        for host in ["example.org", "example.net", "a.b.example.net", "192.0.2.8", "", ".example.net"] {
            assert!(!read.covers(host), "{host}");
        }
    }

    #[test]
    fn a_cut_or_changed_certificate_never_confuses() {
        let (octets, _) = made(&["imap.example.org"]);
        for cut in 0..octets.len() {
            assert_eq!(Certificate::read(&octets[..cut]), None, "cut at {cut}");
        }
        for at in 0..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 0x81;
            let _ = Certificate::read(&changed);
        }
    }

    #[test]
    fn what_is_wrong_with_a_chain_is_said() {
        let (_, good) = made(&["imap.example.org"]);
        let signed = Certificate { issuer: b"ca".to_vec(), ..good.clone() };
        let above =
            Certificate { subject: b"ca".to_vec(), issuer: b"root".to_vec(), names: Vec::new(), ..good.clone() };
        let until = |days: i64| Certificate { not_after: NOW + days * 86_400, ..signed.clone() };
        let worst = |certificates: &[Certificate], host: Option<&str>| {
            let name = names(&certificates[..1], host);
            chain(certificates, NOW).into_iter().chain([name]).map(|find| find.weight).max().expect("something is said")
        };
        let host = Some("imap.example.org");
        assert_eq!(worst(&[signed.clone(), above.clone()], host), Weight::Pass);
        assert_eq!(worst(&[signed.clone(), above.clone()], Some("mail.example.org")), Weight::Fail);
        assert_eq!(worst(&[signed.clone(), above.clone()], None), Weight::Warn);
        assert_eq!(worst(std::slice::from_ref(&signed), host), Weight::Warn, "no intermediate");
        assert_eq!(worst(&[good], host), Weight::Warn, "signed by itself");
        assert_eq!(worst(&[above.clone(), signed.clone()], None), Weight::Fail, "the wrong way round");
        assert_eq!(worst(&[until(10), above.clone()], host), Weight::Warn);
        assert_eq!(worst(&[until(3), above.clone()], host), Weight::Fail);
        assert_eq!(worst(&[until(-3), above.clone()], host), Weight::Fail);
        let early = Certificate { not_before: NOW + 1, ..signed.clone() };
        assert_eq!(worst(&[early, above.clone()], host), Weight::Fail);
        let old = Certificate { not_after: NOW - 1, ..above };
        assert_eq!(worst(&[signed, old], host), Weight::Fail);
    }

    #[test]
    fn a_file_that_is_no_certificate_is_told_so() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("c.pem");
        for text in
            ["", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n"]
        {
            std::fs::write(&path, text).expect("written");
            assert!(read_chain(&path).is_err(), "{text:?}");
        }
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("made");
        std::fs::write(&path, made.cert.pem().repeat(2)).expect("written");
        assert_eq!(read_chain(&path).expect("read").len(), 2);
    }
}

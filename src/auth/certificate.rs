//! What logging in needs of an X.509 certificate (RFC 5280): the names in it, and its hash for channel binding.
//! Whether the certificate is to be believed is for the TLS layer to say; here it is only read.

use std::net::IpAddr;

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::der::{BOOLEAN, Der, OCTET_STRING, OID, SEQUENCE, SET};

/// Most names of one kind that are read; a certificate has a few.
const MOST_NAMES: usize = 1000;

/// The names a certificate holds. Names with control characters are left out: they are there to deceive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// subjectAltName rfc822Name: mail addresses (RFC 5280 §4.2.1.6).
    pub rfc822_names: Vec<String>,
    /// subjectAltName dNSName.
    pub dns_names: Vec<String>,
    /// commonName of the subject.
    pub common_names: Vec<String>,
    /// subjectAltName iPAddress.
    pub addresses: Vec<IpAddr>,
}

/// The octets of 2.5.29.17, subjectAltName, and of 2.5.4.3, commonName.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Tags of GeneralName (RFC 5280 §4.2.1.6): rfc822Name is `[1]`, dNSName is `[2]`, iPAddress is `[7]`.
const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Reads the names of a certificate in DER. `None`: it is none.
pub fn names(certificate: &[u8]) -> Option<CertificateNames> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    let mut body = Der::new(certificate).enter(SEQUENCE)?.enter(SEQUENCE)?;
    if body.peek() == Some(0xa0) {
        body.next()?;
    }
    // serialNumber, signature, issuer, validity
    for _ in 0..4 {
        body.next()?;
    }
    let mut names = CertificateNames::default();
    read_subject(body.enter(SEQUENCE)?, &mut names)?;
    // subjectPublicKeyInfo
    body.next()?;
    for (tag, value) in body {
        // extensions [3]; before it may stand issuerUniqueID [1] and subjectUniqueID [2].
        if tag == 0xa3 {
            read_extensions(Der::new(value).enter(SEQUENCE)?, &mut names)?;
        }
    }
    Some(names)
}

/// RDNSequence ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value }
fn read_subject(mut subject: Der<'_>, names: &mut CertificateNames) -> Option<()> {
    while subject.peek().is_some() {
        let mut set = subject.enter(SET)?;
        while set.peek().is_some() {
            let mut attribute = set.enter(SEQUENCE)?;
            let kind = attribute.expect(OID)?;
            let (tag, value) = attribute.next()?;
            // UTF8String, PrintableString, IA5String; nobody writes the others any more.
            if kind == COMMON_NAME && matches!(tag, 0x0c | 0x13 | 0x16) {
                add(&mut names.common_names, value);
            }
        }
    }
    Some(())
}

/// Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
fn read_extensions(mut extensions: Der<'_>, names: &mut CertificateNames) -> Option<()> {
    while extensions.peek().is_some() {
        let mut extension = extensions.enter(SEQUENCE)?;
        let kind = extension.expect(OID)?;
        if extension.peek() == Some(BOOLEAN) {
            extension.next()?;
        }
        let value = extension.expect(OCTET_STRING)?;
        if kind == SUBJECT_ALT_NAME {
            let general = Der::new(value).enter(SEQUENCE)?;
            for (tag, value) in general {
                match tag {
                    RFC822_NAME => add(&mut names.rfc822_names, value),
                    DNS_NAME => add(&mut names.dns_names, value),
                    IP_ADDRESS if names.addresses.len() < MOST_NAMES => names.addresses.extend(address(value)),
                    _ => {}
                }
            }
        }
    }
    Some(())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

fn add(names: &mut Vec<String>, value: &[u8]) {
    if let Ok(name) = std::str::from_utf8(value)
        && names.len() < MOST_NAMES
        && !name.is_empty()
        && !name.contains(char::is_control)
    {
        names.push(name.to_owned());
    }
}

/// The data of the channel binding `tls-server-end-point`: the hash of the server's certificate, octet for octet.
/// `None`: it is no certificate, or its signature uses no single hash, for which the binding is not defined.
pub fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Der::new(certificate).enter(SEQUENCE)?;
    whole.next()?;
    let mut algorithm = whole.enter(SEQUENCE)?;
    let kind = algorithm.expect(OID)?;
    let hash = match kind {
        RSASSA_PSS => pss_hash(algorithm)?,
        kind => SIGNATURES.iter().find(|(oid, _)| *oid == kind)?.1,
    };
    Some(match hash {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

// RFC 5929 §4.1: the hash of the signature, and SHA-256 where that would be MD5 or SHA-1.
const SIGNATURES: &[(&[u8], Hash)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], Hash::Sha256), // md5WithRSAEncryption
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], Hash::Sha256), // sha1WithRSAEncryption
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], Hash::Sha256), // sha256WithRSAEncryption
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], Hash::Sha384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], Hash::Sha512),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], Hash::Sha256), // ecdsa-with-SHA1
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], Hash::Sha256), // ecdsa-with-SHA256
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], Hash::Sha384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], Hash::Sha512),
];

/// RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] DEFAULT sha1, ... } (RFC 4055 §3.1)
fn pss_hash(mut algorithm: Der<'_>) -> Option<Hash> {
    let mut parameters = algorithm.enter(SEQUENCE)?;
    if parameters.peek() != Some(0xa0) {
        return Some(Hash::Sha256);
    }
    let hash = parameters.enter(0xa0)?.enter(SEQUENCE)?.expect(OID)?;
    match hash.strip_prefix(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02])? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["mail.example.org".to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn names_come_from_their_own_fields() {
        let certificate = made(|params| {
            params.distinguished_name.push(DnType::CommonName, "root@example.org");
            params.distinguished_name.push(DnType::OrganizationName, "anna@example.org");
            let address = "bert@example.org".try_into().expect("an address");
            params.subject_alt_names.push(SanType::Rfc822Name(address));
        });
        let names = names(&certificate).expect("a certificate");
        assert_eq!(names.rfc822_names, ["bert@example.org"]);
        assert_eq!(names.dns_names, ["mail.example.org"]);
        assert!(names.common_names.contains(&"root@example.org".to_owned()), "{names:?}");
        assert!(!format!("{names:?}").contains("anna"), "another field is no name");
    }

    #[test]
    fn a_certificate_without_the_field_has_no_name() {
        assert!(names(&made(|_| {})).expect("a certificate").rfc822_names.is_empty());
    }

    #[test]
    fn names_that_deceive_are_left_out() {
        let mut list = Vec::new();
        for name in [&b"anna\0@evil.example"[..], b"a\nb", b"\xff", b"", b"anna"] {
            add(&mut list, name);
        }
        assert_eq!(list, ["anna"]);
    }

    #[test]
    fn the_end_point_hash_is_that_of_the_whole_certificate() {
        // rcgen signs with ECDSA and SHA-256 unless told otherwise.
        let certificate = made(|_| {});
        assert_eq!(end_point_hash(&certificate), Some(Sha256::digest(&certificate).to_vec()));
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("signed").der().to_vec();
        assert_eq!(end_point_hash(&certificate), Some(Sha384::digest(&certificate).to_vec()));
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("signed").der().to_vec();
        assert_eq!(end_point_hash(&certificate), None, "Ed25519 names no hash");
    }

    #[test]
    fn whatever_is_cut_or_turned_is_no_panic() {
        let certificate = made(|params| {
            let address = "bert@example.org".try_into().expect("an address");
            params.subject_alt_names.push(SanType::Rfc822Name(address));
        });
        for end in 0..certificate.len() {
            assert_eq!(names(&certificate[..end]), None, "the outer length is wrong");
            assert_eq!(end_point_hash(&certificate[..end]), None);
        }
        for at in 0..certificate.len() {
            for bit in 0..8 {
                let mut turned = certificate.clone();
                turned[at] ^= 1 << bit;
                let _ = (names(&turned), end_point_hash(&turned));
            }
        }
    }
}

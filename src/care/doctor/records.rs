//! The DNS records by which mail programs find the servers of a domain, held against what this server offers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::Find;
use super::dns::{Resolver, Target};
use crate::care::autoconfig::{Service, ServiceRecord};
use crate::care::counted;
use crate::config::Config;
use crate::mailstore::directory::Directory;

/// Most domains that are looked at: each is a handful of questions.
const MOST_DOMAINS: usize = 20;

/// Looks up the addresses of the host and the SRV records of every domain that has users. `host`: the name clients use, if
/// the configuration does not say it or says another. `name_server`: who is asked; `None`: whom this machine asks.
pub fn records(config: &Config, host: Option<&str>, name_server: Option<SocketAddr>) -> Vec<Find> {
    let Some(resolver) = name_server.map(Resolver::at).or_else(Resolver::of_system) else {
        return vec![Find::skip("DNS records: this machine names no name server; say one with --nameserver")];
    };
    let mut config = config.clone();
    if let Some(host) = host {
        config.clients.imap_host = host.to_owned();
    }
    let mut finds = Vec::new();
    match examine(&config, &resolver, &mut finds) {
        Ok(()) => {}
        // The next question would not be answered either, and costs as long.
        Err(error) => finds
            .push(Find::skip(format!("DNS records: the name server {} did not answer: {error}", resolver.server()))),
    }
    finds
}

fn examine(config: &Config, resolver: &Resolver, finds: &mut Vec<Find>) -> std::io::Result<()> {
    let host = config.clients.imap_host.as_str();
    if !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() {
        let found: Vec<String> = resolver.addresses(host)?.iter().map(ToString::to_string).collect();
        finds.push(match found.is_empty() {
            true => Find::warn(
                format!("{} knows no address of {host}", resolver.server()),
                "add A and AAAA records for it, or ask another with --nameserver",
            ),
            false => Find::pass(format!("{host} has the addresses {} in the DNS", found.join(", "))),
        });
    }
    let domains = domains(config);
    for domain in domains.iter().take(MOST_DOMAINS) {
        match Service::of(config, domain) {
            Ok(service) => examine_domain(&service, resolver, finds)?,
            Err(reason) => finds.push(Find::skip(format!("SRV records of {domain}: {reason}"))),
        }
    }
    if domains.is_empty() {
        finds.push(Find::skip("SRV records: no user's name has a domain, nor does login.default_domain name one"));
    }
    if domains.len() > MOST_DOMAINS {
        finds.push(Find::skip(format!(
            "SRV records of {} more",
            counted((domains.len() - MOST_DOMAINS) as u64, "domain")
        )));
    }
    Ok(())
}

/// The domains of the users.
fn domains(config: &Config) -> BTreeSet<String> {
    let users = Directory::open_existing(&config.data_dir).and_then(|directory| directory.users()).unwrap_or_default();
    let of_users = users.iter().filter_map(|user| user.name.rsplit_once('@')).map(|(_, domain)| domain.to_lowercase());
    let default = Some(config.login.default_domain.to_lowercase()).filter(|domain| !domain.is_empty());
    of_users.chain(default).collect()
}

fn examine_domain(service: &Service, resolver: &Resolver, finds: &mut Vec<Find>) -> std::io::Result<()> {
    for record in service.service_records() {
        finds.push(judge(&record, &resolver.services(&record.name)?));
    }
    if service.smtp.is_empty() {
        let domain = &service.domain;
        finds.push(Find::skip(format!("where people of {domain} send: say it in [clients] smtp_host")));
    }
    // Outlook asks for the name first, then for the record; its web server is none of ours.
    let name = format!("_autodiscover._tcp.{}", service.domain);
    let plain = format!("autodiscover.{}", service.domain);
    let told: Vec<String> = resolver.services(&name)?.iter().map(Target::to_string).collect();
    finds.push(if !told.is_empty() {
        Find::pass(format!("{name} names {}", told.join(" and ")))
    } else if !resolver.addresses(&plain)?.is_empty() {
        Find::pass(format!("{plain} is there, {name} is not needed"))
    } else {
        Find::warn(
            format!("{name} names nothing, and there is no {plain}"),
            format!(
                "Outlook finds nothing by itself; put in `{name}. 3600 IN SRV 0 0 443 www.{}.` with the name of the web \
                 server that has autodiscover.xml, see `pillarbox autoconfig`",
                service.domain
            ),
        )
    });
    Ok(())
}

/// Holds what the DNS says of one service against what it should say.
fn judge(record: &ServiceRecord, found: &[Target]) -> Find {
    let name = &record.name;
    // RFC 2782: a lone "." says that there is no such service.
    let found: Vec<&Target> = found.iter().filter(|target| !target.host.is_empty()).collect();
    let told = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let is_right = |target: &&Target| {
        let door = record.door.as_ref();
        door.is_some_and(|door| target.host.eq_ignore_ascii_case(&door.host) && target.port == door.port)
    };
    match (&record.door, found.is_empty()) {
        (None, true) => Find::pass(format!("{name} names nothing, and nothing of that is offered")),
        (None, false) => Find::warn(
            format!("{name} names {told}, and nothing of that is offered here"),
            format!("put in `{record}`, unless another server is meant"),
        ),
        (Some(_), true) => Find::warn(
            format!("{name} names nothing"),
            format!("programs that look for it must guess; put in `{record}`"),
        ),
        (Some(_), false) if found.iter().all(is_right) => Find::pass(format!("{name} names {told}")),
        (Some(door), false) => Find::warn(
            format!("{name} names {told}; here it is {}:{}", door.host, door.port),
            format!("put in `{record}`, unless something in between leads there"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns::tests::{Known, name_server};
    use super::*;
    use crate::care::doctor::Weight;
    use crate::config::{Listen, Security};

    fn config() -> (tempfile::TempDir, Config) {
        let home = tempfile::tempdir().expect("a folder");
        let mut config = Config { data_dir: home.path().join("data"), ..Config::default() };
        config.login.default_domain = "example.org".into();
        config.clients.imap_host = "imap.example.org".into();
        config.clients.smtp_host = "smtp.example.org:587".into();
        let listen = |port: u16, security| Listen {
            address: SocketAddr::from(([192, 0, 2, 7], port)),
            security,
            proxy_from: Vec::new(),
        };
        config.listen = vec![listen(993, Security::Tls)];
        (home, config)
    }

    fn found(config: &Config, names: Vec<(&'static str, Known)>) -> Vec<String> {
        let finds = records(config, None, Some(name_server(names, false)));
        assert!(finds.iter().all(|find| find.weight != Weight::Fail), "{finds:?}");
        finds.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn records_that_are_right_pass() {
        let (_home, config) = config();
        let names = vec![
            ("imap.example.org", Known::Address([192, 0, 2, 7].into())),
            ("_imaps._tcp.example.org", Known::Service(0, "IMAP.example.org", 993)),
            ("_imap._tcp.example.org", Known::Service(0, "", 0)),
            ("_submission._tcp.example.org", Known::Service(0, "smtp.example.org", 587)),
            ("_autodiscover._tcp.example.org", Known::Service(0, "www.example.org", 443)),
        ];
        let finds = found(&config, names);
        assert_eq!(
            finds,
            [
                "PASS  imap.example.org has the addresses 192.0.2.7 in the DNS",
                "PASS  _imaps._tcp.example.org names imap.example.org:993",
                "PASS  _imap._tcp.example.org names nothing, and nothing of that is offered",
                "PASS  _submissions._tcp.example.org names nothing, and nothing of that is offered",
                "PASS  _submission._tcp.example.org names smtp.example.org:587",
                "PASS  _autodiscover._tcp.example.org names www.example.org:443",
            ]
        );
    }

    #[test]
    fn records_that_are_missing_or_lead_elsewhere_are_told_with_what_to_put_in() {
        let (_home, config) = config();
        let names = vec![
            ("_imaps._tcp.example.org", Known::Service(0, "imap.example.org", 1993)),
            ("_imap._tcp.example.org", Known::Service(0, "imap.example.org", 143)),
            ("autodiscover.example.org", Known::Address([192, 0, 2, 9].into())),
        ];
        let finds = found(&config, names);
        let tells = |beginning: &str, end: &str| {
            assert!(finds.iter().any(|find| find.starts_with(beginning) && find.contains(end)), "{finds:#?}");
        };
        tells("WARN  127.0.0.1:", "knows no address of imap.example.org");
        tells("WARN  _imaps._tcp.example.org names imap.example.org:1993; here it is imap.example.org:993", "put in");
        tells("WARN  _imap._tcp.example.org names imap.example.org:143, and nothing", "IN SRV 0 0 0 .`");
        let line = "`_submission._tcp.example.org. 3600 IN SRV 10 1 587 smtp.example.org.`";
        tells("WARN  _submission._tcp.example.org names nothing", line);
        tells("PASS  autodiscover.example.org is there", "");
    }

    #[test]
    fn a_name_server_that_does_not_answer_is_a_note_and_asked_once() {
        let (_home, config) = config();
        let silent = found(&config, vec![("imap.example.org", Known::Nothing)]);
        assert!(silent.len() == 1 && silent[0].starts_with("SKIP  DNS records: the name server 127.0.0.1:"));
        let refused = found(&config, vec![("imap.example.org", Known::Refused)]);
        assert!(refused.len() == 1 && refused[0].ends_with("did not answer: it answers Refused"), "{refused:?}");
    }
}

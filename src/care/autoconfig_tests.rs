//! What is published for mail programs, held against what their makers wrote down: Apple's keys of a mail payload,
//! Microsoft's elements of an Autodiscover answer, Mozilla's of a configuration. A key that is missing, misspelt, or of another
//! type is ignored by a device without a word, so each of them is damaged here in turn, and must be found.

use std::collections::BTreeMap;

use super::autoconfig::{Service, write};
use crate::config::{Config, Security};

fn config() -> Config {
    let mut config = Config::default();
    config.clients.imap_host = "imap.example.org".into();
    config.clients.smtp_host = "smtp.example.org:587".into();
    config
}

fn text(service: &Service, file: &str) -> String {
    service.files().into_iter().find(|published| published.file == file).expect("published").text
}

/// An element of XML with what is in it: elements, or text.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    /// A whole file: the declaration, perhaps a document type, one element.
    fn parse(xml: &str) -> Result<Element, String> {
        let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").ok_or("no declaration")?;
        if rest.starts_with("<!DOCTYPE ") {
            rest = rest.split_once(">\n").ok_or("an open document type")?.1;
        }
        let root = Element::next(&mut rest)?;
        if rest.trim().is_empty() { Ok(root) } else { Err(format!("behind the end: {rest}")) }
    }

    fn next(rest: &mut &str) -> Result<Element, String> {
        let (tag, behind) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or("no tag")?;
        *rest = behind;
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut words) = tag.split_once(' ').unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(char::is_alphanumeric) {
            return Err(format!("no name of an element: {name}"));
        }
        let (mut attributes, mut children, mut text) = (BTreeMap::new(), Vec::new(), String::new());
        while !words.is_empty() {
            let (key, value) = words.split_once("=\"").ok_or("an attribute without a value")?;
            let (value, behind) = value.split_once('"').ok_or("an attribute without an end")?;
            attributes.insert(key.to_owned(), plain(value)?);
            words = behind.trim_start();
        }
        if !is_empty {
            loop {
                let at = rest.find('<').ok_or("an element without an end")?;
                text.push_str(&plain(&rest[..at])?);
                *rest = &rest[at..];
                if let Some(behind) = rest.strip_prefix("</") {
                    *rest = behind.strip_prefix(name).and_then(|rest| rest.strip_prefix('>')).ok_or("another end")?;
                    break;
                }
                children.push(Element::next(rest)?);
            }
        }
        if !children.is_empty() && !text.trim().is_empty() {
            return Err(format!("text between elements: {text}"));
        }
        Ok(Element { name: name.to_owned(), attributes, text, children })
    }

    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn only(&self, name: &str) -> Result<&Element, String> {
        let mut found = self.all(name);
        match (found.next(), found.next()) {
            (Some(element), None) => Ok(element),
            _ => Err(format!("{} has not one {name}", self.name)),
        }
    }

    /// Its elements as keys with texts.
    fn texts(&self) -> Result<Dict, String> {
        let mut dict = Dict::new();
        for child in &self.children {
            if !child.children.is_empty() || dict.insert(child.name.clone(), Value::Text(child.text.clone())).is_some()
            {
                return Err(format!("{} in {} twice, or with elements", child.name, self.name));
            }
        }
        Ok(dict)
    }
}

/// Text out of what stands for it.
fn plain(escaped: &str) -> Result<String, String> {
    let mut parts = escaped.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (word, behind) = part.split_once(';').ok_or("& without ;")?;
        let character = [("amp", '&'), ("lt", '<'), ("gt", '>'), ("quot", '"'), ("apos", '\'')];
        text.push(character.iter().find(|(name, _)| *name == word).ok_or(format!("&{word};"))?.1);
        text.push_str(behind);
    }
    let is_allowed = |c: char| c != '>' && (!c.is_control() || matches!(c, '\t' | '\n'));
    if escaped.chars().all(is_allowed) { Ok(text) } else { Err(format!("a character that may not be: {escaped:?}")) }
}

type Dict = BTreeMap<String, Value>;

/// What a property list is made of.
enum Value {
    Text(String),
    Number(u64),
    Truth(bool),
    List(Vec<Value>),
    Dict(Dict),
}

impl Value {
    fn of(element: &Element) -> Result<Value, String> {
        Ok(match element.name.as_str() {
            "string" => Value::Text(element.text.clone()),
            "integer" => Value::Number(element.text.parse().map_err(|_| format!("no number: {}", element.text))?),
            "true" | "false" if element.text.is_empty() => Value::Truth(element.name == "true"),
            "array" => Value::List(element.children.iter().map(Value::of).collect::<Result<_, _>>()?),
            "dict" => {
                let mut dict = Dict::new();
                for pair in element.children.chunks(2) {
                    let [key, value] = pair else { return Err("a key without a value".into()) };
                    if key.name != "key" || dict.insert(key.text.clone(), Value::of(value)?).is_some() {
                        return Err(format!("{} is no key, or is there twice", key.text));
                    }
                }
                Value::Dict(dict)
            }
            other => return Err(format!("no type: {other}")),
        })
    }
}

/// What a value must be like.
enum Is {
    Word(&'static [&'static str]),
    Text,
    Host,
    Uuid,
    One,
    /// As a number, and as text.
    Port,
    Digits,
    Yes,
    Truth,
    List,
}

impl Is {
    fn fits(&self, value: &Value) -> bool {
        let is_port = |number: u64| (1..=65535).contains(&number);
        match (self, value) {
            (Is::Word(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Is::Text, Value::Text(text)) => !text.trim().is_empty(),
            (Is::Host, Value::Text(text)) => {
                text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
            }
            (Is::Uuid, Value::Text(text)) => {
                let is_hex = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit());
                text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex)
            }
            (Is::Digits, Value::Text(text)) => text.parse().is_ok_and(is_port),
            (Is::Port, Value::Number(number)) => is_port(*number),
            (Is::One, Value::Number(number)) => *number == 1,
            (Is::Yes, Value::Truth(is_true)) => *is_true,
            (Is::Truth, Value::Truth(_)) => true,
            (Is::List, Value::List(list)) => !list.is_empty(),
            _ => false,
        }
    }
}

struct Rule(&'static str, Is);

/// All of `must` are there, of the others only what `may` be, and each is as it must be.
fn keep(dict: &Dict, must: &[Rule], may: &[Rule]) -> Result<(), String> {
    if let Some(Rule(key, _)) = must.iter().find(|Rule(key, _)| !dict.contains_key(*key)) {
        return Err(format!("{key} is missing"));
    }
    for (key, value) in dict {
        let rule = must.iter().chain(may).find(|Rule(name, _)| name == key);
        let Rule(_, is) = rule.ok_or_else(|| format!("nobody knows {key}"))?;
        if !is.fits(value) {
            return Err(format!("{key} is not as it must be"));
        }
    }
    Ok(())
}

/// Apple, "Device Management", TopLevel and CommonPayloadKeys.
const PROFILE: &[Rule] = &[
    Rule("PayloadContent", Is::List),
    Rule("PayloadIdentifier", Is::Text),
    Rule("PayloadType", Is::Word(&["Configuration"])),
    Rule("PayloadUUID", Is::Uuid),
    Rule("PayloadVersion", Is::One),
];
const PROFILE_MAY: &[Rule] = &[Rule("PayloadDisplayName", Is::Text), Rule("PayloadRemovalDisallowed", Is::Truth)];

/// Apple, "Device Management", Mail. Ports and encryption have defaults there (none for encryption), so they are told. Name,
/// address and password are not told, so that the device asks.
const MAIL: &[Rule] = &[
    Rule("PayloadIdentifier", Is::Text),
    Rule("PayloadType", Is::Word(&["com.apple.mail.managed"])),
    Rule("PayloadUUID", Is::Uuid),
    Rule("PayloadVersion", Is::One),
    Rule("EmailAccountType", Is::Word(&["EmailTypeIMAP"])),
    Rule("IncomingMailServerAuthentication", Is::Word(&["EmailAuthPassword"])),
    Rule("IncomingMailServerHostName", Is::Host),
    Rule("IncomingMailServerPortNumber", Is::Port),
    Rule("IncomingMailServerUseSSL", Is::Yes),
    Rule("OutgoingMailServerAuthentication", Is::Word(&["EmailAuthPassword"])),
    Rule("OutgoingMailServerHostName", Is::Host),
    Rule("OutgoingMailServerPortNumber", Is::Port),
    Rule("OutgoingMailServerUseSSL", Is::Yes),
    Rule("OutgoingPasswordSameAsIncomingPassword", Is::Yes),
];
const MAIL_MAY: &[Rule] = &[Rule("PayloadDisplayName", Is::Text), Rule("EmailAccountDescription", Is::Text)];

fn keeps_apples_rules(text: &str) -> Result<(), String> {
    let root = Element::parse(text)?;
    if root.name != "plist" || root.attribute("version") != "1.0" {
        return Err("no property list".into());
    }
    let Value::Dict(profile) = Value::of(root.only("dict")?)? else { return Err("no dict".into()) };
    keep(&profile, PROFILE, PROFILE_MAY)?;
    let Some(Value::List(payloads)) = profile.get("PayloadContent") else { return Err("no payloads".into()) };
    let [Value::Dict(mail)] = payloads.as_slice() else { return Err("not one payload".into()) };
    keep(mail, MAIL, MAIL_MAY)?;
    // Each payload is one thing to a device, and so is the profile.
    for key in ["PayloadUUID", "PayloadIdentifier"] {
        if let (Some(Value::Text(one)), Some(Value::Text(other))) = (profile.get(key), mail.get(key))
            && one == other
        {
            return Err(format!("one {key} for two"));
        }
    }
    Ok(())
}

const SWITCH: Is = Is::Word(&["on", "off"]);
/// [MS-OXDSCLI] §2.2.4.1: the children of Protocol that matter to IMAP and SMTP. Encryption comes before SSL.
const PROTOCOL: &[Rule] = &[
    Rule("Type", Is::Word(&["IMAP", "SMTP"])),
    Rule("Server", Is::Host),
    Rule("Port", Is::Digits),
    Rule("DomainRequired", SWITCH),
    Rule("SPA", Is::Word(&["off"])),
    Rule("SSL", Is::Word(&["on"])),
    Rule("Encryption", Is::Word(&["SSL", "TLS"])),
    Rule("AuthRequired", Is::Word(&["on"])),
];
const PROTOCOL_MAY: &[Rule] = &[Rule("UsePOPAuth", SWITCH)];

fn keeps_microsofts_rules(text: &str) -> Result<(), String> {
    let root = Element::parse(text)?;
    let schema = "http://schemas.microsoft.com/exchange/autodiscover";
    let response = root.only("Response")?;
    if root.name != "Autodiscover"
        || root.attribute("xmlns") != format!("{schema}/responseschema/2006")
        || response.attribute("xmlns") != format!("{schema}/outlook/responseschema/2006a")
    {
        return Err("another schema".into());
    }
    let account = response.only("Account")?;
    if account.only("AccountType")?.text != "email" || account.only("Action")?.text != "settings" {
        return Err("another account".into());
    }
    let protocols: Vec<&Element> = account.all("Protocol").collect();
    if account.children.len() != protocols.len() + 2 || protocols.is_empty() {
        return Err("nobody knows what else is in Account".into());
    }
    protocols.iter().try_for_each(|protocol| keep(&protocol.texts()?, PROTOCOL, PROTOCOL_MAY))
}

/// Mozilla, "Autoconfiguration: config file format".
const SERVER: &[Rule] = &[
    Rule("hostname", Is::Host),
    Rule("port", Is::Digits),
    Rule("socketType", Is::Word(&["SSL", "STARTTLS"])),
    Rule("username", Is::Word(&["%EMAILADDRESS%"])),
    Rule("authentication", Is::Word(&["password-cleartext"])),
];

fn keeps_mozillas_rules(text: &str) -> Result<(), String> {
    let root = Element::parse(text)?;
    let provider = root.only("emailProvider")?;
    if root.name != "clientConfig" || root.attribute("version") != "1.1" {
        return Err("another format".into());
    }
    let names = [("id", Is::Host, provider.attribute("id")), ("domain", Is::Host, &provider.only("domain")?.text)];
    for (name, is, value) in names.iter().chain(&[
        ("displayName", Is::Text, provider.only("displayName")?.text.as_str()),
        ("displayShortName", Is::Text, &provider.only("displayShortName")?.text),
    ]) {
        if !is.fits(&Value::Text((*value).to_owned())) {
            return Err(format!("{name} is not as it must be"));
        }
    }
    let mut servers = 0;
    for (kind, name) in [("imap", "incomingServer"), ("smtp", "outgoingServer")] {
        for server in provider.all(name) {
            if server.attribute("type") != kind {
                return Err(format!("another type of {name}"));
            }
            keep(&server.texts()?, SERVER, &[])?;
            servers += 1;
        }
    }
    if provider.children.len() == servers + 3 { Ok(()) } else { Err("nobody knows what else is there".into()) }
}

/// A file and what it must keep.
type Format = (&'static str, fn(&str) -> Result<(), String>);
const FORMATS: [Format; 3] = [
    ("mail.mobileconfig", keeps_apples_rules),
    ("autodiscover.xml", keeps_microsofts_rules),
    ("config-v1.1.xml", keeps_mozillas_rules),
];

/// The text with each of its lines left out, misspelt, or with another value, and what was done.
fn damaged(text: &str) -> impl Iterator<Item = (String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    (1..lines.len()).flat_map(move |at| {
        let line = lines[at];
        let with = |new: &str| {
            let mut lines = lines.clone();
            lines[at] = new;
            lines.join("\n") + "\n"
        };
        let mut all = vec![(format!("without {line}"), with(""))];
        if line.trim().starts_with("<key>") {
            all.push((
                format!("without {line} and its value"),
                with("").replacen(&format!("\n\n{}\n", lines[at + 1]), "\n", 1),
            ));
        }
        if let Some((tag, value)) = line.trim().strip_prefix('<').and_then(|line| line.split_once('>')) {
            let name = tag.split(' ').next().unwrap_or_default();
            let other = line.replace(&format!("<{name}"), &format!("<{name}s"));
            all.push((format!("misspelt {line}"), with(&other.replace(&format!("</{name}"), &format!("</{name}s")))));
            if let Some((value, _)) = value.split_once("</").filter(|(value, _)| !value.is_empty()) {
                all.push((format!("another value of {line}"), with(&line.replace(value, " "))));
            }
            if ["string", "integer", "true/", "false/"].contains(&tag) {
                all.push((format!("another type for {line}"), with("<array></array>")));
            }
        }
        all
    })
}

#[test]
fn each_file_keeps_the_rules_of_its_readers() {
    for (smtp, sends) in [("smtp.example.org", true), ("smtp.example.org:587", true), ("", false)] {
        let mut config = config();
        config.clients.smtp_host = smtp.into();
        let service = Service::of(&config, "example.org").expect("a service");
        for (file, rules) in FORMATS.iter().filter(|(file, _)| sends || *file != "mail.mobileconfig") {
            let text = text(&service, file);
            rules(&text).unwrap_or_else(|error| panic!("{file}: {error}\n{text}"));
        }
    }
}

#[test]
fn whatever_is_missing_or_misspelt_is_found() {
    let service = Service::of(&config(), "example.org").expect("a service");
    // What a reader can do without.
    let optional =
        ["<!DOCTYPE", "PayloadDisplayName", "PayloadRemovalDisallowed", "EmailAccountDescription", "UsePOPAuth"];
    for (file, rules) in FORMATS {
        let mut found = 0;
        for (what, text) in damaged(&text(&service, file)) {
            if what.starts_with("without") && optional.iter().any(|word| what.contains(word)) {
                continue;
            }
            assert!(rules(&text).is_err(), "{file}, {what}:\n{text}");
            found += 1;
        }
        assert!(found > 50, "{file}: {found}");
    }
}

#[test]
fn tls_from_the_first_octet_comes_first_and_clear_text_never() {
    let service = Service::of(&config(), "Example.ORG.").expect("a service");
    assert_eq!(service.domain, "example.org");
    let ports: Vec<(u16, bool)> = service.imap.iter().map(|door| (door.port, door.is_implicit_tls)).collect();
    assert_eq!(ports, [(993, true), (143, false)]);
    let xml = text(&service, "config-v1.1.xml");
    assert!(xml.find(">993<") < xml.find(">143<"), "{xml}");
    let mut clear = config();
    clear.listen.iter_mut().for_each(|listen| listen.security = Security::None);
    assert!(Service::of(&clear, "example.org").is_err());
    assert!(Service::of(&Config::default(), "example.org").is_err_and(|text| text.contains("imap_host")));
    for bad in ["", "example", "exa mple.org", "a..b", "-a.org", "ä.org", "a.org/x"] {
        assert!(Service::of(&config(), bad).is_err(), "{bad}");
    }
}

#[test]
fn every_file_is_well_formed_whatever_the_names() {
    let mut service = Service::of(&config(), "example.org").expect("a service");
    service.name = "Müller & Söhne <\"mail\"> 'x' \u{1}".into();
    service.imap[0].host = "a&b<c>.example.org".into();
    for published in service.files().iter().filter(|published| published.file != "records.zone") {
        assert!(Element::parse(&published.text).is_ok(), "{}:\n{}", published.file, published.text);
        assert!(!published.text.contains('\u{1}'));
    }
    assert!(text(&service, "config-v1.1.xml").contains("Müller &amp; Söhne &lt;&quot;mail&quot;&gt;"));
    for broken in
        ["<a>", "<a></b>", "<a>&</a>", "<a>&x;</a>", "<a>x</a>y", "<a", "<a>x<b/></a>", "<a>></a>", "<a>\u{1}</a>"]
    {
        let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{broken}\n");
        assert!(Element::parse(&xml).is_err(), "{broken}");
    }
}

#[test]
fn records_say_what_is_there_and_what_is_not() {
    let service = Service::of(&config(), "example.org").expect("a service");
    let zone = text(&service, "records.zone");
    for line in [
        "_imaps._tcp.example.org. 3600 IN SRV 0 1 993 imap.example.org.\n",
        "_imap._tcp.example.org. 3600 IN SRV 10 1 143 imap.example.org.\n",
        "_submissions._tcp.example.org. 3600 IN SRV 0 0 0 .\n",
        "_submission._tcp.example.org. 3600 IN SRV 10 1 587 smtp.example.org.\n",
        "_pop3._tcp.example.org. 3600 IN SRV 0 0 0 .\n",
    ] {
        assert!(zone.contains(line), "{line}{zone}");
    }
    // Without a word about sending, nothing is said of it, and no profile is made that could not send.
    let mut config = config();
    config.clients.smtp_host.clear();
    let service = Service::of(&config, "example.org").expect("a service");
    assert!(!text(&service, "records.zone").contains("_submission"));
    assert!(service.files().iter().all(|published| published.file != "mail.mobileconfig"));
}

#[test]
fn a_profile_made_again_is_the_same_profile() {
    let service = Service::of(&config(), "example.org").expect("a service");
    assert_eq!(text(&service, "mail.mobileconfig"), text(&service, "mail.mobileconfig"));
    // Another domain's is another.
    let other = Service::of(&config(), "example.net").expect("a service");
    let uuids = |service: &Service| -> Vec<String> {
        let text = text(service, "mail.mobileconfig");
        text.split("<key>PayloadUUID</key>").skip(1).map(|rest| rest.lines().nth(1).expect("a value").into()).collect()
    };
    assert!(uuids(&service).len() == 2 && uuids(&service).iter().all(|uuid| !uuids(&other).contains(uuid)));
}

#[test]
fn files_are_written_where_asked() {
    let home = tempfile::tempdir().expect("a folder");
    let service = Service::of(&config(), "example.org").expect("a service");
    write(&service.files(), &home.path().join("a/b")).expect("written");
    assert_eq!(std::fs::read_dir(home.path().join("a/b")).expect("there").count(), 4);
}

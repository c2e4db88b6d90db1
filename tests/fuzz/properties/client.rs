//! Commands as a client writes them: the way back from what was read. What cannot be written back has no text here:
//! a pattern of LIST and LSUB is only matched, a bad mailbox name is only a reason.

use pillarbox::types::command::{Authenticate, FlagChange, Login, Select, Store};
use pillarbox::types::{
    Body, Command, Date, DateOf, Fetch, FetchItem, Flag, MailboxArgument, NumSet, PartialRange, Search, SearchKey,
    SearchReturn, Seq, SetBound, StatusItem,
};
use pillarbox::wire::fetch::Items;
use pillarbox::wire::{Dialect, write};

/// The command's line, or `None` where there is no way back.
pub fn written(command: &Command, dialect: Dialect) -> Option<Vec<u8>> {
    let mut line = Line { out: format!("{} ", command.tag).into_bytes(), dialect };
    line.body(&command.body)?;
    Some(line.out)
}

struct Line {
    out: Vec<u8>,
    dialect: Dialect,
}

impl Line {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn word(&mut self, is_uid: bool, word: &str) {
        self.text(if is_uid { "UID " } else { "" });
        self.text(word);
    }

    fn name(&mut self, mailbox: &MailboxArgument) -> Option<()> {
        self.text(" ");
        write::mailbox(&mut self.out, mailbox.as_ref().ok()?, self.dialect);
        Some(())
    }

    fn set(&mut self, set: &NumSet) {
        let bound = |bound: &SetBound| match bound {
            SetBound::Number(n) => n.to_string(),
            SetBound::Star => "*".to_owned(),
        };
        match set {
            NumSet::Saved => self.text(" $"),
            NumSet::Ranges(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(|(a, b)| format!("{}:{}", bound(a), bound(b))).collect();
                self.text(&format!(" {}", ranges.join(",")));
            }
        }
    }

    fn list<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Line, &T)) {
        self.text("(");
        for (at, item) in items.iter().enumerate() {
            self.text(if at > 0 { " " } else { "" });
            one(self, item);
        }
        self.text(")");
    }

    fn flags(&mut self, flags: &[Flag]) {
        self.list(flags, |line, flag| line.text(flag.wire()));
    }

    fn with_name(&mut self, word: &str, mailbox: &MailboxArgument) -> Option<()> {
        self.text(word);
        self.name(mailbox)
    }

    /// The same as it was spelt, where that is another spelling than the one it is kept in.
    fn with_spelling(&mut self, word: &str, mailbox: &MailboxArgument, spelt: Option<&str>) -> Option<()> {
        let Some(spelt) = spelt else { return self.with_name(word, mailbox) };
        self.text(word);
        self.text(" ");
        write::astring(&mut self.out, spelt.as_bytes());
        Some(())
    }

    fn body(&mut self, body: &Body) -> Option<()> {
        match body {
            Body::Capability => self.text("CAPABILITY"),
            Body::Noop => self.text("NOOP"),
            Body::Logout => self.text("LOGOUT"),
            Body::StartTls => self.text("STARTTLS"),
            Body::Namespace => self.text("NAMESPACE"),
            Body::Idle => self.text("IDLE"),
            Body::Check => self.text("CHECK"),
            Body::Close => self.text("CLOSE"),
            Body::Unselect => self.text("UNSELECT"),
            Body::Expunge => self.text("EXPUNGE"),
            Body::Enable(names) => self.text(&format!("ENABLE {}", names.join(" "))),
            Body::Id(pairs) => {
                // Octets that were no text were replaced by longer ones, which may be more than ID takes.
                let was_replaced = |text: &String| text.contains('\u{fffd}');
                if pairs.iter().any(|(field, value)| was_replaced(field) || value.as_ref().is_some_and(was_replaced)) {
                    return None;
                }
                self.text("ID ");
                self.list(pairs, |line, (field, value)| {
                    write::string(&mut line.out, field.as_bytes());
                    line.text(" ");
                    write::nstring(&mut line.out, value.as_ref().map(String::as_bytes));
                });
            }
            Body::Login(Login { user, password }) => {
                self.text("LOGIN ");
                write::astring(&mut self.out, user);
                self.text(" ");
                write::astring(&mut self.out, password.reveal());
            }
            Body::Authenticate(Authenticate { mechanism, initial_response }) => {
                self.text(&format!("AUTHENTICATE {mechanism}"));
                if let Some(response) = initial_response {
                    self.text(if response.reveal().is_empty() { " =" } else { " " });
                    self.out.extend_from_slice(response.reveal());
                }
            }
            Body::Select(select) => self.select("SELECT", select)?,
            Body::Examine(select) => self.select("EXAMINE", select)?,
            Body::Delete(delete) => self.with_spelling("DELETE", &delete.mailbox, delete.spelt.as_deref())?,
            Body::Subscribe(mailbox) => self.with_name("SUBSCRIBE", mailbox)?,
            Body::Unsubscribe(mailbox) => self.with_name("UNSUBSCRIBE", mailbox)?,
            Body::Create(create) if create.uses.is_empty() => {
                self.with_spelling("CREATE", &create.mailbox, create.spelt.as_deref())?;
            }
            // Which of the two names was spelt otherwise is not kept.
            Body::Rename(rename) if rename.spelt.is_none() => {
                self.with_name("RENAME", &rename.from)?;
                self.name(&rename.to)?;
            }
            Body::Status(status) => {
                self.with_name("STATUS", &status.mailbox)?;
                self.text(" ");
                self.list(&status.items, |line, item: &StatusItem| line.text(item.wire()));
            }
            Body::UidExpunge(set) => {
                self.text("UID EXPUNGE");
                self.set(set);
            }
            Body::Copy(copy) => {
                self.word(copy.uid, "COPY");
                self.set(&copy.set);
                self.name(&copy.mailbox)?;
            }
            Body::Move(copy) => {
                self.word(copy.uid, "MOVE");
                self.set(&copy.set);
                self.name(&copy.mailbox)?;
            }
            Body::Store(store) => self.store(store),
            Body::Fetch(fetch) => self.fetch(fetch)?,
            Body::Search(search) => self.search(search)?,
            // The tests in src/wire/round_trip write and read these.
            _ => return None,
        }
        Some(())
    }

    fn select(&mut self, word: &str, select: &Select) -> Option<()> {
        self.with_spelling(word, &select.mailbox, select.spelt.as_deref())?;
        let mut parameters = Vec::new();
        parameters.extend(select.condstore.then(|| "CONDSTORE".to_owned()));
        if let Some(known) = &select.qresync {
            let uids = known.known_uids.as_ref().map_or(String::new(), |uids| format!(" {}", uids.wire()));
            let pairs = known.known_pairs.as_ref();
            let pairs = pairs.map_or(String::new(), |(seqs, uids)| format!(" ({} {})", seqs.wire(), uids.wire()));
            parameters.push(format!("QRESYNC ({} {}{uids}{pairs})", known.uid_validity, known.mod_seq));
        }
        if !parameters.is_empty() {
            self.text(&format!(" ({})", parameters.join(" ")));
        }
        Some(())
    }

    fn store(&mut self, store: &Store) {
        self.word(store.uid, "STORE");
        self.set(&store.set);
        if let Some(since) = store.unchanged_since {
            self.text(&format!(" (UNCHANGEDSINCE {since})"));
        }
        self.text(match store.change {
            FlagChange::Replace => " FLAGS",
            FlagChange::Add => " +FLAGS",
            FlagChange::Remove => " -FLAGS",
        });
        self.text(if store.silent { ".SILENT " } else { " " });
        self.flags(&store.flags);
    }

    fn fetch(&mut self, fetch: &Fetch) -> Option<()> {
        self.word(fetch.uid, "FETCH");
        self.set(&fetch.set);
        let items: Option<Vec<Vec<u8>>> = fetch.items.iter().map(fetch_item).collect();
        self.text(" ");
        self.list(&items?, |line, item| line.out.extend_from_slice(item));
        let mut modifiers = Vec::new();
        modifiers.extend(fetch.changed_since.map(|since| format!("CHANGEDSINCE {since}")));
        modifiers.extend(fetch.vanished.then(|| "VANISHED".to_owned()));
        modifiers.extend(fetch.partial.map(|range| format!("PARTIAL {}", partial(range))));
        if !modifiers.is_empty() {
            self.text(&format!(" ({})", modifiers.join(" ")));
        }
        Some(())
    }

    fn search(&mut self, search: &Search) -> Option<()> {
        self.word(search.uid, "SEARCH ");
        if let Some(asked) = search.returns {
            let SearchReturn { min, max, all, count, save, partial: slice } = asked;
            let words = [(min, "MIN"), (max, "MAX"), (all, "ALL"), (count, "COUNT"), (save, "SAVE")];
            let mut words: Vec<String> =
                words.iter().filter(|(is_asked, _)| *is_asked).map(|(_, word)| word.to_string()).collect();
            words.extend(slice.map(|range| format!("PARTIAL {}", partial(range))));
            self.text(&format!("RETURN ({}) ", words.join(" ")));
        }
        if let Some(charset) = &search.charset {
            self.text("CHARSET ");
            write::astring(&mut self.out, charset.as_bytes());
            self.text(" ");
        }
        self.key(&search.key)
    }

    fn key(&mut self, key: &SearchKey) -> Option<()> {
        let of = |of: &DateOf| match of {
            DateOf::Arrival => "",
            DateOf::Sent => "SENT",
            DateOf::Saved => "SAVED",
        };
        match key {
            SearchKey::All => self.text("ALL"),
            SearchKey::And(keys) => self.keys("(", keys, ")")?,
            SearchKey::Or(keys) => self.keys(&"OR ".repeat(keys.len() - 1), keys, "")?,
            SearchKey::Not(inner) => {
                self.text("NOT ");
                self.key(inner)?;
            }
            SearchKey::Numbers(set) => {
                self.set(set);
                // The set brings the space that stands in front of it already.
                let space = self.out.iter().rposition(|b| *b == b' ')?;
                self.out.remove(space);
            }
            SearchKey::Uids(set) => {
                self.text("UID");
                self.set(set);
            }
            SearchKey::Flag(flag) => self.text(&flag.wire()[1..]),
            SearchKey::Keyword(keyword) => self.text(&format!("KEYWORD {keyword}")),
            SearchKey::Recent => self.text("RECENT"),
            SearchKey::Before(which, day) => self.text(&format!("{}BEFORE {}", of(which), date_text(*day))),
            SearchKey::On(which, day) => self.text(&format!("{}ON {}", of(which), date_text(*day))),
            SearchKey::Since(which, day) => self.text(&format!("{}SINCE \"{}\"", of(which), date_text(*day))),
            SearchKey::Larger(octets) => self.text(&format!("LARGER {octets}")),
            SearchKey::Smaller(octets) => self.text(&format!("SMALLER {octets}")),
            SearchKey::Older(seconds) => self.text(&format!("OLDER {seconds}")),
            SearchKey::Younger(seconds) => self.text(&format!("YOUNGER {seconds}")),
            SearchKey::ModSeq(mod_seq) => self.text(&format!("MODSEQ {mod_seq}")),
            SearchKey::Bcc(value) => self.string("BCC", value),
            SearchKey::Cc(value) => self.string("CC", value),
            SearchKey::From(value) => self.string("FROM", value),
            SearchKey::To(value) => self.string("TO", value),
            SearchKey::Subject(value) => self.string("SUBJECT", value),
            SearchKey::Body(value) => self.string("BODY", value),
            SearchKey::Text(value) => self.string("TEXT", value),
            SearchKey::Header { name, value } => {
                self.string("HEADER", name);
                self.text(" ");
                write::string(&mut self.out, value);
            }
            _ => return None,
        }
        Some(())
    }

    fn keys(&mut self, front: &str, keys: &[SearchKey], back: &str) -> Option<()> {
        self.text(front);
        for (at, key) in keys.iter().enumerate() {
            self.text(if at > 0 { " " } else { "" });
            self.key(key)?;
        }
        self.text(back);
        Some(())
    }

    fn string(&mut self, word: &str, value: &[u8]) {
        self.text(word);
        self.text(" ");
        write::astring(&mut self.out, value);
    }
}

fn fetch_item(item: &FetchItem) -> Option<Vec<u8>> {
    let plain = match item {
        FetchItem::Uid => "UID",
        FetchItem::Flags => "FLAGS",
        FetchItem::InternalDate => "INTERNALDATE",
        FetchItem::Rfc822Size => "RFC822.SIZE",
        FetchItem::Envelope => "ENVELOPE",
        FetchItem::Body => "BODY",
        FetchItem::BodyStructure => "BODYSTRUCTURE",
        FetchItem::ModSeq => "MODSEQ",
        FetchItem::Rfc822 => "RFC822",
        FetchItem::Rfc822Header => "RFC822.HEADER",
        FetchItem::Rfc822Text => "RFC822.TEXT",
        FetchItem::Section { section, peek, partial } => {
            // The name that an answer repeats, without the space behind it.
            let mut answer = Vec::new();
            let mut items = Items::open(&mut answer, Seq(1));
            let begin = answer.len();
            items.section(&mut answer, section, None);
            let name = answer[begin..answer.len() - 1].to_vec();
            let mut name = if *peek { [b"BODY.PEEK", &name[4..]].concat() } else { name };
            if let Some((first, count)) = partial {
                name.extend_from_slice(format!("<{first}.{count}>").as_bytes());
            }
            return Some(name);
        }
        _ => return None,
    };
    Some(plain.as_bytes().to_vec())
}

fn partial(range: PartialRange) -> String {
    let sign = if range.from_last { "-" } else { "" };
    format!("{sign}{}:{sign}{}", range.first, range.second)
}

fn date_text(date: Date) -> String {
    const MONTHS: [&str; 12] = ["jan", "FEB", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    format!("{}-{}-{:04}", date.day(), MONTHS[usize::from(date.month()) - 1], date.year())
}

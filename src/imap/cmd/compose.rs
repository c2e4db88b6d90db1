//! What an APPEND has gathered so far: where the messages go, those that are whole, and the one that is being put
//! together from literals and from stored parts (RFC 4469).

use std::sync::Arc;

use crate::imap::answer::{Stop, bad, missing_target, no};
use crate::imap::dispatch::within_keywords;
use crate::imap::message_limit::MessageLimit;
use crate::imap::session::{Arriving, Session, State};
use crate::mailstore::{Account, Draft, Error, NewMessage, Piece, Row, View, Wanted, WantedSection};
use crate::message::Retelling;
use crate::types::url::{UrlMailbox, UrlMessage, UrlPlace};
use crate::types::{AppendItem, AppendMessage, AppendTarget, Code, MailboxName, NumSet, UidRuns};
use crate::wire::url;

/// Where the messages go.
pub struct Aim {
    pub account: Account,
    pub mailbox: MailboxName,
    /// The name as it was written, where the client is to be told another.
    pub spelt: Option<Box<str>>,
    /// REPLACE: the message of the selected mailbox that the new one takes the place of.
    pub replaced: Option<Replaced>,
}

/// A message that goes when the new one has come.
pub struct Replaced {
    pub uid: u32,
    /// Its octets.
    pub octets: u64,
}

/// See the file's head.
#[derive(Default)]
pub struct Batch {
    aim: Option<Aim>,
    is_replace: bool,
    messages: Vec<NewMessage>,
    current: Option<Current>,
    /// Octets of all messages so far, those announced included.
    octets: u64,
}

/// A message that is not whole yet.
struct Current {
    message: AppendMessage,
    /// Lent out while a literal streams into it. An error is kept until what has to be read was read.
    draft: Option<Result<Draft, Error>>,
    octets: u64,
    /// A literal8 or a stored part was among its parts, which may carry NUL.
    may_have_nul: bool,
}

impl Batch {
    /// The command's word.
    pub fn word(&self) -> &'static str {
        if self.is_replace { "REPLACE" } else { "APPEND" }
    }

    /// Decides where the messages go, and whether anything may.
    pub async fn aim(&mut self, session: &mut Session, target: AppendTarget) -> Result<(), Stop> {
        self.is_replace = target.replaced.is_some();
        let account = match &session.state {
            State::Authenticated(account) | State::Selected(account, _) => account.clone(),
            State::NotAuthenticated => return Err(bad("APPEND is not possible before logging in")),
        };
        let replaced = match target.replaced {
            None => None,
            Some(replaced) => {
                let State::Selected(_, selection) = &session.state else {
                    return Err(bad("REPLACE needs a selected mailbox"));
                };
                selection.writable()?;
                selection.present()?;
                let set = NumSet::Ranges(vec![(replaced.number, replaced.number)]);
                session.counts_by(replaced.uid)?;
                let found = selection.resolve(&set, replaced.uid)?;
                let uid = found.first().ok_or_else(|| no(Code::NonExistent, "there is no such message to replace"))?;
                let mut octets = 0;
                for (span, piece) in selection.view.by_span(&found) {
                    octets +=
                        selection.view.rows(span, &piece).await?.iter().map(|row| u64::from(row.size)).sum::<u64>();
                }
                Some(Replaced { uid, octets })
            }
        };
        let mailbox = target.mailbox.map_err(|bad| no(Code::Cannot, bad.to_string()))?;
        account.find(&mailbox).map_err(missing_target)?;
        self.aim = Some(Aim { account, mailbox, spelt: target.spelt, replaced });
        Ok(())
    }

    /// Does what an item says. Octets are only admitted here: `arriving` was announced for them.
    pub async fn take(
        &mut self,
        session: &mut Session,
        item: AppendItem,
        arriving: Option<&Arriving>,
    ) -> Result<(), Stop> {
        match item {
            AppendItem::Message(message) => self.begin(session, message),
            AppendItem::Url(text) => self.add_stored(session, &text).await,
            AppendItem::Octets { utf8 } => match arriving {
                Some(arriving) => self.admit(session, arriving, utf8),
                None => Err(bad("expected a literal")),
            },
            AppendItem::MessageEnd => self.end(session).await,
        }
    }

    fn begin(&mut self, session: &Session, message: AppendMessage) -> Result<(), Stop> {
        let config = session.host.config.load();
        let limits = &config.limits;
        within_keywords(message.flags.len(), limits.keywords_per_mailbox)?;
        if self.messages.len() >= limits.append_messages {
            let most = limits.append_messages;
            return Err(no(Code::Limit, format!("one APPEND may bring {most} messages at most")));
        }
        MessageLimit::from(&config.protocol).whole_save(self.messages.len() as u64 + 1)?;
        if session.host.store.is_disk_low() {
            return Err(no(Code::Unavailable, "the mail store's disk is full"));
        }
        let draft = self.aim.as_ref().map(|aim| Ok(aim.account.draft()));
        self.current = Some(Current { message, draft, octets: 0, may_have_nul: false });
        Ok(())
    }

    /// What can be refused before a single octet was sent.
    fn admit(&mut self, session: &Session, arriving: &Arriving, utf8: bool) -> Result<(), Stop> {
        if utf8 && !session.enabled.utf8 {
            return Err(bad("UTF8 needs UTF8=ACCEPT to be enabled first"));
        }
        if utf8 && !arriving.is_binary {
            return Err(bad("expected a literal with ~ in UTF8"));
        }
        self.grow(session, arriving.octets)?;
        if let Some(current) = &mut self.current {
            current.may_have_nul |= arriving.is_binary;
            if arriving.octets == 0 && !current.message.is_catenated {
                return Err(no(Code::Cannot, "a message of no octets cannot be stored"));
            }
        }
        Ok(())
    }

    /// Counts octets that are to come, within every limit.
    fn grow(&mut self, session: &Session, octets: u64) -> Result<(), Stop> {
        let config = session.host.config.load();
        let limits = &config.limits;
        let Some(current) = &mut self.current else { return Err(bad("expected a message")) };
        current.octets = current.octets.saturating_add(octets);
        self.octets = self.octets.saturating_add(octets);
        if current.octets > limits.message_bytes {
            return Err(no(Code::TooBig, format!("a message may have {} octets at most", limits.message_bytes)));
        }
        if self.octets > limits.append_bytes {
            return Err(no(Code::Limit, format!("one APPEND may bring {} octets at most", limits.append_bytes)));
        }
        if let Some(aim) = &self.aim {
            // RFC 8508 §3.4: what is replaced makes room for what replaces it.
            let (freed, messages) = aim.replaced.as_ref().map_or((0, 1), |replaced| (replaced.octets, 0));
            aim.account.room_for(self.octets.saturating_sub(freed), self.messages.len() as u64 + messages)?;
        }
        Ok(())
    }

    /// Lends the draft for a literal to stream into.
    pub fn draft(&mut self) -> Result<Draft, Stop> {
        match self.current.as_mut().and_then(|current| current.draft.take()) {
            Some(Ok(draft)) => Ok(draft),
            // `check_received` has ended the command before this could be.
            Some(Err(_)) | None => Err(Stop::Gone),
        }
    }

    /// Takes the draft back.
    pub fn received(&mut self, draft: Result<Draft, Error>) {
        if let Some(current) = &mut self.current {
            current.draft = Some(draft);
        }
    }

    /// Refuses to go on when the store could not take what came.
    pub fn check_received(&mut self) -> Result<(), Stop> {
        if let Some(Current { draft: Some(Err(error)), .. }) = &self.current {
            return Err(error.clone().into());
        }
        Ok(())
    }

    async fn end(&mut self, session: &mut Session) -> Result<(), Stop> {
        let Some(current) = self.current.take() else { return Err(bad("expected a message")) };
        let Some(draft) = current.draft else { return Err(Stop::Gone) };
        let prepared = draft?.finish().await?;
        if prepared.size() == 0 {
            return Err(no(Code::Cannot, "a message of no octets cannot be stored"));
        }
        if prepared.description().has_nul && !current.may_have_nul {
            // RFC 3501 §9: CHAR8 is any octet but NUL.
            return Err(no(Code::Cannot, "the message has NUL octets, which only a binary literal may carry"));
        }
        let is_strict = session.host.config.load().mail.strict_8bit_headers && !session.enabled.utf8;
        if is_strict && prepared.description().has_8bit_header {
            // RFC 9755 §4
            return Err(no(Code::Cannot, "a header has 8-bit characters, and UTF8=ACCEPT is not enabled"));
        }
        let flags = current.message.flags.iter().cloned().collect();
        self.messages.push(NewMessage { prepared, flags, internal_date: current.message.date });
        Ok(())
    }

    /// All of it, to be placed.
    pub fn finish(self) -> Result<(Aim, Vec<NewMessage>), Stop> {
        match self.aim {
            Some(aim) if !self.messages.is_empty() => Ok((aim, self.messages)),
            _ => Err(bad("expected a message")),
        }
    }

    /// Adds what a URL names to the message (RFC 4469 §3).
    async fn add_stored(&mut self, session: &mut Session, text: &str) -> Result<(), Stop> {
        let bad_url = |why: &str| no(Code::BadUrl(text.to_string()), why);
        let parsed = url::parse(text.as_bytes()).map_err(|garbled| bad_url(&garbled.to_string()))?;
        let (mailbox, message) = match parsed.place {
            UrlPlace::Message { mailbox, message } if parsed.server.is_none() => (mailbox, message),
            _ => return Err(bad_url("only messages of this account, by URLs that begin with /, can be taken")),
        };
        if message.authorization.is_some() {
            return Err(bad_url("an authorized URL cannot be taken here"));
        }
        let part = stored_part(self.account()?, &mailbox, &message).await?;
        let Some(StoredPart { view, row, octets: page, piece, retelling }) = part else {
            return Err(bad_url("there is no such message or part"));
        };
        let octets = match &piece {
            Piece::Octets(range) => range.len() as u64,
            Piece::Stream { octets, .. } => *octets,
            Piece::Missing => return Err(bad_url("the message has no such part")),
        };
        self.grow(session, octets)?;
        let mut draft = self.draft()?;
        match piece {
            Piece::Octets(range) => draft.write(&page[range]).await?,
            Piece::Stream { offset, octets } => {
                let mut stream = view.stream_told(&row, retelling.as_deref(), offset, octets);
                while let Some(some) = stream.next().await? {
                    draft.write(&some).await?;
                }
            }
            Piece::Missing => {}
        }
        self.received(Ok(draft));
        if let Some(current) = &mut self.current {
            current.may_have_nul = true;
        }
        Ok(())
    }

    fn account(&self) -> Result<&Account, Stop> {
        self.aim.as_ref().map(|aim| &aim.account).ok_or_else(|| bad("expected a mailbox"))
    }
}

/// What a URL names.
struct StoredPart {
    view: View,
    row: Row,
    /// Of the page that `piece` is a part of.
    octets: Vec<u8>,
    piece: Piece,
    retelling: Option<Arc<Retelling>>,
}

/// The octets a URL names; `None` when there are none.
async fn stored_part(
    account: &Account,
    mailbox: &UrlMailbox,
    message: &UrlMessage,
) -> Result<Option<StoredPart>, Stop> {
    let view = match account.open(&mailbox.name, true).await {
        Ok(view) => view,
        Err(Error::NoSuchMailbox | Error::NotSelectable) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if mailbox.uid_validity.is_some_and(|validity| validity != view.uid_validity()) {
        return Ok(None);
    }
    let uid = view.membership().select(&UidRuns::one(message.uid.0));
    let Some((span, piece)) = view.by_span(&uid).into_iter().next() else { return Ok(None) };
    let Some(row) = view.rows(span, &piece).await?.first().copied() else { return Ok(None) };
    let section = WantedSection {
        path: message.section.path.clone(),
        text: message.section.text.clone(),
        partial: message.partial.map(|(from, most)| (from, most.unwrap_or(u64::MAX))),
    };
    // RFC 4469 §3: "as if the literal returned in a FETCH BODY response were put in place": the client writes the header
    // of the new part, and knows only how the old one is told.
    let wanted = Wanted { sections: vec![section], keeps_nul: true, retells: true, ..Wanted::default() };
    let page = view.page([row].into(), 0, wanted.into()).await?;
    let Some(found) = page.rows.first() else { return Ok(None) };
    let Some(piece) = found.sections.first().cloned() else { return Ok(None) };
    Ok(Some(StoredPart { view, row, piece, retelling: found.retelling.clone(), octets: page.octets }))
}

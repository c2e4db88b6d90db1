//! What is there: a whole account read over IMAP, every flag and every byte, in the ledger's own terms.
//! While reading, the numbers the server tells twice (STATUS, FETCH, SELECT) are held against each other.

use crate::client::{Answer, Client, Token, Verdict};
use crate::ledger::{Digest, Flags, Mailbox, Mailboxes, Message};

/// Every selectable mailbox of the account this client is signed in to.
pub fn read(client: &mut Client) -> Result<Mailboxes, String> {
    let listed = ask(client, "LIST \"\" *")?;
    let mut found = Mailboxes::new();
    for line in listed.lines("LIST") {
        let [_, attributes, delimiter, name, ..] = line else { return Err(format!("odd LIST line {line:?}")) };
        let name = name.word().ok_or("a mailbox name that is a list")?.to_owned();
        let is_selectable = !attributes
            .list()
            .is_some_and(|list| list.iter().any(|word| word.is_word("\\Noselect") || word.is_word("\\NonExistent")));
        if delimiter.word() != Some("/") {
            return Err(format!("this test counts on the delimiter /, {name} has {delimiter:?}"));
        }
        if is_selectable {
            let mailbox = read_mailbox(client, &name).map_err(|text| format!("{name}: {text}"))?;
            found.insert(name, mailbox);
        }
    }
    Ok(found)
}

/// The part of a picture that belongs to one writer: its root and all below it.
pub fn below(picture: &Mailboxes, root: &str) -> Mailboxes {
    let prefix = format!("{root}/");
    picture
        .iter()
        .filter(|(name, _)| *name == root || name.starts_with(&prefix))
        .map(|(name, mailbox)| (name.clone(), mailbox.clone()))
        .collect()
}

pub fn ask(client: &mut Client, text: &str) -> Result<Answer, String> {
    let answer = client.command(text).map_err(|error| format!("{text}: {error}"))?;
    match answer.verdict {
        Verdict::Ok => Ok(answer),
        verdict => Err(format!("{text} was answered {verdict:?} {}", answer.text)),
    }
}

/// STATUS of one mailbox, without its messages.
pub fn status(client: &mut Client, name: &str) -> Result<(Mailbox, u64, u64), String> {
    let modseq = if client.offers("CONDSTORE") { " HIGHESTMODSEQ" } else { "" };
    let answer = ask(client, &format!("STATUS \"{name}\" (MESSAGES UNSEEN UIDNEXT UIDVALIDITY{modseq})"))?;
    let line = answer.lines("STATUS").next().ok_or("STATUS told nothing")?;
    let items = line.get(2).and_then(Token::list).ok_or("STATUS without its list")?;
    let value = |wanted: &str| pair(items, wanted).and_then(Token::number).unwrap_or(0);
    let mailbox = Mailbox {
        validity: value("UIDVALIDITY") as u32,
        uid_next: value("UIDNEXT") as u32,
        modseq: value("HIGHESTMODSEQ"),
        messages: Default::default(),
    };
    Ok((mailbox, value("MESSAGES"), value("UNSEEN")))
}

fn read_mailbox(client: &mut Client, name: &str) -> Result<Mailbox, String> {
    let (mut mailbox, messages, unseen) = status(client, name)?;
    let examined = ask(client, &format!("EXAMINE \"{name}\""))?;
    let exists = examined.lines("EXISTS").next().and_then(|line| line.first()?.number());
    if exists != Some(messages) {
        return Err(format!("STATUS counts {messages} messages, EXAMINE {exists:?}"));
    }
    if messages > 0 {
        let modseq = if client.offers("CONDSTORE") { "MODSEQ " } else { "" };
        let answer = ask(client, &format!("UID FETCH 1:* (UID FLAGS RFC822.SIZE {modseq}BODY.PEEK[])"))?;
        for line in answer.lines("FETCH") {
            let (uid, message) = fetched(line)?;
            if uid >= mailbox.uid_next || message.modseq > mailbox.modseq.max(1) {
                return Err(format!(
                    "UID {uid} MODSEQ {} above {} {}",
                    message.modseq, mailbox.uid_next, mailbox.modseq
                ));
            }
            if mailbox.messages.insert(uid, message).is_some() {
                return Err(format!("UID {uid} came twice"));
            }
        }
    }
    let seen = mailbox.messages.values().filter(|message| message.flags.contains("\\seen")).count() as u64;
    if (mailbox.messages.len() as u64, seen + unseen) != (messages, messages) {
        let fetched = mailbox.messages.len();
        return Err(format!("STATUS counts {messages} with {unseen} unseen; FETCH {fetched} with {seen} seen"));
    }
    Ok(mailbox)
}

fn fetched(line: &[Token]) -> Result<(u32, Message), String> {
    let items = line.get(2).and_then(Token::list).ok_or("FETCH without its list")?;
    let uid = pair(items, "UID").and_then(Token::number).ok_or("FETCH without UID")? as u32;
    let body = match pair(items, "BODY[]") {
        Some(Token::Text(bytes)) => bytes,
        other => return Err(format!("UID {uid}: no body but {other:?}")),
    };
    let size = pair(items, "RFC822.SIZE").and_then(Token::number);
    if size != Some(body.len() as u64) {
        return Err(format!("UID {uid}: RFC822.SIZE {size:?} of {} bytes", body.len()));
    }
    let flags = flags_in(items).ok_or_else(|| format!("UID {uid}: no FLAGS"))?;
    Ok((uid, Message { body: Digest::of(body), flags, modseq: modseq_in(items) }))
}

/// The value that follows `wanted` in a list of names and values.
pub fn pair<'a>(items: &'a [Token], wanted: &str) -> Option<&'a Token> {
    items.chunks(2).find(|pair| pair[0].is_word(wanted)).and_then(|pair| pair.get(1))
}

pub fn flags_in(items: &[Token]) -> Option<Flags> {
    let list = pair(items, "FLAGS")?.list()?;
    Some(list.iter().filter_map(Token::word).map(str::to_ascii_lowercase).filter(|flag| flag != "\\recent").collect())
}

/// MODSEQ of one message, 0 when it was not told.
pub fn modseq_in(items: &[Token]) -> u64 {
    pair(items, "MODSEQ").and_then(Token::list).and_then(|list| list.first()?.number()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tokens;

    #[test]
    fn a_message_is_read_with_its_flags_and_modseq() {
        let line = tokens(b"1 FETCH (UID 4 FLAGS (\\Seen \\Recent) RFC822.SIZE 3 MODSEQ (12) BODY[] {3}\r\nabc)");
        let (uid, message) = fetched(&line.expect("tokens")).expect("fetched");
        assert_eq!((uid, message.modseq, message.body), (4, 12, Digest::of(b"abc")));
        assert_eq!(message.flags.into_iter().collect::<Vec<_>>(), ["\\seen"]);
        let short = tokens(b"1 FETCH (UID 4 FLAGS () RFC822.SIZE 9 BODY[] {3}\r\nabc)").expect("tokens");
        assert!(fetched(&short).is_err());
    }
}

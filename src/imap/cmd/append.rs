//! APPEND (RFC 3501 §6.3.11): everything is checked before the client is invited to send; the message streams
//! into a draft and is placed when the command is whole.

use crate::imap::answer::{Answer, Done, Stop, bad, missing_target, no, write_answer};
use crate::imap::session::{Arriving, Session, State};
use crate::imap::updates::{Manner, tell};
use crate::mailstore::{Account, Draft, Error, NewMessage};
use crate::types::{AppendHead, AppendMessage, Code, MailboxName};
use crate::wire::append::{parse_end, parse_head};
use crate::wire::response::write_continuation;
use crate::wire::{Dialect, Event};

/// Takes over from the announcement of the message's literal to the end of the command.
pub async fn append(session: &mut Session, arriving: Arriving) -> Result<(), Stop> {
    let head = match parse_head(arriving.append_head.as_deref().unwrap_or_default(), Dialect::default()) {
        Ok(head) => head,
        Err(garbled) => {
            let stop = bad(garbled.to_string());
            return session.refuse_literal(&arriving, garbled.tag.as_deref(), "APPEND", stop);
        }
    };
    let (account, name) = match admit(session, &head, &arriving) {
        Ok(admitted) => admitted,
        Err(stop) => return session.refuse_literal(&arriving, Some(&head.tag), "APPEND", stop),
    };
    if !arriving.non_sync {
        write_continuation(&mut session.channel.out, "send the message");
    }
    session.channel.framer.stream();
    let received = receive(session, account.draft()).await?;
    let rest = rest_of_command(session, &head.message).await?;
    let answer = match (received, rest) {
        (_, Err(garbled)) => Err(garbled),
        (Err(error), _) => Err(error.into()),
        (Ok(draft), Ok(())) => place(&account, &name, draft, head.message).await,
    };
    // The new message is told before the tagged line, if it is in the selected mailbox.
    if let State::Selected(_, selection) = &mut session.state {
        tell(selection, &mut session.channel.out, Manner::default()).await?;
    }
    write_answer(&mut session.channel.out, &head.tag, "APPEND", &answer);
    Ok(())
}

/// What can be refused before a single octet of the message was sent.
fn admit(session: &Session, head: &AppendHead, arriving: &Arriving) -> Result<(Account, MailboxName), Stop> {
    let account = match &session.state {
        State::Authenticated(account) | State::Selected(account, _) => account,
        State::NotAuthenticated => return Err(bad("APPEND is not possible before logging in")),
    };
    if arriving.is_binary || head.message.utf8 {
        return Err(bad("expected a literal without ~; BINARY and UTF8 are not offered"));
    }
    let name = head.mailbox.clone().map_err(|bad| no(Code::Cannot, bad.to_string()))?;
    account.find(&name).map_err(missing_target)?;
    let most = session.host.config.load().limits.message_bytes;
    if arriving.octets > most {
        return Err(no(Code::TooBig, format!("a message may have {most} octets at most")));
    }
    if arriving.octets == 0 {
        return Err(no(Code::Cannot, "a message of no octets cannot be stored"));
    }
    if session.host.store.is_disk_low() {
        return Err(no(Code::Unavailable, "the mail store's disk is full"));
    }
    Ok((account.clone(), name))
}

/// Streams the literal into the draft. After an error of the store the rest is still read, so that the
/// session stays in step.
async fn receive(session: &mut Session, draft: Draft) -> Result<Result<Draft, Error>, Stop> {
    let mut draft = Ok(draft);
    loop {
        match session.channel.framer.next() {
            Event::Piece(piece) => {
                if let Ok(taking) = &mut draft
                    && let Err(error) = taking.write(piece).await
                {
                    draft = Err(error);
                }
            }
            Event::LiteralEnd => return Ok(draft),
            Event::NeedMore => {
                session.channel.flush().await?;
                session.wait().await?;
            }
            // While a literal streams the framer gives nothing else.
            _ => return Err(Stop::Gone),
        }
    }
}

/// Reads what stands behind the literal: nothing is right.
async fn rest_of_command(session: &mut Session, message: &AppendMessage) -> Result<Result<(), Stop>, Stop> {
    loop {
        match session.channel.framer.next() {
            Event::Line(rest) => return Ok(parse_end(rest, message).map_err(|garbled| bad(garbled.to_string()))),
            Event::NeedMore => {
                session.channel.flush().await?;
                session.wait().await?;
            }
            Event::Literal(_) => {
                session.channel.framer.refuse();
                return Ok(Err(bad("expected the end of the command; MULTIAPPEND is not offered")));
            }
            Event::TooLong(_) | Event::BadLiteral { .. } | Event::Piece(_) | Event::LiteralEnd => {
                return Ok(Err(bad("expected the end of the command")));
            }
        }
    }
}

async fn place(account: &Account, name: &MailboxName, draft: Draft, message: AppendMessage) -> Answer {
    let prepared = draft.finish().await?;
    if prepared.description().has_nul {
        // RFC 3501 §9: CHAR8 is any octet but NUL.
        return Err(no(Code::Cannot, "the message has NUL octets, which only a binary literal may carry"));
    }
    let flags = message.flags.into_iter().collect();
    let new = NewMessage { prepared, flags, internal_date: message.date };
    let placed = account.place(name, vec![new]).await.map_err(missing_target)?;
    Ok(Done::with_code(Code::AppendUid { uid_validity: placed.uid_validity, uids: placed.uids }))
}

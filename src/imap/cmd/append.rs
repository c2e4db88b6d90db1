//! APPEND and REPLACE (RFC 3501 §6.3.11, RFC 3502, RFC 3516, RFC 4469, RFC 8508): everything is checked before the
//! client is invited to send; octets stream into a draft, and all is placed when the command is whole, or nothing.

use super::compose::Batch;
use super::mailbox::tell_spelling;
use crate::imap::answer::{Answer, Done, Stop, bad, missing_target, no, write_answer, write_condition};
use crate::imap::notifier::Moment;
use crate::imap::progress::waiting;
use crate::imap::session::{Arriving, Session, State};
use crate::mailstore::{Draft, Error};
use crate::types::{Append, Code, Condition};
use crate::wire::append::Next;
use crate::wire::response::write_continuation;
use crate::wire::{Announced, AppendParser, Ending, Event};

/// Takes over from the announcement of the first literal to the end of the command.
pub async fn append(session: &mut Session, arriving: Arriving) -> Result<(), Stop> {
    let begun = session.begin_command("APPEND");
    let mut parser = AppendParser::new(session.dialect());
    let mut batch = Batch::default();
    let mut piece = Piece::Literal(arriving);
    let outcome = loop {
        let next = match take(session, &mut parser, &mut batch, &piece).await {
            Ok(next) => next,
            Err(Stop::Gone) => return Err(Stop::Gone),
            Err(stop) => break Err(stop),
        };
        match (next, &piece) {
            (Next::Stream, Piece::Literal(arriving)) => {
                invite(session, arriving, "send the message");
                session.channel.framer.stream();
                let draft = batch.draft()?;
                batch.received(receive(session, draft).await?);
            }
            (Next::Hold, Piece::Literal(arriving)) => {
                if session.channel.framer.hold().is_err() {
                    break Err(no(Code::TooBig, "this literal is larger than the command may have"));
                }
                invite(session, arriving, "go ahead");
            }
            (Next::End | Next::Stream | Next::Hold, _) => break Ok(()),
        }
        piece = match next_piece(session).await? {
            Some(piece) => piece,
            None => break Err(bad("expected the end of the command or another literal")),
        };
    };
    let (tag, word) = (parser.tag().unwrap_or("*").to_string(), batch.word());
    let answer = match (outcome, &piece) {
        (Ok(()), _) => place(session, &tag, batch).await,
        // What is announced will not be read; the client is told so in its place.
        (Err(stop), Piece::Literal(arriving)) => {
            session.end_command(begun, true);
            return session.refuse_literal(arriving, Some(&tag), word, stop);
        }
        (Err(stop), Piece::End(_)) => Err(stop),
    };
    // The new message is told before the tagged line, if it is in the selected mailbox.
    if let Err(Stop::Gone) = session.tell_news(Moment::CommandEnd { is_own_doing: true }, false).await {
        return Err(Stop::Gone);
    }
    session.tell_how_far().await;
    session.end_command(begun, answer.is_err());
    write_answer(&mut session.channel.out, &tag, word, &answer);
    Ok(())
}

/// An APPEND that is made of stored messages only, and so came as one line.
pub async fn append_stored(session: &mut Session, tag: &str, arguments: Append) -> Answer {
    let mut batch = Batch::default();
    batch.aim(session, arguments.target).await?;
    for item in arguments.items {
        batch.take(session, item, None).await?;
    }
    place(session, tag, batch).await
}

/// A part of the command between two literals, and what it ends with.
enum Piece {
    Literal(Arriving),
    End(Vec<u8>),
}

/// Reads a piece and does what it says, up to its end.
async fn take(
    session: &mut Session,
    parser: &mut AppendParser,
    batch: &mut Batch,
    piece: &Piece,
) -> Result<Next, Stop> {
    let (text, ending, arriving) = match piece {
        Piece::Literal(arriving) => (arriving.head.as_deref().unwrap_or_default(), Ending::Literal, Some(arriving)),
        Piece::End(text) => (text.as_slice(), Ending::Line, None),
    };
    let read = parser.read(text, ending).map_err(|garbled| bad(garbled.to_string()))?;
    batch.check_received()?;
    if let Some(arriving) = arriving {
        session.may_come_uninvited(arriving)?;
    }
    if let Some(target) = read.target {
        batch.aim(session, target).await?;
    }
    for item in read.items {
        batch.take(session, item, arriving).await?;
    }
    Ok(read.next)
}

fn invite(session: &mut Session, arriving: &Arriving, text: &str) {
    if !arriving.non_sync {
        write_continuation(&mut session.channel.out, text);
    }
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

/// What comes next of the command; `None` when it is nothing that could.
async fn next_piece(session: &mut Session) -> Result<Option<Piece>, Stop> {
    loop {
        match session.channel.framer.next() {
            Event::Line(rest) => return Ok(Some(Piece::End(rest.to_vec()))),
            Event::Literal(Announced { octets, non_sync, binary, head }) => {
                let head = Some(head.to_vec());
                return Ok(Some(Piece::Literal(Arriving { octets, non_sync, is_binary: binary, tag: None, head })));
            }
            Event::NeedMore => {
                session.channel.flush().await?;
                session.wait().await?;
            }
            Event::TooLong(_) | Event::BadLiteral { .. } | Event::Piece(_) | Event::LiteralEnd => return Ok(None),
        }
    }
}

async fn place(session: &mut Session, tag: &str, batch: Batch) -> Answer {
    let (aim, messages) = batch.finish()?;
    session.channel.messages += messages.len() as u64;
    let Some(replaced) = aim.replaced else {
        let order = aim.account.place(&aim.mailbox, messages);
        let placed = waiting(&mut session.channel, tag, order).await?.map_err(missing_target)?;
        session.note_own(placed.modseq);
        tell_spelling(session, &aim.mailbox, aim.spelt.as_deref());
        return Ok(Done::with_code(Code::AppendUid { uid_validity: placed.uid_validity, uids: placed.uids }));
    };
    let State::Selected(_, selection) = &session.state else { return Err(bad("REPLACE needs a selected mailbox")) };
    let Some(message) = messages.into_iter().next() else { return Err(bad("expected one message")) };
    let placed = selection.view.replace(replaced.uid, &aim.mailbox, message).await.map_err(missing_target)?;
    session.note_own(placed.modseq);
    tell_spelling(session, &aim.mailbox, aim.spelt.as_deref());
    // RFC 8508 §4.1: the new UID comes untagged, before the expunge that the end of the command tells.
    let code = Code::AppendUid { uid_validity: placed.uid_validity, uids: placed.uids };
    write_condition(&mut session.channel.out, None, Condition::Ok, Some(&code), "Replaced");
    Ok(Done { code: session.enabled.qresync.then_some(Code::HighestModSeq(placed.modseq)), text: String::new() })
}

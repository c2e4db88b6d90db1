//! APPEND (RFC 3501 §6.3.11): everything is checked before the client is invited to send; the message streams
//! into a draft and is placed when the command is whole.

use crate::imap::answer::{Answer, Done, Stop, bad, missing_target, no, write_answer};
use crate::imap::session::{Arriving, Session, State, within_keywords};
use crate::imap::updates::{Manner, tell};
use crate::mailstore::{Account, Draft, Error, NewMessage};
use crate::types::{AppendItem, AppendMessage, AppendTarget, Code, MailboxName};
use crate::wire::append::AppendPiece;
use crate::wire::response::write_continuation;
use crate::wire::{Announced, AppendParser, Dialect, Ending, Event};

/// Takes over from the announcement of the first message's literal to the end of the command. Several messages
/// are placed all together or not at all (RFC 3502 §3).
pub async fn append(session: &mut Session, arriving: Arriving) -> Result<(), Stop> {
    let mut parser = AppendParser::new(Dialect::default());
    let mut piece = match parser.read(arriving.head.as_deref().unwrap_or_default(), Ending::Literal) {
        Ok(piece) => piece,
        Err(garbled) => {
            let stop = bad(garbled.to_string());
            return session.refuse_literal(&arriving, garbled.tag.as_deref(), "APPEND", stop);
        }
    };
    let tag = parser.tag().unwrap_or("*").to_string();
    let (account, name) = match target(session, piece.target.take()) {
        Ok(target) => target,
        Err(stop) => return session.refuse_literal(&arriving, Some(&tag), "APPEND", stop),
    };
    let mut messages: Vec<NewMessage> = Vec::new();
    let mut octets = 0;
    let mut arriving = arriving;
    let end = loop {
        octets += arriving.octets;
        let count = messages.len() + 1;
        let admitted = streamed_message(piece).and_then(|next| {
            admit(session, &next, &arriving, count, octets)?;
            account.room_for(octets, count as u64)?;
            Ok(next)
        });
        let next = match admitted {
            Ok(next) => next,
            Err(stop) => return session.refuse_literal(&arriving, Some(&tag), "APPEND", stop),
        };
        if !arriving.non_sync {
            write_continuation(&mut session.channel.out, "send the message");
        }
        session.channel.framer.stream();
        let received = receive(session, account.draft()).await?;
        let message = match prepare(received, &next).await {
            Ok(message) => message,
            Err(stop) => break End::Unread(stop),
        };
        messages.push(message);
        match behind(session, &mut parser).await? {
            Behind::End => break End::Whole,
            Behind::Garbled(stop) => break End::Read(stop),
            Behind::Message(announced) => {
                match parser.read(announced.head.as_deref().unwrap_or_default(), Ending::Literal) {
                    Ok(read) => (arriving, piece) = (announced, read),
                    Err(garbled) => {
                        let stop = bad(garbled.to_string());
                        return session.refuse_literal(&announced, Some(&tag), "APPEND", stop);
                    }
                }
            }
        }
    };
    let answer = match end {
        End::Whole => place(&account, &name, messages).await,
        End::Read(stop) => Err(stop),
        End::Unread(stop) => {
            // The rest of the command still has to be read past, and what it announces refused.
            if let Behind::Message(announced) = behind(session, &mut parser).await? {
                return session.refuse_literal(&announced, Some(&tag), "APPEND", stop);
            }
            Err(stop)
        }
    };
    // The new message is told before the tagged line, if it is in the selected mailbox.
    if let State::Selected(_, selection) = &mut session.state {
        tell(selection, &mut session.channel, Manner { enabled: session.enabled, with_uid: false }).await?;
    }
    write_answer(&mut session.channel.out, &tag, "APPEND", &answer);
    Ok(())
}

/// How the command's text came to its end.
enum End {
    Whole,
    /// It is refused, and all of it was read.
    Read(Stop),
    /// It is refused, and what stands behind the last literal was not read yet.
    Unread(Stop),
}

/// Where the messages are to go.
fn target(session: &Session, target: Option<AppendTarget>) -> Result<(Account, MailboxName), Stop> {
    let account = match &session.state {
        State::Authenticated(account) | State::Selected(account, _) => account,
        State::NotAuthenticated => return Err(bad("APPEND is not possible before logging in")),
    };
    let Some(AppendTarget { mailbox, replaced: None }) = target else {
        return Err(no(Code::Cannot, "REPLACE is not offered"));
    };
    let name = mailbox.map_err(|bad| no(Code::Cannot, bad.to_string()))?;
    account.find(&name).map_err(missing_target)?;
    Ok((account.clone(), name))
}

/// The message whose octets were announced.
fn streamed_message(piece: AppendPiece) -> Result<AppendMessage, Stop> {
    let mut items = piece.items.into_iter().filter(|item| *item != AppendItem::MessageEnd);
    match (items.next(), items.next()) {
        (Some(AppendItem::Message(message)), Some(AppendItem::Octets { utf8: false })) => Ok(message),
        (_, Some(AppendItem::Octets { utf8: true })) => {
            Err(bad("expected a literal without ~; BINARY and UTF8 are not offered"))
        }
        _ => Err(no(Code::Cannot, "CATENATE is not offered")),
    }
}

/// What can be refused before a single octet of the message was sent. `count` and `sum` include it.
fn admit(session: &Session, message: &AppendMessage, arriving: &Arriving, count: usize, sum: u64) -> Result<(), Stop> {
    if message.is_catenated {
        return Err(no(Code::Cannot, "CATENATE is not offered"));
    }
    if arriving.is_binary {
        return Err(bad("expected a literal without ~; BINARY and UTF8 are not offered"));
    }
    let config = session.host.config.load();
    let limits = &config.limits;
    within_keywords(message.flags.len(), limits.keywords_per_mailbox)?;
    if arriving.octets > limits.message_bytes {
        return Err(no(Code::TooBig, format!("a message may have {} octets at most", limits.message_bytes)));
    }
    if count > limits.append_messages || sum > limits.append_bytes {
        let (messages, octets) = (limits.append_messages, limits.append_bytes);
        return Err(no(Code::Limit, format!("one APPEND may bring {messages} messages and {octets} octets at most")));
    }
    if arriving.octets == 0 {
        return Err(no(Code::Cannot, "a message of no octets cannot be stored"));
    }
    if session.host.store.is_disk_low() {
        return Err(no(Code::Unavailable, "the mail store's disk is full"));
    }
    Ok(())
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

/// What stands behind a message.
enum Behind {
    End,
    Message(Arriving),
    Garbled(Stop),
}

async fn behind(session: &mut Session, parser: &mut AppendParser) -> Result<Behind, Stop> {
    loop {
        match session.channel.framer.next() {
            Event::Line(rest) => {
                return Ok(match parser.read(rest, Ending::Line) {
                    Ok(piece) if piece.items == [AppendItem::MessageEnd] => Behind::End,
                    Ok(_) => Behind::Garbled(no(Code::Cannot, "CATENATE is not offered")),
                    Err(garbled) => Behind::Garbled(bad(garbled.to_string())),
                });
            }
            Event::Literal(Announced { octets, non_sync, binary, head }) => {
                let head = Some(head.to_vec());
                return Ok(Behind::Message(Arriving { octets, non_sync, is_binary: binary, tag: None, head }));
            }
            Event::NeedMore => {
                session.channel.flush().await?;
                session.wait().await?;
            }
            Event::TooLong(_) | Event::BadLiteral { .. } | Event::Piece(_) | Event::LiteralEnd => {
                return Ok(Behind::Garbled(bad("expected the end of the command or another literal")));
            }
        }
    }
}

async fn prepare(received: Result<Draft, Error>, message: &AppendMessage) -> Result<NewMessage, Stop> {
    let prepared = received?.finish().await?;
    if prepared.description().has_nul {
        // RFC 3501 §9: CHAR8 is any octet but NUL.
        return Err(no(Code::Cannot, "the message has NUL octets, which only a binary literal may carry"));
    }
    let flags = message.flags.iter().cloned().collect();
    Ok(NewMessage { prepared, flags, internal_date: message.date })
}

async fn place(account: &Account, name: &MailboxName, messages: Vec<NewMessage>) -> Answer {
    let placed = account.place(name, messages).await.map_err(missing_target)?;
    Ok(Done::with_code(Code::AppendUid { uid_validity: placed.uid_validity, uids: placed.uids }))
}

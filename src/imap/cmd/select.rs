//! SELECT, EXAMINE, CLOSE and UNSELECT (RFC 3501 §6.3.1, §6.3.2, §6.4.2, RFC 3691).

use crate::imap::answer::{Answer, Done, Stop, bad, no, write_condition};
use crate::imap::cmd::list::attributes_of;
use crate::imap::selection::Selection;
use crate::imap::session::{Session, State};
use crate::imap::updates::{Manner, write_flag_change, write_flags};
use crate::mailstore::Error;
use crate::types::command::{QResync, Select};
use crate::types::{Code, Condition, ListWord, Seq, Uid, UidRuns};
use crate::wire::list::{Extended, ListLine, write_extended};
use crate::wire::write;

pub async fn select(session: &mut Session, arguments: Select, is_examine: bool) -> Answer {
    let was_selected = matches!(session.state, State::Selected(..));
    // RFC 3501 §6.3.1: the old mailbox is left even when the new one cannot be opened.
    session.unselect();
    if was_selected {
        // RFC 7162 §3.2.11
        write_condition(
            &mut session.channel.out,
            None,
            Condition::Ok,
            Some(&Code::Closed),
            "The previous mailbox is closed",
        );
    }
    let State::Authenticated(account) = &session.state else { return Ok(Done::default()) };
    let account = account.clone();
    let name = arguments.mailbox.map_err(|bad| no(Code::NonExistent, bad.to_string()))?;
    if session.enabled.uid_only && arguments.qresync.as_ref().is_some_and(|known| known.known_pairs.is_some()) {
        // RFC 9586 §3.8
        session.counts_by(false)?;
    }
    if arguments.qresync.is_some() && !session.enabled.qresync {
        // RFC 7162 §3.2.5
        return Err(bad("QRESYNC has to be enabled first"));
    }
    session.enabled.condstore |= arguments.condstore || arguments.qresync.is_some();
    let view = account.open(&name, is_examine).await?;
    // RFC 9051 §6.3.2 has no UNSEEN any more; RFC 9586 §3 has no numbers.
    let tells_unseen = !session.enabled.rev2 && !session.enabled.uid_only;
    let unseen = if tells_unseen { view.first_unseen().await? } else { None };
    let (enabled, dialect) = (session.enabled, session.dialect());
    let out = &mut session.channel.out;
    write_flags(out, view.keywords(), is_examine);
    write::exists(out, view.membership().count());
    if !enabled.rev2 {
        write::recent(out, view.recent_count() as u32);
    }
    let mut tell = |code: Code, text: &str| write_condition(out, None, Condition::Ok, Some(&code), text);
    if let Some(seq) = unseen {
        tell(Code::Unseen(Seq(seq)), "The first unseen message");
    }
    tell(Code::UidValidity(view.uid_validity()), "UIDs are valid");
    tell(Code::UidNext(Uid(view.uid_next())), "The next UID");
    tell(Code::HighestModSeq(view.modseq()), "The highest modification sequence");
    tell(Code::MailboxId(view.mailbox_id()), "The mailbox's identity");
    if enabled.rev2
        && let Some(mailbox) = account.listed(&name)
    {
        // RFC 9051 §6.3.2: the name as the server writes it, and as the client did if that is another.
        let attributes = attributes_of(&mailbox);
        let line = ListLine { word: ListWord::List, attributes: &attributes, name: &mailbox.name };
        let extended = Extended { child_info: &[], old_name: arguments.spelt.as_deref() };
        write_extended(out, &line, &extended, dialect);
    }
    let selection = Selection {
        view,
        is_read_only: is_examine,
        tells_recent: !enabled.rev2,
        own: Vec::new(),
        ahead: None,
        saved: UidRuns::new(),
    };
    if let Some(known) = arguments.qresync.filter(|known| known.uid_validity == selection.view.uid_validity()) {
        resynchronise(&selection, session, known).await?;
    }
    session.ticket.activity().has_selected(name.as_str());
    session.state = State::Selected(account, Box::new(selection));
    Ok(Done::with_code(if is_examine { Code::ReadOnly } else { Code::ReadWrite }))
}

/// Tells a client that comes back what vanished and what changed since (RFC 7162 §3.2.5.1): one pass over the
/// spans that changed.
async fn resynchronise(selection: &Selection, session: &mut Session, known: QResync) -> Result<(), Stop> {
    let view = &selection.view;
    let mut uids = known.known_uids.unwrap_or_else(|| UidRuns::range(1, view.uid_next().saturating_sub(1)));
    if let Some((numbers, pairs)) = &known.known_pairs {
        // RFC 7162 §3.2.5.2: up to the last pair that still fits nothing can have vanished.
        let fits = |(number, uid): &(u32, u32)| view.membership().seq(*uid) == Some(*number);
        if let Some((_, uid)) = numbers.iter().zip(pairs.iter()).filter(fits).last() {
            uids = uids.difference(&UidRuns::range(1, uid)).union(&view.membership().select(&uids));
        }
    }
    let vanished = view.vanished_since(known.mod_seq, uids.clone()).await?;
    write::vanished(&mut session.channel.out, &vanished, true);
    let manner = Manner { enabled: session.enabled, with_uid: true };
    let table = view.flag_table();
    for row in view.changed_since(known.mod_seq).await? {
        if uids.contains(row.uid.0) {
            write_flag_change(selection, &mut session.channel.out, manner, &table, &row);
            session.channel.flush_if_full().await?;
        }
    }
    Ok(())
}

/// CLOSE expunges without telling, unless the mailbox was opened for reading only.
pub async fn close(session: &mut Session) -> Answer {
    if let State::Selected(_, selection) = &session.state
        && !selection.is_read_only
        && !selection.view.is_gone()
    {
        // RFC 7162 §3.2.8: HIGHESTMODSEQ must not be told here, the client was not told of the expunges before it.
        match selection.view.expunge(None).await {
            // It was deleted in this very moment; then there is nothing to expunge, and it is closed all the same.
            Ok(_) | Err(Error::NoSuchMailbox) => {}
            Err(error) => return Err(error.into()),
        }
    }
    session.unselect();
    Ok(Done::default())
}

pub fn unselect(session: &mut Session) -> Answer {
    session.unselect();
    Ok(Done::default())
}

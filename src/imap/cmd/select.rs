//! SELECT, EXAMINE, CLOSE and UNSELECT (RFC 3501 §6.3.1, §6.3.2, §6.4.2, RFC 3691).

use crate::imap::answer::{Answer, Done, no, write_condition};
use crate::imap::selection::Selection;
use crate::imap::session::{Session, State};
use crate::imap::updates::write_flags;
use crate::types::command::Select;
use crate::types::{Code, Condition, Seq, Uid};
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
    let view = account.open(&name, is_examine).await?;
    let unseen = view.first_unseen().await?;
    let out = &mut session.channel.out;
    write_flags(out, view.keywords(), is_examine);
    write::exists(out, view.membership().count());
    write::recent(out, view.recent_count() as u32);
    let mut tell = |code: Code, text: &str| write_condition(out, None, Condition::Ok, Some(&code), text);
    if let Some(seq) = unseen {
        tell(Code::Unseen(Seq(seq)), "The first unseen message");
    }
    tell(Code::UidValidity(view.uid_validity()), "UIDs are valid");
    tell(Code::UidNext(Uid(view.uid_next())), "The next UID");
    tell(Code::HighestModSeq(view.modseq()), "The highest modification sequence");
    let selection = Selection { view, is_read_only: is_examine, own: Vec::new() };
    session.state = State::Selected(account, Box::new(selection));
    Ok(Done::with_code(if is_examine { Code::ReadOnly } else { Code::ReadWrite }))
}

/// CLOSE expunges without telling, unless the mailbox was opened for reading only.
pub async fn close(session: &mut Session) -> Answer {
    if let State::Selected(_, selection) = &session.state
        && !selection.is_read_only
        && !selection.view.is_gone()
    {
        selection.view.expunge(None).await?;
    }
    session.unselect();
    Ok(Done::default())
}

pub fn unselect(session: &mut Session) -> Answer {
    session.unselect();
    Ok(Done::default())
}

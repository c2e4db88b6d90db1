//! SEARCH and UID SEARCH (RFC 3501 §6.4.4): one span after the other, so that a search of any size is cancelled
//! when its client goes.

use std::sync::Arc;

use crate::imap::answer::{Answer, Done, Stop, bad, no};
use crate::imap::selection::Selection;
use crate::imap::session::Selected;
use crate::query::{Question, Unanswerable};
use crate::types::{Code, ModSeq, NumSet, Search, UidRuns};
use crate::wire::search::write_line;

impl From<Unanswerable> for Stop {
    fn from(why: Unanswerable) -> Self {
        match why {
            Unanswerable::Charset => {
                no(Code::BadCharset(vec!["US-ASCII", "UTF-8"]), "this server does not know the charset")
            }
            Unanswerable::Text => bad("expected strings in the charset they are said to be in"),
        }
    }
}

pub async fn search(cx: Selected<'_>, arguments: Search) -> Answer {
    let selection = &*cx.selection;
    let resolve = |set: &NumSet, is_uid| selection.resolve(set, is_uid);
    let charset = arguments.charset.as_deref();
    let question = Arc::new(Question::new(&arguments.key, charset, selection.view.recent(), &resolve)?);
    let found = matching(selection, &question).await?;
    let mod_seq = match question.asks_for_mod_seq() {
        true => highest_mod_seq(selection, &found).await?,
        false => None,
    };
    let membership = selection.view.membership();
    let number = |uid| if arguments.uid { Some(uid) } else { membership.seq(uid) };
    write_line(&mut cx.channel.out, found.iter().filter_map(number), mod_seq);
    Ok(Done::default())
}

/// The UIDs of all messages this session knows of that match.
pub async fn matching(selection: &Selection, question: &Arc<Question>) -> Result<UidRuns, Stop> {
    let mut found = UidRuns::new();
    for span in selection.view.membership().spans() {
        let members = span.runs();
        for (lo, hi) in selection.view.search_span(span.lo, &members, question).await?.runs() {
            found.push_run(*lo, *hi);
        }
        tokio::task::coop::consume_budget().await;
    }
    Ok(found)
}

/// The highest modseq among some messages (RFC 7162 §3.1.5).
async fn highest_mod_seq(selection: &Selection, uids: &UidRuns) -> Result<Option<ModSeq>, Stop> {
    let mut highest = None;
    for (span, piece) in selection.view.by_span(uids) {
        highest = highest.max(selection.view.rows(span, &piece).await?.iter().map(|row| row.modseq).max());
    }
    Ok(highest)
}

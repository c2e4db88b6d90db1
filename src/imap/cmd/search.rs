//! SEARCH and UID SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182): one span after the other, so that a search of any
//! size is cancelled when its client goes.

use std::sync::Arc;

use crate::imap::answer::{Answer, Done, Stop, bad, no};
use crate::imap::progress::Progress;
use crate::imap::selection::Selection;
use crate::imap::session::Selected;
use crate::mailstore::Gather;
use crate::query::{Moment, Question, Unanswerable};
use crate::types::{Code, ModSeq, NumSet, Search, SearchKey, SearchReturn, UidRuns};
use crate::wire::esearch::{self, ESearch, Found};
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

pub async fn search(mut cx: Selected<'_>, tag: &str, arguments: Search) -> Answer {
    let saves = arguments.returns.is_some_and(|returns| returns.save);
    let answer = find(&mut cx, tag, &arguments).await;
    if let (true, Err(Stop::Refused { .. } | Stop::Fault { .. })) = (saves, &answer) {
        // RFC 5182 §2.1: a search that is refused leaves an empty result behind.
        cx.selection.saved = UidRuns::new();
    }
    answer
}

async fn find(cx: &mut Selected<'_>, tag: &str, arguments: &Search) -> Answer {
    if arguments.charset.is_some() && cx.enabled.utf8_accept {
        // RFC 9755 §3
        return Err(bad("expected no CHARSET, as UTF8=ACCEPT is enabled"));
    }
    let question = question(cx, &arguments.key, arguments.charset.as_deref())?;
    let share = cx.limit.share(question.within(cx.selection.view.membership().all()));
    let found = matching(cx, tag, &share.uids, &question).await?;
    tell(cx, tag, arguments, &question, &found).await?;
    Ok(share.end(&mut cx.channel.out, Done::default()))
}

/// Tells what was found, in the form that was asked for.
async fn tell(
    cx: &mut Selected<'_>,
    tag: &str,
    arguments: &Search,
    question: &Question,
    found: &UidRuns,
) -> Result<(), Stop> {
    let membership = cx.selection.view.membership().clone();
    let number = |uid: u32| if arguments.uid { Some(uid) } else { membership.seq(uid) };
    // RFC 9051 §6.4.4: a rev2 client is always answered with ESEARCH.
    let returns =
        arguments.returns.or(cx.enabled.rev2.then_some(SearchReturn { all: true, ..SearchReturn::default() }));
    let Some(returns) = returns else {
        let mod_seq = told_mod_seq(cx.selection, question, found).await?;
        write_line(&mut cx.channel.out, found.iter().filter_map(number), mod_seq);
        return Ok(());
    };
    let told = Told::new(returns, found.count(), |at| nth(found, at));
    if returns.save {
        cx.selection.saved = told.saved.clone().unwrap_or_else(|| found.clone());
    }
    if !returns.wants_answer() {
        return Ok(());
    }
    let mod_seq = told_mod_seq(cx.selection, question, told.answered(returns, found)).await?;
    let numbers = |uids: &UidRuns| -> UidRuns {
        if arguments.uid { uids.clone() } else { uids.iter().filter_map(|uid| membership.seq(uid)).collect() }
    };
    let all = returns.all.then(|| numbers(found));
    let slice = told.slice.as_ref().map(numbers);
    let answer = ESearch {
        tag: Some(tag),
        uid: arguments.uid,
        min: told.min.filter(|_| returns.min).and_then(number),
        max: told.max.filter(|_| returns.max).and_then(number),
        all: all.as_ref().map(Found::Runs),
        count: returns.count.then(|| found.count() as u32),
        partial: returns.partial.zip(slice.as_ref().map(Found::Runs)),
        mod_seq,
    };
    esearch::write_line(&mut cx.channel.out, &answer);
    Ok(())
}

/// The parts of a result that RETURN asks for, as UIDs.
pub struct Told {
    pub min: Option<u32>,
    pub max: Option<u32>,
    /// What PARTIAL asks for, in rising order.
    pub slice: Option<UidRuns>,
    /// What `$` becomes, when that is not all that was found.
    pub saved: Option<UidRuns>,
}

impl Told {
    /// `nth` gives the UID at an index of the result in its own order.
    pub fn new(returns: SearchReturn, count: u64, nth: impl Fn(u64) -> Option<u32>) -> Told {
        let last = count.checked_sub(1);
        let (min, max) = (nth(0).filter(|_| count > 0), last.and_then(&nth));
        let slice: Option<UidRuns> = returns.partial.map(|range| range.within(count).filter_map(&nth).collect());
        // RFC 5182 §2.4, RFC 9394 §3.2: with ALL or COUNT everything is kept; else what is told, if anything is.
        let keeps_part = !returns.all && !returns.count && (returns.min || returns.max || slice.is_some());
        let saved = keeps_part.then(|| {
            let ends = min.filter(|_| returns.min).into_iter().chain(max.filter(|_| returns.max));
            ends.chain(slice.iter().flat_map(UidRuns::iter)).collect()
        });
        Told { min, max, slice, saved }
    }

    /// The messages whose modseqs count for the answer (RFC 4731 §3.2).
    pub fn answered<'t>(&'t self, returns: SearchReturn, found: &'t UidRuns) -> &'t UidRuns {
        match &self.saved {
            Some(part) if !returns.all && !returns.count => part,
            _ => found,
        }
    }
}

/// The UID at an index of a result in rising order.
fn nth(found: &UidRuns, at: u64) -> Option<u32> {
    let mut left = at;
    for (lo, hi) in found.runs() {
        let here = u64::from(hi - lo) + 1;
        if left < here {
            return Some(lo + left as u32);
        }
        left -= here;
    }
    None
}

/// Makes a search ready for this session.
pub fn question(cx: &Selected<'_>, key: &SearchKey, charset: Option<&str>) -> Result<Arc<Question>, Stop> {
    let selection = &*cx.selection;
    let resolve = |set: &NumSet, is_uid| selection.resolve(set, is_uid);
    let moment = Moment { recent: selection.view.recent(), now: cx.account.now_secs() };
    Ok(Arc::new(Question::new(key, charset, moment, &resolve)?))
}

/// The UIDs of those messages among `uids` that match.
pub async fn matching(
    cx: &mut Selected<'_>,
    tag: &str,
    uids: &UidRuns,
    question: &Arc<Question>,
) -> Result<UidRuns, Stop> {
    let mut found = UidRuns::new();
    let mut progress = Progress::begin(tag, u32::try_from(uids.count()).unwrap_or(u32::MAX));
    for (span, piece) in cx.selection.view.by_span(uids) {
        for (lo, hi) in cx.selection.view.search_span(span, &piece, question).await?.runs() {
            found.push_run(*lo, *hi);
        }
        progress.tell(cx.channel, piece.count() as u32).await?;
        tokio::task::coop::consume_budget().await;
    }
    Ok(found)
}

/// Puts what was found together, one span after the other.
pub async fn gather<G: Gather>(
    cx: &mut Selected<'_>,
    tag: &str,
    found: &UidRuns,
    mut into: G,
) -> Result<G::Answer, Stop> {
    let mut progress = Progress::begin(tag, u32::try_from(found.count()).unwrap_or(u32::MAX));
    for (span, piece) in cx.selection.view.by_span(found) {
        into = cx.selection.view.gather_span(span, &piece, into).await?;
        progress.tell(cx.channel, piece.count() as u32).await?;
        tokio::task::coop::consume_budget().await;
    }
    Ok(cx.selection.view.gathered(into).await?)
}

/// The highest modseq among `uids`, if the search asked for modseqs (RFC 7162 §3.1.5).
pub async fn told_mod_seq(selection: &Selection, question: &Question, uids: &UidRuns) -> Result<Option<ModSeq>, Stop> {
    let mut highest = None;
    if question.asks_for_mod_seq() {
        for (span, piece) in selection.view.by_span(uids) {
            highest = highest.max(selection.view.rows(span, &piece).await?.iter().map(|row| row.modseq).max());
        }
    }
    Ok(highest)
}

//! SORT and UID SORT (RFC 5256, RFC 5957), with RETURN (RFC 5267 §3): a search, and then what was found in order.

use crate::imap::answer::{Answer, Done, Stop};
use crate::imap::cmd::search::{Told, gather, matching, question, told_mod_seq};
use crate::imap::session::Selected;
use crate::mailstore::Sorting;
use crate::types::{Sort, UidRuns};
use crate::wire::esearch::{self, ESearch, Found};
use crate::wire::sort::write_line;

pub async fn sort(mut cx: Selected<'_>, tag: &str, arguments: Sort) -> Answer {
    let saves = arguments.returns.is_some_and(|returns| returns.save);
    let answer = find(&mut cx, tag, &arguments).await;
    if let (true, Err(Stop::Refused { .. } | Stop::Fault { .. })) = (saves, &answer) {
        // RFC 5182 §2.1, for SORT by its §2.4: what is refused leaves an empty result behind.
        cx.selection.saved = UidRuns::new();
    }
    answer
}

async fn find(cx: &mut Selected<'_>, tag: &str, arguments: &Sort) -> Answer {
    let question = question(cx, &arguments.key, Some(&arguments.charset))?;
    let asked = question.within(cx.selection.view.membership().all());
    // An order of some of the messages would be the order of nothing.
    cx.limit.whole(asked.count())?;
    let found = matching(cx, tag, &asked, &question).await?;
    // COUNT and SAVE alone do not look at the order.
    let needs_order = arguments.returns.is_none_or(|r| r.all || r.min || r.max || r.partial.is_some());
    let sorted =
        if needs_order { gather(cx, tag, &found, Sorting::new(&arguments.criteria)).await? } else { Vec::new() };
    let membership = cx.selection.view.membership().clone();
    let number = |uid: u32| if arguments.uid { Some(uid) } else { membership.seq(uid) };
    let Some(returns) = arguments.returns else {
        let mod_seq = told_mod_seq(cx.selection, &question, &found).await?;
        write_line(&mut cx.channel.out, sorted.into_iter().filter_map(number), mod_seq);
        return Ok(Done::default());
    };
    let told = Told::new(returns, found.count(), |at| sorted.get(at as usize).copied());
    if returns.save {
        cx.selection.saved = told.saved.clone().unwrap_or_else(|| found.clone());
    }
    if !returns.wants_answer() {
        return Ok(Done::default());
    }
    let mod_seq = told_mod_seq(cx.selection, &question, told.answered(returns, &found)).await?;
    let numbers: Vec<u32> = sorted.into_iter().filter_map(number).collect();
    let slice = returns.partial.map(|range| {
        let places = range.within(numbers.len() as u64);
        (range, Found::Sorted(&numbers[places.start as usize..places.end as usize]))
    });
    let answer = ESearch {
        tag: Some(tag),
        uid: arguments.uid,
        min: told.min.filter(|_| returns.min).and_then(number),
        max: told.max.filter(|_| returns.max).and_then(number),
        all: returns.all.then_some(Found::Sorted(&numbers)),
        count: returns.count.then_some(found.count() as u32),
        partial: slice,
        mod_seq,
    };
    esearch::write_line(&mut cx.channel.out, &answer);
    Ok(Done::default())
}

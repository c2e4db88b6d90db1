//! SORT and UID SORT (RFC 5256, RFC 5957), with RETURN (RFC 5267 §3): a search, and then what was found in order.

use crate::imap::answer::{Answer, Done, Stop};
use crate::imap::cmd::search::{Told, gather, matching, question, told_mod_seq};
use crate::imap::session::Selected;
use crate::mailstore::{KeptOrder, Sorting};
use crate::query::Placing;
use crate::types::{Sort, SortCriterion, UidRuns};
use crate::wire::esearch::{self, ESearch, Found};
use crate::wire::sort::write_line;

/// When less than one in so many of a kept order is asked for, it is not looked at.
const FEW: u64 = 8;
/// Messages of a kept order for each one that it may lack: putting one in its place costs reading two dozen here and
/// there.
const MANY: u64 = 4096;

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
    let sorted = if needs_order { in_order(cx, tag, &found, &arguments.criteria).await? } else { Vec::new() };
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

/// What was found, in order.
async fn in_order(
    cx: &mut Selected<'_>,
    tag: &str,
    found: &UidRuns,
    criteria: &[SortCriterion],
) -> Result<Vec<u32>, Stop> {
    if let Some(kept) = cx.selection.view.kept_order(criteria) {
        if kept.members == *found {
            return Ok(kept.uids.clone());
        }
        // Few of many are sorted faster than they are picked out, and what is kept of the many is worth more.
        if found.count() * FEW < kept.members.count() {
            return Ok(gather(cx, tag, found, Sorting::new(criteria)).await?.uids);
        }
        if let Some(sorted) = from_kept(cx, tag, found, criteria, &kept).await? {
            return Ok(sorted);
        }
    }
    let sorted = gather(cx, tag, found, Sorting::new(criteria)).await?;
    if sorted.is_exact {
        let order = KeptOrder { uids: sorted.uids.clone(), members: found.clone() };
        cx.selection.view.keep_order(criteria, order);
    }
    Ok(sorted.uids)
}

/// What was found, in an order that is kept, with the few it lacks put in their places. `None`: it lacks too many.
async fn from_kept(
    cx: &mut Selected<'_>,
    tag: &str,
    found: &UidRuns,
    criteria: &[SortCriterion],
    kept: &KeptOrder,
) -> Result<Option<Vec<u32>>, Stop> {
    let newcomers = found.difference(&kept.members);
    if newcomers.count() * MANY > kept.members.count() {
        return Ok(None);
    }
    if newcomers.is_empty() {
        return Ok(Some(kept.uids.iter().copied().filter(|uid| found.contains(*uid)).collect()));
    }
    // Those that are gone for this session can no longer be compared with.
    let here = cx.selection.view.membership().all();
    let known: Vec<u32> = kept.uids.iter().copied().filter(|uid| here.contains(*uid)).collect();
    let mut placing = Placing::new(&known, &newcomers);
    while let Some(asked) = placing.asks() {
        let sorted = gather(cx, tag, &asked, Sorting::new(criteria)).await?;
        if !sorted.is_exact || !placing.learn(&sorted.uids) {
            return Ok(None);
        }
    }
    let all = placing.merged();
    let sorted = all.iter().copied().filter(|uid| found.contains(*uid)).collect();
    let members = kept.members.intersection(&here).union(&newcomers);
    cx.selection.view.keep_order(criteria, KeptOrder { uids: all, members });
    Ok(Some(sorted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::house::{Client, House};
    use crate::types::{AccountId, MailboxName, SortKey};

    const SUBJECT: [SortCriterion; 1] = [SortCriterion { reverse: false, key: SortKey::Subject }];

    fn subject(n: u32) -> String {
        format!("{:03} of them", n.wrapping_mul(0x9e37_79b9) >> 23)
    }

    async fn append(client: &mut Client, numbers: std::ops::RangeInclusive<u32>) {
        let mut command = "APPEND INBOX".to_string();
        for n in numbers {
            let message = format!("Subject: {}\r\n\r\nx\r\n", subject(n));
            command += &format!(" {{{}+}}\r\n{message}", message.len());
        }
        client.say(&command).await;
    }

    /// The numbers of the line that SORT answers with.
    async fn sorted(client: &mut Client, command: &str) -> Vec<u32> {
        let heard = client.say(command).await;
        let line = heard.lines().find_map(|line| line.strip_prefix("* SORT")).expect("an answer");
        line.split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }

    fn plainly(uids: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut uids: Vec<u32> = uids.collect();
        uids.sort_by_key(|uid| (subject(*uid), *uid));
        uids
    }

    /// What is kept for INBOX, by UID.
    async fn kept(house: &House) -> String {
        let account = house.host.store.account(AccountId(1)).await.expect("there");
        let view = account.open(&MailboxName::inbox(), true).await.expect("open");
        view.kept_order(&SUBJECT).map(|order| order.members.wire()).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_comes_and_goes_finds_its_place_in_an_order_that_is_kept() {
        let house = House::with_users(&[("anna", "sesame")]);
        let (mut one, mut two) = (house.client("anna", "sesame").await, house.client("anna", "sesame").await);
        append(&mut one, 1..=5000).await;
        one.say("SELECT INBOX").await;
        two.say("SELECT INBOX").await;
        let all = "UID SORT (SUBJECT) UTF-8 ALL";
        assert_eq!(kept(&house).await, "");
        for _ in 0..2 {
            assert_eq!(sorted(&mut one, all).await, plainly(1..=5000));
            assert_eq!(kept(&house).await, "1:5000");
        }
        // One comes. The other session has not been told of it when it asks.
        append(&mut one, 5001..=5001).await;
        assert_eq!(sorted(&mut one, all).await, plainly(1..=5001));
        assert_eq!(kept(&house).await, "1:5001");
        assert_eq!(sorted(&mut two, all).await, plainly(1..=5000));
        assert_eq!(sorted(&mut two, all).await, plainly(1..=5001));
        // Some go: the other session has not been told, and has their numbers still.
        one.say("UID STORE 1:9,2000,5001 +FLAGS.SILENT (\\Deleted)").await;
        one.say("EXPUNGE").await;
        append(&mut one, 5002..=5002).await;
        let left = || (10..=5002).filter(|uid| ![2000, 5001].contains(uid));
        assert_eq!(sorted(&mut one, all).await, plainly(left()));
        assert_eq!(kept(&house).await, "10:1999,2001:5000,5002");
        assert_eq!(sorted(&mut two, "SORT (SUBJECT) UTF-8 ALL").await, plainly(1..=5001));
        // Told of it, it has other numbers for them, and is told UIDs all the same.
        two.say("NOOP").await;
        assert_eq!(sorted(&mut two, all).await, plainly(left()));
        // Some of many, few of many, and too many that are new.
        assert_eq!(sorted(&mut one, "UID SORT (SUBJECT) UTF-8 UID 1001:3000").await, {
            plainly((1001..=3000).filter(|uid| *uid != 2000))
        });
        assert_eq!(sorted(&mut one, "UID SORT (SUBJECT) UTF-8 UID 1001:1100").await, plainly(1001..=1100));
        append(&mut one, 5003..=5100).await;
        let more = || left().chain(5003..=5100);
        assert_eq!(sorted(&mut one, all).await, plainly(more()));
        // Each criterion has an order of its own.
        assert_eq!(sorted(&mut one, "UID SORT (ARRIVAL) UTF-8 ALL").await, Vec::from_iter(more()));
        assert_eq!(sorted(&mut one, all).await, plainly(more()));
    }
}

//! `pillarbox undelete`: what the mail store brings back, told to a person. The lines may show subjects; they go to
//! whoever asked and never into a log.

use crate::care::counted;
use crate::care::moment::written;
use crate::mailstore::{MailStore, RemovedFilter, RemovedMessage, Undeleted, wait_for};
use crate::types::{AccountId, MailboxName};

/// Most messages listed.
const MOST_LISTED: usize = 10_000;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    pub filter: RemovedFilter,
    /// Bring all of it into this folder.
    pub to: Option<MailboxName>,
    /// Only say what would come back.
    pub is_list: bool,
}

/// Lists removed messages or brings them back. The sentence says how it went. Blocks.
pub fn undelete(store: &MailStore, id: AccountId, wish: Wish, tell: &mut dyn FnMut(String)) -> Result<String, String> {
    if !store.has_account(id) {
        return Ok("this account has no mail database".into());
    }
    let account = wait_for(store.account(id)).map_err(|error| error.to_string())?;
    if wish.is_list {
        let removed = wait_for(account.removed(wish.filter, MOST_LISTED)).map_err(|error| error.to_string())?;
        let (listed, summary) = removed;
        listed.iter().for_each(|message| tell(line(message)));
        let all: u64 = summary.mailboxes.values().sum();
        if all > listed.len() as u64 {
            tell(format!("and {} more", all - listed.len() as u64));
        }
        return Ok(format!("{} can be brought back{}", counted(all, "message"), left_out(&summary)));
    }
    let done = wait_for(account.undelete(wish.filter, wish.to)).map_err(|error| error.to_string())?;
    for (mailbox, count) in &done.mailboxes {
        let is_new = if done.created.contains(mailbox) { ", which was made again" } else { "" };
        tell(format!("{} came back into {mailbox}{is_new}", counted(*count, "message")));
    }
    let all: u64 = done.mailboxes.values().sum();
    Ok(format!("{} came back{}", counted(all, "message"), left_out(&done)))
}

fn line(message: &RemovedMessage) -> String {
    let (at, date) = (written(message.removed_at), written(message.date.unix_seconds));
    format!("removed {at}\tdated {date}\t{} octets\t{}\t{}", message.size, message.mailbox, message.subject)
}

fn left_out(summary: &Undeleted) -> String {
    match summary.still_there {
        0 => String::new(),
        1 => "; 1 that is still in some folder was left out".into(),
        more => format!("; {more} that are still in some folder were left out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::backup_tests::Site;
    use crate::types::UidRuns;

    #[test]
    fn what_is_listed_is_what_comes_back() {
        let site = Site::new();
        let store = site.owner.store();
        site.place("hello", 100);
        wait_for(async {
            let account = store.account(site.anna).await.expect("opens");
            let work = MailboxName::new("Work").expect("a name");
            account.create(&work, "").await.expect("created");
            let view = account.open(&MailboxName::inbox(), false).await.expect("opens");
            view.move_to_mailbox(UidRuns::one(1), &work).await.expect("moved");
            account.delete(&work).await.expect("deleted");
        });
        let ask = |is_list| {
            let mut lines = Vec::new();
            let wish = Wish { is_list, ..Wish::default() };
            let told = undelete(store, site.anna, wish, &mut |line| lines.push(line)).expect("done");
            (lines, told)
        };
        let (lines, told) = ask(true);
        assert!(lines.len() == 1 && lines[0].ends_with("\tWork\thello"), "{lines:?}");
        assert_eq!(told, "1 message can be brought back");
        let (lines, told) = ask(false);
        assert_eq!(lines, ["1 message came back into Work, which was made again"]);
        assert_eq!(told, "1 message came back");
        assert_eq!(ask(false), (vec![], "0 messages came back".into()));
        let nobody = undelete(store, AccountId(99), Wish::default(), &mut |_| {});
        assert_eq!(nobody, Ok("this account has no mail database".into()));
    }
}

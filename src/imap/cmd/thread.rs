//! THREAD and UID THREAD (RFC 5256): a search, and then what was found as a forest.

use crate::imap::answer::{Answer, Done};
use crate::imap::cmd::search::{gather, matching, question};
use crate::imap::session::Selected;
use crate::mailstore::Threading;
use crate::types::{Thread, ThreadNode};
use crate::wire::thread::write_line;

pub async fn thread(mut cx: Selected<'_>, tag: &str, arguments: Thread) -> Answer {
    let question = question(&cx, &arguments.key, Some(&arguments.charset))?;
    let asked = question.within(cx.selection.view.membership().all());
    // RFC 9738 §3: threads of some of the messages would be torn ones.
    cx.limit.whole(asked.count())?;
    let found = matching(&mut cx, tag, &asked, &question).await?;
    let mut forest = gather(&mut cx, tag, &found, Threading::new(arguments.algorithm)).await?;
    if !arguments.uid {
        let membership = cx.selection.view.membership();
        let number = |node: &mut ThreadNode| node.number = node.number.and_then(|uid| membership.seq(uid));
        forest.iter_mut().for_each(number);
    }
    write_line(&mut cx.channel.out, &forest);
    Ok(Done::default())
}

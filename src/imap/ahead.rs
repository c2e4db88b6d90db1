//! Reading ahead: while a FETCH of one message is answered, the store reads already what the FETCHes right behind it
//! in the pipeline ask for. They still run one after another and in order; only the octets, which never change, are
//! there sooner. mbsync and others fetch a mailbox in this way, one message a command.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use super::cmd;
use super::commands::row_of;
use super::session::{Session, State};
use crate::mailstore::{Page, Result, Row, View, Wanted};
use crate::types::{Body, Command, ContentId};
use crate::wire;

/// How many commands are looked at ahead of the one that runs. Each may hold a page while the client does not read.
const AHEAD: usize = 3;

type Reading = Pin<Box<dyn Future<Output = Result<Page>> + Send + Sync>>;

/// Pages of single messages under way, in the order of their commands.
#[derive(Default)]
pub struct Ahead(VecDeque<Coming>);

struct Coming {
    content: ContentId,
    wanted: Arc<Wanted>,
    page: Reading,
}

impl Ahead {
    /// Begins to read what will be wanted of a message.
    pub fn begin(&mut self, view: &View, row: Row, wanted: Arc<Wanted>) {
        // What nobody took, because its command was refused, makes room for what will be.
        if self.0.len() > AHEAD {
            self.0.pop_front();
        }
        let page = Box::pin(view.page(Arc::from([row]), 0, wanted.clone()));
        self.0.push_back(Coming { content: row.content, wanted, page });
    }

    /// The page about this message, if it was begun.
    pub fn take(&mut self, row: &Row, wanted: &Wanted) -> Option<Reading> {
        while let Some(coming) = self.0.pop_front() {
            if coming.content == row.content && *coming.wanted == *wanted {
                return Some(coming.page);
            }
        }
        None
    }
}

impl Session {
    /// Behind a FETCH: takes in the FETCHes that are here already and has the store begin to read for them.
    pub(super) fn look_ahead(&mut self, first: &Command, mut is_begun: bool) {
        let is_fetch = |command: &Command| matches!(command.body, Body::Fetch(_));
        if !is_fetch(first) || !matches!(self.state, State::Selected(..)) {
            return;
        }
        let dialect = self.dialect();
        while self.queued.len() < AHEAD {
            let Some(line) = self.channel.framer.peek() else { return };
            let Some(command) = wire::parse_in(line, dialect).ok().filter(is_fetch) else { return };
            // The line that was looked at.
            self.channel.framer.next();
            if !std::mem::replace(&mut is_begun, true) {
                self.begin_reading(first);
            }
            self.begin_reading(&command);
            self.queued.push_back(command);
        }
    }

    fn begin_reading(&mut self, command: &Command) {
        let Body::Fetch(arguments) = &command.body else { return };
        if self.may_run(row_of(&command.body), &command.body).is_ok()
            && let Ok(cx) = self.selected()
        {
            cmd::fetch::begin(cx, arguments);
        }
    }
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ahead({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::house::House;
    use crate::mailstore::NewMessage;
    use crate::types::{FlagSet, MailboxName};

    #[tokio::test]
    async fn a_page_is_for_the_message_and_the_items_it_was_begun_for() {
        let house = House::with_users(&[("anna", "sesame")]);
        let account = house.host.store.account(crate::types::AccountId(1)).await.expect("her account");
        let inbox = MailboxName::inbox();
        for text in ["A: 1\r\n\r\n", "A: 2\r\n\r\n", "A: 3\r\n\r\n"] {
            let mut draft = account.draft();
            draft.write(text.as_bytes()).await.expect("taken");
            let prepared = draft.finish().await.expect("whole");
            let message = NewMessage { prepared, flags: FlagSet::default(), internal_date: None };
            account.place(&inbox, vec![message]).await.expect("placed");
        }
        let view = account.open(&inbox, true).await.expect("open");
        assert!(view.row_at_hand(4).is_none());
        let rows: Vec<Row> = (1..=3).filter_map(|uid| view.row_at_hand(uid)).collect();
        assert_eq!(rows.len(), 3, "what was just placed is in memory");
        let wanted = Arc::new(Wanted { preview: true, ..Wanted::default() });
        let other = Wanted { envelope: true, ..Wanted::default() };
        let mut ahead = Ahead::default();
        for row in &rows {
            ahead.begin(&view, *row, wanted.clone());
        }
        // The first one's command was refused; its page is passed over.
        let page = ahead.take(&rows[1], &wanted).expect("begun").await.expect("read");
        assert_eq!(page.rows.len(), 1);
        assert!(ahead.take(&rows[2], &other).is_none(), "begun for something else");
        assert!(ahead.take(&rows[2], &wanted).is_none(), "and given up then");
        for _ in 0..10 {
            ahead.begin(&view, rows[0], wanted.clone());
        }
        assert_eq!(ahead.0.len(), AHEAD + 1);
    }
}

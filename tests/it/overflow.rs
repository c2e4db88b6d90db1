//! NOTIFY (RFC 5465 §5.8) when more happens than the server remembers for a client that does not listen: it is told so, it
//! is told nothing more, and it can ask again. It takes thousands of changes, which no transcript would list.

use crate::client::{Client, PATIENCE};
use crate::server::Server;

const PASSWORD: &str = "correct-horse";
/// Sessions that change something at the same time: their changes share the disk's syncs.
const WRITERS: usize = 6;
/// Changes of each; together more than the 4096 that `mailstore/events.rs` remembers.
const CHANGES: usize = 800;

fn sign_in(server: &Server) -> Client {
    let mut client = Client::connect(server.address()).expect("connected");
    client.line(PATIENCE).expect("a greeting");
    ask(&mut client, &format!("LOGIN ada {PASSWORD}"));
    client
}

/// The untagged lines of the answer, which is OK.
fn ask(client: &mut Client, command: &str) -> Vec<String> {
    answer(client.order("t", command, None).expect("an answer"), command)
}

fn append(client: &mut Client, mailbox: &str) {
    let lines = client.order("t", &format!("APPEND {mailbox}"), Some(b"Subject: x\r\n\r\nx\r\n")).expect("an answer");
    answer(lines, "APPEND");
}

fn answer(lines: Vec<Vec<u8>>, command: &str) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let tagged = lines.pop().unwrap_or_default();
    assert!(tagged.contains(" OK"), "{command}: {tagged}");
    lines
}

fn told(client: &mut Client) -> String {
    let line = client.line(PATIENCE).expect("told in time").expect("not closed");
    String::from_utf8_lossy(&line).into_owned()
}

/// Unsubscribes from a mailbox and subscribes to it again, all in all so often: each time is remembered for itself.
fn churn(client: &mut Client, mailbox: usize, times: usize) {
    let commands: String = (0..times).map(|n| format!("s{n} {}SUBSCRIBE m{mailbox}\r\n", ["UN", ""][n % 2])).collect();
    client.send(commands.as_bytes()).expect("sent");
    let last = format!("s{} OK", times - 1);
    while !told(client).starts_with(&last) {}
}

#[test]
fn who_is_told_of_an_overflow_hears_nothing_more_until_it_asks_again() {
    let server = Server::start_with(&["limits.partial_command_seconds = 600".to_owned()]).expect("a server");
    server.add_user("ada", PASSWORD).expect("a user");
    let mut writers: Vec<Client> = (0..WRITERS).map(|_| sign_in(&server)).collect();
    for mailbox in 0..WRITERS {
        ask(&mut writers[0], &format!("CREATE m{mailbox}"));
    }
    ask(&mut writers[0], "CREATE busy");
    append(&mut writers[0], "busy");
    append(&mut writers[0], "INBOX");

    let mut watcher = sign_in(&server);
    ask(&mut watcher, "SELECT INBOX");
    let wishes = "(selected (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge FlagChange MailboxName))";
    ask(&mut watcher, &format!("NOTIFY SET {wishes}"));
    append(&mut writers[0], "busy");
    let news = told(&mut watcher);
    assert!(news.starts_with("* STATUS busy ("), "at first it is told: {news}");

    // Nothing is told into the middle of a command.
    watcher.send(b"w NO").expect("sent");
    std::thread::scope(|scope| {
        for (mailbox, writer) in writers.iter_mut().enumerate() {
            scope.spawn(move || churn(writer, mailbox, CHANGES));
        }
    });
    watcher.send(b"OP\r\n").expect("sent");
    let first = told(&mut watcher);
    assert!(first.starts_with("* OK [NOTIFICATIONOVERFLOW] "), "{first}");
    assert!(told(&mut watcher).starts_with("w OK"), "the command is answered, and nothing else is told");

    // As after NOTIFY NONE, of the selected mailbox too.
    append(&mut writers[0], "INBOX");
    ask(&mut writers[0], "CREATE later");
    append(&mut writers[0], "busy");
    assert_eq!(ask(&mut watcher, "NOOP"), [""; 0]);
    // The session goes on: it answers, and what it does itself is told.
    let flags = ask(&mut watcher, "STORE 1 +FLAGS (\\Answered)");
    assert!(flags.iter().any(|line| line.contains("FETCH") && line.contains("\\Answered")), "{flags:?}");
    assert_eq!(ask(&mut watcher, "STATUS busy (MESSAGES)"), ["* STATUS busy (MESSAGES 3)"]);

    // RFC 5465 §3.1: with STATUS, where the mailboxes stand; then all is as at first.
    let state = ask(&mut watcher, &format!("NOTIFY SET STATUS {wishes}"));
    assert!(state.iter().any(|line| line.starts_with("* STATUS busy (")), "{state:?}");
    let seen = ask(&mut watcher, "NOOP");
    assert!(state.iter().chain(&seen).any(|line| line == "* 2 EXISTS"), "{state:?} {seen:?}");
    append(&mut writers[0], "busy");
    let news = told(&mut watcher);
    assert!(news.starts_with("* STATUS busy ("), "{news}");
    append(&mut writers[0], "INBOX");
    assert_eq!(told(&mut watcher), "* 3 EXISTS");
}

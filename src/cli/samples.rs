//! The mail that `pillarbox try` shows, written for this project: `samples/*.eml`, each with its folder and flags.
//! They are there to give a mail program something of every kind to draw.

use crate::mailstore::{Account, Error, NewMessage};
use crate::types::date::DateTime;
use crate::types::{Flag, FlagSet, MailboxName};

/// One message: what it is marked with, and its octets.
struct Sample {
    flags: &'static [&'static str],
    octets: &'static [u8],
}

macro_rules! sample {
    ($name:literal, $($flag:literal),*) => {
        Sample { flags: &[$($flag),*], octets: include_bytes!(concat!("samples/", $name, ".eml")) }
    };
}

/// The folders in the order they are filled, each with its messages in the order they came.
const FOLDERS: &[(&str, &[Sample])] = &[
    (
        "INBOX",
        &[
            sample!("thread-1", "\\Seen"),
            sample!("thread-2", "\\Seen", "\\Answered"),
            sample!("thread-4", "\\Seen"),
            sample!("thread-5", "\\Seen"),
            sample!("inline-image", "\\Seen", "\\Flagged"),
            sample!("forwarded", "\\Seen", "$label1"),
            sample!("invitation",),
            sample!("welcome", "\\Flagged"),
        ],
    ),
    ("Sent", &[sample!("sent-answer", "\\Seen"), sample!("thread-3", "\\Seen"), sample!("attachments", "\\Seen")]),
    ("Drafts", &[sample!("draft", "\\Seen", "\\Draft")]),
    ("Junk", &[sample!("junk", "$Junk", "Junk")]),
    ("Trash", &[sample!("trash", "\\Seen")]),
    ("Archive/2025", &[sample!("receipt", "\\Seen"), sample!("newsletter", "\\Seen", "$label4")]),
    ("Reisen/Köln", &[sample!("german", "\\Seen", "\\Answered")]),
    ("Reisen/京都", &[sample!("japanese", "\\Seen", "\\Flagged", "$Forwarded")]),
];

/// Places the samples into an account. A folder that has ever had mail is left alone, so that doing it again after an
/// interruption finishes the work, and doing it again later changes nothing.
pub(super) async fn place(account: &Account) -> Result<(), Error> {
    for (folder, samples) in FOLDERS {
        let name = MailboxName::new(folder).expect("each folder of the table is a plain name");
        match account.create(&name, "").await {
            Ok(_) | Err(Error::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
        if account.status(&name).await?.uid_next > 1 {
            continue;
        }
        let mut messages = Vec::with_capacity(samples.len());
        for sample in *samples {
            messages.push(prepare(account, sample).await?);
        }
        account.place(&name, messages).await?;
    }
    Ok(())
}

async fn prepare(account: &Account, sample: &Sample) -> Result<NewMessage, Error> {
    let mut draft = account.draft();
    draft.write(sample.octets).await?;
    let prepared = draft.finish().await?;
    // It came when it was sent.
    let sent = prepared.description().sort.sent;
    let internal_date = sent.map(|sent| DateTime { unix_seconds: sent.utc_secs, zone_minutes: sent.zone_minutes });
    Ok(NewMessage { prepared, flags: flags(sample.flags), internal_date })
}

fn flags(words: &[&str]) -> FlagSet {
    words.iter().filter_map(|word| Flag::named(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::describe;

    #[test]
    fn every_sample_is_a_whole_message() {
        for (folder, samples) in FOLDERS {
            assert!(MailboxName::new(folder).is_ok(), "{folder}");
            for sample in *samples {
                let text = String::from_utf8_lossy(sample.octets);
                let told = describe(sample.octets);
                assert!(told.sort.sent.is_some(), "no date in {text}");
                assert!(!told.references.is_empty(), "no Message-ID in {text}");
                assert!(!told.sort.subject.is_empty(), "no subject in {text}");
                let bare = text.split_inclusive('\n').find(|line| !line.ends_with("\r\n"));
                assert_eq!(bare, None, "lines end with CRLF");
                assert_eq!(
                    flags(sample.flags).wire().split(' ').filter(|word| !word.is_empty()).count(),
                    sample.flags.len()
                );
            }
        }
    }

    #[test]
    fn replies_are_younger_than_what_they_answer() {
        let all: Vec<_> = FOLDERS.iter().flat_map(|(_, samples)| *samples).map(|s| describe(s.octets)).collect();
        let id_of = |one: &crate::message::Description| one.references.first().map(|reference| reference.id.clone());
        for reply in &all {
            for named in reply.references.iter().skip(1) {
                let original = all.iter().find(|one| id_of(one).as_ref() == Some(&named.id)).expect("it is among them");
                assert!(original.sort.sent.map(|s| s.utc_secs) < reply.sort.sent.map(|s| s.utc_secs));
            }
        }
    }
}

//! Plays every `tests/transcripts/**/*.imap` against our own server, each with an account of its own, a few at a time.
//! PILLARBOX_TRANSCRIPT=text plays only those whose path holds the text. PILLARBOX_TRANSCRIPT_SERVER="host:port user
//! password" plays them against any other server; `{n}` in the user stands for 1, 2, 3 ..., empty accounts that exist.

use crate::play::{Played, Stage, play};
use crate::script::Script;
use crate::server::{Addresses, Server};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many are played at a time. They mostly wait: for syncs, for password hashes, for each other.
const AT_A_TIME: usize = 4;
const PASSWORD: &str = "correct-horse";

#[test]
fn transcripts() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut paths = Vec::new();
    collect(&tests.join("transcripts"), &mut paths);
    paths.sort();
    let wanted = std::env::var("PILLARBOX_TRANSCRIPT").unwrap_or_default();
    let root = tests.display().to_string();
    paths.retain(|path| path.display().to_string()[root.len()..].contains(&wanted));
    assert!(!paths.is_empty(), "no transcript has {wanted:?} in its path");

    let target = Target::choose();
    let queue: Mutex<VecDeque<(usize, PathBuf)>> = Mutex::new(paths.into_iter().enumerate().collect());
    let results: Mutex<Vec<(PathBuf, Outcome, Duration)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((index, path)) = next else { return };
                    let begun = Instant::now();
                    let outcome = target.play(index + 1, &path, &tests.join("messages"));
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((path, outcome, begun.elapsed()));
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(results, &tests, &target);
}

enum Outcome {
    Passed,
    Skipped(String),
    /// It failed on a foreign server, as its head comment says.
    Differs(String),
    Failed(String),
}

/// Which server the transcripts are played against.
enum Target {
    /// One of our own for all that leave it alone.
    Own(Server),
    Foreign {
        address: String,
        user: String,
        password: String,
    },
}

impl Target {
    fn choose() -> Target {
        match std::env::var("PILLARBOX_TRANSCRIPT_SERVER") {
            Err(_) => Target::Own(Server::start().unwrap_or_else(|error| panic!("{error}"))),
            Ok(text) => match text.split_whitespace().collect::<Vec<_>>().as_slice() {
                [address, user, password] => Target::Foreign {
                    address: address.to_string(),
                    user: user.to_string(),
                    password: password.to_string(),
                },
                _ => panic!("PILLARBOX_TRANSCRIPT_SERVER is \"host:port user password\", not {text:?}"),
            },
        }
    }

    fn play(&self, index: usize, path: &Path, messages: &Path) -> Outcome {
        let script = match Script::read(path, messages) {
            Ok(script) => script,
            Err(error) => return Outcome::Failed(error),
        };
        let result = match self {
            Target::Foreign { .. } if script.needs_our_server() => {
                return Outcome::Skipped(
                    "ends its server, sets it up or trusts it, and this one is not ours".to_string(),
                );
            }
            Target::Foreign { address, user, password } => play(
                &script,
                Stage {
                    addresses: Addresses { plain: address.clone(), ..Addresses::default() },
                    trust: None,
                    user: user.replace("{n}", &index.to_string()),
                    password: password.clone(),
                    server: None,
                },
            ),
            Target::Own(server) if !script.needs_own_server() => {
                let user = format!("t{index}");
                server.add_user(&user, PASSWORD).and_then(|()| play(&script, stage(server, &user)))
            }
            Target::Own(_) => Server::start_with(&script.settings).and_then(|mut own| {
                own.add_user("t", PASSWORD)?;
                let stage = stage(&own, "t");
                play(&script, Stage { server: Some(&mut own), ..stage })
            }),
        };
        match (result, &script.differs, self) {
            (Ok(Played::Passed), _, _) => Outcome::Passed,
            (Ok(Played::Skipped(missing)), _, _) => Outcome::Skipped(format!("not offered: {}", missing.join(" "))),
            (Err(report), Some(reason), Target::Foreign { .. }) => {
                // The first lines say what came instead, so that the comment can be checked against it.
                let came: Vec<&str> = report.lines().skip(1).take(2).collect();
                Outcome::Differs(format!("{reason}\n{}", came.join("\n")))
            }
            (Err(error), _, _) => Outcome::Failed(error),
        }
    }
}

fn stage<'a>(server: &Server, user: &str) -> Stage<'a> {
    Stage {
        addresses: server.addresses().clone(),
        trust: Some(server.trust().clone()),
        user: user.to_string(),
        password: PASSWORD.to_string(),
        server: None,
    }
}

fn report(mut results: Vec<(PathBuf, Outcome, Duration)>, tests: &Path, target: &Target) {
    let name = |path: &Path| path.strip_prefix(tests).unwrap_or(path).display().to_string();
    results.sort_by_key(|(_, _, took)| std::cmp::Reverse(*took));
    let slowest = results.iter().take(5).map(|(path, _, took)| format!("{} {took:.1?}", name(path)));
    println!("slowest: {}", slowest.collect::<Vec<_>>().join(", "));
    results.sort_by(|a, b| a.0.cmp(&b.0));
    let count = results.len();
    let mut passed = 0;
    let mut failures = Vec::new();
    for (path, outcome, _) in results {
        let name = name(&path);
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(reason) => println!("skipped {name}: {reason}"),
            Outcome::Differs(reason) => println!("differs {name}: {reason}"),
            Outcome::Failed(report) => failures.push(report),
        }
    }
    println!("{passed} of {count} transcripts passed, {} failed", failures.len());
    if let (Target::Own(server), false) = (target, failures.is_empty()) {
        let log = server.log();
        let lines: Vec<&str> = log.lines().collect();
        println!("the server's last lines:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
    }
    assert!(failures.is_empty(), "{} of {count} transcripts failed:\n\n{}", failures.len(), failures.join("\n"));
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "imap") {
            found.push(path);
        }
    }
}

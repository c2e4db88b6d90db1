//! What a client that wishes harm can do, while somebody else works: each test is an attack on the real server, and holds
//! the memory it costs and how long a bystander waits to a bound. docs/security.md says which attack is shown where.
//! One at a time, as they measure; `--nocapture` prints what was measured.

mod after_login; // commands that are made to cost much
mod before_login; // what needs no password
mod hostile_mail; // messages that are made to cost much
mod scene; // a server, a bystander, and what an attack did to both

// The server under test and a client for it, as the other tests have them.
#[allow(dead_code)]
#[path = "../it/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../it/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "../it/tls.rs"]
mod tls;

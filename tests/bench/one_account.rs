//! Several clients append to one account at once, against any server: the row that shows group commit.
//! `cargo bench --bench one_account -- HOST:PORT USER PASSWORD CLIENTS MESSAGES` prints messages a second
//! and the slowest answer. Each client has a mailbox of its own, which is made and deleted.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn sign_in(address: &str, user: &str, password: &str) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut client = Client { stream: BufReader::new(stream) };
        client.line()?;
        client.order(format!("a LOGIN {user} {password}\r\n").as_bytes())?;
        Ok(client)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    /// Sends a command with the tag `a` and waits for its OK.
    fn order(&mut self, command: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(command)?;
        loop {
            let line = self.line()?;
            if line.starts_with("a OK") {
                return Ok(());
            }
            if line.starts_with("a ") {
                return Err(std::io::Error::other(line));
            }
        }
    }
}

/// A message of about `size` octets, unlike every other.
fn message(client: usize, n: usize, size: usize) -> Vec<u8> {
    let mut text =
        format!("From: bench <b@example.org>\r\nSubject: {client} {n}\r\nMessage-ID: <{client}.{n}@bench>\r\n\r\n");
    let mut seed = (client * 1_000_003 + n) as u64 | 1;
    while text.len() < size {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{seed:x} the quick brown fox jumps over it\r\n"));
    }
    text.into_bytes()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [address, user, password, clients, messages] = &arguments[..] else {
        println!("usage: one_account HOST:PORT USER PASSWORD CLIENTS MESSAGES");
        return;
    };
    let (clients, messages): (usize, usize) = match (clients.parse(), messages.parse()) {
        (Ok(clients), Ok(messages)) => (clients, messages),
        _ => return println!("CLIENTS and MESSAGES are numbers"),
    };
    let sizes = [2_000, 4_000, 8_000, 8_000, 16_000, 30_000];
    let mut signed_in: Vec<Client> =
        (0..clients).map(|_| Client::sign_in(address, user, password).expect("signs in")).collect();
    for (n, client) in signed_in.iter_mut().enumerate() {
        let _ = client.order(format!("a DELETE one{n}\r\n").as_bytes());
        client.order(format!("a CREATE one{n}\r\n").as_bytes()).expect("creates");
    }
    let started = Instant::now();
    let slowest = std::thread::scope(|scope| {
        let workers: Vec<_> = signed_in
            .iter_mut()
            .enumerate()
            .map(|(which, client)| {
                scope.spawn(move || {
                    let mut slowest = Duration::ZERO;
                    for n in 0..messages {
                        let text = message(which, n, sizes[n % sizes.len()]);
                        let mut command = format!("a APPEND one{which} {{{}+}}\r\n", text.len()).into_bytes();
                        command.extend_from_slice(&text);
                        command.extend_from_slice(b"\r\n");
                        let sent = Instant::now();
                        client.order(&command).expect("appends");
                        slowest = slowest.max(sent.elapsed());
                    }
                    slowest
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a client")).max().unwrap_or_default()
    });
    let took = started.elapsed().as_secs_f64();
    println!(
        "{clients} clients, one account: {:.0} messages/s, slowest answer {:.1} ms",
        (clients * messages) as f64 / took,
        slowest.as_secs_f64() * 1e3
    );
    for (n, client) in signed_in.iter_mut().enumerate() {
        client.order(format!("a DELETE one{n}\r\n").as_bytes()).expect("deletes");
    }
}

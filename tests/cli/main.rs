//! The program as its operator meets it: commands, exit codes, messages, signals, with and without a running server.

mod care; // doctor, autoconfig, backup and restore, folders that empty themselves

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A directory with a configuration.
struct Site {
    home: tempfile::TempDir,
}

struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Site {
    fn new() -> Site {
        Site::with("[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n")
    }

    fn with(rest: &str) -> Site {
        let site = Site { home: tempfile::tempdir().expect("a directory") };
        site.configure(rest);
        site
    }

    fn configure(&self, rest: &str) {
        std::fs::write(self.config(), format!("data_dir = \"data\"\n{rest}")).expect("written");
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("pillarbox.toml")
    }

    fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
        command.args(words.split_whitespace()).arg("--config").arg(self.config());
        command.env_remove("PILLARBOX_LOG").env_remove("PILLARBOX_CONFIG");
        command
    }

    fn run(&self, words: &str) -> Outcome {
        self.run_with(words, "")
    }

    fn run_with(&self, words: &str, stdin: &str) -> Outcome {
        let mut command = self.command(words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        // A command that fails at once does not read its input.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("ended");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn add(&self, name: &str, password: &str) {
        let added = self.run_with(&format!("user add {name} --password-stdin"), password);
        assert_eq!(added.code, Some(0), "{}", added.stderr);
    }

    fn serve(&self) -> Server {
        let mut child = self.command("serve").stderr(Stdio::piped()).spawn().expect("started");
        let stderr = child.stderr.take().expect("piped");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut server = Server { child, lines, log: String::new(), addresses: Vec::new() };
        server.wait_for("ready");
        for line in server.log.lines().filter(|line| line.contains("listening")) {
            let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
            server.addresses.push(address.and_then(|text| text.parse().ok()).expect("an address in the log"));
        }
        server
    }
}

/// A running server; killed when dropped.
struct Server {
    child: Child,
    lines: Receiver<String>,
    log: String,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Reads the log up to a line with these words.
    fn wait_for(&mut self, words: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("no {words:?} in the log:\n{}", self.log) };
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(words) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    fn wait_end(mut self) -> (Option<i32>, String) {
        let until = Instant::now() + PATIENCE;
        let code = loop {
            match self.child.try_wait().expect("asked") {
                Some(status) => break status.code(),
                None if Instant::now() > until => panic!("the server did not end:\n{}", self.log),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        (code, std::mem::take(&mut self.log))
    }

    fn connect(&self) -> Client {
        Client::new(self.addresses[0])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that has read its greeting.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let mut client = Client { stream: BufReader::new(stream) };
        let greeting = client.line();
        assert!(greeting.starts_with("* OK"), "{greeting}");
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line
    }

    /// Sends a command and gives the tagged answer.
    fn ask(&mut self, command: &str) -> String {
        self.stream.get_mut().write_all(format!("t {command}\r\n").as_bytes()).expect("sent");
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "hung up after {command}");
            if let Some(answer) = line.strip_prefix("t ") {
                return answer.trim_end().to_owned();
            }
        }
    }

    /// Everything up to the end.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("the end");
        rest
    }
}

fn write_certificate(home: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    std::fs::write(home.join("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(home.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
}

#[test]
fn users_are_added_listed_changed_and_removed() {
    let site = Site::new();
    assert_eq!(site.run("user list").stdout, "", "before the first user");
    site.add("Anna", "sesame");
    site.add("bert@example.org", "sesame\n");
    assert_eq!(site.run("user list").stdout, "anna\nbert@example.org\n");

    let again = site.run_with("user add anna --password-stdin", "x");
    assert_eq!((again.code, again.stderr.as_str()), (Some(1), "pillarbox: there is a user anna already\n"));
    assert_eq!(site.run_with("user passwd ANNA --password-stdin", "new").code, Some(0));
    let missing = site.run_with("user passwd nobody --password-stdin", "new");
    assert_eq!((missing.code, missing.stderr.as_str()), (Some(1), "pillarbox: there is no user nobody\n"));

    assert_eq!(site.run("user disable anna").code, Some(0));
    assert!(site.run("user list --long").stdout.starts_with("anna\taccount 1\tdisabled\n"));
    assert_eq!(site.run("user enable anna").code, Some(0));

    let removed = site.run("user remove anna --delete-mail");
    assert_eq!(removed.stdout, "removed anna\nthere was no mail to delete\n", "{}", removed.stderr);
    assert_eq!(site.run("user remove anna").code, Some(1));
    assert_eq!(site.run("user list").stdout, "bert@example.org\n");
    assert_eq!(site.run("check").code, Some(0));
    assert_eq!(site.run("check bert@example.org").code, Some(0));
    assert_eq!(site.run("check anna").code, Some(1));
}

#[test]
fn the_default_domain_makes_no_second_user() {
    let site = Site::with(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n[login]\ndefault_domain = \"example.org\"\n",
    );
    site.add("anna", "sesame");
    let twin = site.run_with("user add anna@example.org --password-stdin", "x");
    assert_eq!((twin.code, twin.stderr.as_str()), (Some(1), "pillarbox: there is a user anna already\n"));
    assert_eq!(site.run("user remove anna@example.org").code, Some(0));
}

#[test]
fn bad_names_and_passwords_are_refused_before_anything_is_made() {
    let site = Site::new();
    for name in ["../x", "a/b", "..", "@b", "a@"] {
        assert_eq!(site.run_with(&format!("user add {name} --password-stdin"), "pw").code, Some(1), "{name}");
    }
    for password in ["", "\n", "a\nb", "tab\there"] {
        let refused = site.run_with("user add anna --password-stdin", password);
        assert_eq!(refused.code, Some(1), "{password:?}");
    }
    assert!(!site.data_dir().exists());
}

#[test]
fn without_a_terminal_the_password_is_not_asked_for() {
    let site = Site::new();
    // setsid(1) takes the controlling terminal away, if the test has one.
    let Ok(output) = Command::new("setsid")
        .arg("-w")
        .arg(env!("CARGO_BIN_EXE_pillarbox"))
        .args(["user", "add", "anna", "--config"])
        .arg(site.config())
        .output()
    else {
        return;
    };
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--password-stdin"));
}

#[test]
fn a_bad_configuration_is_78_with_line_and_suggestion() {
    let site = Site::with("[[listen]]\nadress = \"127.0.0.1:0\"\n");
    for words in ["check-config", "serve", "user list", "check"] {
        let refused = site.run(words);
        let expected = format!(
            "pillarbox: {}:3: unknown key \"adress\" in [[listen]]; did you mean \"address\"?\n",
            site.config().display()
        );
        assert_eq!((refused.code, refused.stderr), (Some(78), expected), "{words}");
    }
    site.configure("[limits]\nmessage_bytes = \"big\"\n");
    let refused = site.run("check-config");
    assert_eq!(refused.code, Some(78));
    assert!(refused.stderr.contains("pillarbox.toml:3: limits.message_bytes: invalid type"), "{}", refused.stderr);
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    site.configure(listen);
    let refused = site.run("check-config");
    assert_eq!(refused.code, Some(78));
    assert!(refused.stderr.contains("pillarbox.toml:5: cannot read "), "{}", refused.stderr);
    write_certificate(site.home.path());
    assert_eq!(site.run("check-config").code, Some(0));
    std::fs::write(site.home.path().join("key.pem"), "nonsense").expect("written");
    for words in ["check-config", "serve"] {
        let refused = site.run(words);
        assert_eq!(refused.code, Some(78));
        assert!(
            refused.stderr.contains("pillarbox.toml:6: ") && refused.stderr.contains("no private key"),
            "{}",
            refused.stderr
        );
    }
    std::fs::remove_file(site.config()).expect("removed");
    assert_eq!(site.run("check-config").code, Some(78));
}

#[test]
fn wrong_usage_is_2() {
    let site = Site::new();
    for words in ["fly", "user", "user add", "serve --fast", "check-config extra"] {
        assert_eq!(site.run(words).code, Some(2), "{words}");
    }
}

#[test]
fn users_come_and_go_while_the_server_runs() {
    let site = Site::new();
    let server = site.serve();
    assert!(site.data_dir().join("control.sock").exists());
    let mut client = server.connect();
    assert!(client.ask("LOGIN anna sesame").starts_with("NO [AUTHENTICATIONFAILED]"));
    site.add("anna", "sesame");
    assert!(client.ask("LOGIN anna sesame").starts_with("OK"));
    let mut other = server.connect();
    assert_eq!(site.run("check").code, Some(0), "the running server checks");

    assert_eq!(site.run_with("user passwd anna --password-stdin", "new").code, Some(0));
    assert!(other.ask("LOGIN anna sesame").starts_with("NO [AUTHENTICATIONFAILED]"));
    assert!(other.ask("LOGIN anna new").starts_with("OK"));

    let removed = site.run("user remove anna");
    assert!(removed.stdout.contains("2 sessions were ended"), "{}{}", removed.stdout, removed.stderr);
    assert!(client.rest().starts_with("* BYE"));
    assert!(other.rest().starts_with("* BYE"));
    let mut late = server.connect();
    assert!(late.ask("LOGIN anna new").starts_with("NO [AUTHENTICATIONFAILED]"));

    server.signal("TERM");
    assert!(late.rest().starts_with("* BYE"));
    let (code, log) = server.wait_end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("sesame") && !log.contains("\"new\""), "no password in the log: {log}");
    assert!(!site.data_dir().join("control.sock").exists());
}

#[test]
fn a_second_server_is_told_the_pid_of_the_first() {
    let site = Site::new();
    let server = site.serve();
    let second = site.run("serve");
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains(&format!("in use by process {}", server.child.id())), "{}", second.stderr);
    server.signal("INT");
    assert_eq!(server.wait_end().0, Some(0));
}

#[test]
fn a_killed_server_leaves_nothing_that_hinders() {
    let site = Site::new();
    site.add("anna", "sesame");
    let mut server = site.serve();
    server.child.kill().expect("killed");
    server.child.wait().expect("ended");
    assert!(site.data_dir().join("control.sock").exists(), "left behind");
    assert_eq!(site.run("check").code, Some(0), "checked without a server");
    assert!(site.serve().connect().ask("LOGIN anna sesame").starts_with("OK"));
}

#[test]
fn a_hang_up_reloads_without_dropping_a_session() {
    let with = |extra: &str| {
        let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
        format!("{listen}[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n{extra}")
    };
    let site = Site { home: tempfile::tempdir().expect("a directory") };
    write_certificate(site.home.path());
    site.configure(&with(""));
    site.add("anna", "sesame");
    let mut server = site.serve();
    let mut client = server.connect();
    assert!(client.ask("LOGIN anna sesame").starts_with("OK"));

    write_certificate(site.home.path());
    site.configure(&with("[login]\nallow_plaintext = \"never\"\n"));
    server.signal("HUP");
    server.wait_for("read again");
    assert!(client.ask("NOOP").starts_with("OK"), "the session goes on");
    assert!(server.connect().ask("LOGIN anna sesame").starts_with("NO"), "the new rule holds for new sessions");

    site.configure("[limit]\n");
    server.signal("HUP");
    server.wait_for("nothing was changed");
    assert!(server.log.contains("did you mean [limits]?"), "{}", server.log);
    assert!(client.ask("NOOP").starts_with("OK"));
    server.signal("TERM");
    assert_eq!(server.wait_end().0, Some(0));
}

#[test]
fn a_reload_by_command_says_what_came_of_it() {
    let site = Site::new();
    let reload = || {
        let outcome = site.run("reload");
        (outcome.code, outcome.stdout + &outcome.stderr)
    };
    let (code, told) = reload();
    assert!(code == Some(1) && told.contains("no server is running"), "{told}");
    let _server = site.serve();
    assert_eq!(reload(), (Some(0), "configuration and certificate read again\n".into()));
    // What is wrong in the file, and what is wrong beside it, which only the server looks at.
    site.configure("[limit]\n");
    let (code, told) = reload();
    assert!(code == Some(78) && told.contains("did you mean [limits]?"), "{told}");
    let keys = "[oauth]\nissuer = \"https://id.example.org\"\naudience = \"x\"\njwks_file = \"nowhere.json\"\n";
    site.configure(&format!("[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n{keys}"));
    let (code, told) = reload();
    assert!(code == Some(1) && told.contains("nothing was changed"), "{told}");
}

#[test]
fn the_journal_is_told_how_grave_a_line_is() {
    use std::os::unix::fs::MetadataExt;
    let site = Site::new();
    let path = site.home.path().join("journal");
    // Like the journal's stream: known by device and inode. A server whose standard error is another file sees no journal.
    let run = |config: &str, is_journal: bool| {
        site.configure(config);
        let file = std::fs::File::create(&path).expect("made");
        let about = file.metadata().expect("there");
        let stream = format!("{}:{}", about.dev(), about.ino() + u64::from(!is_journal));
        let mut command = site.command("serve");
        let mut server = command.env("JOURNAL_STREAM", stream).stderr(file).spawn().expect("started");
        let until = Instant::now() + PATIENCE;
        let read = || std::fs::read_to_string(&path).expect("read");
        while !read().contains("ready") && server.try_wait().expect("asked").is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = server.kill();
        server.wait().expect("ended");
        read()
    };
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\nsecurity = \"none\"\n";
    let told = run(listen, true);
    assert!(told.lines().all(|line| line.starts_with("<6> INFO ")), "{told}");
    let told = run(&format!("{listen}[log]\nformat = \"json\"\n"), true);
    assert!(told.lines().all(|line| line.starts_with("<6>{\"timestamp\":")), "{told}");
    let told = run(listen, false);
    assert!(told.lines().all(|line| line.starts_with("20") && line.contains("Z  INFO ")), "{told}");
    let told = run("[limit]\n", true);
    assert!(told.starts_with("<3>pillarbox: ") && told.contains("did you mean [limits]?"), "{told}");
}

#[test]
fn what_the_server_makes_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.add("anna", "sesame");
    let _server = site.serve();
    let mut open = vec![site.data_dir()];
    while let Some(path) = open.pop() {
        let about = std::fs::symlink_metadata(&path).expect("there");
        assert_eq!(about.permissions().mode() & 0o077, 0, "{}", path.display());
        if about.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path()));
        }
    }
}

#[test]
fn app_passwords_are_shown_once_listed_with_their_use_and_taken_away() {
    let site = Site::new();
    site.add("anna", "sesame");
    let server = site.serve();
    let made = site.run("user app-password add anna --device phone");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let password = made.stdout.trim().to_owned();
    assert_eq!(password.len(), 24, "{password}");
    assert_eq!(site.run("user app-password add anna --device phone").code, Some(1), "one for each device");
    let listed = site.run("user app-password list anna").stdout;
    assert!(listed.starts_with("phone\tmade 20") && listed.ends_with("\tnever used\n"), "{listed}");
    let mut client = server.connect();
    assert!(client.ask(&format!("LOGIN anna {password}")).starts_with("OK"));
    let listed = site.run("user app-password list anna").stdout;
    assert!(listed.contains("\tused 20"), "{listed}");
    assert!(!listed.contains(&password[5..]), "it is not shown again");
    assert_eq!(site.run("user app-password remove anna --device phone").code, Some(0));
    assert_eq!(site.run("user app-password remove anna --device phone").code, Some(1));
    assert!(server.connect().ask(&format!("LOGIN anna {password}")).starts_with("NO [AUTHENTICATIONFAILED]"));
    assert!(server.connect().ask("LOGIN anna sesame").starts_with("OK"));
}

#[test]
fn a_master_acts_for_others_and_the_log_says_so() {
    let site = Site::new();
    site.add("anna", "sesame");
    site.add("boss", "secret-of-boss");
    let mut server = site.serve();
    // base64 of "anna NUL boss NUL secret-of-boss"
    let act = "AUTHENTICATE PLAIN YW5uYQBib3NzAHNlY3JldC1vZi1ib3Nz";
    assert!(server.connect().ask(act).starts_with("NO [AUTHORIZATIONFAILED]"));
    assert_eq!(site.run("user master boss").stdout, "boss may act for all others\n");
    assert!(site.run("user list --long").stdout.contains("boss\taccount 2\tenabled\tmaster\n"));
    assert!(server.connect().ask(act).starts_with("OK"));
    server.wait_for("on behalf of another");
    let line = server.log.lines().last().expect("a line");
    assert!(line.contains("user=\"anna\"") && line.contains("acting=\"boss\""), "{line}");
    assert!(!server.log.contains("secret-of-boss"));
    assert_eq!(site.run("user master boss --revoke").code, Some(0));
    assert!(server.connect().ask(act).starts_with("NO [AUTHORIZATIONFAILED]"));
    assert_eq!(site.run("user master boss").code, Some(0));
    let mut acting = server.connect();
    assert!(acting.ask(act).starts_with("OK"));
    let told = site.run("user disable boss").stdout;
    assert!(told.contains("session") && acting.rest().starts_with("* BYE [CONTACTADMIN]"), "{told}");
}

#[test]
fn a_passwd_file_is_taken_over_and_what_is_not_is_told_line_by_line() {
    let site = Site::new();
    let file = site.home.path().join("passwd");
    let hash = "{SHA256}cPwmmWo+TyzEY1K5kLjQzGdKyl56yrUq3sBLOLr8qMc=";
    let lines = format!(
        "# users\nanna:{hash}:1000:1000::/home/anna::userdb_quota=x\nbert:$y$j9T$a$b:1:1\n\ncarl:{{PLAIN}}open\nanna:{hash}\n\
         dora:!{hash}\n../evil:{{PLAIN}}x\n"
    );
    std::fs::write(&file, lines).expect("written");
    let told = site.run(&format!("import passwd {}", file.display()));
    assert_eq!(told.code, Some(1));
    let expected = "line 2: anna: userdb_quota is not kept\n\
        line 3: not taken: yescrypt hashes cannot be checked here; set a new password\n\
        line 6: not taken: anna: there is a user anna already\n\
        line 8: not taken: a user name has no spaces, slashes or control characters\n\
        3 users were taken, 3 lines were not\n";
    assert_eq!(told.stdout, expected);
    assert!(site.run("user list --long").stdout.contains("dora\taccount 3\tdisabled"));
    let server = site.serve();
    for _ in 0..2 {
        assert!(server.connect().ask("LOGIN anna \"trout & \u{e4}\"").starts_with("OK"));
    }
    assert!(server.connect().ask("LOGIN carl open").starts_with("OK"));
    assert_eq!(site.run("import passwd /nowhere/at/all").code, Some(1));
}

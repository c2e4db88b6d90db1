//! The text of a strace log becomes calls. Two moments matter of each: the line where it began and the
//! line where it ended, for a sync covers only what had ended before it began. Strings are read in the
//! all-hexadecimal form of `-xx`, in which no path or byte can be mistaken for syntax.

use std::collections::HashMap;

/// The calls that can change a directory tree, move a file position, or answer a client. A leading `?`
/// lets strace pass over one this machine's architecture does not have.
pub const CALLS: &str = "?open,openat,?creat,?openat2,close,read,?readv,write,pwrite64,writev,pwritev,?pwritev2,\
    ftruncate,?truncate,fallocate,fsync,fdatasync,sync,syncfs,?rename,?renameat,renameat2,?link,linkat,?symlink,\
    symlinkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,sendto,sendmsg,lseek,dup,?dup2,dup3,fcntl,mmap,\
    copy_file_range,sendfile,splice,io_uring_setup";

/// The arguments that make strace write a log this module can read.
pub fn recording_to(log: &std::path::Path) -> Vec<String> {
    let log = log.display().to_string();
    // The string limit is above any single write of the server; a cut string is found and refused.
    let words = ["-f", "-y", "-xx", "-s", "4194304", "--seccomp-bpf", "-e", "signal=none", "-o", &log, "-e"];
    words.iter().map(ToString::to_string).chain([format!("trace={CALLS}")]).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<String>,
    /// What the call returned; None when the process was killed inside it.
    pub result: Option<i64>,
    /// Line numbers in the log; `end` is `usize::MAX` for a call that never ended.
    pub start: usize,
    pub end: usize,
}

/// A file descriptor in an argument, with the path strace saw behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub number: i64,
    pub path: Vec<u8>,
}

impl Call {
    pub fn argument(&self, place: usize) -> &str {
        self.arguments.get(place).map_or("", String::as_str)
    }

    pub fn descriptor(&self, place: usize) -> Option<Descriptor> {
        let text = self.argument(place);
        let (number, rest) = text.split_once('<').unwrap_or((text, ""));
        let number = if number == "AT_FDCWD" { -100 } else { number.parse().ok()? };
        let path = unhex(rest.split('>').next().unwrap_or_default());
        Some(Descriptor { number, path })
    }

    /// A string argument, or the bytes of all pieces of an I/O vector; None when strace cut it short.
    pub fn bytes(&self, place: usize) -> Option<Vec<u8>> {
        let mut text = self.argument(place);
        if self.name == "sendmsg" {
            text = text.split_once("msg_iov=[").map_or("", |(_, vector)| vector);
        }
        let mut found = Vec::new();
        let mut pieces = text.split('"');
        pieces.next();
        while let Some(piece) = pieces.next() {
            found.extend(unhex(piece));
            if pieces.next().is_some_and(|after| after.starts_with("...")) {
                return None;
            }
        }
        Some(found)
    }

    pub fn number(&self, place: usize) -> Option<i64> {
        self.argument(place).parse().ok()
    }

    pub fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    let mut found = Vec::with_capacity(text.len() / 4);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            found.push(byte);
            continue;
        }
        let (_x, high, low) = (bytes.next(), bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0'));
        found.push(digit(high) << 4 | digit(low));
    }
    found
}

/// Every call of the log, in the order in which they began.
pub fn calls(log: &str) -> Result<Vec<Call>, String> {
    let mut found = Vec::new();
    let mut unfinished: HashMap<&str, (String, usize)> = HashMap::new();
    for (line_number, line) in log.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if text.starts_with("+++") || text.starts_with("---") {
            continue;
        }
        if let Some(rest) = text.strip_prefix("<... ") {
            let Some((_, tail)) = rest.split_once(" resumed>") else {
                return Err(format!("line {line_number}: {}", shortened(line)));
            };
            let Some((head, start)) = unfinished.remove(thread) else {
                return Err(format!("line {line_number} resumes what never began: {}", shortened(line)));
            };
            found.push(call(&format!("{head}{tail}"), start, line_number)?);
        } else if let Some(head) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (head.trim_end().to_owned(), line_number));
        } else {
            found.push(call(text, line_number, line_number)?);
        }
    }
    for (head, start) in unfinished.into_values() {
        found.push(call(&format!("{head}) = ?"), start, usize::MAX)?);
    }
    found.sort_by_key(|call| call.start);
    Ok(found)
}

fn call(text: &str, start: usize, end: usize) -> Result<Call, String> {
    let odd = || format!("line {start}: cannot read {}", shortened(text));
    let (name, rest) = text.split_once('(').ok_or_else(odd)?;
    let mut arguments = Vec::new();
    let (mut depth, mut from, mut closed) = (0usize, 0, None);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                arguments.push(rest[from..at].trim().to_owned());
                closed = Some(at);
                break;
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                arguments.push(rest[from..at].trim().to_owned());
                from = at + 1;
            }
            _ => {}
        }
    }
    let after = &rest[closed.ok_or_else(odd)? + 1..];
    let value = after.trim_start().strip_prefix("= ").ok_or_else(odd)?;
    let value = value.split([' ', '<']).next().unwrap_or_default();
    let result = match value.strip_prefix("0x") {
        Some(address) => i64::from_str_radix(address, 16).ok(),
        None => value.parse().ok(),
    };
    let end = if value == "?" { usize::MAX } else { end };
    Ok(Call { name: name.to_owned(), arguments, result, start, end })
}

fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = concat!(
        r#"7 openat(AT_FDCWD<\x2f\x64>, "\x61\x20\x62", O_RDWR|O_CREAT, 0600) = 7<\x2f\x64\x2f\x61\x20\x62>"#,
        "\n",
        r#"7 pwrite64(7<\x2f\x64>(deleted), "\x28\x22\x2c", 3, 4096 <unfinished ...>"#,
        "\n",
        r#"8 fdatasync(7<\x2f\x64> <unfinished ...>"#,
        "\n",
        r#"7 <... pwrite64 resumed>)              = 3"#,
        "\n8 <... fdatasync resumed>)          = -1 EIO (Input/output error) (INJECTED)\n",
        r#"7 writev(9<\x73>, [{iov_base="\x61", iov_len=1}, {iov_base="\x62\x63", iov_len=2}], 2) = 3"#,
        "\n",
        r#"7 sendmsg(5<\x73>, {msg_name="\x78", msg_iov=[{iov_base="\x61", iov_len=1}], msg_iovlen=1}, 0) = 1"#,
        "\n7 +++ killed by SIGKILL +++\n8 fsync(3<\\x2f>) = ?\n",
    );

    #[test]
    fn calls_keep_their_beginning_and_their_end() {
        let found = calls(LOG).expect("read");
        let spans: Vec<_> = found.iter().map(|call| (call.name.as_str(), call.start, call.end)).collect();
        let never = usize::MAX;
        assert_eq!(
            spans,
            [
                ("openat", 0, 0),
                ("pwrite64", 1, 3),
                ("fdatasync", 2, 4),
                ("writev", 5, 5),
                ("sendmsg", 6, 6),
                ("fsync", 8, never)
            ]
        );
        assert_eq!((found[1].result, found[2].result, found[5].result), (Some(3), Some(-1), None));
    }

    #[test]
    fn arguments_are_decoded() {
        let found = calls(LOG).expect("read");
        assert_eq!(found[0].descriptor(0), Some(Descriptor { number: -100, path: b"/d".to_vec() }));
        assert_eq!(found[0].bytes(1).as_deref(), Some(&b"a b"[..]));
        assert_eq!((found[0].argument(2), found[0].result), ("O_RDWR|O_CREAT", Some(7)));
        assert_eq!(found[1].bytes(1).as_deref(), Some(&b"(\","[..]));
        assert_eq!(found[1].number(3), Some(4096));
        assert_eq!(found[3].bytes(1).as_deref(), Some(&b"abc"[..]));
        assert_eq!(found[4].bytes(1).as_deref(), Some(&b"a"[..]));
        let cut = calls("7 write(1<\\x2f>, \"\\x61\"..., 5) = 5").expect("read");
        assert_eq!(cut[0].bytes(1), None);
    }
}

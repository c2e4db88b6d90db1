//! Calls become operations on a tree of files, each with the moments of its beginning and end, plus what
//! was sent to whom and when. A call that could change the tree in a way this module does not know is an
//! error: a recording is complete or it is nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::strace::{Call, Descriptor};

/// A file or directory, whatever names it has or had.
pub type NodeId = usize;
pub const ROOT: NodeId = 0;

/// What was there, and durable, when the recording began; empty for what came later.
#[derive(Clone, Debug)]
pub enum Node {
    Directory(BTreeMap<String, NodeId>),
    File(Vec<u8>),
}

#[derive(Clone, Debug)]
pub enum Operation {
    Write { file: NodeId, offset: u64, bytes: Vec<u8> },
    Resize { file: NodeId, length: u64 },
    Enter { directory: NodeId, name: String, node: NodeId },
    Leave { directory: NodeId, name: String },
    Rename { from: (NodeId, String), to: (NodeId, String), node: NodeId },
    Sync { node: NodeId },
}

#[derive(Clone, Debug)]
pub struct Event {
    pub start: usize,
    pub end: usize,
    pub operation: Operation,
}

pub struct Recording {
    pub nodes: Vec<Node>,
    /// In the order in which they ended.
    pub events: Vec<Event>,
    /// Complete lines sent on sockets, with the moment the call began that sent their last byte.
    pub sent: Vec<(usize, Vec<u8>)>,
    /// The number of moments: cuts are from 0 to this.
    pub moments: usize,
}

impl Recording {
    /// Follows `calls` over the tree at `root` as it was before them. `before` must be a copy of that tree.
    pub fn new(root: &Path, before: &Path, calls: &[Call]) -> Result<Self, String> {
        let mut follower = Follower {
            root: root.to_str().ok_or("the root is not UTF-8")?.to_owned(),
            recording: Recording { nodes: Vec::new(), events: Vec::new(), sent: Vec::new(), moments: 0 },
            names: Vec::new(),
            lengths: Vec::new(),
            open: HashMap::new(),
            positions: Vec::new(),
            partial_lines: HashMap::new(),
        };
        follower.read_tree(before).map_err(|error| format!("{}: {error}", before.display()))?;
        // A descriptor is free again as soon as its close begins, and an answer may have arrived as soon
        // as its sending begins; all else counts from its end.
        let is_early = |call: &Call| {
            let sends = ["write", "writev", "sendto", "sendmsg"].contains(&call.name.as_str());
            call.name == "close" || (sends && follower.file_of(call.descriptor(0)).is_none() && is_socket(call))
        };
        let mut order: Vec<(usize, &Call)> =
            calls.iter().map(|call| (if is_early(call) { call.start } else { call.end }, call)).collect();
        order.sort_by_key(|(moment, call)| (*moment, call.start));
        let last = calls.iter().flat_map(|call| [call.start, call.end]).filter(|moment| *moment != usize::MAX).max();
        for (_, call) in order {
            follower.follow(call).map_err(|text| format!("log line {}: {}: {text}", call.start + 1, call.name))?;
        }
        follower.recording.moments = last.map_or(0, |moment| moment + 1);
        Ok(follower.recording)
    }
}

fn is_socket(call: &Call) -> bool {
    call.descriptor(0).is_some_and(|descriptor| !descriptor.path.starts_with(b"/"))
}

struct Follower {
    root: String,
    recording: Recording,
    /// The tree as it is at this moment: names in directories, lengths of files.
    names: Vec<BTreeMap<String, NodeId>>,
    lengths: Vec<u64>,
    /// Descriptors of files in the tree: the node, the place of its position, opened to append.
    open: HashMap<i64, (NodeId, usize, bool)>,
    positions: Vec<u64>,
    partial_lines: HashMap<i64, Vec<u8>>,
}

impl Follower {
    fn read_tree(&mut self, path: &Path) -> std::io::Result<NodeId> {
        if !path.is_dir() {
            let bytes = std::fs::read(path)?;
            return Ok(self.add(Node::File(bytes)));
        }
        let directory = self.add(Node::Directory(BTreeMap::new()));
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() || kind.is_file() {
                let node = self.read_tree(&entry.path())?;
                names.insert(entry.file_name().to_string_lossy().into_owned(), node);
            }
        }
        self.names[directory] = names.clone();
        self.recording.nodes[directory] = Node::Directory(names);
        Ok(directory)
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.lengths.push(if let Node::File(bytes) = &node { bytes.len() as u64 } else { 0 });
        self.names.push(BTreeMap::new());
        self.recording.nodes.push(node);
        self.recording.nodes.len() - 1
    }

    fn note(&mut self, call: &Call, operation: Operation) {
        self.recording.events.push(Event { start: call.start, end: call.end, operation });
    }

    fn follow(&mut self, call: &Call) -> Result<(), String> {
        // What failed changed nothing; what never ended may have, so it counts as under way for ever.
        if call.result.is_some() && !call.succeeded() && call.name != "close" {
            return Ok(());
        }
        match call.name.as_str() {
            "open" | "openat" | "creat" | "openat2" => self.open(call),
            "close" => {
                if let Some(descriptor) = call.descriptor(0) {
                    self.open.remove(&descriptor.number);
                    self.partial_lines.remove(&descriptor.number);
                }
                Ok(())
            }
            "dup" | "dup2" | "dup3" => self.duplicate(call),
            "fcntl" if call.argument(1).starts_with("F_DUPFD") => self.duplicate(call),
            "lseek" | "read" | "readv" => {
                if let Some((_, position, _)) = self.opened(call) {
                    let result = call.result.unwrap_or(0) as u64;
                    let moved = if call.name == "lseek" { result } else { self.positions[position] + result };
                    self.positions[position] = moved;
                }
                Ok(())
            }
            "write" | "writev" | "sendto" | "sendmsg" => match self.opened(call) {
                Some((file, position, appends)) => {
                    let offset = if appends { self.lengths[file] } else { self.positions[position] };
                    let written = self.write(call, file, offset)?;
                    self.positions[position] = offset + written;
                    Ok(())
                }
                None if is_socket(call) => self.send(call),
                None => Ok(()),
            },
            "pwrite64" | "pwritev" | "pwritev2" => match self.opened(call) {
                Some((file, ..)) => {
                    let offset = call.number(3).ok_or("no offset")? as u64;
                    self.write(call, file, offset).map(|_| ())
                }
                None => Ok(()),
            },
            "ftruncate" => match self.opened(call) {
                Some((file, ..)) => self.resize(call, file, call.number(1).ok_or("no length")? as u64),
                None => Ok(()),
            },
            "fallocate" => self.allocate(call),
            "fsync" | "fdatasync" => {
                if let (Some((node, ..)), Some(0)) = (self.opened(call), call.result) {
                    self.note(call, Operation::Sync { node });
                }
                Ok(())
            }
            "sync" | "syncfs" if call.result.is_some() => {
                (0..self.recording.nodes.len()).for_each(|node| self.note(call, Operation::Sync { node }));
                Ok(())
            }
            "mkdir" | "mkdirat" => {
                let place = usize::from(call.name == "mkdirat");
                let Some((directory, name)) = self.place_of(call, place)? else { return Ok(()) };
                let node = self.add(Node::Directory(BTreeMap::new()));
                self.enter(call, directory, name, node);
                Ok(())
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let place = usize::from(call.name == "unlinkat");
                let Some((directory, name)) = self.place_of(call, place)? else { return Ok(()) };
                // A socket was never in the tree.
                if self.names[directory].remove(&name).is_some() {
                    self.note(call, Operation::Leave { directory, name });
                }
                Ok(())
            }
            "link" | "linkat" => self.link(call),
            "rename" | "renameat" | "renameat2" => self.rename(call),
            "mmap" => {
                let flags = (call.argument(2).contains("PROT_WRITE"), call.argument(3).contains("MAP_SHARED"));
                let file = call.descriptor(4).unwrap_or(Descriptor { number: -1, path: Vec::new() });
                // The wal-index is rebuilt after a crash, so what is written through its mapping does not count.
                if flags == (true, true) && self.open.contains_key(&file.number) && !file.path.ends_with(b"-shm") {
                    return Err("a file is written through a mapping".into());
                }
                Ok(())
            }
            "io_uring_setup" => Err("writes through a ring cannot be followed".into()),
            "truncate" | "symlink" | "symlinkat" | "copy_file_range" | "sendfile" | "splice" => {
                let touches = call.arguments.iter().enumerate().any(|(place, _)| {
                    self.file_of(call.descriptor(place)).is_some()
                        || call.bytes(place).is_some_and(|path| path.starts_with(self.root.as_bytes()))
                });
                if touches { Err("this call cannot be followed".into()) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn file_of(&self, descriptor: Option<Descriptor>) -> Option<(NodeId, usize, bool)> {
        self.open.get(&descriptor?.number).copied()
    }

    fn opened(&self, call: &Call) -> Option<(NodeId, usize, bool)> {
        self.file_of(call.descriptor(0))
    }

    fn open(&mut self, call: &Call) -> Result<(), String> {
        let Some(descriptor) = call.result else { return Ok(()) };
        self.open.remove(&descriptor);
        let place = usize::from(call.name.starts_with("openat"));
        let flags = if call.name == "creat" { "O_CREAT|O_TRUNC" } else { call.argument(place + 1) };
        let has = |flag: &str| flags.split(['|', '=', '{', ' ']).any(|word| word == flag);
        let node = match self.path_of(call, place)? {
            None => return Ok(()),
            Some(_) if has("O_TMPFILE") => self.add(Node::File(Vec::new())),
            Some(path) => match self.look_up(&path) {
                Some(node) => node,
                None if has("O_CREAT") => {
                    let (directory, name) = self.place_of(call, place)?.ok_or("the root itself is made")?;
                    let node = self.add(Node::File(Vec::new()));
                    self.enter(call, directory, name, node);
                    node
                }
                None => return Err(format!("{path:?} is opened, but nobody made it")),
            },
        };
        if has("O_TRUNC") && self.lengths[node] > 0 {
            self.resize(call, node, 0)?;
        }
        self.positions.push(0);
        self.open.insert(descriptor, (node, self.positions.len() - 1, has("O_APPEND")));
        Ok(())
    }

    fn duplicate(&mut self, call: &Call) -> Result<(), String> {
        let Some(new) = call.result else { return Ok(()) };
        match self.opened(call) {
            Some(opened) => self.open.insert(new, opened),
            None => self.open.remove(&new),
        };
        Ok(())
    }

    fn write(&mut self, call: &Call, file: NodeId, offset: u64) -> Result<u64, String> {
        let mut bytes = call.bytes(1).ok_or("strace cut the bytes short")?;
        if let Some(written) = call.result {
            bytes.truncate(written as usize);
        }
        let written = bytes.len() as u64;
        self.lengths[file] = self.lengths[file].max(offset + written);
        self.note(call, Operation::Write { file, offset, bytes });
        Ok(written)
    }

    fn resize(&mut self, call: &Call, file: NodeId, length: u64) -> Result<(), String> {
        self.lengths[file] = length;
        self.note(call, Operation::Resize { file, length });
        Ok(())
    }

    fn allocate(&mut self, call: &Call) -> Result<(), String> {
        let Some((file, ..)) = self.opened(call) else { return Ok(()) };
        match call.argument(1) {
            "0" => {
                let (offset, length) = (call.number(2).unwrap_or(0), call.number(3).ok_or("no length")?);
                let length = self.lengths[file].max((offset + length) as u64);
                self.resize(call, file, length)
            }
            "FALLOC_FL_KEEP_SIZE" => Ok(()),
            mode => Err(format!("mode {mode} cannot be followed")),
        }
    }

    fn enter(&mut self, call: &Call, directory: NodeId, name: String, node: NodeId) {
        self.names[directory].insert(name.clone(), node);
        self.note(call, Operation::Enter { directory, name, node });
    }

    fn link(&mut self, call: &Call) -> Result<(), String> {
        let (old, new) = if call.name == "link" { (0, 1) } else { (1, 3) };
        let Some((directory, name)) = self.place_of(call, new)? else { return Ok(()) };
        let source = self.absolute(call, old)?;
        // A file made without a name gets one through /proc.
        let node = match source.strip_prefix("/proc/self/fd/") {
            Some(number) => number.parse().ok().and_then(|number: i64| self.open.get(&number)).map(|(node, ..)| *node),
            None if call.argument(4).contains("AT_EMPTY_PATH") => self.opened(call).map(|(node, ..)| node),
            None => self.inside(&source).and_then(|path| self.look_up(&path)),
        };
        let node = node.ok_or_else(|| format!("{source} is linked, but nobody made it"))?;
        self.enter(call, directory, name, node);
        Ok(())
    }

    fn rename(&mut self, call: &Call) -> Result<(), String> {
        let (old, new) = if call.name == "rename" { (0, 1) } else { (1, 3) };
        if call.argument(4).contains("EXCHANGE") {
            return Err("an exchange cannot be followed".into());
        }
        match (self.place_of(call, old)?, self.place_of(call, new)?) {
            (None, None) => Ok(()),
            (Some(from), Some(to)) => {
                let Some(node) = self.names[from.0].remove(&from.1) else {
                    // A socket was never in the tree.
                    return Ok(());
                };
                self.names[to.0].insert(to.1.clone(), node);
                self.note(call, Operation::Rename { from, to, node });
                Ok(())
            }
            _ => Err("something crosses the edge of the tree".into()),
        }
    }

    fn send(&mut self, call: &Call) -> Result<(), String> {
        let Some(descriptor) = call.descriptor(0) else { return Ok(()) };
        let mut bytes = call.bytes(1).ok_or("strace cut the bytes short")?;
        if let Some(sent) = call.result {
            bytes.truncate(sent as usize);
        }
        let partial = self.partial_lines.entry(descriptor.number).or_default();
        for byte in bytes {
            partial.push(byte);
            if byte == b'\n' {
                self.recording.sent.push((call.start, std::mem::take(partial)));
            }
        }
        Ok(())
    }

    /// The path of an argument, made absolute by the directory descriptor before it.
    fn absolute(&self, call: &Call, place: usize) -> Result<String, String> {
        let path = call.bytes(place).ok_or("strace cut a path short")?;
        let path = String::from_utf8(path).map_err(|_| "a path that is not UTF-8")?;
        let has_directory = call.name.ends_with("at") || call.name.ends_with("at2");
        if path.starts_with('/') || !has_directory || place == 0 {
            return Ok(path);
        }
        let directory = call.descriptor(place - 1).ok_or("no directory descriptor")?;
        Ok(format!("{}/{path}", String::from_utf8_lossy(&directory.path)))
    }

    /// The names from the root down, None when the path is elsewhere.
    fn inside(&self, path: &str) -> Option<Vec<String>> {
        let below = path.strip_prefix(&self.root)?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(below.split('/').filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect())
    }

    fn path_of(&self, call: &Call, place: usize) -> Result<Option<Vec<String>>, String> {
        Ok(self.inside(&self.absolute(call, place)?))
    }

    fn look_up(&self, path: &[String]) -> Option<NodeId> {
        path.iter().try_fold(ROOT, |directory, name| self.names[directory].get(name).copied())
    }

    /// The directory and the name of a path argument, None when it is not below the root.
    fn place_of(&self, call: &Call, place: usize) -> Result<Option<(NodeId, String)>, String> {
        let Some(mut path) = self.path_of(call, place)? else { return Ok(None) };
        let Some(name) = path.pop() else { return Ok(None) };
        match self.look_up(&path) {
            Some(directory) => Ok(Some((directory, name))),
            None => Err(format!("nobody made the directory {path:?}")),
        }
    }
}

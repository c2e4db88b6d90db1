//! Quota: how much of what may be stored under a root, a name the server makes up (RFC 9208).

use std::fmt;

/// SETQUOTA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetQuota {
    /// The root's name, in the octets the client sent.
    pub root: Vec<u8>,
    /// All limits from now on, each resource only once; what is not named has none.
    pub limits: Vec<(ResourceArgument, u64)>,
}

impl SetQuota {
    /// Most limits in one command.
    pub const MAX_LIMITS: usize = 32;
}

/// A resource as an argument. An unknown one is no syntax error: the command is answered NO, with this reason.
pub type ResourceArgument = Result<Resource, UnknownResource>;

/// What is counted (RFC 9208 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// In units of 1024 octets.
    Storage,
    /// Messages.
    Message,
    /// Mailboxes.
    Mailbox,
    /// Annotations, in units of 1024 octets.
    AnnotationStorage,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 4] =
        [Resource::Storage, Resource::Message, Resource::Mailbox, Resource::AnnotationStorage];

    /// The name as written on the wire.
    pub const fn wire(self) -> &'static str {
        match self {
            Resource::Storage => "STORAGE",
            Resource::Message => "MESSAGE",
            Resource::Mailbox => "MAILBOX",
            Resource::AnnotationStorage => "ANNOTATION-STORAGE",
        }
    }
}

/// A name that is none of them, as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownResource(pub String);

impl fmt::Display for UnknownResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a resource that is counted here", self.0)
    }
}

impl std::error::Error for UnknownResource {}

/// How much of a resource is used and may be used, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceUsage {
    pub resource: Resource,
    pub used: u64,
    pub limit: u64,
}

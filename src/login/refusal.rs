//! Why somebody may not come in, and how that is said.

use std::fmt;

/// Why somebody may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginRefusal {
    /// No such user, or not his password; which of the two is not told.
    WrongPassword,
    /// The token is not good, or names nobody here; which of the two is not told.
    WrongToken,
    /// There is no client certificate, or it names nobody here.
    WrongCertificate,
    /// What was sent is not of the mechanism.
    Malformed,
    /// It is proved who it is, but acting for the other user that was named is not allowed.
    NotAllowed,
    /// Trouble of ours: the password may well be right.
    Unavailable,
    /// Too much at once; the text says what.
    Busy(&'static str),
    /// It is proved who it is, but the user is barred.
    Disabled,
}

impl LoginRefusal {
    /// The response code (RFC 5530 §3). Clients ask their owner for a new password only at the first.
    pub fn code(&self) -> &'static str {
        match self {
            LoginRefusal::WrongPassword
            | LoginRefusal::WrongToken
            | LoginRefusal::WrongCertificate
            | LoginRefusal::Malformed => "AUTHENTICATIONFAILED",
            LoginRefusal::NotAllowed => "AUTHORIZATIONFAILED",
            LoginRefusal::Unavailable | LoginRefusal::Busy(_) => "UNAVAILABLE",
            LoginRefusal::Disabled => "CONTACTADMIN",
        }
    }
}

impl fmt::Display for LoginRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoginRefusal::WrongPassword => "user name or password is wrong",
            LoginRefusal::WrongToken => "the token is not accepted",
            LoginRefusal::WrongCertificate => "the client certificate names no user of this server",
            LoginRefusal::Malformed => "what was sent is not of this mechanism",
            LoginRefusal::NotAllowed => "acting for that user is not allowed",
            LoginRefusal::Unavailable => "logging in does not work right now, try again later",
            LoginRefusal::Busy(text) => text,
            LoginRefusal::Disabled => "this user is disabled, ask the administrator",
        })
    }
}

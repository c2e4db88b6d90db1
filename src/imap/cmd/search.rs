//! SEARCH
use crate::imap::answer::{Answer, no};
use crate::imap::session::Selected;
use crate::types::{Code, Search};
pub async fn search(_cx: Selected<'_>, _arguments: Search) -> Answer {
    Err(no(Code::Cannot, "later"))
}

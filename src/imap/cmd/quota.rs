//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208). Each account has one root, called after its user.

use crate::imap::answer::{Answer, Done, Stop, no};
use crate::imap::session::{Session, State};
use crate::mailstore::{Account, QuotaLimits, Usage};
use crate::types::quota::{Resource, ResourceUsage, SetQuota};
use crate::types::{Code, MailboxArgument};
use crate::wire::quota::{write_quota, write_quota_root};

/// What stands in front of the user's name in the name of a root.
const ROOT_PREFIX: &str = "#user/";
/// STORAGE and ANNOTATION-STORAGE count in units of so many octets (RFC 9208 §5.1).
const UNIT: u64 = 1024;

pub async fn get(session: &mut Session, root: &[u8]) -> Answer {
    let (account, name) = named(session, root).await?;
    write(session, &account, &name);
    Ok(Done::default())
}

pub async fn get_root(session: &mut Session, mailbox: MailboxArgument) -> Answer {
    // RFC 9208 §4.1.2: the mailbox need not be there.
    let mailbox = mailbox.map_err(|bad| no(Code::NonExistent, bad.to_string()))?;
    let (account, root) = own(session)?;
    let dialect = session.dialect();
    write_quota_root(&mut session.channel.out, &mailbox, &[&root], dialect);
    write(session, &account, &root);
    Ok(Done::default())
}

pub async fn set(session: &mut Session, arguments: SetQuota) -> Answer {
    if !is_operator(session) {
        return Err(no(Code::NoPerm, "only operators of this server may change limits"));
    }
    let mut limits = QuotaLimits::default();
    for (resource, limit) in arguments.limits {
        let resource = resource.map_err(|unknown| no(Code::Cannot, unknown.to_string()))?;
        match resource {
            Resource::Storage => limits.bytes = Some(limit.saturating_mul(UNIT)),
            Resource::Message => limits.messages = Some(limit),
            Resource::Mailbox => limits.mailboxes = Some(limit),
            Resource::AnnotationStorage => limits.annotation_bytes = Some(limit.saturating_mul(UNIT)),
        }
    }
    let (account, name) = named(session, &arguments.root).await?;
    account.set_quota(limits).await?;
    tracing::info!(by = session.user, root = name, "the quota was changed");
    write(session, &account, &name);
    Ok(Done::default())
}

/// True for users who may see and change the limits of others.
pub fn is_operator(session: &Session) -> bool {
    session.host.config.load().quota.operators.contains(&session.user)
}

fn own(session: &Session) -> Result<(Account, String), Stop> {
    match &session.state {
        State::Authenticated(account) | State::Selected(account, _) => {
            Ok((account.clone(), format!("{ROOT_PREFIX}{}", session.user)))
        }
        State::NotAuthenticated => Err(crate::imap::answer::bad("log in first")),
    }
}

/// The account of a root: one's own, or for operators anybody's.
async fn named(session: &mut Session, root: &[u8]) -> Result<(Account, String), Stop> {
    let (account, own_root) = own(session)?;
    if root == own_root.as_bytes() {
        return Ok((account, own_root));
    }
    let unknown = || no(Code::NonExistent, "there is no such quota root");
    let user = std::str::from_utf8(root).ok().and_then(|root| root.strip_prefix(ROOT_PREFIX)).ok_or_else(unknown)?;
    // Whoever may not look is told the same, whether there is such a user or not.
    if !is_operator(session) {
        return Err(unknown());
    }
    let login = session.host.login.clone();
    let found = login.account_of(user).await.ok_or_else(unknown)?;
    Ok((session.host.store.account(found).await?, format!("{ROOT_PREFIX}{user}")))
}

fn write(session: &mut Session, account: &Account, root: &str) {
    let (used, limits) = account.quota();
    write_quota(&mut session.channel.out, root, &usages(used, limits));
}

/// What is limited, with what is used of it; the rest is not told (RFC 9208 §4.2.1).
fn usages(used: Usage, limits: QuotaLimits) -> Vec<ResourceUsage> {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let rows = [
        (Resource::Storage, count(used.bytes).div_ceil(UNIT), limits.bytes.map(|bytes| bytes / UNIT)),
        (Resource::Message, count(used.messages), limits.messages),
        (Resource::Mailbox, count(used.mailboxes), limits.mailboxes),
        (
            Resource::AnnotationStorage,
            count(used.annotation_bytes).div_ceil(UNIT),
            limits.annotation_bytes.map(|bytes| bytes / UNIT),
        ),
    ];
    let told =
        rows.into_iter().filter_map(|(resource, used, limit)| Some(ResourceUsage { resource, used, limit: limit? }));
    told.collect()
}

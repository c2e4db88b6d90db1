//! The end of every log-in, however it was proved who it is: is the user barred, may he act for the other he named,
//! and one line in the log.

use tracing::{info, warn};

use super::{Acting, Attempt, Login, LoginRefusal, SignedIn, names};
use crate::clock::Clock;
use crate::mailstore::directory::UserRecord;

/// A device's last use is written down at most this often, in seconds.
const NOTE_USE_EVERY: i64 = 60;

impl Login {
    /// Lets in a user who has proved who he is, for himself or for another.
    pub(super) async fn welcome(
        &self,
        attempt: &Attempt,
        user: UserRecord,
        authorize_as: Option<&str>,
    ) -> Result<SignedIn, LoginRefusal> {
        if user.is_disabled {
            return Err(LoginRefusal::Disabled);
        }
        let domain = &attempt.config.login.default_domain;
        // RFC 4616 §2: an authorization identity that is the authentication identity asks for nothing more.
        let Some(other) = authorize_as.filter(|other| !names::are_same(other, &user.name, domain)) else {
            return Ok(SignedIn { account: user.account, user: user.name, acting: None });
        };
        if !user.is_master {
            return Err(LoginRefusal::NotAllowed);
        }
        match self.look_up(other).await? {
            None => Err(LoginRefusal::NotAllowed),
            Some(other) if other.is_disabled => Err(LoginRefusal::Disabled),
            Some(other) => {
                let acting = Some(Acting { account: user.account, user: user.name });
                Ok(SignedIn { account: other.account, user: other.name, acting })
            }
        }
    }

    /// Writes down that a device's password was used. Trouble with that keeps nobody out.
    pub(super) async fn note_use(&self, user: &UserRecord, device: &str) {
        let now = Clock::System.now_secs();
        let last = user.app_passwords.iter().find(|one| one.device == device).and_then(|one| one.used);
        if last.is_some_and(|last| (0..NOTE_USE_EVERY).contains(&(now - last))) {
            return;
        }
        let (name, device) = (user.name.clone(), device.to_owned());
        if self.visit(move |directory| directory.note_use(&name, &device)).await.is_err() {
            warn!(user = ?user.name, "the last use of an app password was not noted");
        }
    }
}

impl Attempt {
    /// One line for the operator: who came in, who acts for whom, who did not and why. Never a secret.
    pub(super) fn note(&self, outcome: &Result<SignedIn, LoginRefusal>) {
        let at = self.address.map(|ip| ip.to_string()).unwrap_or_else(|| "local".into());
        match outcome {
            Ok(SignedIn { user, acting: None, .. }) => info!(?user, address = %at, how = self.how, "logged in"),
            Ok(SignedIn { user, acting: Some(Acting { user: acting, .. }), .. }) => {
                info!(?user, ?acting, address = %at, how = self.how, "logged in on behalf of another");
            }
            Err(refusal) => {
                let reason = refusal.code();
                info!(user = ?self.name, address = %at, how = self.how, reason, "log-in refused");
            }
        }
    }
}

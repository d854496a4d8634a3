//! Whether somebody knows their password: a simple bind as them (RFC 4513, 5.1.3) on a connection that is used for
//! nothing else and ends with it.
//!
//! The service's own connections never carry anybody else's identity, and a password is sent once, to one server:
//! a second try would count as a second failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::Timestamp;

use super::bridge::State;
use super::conn::Origin;
use super::link::Link;
use super::pool::{Pool, Trouble};
use super::resolve::Holder;
use super::search::ldap_error;
use super::{CredentialsFault, Directory, LookupError, ResultCode, Session};
use crate::model::{AccountState, Dn};

/// `unwillingToPerform`: the 389 Directory Server answers it to a bind of an account that is inactivated.
const UNWILLING: ResultCode = ResultCode(53);
/// `inappropriateAuthentication`: an entry that has no password.
const INAPPROPRIATE: ResultCode = ResultCode(48);

/// What came of a password.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOn {
    /// It is theirs, and the account is in order. Who: the entry.
    Accepted(Dn),
    /// It is not, or nobody may log on so.
    Refused(LogOnRefusal),
    /// It was sent, and no answer came: nobody knows whether the server took it for a failed attempt.
    Unanswered(LookupError),
}

/// Why somebody is not let in. Not for the client's eyes: it would tell which names there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogOnRefusal {
    /// An empty password is one of an unauthenticated bind, which succeeds for everybody (RFC 4513, 5.1.2).
    /// Nothing was sent.
    #[error("an empty password is never sent: directories take it for nobody in particular")]
    EmptyPassword,
    /// Nobody has this name.
    #[error("the directory has nobody of this name")]
    NotFound,
    /// Several have it.
    #[error("the directory has several people of this name")]
    Ambiguous,
    /// It is another name, or another spelling, of somebody who logs on by one name alone: were all taken, one
    /// person would be several users.
    #[error("the person with this name logs on by another one, or by this one as the directory writes it")]
    OtherName,
    /// The attribute with the one name has several values.
    #[error("the directory has several names for this person, and which of them counts is not known")]
    SeveralNames,
    /// The state of the account forbids it, whatever the password is. It was not sent.
    #[error("{0}")]
    Account(AccountFault),
    /// The server does not take the password.
    #[error("the directory does not accept the password{0}")]
    Password(CredentialsFault),
}

/// What is the matter with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountFault {
    /// Disabled by an administrator.
    #[error("the account is disabled")]
    Disabled,
    /// Locked.
    #[error("the account is locked")]
    Locked,
    /// Past its expiry.
    #[error("the account expired")]
    Expired,
    /// The password is expired.
    #[error("the account's password expired")]
    PasswordExpired,
    /// A part of its state is hidden from us or cannot be understood, so that it is not known whether it is in
    /// order.
    #[error("the state of the account cannot be read")]
    Unreadable,
}

impl LogOnRefusal {
    /// Whether the directory may count it as a failed attempt of the account.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Password(_))
    }
}

impl AccountFault {
    /// What is the matter now.
    fn of(account: &AccountState, now: Timestamp) -> Option<Self> {
        let AccountState { disabled, locked, locked_until, expires, password_expired, unreadable } = account;
        let is_locked = *locked == Some(true) && locked_until.is_none_or(|until| now < until);
        if *disabled == Some(true) {
            Some(Self::Disabled)
        } else if is_locked {
            Some(Self::Locked)
        } else if expires.is_some_and(|at| at <= now) {
            Some(Self::Expired)
        } else if *password_expired == Some(true) {
            Some(Self::PasswordExpired)
        } else if unreadable.disabled
            || unreadable.locked
            || unreadable.expires
            || unreadable.password_expired
        {
            Some(Self::Unreadable)
        } else {
            None
        }
    }
}

impl Directory {
    /// Whether this is the password of the person with this name, by the directory's name for them and in its
    /// spelling ([`Usernames::directory_name`](super::Usernames::directory_name)); and whether their account is in
    /// order. Asks each time.
    ///
    /// # Errors
    /// Where it could not be found out, and no server counts it: the password was not sent, or not judged.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &str,
        deadline: Instant,
    ) -> Result<LogOn, LookupError> {
        if password.is_empty() {
            return Ok(LogOn::Refused(LogOnRefusal::EmptyPassword));
        }
        let (core, user, password) = (self.core.clone(), user.to_owned(), password.to_owned());
        let deadline = self.within(deadline);
        let in_doubt = Arc::new(AtomicBool::new(false));
        let doubt = Arc::clone(&in_doubt);
        let authenticating = async move {
            let holder = core.resolver.holder(&Session::new(&core, deadline), &user).await?;
            let refused = |why| Ok(LogOn::Refused(why));
            let (dn, account) = match holder {
                Holder::Nobody => return refused(LogOnRefusal::NotFound),
                Holder::Several => return refused(LogOnRefusal::Ambiguous),
                Holder::Otherwise => return refused(LogOnRefusal::OtherName),
                Holder::Manifold => return refused(LogOnRefusal::SeveralNames),
                Holder::One { dn, account } => (dn, account),
            };
            if let Some(fault) = AccountFault::of(&account, Timestamp::now()) {
                return refused(LogOnRefusal::Account(fault));
            }
            Ok(match core.pool.try_password(&dn, &password, deadline, &doubt).await? {
                None => LogOn::Accepted(dn),
                Some(fault) => LogOn::Refused(LogOnRefusal::Password(fault)),
            })
        };
        match self.run(deadline, authenticating).await {
            Err(error) if in_doubt.load(Ordering::Acquire) => Ok(LogOn::Unanswered(error)),
            found => found,
        }
    }
}

impl Pool {
    /// Binds as this entry, on the first server that can be connected to. `None`: accepted. `in_doubt` is true between the
    /// password's being sent and an answer.
    async fn try_password(
        &self,
        dn: &Dn,
        password: &str,
        deadline: Instant,
        in_doubt: &AtomicBool,
    ) -> Result<Option<CredentialsFault>, LookupError> {
        self.wait_for_names(deadline).await?;
        let mut trouble = Trouble::default();
        for server in self.order()? {
            match server.origin.dial().await {
                Ok(alone) => return server.origin.try_password(&alone, dn, password, in_doubt).await,
                Err(error) if error.is_worth_another_server() && Instant::now() < deadline => {
                    trouble.note(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(trouble.told())
    }
}

impl Origin {
    /// A connection that nobody is bound on.
    async fn dial(&self) -> Result<Alone, LookupError> {
        self.timed("connect", async {
            let (tls, budget) = (self.tls.as_deref(), self.timeouts.connect);
            let link = Link::open(&self.server, tls, State::default(), budget, &self.handle).await;
            link.map(Alone).map_err(|error| self.unreachable(&error.to_string()))
        })
        .await
    }

    async fn try_password(
        &self,
        Alone(link): &Alone,
        dn: &Dn,
        password: &str,
        in_doubt: &AtomicBool,
    ) -> Result<Option<CredentialsFault>, LookupError> {
        self.timed("bind", async {
            let mut ldap = link.ldap.clone();
            ldap.with_timeout(self.timeouts.operation);
            in_doubt.store(true, Ordering::Release);
            let result = ldap.simple_bind(dn.as_str(), password).await.map_err(ldap_error)?;
            in_doubt.store(false, Ordering::Release);
            match ResultCode(result.rc) {
                ResultCode(0) => Ok(None),
                ResultCode::INVALID_CREDENTIALS => Ok(Some(CredentialsFault::of(&result.text))),
                ResultCode::CONSTRAINT_VIOLATION => Ok(Some(CredentialsFault::Locked)),
                UNWILLING => Ok(Some(CredentialsFault::Disabled)),
                INAPPROPRIATE | ResultCode::NO_SUCH_OBJECT => Ok(Some(CredentialsFault::Unsaid)),
                code => Err(LookupError::Refused(code)),
            }
        })
        .await
    }
}

/// A connection for one bind: it ends when this is dropped.
struct Alone(Link);

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.kill();
    }
}

#[cfg(test)]
mod tests;

//! HTTP basic (RFC 7617): a name and a password, which the directory judges by a bind.
//!
//! A user has one name: the directory's, byte for byte, whatever the directory itself takes for equal. `Alice` is
//! refused where the entry says `alice`, for policies and role bindings would take them for two; so is a second
//! name of hers (see `src/directory/resolve/holder.rs`). With `directory.usernames.stripPrefix`, the user is
//! called with the prefix, and logs on without it.
//!
//! Nobody can have somebody locked out of the directory through here: see [`attempts`].

mod attempts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

use super::digest::Digester;
use super::remembered::Remembered;
use super::said::Said;
use super::turns::Turns;
use crate::directory::{Directory, LogOn, LogOnRefusal, Usernames};
use crate::model::Subject;
use attempts::{Attempts, Held};

pub use attempts::{MAX_FAILURES, WINDOW};

/// How long a password that the directory accepted is not asked for again: `kubectl` sends several requests for
/// one command. For so long an account that was just disabled can still log on.
pub const SUCCESS_CACHE: SignedDuration = SignedDuration::from_secs(10);
/// Accepted passwords that are remembered.
const MAX_REMEMBERED: usize = 4_096;
/// The longest that a request waits for the directory, and for other attempts of the same user.
const DEADLINE: Duration = Duration::from_secs(5);
/// How many passwords are judged at one time, those that wait for their turn among them. Judging goes on when its request is
/// gone, so that no bound on requests bounds it.
const MAX_UNDER_WAY: usize = 1_024;
/// The longest credentials that are looked at, in bytes.
const MAX_BYTES: usize = 4 * 1024;

/// Users of the directory, by their passwords.
pub struct Basic {
    usernames: Usernames,
    judge: Arc<Judge>,
}

/// What judges passwords.
struct Judge {
    directory: Arc<Directory>,
    digester: Digester,
    accepted: Remembered<()>,
    attempts: Attempts,
    /// Were several attempts of a user under way at once, all could be wrong before the first is known to be.
    turns: Turns,
    under_way: Arc<Semaphore>,
}

/// A name as the directory has it, and a password.
struct LogOnAttempt {
    name: String,
    password: String,
    now: Timestamp,
}

impl Basic {
    /// Users of this directory; `usernames` as for decisions.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new(directory: Arc<Directory>, usernames: Usernames) -> Result<Self, getrandom::Error> {
        let digester = Digester::new()?;
        let accepted = Remembered::new(MAX_REMEMBERED, SUCCESS_CACHE);
        let judge = Judge {
            directory,
            digester,
            accepted,
            attempts: Attempts::default(),
            turns: Turns::default(),
            under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
        };
        Ok(Self { usernames, judge: Arc::new(judge) })
    }

    /// What is said of what follows `Basic ` in the header.
    pub(super) async fn authenticate(&self, encoded: &str, now: Timestamp) -> Said {
        let Some((name, password)) = decoded(encoded) else {
            return Said::refused("the Basic credentials are not base64 of `user:password` in UTF-8");
        };
        let user = format!("{}{name}", self.usernames.strip_prefix);
        let name = match self.usernames.reading(&user) {
            Ok(name) => name.to_owned(),
            Err(why) => return Said::refused(format!("this user is none of the directory's: {why}")),
        };
        if password.is_empty() {
            return Said::refused(LogOnRefusal::EmptyPassword.to_string());
        }
        let Ok(place) = Arc::clone(&self.judge.under_way).try_acquire_owned() else {
            return Said::failed("too many passwords are being judged");
        };
        let (judge, attempt) = (self.judge.clone(), LogOnAttempt { name, password, now });
        // Apart: whoever resets the request once the password was sent would else never be counted.
        let judged = tokio::spawn(async move {
            let _place = place;
            judge.judge(attempt).await
        });
        let judged = judged.await;
        match judged {
            Ok(Said::Who(_, why)) => Said::who(Subject { user, ..Subject::default() }, why),
            Ok(said) => said,
            Err(_) => Said::failed("judging the password ended by a fault of ours"),
        }
    }
}

impl Judge {
    /// One attempt, after those of the same user that are under way. The subject of a yes is the caller's to say.
    async fn judge(&self, LogOnAttempt { name, password, now }: LogOnAttempt) -> Said {
        let accepted = |why: &str| Said::who(Subject::default(), why);
        let known = || accepted("the directory accepted this password a short while ago");
        let user = self.digester.trace([name.as_str()]);
        let trace = self.digester.trace([name.as_str(), password.as_str()]);
        if self.accepted.get(&trace, now).is_some() {
            return known();
        }
        let Some(_turn) = self.turns.turn(user, DEADLINE).await else {
            return Said::failed("too many attempts of this user are under way");
        };
        if self.accepted.get(&trace, now).is_some() {
            return known();
        }
        if let Some(held) = self.attempts.held(&user, &trace, now) {
            return Said::refused(held.to_string());
        }
        match self.directory.authenticate(&name, &password, Instant::now() + DEADLINE).await {
            Ok(LogOn::Accepted(_)) => {
                self.attempts.succeeded(&user);
                self.accepted.put(trace, (), now);
                accepted("the directory accepted the password, by a bind as this user")
            }
            Ok(LogOn::Refused(why)) => {
                if why.counts() {
                    self.attempts.failed(user, trace, now);
                }
                Said::refused(why.to_string())
            }
            Ok(LogOn::Unanswered(error)) => {
                self.attempts.unanswered(user, now);
                Said::failed(format!("the directory does not say whether the password is good: {error}"))
            }
            // An API server answers 401 too where an authenticator cannot tell.
            Err(error) => Said::failed(format!("the directory cannot judge the password: {error}")),
        }
    }
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").field("usernames", &self.usernames).finish_non_exhaustive()
    }
}

/// Name and password. RFC 7617, 2: the first colon ends the name, and neither has control characters.
fn decoded(encoded: &str) -> Option<(String, String)> {
    if encoded.len() > MAX_BYTES {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()?;
    if text.chars().any(char::is_control) {
        return None;
    }
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SamePassword => {
                f.write_str("the directory refused this very password a while ago, and is not asked again")
            }
            Self::TooManyFailures => write!(
                f,
                "{MAX_FAILURES} passwords in a row were wrong: the directory is not asked, so that it does not lock the account"
            ),
        }
    }
}

#[cfg(test)]
mod tests;

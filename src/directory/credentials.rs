//! The service's own credentials: a password, or the certificate that it shows.
//!
//! Sending a refused password again locks the account, so each version of it is sent once, whichever server and
//! connection it is for. A version is its content and when its file was written: touching the file asks for another try.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use sha2::{Digest, Sha256};

use super::error::{CredentialsFault, PasswordFault};
use super::search::ServerId;
use super::{Bind, LookupError};

/// After this long a refused password is tried again, for the directory may have been told of it meanwhile. Accounts are
/// locked after some failures (3 and more) within a window, commonly of 10 to 60 minutes (MS-SAMR: lockOutObservationWindow);
/// one failure in more than an hour never adds up to a second one in such a window, and several replicas of ours share it.
const FIRST_WAIT: Duration = Duration::from_secs(65 * 60);
/// Each further refusal doubles the wait, up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 60 * 60);
/// A password that was accepted once may be refused by so many servers before it counts as refused everywhere: one of them
/// may be behind the others.
const MAX_DISSENTERS: usize = 1;
/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Who we are to the directory.
pub(super) struct Credentials {
    pub(super) who: Who,
    file: PathBuf,
    ledger: Mutex<Ledger>,
    newest: ArcSwapOption<Content>,
    /// What was wrong with the file when it was looked at last.
    fault: Mutex<Option<PasswordFault>>,
    /// Held while a version is tried that no server has accepted yet.
    pub(super) proving: tokio::sync::Mutex<()>,
}

/// How we show who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// By this name, and the password in the file.
    Simple(String),
    /// By the certificate in the file, which TLS has shown (SASL EXTERNAL).
    External,
}

/// What a secret is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    content: Content,
    written: Option<SystemTime>,
}

/// The hash of a secret.
pub(super) type Content = [u8; 32];

/// A secret as the file had it.
pub(super) struct Secret {
    pub(super) text: String,
    version: Version,
}

/// What became of the newest version.
#[derive(Debug, Default)]
struct Ledger {
    version: Option<Version>,
    is_accepted: bool,
    everywhere: Option<Refusal>,
    by_server: HashMap<ServerId, Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Refusal {
    at: Instant,
    wait: Duration,
    fault: CredentialsFault,
}

impl Credentials {
    /// The credentials of a way to bind; `None` where nobody binds. `certificate` is the file of the client certificate.
    pub(super) fn of(bind: &Bind, certificate: Option<&PathBuf>) -> Option<Self> {
        match bind {
            Bind::Anonymous => None,
            Bind::Simple { dn, password_file } => {
                Some(Self::new(Who::Simple(dn.clone()), password_file.clone()))
            }
            Bind::External => Some(Self::new(Who::External, certificate.cloned().unwrap_or_default())),
        }
    }

    pub(super) fn new(who: Who, file: PathBuf) -> Self {
        Self {
            who,
            file,
            ledger: Mutex::default(),
            newest: ArcSwapOption::empty(),
            fault: Mutex::default(),
            proving: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the secret as it is now.
    ///
    /// # Errors
    /// [`LookupError::Password`] where there is none.
    pub(super) fn read(&self) -> Result<Secret, LookupError> {
        let (bytes, written) = self.bytes().map_err(|_| LookupError::Password(PasswordFault::Unreadable))?;
        let text = match self.who {
            Who::Simple(_) => password(&bytes).map_err(LookupError::Password)?.to_owned(),
            Who::External => String::new(),
        };
        let content = if text.is_empty() { Sha256::digest(&bytes) } else { Sha256::digest(&text) };
        Ok(Secret { text, version: Version { content: content.into(), written } })
    }

    fn bytes(&self) -> std::io::Result<(Vec<u8>, Option<SystemTime>)> {
        let file = std::fs::File::open(&self.file)?;
        let written = file.metadata()?.modified().ok();
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok((bytes, written))
    }

    /// Whether this secret may be sent to this server now.
    ///
    /// # Errors
    /// [`LookupError::Credentials`] where it was refused, and it is too early for another try.
    pub(super) fn may_be_sent(
        &self,
        secret: &Secret,
        server: &ServerId,
        now: Instant,
    ) -> Result<(), LookupError> {
        let ledger = self.ledger();
        if ledger.version != Some(secret.version) {
            return Ok(());
        }
        let refusals = [ledger.everywhere.as_ref(), ledger.by_server.get(server)];
        match refusals.into_iter().flatten().find(|refusal| now < refusal.at + refusal.wait) {
            Some(refusal) => Err(LookupError::Credentials(refusal.fault)),
            None => Ok(()),
        }
    }

    /// Whether some server has accepted this secret, and it has not come to count as refused since.
    pub(super) fn is_accepted(&self, secret: &Secret) -> bool {
        let ledger = self.ledger();
        ledger.version == Some(secret.version) && ledger.is_accepted && ledger.everywhere.is_none()
    }

    /// Remembers that a server accepted this secret.
    pub(super) fn accepted(&self, secret: &Secret, server: &ServerId) {
        let mut ledger = self.ledger();
        ledger.turn_to(secret.version);
        ledger.is_accepted = true;
        ledger.everywhere = None;
        ledger.by_server.remove(server);
    }

    /// Remembers that a server refused this secret.
    pub(super) fn refused(&self, secret: &Secret, server: &ServerId, fault: CredentialsFault, now: Instant) {
        let mut ledger = self.ledger();
        ledger.turn_to(secret.version);
        let before = ledger.everywhere.or(ledger.by_server.get(server).copied());
        let wait = before.map_or(FIRST_WAIT, |before| (before.wait * 2).min(LONGEST_WAIT));
        let refusal = Refusal { at: now, wait, fault };
        let others = ledger.by_server.keys().filter(|other| *other != server).count();
        if ledger.is_accepted && ledger.everywhere.is_none() && others < MAX_DISSENTERS {
            ledger.by_server.insert(server.clone(), refusal);
        } else {
            ledger.everywhere = Some(refusal);
        }
    }

    /// Looks at the file. What it holds is the [`newest`](Self::newest) from now on; says whether that is another.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn look(&self) -> Result<bool, PasswordFault> {
        match self.read() {
            Ok(secret) => {
                let before = self.newest.swap(Some(Arc::new(secret.content())));
                Ok(before.is_some_and(|before| *before != secret.content()))
            }
            Err(LookupError::Password(fault)) => Err(fault),
            Err(_) => Err(PasswordFault::Unreadable),
        }
    }

    /// Looks at the file, and says in the log what that means, once.
    pub(super) fn watch(&self) {
        let looked = self.look();
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.file.display();
        match looked {
            Ok(true) => {
                tracing::info!(%file, "the service's credentials changed: connections to the directory are renewed")
            }
            Ok(false) => {}
            Err(found) if *fault == Some(found) => {}
            Err(found) => {
                tracing::error!(%file, "the file with the service's credentials {found}; what is connected stays connected");
            }
        }
        *fault = looked.err();
    }

    /// What the file held when it was usable last; `None` before it was looked at.
    pub(super) fn newest(&self) -> Option<Content> {
        self.newest.load().as_deref().copied()
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Secret {
    pub(super) fn content(&self) -> Content {
        self.version.content
    }
}

impl Ledger {
    /// Begins anew where this is another version.
    fn turn_to(&mut self, version: Version) {
        if self.version != Some(version) {
            *self = Self { version: Some(version), ..Self::default() };
        }
    }
}

/// The password in a file: all of it but for one line end.
fn password(bytes: &[u8]) -> Result<&str, PasswordFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| PasswordFault::NotText)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(PasswordFault::Empty) } else { Ok(text) }
}

#[cfg(test)]
mod tests;

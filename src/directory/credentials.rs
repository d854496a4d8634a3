//! The service's own password. Retrying a refused one locks the account, so each version of it is tried once.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::LookupError;
use super::error::PasswordFault;

/// After this long a refused password is tried again: the directory may have been told of it meanwhile.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Who we are to the directory.
pub(super) struct Credentials {
    pub(super) dn: String,
    file: PathBuf,
    refused: Mutex<Option<(Version, Instant)>>,
}

/// What a password is recognised by: its hash.
type Version = [u8; 32];

/// A password as the file had it.
pub(super) struct Secret {
    pub(super) text: String,
    version: Version,
}

impl Credentials {
    pub(super) fn new(dn: String, file: PathBuf) -> Self {
        Self { dn, file, refused: Mutex::new(None) }
    }

    /// Reads the password, and says whether it may be tried now.
    ///
    /// # Errors
    /// [`LookupError::Password`] where there is none; [`LookupError::Credentials`] where this one was refused.
    pub(super) fn read(&self) -> Result<Secret, LookupError> {
        let bytes =
            std::fs::read(&self.file).map_err(|_| LookupError::Password(PasswordFault::Unreadable))?;
        let text = String::from_utf8(bytes).map_err(|_| LookupError::Password(PasswordFault::NotText))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(LookupError::Password(PasswordFault::Empty));
        }
        let secret = Secret { text: text.to_owned(), version: Sha256::digest(text).into() };
        self.check(&secret)?;
        Ok(secret)
    }

    /// Whether this password may be tried now.
    pub(super) fn check(&self, secret: &Secret) -> Result<(), LookupError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match *refused {
            Some((version, at)) if version == secret.version && at.elapsed() < REFUSED_FOR => {
                Err(LookupError::Credentials)
            }
            _ => Ok(()),
        }
    }

    /// Remembers that the directory refused this password.
    pub(super) fn refused(&self, secret: &Secret) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((secret.version, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_not_part_of_the_password_and_an_empty_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::new("cn=svc".to_owned(), folder.path().join("password"));
        assert!(matches!(credentials.read(), Err(LookupError::Password(PasswordFault::Unreadable))));
        for (content, expected) in [
            (&b"pw\n"[..], Ok("pw")),
            (b"pw\r\n", Ok("pw")),
            (b" pw \n\n", Ok(" pw \n")),
            (b"\n", Err(PasswordFault::Empty)),
            (b"\xff", Err(PasswordFault::NotText)),
        ] {
            std::fs::write(folder.path().join("password"), content).unwrap();
            let read = credentials.read().map(|secret| secret.text);
            assert_eq!(read, expected.map(str::to_owned).map_err(LookupError::Password));
        }
    }

    #[test]
    fn a_refused_password_is_not_tried_again_until_the_file_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "old").unwrap();
        let credentials = Credentials::new("cn=svc".to_owned(), file.clone());
        let secret = credentials.read().unwrap();
        credentials.refused(&secret);
        assert_eq!(credentials.read().map(|_| ()), Err(LookupError::Credentials));
        std::fs::write(&file, "new").unwrap();
        assert!(credentials.read().is_ok());
    }
}

//! What a front end keeps in its data directory besides the objects: the key that it signs ServiceAccount tokens with, where
//! none is configured. Tokens are good for as long as the accounts are, and these outlive the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::start::StartError;
use crate::tls::SigningKey;

/// The key, PEM.
const KEY: &str = "service-account.key";

/// A key that is not written to its end yet.
const UNFINISHED: &str = "service-account.key.new";

/// The file with the key that tokens are signed with. It is made where there is none: the directory must belong to this
/// process alone.
///
/// # Errors
/// Where it cannot be made, or OpenSSL has no randomness.
pub(super) fn signing_key(directory: &Path) -> Result<PathBuf, StartError> {
    let path = directory.join(KEY);
    let failed = |error| StartError::File { path: path.clone(), error };
    if path.try_exists().map_err(failed)? {
        return Ok(path);
    }
    let no_key = |error| StartError::Authentication(super::authn::SetupError::Key(error));
    let pem = SigningKey::generate().and_then(|key| key.to_pem()).map_err(no_key)?;
    write(directory, &path, &pem).map_err(failed)?;
    Ok(path)
}

/// The file has its name when all of it is on the disk, and only its owner may read it.
fn write(directory: &Path, path: &Path, pem: &[u8]) -> io::Result<()> {
    let unfinished = directory.join(UNFINISHED);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(pem)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(UNFINISHED), "half a key").unwrap();
        let path = signing_key(folder.path()).unwrap();
        let first = SigningKey::from_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = SigningKey::from_file(&signing_key(folder.path()).unwrap()).unwrap();
        assert_eq!(again.public().id(), first.public().id());
        assert!(!folder.path().join(UNFINISHED).exists());
    }
}

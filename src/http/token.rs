//! Bearer tokens from files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

/// How large a token file may be, in bytes.
const MAX_TOKEN_BYTES: usize = 4 * 1024;

/// A bearer token that stands in a file, alone, with or without a line end. Only its hash is held, and compared in a time
/// that does not depend on it.
pub struct TokenFile {
    path: PathBuf,
    hash: ArcSwap<[u8; 32]>,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be read, holds no token, or holds one with white space or control characters in it.
    pub fn open(path: PathBuf) -> io::Result<Arc<Self>> {
        let hash = ArcSwap::from_pointee(hash_of(&path)?);
        Ok(Arc::new(Self { path, hash }))
    }

    /// Reads the file again, and says whether the token is another one. On an error the last good token stays.
    ///
    /// # Errors
    /// As for [`TokenFile::open`].
    pub fn reload(&self) -> io::Result<bool> {
        let hash = hash_of(&self.path)?;
        Ok(*self.hash.swap(Arc::new(hash)) != hash)
    }

    /// Reads the file again and again, on this runtime, until nobody else holds it. What is looked at is the content,
    /// since Kubernetes swaps symbolic links.
    pub fn keep_fresh(self: &Arc<Self>, runtime: &tokio::runtime::Handle, every: Duration) {
        let file = Arc::downgrade(self);
        runtime.spawn(async move {
            let mut failing = false;
            loop {
                tokio::time::sleep(every).await;
                let Some(file) = file.upgrade() else { return };
                match file.reload() {
                    Ok(changed) => {
                        failing = false;
                        if changed {
                            tracing::info!(path = %file.path.display(), "token changed");
                        }
                    }
                    Err(error) if !failing => {
                        failing = true;
                        tracing::error!(path = %file.path.display(), %error, "token file cannot be read; the last token stays");
                    }
                    Err(_) => {}
                }
            }
        });
    }

    /// Whether this is the token.
    #[must_use]
    pub fn matches(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.hash.load().iter().zip(hash).fold(0, |differs, (left, right)| differs | (left ^ right)) == 0
    }
}

impl std::fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn hash_of(path: &Path) -> io::Result<[u8; 32]> {
    Ok(Sha256::digest(read_token(path)?.as_bytes()).into())
}

/// Reads a file with a bearer token, for whoever shows it.
///
/// # Errors
/// As for [`TokenFile::open`].
pub fn read_token(path: &Path) -> io::Result<String> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let text = std::fs::read_to_string(path)?;
    let token = text.trim_end_matches(['\r', '\n']);
    if token.is_empty() {
        return Err(wrong("the file holds no token"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(wrong("the token is longer than 4 KiB"));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("the token holds something else than visible ASCII characters"));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_compared_whole_and_without_the_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3cret\r\n").unwrap();
        let file = TokenFile::open(path).unwrap();
        assert!(file.matches("s3cret"));
        for other in ["", "s3cre", "s3cret ", "s3cret\n", "S3cret"] {
            assert!(!file.matches(other), "{other:?}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(TokenFile::open(path.clone()).is_err());
        for content in ["", "\n", "two words", "zwölf", "a\0b", &"x".repeat(5_000)] {
            std::fs::write(&path, content).unwrap();
            assert!(TokenFile::open(path.clone()).is_err(), "{content:?}");
        }
    }

    #[tokio::test]
    async fn a_token_is_exchanged_while_serving_and_a_broken_file_keeps_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two, link) =
            (folder.path().join("one"), folder.path().join("two"), folder.path().join("token"));
        std::fs::write(&one, "first").unwrap();
        std::fs::write(&two, "second").unwrap();
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let file = TokenFile::open(link.clone()).unwrap();
        file.keep_fresh(&tokio::runtime::Handle::current(), Duration::from_millis(1));
        let next = folder.path().join("next");
        std::os::unix::fs::symlink(&two, &next).unwrap();
        std::fs::rename(&next, &link).unwrap();
        while !file.matches("second") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!file.matches("first"));
        std::fs::remove_file(&link).unwrap();
        assert!(file.reload().is_err() && file.matches("second"));
    }
}

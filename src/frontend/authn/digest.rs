//! Secrets as they are remembered: as hashes under a key that lives and ends with this process.
//!
//! Who finds a table of them cannot try guesses without the key, and the time of a look-up says nothing of how
//! much of a guess was right, since nobody outside knows which hash a guess has.

use sha2::{Digest, Sha256};

/// What is left of a secret.
pub(super) type Trace = [u8; 32];

/// The key. Two keys never make the same trace of one secret.
#[derive(Clone)]
pub(super) struct Digester([u8; 32]);

impl Digester {
    /// A key that nobody has.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// The trace of several texts. Each counts with its length, so that (`a`, `bc`) and (`ab`, `c`) differ.
    pub(super) fn trace<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Trace {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for text in texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().into()
    }
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digester")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_be_moved_from_one_to_the_next() {
        let digester = Digester::new().unwrap();
        let trace = |texts: &[&str]| digester.trace(texts.iter().copied());
        assert_eq!(trace(&["a", "bc"]), trace(&["a", "bc"]));
        assert_ne!(trace(&["a", "bc"]), trace(&["ab", "c"]));
        assert_ne!(trace(&["a"]), trace(&["a", ""]));
        assert_ne!(trace(&["a"]), Digester::new().unwrap().trace(["a"]), "every process has its own");
    }
}

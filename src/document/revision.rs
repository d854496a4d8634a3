//! What a set of sources is recognised by.

use sha2::{Digest, Sha256};

use super::Source;

/// How many bytes of the content's hash name a revision.
const REVISION_BYTES: usize = 8;

/// The revision of a policy set: a hash of what its files contain, in hexadecimal digits. The names and the order of the
/// files are no part of it.
#[must_use]
pub fn revision(sources: &[Source]) -> String {
    let mut files: Vec<[u8; 32]> =
        sources.iter().map(|source| Sha256::digest(&source.bytes).into()).collect();
    files.sort_unstable();
    let hash: [u8; 32] = Sha256::digest(files.concat()).into();
    hash.iter().take(REVISION_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_depends_on_content_alone() {
        let one = revision(&[Source::new("a", *b"x"), Source::new("b", *b"y")]);
        assert_eq!(one, revision(&[Source::new("c", *b"y"), Source::new("d", *b"x")]));
        assert_ne!(one, revision(&[Source::new("a", *b"xy")]));
        assert_ne!(one, revision(&[Source::new("a", *b"x"), Source::new("b", *b"z")]));
        assert_eq!(one.len(), 2 * REVISION_BYTES);
    }
}

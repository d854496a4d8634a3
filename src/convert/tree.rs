//! Makes trees of policies.

use sha2::{Digest, Sha256};

use crate::document::{Document, Node, Span, Spanned, Value};
use crate::policy::API_VERSION;

/// The longest name of a policy, in characters.
const MAX_NAME_CHARS: usize = 253;

/// How many hexadecimal digits tell names apart that look alike.
const DIGEST_CHARS: usize = 10;

pub(super) fn text(text: impl Into<String>, span: Span) -> Node {
    Node { value: Value::Scalar { text: text.into(), plain: false }, span }
}

/// A text that stands where the original does.
pub(super) fn word(word: &Spanned<String>) -> Node {
    text(word.value.clone(), word.span)
}

pub(super) fn list(items: impl IntoIterator<Item = Node>, span: Span) -> Node {
    Node { value: Value::Sequence(items.into_iter().collect()), span }
}

pub(super) fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Node)>, span: Span) -> Node {
    let entries = entries.into_iter().map(|(key, node)| (Spanned::new(key.to_owned(), node.span), node));
    Node { value: Value::Mapping(entries.collect()), span }
}

/// An `AccessPolicy` that allows.
pub(super) fn policy(name: &str, description: &str, subjects: Node, rules: Node, span: Span) -> Document {
    let spec = [
        ("description", text(description, span)),
        ("effect", text("Allow", span)),
        ("subjects", subjects),
        ("rules", rules),
    ];
    let root = [
        ("apiVersion", text(API_VERSION, span)),
        ("kind", text("AccessPolicy", span)),
        ("metadata", map([("name", text(name, span))], span)),
        ("spec", map(spec, span)),
    ];
    Document { root: map(root, span) }
}

/// A name that a policy may have, made of what something else is called. Different parts have different names.
pub(super) fn name(parts: &[&str]) -> String {
    let wanted = parts.join(".");
    let is_right = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    // Only the last part may have dots of its own: the others are then where they seem to be.
    let is_plain = parts.iter().rev().skip(1).all(|part| is_right(part));
    if wanted.len() <= MAX_NAME_CHARS && is_plain && wanted.split('.').all(is_right) {
        return wanted;
    }
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest: String =
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).take(DIGEST_CHARS / 2).collect();
    let kept = wanted.chars().take(MAX_NAME_CHARS - DIGEST_CHARS - 1).map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    });
    let kept: String = kept.collect();
    format!("{}-{digest}", kept.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_where_they_can_be_and_never_meet() {
        assert_eq!(name(&["rolebinding", "a", "b.c"]), "rolebinding.a.b.c");
        let made: Vec<String> = [
            ["clusterrolebinding", "system:node"],
            ["clusterrolebinding", "system-node"],
            ["clusterrolebinding", "System-node"],
            ["clusterrolebinding", "system--node-"],
            ["clusterrolebinding", &"x".repeat(300)],
            ["clusterrolebinding", &"x".repeat(301)],
        ]
        .iter()
        .map(|parts| name(parts))
        .collect();
        let different: std::collections::BTreeSet<&String> = made.iter().collect();
        assert_eq!(different.len(), made.len(), "{made:?}");
        assert_eq!(made[1], "clusterrolebinding.system-node");
        assert!(made[0].starts_with("clusterrolebinding-system-node-"), "{}", made[0]);
        assert!(made.iter().all(|name| name.len() <= MAX_NAME_CHARS));
        assert_ne!(name(&["a", "b.c", "d"]), name(&["a", "b", "c.d"]));
    }
}

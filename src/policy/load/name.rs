//! The names that Kubernetes has rules for.

use crate::document::{Diagnostic, Diagnostics, Node, Spanned, quoted, text};

/// The longest subdomain, in characters (RFC 1123).
const MAX_SUBDOMAIN_CHARS: usize = 253;

/// The longest label of one, in characters.
const MAX_LABEL_CHARS: usize = 63;

/// `metadata.name`: a lower-case RFC 1123 subdomain, as
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names> has it.
pub(super) fn metadata_name(node: &Node, diagnostics: &mut Diagnostics) -> Option<Spanned<String>> {
    let name = text(node, diagnostics)?;
    if !is_subdomain(&name) {
        let help = "a name is made of at most 253 lower-case letters, digits, `-` and `.`, and begins and ends with a \
                    letter or digit";
        diagnostics.push(Diagnostic::error(node.span, format!("{} is not a name", quoted(&name))).help(help));
        return None;
    }
    Some(Spanned::new(name, node.span))
}

/// Whether a text is a lower-case RFC 1123 subdomain.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN_CHARS && text.split('.').all(is_label_of_any_length)
}

/// Whether a text is a lower-case RFC 1123 label.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL_CHARS && is_label_of_any_length(text)
}

/// Kubernetes bounds only the whole of a subdomain.
fn is_label_of_any_length(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_are_lower_case_dotted_labels() {
        for right in ["a", "payments-oncall", "v1.example.com", "1a", &"a".repeat(253)] {
            assert!(is_subdomain(right), "{right}");
        }
        for wrong in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a b", "é", &"a".repeat(254)] {
            assert!(!is_subdomain(wrong), "{wrong}");
        }
    }
}

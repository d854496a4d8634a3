//! Which users of the cluster are users of the directory, and under what name.

use crate::model::MAX_USER_NAME_BYTES;

/// What every name of Kubernetes' own users and groups starts with.
const SYSTEM: &str = "system:";

/// `directory.usernames`: from the cluster's user names to the directory's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usernames {
    /// What the cluster's authentication put before each directory user's name, such as `oidc:`; a name without it is
    /// no directory user's. Empty: nothing.
    pub strip_prefix: String,
    /// Users (as the cluster names them) that the directory is never asked for; `*` stands for any text.
    pub exclude: Vec<String>,
}

/// Why a user of the cluster is none of the directory's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// Kubernetes keeps such names for itself.
    #[error("names that begin with `system:` are Kubernetes' own")]
    System,
    /// By this element of `exclude`.
    #[error("`directory.usernames.exclude` has `{0}`")]
    Excluded(String),
    /// The name does not begin with this `stripPrefix`.
    #[error("the name does not begin with `{0}` (`directory.usernames.stripPrefix`)")]
    WithoutPrefix(String),
    /// Such a name is never sent.
    #[error(
        "a name that is empty, longer than {MAX_USER_NAME_BYTES} bytes or holds a NUL is never asked for"
    )]
    NotAskable,
}

impl Usernames {
    /// The name by which the directory knows this user; `None` for users outside of it: `system:` names, excluded ones,
    /// names without the prefix, and names that are not
    /// [`is_askable`](crate::model::Subject::is_askable).
    ///
    /// ```
    /// let usernames = bailiwick::directory::Usernames {
    ///     strip_prefix: "oidc:".into(),
    ///     exclude: vec!["oidc:bot-*".into()],
    /// };
    /// assert_eq!(usernames.directory_name("oidc:alice"), Some("alice"));
    /// assert_eq!(usernames.directory_name("oidc:bot-7"), None);
    /// assert_eq!(usernames.directory_name("alice"), None);
    /// assert_eq!(usernames.directory_name("system:node:n1"), None);
    /// ```
    #[must_use]
    pub fn directory_name<'a>(&self, user: &'a str) -> Option<&'a str> {
        self.reading(user).ok()
    }

    /// The same, with the reason where there is none.
    ///
    /// # Errors
    /// Why the user is none of the directory's.
    pub fn reading<'a>(&self, user: &'a str) -> Result<&'a str, Outside> {
        if user.starts_with(SYSTEM) {
            return Err(Outside::System);
        }
        if let Some(pattern) = self.exclude.iter().find(|pattern| matches(pattern, user)) {
            return Err(Outside::Excluded(pattern.clone()));
        }
        let prefix = self.strip_prefix.as_str();
        let name = user.strip_prefix(prefix).ok_or_else(|| Outside::WithoutPrefix(prefix.to_owned()))?;
        if name.is_empty() || user.len() > MAX_USER_NAME_BYTES || name.contains('\0') {
            return Err(Outside::NotAskable);
        }
        if name.starts_with(SYSTEM) { Err(Outside::System) } else { Ok(name) }
    }
}

/// Whether a pattern in which `*` stands for any text matches all of `text`. Linear but for one step back a `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn users_outside_of_the_directory_have_no_name_in_it() {
        let usernames =
            Usernames { strip_prefix: "corp:".to_owned(), exclude: vec!["corp:*-bot".to_owned()] };
        let long = format!("corp:{}", "a".repeat(MAX_USER_NAME_BYTES));
        for outside in [
            "",
            "alice",
            "corp:",
            "corp:x-bot",
            "corp:a\0",
            "corp:system:x",
            "system:anonymous",
            long.as_str(),
        ] {
            assert_eq!(usernames.directory_name(outside), None, "{outside}");
        }
        assert_eq!(usernames.directory_name("corp:*)(uid=*"), Some("*)(uid=*"));
    }
}

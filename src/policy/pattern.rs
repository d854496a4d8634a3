//! Names with `*` in them.

/// A name in which `*` stands for any run of characters, also none; `\*` is a literal star and `\\` a literal backslash.
/// No pattern matches an empty name.
///
/// ```
/// use bailiwick::policy::Pattern;
/// let pattern = Pattern::parse("web-*").unwrap();
/// assert!(pattern.matches("web-1"));
/// assert!(!pattern.matches("db-1"));
/// assert!(!Pattern::parse("*").unwrap().matches(""));
/// assert!(Pattern::parse(r"a\*b").unwrap().matches("a*b"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The literal runs between the stars, in order: one more than there are stars.
    runs: Box<[Box<str>]>,
}

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("a pattern must not be empty")]
    Empty,
    /// A backslash before something else than `*` or `\`.
    #[error("`\\` must stand before `*` or another `\\`")]
    Escape,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Where it is empty, or a backslash escapes nothing.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let mut runs: Vec<Box<str>> = Vec::new();
        let mut run = String::new();
        let mut after_star = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => run.push(escaped),
                    _ => return Err(PatternError::Escape),
                },
                '*' if after_star && run.is_empty() => {}
                '*' => {
                    runs.push(std::mem::take(&mut run).into());
                    after_star = true;
                }
                other => run.push(other),
            }
        }
        runs.push(run.into());
        Ok(Self { runs: runs.into() })
    }

    /// The pattern that matches exactly this name.
    #[must_use]
    pub fn exact(name: &str) -> Self {
        Self { runs: Box::new([name.into()]) }
    }

    /// The pattern that matches every name that begins with this.
    #[must_use]
    pub fn prefixed(prefix: &str) -> Self {
        Self { runs: Box::new([prefix.into(), "".into()]) }
    }

    /// The pattern that matches every name that ends with this.
    #[must_use]
    pub fn suffixed(suffix: &str) -> Self {
        Self { runs: Box::new(["".into(), suffix.into()]) }
    }

    /// The name, where the pattern has no star: it matches only that.
    #[must_use]
    pub fn as_exact(&self) -> Option<&str> {
        match &*self.runs {
            [only] => Some(only),
            _ => None,
        }
    }

    /// What every name that matches begins with; empty where the pattern begins with a star.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.runs.first().map_or("", |run| run)
    }

    /// What every name that matches ends with; empty where the pattern ends with a star.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.runs.last().map_or("", |run| run)
    }

    /// Whether it matches every name but the empty one.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(&*self.runs, [first, last] if first.is_empty() && last.is_empty())
    }

    /// Whether a name matches. Linear in the name for each run: greedy matching needs no backtracking.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if name.is_empty() {
            return false;
        }
        let (Some(first), Some(last)) = (self.runs.first(), self.runs.last()) else { return false };
        if self.runs.len() == 1 {
            return name == &**first;
        }
        let Some(rest) = name.strip_prefix(&**first) else { return false };
        let Some(mut rest) = rest.strip_suffix(&**last) else { return false };
        for run in self.runs.iter().skip(1).take(self.runs.len().saturating_sub(2)) {
            match rest.find(&**run).and_then(|at| rest.get(at + run.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        true
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, run) in self.runs.iter().enumerate() {
            if index > 0 {
                f.write_str("*")?;
            }
            f.write_str(&run.replace('\\', "\\\\").replace('*', "\\*"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_and_for_none() {
        for (pattern, name, expected) in [
            ("web-*", "web-", true),
            ("web-*", "web", false),
            ("*-prod", "a-prod", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("**", "x", true),
            ("a**b", "ab", true),
            ("*", "*", true),
            ("prod-*", "*", false),
            ("*a*", "bab", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), expected, "{pattern} ~ {name}");
        }
    }

    #[test]
    fn nothing_matches_an_empty_name() {
        for pattern in ["*", "**", "a*"] {
            assert!(!Pattern::parse(pattern).unwrap().matches(""), "{pattern}");
        }
    }

    #[test]
    fn an_escaped_star_is_a_star() {
        let pattern = Pattern::parse(r"a\*\\").unwrap();
        assert_eq!(pattern.as_exact(), Some(r"a*\"));
        assert_eq!(pattern.to_string(), r"a\*\\");
        assert_eq!(Pattern::parse(r"a\b"), Err(PatternError::Escape));
    }
}

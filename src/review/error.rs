//! Why a body is no review.

use std::fmt;

use super::{MAX_DEPTH, MAX_REQUIREMENTS, MAX_VALUES};

/// How much of a text from the body an error repeats, in characters.
const QUOTED_CHARS: usize = 64;

/// How long the path in an error may be, in characters.
const PATH_CHARS: usize = 200;

/// Why a body is no review, and where in it. Its text is made for the client: it repeats names and kinds of the body,
/// escaped and cut, never values of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewError {
    /// Where, as in `spec.groups[3]`; empty for the document.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not UTF-8, which JSON is (RFC 8259, 8.1).
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// Not one JSON text and nothing after it; lone surrogates are none either. Holds the parser's message.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A key that the object has already.
    #[error("key {0} occurs twice")]
    DuplicateKey(String),
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What belongs here.
        expected: &'static str,
        /// What is here.
        found: &'static str,
    },
    /// A field without which there is no review.
    #[error("missing")]
    Missing,
    /// Another kind than SubjectAccessReview.
    #[error("expected SubjectAccessReview, found {0}")]
    OtherKind(String),
    /// Another version than the two that are answered.
    #[error("expected authorization.k8s.io/v1 or authorization.k8s.io/v1beta1, found {0}")]
    OtherVersion(String),
    /// The groups stand under the key of the other version, so that they would be lost.
    #[error("{found} is not a field of {version}: groups stand under {expected}")]
    OtherVersionsGroups {
        /// The key.
        found: &'static str,
        /// The key that this version has.
        expected: &'static str,
        /// The version.
        version: &'static str,
    },
    /// Both kinds of attributes.
    #[error("resourceAttributes and nonResourceAttributes are both set")]
    BothAttributes,
    /// Neither kind of attributes.
    #[error("neither resourceAttributes nor nonResourceAttributes is set")]
    NoAttributes,
    /// More requirements than [`MAX_REQUIREMENTS`].
    #[error("more than {MAX_REQUIREMENTS} requirements")]
    TooManyRequirements,
    /// More values than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values")]
    TooManyValues,
    /// A field that is not known; only of what people write by hand, since new versions of Kubernetes add fields.
    #[error("unknown field {0}")]
    UnknownField(String),
    /// A requirement that cannot be understood; only of what people write by hand, since it is dropped otherwise.
    #[error("not a requirement: operator In or NotIn with values, or Exists or DoesNotExist without")]
    NotARequirement,
}

/// A step from the document towards the place of an error.
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl ReviewError {
    /// An error at the place to which `steps` lead, outermost last.
    pub(super) fn at(steps: &[Step], problem: Problem) -> Self {
        let mut path = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Key(key) if !is_plain(key) => path.push_str(&format!("[{}]", quoted(key))),
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&cut(key, QUOTED_CHARS));
                }
            }
        }
        Self { path: cut(&path, PATH_CHARS), problem }
    }

    /// An error of the whole document.
    pub(super) fn of_document(problem: Problem) -> Self {
        Self { path: String::new(), problem }
    }
}

impl fmt::Display for ReviewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ReviewError {}

/// A text of the body as an error repeats it: in quotes, escaped, cut.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text, QUOTED_CHARS))
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

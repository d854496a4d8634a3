//! Kubernetes' wire types: SubjectAccessReviews read strictly from bytes, and the replies to them; and from the other end,
//! reviews written, and replies read.
//!
//! Source: <https://github.com/kubernetes/api/blob/master/authorization/v1/types.go> and `../v1beta1/types.go`, whose
//! JSON differs by one key: `spec.group` instead of `spec.groups`.

mod ask;
mod error;
mod json;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use ask::{Reply, ReplyError, read_reply, requirement_to_json, spec_to_json, write_request};
pub use error::{Problem, ReviewError};
pub use read::{Review, Version, read, spec_from_json};
pub use write::{MAX_EVALUATION_ERROR_CHARS, MAX_REASON_CHARS, write};

/// How deep objects and lists of a review may be nested; the document itself is at depth 1, and what Kubernetes defines
/// ends at depth 7.
pub const MAX_DEPTH: usize = 32;

/// How many requirements the selectors of a review may have together; a review costs an API server's client nothing, and
/// each requirement is looked at (kubernetes/kubernetes#141457). Further ones are dropped, which is the broader request.
pub const MAX_REQUIREMENTS: usize = 1_000;

/// How many groups and values of `extra` a review may have together, and how many values its requirements; a requirement
/// with further ones is dropped.
pub const MAX_VALUES: usize = 100_000;

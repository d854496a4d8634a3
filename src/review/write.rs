//! The reply to a review.

use serde::Serialize;

use super::Version;
use crate::model::Decision;

/// How long a reason may be, in characters: the API server shows it to the user on one line.
pub const MAX_REASON_CHARS: usize = 200;

/// How long an evaluation error may be, in characters: it is for logs.
pub const MAX_EVALUATION_ERROR_CHARS: usize = 1_000;

/// The body of a reply: `apiVersion`, `kind` and `status`, as the API server's webhook authoriser reads it. `allowed` and
/// `denied` both come from the one decision, so that they are never both true.
///
/// Reason and evaluation error are put on one line, without control characters, and cut; empty ones are left out.
#[must_use]
pub fn write(version: Version, decision: Decision, reason: &str, evaluation_error: &str) -> Vec<u8> {
    let reply = Reply {
        api_version: version.api_version(),
        kind: "SubjectAccessReview",
        status: Status {
            allowed: decision == Decision::Allow,
            denied: decision == Decision::Deny,
            reason: line(reason, MAX_REASON_CHARS),
            evaluation_error: line(evaluation_error, MAX_EVALUATION_ERROR_CHARS),
        },
    };
    // Strings and booleans under constant keys: there is nothing that could fail; an empty body would be refused.
    serde_json::to_vec(&reply).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    api_version: &'static str,
    kind: &'static str,
    status: Status,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    allowed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    denied: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    evaluation_error: String,
}

/// A text on one line: white space becomes a space, what else controls a terminal goes, the rest is cut.
fn line(text: &str, chars: usize) -> String {
    text.chars()
        .filter_map(|character| match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
            // Marks that change the direction of writing, so that a line reads as another than it is.
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => None,
            character if character.is_control() => None,
            character => Some(character),
        })
        .take(chars)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, decision: Decision, reason: &str, error: &str) -> String {
        String::from_utf8(write(version, decision, reason, error)).unwrap()
    }

    #[test]
    fn replies_are_exactly_what_an_api_server_reads() {
        let rows = [
            (Decision::Allow, "", "", r#"{"allowed":true}"#),
            (Decision::Allow, "by policy", "", r#"{"allowed":true,"reason":"by policy"}"#),
            (Decision::NoOpinion, "", "", r#"{"allowed":false}"#),
            (
                Decision::NoOpinion,
                "",
                "directory unreachable",
                r#"{"allowed":false,"evaluationError":"directory unreachable"}"#,
            ),
            (
                Decision::Deny,
                "GZ-1042 outside maintenance window",
                "",
                r#"{"allowed":false,"denied":true,"reason":"GZ-1042 outside maintenance window"}"#,
            ),
            (Decision::Deny, "", "", r#"{"allowed":false,"denied":true}"#),
        ];
        for (version, name) in [(Version::V1, "v1"), (Version::V1beta1, "v1beta1")] {
            for (decision, reason, error, status) in rows {
                assert_eq!(
                    written(version, decision, reason, error),
                    format!(
                        r#"{{"apiVersion":"authorization.k8s.io/{name}","kind":"SubjectAccessReview","status":{status}}}"#
                    ),
                );
            }
        }
    }

    #[test]
    fn a_reason_is_one_line_without_control_characters() {
        let reply = written(Version::V1, Decision::Deny, "a\nb\u{1b}[31m\u{202e}c\u{9b}\0", "");
        assert!(reply.contains(r#""reason":"a b[31mc""#), "{reply}");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reply: serde_json::Value =
            serde_json::from_slice(&write(Version::V1, Decision::Deny, &"ö".repeat(300), &"ö".repeat(3000)))
                .unwrap();
        assert_eq!(reply["status"]["reason"], "ö".repeat(MAX_REASON_CHARS));
        assert_eq!(reply["status"]["evaluationError"], "ö".repeat(MAX_EVALUATION_ERROR_CHARS));
    }
}

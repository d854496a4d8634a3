//! What of a request a journey shows: no credential.

use percent_encoding::percent_decode_str;

/// What a parameter's name holds whose value is not shown. None is taken for a credential; somebody may have tried.
const SECRET: [&str; 5] = ["token", "password", "secret", "authorization", "credential"];

/// The path and query of a request, without a credential that somebody put there: neither under a name that says so,
/// however it is encoded, nor a signed token under any name.
#[must_use]
pub fn target(path: &str, query: Option<&str>) -> String {
    let Some(query) = query else { return path.to_owned() };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if is_secret(name) || is_signed_token(value) => format!("{name}=..."),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

fn is_secret(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
    SECRET.iter().any(|secret| name.contains(secret))
}

/// Three parts, of which the first is a JSON object in base64 (RFC 7515, 3.1).
fn is_signed_token(value: &str) -> bool {
    let value = percent_decode_str(value).decode_utf8_lossy();
    value.trim_start_matches("Bearer").trim_start_matches([' ', '+']).starts_with("eyJ")
        && value.split('.').count() == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_the_query_is_not_shown_however_it_is_written() {
        for query in [
            "access_token=s3cr3t",
            "a=b&access%5Ftoken=s3cr3t",
            "%74oken=s3cr3t",
            "TOKEN=s3cr3t",
            "a;access_token=s3cr3t",
            "password=s3cr3t",
            "x=eyJhbGciOiJub25lIn0.s3cr3t.",
            "x=Bearer+eyJhbGciOiJub25lIn0.s3cr3t.",
            "x=Bearer%20eyJhbGciOiJub25lIn0%2Es3cr3t%2E",
        ] {
            let shown = target("/api", Some(query));
            assert!(shown.ends_with("=...") && !shown.contains("s3cr3t"), "{shown}");
        }
        for query in ["", "watch=true&continue=eyJydiI6MX0", "labelSelector=a%3Db"] {
            assert_eq!(target("/api", Some(query)), format!("/api?{query}"));
        }
        assert_eq!(target("/api", None), "/api");
    }
}

//! What a request shows in `Authorization`, and in places where no credential is taken from.
//!
//! Source: `k8s.io/apiserver/pkg/authentication/request/bearertoken/bearertoken.go`. An API server overlooks a
//! header that it cannot use, and the request is anonymous; here whoever shows something that is meant to be a
//! credential is refused, for they would rather know.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, SEC_WEBSOCKET_PROTOCOL};

/// The query parameter of RFC 6750, 2.3, which is in every log on the way.
const QUERY_TOKEN: &str = "access_token";
/// How a browser's WebSocket carries a token (`k8s.io/apiserver/pkg/authentication/request/websocket/protocol.go`).
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// A credential that is sent as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// None.
    Nothing,
    /// A bearer token (RFC 6750, 2.1): one word of visible ASCII.
    Bearer(&'a str),
    /// `Basic`, and what follows.
    Basic(&'a str),
    /// Something that is meant for one, and why it is none.
    Unusable(&'static str),
}

impl<'a> Shown<'a> {
    /// What a request shows.
    pub(super) fn read(headers: &'a HeaderMap, query: &[(String, String)]) -> Self {
        if query.iter().any(|(key, _)| key == QUERY_TOKEN) {
            return Self::Unusable(
                "a token in the query (`access_token`) is no credential here: send it in a header",
            );
        }
        let asks_by_websocket = headers.get_all(SEC_WEBSOCKET_PROTOCOL).any(|value| {
            value.as_bytes().windows(WEBSOCKET_TOKEN.len()).any(|part| part == WEBSOCKET_TOKEN.as_bytes())
        });
        if asks_by_websocket {
            return Self::Unusable(
                "a token as a WebSocket protocol is no credential here: send it in a header",
            );
        }
        let mut values = headers.get_all(AUTHORIZATION);
        let value = match (values.next(), values.next()) {
            (None, _) => return Self::Nothing,
            (Some(value), None) => value,
            (Some(_), Some(_)) => return Self::Unusable("there are several Authorization headers"),
        };
        match value.to_str() {
            Ok(text) => Self::parse(text),
            Err(_) => Self::Unusable("the Authorization header is not ASCII"),
        }
    }

    fn parse(text: &'a str) -> Self {
        let Some((scheme, rest)) = text.split_once(' ') else {
            return Self::Unusable("the Authorization header is no scheme with a credential");
        };
        let is_word = !rest.is_empty() && rest.bytes().all(|octet| octet.is_ascii_graphic());
        // RFC 9110, 11.1: schemes are compared without regard to case.
        if scheme.eq_ignore_ascii_case("bearer") {
            if is_word {
                Self::Bearer(rest)
            } else {
                Self::Unusable("what follows `Bearer ` is not one word")
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            if is_word { Self::Basic(rest) } else { Self::Unusable("what follows `Basic ` is not one word") }
        } else {
            Self::Unusable("the scheme of the Authorization header is neither Bearer nor Basic")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::authn::headers::of;

    #[test]
    fn a_scheme_has_any_case_and_a_credential_is_one_word() {
        let read = |text: &str| match Shown::read(&of(&[("authorization", text)]), &[]) {
            Shown::Bearer(token) => format!("bearer {token}"),
            Shown::Basic(credentials) => format!("basic {credentials}"),
            Shown::Nothing => "nothing".to_owned(),
            Shown::Unusable(_) => "unusable".to_owned(),
        };
        for (text, expected) in [
            ("Bearer t", "bearer t"),
            ("bEARER t.u-v_w~+/=", "bearer t.u-v_w~+/="),
            ("Basic YTpi", "basic YTpi"),
            ("basic YTpi", "basic YTpi"),
            ("Bearer", "unusable"),
            ("Bearer ", "unusable"),
            ("Bearer  t", "unusable"),
            ("Bearer t u", "unusable"),
            ("Bearer\tt", "unusable"),
            ("Negotiate x", "unusable"),
            ("t", "unusable"),
            ("", "unusable"),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        assert_eq!(Shown::read(&of(&[]), &[]), Shown::Nothing);
    }

    #[test]
    fn a_credential_in_another_place_or_of_two_is_none() {
        let unusable = |headers: &[(&str, &str)], query: &[(&str, &str)]| {
            let query: Vec<_> =
                query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            matches!(Shown::read(&of(headers), &query), Shown::Unusable(_))
        };
        assert!(unusable(&[("Authorization", "Bearer a"), ("authorization", "Bearer a")], &[]));
        assert!(unusable(&[], &[("access_token", "a")]));
        assert!(unusable(&[("Authorization", "Bearer a")], &[("access_token", "a")]));
        let protocols = "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9rZW4";
        assert!(unusable(&[("Sec-WebSocket-Protocol", protocols)], &[]));
        assert!(!unusable(&[("Sec-WebSocket-Protocol", "v4.channel.k8s.io")], &[("watch", "1")]));
    }
}

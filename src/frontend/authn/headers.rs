//! Reading headers that carry identities.

use std::collections::BTreeMap;

use actix_web::http::header::HeaderMap;
use percent_encoding::percent_decode_str;

/// The most values that one kind of header is read for, and keys of `extra`; an identity has fewer.
pub(super) const MAX_VALUES: usize = 256;

/// A header that cannot be read: which kind, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderFault {
    #[error("{0} is no UTF-8")]
    NotText(String),
    #[error("{0} occurs more than once")]
    Repeated(&'static str),
    #[error("there are more than {MAX_VALUES} values of {0}")]
    TooMany(String),
}

/// All values of a header that are not empty, in their order.
pub(super) fn all(headers: &HeaderMap, name: &str) -> Result<Vec<String>, HeaderFault> {
    let mut values = Vec::new();
    for value in headers.get_all(name) {
        let text = std::str::from_utf8(value.as_bytes());
        let text = text.map_err(|_| HeaderFault::NotText(name.to_owned()))?;
        if text.is_empty() {
            continue;
        }
        if values.len() == MAX_VALUES {
            return Err(HeaderFault::TooMany(name.to_owned()));
        }
        values.push(text.to_owned());
    }
    Ok(values)
}

/// The one value of a header; `None` where there is none, or an empty one. An API server takes the first of
/// several: whoever stands between it and us may have taken the last.
pub(super) fn one(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, HeaderFault> {
    let mut values = all(headers, name)?;
    match values.len() {
        0 | 1 => Ok(values.pop()),
        _ => Err(HeaderFault::Repeated(name)),
    }
}

/// Headers whose names begin so, by what follows: in lower case, then percent-decoded (`unescapeExtraKey`). A key
/// that does not decode stands as it is.
pub(super) fn by_key(
    headers: &HeaderMap,
    prefix: &str,
) -> Result<BTreeMap<String, Vec<String>>, HeaderFault> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        let lower = name.as_str().to_ascii_lowercase();
        let Some(key) = lower.strip_prefix(prefix) else { continue };
        let values = all(headers, name.as_str())?;
        if values.is_empty() {
            continue;
        }
        let so_far: usize = found.values().map(Vec::len).sum();
        if so_far + values.len() > MAX_VALUES {
            return Err(HeaderFault::TooMany(format!("{prefix}*")));
        }
        found.entry(decoded(key)).or_default().extend(values);
    }
    Ok(found)
}

/// As Go's `url.PathUnescape`: where a `%` is not followed by two digits, nothing is decoded.
fn decoded(key: &str) -> String {
    let is_whole = key.split('%').skip(1).all(|rest| {
        let mut digits = rest.bytes();
        [digits.next(), digits.next()]
            .iter()
            .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
    });
    if !is_whole {
        return key.to_owned();
    }
    percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
pub(super) fn of(headers: &[(&str, &str)]) -> HeaderMap {
    use actix_web::http::header::{HeaderName, HeaderValue};
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_lowered_and_then_decoded() {
        let headers = of(&[
            ("X-Remote-Extra-Acme.com%2Fproject", "one"),
            ("x-remote-extra-ACME.COM%2fproject", "two"),
            ("X-Remote-Extra-odd%", "three"),
            ("X-Remote-Extra-odd%zz", "four"),
            ("X-Remote-Extra-Acme.com%2F%41", "five"),
        ]);
        let found = by_key(&headers, "x-remote-extra-").unwrap();
        let expected: BTreeMap<String, Vec<String>> = [
            ("acme.com/project", vec!["one", "two"]),
            ("odd%", vec!["three"]),
            ("odd%zz", vec!["four"]),
            ("acme.com/A", vec!["five"]),
        ]
        .into_iter()
        .map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()))
        .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn of_two_values_neither_is_taken_where_one_is_meant() {
        let headers = of(&[("X-Remote-User", "ada"), ("x-remote-user", "root")]);
        assert_eq!(one(&headers, "x-remote-user"), Err(HeaderFault::Repeated("x-remote-user")));
        assert_eq!(one(&of(&[("X-Remote-User", "")]), "x-remote-user"), Ok(None));
    }

    #[test]
    fn values_are_bounded() {
        let many: Vec<(&str, &str)> = (0..=MAX_VALUES).map(|_| ("x-remote-group", "g")).collect();
        assert!(matches!(all(&of(&many), "x-remote-group"), Err(HeaderFault::TooMany(_))));
    }
}

//! Single values: text, numbers, booleans, times, networks, and words of a list.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::fmt::friendly::SpanParser;

use super::decode::expected;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::{Node, Value};
use super::render::quoted;
use super::suggest::did_you_mean_or_list;

/// Text as it was written, also an empty one. Whether it was written in quotes does not matter.
pub fn any_text(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    scalar(node, diagnostics).map(str::to_owned)
}

/// Text that is not empty.
pub fn text(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = scalar(node, diagnostics)?;
    if text.is_empty() {
        diagnostics.push(Diagnostic::error(node.span, "this must not be empty"));
        return None;
    }
    Some(text.to_owned())
}

/// `true` or `false`, without quotes.
pub fn boolean(node: &Node, diagnostics: &mut Diagnostics) -> Option<bool> {
    let written = scalar(node, diagnostics)?;
    let plain = matches!(node.value, Value::Scalar { plain: true, .. });
    let value = plain.then(|| as_boolean(written)).flatten();
    if value.is_none() {
        let message = format!("this must be `true` or `false`, and is {}", quoted(written));
        let help = if plain { None } else { Some("remove the quotes".to_owned()) };
        diagnostics.push(Diagnostic::error(node.span, message).maybe_help(help));
    }
    value
}

/// A decoder of whole numbers in a range.
pub fn integer<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Node, &mut Diagnostics) -> Option<T> {
    move |node, diagnostics| {
        let written = scalar(node, diagnostics)?;
        let plain = matches!(node.value, Value::Scalar { plain: true, .. });
        let digits = plain && !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| written.parse().ok()).flatten().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let (from, to) = range.clone().into_inner();
            let message =
                format!("this must be a whole number from {from} to {to}, and is {}", quoted(written));
            diagnostics.push(Diagnostic::error(node.span, message));
        }
        number
    }
}

/// A decoder of one of some words.
pub fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Node, &mut Diagnostics) -> Option<T> {
    move |node, diagnostics| {
        let written = scalar(node, diagnostics)?;
        let found = words.iter().find(|(word, _)| *word == written);
        if found.is_none() {
            let help = did_you_mean_or_list(written, words.iter().map(|(word, _)| *word));
            let message = format!("{} is not one of the words that may stand here", quoted(written));
            diagnostics.push(Diagnostic::error(node.span, message).maybe_help(help));
        }
        found.map(|(_, value)| *value)
    }
}

/// An instant as in RFC 3339, with its offset from UTC.
pub fn timestamp(node: &Node, diagnostics: &mut Diagnostics) -> Option<Timestamp> {
    let written = scalar(node, diagnostics)?;
    let value = if is_rfc3339(written) { written.parse().ok() } else { None };
    if value.is_none() {
        let message = format!("{} is not an instant", quoted(written));
        let help = "an instant is written with date, time and offset, as `2026-11-23T10:00:00Z`";
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
    }
    value
}

/// A length of time above zero, such as `300ms`, `5m` or `1h30m`; a day has no fixed length.
pub fn duration(node: &Node, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let written = scalar(node, diagnostics)?;
    let value = parse_duration(written).filter(|value| !value.is_zero());
    if value.is_none() {
        let message = format!("{} is not a length of time above zero", quoted(written));
        let help = "a length of time is written as `300ms`, `5m` or `1h30m`";
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
    }
    value
}

/// A length of time as [`duration`] reads it, or none: `0` or `0s`.
pub fn duration_or_zero(node: &Node, diagnostics: &mut Diagnostics) -> Option<Duration> {
    let is_zero = node.as_text().is_some_and(|written| {
        written == "0" || parse_duration(written).is_some_and(|value| value.is_zero())
    });
    if is_zero { Some(Duration::ZERO) } else { duration(node, diagnostics) }
}

fn parse_duration(written: &str) -> Option<Duration> {
    static PARSER: SpanParser = SpanParser::new();
    PARSER.parse_duration(written).ok().and_then(|value| Duration::try_from(value).ok())
}

/// A network, with its host bits zero. IPv4 networks are not written as IPv6 ones, since addresses are unwrapped.
pub fn network(node: &Node, diagnostics: &mut Diagnostics) -> Option<IpNet> {
    let written = scalar(node, diagnostics)?;
    match parse_network(written) {
        Ok(network) => Some(network),
        Err((message, help)) => {
            diagnostics.push(Diagnostic::error(node.span, message).help(help));
            None
        }
    }
}

fn parse_network(written: &str) -> Result<IpNet, (String, String)> {
    let network: IpNet = written.parse().map_err(|_| {
        let help = match written.parse::<IpAddr>() {
            Ok(address) => {
                format!("the network of this one address is {}", quoted(&IpNet::from(address).to_string()))
            }
            Err(_) => "a network is written as `10.1.0.0/16` or `2001:db8::/32`".to_owned(),
        };
        (format!("{} is not a network", quoted(written)), help)
    })?;
    if network.trunc() != network {
        let message = format!("{} is an address in a network: it has host bits", quoted(written));
        return Err((message, format!("the network is {}", quoted(&network.trunc().to_string()))));
    }
    if let IpNet::V6(v6) = network
        && v6.addr().to_ipv4_mapped().is_some()
        && v6.prefix_len() >= 96
    {
        let message = format!(
            "{} is an IPv4 network written as an IPv6 one, which matches no address",
            quoted(written)
        );
        let v4 =
            v6.addr().to_ipv4_mapped().map(|v4| format!("{v4}/{}", v6.prefix_len() - 96)).unwrap_or_default();
        return Err((message, format!("write {}", quoted(&v4))));
    }
    Ok(network)
}

fn scalar<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<&'n str> {
    let text = node.as_text();
    if text.is_none() {
        expected("a single value", node, diagnostics);
    }
    text
}

/// Whether the shape is RFC 3339's (<https://www.rfc-editor.org/rfc/rfc3339#section-5.6>); jiff reads more than that.
fn is_rfc3339(text: &str) -> bool {
    let Some((date_time, offset)) = split_offset(text) else { return false };
    let (whole, fraction) = date_time.split_once('.').unwrap_or((date_time, "0"));
    shaped(whole, "dddd-dd-ddTdd:dd:dd")
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && (offset == "Z" || shaped(offset, "+dd:dd") || shaped(offset, "-dd:dd"))
}

fn split_offset(text: &str) -> Option<(&str, &str)> {
    let length = if text.ends_with('Z') { 1 } else { 6 };
    text.split_at_checked(text.len().checked_sub(length)?)
}

/// Whether a text has a shape, in which `d` stands for a digit.
fn shaped(text: &str, shape: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| if shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

/// Whether a scalar without quotes is nothing, by the core schema.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn as_boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// What the core schema makes of a scalar without quotes.
pub(super) fn plain_to_json(text: &str) -> serde_json::Value {
    if is_null(text) {
        return serde_json::Value::Null;
    }
    if let Some(value) = as_boolean(text) {
        return value.into();
    }
    number(text).map_or_else(|| text.into(), serde_json::Value::Number)
}

fn number(text: &str) -> Option<serde_json::Number> {
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix).filter(|digits| !digits.starts_with('+'))?;
        u64::from_str_radix(digits, radix).ok().map(serde_json::Number::from)
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(number);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let whole =
            text.parse::<u64>().ok().map(Into::into).or_else(|| text.parse::<i64>().ok().map(Into::into));
        return whole.or_else(|| serde_json::Number::from_f64(text.parse().ok()?));
    }
    let float = unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    float.then(|| text.parse().ok()).flatten().and_then(serde_json::Number::from_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{Source, parse};

    /// Decodes one value; the messages where it is wrong.
    fn decode<T>(written: &str, decode: impl Fn(&Node, &mut Diagnostics) -> Option<T>) -> Result<T, String> {
        let sources = [Source::new("test.yaml", written.as_bytes())];
        let mut diagnostics = Diagnostics::new(&sources);
        let documents = parse(&sources, &mut diagnostics);
        let value = decode(&documents[0].root, &mut diagnostics);
        match diagnostics.items.first() {
            Some(item) => Err(format!("{}; {}", item.message, item.help.as_deref().unwrap_or_default())),
            None => Ok(value.unwrap()),
        }
    }

    #[test]
    fn durations_are_positive_and_in_fixed_units() {
        assert_eq!(decode("300ms", duration), Ok(Duration::from_millis(300)));
        assert_eq!(decode("5m", duration), Ok(Duration::from_secs(300)));
        assert_eq!(decode("1h30m", duration), Ok(Duration::from_secs(5400)));
        for wrong in ["0s", "-5m", "5", "1d", "1mo", "5m ago", "soon", "''"] {
            assert!(decode(wrong, duration).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_are_rfc_3339_only() {
        let expected: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for right in ["2026-11-23T10:00:00Z", "2026-11-23T11:00:00+01:00", "2026-11-23T10:00:00.000Z"] {
            assert_eq!(decode(right, timestamp), Ok(expected), "{right}");
        }
        for wrong in [
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-11-23 10:00:00Z",
            "2026-11-23T10:00Z",
            "2026-02-30T10:00:00Z",
            "2026-11-23T25:00:00Z",
            "2026-11-23T10:00:00+01",
            "Z",
            "é2026-11-23T10:00:00",
        ] {
            assert!(decode(wrong, timestamp).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_has_no_host_bits() {
        assert_eq!(decode("10.0.0.0/8", network), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(decode("0.0.0.0/0", network), Ok("0.0.0.0/0".parse().unwrap()));
        assert!(decode("10.1.2.3/8", network).unwrap_err().contains("the network is `10.0.0.0/8`"));
        assert!(decode("10.1.2.3", network).unwrap_err().contains("`10.1.2.3/32`"));
        assert!(decode("::ffff:10.0.0.0/104", network).unwrap_err().contains("write `10.0.0.0/8`"));
        assert!(decode("10.0.0.0/33", network).is_err());
    }

    #[test]
    fn numbers_and_booleans_are_written_without_quotes() {
        assert_eq!(decode("8443", integer::<u16>(1..=65535)), Ok(8443));
        assert_eq!(decode("true", boolean), Ok(true));
        for wrong in ["0", "65536", "-1", "1e3", "\"8443\"", "99999999999999999999"] {
            assert!(decode(wrong, integer::<u16>(1..=65535)).is_err(), "{wrong}");
        }
        for wrong in ["yes", "\"true\"", "1"] {
            assert!(decode(wrong, boolean).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_follows_the_core_schema() {
        let written = r#"[null, ~, "null", true, "true", 12, -3, +4, 0x1f, 0o17, 1.5, 1e3, .5, .inf, 1.2.3, e1, yes, 08:00, "12", -x, 99999999999999999999]"#;
        let sources = [Source::new("test.yaml", written.as_bytes())];
        let documents = parse(&sources, &mut Diagnostics::new(&sources));
        assert_eq!(
            documents[0].root.to_json(),
            json!([
                null, null, "null", true, "true", 12, -3, 4, 31, 15, 1.5, 1000.0, 0.5, ".inf", "1.2.3", "e1",
                "yes", "08:00", "12", "-x", 1e20
            ])
        );
    }
}

//! JSON as it was sent: with a note of each key that stands twice in one object, of which the last counts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::path::Path;

/// How many duplicates are told of one body.
const MAX_TOLD: usize = 100;

/// Reads JSON: the value, and the paths of keys that stand in it twice. Nesting is bounded by the parser, at 128.
///
/// # Errors
/// Where it is no JSON, or more than one value.
pub(super) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { path: &Path::Root, duplicates: &mut duplicates }.deserialize(&mut reader)?;
    reader.end()?;
    Ok((value, duplicates))
}

/// Reads JSON in which no key stands twice in one object: which of two would count differs from reader to reader
/// (RFC 8259, 4), and what is signed must not say two things.
///
/// # Errors
/// Those of [`parse`], and where a key stands twice.
pub(super) fn strict(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let (value, duplicates) = parse(bytes)?;
    match duplicates.first() {
        None => Ok(value),
        Some(_) => Err(serde_json::Error::custom("a key occurs twice")),
    }
}

struct Seed<'s> {
    path: &'s Path<'s>,
    duplicates: &'s mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = Path::Item(self.path, list.len());
            match items.next_element_seed(Seed { path: &path, duplicates: self.duplicates })? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::Field(self.path, &key);
            if map.contains_key(&key) && self.duplicates.len() < MAX_TOLD {
                self.duplicates.push(path.shown());
            }
            let value = entries.next_value_seed(Seed { path: &path, duplicates: self.duplicates })?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_stand_twice_are_told_and_the_last_counts() {
        let text = br#"{"a": [{"b": 1, "b": 2}], "c": {"a": 1}, "a2": 1.5, "a2": null}"#;
        let (value, duplicates) = parse(text).unwrap();
        assert_eq!(value, json!({"a": [{"b": 2}], "c": {"a": 1}, "a2": null}));
        assert_eq!(duplicates, ["a[0].b", "a2"]);
    }

    #[test]
    fn a_long_key_over_many_items_costs_no_more_than_its_length() {
        let text = format!("{{{:?}: [{}0]}}", "k".repeat(1 << 20), "0,".repeat(1 << 20));
        let (value, _) = parse(text.as_bytes()).unwrap();
        assert_eq!(value["k".repeat(1 << 20)].as_array().unwrap().len(), (1 << 20) + 1);
    }

    #[test]
    fn what_is_signed_has_no_key_twice_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"b":{"a":1,"a":2}}]"#, "{", r#"{} {}"#]
        {
            assert!(strict(text.as_bytes()).is_err(), "{text}");
        }
        let text = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"a":{}}}"#;
        assert_eq!(strict(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        for text in ["", "{", "{} {}", "{'a': 1}", "nul", "[1,]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}

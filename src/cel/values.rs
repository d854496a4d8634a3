//! Between JSON and the values of the language.

use std::collections::HashMap;
use std::sync::Arc;

use ::cel::extractors::This;
use ::cel::{Context, DeclarationError, ExecutionError, Value as Cel};
use regex::Regex;
use serde_json::Value;

/// A JSON value. Whole numbers are `int` where they can be.
pub(super) fn from_json(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Cel::Int(number),
            (_, Some(number), _) => Cel::UInt(number),
            (_, _, number) => Cel::Float(number.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.as_str(), from_json(value)));
            Cel::from(fields.collect::<HashMap<_, _>>())
        }
    }
}

/// The length of the longest list or mapping in a value.
pub(super) fn longest(value: &Value) -> u64 {
    let (own, inner) = match value {
        Value::Array(items) => (items.len(), items.iter().map(longest).max()),
        Value::Object(fields) => (fields.len(), fields.values().map(longest).max()),
        _ => (0, None),
    };
    u64::try_from(own).unwrap_or(u64::MAX).max(inner.unwrap_or_default())
}

/// `matches`, with the regular expressions compiled before.
pub(super) fn add_matches(
    context: &mut Context<'_, '_>,
    regexes: Arc<HashMap<String, Regex>>,
) -> Result<(), DeclarationError> {
    let matches = move |This(text): This<Arc<String>>, pattern: Arc<String>| match regexes.get(&**pattern) {
        Some(regex) => Ok(regex.is_match(&text)),
        None => Err(ExecutionError::function_error("matches", "the regular expression was not compiled")),
    };
    context.add_function("matches", matches)
}

/// What a value is, for an error.
pub(super) fn describe(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "a list",
        Cel::Map(_) => "a mapping",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        Cel::String(_) => "a string",
        Cel::Null => "null",
        Cel::Bool(_) => "a boolean",
        _ => "something else",
    }
}

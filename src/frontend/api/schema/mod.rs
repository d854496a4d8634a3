//! The fields of every kind that is served: what an object may hold, how it stands in protobuf, and how lists in it are
//! merged. Decoding, strict checks, patches and OpenAPI are made from these tables.
//!
//! The tables are the `.txt` files beside this one, made from kubernetes' own definitions. Their grammar: a line that is
//! not indented begins a message, with its name, its package and perhaps `wrapper` (it is a list with a name of its own,
//! and JSON has only the list). The lines below are its fields: the protobuf number, the name in JSON, and the type, as
//! `string`, `[Container]` (a list) or `{string}` (a map by text). Then perhaps `inline` (its fields stand in JSON where it
//! would stand), `merge` (a list that a strategic merge patch adds to) or `merge=KEY` (one whose items it merges by KEY).

pub mod conform;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::frontend::resources::ResourceType;

/// A kind of object within others, or one of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name, as `PodSpec`.
    pub name: &'static str,
    /// Where it belongs, as `io.k8s.api.core.v1`.
    pub package: &'static str,
    /// Whether JSON has only the list that it holds.
    pub is_wrapper: bool,
    /// What it holds.
    pub fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its number in protobuf.
    pub number: u32,
    /// Its name in JSON.
    pub name: &'static str,
    /// What it holds, once or often.
    pub kind: Type,
    /// Whether it holds one, a list or a map of that.
    pub shape: Shape,
    /// Whether JSON has the fields of this one in its place.
    pub is_inline: bool,
    /// How a strategic merge patch changes it.
    pub merge: Merge,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// Bytes; base64 in JSON.
    Bytes,
    /// An instant (RFC 3339).
    Time,
    /// An instant with microseconds.
    MicroTime,
    /// An amount, as `500m` or `1Gi`.
    Quantity,
    /// A whole number or a text.
    IntegerOrText,
    /// A length of time.
    Duration,
    /// Any object.
    Object,
    /// A message of this name.
    Message(&'static str),
}

/// How often a field holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Once.
    One,
    /// As a list.
    List,
    /// By texts.
    Map,
}

/// How a strategic merge patch changes a list (`patchStrategy` and `patchMergeKey`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// The list of the patch takes its place.
    Replace,
    /// What is not in it is added.
    Set,
    /// Items that have the same value of this field are merged.
    By(&'static str),
}

const TABLES: &[&str] = &[
    include_str!("meta.txt"),
    include_str!("core.txt"),
    include_str!("pod.txt"),
    include_str!("container.txt"),
    include_str!("volume.txt"),
    include_str!("pod_status.txt"),
    include_str!("node.txt"),
    include_str!("service.txt"),
    include_str!("workload.txt"),
    include_str!("lease.txt"),
    include_str!("rbac.txt"),
    include_str!("reviews.txt"),
    include_str!("admission.txt"),
];

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    TABLES.iter().flat_map(|table| read(table)).map(|message| (message.name, message)).collect()
});

/// The message of this name.
#[must_use]
pub fn message(name: &str) -> Option<&'static Message> {
    MESSAGES.get(name)
}

/// The message of a resource's objects.
#[must_use]
pub fn of(kind: &ResourceType) -> Option<&'static Message> {
    message(kind.kind)
}

impl Message {
    /// The field of this name, as JSON has it: fields of inline fields count as its own.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field>
    where
        Self: 'static,
    {
        let own = self.fields.iter().find(|field| !field.is_inline && field.name == name);
        let own = own.and_then(|own| message(self.name)?.fields.iter().find(|field| field.name == own.name));
        own.or_else(|| self.inlined().find_map(|inner| inner.field(name)))
    }

    /// All fields, as JSON has them.
    #[must_use]
    pub fn json_fields(&'static self) -> Vec<&'static Field> {
        let own = self.fields.iter().filter(|field| !field.is_inline);
        own.chain(self.inlined().flat_map(Self::json_fields)).collect()
    }

    fn inlined(&self) -> impl Iterator<Item = &'static Self> {
        self.fields.iter().filter(|field| field.is_inline).filter_map(|field| field.message())
    }

    /// Its full name, as in OpenAPI.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }
}

impl Field {
    /// The message that it holds, where it holds one.
    #[must_use]
    pub fn message(&self) -> Option<&'static Message> {
        match self.kind {
            Type::Message(name) => message(name),
            _ => None,
        }
    }
}

/// Reads a table. What is no line of it is left out, which the tests do not let happen.
fn read(table: &'static str) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("  "), messages.last_mut()) {
            (Some(line), Some(message)) => message.fields.extend(field(line)),
            (Some(_), None) => {}
            (None, _) => messages.extend(head(line)),
        }
    }
    messages
}

fn head(line: &'static str) -> Option<Message> {
    let mut words = line.split(' ');
    let (name, package) = (words.next()?, words.next()?);
    Some(Message { name, package, is_wrapper: words.next() == Some("wrapper"), fields: Vec::new() })
}

fn field(line: &'static str) -> Option<Field> {
    let mut words = line.split(' ');
    let (number, name, kind) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let within =
        |open, close| kind.strip_prefix(open).and_then(|kind: &'static str| kind.strip_suffix(close));
    let (kind, shape) = match (within('[', ']'), within('{', '}')) {
        (Some(kind), _) => (kind, Shape::List),
        (_, Some(kind)) => (kind, Shape::Map),
        _ => (kind, Shape::One),
    };
    let mark = words.next().unwrap_or_default();
    let merge = match (mark, mark.strip_prefix("merge=")) {
        ("merge", _) => Merge::Set,
        (_, Some(key)) => Merge::By(key),
        _ => Merge::Replace,
    };
    Some(Field { number, name, kind: self::kind(kind), shape, is_inline: mark == "inline", merge })
}

fn kind(word: &'static str) -> Type {
    match word {
        "string" => Type::Text,
        "int" => Type::Integer,
        "number" => Type::Number,
        "bool" => Type::Boolean,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "micro-time" => Type::MicroTime,
        "quantity" => Type::Quantity,
        "int-or-string" => Type::IntegerOrText,
        "duration" => Type::Duration,
        "object" => Type::Object,
        name => Type::Message(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::resources::RESOURCES;

    #[test]
    fn every_line_of_the_tables_is_read() {
        for table in TABLES {
            let lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            let messages = read(table);
            let read: usize = messages.iter().map(|message| 1 + message.fields.len()).sum();
            assert_eq!(read, lines.count());
        }
    }

    #[test]
    fn every_kind_that_is_served_has_a_message_and_every_message_that_is_named_is_there() {
        for kind in RESOURCES {
            assert!(of(kind).is_some(), "{}", kind.kind);
            for subresource in kind.subresources {
                assert!(message(subresource.kind).is_some(), "{}", subresource.kind);
            }
        }
        for message in MESSAGES.values() {
            for field in &message.fields {
                assert!(!matches!(field.kind, Type::Message(_)) || field.message().is_some(), "{field:?}");
            }
        }
    }

    #[test]
    fn inline_fields_are_found_where_json_has_them() {
        let volume = message("Volume").unwrap();
        assert_eq!(volume.field("secret").unwrap().kind, Type::Message("SecretVolumeSource"));
        assert!(volume.field("volumeSource").is_none());
        let probe = message("Probe").unwrap();
        assert!(probe.json_fields().iter().any(|field| field.name == "httpGet"));
        let spec = message("PodSpec").unwrap();
        assert_eq!(spec.field("containers").unwrap().merge, Merge::By("name"));
    }
}

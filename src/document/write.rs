//! From trees to YAML, for documents that a program makes and people read.

use std::fmt::Write as _;

use super::node::{Node, Value};
use super::scalar::plain_to_json;

/// How long a line may become before what stands on it is written over several.
const WIDTH: usize = 100;

/// How deep mappings are always written over several lines: a document, its `spec`, and the like.
const OUTER: usize = 2;

impl Node {
    /// The tree as a YAML document, without a marker before or after it; it ends with a line feed. What is read from it is
    /// the same tree, but for its places.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        block(self, 0, &mut out);
        out
    }
}

/// Writes what stands at the beginning of a line, this many spaces in.
fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.value {
        Value::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(out, "{:indent$}{}:", "", scalar(&key.value, true));
                after(value, indent, out);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                in_list(item, indent + 2, out);
            }
        }
        _ => {
            let _ = writeln!(out, "{:indent$}{}", "", flow(node));
        }
    }
}

/// Writes the value of a key, which stands on the line already.
fn after(value: &Node, indent: usize, out: &mut String) {
    let on_the_line = flow(value);
    let is_outer = indent < OUTER && matches!(&value.value, Value::Mapping(entries) if entries.len() > 1);
    let is_list_of_more = matches!(&value.value, Value::Sequence(items) if items.iter().any(is_composed));
    let fits = indent + on_the_line.len() <= WIDTH;
    if !is_composed(value) || is_empty(value) || (fits && !is_outer && !is_list_of_more) {
        let _ = writeln!(out, " {on_the_line}");
        return;
    }
    out.push('\n');
    block(value, indent + 2, out);
}

/// Writes an element of a list, whose dash stands on the line already.
fn in_list(item: &Node, indent: usize, out: &mut String) {
    let on_the_line = flow(item);
    if !is_composed(item) || is_empty(item) || indent + on_the_line.len() <= WIDTH {
        let _ = writeln!(out, " {on_the_line}");
        return;
    }
    // The first line of what is written stands behind the dash.
    let mut lines = String::new();
    block(item, indent, &mut lines);
    out.push(' ');
    out.push_str(lines.trim_start_matches(' '));
}

fn is_composed(node: &Node) -> bool {
    matches!(node.value, Value::Mapping(_) | Value::Sequence(_))
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Mapping(entries) => entries.is_empty(),
        Value::Sequence(items) => items.is_empty(),
        Value::Null | Value::Scalar { .. } => false,
    }
}

fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar { text, plain } => scalar(text, *plain),
        Value::Sequence(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Mapping(entries) => {
            let entries =
                entries.iter().map(|(key, value)| format!("{}: {}", scalar(&key.value, true), flow(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A scalar, in quotes where it would be read as something else without. JSON's strings are YAML's.
fn scalar(text: &str, plain: bool) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let is_sentence = || text.bytes().all(|byte| is_word(byte) || byte == b' ') && !text.ends_with(' ');
    let is_text = plain_to_json(text).is_string() && !is_old_boolean(text);
    let is_number = plain && !plain_to_json(text).is_string();
    if is_number || (begins_well && is_sentence() && is_text) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

/// What YAML 1.1 took for true and false, and some readers still do.
fn is_old_boolean(text: &str) -> bool {
    ["y", "n", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::super::{Diagnostics, Source, parse};
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Node {
        let sources = [Source::new("made", text.as_bytes().to_vec())];
        let mut diagnostics = Diagnostics::new(&sources);
        let mut documents = parse(&sources, &mut diagnostics);
        assert!(diagnostics.items.is_empty(), "{diagnostics}\n{text}");
        documents.remove(0).root
    }

    #[test]
    fn a_policy_is_written_as_people_write_it() {
        let text = "\
apiVersion: bailiwick.dev/v1alpha1
kind: AccessPolicy
metadata: {name: one}
spec:
  description: what it is
  subjects:
    - {kind: User, name: \"system:serviceaccount:a:b\"}
  rules:
    - apiGroups: [\"\", apps, batch]
      resources: [pods, pods/log, deployments, statefulsets, daemonsets, jobs, cronjobs]
      verbs: [get, \"*\", \"no\"]
    - {nonResourceURLs: [/healthz], verbs: [get]}
";
        assert_eq!(read(text).to_yaml(), text);
    }

    fn tree() -> impl Strategy<Value = Node> {
        let node = |value| Node { value, span: Default::default() };
        let text = prop_oneof!["\\PC{0,12}", "[a-z]{1,6}", "[-0-9.e:#' ]{1,6}", Just("null".to_owned())];
        let leaf = text.prop_map(move |text| node(Value::Scalar { text, plain: false }));
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5)
                    .prop_map(move |items| node(Value::Sequence(items))),
                proptest::collection::btree_map("[ -~]{1,9}", inner, 1..5).prop_map(move |entries| {
                    let entries = entries
                        .into_iter()
                        .map(|(key, value)| (super::super::Spanned::new(key, Default::default()), value));
                    node(Value::Mapping(entries.collect()))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(tree in tree()) {
            let text = tree.to_yaml();
            prop_assert_eq!(read(&text).to_json(), tree.to_json(), "{}", text);
        }
    }
}

//! Kubernetes' protobuf, read into JSON by the tables of [`super::schema`]. `kubectl` sends reviews and some objects so.
//! Objects are never written so, only OpenAPI is.
//!
//! Sources: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go`, `.../runtime/generated.proto`,
//! <https://protobuf.dev/programming-guides/encoding/>.

mod wire;
mod writer;

use serde_json::{Map, Number, Value};

use super::schema::{self, Field, Message, Shape, Type};
use wire::{Content, Reader};
pub(super) use writer::Writer;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may be nested.
const MAX_DEPTH: usize = 32;

/// How many values one body may hold; bounds its memory to some tens of MiB.
const MAX_VALUES: usize = 200_000;

/// Why a body is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not begin with `k8s\0`.
    #[error("the body does not begin with the protobuf prefix")]
    Magic,
    /// It is cut off, or no protobuf.
    #[error("the body is malformed protobuf")]
    Malformed,
    /// Its kind is none that is served.
    #[error("no kind {0:?} is registered")]
    Kind(String),
    /// It is nested too deeply, or holds too much.
    #[error("the body is nested too deeply or holds too many values")]
    TooMuch,
}

/// Reads a body into JSON; `apiVersion` and `kind` are in it if they are in the body. Where the body does not name its
/// kind, it is taken for `default`.
///
/// # Errors
/// Where it is no such body.
pub fn decode(body: &[u8], default: &str) -> Result<Value, Fault> {
    let unknown = body.strip_prefix(MAGIC).ok_or(Fault::Magic)?;
    let (mut version, mut kind, mut raw): (&str, &str, &[u8]) = ("", "", &[]);
    for part in Reader(unknown) {
        match part? {
            (1, Content::Bytes(meta)) => {
                for part in Reader(meta) {
                    match part? {
                        (1, Content::Bytes(text)) => version = wire::text(text)?,
                        (2, Content::Bytes(text)) => kind = wire::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, Content::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let name = if kind.is_empty() { default } else { kind };
    let message = schema::message(name).ok_or_else(|| Fault::Kind(name.to_owned()))?;
    let mut object = Decoder { values: 0 }.message(message, raw, 0)?;
    if let Some(fields) = object.as_object_mut() {
        for (key, text) in [("apiVersion", version), ("kind", kind)] {
            if !text.is_empty() {
                fields.insert(key.into(), text.into());
            }
        }
    }
    Ok(object)
}

struct Decoder {
    values: usize,
}

impl Decoder {
    fn message(&mut self, message: &'static Message, bytes: &[u8], depth: usize) -> Result<Value, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooMuch);
        }
        let mut object = Map::new();
        for part in Reader(bytes) {
            let (number, content) = part?;
            let Some(field) = message.fields.iter().find(|field| field.number == number) else { continue };
            self.field(field, content, depth, &mut object)?;
        }
        if message.is_wrapper {
            let list = object.into_iter().next().map(|(_, list)| list);
            return Ok(list.unwrap_or_else(|| Value::Array(Vec::new())));
        }
        Ok(object.into())
    }

    fn field(
        &mut self,
        field: &'static Field,
        content: Content<'_>,
        depth: usize,
        object: &mut Map<String, Value>,
    ) -> Result<(), Fault> {
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return Err(Fault::TooMuch);
        }
        match field.shape {
            Shape::One => {
                let value = self.one(field, content, depth)?;
                match value {
                    // Go writes what is empty; JSON leaves it out.
                    Value::Null => {}
                    Value::String(text) if text.is_empty() => {}
                    // The one number of all objects that is there though nobody set it.
                    value if field.name == "generation" && value == 0 => {}
                    Value::Object(inner) if field.is_inline => object.extend(inner),
                    value => {
                        object.insert(field.name.into(), value);
                    }
                }
            }
            Shape::List => {
                let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                let Some(list) = list.as_array_mut() else { return Err(Fault::Malformed) };
                match (field.kind, content) {
                    // Whole numbers may be packed into one field.
                    (Type::Integer, Content::Bytes(packed)) => {
                        let mut rest = packed;
                        while !rest.is_empty() {
                            self.values = self.values.saturating_add(1);
                            if self.values > MAX_VALUES {
                                return Err(Fault::TooMuch);
                            }
                            let (number, after) = wire::varint(rest)?;
                            list.push(wire::signed(number).into());
                            rest = after;
                        }
                    }
                    (_, content) => list.push(self.one(field, content, depth)?),
                }
            }
            Shape::Map => {
                let Content::Bytes(entry) = content else { return Err(Fault::Malformed) };
                let (mut key, mut value) = ("", None);
                for part in Reader(entry) {
                    match part? {
                        (1, Content::Bytes(text)) => key = wire::text(text)?,
                        (2, content) => value = Some(self.one(field, content, depth)?),
                        _ => {}
                    }
                }
                let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                let Some(map) = map.as_object_mut() else { return Err(Fault::Malformed) };
                map.insert(key.to_owned(), value.unwrap_or_else(|| "".into()));
            }
        }
        Ok(())
    }

    fn one(&mut self, field: &'static Field, content: Content<'_>, depth: usize) -> Result<Value, Fault> {
        Ok(match (field.kind, content) {
            (Type::Text, Content::Bytes(text)) => wire::text(text)?.into(),
            (Type::Integer, Content::Varint(number)) => wire::signed(number).into(),
            (Type::Boolean, Content::Varint(number)) => (number != 0).into(),
            (Type::Number, Content::Fixed64(bits)) => {
                Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            (Type::Bytes, Content::Bytes(bytes)) => data_encoding::BASE64.encode(bytes).into(),
            (Type::Time, Content::Bytes(bytes)) => wire::time(bytes, false)?,
            (Type::MicroTime, Content::Bytes(bytes)) => wire::time(bytes, true)?,
            (Type::Quantity, Content::Bytes(bytes)) => wire::first_text(bytes)?.into(),
            (Type::IntegerOrText, Content::Bytes(bytes)) => wire::integer_or_text(bytes)?,
            (Type::Duration, Content::Bytes(bytes)) => wire::duration(bytes)?,
            (Type::Object, Content::Bytes(bytes)) => {
                let raw = wire::first_text(bytes)?;
                serde_json::from_str(raw).map_err(|_| Fault::Malformed)?
            }
            (Type::Message(_), Content::Bytes(bytes)) => match field.message() {
                Some(message) => self.message(message, bytes, depth.saturating_add(1))?,
                None => Value::Null,
            },
            _ => return Err(Fault::Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A length-delimited field.
    fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn body(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [part(1, version.as_bytes()), part(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), part(1, &meta), part(2, raw), part(3, b""), part(4, b"")].concat()
    }

    #[test]
    fn a_review_of_kubectl_is_read() {
        let attributes = [part(1, b"default"), part(2, b"create"), part(3, b""), part(5, b"pods")].concat();
        let raw = [part(1, b""), part(2, &part(1, &attributes)), part(3, &[8, 0])].concat();
        let body = body("authorization.k8s.io/v1", "SelfSubjectAccessReview", &raw);
        assert_eq!(
            decode(&body, "").unwrap(),
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
                "spec": {"resourceAttributes": {"namespace": "default", "verb": "create", "resource": "pods"}},
                "status": {"allowed": false},
            })
        );
    }

    #[test]
    fn times_maps_bytes_and_inline_fields_are_read() {
        let entry = [part(1, b"k"), part(2, b"\x01\x02")].concat();
        let time = [8, 0x80, 0x92, 0xb8, 0xc3, 0x06];
        let metadata = [part(1, b"s"), part(8, &time)].concat();
        let secret =
            body("v1", "Secret", &[part(1, &metadata), part(2, &entry), part(3, b"Opaque")].concat());
        assert_eq!(
            decode(&secret, "").unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Secret", "data": {"k": "AQI="}, "type": "Opaque",
                "metadata": {"name": "s", "creationTimestamp": "2025-07-09T06:15:28Z"},
            })
        );
        let volume = [part(1, b"v"), part(2, &part(6, &part(1, b"token")))].concat();
        let pod = body("v1", "Pod", &part(2, &part(1, &volume)));
        assert_eq!(
            decode(&pod, "").unwrap()["spec"],
            json!({"volumes": [{"name": "v", "secret": {"secretName": "token"}}]})
        );
    }

    #[test]
    fn numbers_texts_and_amounts_are_read() {
        let named = part(2, &part(2, &[vec![8, 1], part(3, b"web")].concat()));
        let numbered = part(2, &part(2, &[8, 0, 16, 0x90, 0x3f]));
        let limits = part(1, &[part(1, b"cpu"), part(2, &part(1, b"500m"))].concat());
        let container = [
            part(1, b"c"),
            part(4, b""),
            part(8, &limits),
            part(10, &part(1, &named)),
            part(11, &part(1, &numbered)),
            part(15, &[16, 1]),
        ];
        // -1 takes ten bytes.
        let grace = [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let groups = part(4, &[1, 0x80, 0x01]);
        let spec = [part(2, &container.concat()), grace.to_vec(), part(14, &groups)].concat();
        let metadata = part(1, &[0x38, 0]);
        let pod = decode(&body("v1", "Pod", &[metadata, part(2, &spec)].concat()), "").unwrap();
        assert_eq!(
            pod,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {
                "terminationGracePeriodSeconds": -1, "securityContext": {"supplementalGroups": [1, 128]},
                "containers": [{
                    "name": "c", "args": [""], "resources": {"limits": {"cpu": "500m"}},
                    "livenessProbe": {"httpGet": {"port": "web"}}, "readinessProbe": {"httpGet": {"port": 8080}},
                    "securityContext": {"privileged": true}}],
            }})
        );
        let time = [8, 0x80, 0x92, 0xb8, 0xc3, 0x06, 16, 0xc0, 0x84, 0x3d];
        let event = decode(&body("v1", "Event", &part(10, &time)), "").unwrap();
        assert_eq!(event["eventTime"], "2025-07-09T06:15:28.001000Z");
    }

    #[test]
    fn what_is_no_body_is_refused() {
        assert_eq!(decode(b"{}", "Pod"), Err(Fault::Magic));
        assert_eq!(decode(&body("v1", "Widget", b""), "Pod"), Err(Fault::Kind("Widget".into())));
        let whole = body("v1", "Pod", &part(1, &part(1, b"name")));
        for length in MAGIC.len() + 1..whole.len() {
            let cut = decode(&whole[..length], "Pod");
            // The last two fields are empty, and may be missing.
            assert!(
                cut.is_err()
                    || cut.is_ok_and(|value| value.get("metadata").is_none())
                    || length + 5 > whole.len()
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
            for kind in ["Pod", "Secret", "SelfSubjectAccessReview", "Event"] {
                let _ = decode(&body("v1", kind, &raw), "");
            }
            let _ = decode(&[MAGIC, &raw].concat(), "Pod");
        }
    }
}

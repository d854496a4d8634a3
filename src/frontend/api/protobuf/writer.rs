//! Writes protobuf, as far as OpenAPI needs it: texts and messages.

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::frontend::api) struct Writer(Vec<u8>);

/// The wire type of what has a length.
const LENGTH_DELIMITED: u32 = 2;

impl Writer {
    /// The same with a text; an empty one is left out.
    pub(in crate::frontend::api) fn text(self, number: u32, text: &str) -> Self {
        if text.is_empty() { self } else { self.bytes(number, text.as_bytes()) }
    }

    /// The same with a message, which may be empty.
    pub(in crate::frontend::api) fn message(self, number: u32, message: &Self) -> Self {
        self.bytes(number, &message.0)
    }

    /// The bytes of the message.
    pub(in crate::frontend::api) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn bytes(mut self, number: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(number << 3 | LENGTH_DELIMITED));
        self.varint(u64::try_from(bytes.len()).unwrap_or_default());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Seven bits a byte, lowest first; the last byte has no top bit.
    fn varint(&mut self, mut number: u64) {
        while let rest @ 1.. = number >> 7 {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number = rest;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Content, Reader};
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let long = "x".repeat(300);
        let inner = Writer::default().text(31, &long).text(4, "");
        let bytes =
            Writer::default().text(1, "a").message(25, &inner).message(2, &Writer::default()).finish();
        let fields: Vec<_> = Reader(&bytes).collect::<Result<_, _>>().unwrap();
        let inner = inner.finish();
        assert_eq!(
            fields,
            [(1, Content::Bytes(b"a")), (25, Content::Bytes(&inner)), (2, Content::Bytes(b""))]
        );
        let fields: Vec<_> = Reader(&inner).collect::<Result<_, _>>().unwrap();
        assert_eq!(fields, [(31, Content::Bytes(long.as_bytes()))]);
    }
}

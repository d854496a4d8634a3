//! The encoding itself: tags, numbers and lengths, and the few messages that JSON has as plain values.

use jiff::Timestamp;
use serde_json::Value;

use super::Fault;

/// What a field holds, as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order. It ends after the first fault.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Content<'a>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        match field(self.0) {
            Ok((number, content, rest)) => {
                self.0 = rest;
                Some(Ok((number, content)))
            }
            Err(fault) => {
                self.0 = &[];
                Some(Err(fault))
            }
        }
    }
}

fn field(bytes: &[u8]) -> Result<(u32, Content<'_>, &[u8]), Fault> {
    let (tag, rest) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).map_err(|_| Fault::Malformed)?;
    let (content, rest) = match tag & 7 {
        0 => {
            let (number, rest) = varint(rest)?;
            (Content::Varint(number), rest)
        }
        1 => {
            let (bits, rest) = rest.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
            (Content::Fixed64(u64::from_le_bytes(*bits)), rest)
        }
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).map_err(|_| Fault::Malformed)?;
            let (bytes, rest) = rest.split_at_checked(length).ok_or(Fault::Malformed)?;
            (Content::Bytes(bytes), rest)
        }
        5 => (Content::Fixed32, rest.split_at_checked(4).ok_or(Fault::Malformed)?.1),
        _ => return Err(Fault::Malformed),
    };
    Ok((number, content, rest))
}

/// A number of at most ten bytes, seven bits in each, lowest first; and what follows it.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let mut number = 0_u64;
    for (nth, byte) in (0_u32..10).zip(bytes) {
        number |= u64::from(byte & 0x7f).checked_shl(nth.saturating_mul(7)).unwrap_or_default();
        if byte & 0x80 == 0 {
            let length = usize::try_from(nth).unwrap_or_default().saturating_add(1);
            return Ok((number, bytes.get(length..).unwrap_or_default()));
        }
    }
    Err(Fault::Malformed)
}

/// Whole numbers are signed, in two's complement.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::Malformed)
}

/// The text in field 1: a Quantity, or JSON within a `RawExtension` or `FieldsV1`.
pub(super) fn first_text(bytes: &[u8]) -> Result<&str, Fault> {
    let mut found = "";
    for part in Reader(bytes) {
        if let (1, Content::Bytes(value)) = part? {
            found = text(value)?;
        }
    }
    Ok(found)
}

/// A Time or MicroTime: seconds and nanoseconds. One that is empty is none.
pub(super) fn time(bytes: &[u8], is_micro: bool) -> Result<Value, Fault> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let [seconds, nanos, _] = numbers(bytes)?;
    // A Time has seconds only; both are written in the zone of Greenwich.
    let nanos = if is_micro { i32::try_from(nanos).map_err(|_| Fault::Malformed)? } else { 0 };
    let instant = Timestamp::new(seconds, nanos).map_err(|_| Fault::Malformed)?;
    Ok(if is_micro { format!("{instant:.6}") } else { instant.to_string() }.into())
}

/// An IntOrString: which of them, the number, the text.
pub(super) fn integer_or_text(bytes: &[u8]) -> Result<Value, Fault> {
    let [kind, number, _] = numbers(bytes)?;
    if kind == 0 {
        return Ok(number.into());
    }
    let mut found = "";
    for part in Reader(bytes) {
        if let (3, Content::Bytes(value)) = part? {
            found = text(value)?;
        }
    }
    Ok(found.into())
}

/// A Duration: nanoseconds, written in seconds.
pub(super) fn duration(bytes: &[u8]) -> Result<Value, Fault> {
    let [nanos, ..] = numbers(bytes)?;
    Ok(format!("{}s", nanos / 1_000_000_000).into())
}

/// The whole numbers in fields 1 to 3.
fn numbers(bytes: &[u8]) -> Result<[i64; 3], Fault> {
    let mut numbers = [0; 3];
    for part in Reader(bytes) {
        if let (number, Content::Varint(value)) = part? {
            let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            if let Some(slot) = place.and_then(|place| numbers.get_mut(place)) {
                *slot = signed(value);
            }
        }
    }
    Ok(numbers)
}

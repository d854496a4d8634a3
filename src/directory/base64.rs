//! Base64 (RFC 4648, section 4), reading only.

/// The bytes that a text stands for; `None` where it is not padded base64. Bits beyond the last octet have to be 0, so
/// every value has one text.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    let last = groups.len().checked_sub(1);
    for (index, &[a, b, c, d]) in groups.iter().enumerate() {
        let padded = Some(index) == last;
        let (c, d, octets) = match (c, d) {
            (b'=', b'=') if padded => (b'A', b'A', 1),
            (_, b'=') if padded => (c, b'A', 2),
            _ => (c, d, 3),
        };
        let bits =
            [a, b, c, d].into_iter().try_fold(0_u32, |sum, digit| Some((sum << 6) | sextet(digit)?))?;
        let [_, group @ ..] = bits.to_be_bytes();
        let (kept, dropped) = group.split_at_checked(octets)?;
        if dropped.iter().any(|&octet| octet != 0) {
            return None;
        }
        bytes.extend_from_slice(kept);
    }
    Some(bytes)
}

fn sextet(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_vectors_of_rfc_4648_are_read() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn what_is_not_padded_base64_is_refused() {
        for text in
            ["Z", "Zg", "Zg=", "Zm9", "====", "Z===", "Zg==Zg==", "Zm=v", "Zm9-", "Zh==", "Zm9=", "Zm 9"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}

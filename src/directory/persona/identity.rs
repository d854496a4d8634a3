//! Identities that are the same in every run: UUIDs, GUIDs, SIDs, and the stamps of changes.

use jiff::Timestamp;

use crate::directory::embedded::tree::entry_uuid;

/// The domain's SID. Objects have a RID after it.
pub const DOMAIN_SID: &str = "S-1-5-21-1004336348-1177238915-682003330";
/// BUILTIN\Users, whom every user is one of.
pub const BUILTIN_USERS: &str = "S-1-5-32-545";

/// A UUID for what has this name; `life` tells those apart that had it one after the other.
pub(super) fn uuid(name: &str, life: usize) -> String {
    if life == 0 { entry_uuid(name) } else { entry_uuid(&format!("{name}#{life}")) }
}

/// The octets of a UUID in their order (RFC 9562): as syncrepl sends them.
pub fn uuid_octets(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    (0..16).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The octets of a GUID as `objectGUID` holds them: the first three fields are little-endian (MS-DTYP 2.3.4.2).
pub fn guid(text: &str) -> Vec<u8> {
    let mut octets = uuid_octets(text);
    octets[..4].reverse();
    octets[4..6].reverse();
    octets[6..8].reverse();
    octets
}

/// A GUID as text.
pub(super) fn guid_text(octets: &[u8]) -> String {
    let hex = |range: &mut dyn Iterator<Item = usize>| -> String {
        range.map(|at| format!("{:02x}", octets[at])).collect()
    };
    let fields = [
        hex(&mut (0..4).rev()),
        hex(&mut (4..6).rev()),
        hex(&mut (6..8).rev()),
        hex(&mut (8..10)),
        hex(&mut (10..16)),
    ];
    fields.join("-")
}

/// The octets of a SID (MS-DTYP 2.4.2.2); `None` where the text is none.
pub fn sid(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-1-").or(text.strip_prefix("s-1-"))?.split('-');
    let authority: u64 = parts.next()?.parse().ok()?;
    let rest = parts.map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<_>>>()?;
    let mut octets = vec![1, u8::try_from(rest.len()).ok()?];
    octets.extend(&authority.to_be_bytes()[2..]);
    octets.extend(rest.iter().flat_map(|part| part.to_le_bytes()));
    Some(octets)
}

/// A SID as text.
pub fn sid_text(octets: &[u8]) -> String {
    let authority = octets[2..8].iter().fold(0_u64, |sum, &octet| (sum << 8) | u64::from(octet));
    let rest = octets[8..].as_chunks::<4>().0.iter().map(|part| format!("-{}", u32::from_le_bytes(*part)));
    format!("S-{}-{authority}{}", octets[0], rest.collect::<String>())
}

/// The stamp of a change as OpenLDAP makes it. Stamps are ordered as their texts are.
pub(super) fn csn(number: u64) -> String {
    let (seconds, micros) = (number / 1_000_000, number % 1_000_000);
    format!("202601010000{seconds:02}.{micros:06}Z#000000#000#000000")
}

/// A time as GeneralizedTime, but for the zone.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y%m%d%H%M%S").to_string()
}

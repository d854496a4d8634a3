//! The controls that these servers know: what a request has of them, and what a response carries.

use lber::common::TagClass;
use lber::structure::{PL, StructureTag};

use super::content::Kind;
use super::reply::encoded;
use crate::directory::embedded::filter::Filter;
use crate::directory::embedded::message::{Control, Malformed, Parts, integer, octets, sequence};

pub(super) const PAGED: &str = "1.2.840.113556.1.4.319";
pub(super) const MATCHED_VALUES: &str = "1.2.826.0.1.3344810.2.3";
pub(super) const SYNC: &str = "1.3.6.1.4.1.4203.1.9.1.1";
pub(super) const MANAGE_DSA_IT: &str = "2.16.840.1.113730.3.4.2";
pub(super) const SHOW_DELETED: &str = "1.2.840.113556.1.4.417";
pub(super) const NOTIFICATION: &str = "1.2.840.113556.1.4.528";
pub(super) const EXTENDED_DN: &str = "1.2.840.113556.1.4.529";
pub(super) const DIR_SYNC: &str = "1.2.840.113556.1.4.841";
pub(super) const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";

/// What a search asks by its controls.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// The OIDs, as they came.
    pub(super) oids: Vec<String>,
    pub(super) paged: Option<Paged>,
    /// Only values that one of these matches (RFC 3876).
    pub(super) matched_values: Option<Vec<Filter>>,
    pub(super) sync: Option<SyncRequest>,
    pub(super) dir_sync: Option<DirSyncRequest>,
    pub(super) notification: bool,
    /// Names come with the identities of what they name, as text or in digits.
    pub(super) extended_dn: Option<bool>,
    pub(super) show_deleted: bool,
    pub(super) domain_scope: bool,
    /// Whether a critical one is not known.
    pub(super) unknown: bool,
}

/// RFC 2696.
#[derive(Debug)]
pub(super) struct Paged {
    pub(super) size: usize,
    pub(super) cookie: Vec<u8>,
}

/// RFC 4533, section 2.2.
#[derive(Debug)]
pub(super) struct SyncRequest {
    pub(super) persist: bool,
    pub(super) cookie: Option<Vec<u8>>,
}

/// MS-ADTS 3.1.1.3.4.1.3.
#[derive(Debug)]
pub(super) struct DirSyncRequest {
    pub(super) flags: u32,
    pub(super) cookie: Vec<u8>,
}

impl Wishes {
    pub(super) fn read(controls: Vec<Control>, kind: Kind) -> Result<Self, Malformed> {
        let mut wishes = Self::default();
        for control in controls {
            let oid = String::from_utf8_lossy(&control.oid).into_owned();
            match oid.as_str() {
                known if !supported(kind).contains(&known) => wishes.unknown |= control.critical,
                PAGED => wishes.paged = Some(Paged::read(content(control)?)?),
                MATCHED_VALUES => {
                    let filters = content(control)?.map(Filter::read).collect::<Result<_, _>>()?;
                    wishes.matched_values = Some(filters);
                }
                SYNC => wishes.sync = Some(SyncRequest::read(content(control)?)?),
                DIR_SYNC => wishes.dir_sync = Some(DirSyncRequest::read(content(control)?)?),
                NOTIFICATION => wishes.notification = true,
                EXTENDED_DN => {
                    let form = content(control).and_then(|mut parts| parts.number());
                    wishes.extended_dn = Some(form == Ok(1));
                }
                SHOW_DELETED => wishes.show_deleted = true,
                DOMAIN_SCOPE => wishes.domain_scope = true,
                _ => {}
            }
            wishes.oids.push(oid);
        }
        Ok(wishes)
    }

    /// Whether it is never done by itself.
    pub(super) fn is_feed(&self) -> bool {
        self.notification || self.sync.as_ref().is_some_and(|sync| sync.persist)
    }
}

/// What the root DSE says of it.
pub(super) fn supported(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::OpenLdap => &[SYNC, MANAGE_DSA_IT, PAGED, MATCHED_VALUES],
        Kind::Ds389 => &[MANAGE_DSA_IT, PAGED],
        Kind::ActiveDirectory => {
            &[PAGED, SHOW_DELETED, NOTIFICATION, EXTENDED_DN, DIR_SYNC, DOMAIN_SCOPE, MANAGE_DSA_IT]
        }
    }
}

fn content(control: Control) -> Result<Parts, Malformed> {
    let value = control.value.ok_or(Malformed("a control without its value"))?;
    match lber::parse::parse_tag(&value) {
        Ok(([], tag)) => Parts::of(tag),
        _ => Err(Malformed("a control's value is no BER")),
    }
}

impl Paged {
    fn read(mut parts: Parts) -> Result<Self, Malformed> {
        Ok(Self { size: usize::try_from(parts.number()?).unwrap(), cookie: parts.octets()? })
    }
}

impl SyncRequest {
    fn read(mut parts: Parts) -> Result<Self, Malformed> {
        let persist = match parts.number()? {
            1 => false,
            3 => true,
            _ => return Err(Malformed("Sync control : mode decoding error")),
        };
        let cookie = parts.next().filter(|part| part.id == 4).and_then(StructureTag::expect_primitive);
        Ok(Self { persist, cookie })
    }
}

impl DirSyncRequest {
    /// The flags are a number with a sign: 0x80000000 comes as -2^31, or in five octets.
    fn read(mut parts: Parts) -> Result<Self, Malformed> {
        let flags = parts.octets()?.iter().fold(0, |sum: u32, &octet| (sum << 8) | u32::from(octet));
        // Samba looks at the limit of bytes as little.
        let _max_bytes = parts.any()?;
        Ok(Self { flags, cookie: parts.octets()? })
    }
}

/// A control of a response.
pub(super) fn control(oid: &str, value: StructureTag) -> StructureTag {
    sequence(vec![octets(oid), octets(encoded(value).to_vec())])
}

pub(super) fn paged(cookie: &[u8]) -> StructureTag {
    control(PAGED, sequence(vec![integer(0), octets(cookie)]))
}

pub(super) fn dir_sync(more: bool, cookie: &[u8]) -> StructureTag {
    control(DIR_SYNC, sequence(vec![integer(i64::from(more)), integer(0), octets(cookie)]))
}

pub(super) fn boolean(truth: bool) -> StructureTag {
    let octet = if truth { 0xff } else { 0 };
    StructureTag { class: TagClass::Universal, id: 1, payload: PL::P(vec![octet]) }
}

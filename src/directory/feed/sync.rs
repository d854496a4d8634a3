//! The messages of LDAP Content Synchronization (RFC 4533), as far as a follower needs them. Control values are decoded here
//! and not by `ldap3`, which recurses over them and panics on bad ones.

use ldap3::controls::RawControl;

use super::super::LookupError;
use super::super::ber::{self, Elements};
use crate::model::EntityId;

/// The Sync Request control (RFC 4533, 2.2).
pub(in super::super) const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
/// The Sync State control (2.3).
pub(super) const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
/// The Sync Done control (2.4).
pub(super) const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
/// The Sync Info message (2.5).
pub(super) const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";
/// `e-syncRefreshRequired` (2.7): what we know is too old to be brought up to date.
pub(super) const REFRESH_REQUIRED: u32 = 4096;

const MALFORMED: LookupError = LookupError::Protocol("a malformed synchronization message");

/// What an entry of a synchronization says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) kind: StateKind,
    pub(super) id: EntityId,
    pub(super) cookie: Option<Vec<u8>>,
}

/// `syncStateValue.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateKind {
    Present,
    Add,
    Modify,
    Delete,
}

/// A Sync Info message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Info {
    NewCookie(Vec<u8>),
    /// The end of a phase that named what was deleted.
    RefreshDelete {
        cookie: Option<Vec<u8>>,
        done: bool,
    },
    /// The end of a phase that named what is still there: what was deleted is not told.
    RefreshPresent {
        cookie: Option<Vec<u8>>,
        done: bool,
    },
    /// Entries that are gone (`deleted`), or that are still there.
    IdSet {
        cookie: Option<Vec<u8>>,
        deleted: bool,
        ids: Vec<EntityId>,
    },
}

/// For how long changes are to be told (`syncRequestValue.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    RefreshOnly = 1,
    RefreshAndPersist = 3,
}

/// How a synchronization that does not go on ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) cookie: Option<Vec<u8>>,
    /// Whether what was not named has not changed, rather than being gone.
    pub(super) names_deleted: bool,
}

/// The control that asks to be told of every change after this cookie.
pub(super) fn request(mode: Mode, cookie: &[u8]) -> RawControl {
    let value = ber::sequence(vec![ber::enumerated(mode as i64), ber::octets(cookie), ber::boolean(false)]);
    RawControl { ctype: SYNC_REQUEST.to_owned(), crit: true, val: Some(ber::encoded(value)) }
}

impl State {
    /// Reads the control of an entry; `None` where it has none.
    pub(super) fn read(controls: &[RawControl]) -> Result<Option<Self>, LookupError> {
        let Some(control) = controls.iter().find(|control| control.ctype == SYNC_STATE) else {
            return Ok(None);
        };
        let value = control.val.as_deref().ok_or(MALFORMED)?;
        let mut parts = ber::whole(value, ber::SEQUENCE).ok_or(MALFORMED)?;
        let kind = match parts.next() {
            Some((ber::ENUMERATED, [0])) => StateKind::Present,
            Some((ber::ENUMERATED, [1])) => StateKind::Add,
            Some((ber::ENUMERATED, [2])) => StateKind::Modify,
            Some((ber::ENUMERATED, [3])) => StateKind::Delete,
            _ => return Err(MALFORMED),
        };
        let id = match parts.next() {
            Some((ber::OCTET_STRING, uuid)) => uuid_id(uuid)?,
            _ => return Err(MALFORMED),
        };
        let cookie = parts.take_if(ber::OCTET_STRING).map(<[u8]>::to_vec);
        if parts.rest().is_empty() { Ok(Some(Self { kind, id, cookie })) } else { Err(MALFORMED) }
    }
}

impl Info {
    /// Reads an intermediate response; `None` where it is another.
    pub(super) fn read(name: Option<&str>, value: Option<&[u8]>) -> Result<Option<Self>, LookupError> {
        if name != Some(SYNC_INFO) {
            return Ok(None);
        }
        let mut outer = Elements::of(value.ok_or(MALFORMED)?);
        let (tag, content) = outer.next().ok_or(MALFORMED)?;
        if !outer.rest().is_empty() {
            return Err(MALFORMED);
        }
        // newcookie [0], refreshDelete [1], refreshPresent [2], syncIdSet [3]
        let (info, rest) = match tag {
            0x80 => return Ok(Some(Self::NewCookie(content.to_vec()))),
            0xa1 => {
                let (cookie, done, rest) = refresh(Elements::of(content), true);
                (Self::RefreshDelete { cookie, done }, rest)
            }
            0xa2 => {
                let (cookie, done, rest) = refresh(Elements::of(content), true);
                (Self::RefreshPresent { cookie, done }, rest)
            }
            0xa3 => {
                let (cookie, deleted, mut rest) = refresh(Elements::of(content), false);
                let ids = ids(rest.take_if(ber::SET).ok_or(MALFORMED)?)?;
                (Self::IdSet { cookie, deleted, ids }, rest)
            }
            _ => return Err(MALFORMED),
        };
        if rest.rest().is_empty() { Ok(Some(info)) } else { Err(MALFORMED) }
    }
}

impl Done {
    /// Reads the control of a result; `None` where it has none that can be read whole.
    pub(super) fn read(controls: &[RawControl]) -> Option<Self> {
        let control = controls.iter().find(|control| control.ctype == SYNC_DONE)?;
        let parts = ber::whole(control.val.as_deref()?, ber::SEQUENCE)?;
        let (cookie, names_deleted, rest) = refresh(parts, false);
        rest.rest().is_empty().then_some(Self { cookie, names_deleted })
    }
}

/// `[cookie] [boolean]` at the start of a sequence, with what follows.
fn refresh(mut parts: Elements<'_>, default: bool) -> (Option<Vec<u8>>, bool, Elements<'_>) {
    let cookie = parts.take_if(ber::OCTET_STRING).map(<[u8]>::to_vec);
    let boolean = parts.take_if(ber::BOOLEAN).map(|octets| octets != [0]);
    (cookie, boolean.unwrap_or(default), parts)
}

/// A set of identities. Nobody else says which entries are gone: one that cannot be read must not be left out.
fn ids(set: &[u8]) -> Result<Vec<EntityId>, LookupError> {
    let mut uuids = Elements::of(set);
    let mut ids = Vec::new();
    while let Some(uuid) = uuids.take_if(ber::OCTET_STRING) {
        ids.push(uuid_id(uuid)?);
    }
    if uuids.rest().is_empty() { Ok(ids) } else { Err(MALFORMED) }
}

/// The identity of the entry with this `entryUUID` (RFC 4530), as [`Entry::id`](super::super::entry::Entry::id) has it.
fn uuid_id(octets: &[u8]) -> Result<EntityId, LookupError> {
    let &[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets else { return Err(MALFORMED) };
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    Ok(EntityId::new(&format!(
        "{}-{}-{}-{}-{}",
        hex(&[a, b, c, d]),
        hex(&[e, f]),
        hex(&[g, h]),
        hex(&[i, j]),
        hex(&[k, l, m, n, o, p]),
    )))
}

/// Whether an identity is a UUID as a synchronization writes it, and not the entry's name or what else it is known by where
/// its `entryUUID` may not be read: the controls have UUIDs whatever the attributes' access says.
pub(super) fn is_uuid(id: &EntityId) -> bool {
    let id = id.to_string();
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The change sequence numbers of a cookie of OpenLDAP's: `rid=000,sid=001,csn=...;...` (slapd's `syncprov`).
pub(super) fn csns(cookie: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cookie);
    let csn = text.split(',').find_map(|part| part.trim().strip_prefix("csn="));
    csn.map(|csns| csns.split(';').map(str::to_owned).collect()).unwrap_or_default()
}

/// The cookie that stands for these change sequence numbers.
pub(super) fn cookie_of(csns: &[String]) -> Vec<u8> {
    format!("rid=000,csn={}", csns.join(";")).into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control(ctype: &str, value: &[u8]) -> RawControl {
        RawControl { ctype: ctype.to_owned(), crit: false, val: Some(value.to_vec()) }
    }

    const UUID: [u8; 16] = [0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];
    const ID: &str = "0a010203-0405-0607-0809-0a0b0c0d0eff";

    #[test]
    fn the_state_of_an_entry_is_read() {
        let value = [&b"\x30\x1a\x0a\x01\x03\x04\x10"[..], &UUID, b"\x04\x03rid"].concat();
        let state = State::read(&[control("1.2.3", b""), control(SYNC_STATE, &value)]).unwrap().unwrap();
        let expected =
            State { kind: StateKind::Delete, id: EntityId::new(ID), cookie: Some(b"rid".to_vec()) };
        assert_eq!(state, expected);
        assert_eq!(State::read(&[]), Ok(None));
        for bad in [&b""[..], b"\x30\x03\x0a\x01\x07", b"\x30\x06\x0a\x01\x01\x04\x01x", b"\x04\x00"] {
            assert!(State::read(&[control(SYNC_STATE, bad)]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identities_that_a_synchronization_would_not_use_are_known() {
        assert!(is_uuid(&EntityId::new(ID)));
        for other in ["uid=a,dc=x", "", "0a010203-04050607-08090a0b-0c0d0eff", &ID.replace('f', "g")] {
            assert!(!is_uuid(&EntityId::new(other)), "{other}");
        }
    }

    #[test]
    fn every_kind_of_information_is_read() {
        let read = |value: &[u8]| Info::read(Some(SYNC_INFO), Some(value));
        assert_eq!(read(b"\x80\x01c"), Ok(Some(Info::NewCookie(b"c".to_vec()))));
        assert_eq!(read(b"\xa1\x00"), Ok(Some(Info::RefreshDelete { cookie: None, done: true })));
        let not_done = Info::RefreshPresent { cookie: Some(b"c".to_vec()), done: false };
        assert_eq!(read(b"\xa2\x06\x04\x01c\x01\x01\x00"), Ok(Some(not_done)));
        let set = [&b"\xa3\x17\x01\x01\xff\x31\x12\x04\x10"[..], &UUID].concat();
        let ids = vec![EntityId::new(ID)];
        assert_eq!(read(&set), Ok(Some(Info::IdSet { cookie: None, deleted: true, ids })));
        assert_eq!(Info::read(Some("1.2.3"), Some(b"x")), Ok(None));
        assert!(read(b"\xa3\x00").is_err() && read(b"\x85\x00").is_err());
    }

    #[test]
    fn a_message_of_which_a_part_cannot_be_read_is_an_error_and_not_a_shorter_one() {
        let read = |value: &[u8]| Info::read(Some(SYNC_INFO), Some(value));
        let set = |set: &[u8]| {
            let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
            let set = [&[ber::SET, length(set)], set].concat();
            read(&[&[0xa3, length(&set)], set.as_slice()].concat())
        };
        let uuid = [&b"\x04\x10"[..], &UUID].concat();
        assert!(set(&[uuid.clone(), uuid.clone()].concat()).is_ok());
        for rest in [&b"\x04"[..], b"\x04\x10\x01", b"\x04\x80", b"\x02\x01\x00", b"\x04\x01x"] {
            assert!(set(&[&uuid, rest].concat()).is_err(), "{rest:?}");
        }
        for bad in [&b"\x80\x01c\x00"[..], b"\xa1\x01\x04", b"\xa2\x02\x30\x00", b"\xa3\x04\x31\x00\x04\x00"]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let state = [&b"\x30\x15\x0a\x01\x03"[..], &uuid].concat();
        assert!(State::read(&[control(SYNC_STATE, &state)]).is_ok());
        let more = [&state, &b"\x00"[..]].concat();
        assert!(State::read(&[control(SYNC_STATE, &more)]).is_err());
        let inside = [&b"\x30\x17\x0a\x01\x03"[..], &uuid, b"\x02\x00"].concat();
        assert!(State::read(&[control(SYNC_STATE, &inside)]).is_err());
    }

    #[test]
    fn the_end_of_a_refresh_says_whether_it_named_what_was_deleted() {
        let read = |value: &[u8]| Done::read(&[control(SYNC_DONE, value)]);
        let done = |cookie: Option<&[u8]>, names_deleted| {
            Some(Done { cookie: cookie.map(<[u8]>::to_vec), names_deleted })
        };
        assert_eq!(read(b"\x30\x06\x04\x01c\x01\x01\xff"), done(Some(b"c"), true));
        assert_eq!(read(b"\x30\x03\x04\x01c"), done(Some(b"c"), false));
        assert_eq!(read(b"\x30\x00"), done(None, false));
        assert_eq!((read(b""), Done::read(&[])), (None, None));
    }

    #[test]
    fn cookies_of_one_and_of_several_servers_are_understood() {
        let one = "20261126144958.000000Z#000000#000#000000";
        let two = "20261126144959.000000Z#000000#001#000000";
        assert_eq!(csns(format!("rid=000,csn={one}").as_bytes()), [one]);
        assert_eq!(csns(format!("rid=001,sid=002,csn={one};{two}").as_bytes()), [one, two]);
        assert_eq!(csns(&cookie_of(&[one.to_owned(), two.to_owned()])), [one, two]);
        assert!(csns(b"\xff").is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = State::read(&[control(SYNC_STATE, &bytes)]);
            let _ = Info::read(Some(SYNC_INFO), Some(&bytes));
            let _ = Done::read(&[control(SYNC_DONE, &bytes)]);
        }
    }
}

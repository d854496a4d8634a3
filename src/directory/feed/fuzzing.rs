//! What a feed reads, for the fuzz targets (`directory::fuzzing`).

use ldap3::controls::RawControl;

use super::super::ber::Elements;
use super::super::entry::Entry;
use super::super::resolve::Wording;
use super::super::table::GroupTable;
use super::scope::{Kind, names_of_group, names_of_person};
use super::sync::{Done, Info, State, cookie_of, csns};
use super::{dir_sync, members, sync};
use crate::model::Dn;

/// Everything that a feed reads out of an entry, whatever is in it.
pub(in super::super) fn read_entry(entry: &Entry) {
    let wording = Wording {
        user_names: vec!["uid".to_owned(), "samaccountname".to_owned()],
        group_name: "cn".to_owned(),
        groups: Dn::default(),
        only_security_groups: true,
    };
    let table = GroupTable::default();
    let _ = (Kind::of(entry), names_of_person(entry, &wording).count());
    let _ = names_of_group(entry, &wording, "cn");
    for name in ["member", "uniquemember", "memberuid"] {
        let values = entry.parts(name).flat_map(|(_, values)| values);
        for value in values.filter_map(|value| std::str::from_utf8(value).ok()) {
            assert!(matches!(members::triggers(value, &table).count(), 1 | 2));
        }
    }
}

/// The value of each control and message of a feed: see [`control_values`](super::super::fuzzing::control_values).
pub(in super::super) fn read_value(value: &[u8]) {
    let control =
        |ctype: &str| [RawControl { ctype: ctype.to_owned(), crit: false, val: Some(value.to_vec()) }];
    let state = State::read(&control(sync::SYNC_STATE));
    let cookie = Done::read(&control(sync::SYNC_DONE)).and_then(|done| done.cookie);
    if let Ok(state) = &state {
        assert!(state.is_some(), "a control that is there is not overlooked");
        assert!(is_one_element(value), "a part of a state is not read");
    }
    if let Ok(info) = Info::read(Some(sync::SYNC_INFO), Some(value)) {
        assert!(info.is_some(), "a message that is there is not overlooked");
        assert!(is_one_element(value), "a part of a message is not read");
    }
    if let Ok((cookie, _)) = dir_sync::cookie(&control(dir_sync::DIR_SYNC)) {
        assert!(!cookie.is_empty());
        assert!(is_one_element(value), "a part of a result is not read");
    }
    for cookie in [cookie.as_deref(), Some(value)].into_iter().flatten() {
        let numbers = csns(cookie);
        if !numbers.is_empty() {
            assert_eq!(csns(&cookie_of(&numbers)), numbers, "a place that is not found again");
        }
    }
}

/// Whether these bytes are one constructed element, or a primitive one, filled exactly by well-formed elements.
fn is_one_element(bytes: &[u8]) -> bool {
    let mut elements = Elements::of(bytes);
    let Some((tag, content)) = elements.next() else { return false };
    elements.rest().is_empty() && (tag & 0x20 == 0 || is_filled(content))
}

fn is_filled(content: &[u8]) -> bool {
    let mut elements = Elements::of(content);
    elements.by_ref().all(|(tag, content)| tag & 0x20 == 0 || is_filled(content))
        && elements.rest().is_empty()
}

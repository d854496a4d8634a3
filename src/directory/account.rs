//! The state of an account, from whatever attributes the directory's schema has for it.
//!
//! | attribute | source | says |
//! |---|---|---|
//! | `pwdAccountLockedTime` | draft-behera-ldap-password-policy, 5.3.3 | locked; `000001010000Z` until an administrator unlocks |
//! | `shadowExpire` | RFC 2307, shadow(5): days since 1970, -1 never | expires |
//! | `nsAccountLock` | 389 Directory Server, FreeIPA | disabled |
//! | `loginDisabled` | eDirectory | disabled |
//! | `krbPrincipalExpiration` | MIT Kerberos' schema | expires |
//! | `userAccountControl` | MS-ADTS 2.2.16, bit 0x2 | disabled |
//! | `msDS-User-Account-Control-Computed` | MS-ADTS 2.2.16, bits 0x10 and 0x800000 | locked, password expired |
//! | `accountExpires` | MS-ADA1 2.3: 100 ns since 1601, 0 or 2^63-1 never | expires |
//!
//! An attribute that the entry does not have has no effect; one that cannot be read makes its part of the state unknown, never
//! "enabled".

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::entry::Entry;
use crate::model::{AccountState, UnreadableState};

/// What must be asked for so that [`state`] finds it.
pub(super) const ACCOUNT_ATTRIBUTES: [&str; 8] = [
    "pwdAccountLockedTime",
    "shadowExpire",
    "nsAccountLock",
    "loginDisabled",
    "krbPrincipalExpiration",
    "userAccountControl",
    "msDS-User-Account-Control-Computed",
    "accountExpires",
];

const UAC_DISABLED: i64 = 0x2;
const UAC_LOCKED: i64 = 0x10;
const UAC_PASSWORD_EXPIRED: i64 = 0x80_0000;
/// From 1601-01-01 (the epoch of Windows' FILETIME) to 1970-01-01, in seconds.
const FILETIME_EPOCH: i64 = 11_644_473_600;
/// FILETIME counts in units of 100 ns.
const FILETIME_PER_SECOND: i64 = 10_000_000;

/// The state of the account of this entry. A part that cannot be understood is named as such.
pub(super) fn state(entry: &Entry) -> AccountState {
    let mut unreadable = UnreadableState::default();
    let computed = read(entry, "msds-user-account-control-computed", number);
    let bit = |flags: Said<i64>, bit| flags.map(|flags| flags.map(|flags| flags & bit != 0));
    let disabled = any(
        &mut unreadable.disabled,
        [
            bit(read(entry, "useraccountcontrol", number), UAC_DISABLED),
            read(entry, "nsaccountlock", boolean),
            read(entry, "logindisabled", boolean),
        ],
    );
    let locked = any(
        &mut unreadable.locked,
        [bit(computed, UAC_LOCKED), read(entry, "pwdaccountlockedtime", locked_time)],
    );
    let password_expired = any(&mut unreadable.password_expired, [bit(computed, UAC_PASSWORD_EXPIRED)]);
    let mut expires = None;
    for expiry in [
        read(entry, "accountexpires", file_time).map(Option::flatten),
        read(entry, "shadowexpire", shadow_days).map(Option::flatten),
        read(entry, "krbprincipalexpiration", generalized_time),
    ] {
        match expiry {
            Ok(at) => expires = [expires, at].into_iter().flatten().min(),
            Err(Unreadable) => unreadable.expires = true,
        }
    }
    AccountState {
        disabled,
        locked,
        // Neither schema says on the entry for how long; both clear the mark when the account is unlocked.
        locked_until: None,
        expires,
        password_expired,
        unreadable,
    }
}

/// The state of an account of Active Directory, where every account has every part of it: one that is missing is hidden from
/// us, which must not look as if all were well.
pub(super) fn complete_state(entry: &Entry) -> AccountState {
    let mut state = state(entry);
    let hides = |name: &str| entry.values(name).is_ok_and(|values| values.is_empty());
    let hides_computed = hides("msds-user-account-control-computed");
    state.unreadable.disabled |= hides("useraccountcontrol");
    state.unreadable.expires |= hides("accountexpires");
    state.unreadable.locked |= hides_computed;
    state.unreadable.password_expired |= hides_computed;
    state
}

/// What an entry says in one attribute, if it has it.
type Said<T> = Result<Option<T>, Unreadable>;

/// An attribute is there and cannot be understood.
#[derive(Debug, Clone, Copy)]
struct Unreadable;

/// True where one of several marks is set, `None` where the schema has none of them. What cannot be read is noted, and matters
/// unless another mark is set.
fn any<const N: usize>(unreadable: &mut bool, marks: [Said<bool>; N]) -> Option<bool> {
    let mut known = None;
    for mark in marks {
        match mark {
            Ok(mark) => known = known.max(mark),
            Err(Unreadable) => *unreadable = true,
        }
    }
    *unreadable &= known != Some(true);
    known
}

/// Reads the one value of an attribute (the name in lower case), where the entry has it.
fn read<T>(entry: &Entry, name: &str, parse: fn(&str) -> Option<T>) -> Said<T> {
    match entry.texts(name).map_err(|_| Unreadable)?.as_slice() {
        [] => Ok(None),
        [one] => parse(one).map(Some).ok_or(Unreadable),
        _ => Err(Unreadable),
    }
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// `pwdAccountLockedTime` is there only while the account is locked, and says since when.
fn locked_time(text: &str) -> Option<bool> {
    (text == "000001010000Z" || generalized_time(text).is_some()).then_some(true)
}

/// `Some(None)`: never.
fn file_time(text: &str) -> Option<Option<Timestamp>> {
    match number(text)? {
        0 | i64::MAX => Some(None),
        ticks if ticks < 0 => None,
        ticks => Some(Timestamp::from_second(ticks / FILETIME_PER_SECOND - FILETIME_EPOCH).ok()),
    }
}

/// `Some(None)`: never. A value of 0 is taken as 1970, as pam_unix does.
fn shadow_days(text: &str) -> Option<Option<Timestamp>> {
    match number(text)? {
        -1 => Some(None),
        days if days < 0 => None,
        days => Some(days.checked_mul(86_400).and_then(|seconds| Timestamp::from_second(seconds).ok())),
    }
}

/// GeneralizedTime (RFC 4517, 3.3.13): `YYYYMMDDHH[MM[SS]][.fraction]` and `Z` or `±hh[mm]`.
pub(super) fn generalized_time(text: &str) -> Option<Timestamp> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at_checked(digits)?;
    let two = |at: usize| whole.get(at..at + 2)?.parse::<i8>().ok();
    let (hour, minute, second, unit) = match digits {
        10 => (two(8)?, 0, 0, 3_600_000_000_000),
        12 => (two(8)?, two(10)?, 0, 60_000_000_000),
        14 => (two(8)?, two(10)?, two(12)?, 1_000_000_000),
        _ => return None,
    };
    let year = whole.get(..4)?.parse().ok()?;
    // A leap second is the last second of its minute: jiff's clock has none.
    let time = DateTime::new(
        year,
        two(4)?,
        two(6)?,
        hour,
        minute,
        second.min(if second == 60 { 59 } else { 127 }),
        0,
    );
    let (fraction, zone) = fraction(rest, unit)?;
    let instant = offset(zone)?.to_timestamp(time.ok()?).ok()?;
    instant.checked_add(SignedDuration::from_nanos(fraction)).ok()
}

/// Reads the fraction of the last unit, of which one has `unit` nanoseconds; returns it in nanoseconds, and what follows.
fn fraction(text: &str, unit: i64) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = digits.split_at_checked(end)?;
    // Nine digits are as many as a nanosecond needs.
    let significant = digits.get(..end.min(9))?;
    let numerator: i64 = significant.parse().ok()?;
    let scale = 10_i64.checked_pow(u32::try_from(significant.len()).ok()?)?;
    let nanoseconds = i128::from(numerator) * i128::from(unit) / i128::from(scale);
    Some((i64::try_from(nanoseconds).ok()?, rest))
}

fn offset(zone: &str) -> Option<Offset> {
    if zone == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match zone.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = zone.get(1..)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 =
        digits.get(2..).filter(|text| !text.is_empty()).map_or(Some(0), |text| text.parse().ok())?;
    (hours < 24 && minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_attribute_says_what_its_schema_means() {
        let none = AccountState::default();
        let disabled = |is| AccountState { disabled: Some(is), ..none.clone() };
        let locked = |is| AccountState { locked: Some(is), ..none.clone() };
        let expires = |text| AccountState { expires: at(text), ..none.clone() };
        let computed = |locked, expired| AccountState {
            locked: Some(locked),
            password_expired: Some(expired),
            ..none.clone()
        };
        for (name, value, expected) in [
            ("pwdAccountLockedTime", "000001010000Z", locked(true)),
            ("pwdAccountLockedTime", "20261101083000Z", locked(true)),
            ("shadowExpire", "-1", none.clone()),
            ("shadowExpire", "0", expires("1970-01-01T00:00:00Z")),
            ("shadowExpire", "20000", expires("2024-10-04T00:00:00Z")),
            ("nsAccountLock", "TRUE", disabled(true)),
            ("nsAccountLock", "false", disabled(false)),
            ("loginDisabled", "TRUE", disabled(true)),
            ("krbPrincipalExpiration", "20270131000000Z", expires("2027-01-31T00:00:00Z")),
            ("userAccountControl", "512", disabled(false)),
            ("userAccountControl", "514", disabled(true)),
            ("userAccountControl", "-2147483134", disabled(true)),
            ("msDS-User-Account-Control-Computed", "0", computed(false, false)),
            ("msDS-User-Account-Control-Computed", "16", computed(true, false)),
            ("msDS-User-Account-Control-Computed", "8388608", computed(false, true)),
            ("accountExpires", "0", none.clone()),
            ("accountExpires", "9223372036854775807", none.clone()),
            ("accountExpires", "133801632000000000", expires("2025-01-01T00:00:00Z")),
            ("cn", "x", none.clone()),
        ] {
            assert_eq!(state(&Entry::of("uid=a", &[(name, value)])), expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_never_an_enabled_account() {
        let none = UnreadableState::default();
        let disabled = UnreadableState { disabled: true, ..none };
        let expires = UnreadableState { expires: true, ..none };
        let locked = UnreadableState { locked: true, ..none };
        for (name, value, expected) in [
            ("userAccountControl", "", disabled),
            ("userAccountControl", "0x202", disabled),
            ("nsAccountLock", "yes", disabled),
            ("pwdAccountLockedTime", "soon", locked),
            ("shadowExpire", "-2", expires),
            ("accountExpires", "-1", expires),
            ("krbPrincipalExpiration", "20271331000000Z", expires),
            ("msDS-User-Account-Control-Computed", "?", UnreadableState { password_expired: true, ..locked }),
        ] {
            let state = state(&Entry::of("uid=a", &[(name, value)]));
            assert_eq!(
                state,
                AccountState { unreadable: expected, ..AccountState::default() },
                "{name}: {value}"
            );
        }
        let twice = Entry::of("uid=a", &[("nsAccountLock", "TRUE"), ("nsAccountLock", "FALSE")]);
        assert_eq!(state(&twice).unreadable, disabled);
    }

    #[test]
    fn one_mark_that_is_set_is_enough_whatever_another_says() {
        let entry = Entry::of("uid=a", &[("nsAccountLock", "TRUE"), ("userAccountControl", "odd")]);
        let state = state(&entry);
        assert_eq!((state.disabled, state.unreadable), (Some(true), UnreadableState::default()));
    }

    #[test]
    fn the_earliest_expiry_and_any_mark_count() {
        let entry = Entry::of(
            "uid=a",
            &[
                ("shadowExpire", "20000"),
                ("krbPrincipalExpiration", "20200101000000Z"),
                ("nsAccountLock", "FALSE"),
                ("loginDisabled", "TRUE"),
            ],
        );
        let state = state(&entry);
        assert_eq!((state.expires, state.disabled), (at("2020-01-01T00:00:00Z"), Some(true)));
    }

    #[test]
    fn generalized_times_are_read_as_rfc_4517_has_them() {
        for (text, expected) in [
            ("199412161032Z", at("1994-12-16T10:32:00Z")),
            ("199412160532-0500", at("1994-12-16T10:32:00Z")),
            ("1994121610Z", at("1994-12-16T10:00:00Z")),
            ("1994121610.5Z", at("1994-12-16T10:30:00Z")),
            ("19941216103200,25+01", at("1994-12-16T09:32:00.25Z")),
            ("19941231235960Z", at("1994-12-31T23:59:59Z")),
            ("19941216103261Z", None),
            ("199412161032", None),
            ("19941216103Z", None),
            ("199402301032Z", None),
            ("199412161032+1", None),
            ("199412161032+2500", None),
            ("1994121610.Z", None),
            ("", None),
            ("Z", None),
            ("１９９４12161032Z", None),
        ] {
            assert_eq!(generalized_time(text), expected, "{text}");
        }
    }
}

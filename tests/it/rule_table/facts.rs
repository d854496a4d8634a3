//! 3.7, 3.8, 3.9 and what 3.1 says of groups: the directory.

use bailiwick::model::{AccountState, Facts, Person};

use super::{ALLOW, DENY, NO_OPINION, Row, row};
use crate::naive::{OnAccount, OnUnreachable};
use crate::scene::{
    HeldFacts, Scene, Writing, allow, deny, in_department, nobody, partly, person, with_account,
    with_attributes,
};

const PODS: &[&str] = &["get pods"];

pub(super) fn rows() -> Vec<Row> {
    [groups(), accounts(), stale()].concat()
}

/// One Deny for this subject: whether it is true, false (`Some`) or unknown (`None`).
fn group(name: &'static str, subject: &str, facts: HeldFacts, expected: Option<bool>) -> Row {
    let policy = deny("d", PODS).of(&[subject]);
    let set = |s: &mut Scene| {
        s.documents.policies = vec![policy];
        s.settings.accounts.ambiguous = OnAccount::Ignore;
        s.facts = facts;
    };
    match expected {
        Some(true) => row(name, set, DENY, &["d"], &[]),
        Some(false) => row(name, set, NO_OPINION, &[], &[]),
        None => row(name, set, DENY, &[], &["d"]),
    }
}

fn groups() -> Vec<Row> {
    use HeldFacts::{Current, NotDirectoryUser, Unknown};
    let dn = "dn:CN=Payments,OU=groups,DC=example,DC=com";
    let many = || Current(person(&["staff", "payments"]));
    let none = || Current(person(&[]));
    let some = || Current(partly(&["payments"]));
    vec![
        group("3.1 a nested group by name", "dir:payments", many(), Some(true)),
        group("3.1 a group by DN, whatever its case", dn, many(), Some(true)),
        group("3.1 a group by id, whatever its case", "id:ID-OF-payments", many(), Some(true)),
        group("3.1 a group that one is not in, by name", "dir:risk", many(), Some(false)),
        group(
            "3.1 a group that one is not in, by DN",
            "dn:cn=risk,ou=groups,dc=example,dc=com",
            many(),
            Some(false),
        ),
        group("3.1 a group that one is not in, by id", "id:payments", many(), Some(false)),
        group("3.1 a name of no group is unknown", "dir:ghost", many(), None),
        group("3.1 a name of several groups is unknown", "dir:twins", many(), None),
        group("3.1 a name that is not resolved yet is unknown", "dir:late", many(), None),
        group(
            "3.1 a group's own name does not resolve a name",
            "dir:twins",
            Current(person(&["twins"])),
            None,
        ),
        group(
            "3.1 whoever is in no group is in none of a name that resolves to none",
            "dir:ghost",
            none(),
            Some(false),
        ),
        group("3.1 a group that is listed in partial facts is certain", "dir:payments", some(), Some(true)),
        group("3.1 a group that is not listed in partial facts is unknown", "dir:risk", some(), None),
        group(
            "3.1 partial facts without a group leave names unknown",
            "dir:ghost",
            Current(partly(&[])),
            None,
        ),
        group("3.1 an unknown directory leaves groups unknown", "dir:payments", Unknown, None),
        group(
            "3.1 the groups of an ambiguous person are unknown",
            dn,
            Current(nobody(Person::Ambiguous)),
            None,
        ),
        group(
            "3.1 whom the directory has not is in no group",
            "dir:late",
            Current(nobody(Person::NotFound)),
            Some(false),
        ),
        group(
            "3.8 whoever is no directory user is in no group",
            "dir:payments",
            NotDirectoryUser,
            Some(false),
        ),
        group("3.8 nor in one whose name does not resolve", "dir:twins", NotDirectoryUser, Some(false)),
        group(
            "3.8 facts of somebody outside are known however old",
            "dir:late",
            HeldFacts::Stale(nobody(Person::Outside)),
            Some(false),
        ),
    ]
}

fn accounts() -> Vec<Row> {
    let state = |name, state: AccountState, set: fn(&mut Scene), refused: Option<&str>| {
        let set = |s: &mut Scene| {
            s.documents.policies = vec![allow("a", PODS)];
            s.facts = HeldFacts::Current(with_account(person(&[]), state));
            set(s);
        };
        match refused {
            Some(account) => row(name, set, DENY, &[account], &[]),
            None => row(name, set, ALLOW, &["a"], &[]),
        }
    };
    let known = |name, facts: HeldFacts, set: fn(&mut Scene), refused: &[&str]| {
        let set = |s: &mut Scene| {
            s.documents.policies = vec![allow("a", PODS)];
            s.facts = facts;
            set(s);
        };
        if refused.is_empty() {
            row(name, set, ALLOW, &["a"], &[])
        } else {
            row(name, set, DENY, refused, &[])
        }
    };
    let none = AccountState::default;
    let disabled = || AccountState { disabled: Some(true), ..none() };
    let locked = |until: Option<&str>| AccountState {
        locked: Some(true),
        locked_until: until.map(|until| until.parse().unwrap()),
        ..none()
    };
    let expires = |at: &str| AccountState { expires: Some(at.parse().unwrap()), ..none() };
    let old = || AccountState { password_expired: Some(true), ..none() };
    vec![
        state("3.7 without account state in the schema nothing is refused", none(), |_| {}, None),
        state("3.7 a disabled account is refused", disabled(), |_| {}, Some("account/disabled")),
        state(
            "3.7 unless that is ignored",
            disabled(),
            |s| s.settings.accounts.disabled = OnAccount::Ignore,
            None,
        ),
        state(
            "3.7 an enabled account is not refused",
            AccountState { disabled: Some(false), ..none() },
            |_| {},
            None,
        ),
        state(
            "3.7 an account is expired from that instant on",
            expires("2026-11-23T10:00:00Z"),
            |_| {},
            Some("account/expired"),
        ),
        state("3.7 an account is not expired before it", expires("2026-11-23T10:00:01Z"), |_| {}, None),
        state("3.7 a locked account is ignored by default", locked(None), |_| {}, None),
        state(
            "3.7 a locked account may be refused",
            locked(None),
            |s| s.settings.accounts.locked = OnAccount::Deny,
            Some("account/locked"),
        ),
        state(
            "3.7 a lock ends at its end",
            locked(Some("2026-11-23T10:00:00Z")),
            |s| s.settings.accounts.locked = OnAccount::Deny,
            None,
        ),
        state(
            "3.7 a lock lasts until its end",
            locked(Some("2026-11-23T10:00:01Z")),
            |s| s.settings.accounts.locked = OnAccount::Deny,
            Some("account/locked"),
        ),
        state("3.7 an expired password is ignored by default", old(), |_| {}, None),
        state(
            "3.7 an expired password may be refused",
            old(),
            |s| s.settings.accounts.password_expired = OnAccount::Deny,
            Some("account/password-expired"),
        ),
        known(
            "3.7 whom the directory has not is not refused by default",
            HeldFacts::Current(nobody(Person::NotFound)),
            |_| {},
            &[],
        ),
        known(
            "3.7 but may be",
            HeldFacts::Current(nobody(Person::NotFound)),
            |s| s.settings.accounts.not_found = OnAccount::Deny,
            &["account/not-found"],
        ),
        known(
            "3.7 notFound is not for those outside",
            HeldFacts::NotDirectoryUser,
            |s| s.settings.accounts.not_found = OnAccount::Deny,
            &[],
        ),
        known(
            "3.7 an ambiguous person is refused",
            HeldFacts::Current(nobody(Person::Ambiguous)),
            |_| {},
            &["account/ambiguous"],
        ),
        known("3.7 an unreachable directory has no effect by default", HeldFacts::Unknown, |_| {}, &[]),
        known(
            "3.7 but may refuse",
            HeldFacts::Unknown,
            |s| s.settings.accounts.when_unreachable = OnUnreachable::Deny,
            &["account/unreachable"],
        ),
        known(
            "3.7 whenUnreachable is not for those outside",
            HeldFacts::NotDirectoryUser,
            |s| s.settings.accounts.when_unreachable = OnUnreachable::Deny,
            &[],
        ),
        row(
            "3.7 the last known state counts at any age",
            |s| s.facts = HeldFacts::Stale(with_account(person(&[]), disabled())),
            DENY,
            &["account/disabled"],
            &[],
        ),
        row(
            "3.7 whenUnreachable refuses beside the last known state",
            |s| {
                s.facts = HeldFacts::Stale(with_account(person(&[]), disabled()));
                s.settings.accounts.when_unreachable = OnUnreachable::Deny;
            },
            DENY,
            &["account/disabled", "account/unreachable"],
            &[],
        ),
        row(
            "3.7 an account's Deny stands beside a policy's",
            |s| {
                s.documents.policies = vec![deny("d", PODS), allow("a", PODS)];
                s.facts = HeldFacts::Current(with_account(person(&[]), disabled()));
            },
            DENY,
            &["account/disabled", "d"],
            &[],
        ),
    ]
}

fn stale() -> Vec<Row> {
    let old = |facts: Facts, policies: Vec<_>| {
        move |s: &mut Scene| {
            s.documents.policies = policies;
            s.facts = HeldFacts::Stale(facts);
        }
    };
    let payments = &["dir:payments"];
    let risk = || with_attributes(person(&["payments"]), &[("department", &["risk"])]);
    vec![
        row(
            "3.9 stale facts may establish that a Deny applies",
            old(risk(), vec![deny("d", PODS).of(payments).when(in_department(&["risk"]))]),
            DENY,
            &["d"],
            &[],
        ),
        row(
            "3.9 stale facts never establish that a Deny does not apply",
            old(person(&["staff"]), vec![deny("d", PODS).of(payments)]),
            DENY,
            &[],
            &["d"],
        ),
        row(
            "3.9 nor does a stale exception excuse",
            old(person(&["payments"]), vec![deny("d", PODS).except(payments)]),
            DENY,
            &[],
            &["d"],
        ),
        row(
            "3.9 stale facts that make an exception false establish the Deny",
            old(person(&["staff"]), vec![deny("d", PODS).except(payments)]),
            DENY,
            &["d"],
            &[],
        ),
        row(
            "3.9 stale facts allow nothing",
            old(person(&["payments"]), vec![allow("a", PODS).of(payments)]),
            NO_OPINION,
            &[],
            &["a"],
        ),
        row(
            "3.9 an Allow that needs no facts is given beside stale ones",
            old(person(&["payments"]), vec![allow("a", PODS).of(&["dir:payments", "user:alice"])]),
            ALLOW,
            &["a"],
            &[],
        ),
        row(
            "3.9 a Deny that is false whatever the facts are stays false",
            old(person(&["payments"]), vec![deny("d", PODS).of(&["dir:payments & user:bob"])]),
            NO_OPINION,
            &[],
            &[],
        ),
    ]
}

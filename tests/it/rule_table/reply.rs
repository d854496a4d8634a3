//! 3.10: the reply is the least of the decisions over the reply's own life with the caller.

use bailiwick::model::{AccountState, Decision, Outcome};
use bailiwick::policy::ast::{AccessPolicy, Conditions};
use jiff::{Timestamp, ToSpan};

use super::{ALLOW, DENY, NO_OPINION};
use crate::naive::NaiveTtls;
use crate::scene::{HeldFacts, MONDAY_MORNING, Scene, Writing, allow, deny, hours, person, with_account};

const PODS: &[&str] = &["get pods"];
const EVERY_DAY: u8 = 0x7f;
/// The API server's own defaults.
const TTLS: NaiveTtls = NaiveTtls { authorized: 300, unauthorized: 30 };

/// What a reply must be, given how long the caller keeps it.
#[derive(Debug, Clone)]
pub struct ReplyRow {
    /// The rule's number in DESIGN, and what it comes to here.
    pub name: &'static str,
    /// What is asked; the facts stay what they are while the reply is kept.
    pub scene: Scene,
    /// For how long the caller keeps it.
    pub ttls: NaiveTtls,
    /// What must be replied.
    pub reply: Outcome,
}

/// Every row about replies.
pub fn reply_table() -> Vec<ReplyRow> {
    [edges(), accounts(), undetermined(), clock_changes()].concat()
}

fn reply(name: &'static str, set: impl FnOnce(&mut Scene), reply: Outcome) -> ReplyRow {
    let mut scene = Scene::new();
    set(&mut scene);
    ReplyRow { name, scene, ttls: TTLS, reply }
}

fn now() -> Timestamp {
    MONDAY_MORNING.parse().unwrap()
}

fn from(policy: AccessPolicy, seconds: i64) -> AccessPolicy {
    policy.valid(Some(&(now() + seconds.seconds()).to_string()), None)
}

fn until(policy: AccessPolicy, seconds: i64) -> AccessPolicy {
    policy.valid(None, Some(&(now() + seconds.seconds()).to_string()))
}

fn edges() -> Vec<ReplyRow> {
    let with = |name, policies: Vec<AccessPolicy>, expected| {
        reply(name, |s| s.documents.policies = policies, expected)
    };
    let uncached = |row: ReplyRow| ReplyRow { ttls: NaiveTtls { authorized: 0, unauthorized: 0 }, ..row };
    vec![
        with("3.10 what does not change is replied", vec![allow("a", PODS)], ALLOW),
        with(
            "3.10 an Allow that ends after the caller forgets it",
            vec![until(allow("a", PODS), 301)],
            ALLOW,
        ),
        with(
            "3.10 an Allow that ends just when the caller forgets it",
            vec![until(allow("a", PODS), 300)],
            NO_OPINION,
        ),
        with("3.10 an Allow that ends soon", vec![until(allow("a", PODS), 1)], NO_OPINION),
        uncached(with("3.10 an Allow that ends soon, not kept", vec![until(allow("a", PODS), 1)], ALLOW)),
        with("3.10 an Allow that begins soon", vec![from(allow("a", PODS), 1)], NO_OPINION),
        with(
            "3.10 an Allow that another one continues",
            vec![until(allow("a", PODS), 100), from(allow("b", PODS), 100)],
            ALLOW,
        ),
        with(
            "3.10 an Allow with a gap",
            vec![until(allow("a", PODS), 100), from(allow("b", PODS), 101)],
            NO_OPINION,
        ),
        with("3.10 a Deny that ends soon", vec![until(deny("d", PODS), 1)], DENY),
        with("3.10 a Deny that begins soon", vec![allow("a", PODS), from(deny("d", PODS), 30)], DENY),
        with(
            "3.10 a Deny that begins after the caller forgets a refusal, not an Allow",
            vec![allow("a", PODS), from(deny("d", PODS), 31)],
            NO_OPINION,
        ),
        with(
            "3.10 a Deny that begins after the caller forgets an Allow",
            vec![allow("a", PODS), from(deny("d", PODS), 301)],
            ALLOW,
        ),
        with("3.10 a Deny that begins soon, where nothing is allowed", vec![from(deny("d", PODS), 30)], DENY),
        with(
            "3.10 a Deny that begins later, where nothing is allowed",
            vec![from(deny("d", PODS), 31)],
            NO_OPINION,
        ),
        with(
            "3.12 a shadow Deny that begins soon",
            vec![allow("a", PODS), from(deny("d", PODS), 1).shadow()],
            ALLOW,
        ),
        reply(
            "3.10 an Allow that ends soon under the default Deny is NoOpinion, which it exceeds for as long as that is kept",
            |s| {
                s.settings.default = Decision::Deny;
                s.documents.policies = vec![until(allow("a", PODS), 31)];
            },
            NO_OPINION,
        ),
        reply(
            "3.10 and Deny, where the default comes sooner",
            |s| {
                s.settings.default = Decision::Deny;
                s.documents.policies = vec![until(allow("a", PODS), 30)];
            },
            DENY,
        ),
    ]
}

fn accounts() -> Vec<ReplyRow> {
    let with = |name, account: AccountState, expected| {
        let set = |s: &mut Scene| {
            s.documents.policies = vec![allow("a", PODS)];
            s.settings.accounts.locked = crate::naive::OnAccount::Deny;
            s.facts = HeldFacts::Current(with_account(person(&[]), account));
        };
        reply(name, set, expected)
    };
    let expires =
        |seconds: i64| AccountState { expires: Some(now() + seconds.seconds()), ..AccountState::default() };
    let locked = AccountState {
        locked: Some(true),
        locked_until: Some(now() + 10.seconds()),
        ..AccountState::default()
    };
    vec![
        with("3.10 an account that expires soon", expires(30), DENY),
        with("3.10 an account that expires after a refusal is forgotten", expires(31), NO_OPINION),
        with("3.10 an account that expires after an Allow is forgotten", expires(301), ALLOW),
        with("3.10 an account that is unlocked soon", locked, DENY),
    ]
}

fn undetermined() -> Vec<ReplyRow> {
    let with = |name, when_undetermined, seconds, expected| {
        let set = |s: &mut Scene| {
            s.documents.policies =
                vec![allow("a", PODS), from(deny("d", PODS).of(&["dir:payments"]), seconds)];
            s.settings.when_undetermined = when_undetermined;
            s.facts = HeldFacts::Unknown;
        };
        reply(name, set, expected)
    };
    vec![
        with("3.10 a Deny that is unknown begins soon", DENY, 30, DENY),
        with("3.10 a Deny that is unknown begins later", DENY, 31, NO_OPINION),
        with(
            "3.10 a Deny that is unknown begins soon, unavailable then",
            Outcome::Unavailable,
            30,
            Outcome::Unavailable,
        ),
        with(
            "3.10 a Deny that is unknown begins later, unavailable then",
            Outcome::Unavailable,
            31,
            NO_OPINION,
        ),
    ]
}

fn clock_changes() -> Vec<ReplyRow> {
    let at = |name, now: &str, when: Conditions, expected| {
        let set = |s: &mut Scene| {
            s.documents.policies = vec![allow("a", PODS).when(when)];
            s.circumstances.now = now.parse().unwrap();
        };
        reply(name, set, expected)
    };
    let window = |from, to, zone| hours(EVERY_DAY, &[(from, to)], zone, false);
    let (london, new_york, lord_howe) = ("Europe/London", "America/New_York", "Australia/Lord_Howe");
    vec![
        at("3.10 hours that end soon", "2026-11-23T17:55:00Z", window(480, 1080, london), NO_OPINION),
        at("3.10 hours that do not end soon", "2026-11-23T17:54:59Z", window(480, 1080, london), ALLOW),
        at(
            "3.10 hours on both sides of midnight are one",
            "2026-11-23T23:58:00Z",
            window(0, 1440, london),
            ALLOW,
        ),
        at(
            "3.10 an end in a missing hour comes with the change",
            "2026-03-08T06:55:00Z",
            window(60, 150, new_york),
            NO_OPINION,
        ),
        at(
            "3.10 an end after a missing hour does not",
            "2026-03-08T06:55:00Z",
            window(60, 210, new_york),
            ALLOW,
        ),
        at(
            "3.10 an end in a missing half hour comes with the change",
            "2026-10-03T15:29:00Z",
            window(60, 135, lord_howe),
            NO_OPINION,
        ),
        at(
            "3.10 a repeated hour goes on into its second pass",
            "2026-10-25T00:58:00Z",
            window(60, 120, london),
            ALLOW,
        ),
        at(
            "3.10 the end of half a repeated hour comes with the change",
            "2026-10-25T00:55:00Z",
            window(90, 120, london),
            NO_OPINION,
        ),
        at("3.10 and comes again", "2026-10-25T01:55:00Z", window(90, 120, london), NO_OPINION),
    ]
}

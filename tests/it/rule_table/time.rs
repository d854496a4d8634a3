//! Validity, and days and hours in a zone (DESIGN 4, `time`): the decision at one instant, which 3.10 builds on.

use bailiwick::policy::ast::Conditions;

use super::{ALLOW, NO_OPINION, Row, row};
use crate::scene::{Scene, Writing, allow, hours};

const PODS: &[&str] = &["get pods"];
const EVERY_DAY: u8 = 0x7f;
const WORKDAYS: u8 = 0x1f;
const SATURDAY: u8 = 0x20;

pub(super) fn rows() -> Vec<Row> {
    [validity(), ranges(), clock_changes()].concat()
}

fn at(name: &'static str, now: &str, conditions: Conditions, holds: bool) -> Row {
    let set = |s: &mut Scene| {
        s.documents.policies = vec![allow("a", PODS).when(conditions)];
        s.circumstances.now = now.parse().unwrap();
    };
    if holds { row(name, set, ALLOW, &["a"], &[]) } else { row(name, set, NO_OPINION, &[], &[]) }
}

fn validity() -> Vec<Row> {
    let valid = |name, from: Option<&str>, until: Option<&str>, holds| {
        let policy = allow("a", PODS).valid(from, until);
        let set = |s: &mut Scene| s.documents.policies = vec![policy];
        if holds { row(name, set, ALLOW, &["a"], &[]) } else { row(name, set, NO_OPINION, &[], &[]) }
    };
    vec![
        valid("3.1 notBefore is inclusive", Some("2026-11-23T10:00:00Z"), None, true),
        valid("3.1 before notBefore a policy is not in force", Some("2026-11-23T10:00:01Z"), None, false),
        valid("3.1 notAfter is exclusive", None, Some("2026-11-23T10:00:00Z"), false),
        valid("3.1 until notAfter a policy is in force", None, Some("2026-11-23T10:00:01Z"), true),
    ]
}

fn ranges() -> Vec<Row> {
    let office = || hours(WORKDAYS, &[(480, 1080)], "Europe/London", true);
    let night = || hours(SATURDAY, &[(1320, 1800)], "Europe/London", false);
    vec![
        at("4 a range's start is inclusive", "2026-11-23T08:00:00Z", office(), true),
        at("4 a second before its start a range has not begun", "2026-11-23T07:59:59Z", office(), false),
        at("4 a range's end is exclusive", "2026-11-23T18:00:00Z", office(), false),
        at("4 a second before its end a range goes on", "2026-11-23T17:59:59Z", office(), true),
        at("4 another day", "2026-11-22T10:00:00Z", office(), false),
        at("4 a range's hours are its zone's", "2026-07-06T07:00:00Z", office(), true),
        at("4 a day of a calendar is excepted", "2026-12-25T10:00:00Z", office(), false),
        at(
            "4 a range over midnight belongs to the day on which it starts",
            "2026-11-22T05:59:59Z",
            night(),
            true,
        ),
        at("4 and ends on the next", "2026-11-22T06:00:00Z", night(), false),
        at("4 and does not start on the next", "2026-11-22T22:00:00Z", night(), false),
        at(
            "4 a calendar's day excepts what starts on it, not what runs into it",
            "2026-12-25T01:00:00Z",
            hours(EVERY_DAY, &[(1320, 1800)], "Europe/London", true),
            true,
        ),
        at(
            "4 nor what starts on the day after",
            "2026-12-26T01:00:00Z",
            hours(EVERY_DAY, &[(1320, 1800)], "Europe/London", true),
            false,
        ),
        at(
            "4 any of several ranges",
            "2026-11-23T13:00:00Z",
            hours(EVERY_DAY, &[(0, 60), (720, 840)], "UTC", false),
            true,
        ),
        at(
            "4 24:00 is the end of the day",
            "2026-11-23T23:59:59Z",
            hours(EVERY_DAY, &[(1380, 1440)], "UTC", false),
            true,
        ),
        at(
            "4 the whole day where no hours are given",
            "2026-11-21T00:00:00Z",
            hours(SATURDAY, &[], "UTC", false),
            true,
        ),
        at("4 and only that day", "2026-11-22T00:00:00Z", hours(SATURDAY, &[], "UTC", false), false),
    ]
}

fn clock_changes() -> Vec<Row> {
    let in_london = |from, to| hours(EVERY_DAY, &[(from, to)], "Europe/London", false);
    let half_hour = || hours(EVERY_DAY, &[(90, 120)], "Australia/Lord_Howe", false);
    vec![
        at("4 a repeated hour counts, the first time", "2026-10-25T00:30:00Z", in_london(60, 120), true),
        at("4 a repeated hour counts, the second time", "2026-10-25T01:30:00Z", in_london(60, 120), true),
        at("4 a repeated hour ends", "2026-10-25T02:00:00Z", in_london(60, 120), false),
        at(
            "4 a range within a repeated hour closes between the two",
            "2026-10-25T01:00:00Z",
            in_london(90, 120),
            false,
        ),
        at("4 a missing hour is skipped: before it", "2026-03-29T00:59:59Z", in_london(60, 120), false),
        at("4 a missing hour is skipped: after it", "2026-03-29T01:00:00Z", in_london(60, 120), false),
        at(
            "4 a range that starts in a missing hour starts after it",
            "2026-03-29T01:00:00Z",
            in_london(90, 180),
            true,
        ),
        at("4 half an hour is repeated, the first time", "2026-04-04T14:45:00Z", half_hour(), true),
        at("4 half an hour is repeated, the second time", "2026-04-04T15:15:00Z", half_hour(), true),
        at("4 and is over", "2026-04-04T15:30:00Z", half_hour(), false),
    ]
}

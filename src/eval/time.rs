//! When a time window is open, and when that can change next.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

use super::truth::{Timed, Truth};
use crate::policy::TimeWindow;
use crate::policy::ast::{Hours, Validity};

/// Whether a window is open at an instant.
///
/// A range belongs to the day on which it starts and is compared with the zone's civil time, so that an hour that is
/// repeated at the end of summer time counts twice and one that is missing at its beginning is skipped.
#[must_use]
pub fn window(window: &TimeWindow, now: Timestamp) -> Timed {
    let zone = &window.condition.time_zone;
    let civil = zone.to_datetime(now);
    let today = civil.date();
    let mut open = false;
    // A range ends at most a day after the one on which it starts: nothing beyond tomorrow is looked at.
    let mut until = instants(zone, midnight_after(today, 2)).0;
    for offset in [-1, 0, 1] {
        let Some(day) = add_days(today, offset) else { continue };
        if !opens_on(window, day) {
            continue;
        }
        for hours in &window.condition.hours {
            let (start, end) = range(day, *hours);
            open |= start <= civil && civil < end;
            for edge in [start, end] {
                let (earlier, later) = instants(zone, edge);
                for instant in [earlier, later] {
                    if instant > now {
                        until = until.min(instant);
                    }
                }
            }
        }
    }
    // Where the clock is moved, civil time jumps over edges or comes back before them.
    if let Some(transition) = zone.following(now).next() {
        until = until.min(transition.timestamp());
    }
    Timed { truth: Truth::known(open), until: until.max(just_after(now)) }
}

/// Whether a policy is in force at an instant: from `notBefore` on, until just before `notAfter`.
#[must_use]
pub fn validity(validity: &Validity, now: Timestamp) -> Timed {
    let begun = validity.not_before.map_or(Timed::TRUE, |start| !before(now, start));
    let not_over = validity.not_after.map_or(Timed::TRUE, |end| before(now, end));
    begun.and(not_over)
}

/// Whether an instant is still to come.
#[must_use]
pub fn before(now: Timestamp, instant: Timestamp) -> Timed {
    if now < instant { Timed { truth: Truth::True, until: instant } } else { Timed::FALSE }
}

fn opens_on(window: &TimeWindow, day: Date) -> bool {
    let weekday = u32::from(day.weekday().to_monday_zero_offset().unsigned_abs());
    window.condition.days.0 >> weekday & 1 == 1
        && !window.except.iter().any(|calendar| calendar.dates.contains(&day))
}

/// The civil beginning and end of a range that starts on this day.
fn range(day: Date, hours: Hours) -> (DateTime, DateTime) {
    (civil(day, hours.start), civil(day, hours.end))
}

fn civil(day: Date, minutes: u16) -> DateTime {
    let midnight = day.to_datetime(Time::midnight());
    midnight.checked_add(Span::new().minutes(i64::from(minutes))).unwrap_or(DateTime::MAX)
}

fn midnight_after(day: Date, days: i64) -> DateTime {
    add_days(day, days).map_or(DateTime::MAX, |day| day.to_datetime(Time::midnight()))
}

fn add_days(day: Date, days: i64) -> Option<Date> {
    day.checked_add(Span::new().try_days(days).ok()?).ok()
}

/// The instants at which a zone's clocks show a civil time: the same one twice, but for a time that is repeated, and for
/// one that is skipped (then what it would be by the offsets before and after).
fn instants(zone: &TimeZone, civil: DateTime) -> (Timestamp, Timestamp) {
    let at = |offset: jiff::tz::Offset| offset.to_timestamp(civil).unwrap_or(Timestamp::MAX);
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => (at(offset), at(offset)),
        AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
            let (one, other) = (at(before), at(after));
            (one.min(other), one.max(other))
        }
    }
}

fn just_after(now: Timestamp) -> Timestamp {
    now.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::policy::ast::{Calendar, Days, TimeCondition};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn made(zone: &str, days: u8, hours: &[(u16, u16)], except: &[&str]) -> TimeWindow {
        TimeWindow {
            condition: TimeCondition {
                days: Days(days),
                hours: hours.iter().map(|&(start, end)| Hours { start, end }).collect(),
                time_zone: TimeZone::get(zone).unwrap(),
                except_calendars: Vec::new(),
            },
            except: Box::new([Calendar {
                time_zone: None,
                dates: except.iter().map(|date| date.parse().unwrap()).collect::<BTreeSet<Date>>(),
            }]),
        }
    }

    #[test]
    fn a_window_opens_and_closes_by_the_clocks_of_its_zone() {
        let office = made("Europe/London", 0b001_1111, &[(8 * 60, 18 * 60)], &["2026-12-25"]);
        for (now, open, until) in [
            ("2026-11-23T07:59:59Z", false, "2026-11-23T08:00:00Z"),
            ("2026-11-23T08:00:00Z", true, "2026-11-23T18:00:00Z"),
            ("2026-11-23T18:00:00Z", false, "2026-11-24T08:00:00Z"),
            ("2026-07-01T07:30:00Z", true, "2026-07-01T17:00:00Z"),
            ("2026-12-25T12:00:00Z", false, "2026-12-27T00:00:00Z"),
        ] {
            let answer = window(&office, at(now));
            assert_eq!((answer.truth, answer.until), (Truth::known(open), at(until)), "{now}");
        }
    }

    #[test]
    fn a_range_over_midnight_belongs_to_the_day_on_which_it_starts() {
        let night = made("UTC", 0b000_0001, &[(22 * 60, 30 * 60)], &[]);
        for (now, open) in [
            ("2026-11-23T21:59:00Z", false),
            ("2026-11-23T22:00:00Z", true),
            ("2026-11-24T05:59:59Z", true),
            ("2026-11-24T06:00:00Z", false),
            ("2026-11-24T22:30:00Z", false),
            ("2026-11-23T05:00:00Z", false),
        ] {
            assert_eq!(window(&night, at(now)).truth, Truth::known(open), "{now}");
        }
    }

    #[test]
    fn a_repeated_hour_counts_twice_and_a_missing_one_is_skipped() {
        // Clocks go back at 01:00 UTC on 2026-10-25: 01:00 to 02:00 comes twice.
        let night = made("Europe/London", 0b111_1111, &[(60, 120)], &[]);
        for (now, open) in [
            ("2026-10-24T23:59:59Z", false),
            ("2026-10-25T00:00:00Z", true),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:00:00Z", false),
            // Clocks go forward at 01:00 UTC on 2026-03-29: 01:00 to 02:00 does not come.
            ("2026-03-29T00:59:59Z", false),
            ("2026-03-29T01:00:00Z", false),
        ] {
            assert_eq!(window(&night, at(now)).truth, Truth::known(open), "{now}");
        }
    }

    proptest! {
        #[test]
        fn nothing_changes_before_until(
            zone in prop::sample::select(vec!["Europe/London", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"]),
            base in prop::sample::select(vec![
                "2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-03-07T20:00:00Z", "2026-04-04T10:00:00Z", "2026-11-22T00:00:00Z",
            ]),
            seconds in 0_i64..200_000,
            days in 1_u8..128,
            ranges in prop::collection::vec((0_u16..1440, 1_u16..1440), 1..3),
            probes in prop::collection::vec(0.0_f64..1.0, 20),
        ) {
            let hours: Vec<(u16, u16)> = ranges.iter().map(|&(start, length)| (start, start + length)).collect();
            let made = made(zone, days, &hours, &[]);
            let now = Timestamp::from_second(at(base).as_second() + seconds).unwrap();
            let answer = window(&made, now);
            prop_assert!(answer.until > now);
            let length = answer.until.as_second() - now.as_second();
            for probe in probes.into_iter().chain([0.999_99]) {
                let then = Timestamp::from_second(now.as_second() + (length as f64 * probe) as i64).unwrap();
                if then < answer.until {
                    prop_assert_eq!(window(&made, then).truth, answer.truth, "at {}", then);
                }
            }
        }
    }
}

//! `time`: days, hours, zones and calendars.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::Scope;
use crate::document::{
    Diagnostic, Diagnostics, Fields, Node, Spanned, did_you_mean, list, quoted, spanned, text,
};
use crate::policy::ast::{Days, Hours, TimeCondition};

/// The days of the week; bit 0 of [`Days`] is the first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Minutes in a day, by which hours are counted.
const DAY: u16 = 24 * 60;

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);
}

/// A `time` condition beside these sites, whose one zone it has where it names none itself.
pub(super) fn time(
    node: &Node,
    sites: &[Spanned<String>],
    scope: &Scope,
    diagnostics: &mut Diagnostics,
) -> Option<TimeCondition> {
    let mut fields = Fields::open(node, diagnostics)?;
    let days = fields.optional("days", diagnostics, list(days));
    let hours = fields.optional("hours", diagnostics, list(hours));
    let except_calendars = fields.optional("exceptCalendars", diagnostics, list(spanned(text)));
    let own_zone = fields.optional("timeZone", diagnostics, time_zone);
    let restricts = ["days", "hours", "exceptCalendars"].into_iter().any(|name| fields.key(name).is_some());
    if !restricts {
        let message = "this says neither days nor hours, so that it always holds";
        let help = "add `days`, `hours` or `exceptCalendars`, or remove it";
        diagnostics.push(Diagnostic::error(node.span, message).help(help));
    }
    for calendar in except_calendars.iter().flatten() {
        let known = &scope.vocabulary.calendars;
        scope.check("calendar", calendar, known.contains_key(&calendar.value), known.keys(), diagnostics);
    }
    let time_zone = match fields.key("timeZone") {
        Some(_) => own_zone,
        None => zone_of_sites(sites, scope).or_else(|| {
            if sites.iter().all(|site| scope.vocabulary.sites.contains_key(&site.value)) {
                let help = "name a zone, as `timeZone: Europe/London`; only where all `sites` beside it have one and \
                            the same zone may it be left out";
                fields.missing("timeZone", diagnostics, Some(help));
            }
            None
        }),
    };
    fields.finish(diagnostics);
    Some(TimeCondition {
        days: days.map_or(Days::ALL, |days| Days(days.iter().fold(0, |all, days| all | days.0))),
        hours: hours.unwrap_or_default(),
        time_zone: time_zone?,
        except_calendars: except_calendars.unwrap_or_default(),
    })
}

fn zone_of_sites(sites: &[Spanned<String>], scope: &Scope) -> Option<TimeZone> {
    let mut zones = sites.iter().map(|site| scope.vocabulary.sites.get(&site.value)?.time_zone.clone());
    let first = zones.next()??;
    zones.all(|zone| zone.as_ref() == Some(&first)).then_some(first)
}

/// A zone of the tz database that is part of the binary, by its exact name.
pub(super) fn time_zone(node: &Node, diagnostics: &mut Diagnostics) -> Option<TimeZone> {
    let written = text(node, diagnostics)?;
    let database = TimeZoneDatabase::bundled();
    let zone = database.get(&written).ok().filter(|zone| zone.iana_name() == Some(&written));
    if zone.is_none() {
        let help = diagnostics.find_help(|| {
            let names: Vec<String> = database.available().map(|name| name.as_str().to_owned()).collect();
            did_you_mean(&written, names.iter().map(String::as_str)).or_else(|| {
                Some("a zone is named as in the IANA database, as `Europe/London` or `UTC`".to_owned())
            })
        });
        let message = format!("unknown time zone {}", quoted(&written));
        diagnostics.push(Diagnostic::error(node.span, message).maybe_help(help));
    }
    zone
}

/// `Sat`, `Mon-Fri` or, over the end of the week, `Fri-Mon`.
fn days(node: &Node, diagnostics: &mut Diagnostics) -> Option<Days> {
    let written = text(node, diagnostics)?;
    let (first, last) = written.split_once('-').unwrap_or((&written, &written));
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let (Some(from), Some(to)) = (day(first), day(last)) else {
        let wrong = if day(first).is_none() { first } else { last };
        let near = DAYS.iter().find(|day| wrong.to_lowercase().starts_with(&day.to_lowercase()));
        let help = match near {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("a day is one of {}, a range is `Mon-Fri`", DAYS.map(quoted).join(", ")),
        };
        diagnostics.push(Diagnostic::error(node.span, format!("unknown day {}", quoted(wrong))).help(help));
        return None;
    };
    if from == to && written.contains('-') {
        let help = format!("for the one day, write {}", quoted(first));
        diagnostics
            .push(Diagnostic::error(node.span, "a range of days that ends where it starts").help(help));
        return None;
    }
    let length = (to + DAYS.len() - from) % DAYS.len();
    Some(Days((0..=length).fold(0, |all, nth| all | 1 << ((from + nth) % DAYS.len()))))
}

/// `08:00-18:00`; over midnight where the end is before the start.
fn hours(node: &Node, diagnostics: &mut Diagnostics) -> Option<Hours> {
    let written = text(node, diagnostics)?;
    match parse_hours(&written) {
        Ok(hours) => Some(hours),
        Err(help) => {
            let message = format!("impossible hours {}", quoted(&written));
            diagnostics.push(Diagnostic::error(node.span, message).help(help));
            None
        }
    }
}

fn parse_hours(written: &str) -> Result<Hours, String> {
    const SHAPE: &str = "hours are written with four digits a time, as `08:00-18:00`";
    let (start, end) = written.split_once('-').ok_or(SHAPE)?;
    let (start, end) = (clock(start).ok_or(SHAPE)?, clock(end).ok_or(SHAPE)?);
    for (hour, minute) in [start, end] {
        if hour > 24 || minute > 59 || (hour == 24 && minute > 0) {
            return Err(format!("a day has no {hour:02}:{minute:02}; it ends at `24:00`"));
        }
    }
    let minutes = |(hour, minute): (u16, u16)| hour * 60 + minute;
    let (start, end) = (minutes(start), minutes(end));
    if start == DAY {
        return Err("a range cannot start at `24:00`; the next day starts at `00:00`".to_owned());
    }
    if start == end {
        return Err("a range that ends where it starts; the whole day is `00:00-24:00`".to_owned());
    }
    Ok(Hours { start, end: if end < start { end + DAY } else { end } })
}

/// Hour and minute, each of two digits.
fn clock(text: &str) -> Option<(u16, u16)> {
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (hour, minute) = text.split_once(':')?;
    Some((two(hour)?, two(minute)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Source, parse};

    fn read_days(written: &str) -> Option<Days> {
        let sources = [Source::new("test.yaml", written.as_bytes())];
        let mut diagnostics = Diagnostics::new(&sources);
        let documents = parse(&sources, &mut diagnostics);
        days(&documents[0].root, &mut diagnostics)
    }

    #[test]
    fn days_are_single_or_ranges_that_may_wrap() {
        assert_eq!(read_days("Mon"), Some(Days(0b000_0001)));
        assert_eq!(read_days("Mon-Fri"), Some(Days(0b001_1111)));
        assert_eq!(read_days("Fri-Mon"), Some(Days(0b111_0001)));
        assert_eq!(read_days("Mon-Sun"), Some(Days::ALL));
        for wrong in ["mon", "Monday", "Mon-", "-Mon", "Mon-Mon", "Mon - Fri", "Mon-Tue-Wed"] {
            assert_eq!(read_days(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hours_may_run_over_midnight_and_end_at_24_00() {
        for (written, start, end) in [
            ("08:00-18:00", 480, 1080),
            ("00:00-24:00", 0, 1440),
            ("22:00-06:00", 1320, 1800),
            ("22:00-00:00", 1320, 1440),
            ("23:59-23:58", 1439, 2878),
        ] {
            assert_eq!(parse_hours(written), Ok(Hours { start, end }), "{written}");
        }
    }

    #[test]
    fn impossible_hours_are_refused() {
        for written in [
            "25:00-26:00",
            "08:00-24:01",
            "08:60-09:00",
            "24:00-06:00",
            "08:00-08:00",
            "00:00-00:00",
            "8:00-18:00",
            "08:00",
            "08:00-",
            "-",
            "",
            "08-18",
            "+8:00-18:00",
            "08:00-18:00-19:00",
            "08.00-18.00",
        ] {
            assert!(parse_hours(written).is_err(), "{written}");
        }
    }
}

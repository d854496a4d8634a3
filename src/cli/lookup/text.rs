//! A look-up as text for people.

use std::fmt::{Result, Write};

use super::super::Exit;
use super::super::render::Paint;
use super::held::Holds;
use super::shown::{AccountShown, SearchShown, ServerShown, Shown};
use crate::document::one_line;

/// Controls that have a name here (RFC 2696, RFC 3876).
const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
const MATCHED_VALUES: &str = "1.2.826.0.1.3344810.2.3";
/// How many characters of a filter are shown; `-o json` has all of it.
const MAX_FILTER_CHARS: usize = 400;
/// With more attributes than these, they are only counted.
const MAX_ATTRIBUTES: usize = 8;
/// How many groups are listed of those that the service has or has not.
const MAX_DIFFERENCES: usize = 10;

/// All of it.
pub(super) fn text(shown: &Shown, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _written = write_all(&mut text, shown, paint);
    text
}

fn write_all(text: &mut String, shown: &Shown, paint: Paint) -> Result {
    writeln!(text, "{}", headline(shown, paint))?;
    section(text, paint, "user")?;
    writeln!(text, "  cluster    {}", one_line(&shown.user))?;
    match (&shown.directory_name, &shown.stripped_prefix) {
        (None, _) => writeln!(text, "  directory  never asked for this name")?,
        (Some(name), None) => writeln!(text, "  directory  {}", one_line(name))?,
        (Some(name), Some(prefix)) => writeln!(
            text,
            "  directory  {}  (without `{}`: directory.usernames.stripPrefix)",
            one_line(name),
            one_line(prefix)
        )?,
    }
    if shown.directory_name.is_some() {
        write_server(text, shown, paint)?;
        write_searches(text, shown, paint)?;
        write_person(text, shown, paint)?;
    }
    if !shown.account.is_empty() {
        section(text, paint, "account")?;
        shown.account.iter().try_for_each(|state| write_state(text, state, paint))?;
    }
    if shown.dn.is_some() {
        write_groups(text, shown, paint)?;
    }
    if !shown.attributes.is_empty() {
        section(text, paint, "attributes")?;
        for (name, values) in &shown.attributes {
            match values {
                Some(values) => writeln!(text, "  {}: {}", one_line(name), one_line(&values.join(", ")))?,
                None => {
                    writeln!(text, "  {}: cannot be read, so what depends on it is unknown", one_line(name))?
                }
            }
        }
    }
    section(text, paint, "cache")?;
    write_held(text, shown)
}

fn headline(shown: &Shown, paint: Paint) -> String {
    let user = one_line(&shown.user);
    if let Some(error) = &shown.error {
        return paint
            .bad(&format!("What the directory says of {user} could not be found out: {}", one_line(error)));
    }
    if let Some(why) = &shown.outside_because {
        return paint.doubtful(&format!("{user} is no user of the directory: {}", one_line(why)));
    }
    let states = |denies: Option<bool>| -> Vec<&str> {
        shown.account.iter().filter(|state| state.denies == denies).map(|state| state.state).collect()
    };
    let refused = match (states(Some(true)), states(None)) {
        (denying, _) if !denying.is_empty() => format!("; everything is refused by {}", denying.join(", ")),
        (_, unknown) if !unknown.is_empty() => {
            format!("; everything is refused while {} cannot be read", unknown.join(", "))
        }
        _ => String::new(),
    };
    match shown.person {
        "found" if shown.exit == Exit::Success => paint.good(&format!("{user} is in the directory")),
        "found" => paint.bad(&format!("{user} is in the directory{refused}")),
        "ambiguous" => paint.bad(&format!("{user} is several entries of the directory{refused}")),
        _ => paint.doubtful(&format!("{user} is not in the directory{refused}")),
    }
}

fn write_server(text: &mut String, shown: &Shown, paint: Paint) -> Result {
    section(text, paint, "server")?;
    let Some(server) = &shown.server else {
        return writeln!(text, "  none that can be used");
    };
    let ServerShown { url, kind, vendor, version, dns_domain, netbios_domain, connected_milliseconds } =
        server;
    writeln!(text, "  address    {}  (connected in {connected_milliseconds:.1} ms)", one_line(url))?;
    write!(text, "  kind       {kind}")?;
    let words: Vec<&str> = [vendor, version].into_iter().flatten().map(String::as_str).collect();
    if !words.is_empty() {
        write!(text, ": {}", one_line(&words.join(", ")))?;
    }
    writeln!(text)?;
    if dns_domain.is_some() || netbios_domain.is_some() {
        let domains: Vec<&str> =
            [dns_domain, netbios_domain].into_iter().flatten().map(String::as_str).collect();
        writeln!(text, "  domain     {}", one_line(&domains.join(", ")))?;
    }
    for (name, chosen) in [("flavour ", &shown.flavour), ("strategy", &shown.strategy)] {
        if let Some(chosen) = chosen {
            writeln!(text, "  {name}   {}  ({})", chosen.word, chosen.because)?;
        }
    }
    Ok(())
}

fn write_searches(text: &mut String, shown: &Shown, paint: Paint) -> Result {
    section(text, paint, "searches")?;
    if shown.searches.is_empty() {
        return match (&shown.error, &shown.server) {
            (Some(_), None) => writeln!(text, "  none: there was nobody to ask"),
            (Some(_), _) => writeln!(text, "  none"),
            (None, _) => writeln!(text, "  none: such a name is nobody's in this domain"),
        };
    }
    let width = shown.searches.iter().map(|search| search.purpose.chars().count()).max().unwrap_or_default();
    writeln!(text, "{}", paint.faint(&format!("   #  {:<width$}        ms  found  where", "for")))?;
    for (number, search) in (1..).zip(&shown.searches) {
        write_search(text, number, search, width, shown, paint)?;
    }
    if shown.unlisted_searches > 0 {
        writeln!(text, "      and {} more", shown.unlisted_searches)?;
    }
    let all = shown.milliseconds.unwrap_or_default();
    writeln!(text, "      {:<width$}  {all:>8.1}         with the connection", "all")
}

fn write_search(
    text: &mut String,
    number: usize,
    search: &SearchShown,
    width: usize,
    shown: &Shown,
    paint: Paint,
) -> Result {
    let found = search.entries.map_or("-".to_owned(), |entries| match search.cut {
        Some(_) => format!("{entries}+"),
        None => entries.to_string(),
    });
    let place = match (search.scope, search.base.as_str()) {
        (_, "") => "the root".to_owned(),
        ("base", base) => base.to_owned(),
        ("one", base) => format!("directly below {base}"),
        (_, base) => format!("below {base}"),
    };
    let (purpose, ms) = (&search.purpose, search.milliseconds);
    writeln!(text, "  {number:>2}  {purpose:<width$}  {ms:>8.1}  {found:>5}  {}", one_line(&place))?;
    writeln!(text, "      {}", paint.faint(&filter(&search.filter)))?;
    let mut asked = match search.attributes.len() {
        count if count > MAX_ATTRIBUTES => format!("asks for {count} attributes (-o json lists them)"),
        _ => format!("asks for {}", search.attributes.join(" ")),
    };
    if let Some(limit) = search.limit {
        let _written = write!(asked, "; at most {limit}");
    }
    for oid in &search.controls {
        let _written = match (oid.as_str(), search.pages) {
            (PAGED_RESULTS, 0) => write!(asked, "; in pages"),
            (PAGED_RESULTS, 1) => write!(asked, "; in one page"),
            (PAGED_RESULTS, pages) => write!(asked, "; in {pages} pages"),
            (MATCHED_VALUES, _) => write!(asked, "; only values that matter"),
            (other, _) => write!(asked, "; with the control {other}"),
        };
    }
    writeln!(text, "      {}", paint.faint(&one_line(&asked)))?;
    if let Some(cut) = &search.cut {
        writeln!(text, "      {}", paint.doubtful(&format!("cut short: {cut}")))?;
    }
    if let Some(error) = &search.error {
        writeln!(text, "      {}", paint.bad(&format!("failed: {}", one_line(error))))?;
    }
    let met = shown.server.as_ref().map(|server| server.url.as_str());
    match search.server.as_deref() {
        Some(server) if Some(server) != met => writeln!(text, "      answered by {}", one_line(server)),
        _ => Ok(()),
    }
}

fn write_person(text: &mut String, shown: &Shown, paint: Paint) -> Result {
    if shown.considered.is_empty() && shown.dn.is_none() {
        return Ok(());
    }
    section(text, paint, "person")?;
    if let Some(dn) = &shown.dn {
        writeln!(text, "  dn         {}", one_line(dn))?;
    }
    if let Some(id) = &shown.id {
        writeln!(text, "  id         {}", one_line(id))?;
    }
    for considered in &shown.considered {
        let names: Vec<String> =
            considered.names.iter().map(|name| format!("{}: {}", name.attribute, name.value)).collect();
        let names = one_line(&names.join(", ")).into_owned();
        match considered.verdict {
            "taken" => writeln!(text, "  names      {names}")?,
            "other name" => writeln!(
                text,
                "  not        {}  ({names}: another name, though the directory takes it for the same)",
                one_line(&considered.dn)
            )?,
            _ => writeln!(text, "  perhaps    {}  ({names})", one_line(&considered.dn))?,
        }
    }
    Ok(())
}

fn write_state(text: &mut String, state: &AccountShown, paint: Paint) -> Result {
    let said = match (state.holds, state.detail.as_deref(), state.state) {
        (None, ..) => "cannot be read".to_owned(),
        // That somebody is no entry, or several, is not the directory's to say.
        (Some(true), None, _) => "yes".to_owned(),
        (Some(false), None, "account/ambiguous" | "account/not-found") => "no".to_owned(),
        (Some(false), None, "account/expired") => "no date".to_owned(),
        (Some(false), None, _) => "not said".to_owned(),
        // A date, or a lock that ended.
        (Some(true), Some(detail), _) if !detail.starts_with("yes") => format!("yes, {detail}"),
        (Some(false), Some(detail), _) if !detail.starts_with("no") => format!("no, {detail}"),
        (Some(_), Some(detail), _) => detail.to_owned(),
    };
    let does = match (state.denies, state.setting) {
        (Some(true), _) => paint.bad("Deny: everything is refused"),
        (None, _) => paint.bad("Deny: everything is refused, for it may be so"),
        (Some(false), "Deny") => "Deny, if it were so".to_owned(),
        (Some(false), setting) => setting.to_owned(),
    };
    writeln!(text, "  {:<24}  {said:<14}  {does}", state.state)
}

fn write_groups(text: &mut String, shown: &Shown, paint: Paint) -> Result {
    section(text, paint, "groups")?;
    for of in &shown.groups {
        write!(text, "  {}", one_line(&of.group.path.join(" < ")))?;
        if of.group.dn.is_none() {
            write!(text, "  {}", paint.doubtful("(the directory does not say what it stands for)"))?;
        }
        writeln!(text)?;
    }
    match shown.partial_because {
        Some(why) => {
            writeln!(text, "  {}", paint.doubtful(&format!("and perhaps more, which are unknown: {why}")))
        }
        None if shown.groups.is_empty() => writeln!(text, "  none"),
        None => Ok(()),
    }
}

fn write_held(text: &mut String, shown: &Shown) -> Result {
    let service = &shown.service;
    let address = &service.address;
    let Some(held) = &service.holds else {
        let why = service.silent_because.as_deref().unwrap_or_default();
        return writeln!(text, "  the service at {address} does not say what it holds: {}", one_line(why));
    };
    if held.is("/outside") {
        let why = held.text("/outsideBecause");
        return writeln!(
            text,
            "  to the service at {address} this is no user of the directory: {}",
            one_line(why)
        );
    }
    let state = held.text("/state");
    let answers = match state {
        "fresh" => "a review is answered from them at once",
        "soft" => "a review is answered from them at once, and they are read again behind it",
        "hard" => "a review waits until they are read again: they are too old to allow anything",
        "invalid" => "a review waits until they are read again: the directory changed since",
        _ => "a review waits until the directory has answered",
    };
    if state == "absent" {
        writeln!(text, "  the service at {address} holds nothing of this user")?;
    } else {
        let age = ago(held.number("/ageSeconds"));
        writeln!(text, "  the service at {address} holds facts: {}, read {age}", one_line(state))?;
    }
    writeln!(text, "  {answers}")?;
    if let Some(seconds) = held.number("/confirmed/secondsAgo") {
        let gap = if held.is("/confirmed/gapless") { "" } else { "; it may have missed something since" };
        writeln!(text, "  the change feed vouched for them {}{gap}", ago(Some(seconds)))?;
    }
    if held.is("/loading") {
        writeln!(text, "  they are being read now")?;
    }
    if held.has("/backingOff") {
        let why = held.text("/backingOff/why");
        let left = held.number("/backingOff/secondsLeft").unwrap_or_default();
        writeln!(text, "  they could not be read: {}; not tried again for {left:.1} s", one_line(why))?;
    }
    write_differences(text, shown)?;
    write_feed(text, held)?;
    let caller = &shown.caller;
    writeln!(
        text,
        "  the API server keeps an Allow for {} s and anything else for {} s, and cannot be asked",
        caller.authorized_ttl_seconds, caller.unauthorized_ttl_seconds
    )
}

fn write_differences(text: &mut String, shown: &Shown) -> Result {
    let Some(differs) = &shown.differs else { return Ok(()) };
    if differs.missing.is_empty() && differs.besides.is_empty() {
        return writeln!(text, "  they have the groups above");
    }
    for (what, groups) in [("lack", &differs.missing), ("have besides", &differs.besides)] {
        if groups.is_empty() {
            continue;
        }
        let listed: Vec<&str> = groups.iter().take(MAX_DIFFERENCES).map(String::as_str).collect();
        let more = match groups.len().saturating_sub(listed.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        writeln!(text, "  they {what} {}{more}", one_line(&listed.join("; ")))?;
    }
    Ok(())
}

fn write_feed(text: &mut String, held: &Holds) -> Result {
    if !held.has("/feed") {
        return writeln!(text, "  there is no change feed: what changes is seen when facts age");
    }
    let mechanism = match held.text("/feed/mechanism") {
        "" => "the change feed".into(),
        mechanism => one_line(mechanism),
    };
    if !held.is("/feed/up") {
        let trouble = one_line(held.text("/feed/trouble"));
        return writeln!(text, "  {mechanism} is down, so changes are seen when facts age: {trouble}");
    }
    let server = one_line(held.text("/feed/server"));
    let what = match held.is("/feed/complete") {
        true => "tells of every change",
        false => "tells of changes, but not of what is deleted",
    };
    write!(text, "  {mechanism} at {server} {what}")?;
    match held.number("/feed/confirmedSecondsAgo") {
        Some(seconds) => writeln!(text, ", and did {}", ago(Some(seconds))),
        None => writeln!(text),
    }
}

fn section(text: &mut String, paint: Paint, name: &str) -> Result {
    writeln!(text, "\n{}", paint.bold(name))
}

/// A filter, cut where it is very long.
fn filter(filter: &str) -> String {
    match filter.char_indices().nth(MAX_FILTER_CHARS) {
        Some((end, _)) => format!(
            "{}… ({} characters; -o json shows all of it)",
            one_line(filter.get(..end).unwrap_or_default()),
            filter.chars().count()
        ),
        None => one_line(filter).into_owned(),
    }
}

fn ago(seconds: Option<f64>) -> String {
    match seconds {
        None => "at an unknown time".to_owned(),
        Some(seconds) if seconds < 10.0 => format!("{seconds:.1} s ago"),
        Some(seconds) if seconds < 600.0 => format!("{seconds:.0} s ago"),
        Some(seconds) => format!("{:.0} min ago", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::super::held::Service;
    use super::*;
    use crate::eval::Settings;

    /// What is said of the cache where the service answers this.
    fn said(answer: Value) -> String {
        let service = Service {
            address: "127.0.0.1:1".to_owned(),
            holds: Some(Holds::new(answer)),
            silent_because: None,
        };
        let shown = Shown::new(
            "alice",
            Ok("alice".to_owned()),
            "",
            None,
            &Settings::default(),
            service,
            Timestamp::UNIX_EPOCH,
        );
        text(&shown, Paint::plain()).split_once("\ncache\n").unwrap().1.to_owned()
    }

    #[test]
    fn whatever_the_service_says_of_itself_is_put_in_words() {
        for (answer, expected) in [
            (
                json!({"state": "absent"}),
                "holds nothing of this user\n  a review waits until the directory has answered\n",
            ),
            (
                json!({"state": "soft", "ageSeconds": 61.2}),
                "holds facts: soft, read 61 s ago\n  a review is answered from them at once, and they are read again",
            ),
            (json!({"state": "hard", "ageSeconds": 1200.0}), "read 20 min ago\n  a review waits"),
            (
                json!({"state": "fresh", "confirmed": {"secondsAgo": 0.4, "gapless": false}}),
                "vouched for them 0.4 s ago; it may have missed something since\n",
            ),
            (json!({"state": "absent", "loading": true}), "they are being read now\n"),
            (
                json!({"state": "absent", "backingOff": {"why": "down\u{1b}[2J", "secondsLeft": 0.61}}),
                "they could not be read: down\\u{1b}[2J; not tried again for 0.6 s\n",
            ),
            (json!({"state": "fresh", "feed": null}), "there is no change feed"),
            (
                json!({"state": "fresh", "feed": {"mechanism": "dirsync", "up": false, "trouble": "cut"}}),
                "dirsync is down, so changes are seen when facts age: cut\n",
            ),
            (
                json!({"state": "fresh", "feed": {"mechanism": null, "up": false, "trouble": "never"}}),
                "the change feed is down, so changes are seen when facts age: never\n",
            ),
            (
                json!({"state": "fresh", "feed": {"mechanism": "usn", "up": true, "complete": false, "server": "s"}}),
                "usn at s tells of changes, but not of what is deleted\n",
            ),
            (json!({"outside": true, "outsideBecause": "so"}), "this is no user of the directory: so\n"),
            (json!({"state": "new\nword"}), "holds facts: new\\nword"),
            (json!({"state": "fresh"}), "keeps an Allow for 300 s and anything else for 30 s"),
        ] {
            let said = said(answer.clone());
            assert!(said.contains(expected), "{answer}: {said}");
        }
    }

    #[test]
    fn a_very_long_filter_is_cut_between_characters() {
        let long = "é".repeat(MAX_FILTER_CHARS + 10);
        let shown = filter(&long);
        assert!(shown.starts_with(&"é".repeat(MAX_FILTER_CHARS)), "{shown}");
        assert!(shown.ends_with("… (410 characters; -o json shows all of it)"), "{shown}");
        assert_eq!(filter("(a=\u{9b})"), "(a=\\u{9b})");
    }
}

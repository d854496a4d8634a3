//! Searches in pages (RFC 2696).
//!
//! OpenLDAP keeps the place of one paged search for each connection, and a second one makes it forget the first, so a
//! paged search that needs more than its first page has a connection to itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use ldap3::controls::{PagedResults, RawControl};

use super::LookupError;
use super::about::PAGED_RESULTS;
use super::conn::{Connection, Cut, Found, Query};
use super::frame::Elements;
use super::search::{Part, Room};

/// How many entries a page has; Active Directory gives at most 1000 (MaxPageSize).
const PAGE: i32 = 500;
/// So many pages in a row without an entry, and with a promise of more, are a server that never ends.
const MAX_EMPTY_PAGES: u32 = 16;

/// The first page of a search: all of it where `Ok`, otherwise a search that needs more pages.
pub(super) async fn first_page(
    connection: &Arc<Connection>,
    query: &Query,
    asked: Instant,
    deadline: Instant,
) -> Result<Option<Found>, LookupError> {
    let (part, _) =
        connection.part(asked, query.clone(), vec![request(Vec::new())], Room::of(query), deadline).await?;
    let is_whole = part.cut.is_some() || cookie(&part)?.is_empty();
    Ok(is_whole.then(|| connection.found(part.entries, part.cut, 1)))
}

/// All pages of a search, on a connection that has no other search.
pub(super) async fn pages(
    connection: &Arc<Connection>,
    query: &Query,
    asked: Instant,
    deadline: Instant,
) -> Result<Found, LookupError> {
    let mut asked = asked;
    let mut room = Room::of(query);
    let mut place = Vec::new();
    let mut entries = Vec::new();
    let mut beginnings = HashSet::new();
    let (mut empty, mut count) = (0, 0_u32);
    loop {
        count = count.saturating_add(1);
        let (part, left) =
            connection.part(asked, query.clone(), vec![request(place)], room, deadline).await?;
        asked = Instant::now();
        room = left;
        place = cookie(&part)?;
        match part.entries.first() {
            // Some servers give one cookie for all pages, so that a cookie which comes again says nothing. A page that
            // begins as one before it does.
            Some(first) if !beginnings.insert(first.dn.as_str().to_owned()) => return Err(ENDLESS),
            Some(_) => empty = 0,
            None => empty += 1,
        }
        entries.extend(part.entries);
        if part.cut.is_some() || place.is_empty() {
            return Ok(connection.found(entries, part.cut, count));
        }
        if room.entries == 0 {
            return Ok(connection.found(entries, Some(Cut::ByUs), count));
        }
        if empty > MAX_EMPTY_PAGES {
            return Err(ENDLESS);
        }
    }
}

const ENDLESS: LookupError = LookupError::Protocol("a paged result that has no end");

/// The control of a request. It is critical: a server that does not know it is not to send everything.
fn request(cookie: Vec<u8>) -> RawControl {
    RawControl { crit: true, ..PagedResults { size: PAGE, cookie }.into() }
}

/// The place where the next page begins; empty where there is none.
fn cookie(part: &Part) -> Result<Vec<u8>, LookupError> {
    let Some(control) = part.controls.iter().find(|control| control.ctype == PAGED_RESULTS) else {
        return Ok(Vec::new());
    };
    let value = control.val.as_deref().unwrap_or_default();
    let mut parts = match Elements::of(value).next() {
        Some((0x30, parts)) => Elements::of(parts),
        _ => return Err(MALFORMED),
    };
    match (parts.next(), parts.next()) {
        (Some((0x02, _)), Some((0x04, cookie))) => Ok(cookie.to_vec()),
        _ => Err(MALFORMED),
    }
}

const MALFORMED: LookupError = LookupError::Protocol("a malformed paged results control");

#[cfg(test)]
mod tests;

//! Values that come in ranges (MS-ADTS 3.1.1.3.1.3.3): a server that gives at most so many values of an attribute at once
//! returns `member;range=0-1499`, and no value under the plain name. What is missing is asked for until all of it is there.

use ldap3::Scope;

use super::LookupError;
use super::entry::Entry;
use super::resolve::Search;
use super::search::{Found, Query, Step};

/// The most further searches that one search's ranges may take: with 1,500 values each, that many values are 300,000.
const MAX_RANGES: usize = 200;

/// Searches, and completes every attribute of which only a range came.
///
/// # Errors
/// Those of the searches; and where the ranges do not come to an end.
pub(super) async fn search(directory: &impl Search, query: Query) -> Result<Found, LookupError> {
    search_up_to(directory, query, u64::MAX).await
}

/// The same, but for attributes with more values than this.
///
/// # Errors
/// As [`search`]; and where an attribute has more values, of which no more are read than is needed to know.
pub(super) async fn search_up_to(
    directory: &impl Search,
    query: Query,
    max_values: u64,
) -> Result<Found, LookupError> {
    let controls = query.controls.clone();
    let mut found = directory.search(query).await?;
    let mut left = MAX_RANGES;
    for entry in &mut found.entries {
        complete(directory, entry, &controls, max_values, &mut left).await?;
    }
    Ok(found)
}

async fn complete(
    directory: &impl Search,
    entry: &mut Entry,
    controls: &[ldap3::controls::RawControl],
    max_values: u64,
    left: &mut usize,
) -> Result<(), LookupError> {
    while let Some(range) = entry.open_range() {
        if range.next > max_values {
            return Err(LookupError::Protocol("an attribute with too many values"));
        }
        *left = left.checked_sub(1).ok_or(LookupError::Protocol("too many ranges of values"))?;
        let query = Query {
            attributes: vec![format!("{};range={}-*", range.name, range.next)],
            limit: 1,
            controls: controls.to_vec(),
            step: Step::Range,
            ..Query::new(entry.dn.as_str().to_owned(), Scope::Base)
        };
        let more = directory.search(query).await?;
        let more = more.entries.into_iter().next();
        if !more.is_some_and(|more| entry.extend_range(&range, more)) {
            return Err(LookupError::Protocol("a range of values that does not go on"));
        }
    }
    Ok(())
}

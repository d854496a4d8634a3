//! One search: what is asked, what was found, and how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::controls::{MatchedValues, RawControl};
use ldap3::{Ldap, LdapError, ResultEntry, Scope, SearchOptions, SearchStream};

use super::bridge::State;
use super::entry::Entry;
use super::link::Link;
use super::{LookupError, ResultCode};

/// The largest limit of entries that a server is told.
const MAX_TOLD_LIMIT: i32 = 100;
/// The most that one search may return, in bytes of names and values, all pages together.
const MAX_RESULT_BYTES: usize = 16 << 20;
/// How long an abandoned search may take to be told to the server.
pub(super) const ABANDON: Duration = Duration::from_millis(200);

/// A search of `ldap3`'s that is not adapted: `finish` frees the message id of such a one only.
pub(super) type RawStream = SearchStream<'static, String, Vec<String>>;

/// One search.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) base: String,
    pub(super) scope: Scope,
    pub(super) filter: String,
    pub(super) attributes: Vec<String>,
    /// The most entries to return.
    pub(super) limit: usize,
    /// Which values to return (RFC 3876), where the server can choose; where it cannot, it returns them all.
    pub(super) only_values: Option<String>,
    /// Whether the search may be done in pages (RFC 2696), where the server can: that of Active Directory always is,
    /// since it gives no more than a page of it otherwise; that of others, where the size limit cut it.
    pub(super) paged: bool,
    /// Sent with the search, beside those that the other fields stand for.
    pub(super) controls: Vec<RawControl>,
    /// What it is for; nothing of it is sent.
    pub(super) step: Step,
}

/// Which step of finding out about somebody a search is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Step {
    /// Finds the person.
    Person,
    /// Reads `tokenGroups` of the person.
    TokenGroups,
    /// Asks what security identifiers stand for.
    GroupNames,
    /// Finds the groups of a level: the first are those that the person is in.
    Groups(usize),
    /// Reads a further range of values of one attribute.
    Range,
    /// Shows that `memberOf` is maintained.
    Proof,
    /// Something else.
    #[default]
    Other,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Set where there may be more.
    pub(super) cut: Option<Cut>,
    /// Who answered.
    pub(super) server: ServerId,
    /// In how many pages it came; 0 where it was not asked for in pages.
    pub(super) pages: u32,
}

/// Who cut a result short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// We did: there are more entries than were asked for.
    ByUs,
    /// The server did (result codes 3, 4, 11), or more than 16 MiB came.
    ByServer(ResultCode),
}

/// Which server: its URL, as it is in the configuration or as SRV records make it; and which of those behind it, where it says
/// so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServerId {
    label: Arc<str>,
    /// One name in the DNS often stands for all servers. Active Directory says which it is (`dsServiceName`); another is told
    /// by the address of the connection.
    service: Option<Arc<str>>,
}

/// What one search operation brought, which is a page where the search is paged.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) entries: Vec<Entry>,
    pub(super) cut: Option<Cut>,
    /// The controls of the result, as they came.
    pub(super) controls: Vec<RawControl>,
}

/// How much a search may still return.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) entries: usize,
    bytes: usize,
}

impl Query {
    /// A search for everything there; what it asks for, and how much, is to be filled in.
    pub(super) fn new(base: String, scope: Scope) -> Self {
        Self {
            base,
            scope,
            filter: "(objectClass=*)".to_owned(),
            attributes: Vec::new(),
            limit: usize::MAX,
            only_values: None,
            paged: false,
            controls: Vec::new(),
            step: Step::default(),
        }
    }
}

/// Asks for the root DSE and nothing of it: shows that the server answers. No attribute is `1.1` (RFC 4511, 4.5.1.8).
pub(super) fn ping() -> Query {
    Query { attributes: vec!["1.1".to_owned()], limit: 1, ..Query::new(String::new(), Scope::Base) }
}

impl ServerId {
    pub(super) fn new(label: Arc<str>) -> Self {
        Self { label, service: None }
    }

    /// That one of those behind the URL.
    pub(super) fn of_service(self, service: &Arc<str>) -> Self {
        Self { service: Some(Arc::clone(service)), ..self }
    }

    /// Whether both have one URL.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        self.label == other.label
    }
}

impl std::fmt::Display for ServerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label)
    }
}

impl Room {
    pub(super) fn of(query: &Query) -> Self {
        Self { entries: query.limit, bytes: MAX_RESULT_BYTES }
    }
}

/// A search that is under way.
pub(super) struct Running {
    stream: Option<RawStream>,
    ldap: Ldap,
    state: Arc<State>,
    is_bound: bool,
    is_begun: bool,
}

impl Running {
    pub(super) fn new(link: &Link, is_bound: bool) -> Self {
        let (ldap, state) = (link.ldap.clone(), link.state.clone());
        Self { stream: None, ldap, state, is_bound, is_begun: false }
    }

    /// Sends the search, with these controls beside its own, and gathers what comes, for as long as there is room.
    pub(super) async fn collect(
        &mut self,
        query: &Query,
        more_controls: Vec<RawControl>,
        room: &mut Room,
        until: Instant,
    ) -> Result<Part, LookupError> {
        let seconds = until.saturating_duration_since(Instant::now()).as_secs() + 1;
        let told = if more_controls.is_empty() { size_limit(query.limit) } else { 0 };
        self.ldap.with_search_options(
            SearchOptions::new().sizelimit(told).timelimit(i32::try_from(seconds).unwrap_or(i32::MAX)),
        );
        let mut controls = query.controls.clone();
        controls.extend(query.only_values.as_deref().map(MatchedValues::new));
        controls.extend(more_controls);
        if !controls.is_empty() {
            self.ldap.with_controls(controls);
        }
        self.is_begun = true;
        let searching =
            self.ldap.streaming_search(&query.base, query.scope, &query.filter, query.attributes.clone());
        let stream = self.stream.insert(searching.await.map_err(ldap_error)?);
        let id = stream.ldap_handle().last_id();
        let mut part = Part { entries: Vec::new(), cut: None, controls: Vec::new() };
        while let Some(result) = stream.next().await.map_err(ldap_error)? {
            self.state.was_read(id);
            if !is_entry(&result) {
                continue;
            }
            if part.entries.len() >= room.entries {
                part.cut = Some(Cut::ByUs);
                return Ok(part);
            }
            let entry = Entry::decode(result)?;
            let Some(left) = room.bytes.checked_sub(entry.size()) else {
                part.cut = Some(Cut::ByServer(ResultCode::ADMIN_LIMIT));
                return Ok(part);
            };
            room.bytes = left;
            part.entries.push(entry);
        }
        let Some(result) = stream.res.as_mut() else { return Err(LookupError::Lost) };
        part.controls = std::mem::take(&mut result.ctrls).into_iter().map(|control| control.1).collect();
        part.cut = match ResultCode(result.rc) {
            ResultCode(0) => None,
            ResultCode::SIZE_LIMIT if part.entries.len() >= room.entries => Some(Cut::ByUs),
            code if code.is_limit() => Some(Cut::ByServer(code)),
            // The connection is of no use any more, and another one is.
            code if self.is_bound && code.says_unbound(&result.text) => return Err(LookupError::Lost),
            code => return Err(LookupError::Refused(code)),
        };
        room.entries -= part.entries.len();
        Ok(part)
    }

    /// Tells the server to stop where the search did not come to its end, and frees the message id.
    pub(super) async fn finish(mut self) {
        let Some(mut stream) = self.stream.take() else {
            if self.is_begun && self.state.is_paced() {
                // It may have been sent, and nobody knows its message id: what comes could never be told to be read.
                self.state.kill();
            }
            return;
        };
        let id = stream.ldap_handle().last_id();
        finish(self.ldap, stream).await;
        self.state.is_over(id);
    }
}

/// Abandons a search that has no result yet (RFC 4511, 4.11), and frees its message id.
pub(super) async fn finish(mut ldap: Ldap, mut stream: RawStream) {
    if stream.res.is_none() {
        let id = stream.ldap_handle().last_id();
        let _ = tokio::time::timeout(ABANDON, ldap.abandon(id)).await;
    }
    let _ = stream.finish().await;
}

/// The limit that the server is told; 0 leaves it to the server. OpenLDAP refuses a search that asks for more than a hard
/// limit of its own, instead of giving what it would, so large limits are only kept by ourselves.
fn size_limit(limit: usize) -> i32 {
    i32::try_from(limit).ok().filter(|limit| *limit <= MAX_TOLD_LIMIT).unwrap_or(0)
}

/// Neither a reference to another server, which is not followed, nor an intermediate response.
fn is_entry(result: &ResultEntry) -> bool {
    !result.is_ref() && !result.is_intermediate()
}

pub(super) fn ldap_error(error: LdapError) -> LookupError {
    match error {
        LdapError::Timeout { .. } => LookupError::TimedOut,
        LdapError::FilterParsing => LookupError::Protocol("a filter that cannot be sent"),
        LdapError::LdapResult { result } => LookupError::Refused(ResultCode(result.rc)),
        _ => LookupError::Lost,
    }
}

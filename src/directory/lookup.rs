//! A resolution that is watched: what was asked, what came of it, how long it took. For whoever wants to know why somebody is
//! in a group, or is not.
//!
//! It is the resolution that serves: what is recorded stands between the [resolver](super::resolve) and the pool, and
//! changes nothing of what is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ldap3::Scope;

use super::about::{About, PAGED_RESULTS};
use super::conn::{Found, Query, ServerId};
use super::entry::Entry;
use super::filter::readable;
use super::resolve::{Resolver, Search};
use super::search::{Cut, Step};
use super::settings::{Flavour, Strategy, word};
use super::{LookupError, Session};
use crate::model::Facts;

/// How many searches are recorded; further ones are counted. One resolution is bounded by `groupSearch.maxDepth` and
/// `maxGroups`.
const MAX_SEARCHES: usize = 2_000;
/// The control that chooses values (RFC 3876).
const MATCHED_VALUES: &str = "1.2.826.0.1.3344810.2.3";

/// Why something is as it is.
const CONFIGURED: &str = "as configured";

/// One resolution, with everything that led to its result.
#[derive(Debug)]
pub struct Lookup {
    /// The server that was met; `None` where none could be used.
    pub server: Option<Met>,
    /// How the groups are found there; `None` where no server could be used.
    pub approach: Option<Approach>,
    /// The searches in the order in which they were sent.
    pub searches: Vec<Searched>,
    /// How many searches more there were than are listed.
    pub unlisted: usize,
    /// The entries that the directory found by the user's name, and what was made of each.
    pub considered: Vec<Considered>,
    /// How long all of it took.
    pub took: Duration,
    /// What the service would hold of the user, or why nothing could be found out.
    pub result: Result<Facts, LookupError>,
}

/// A server that was met.
#[derive(Debug, Clone)]
pub struct Met {
    /// Its URL, as it is in the configuration or as SRV records make it.
    pub url: String,
    /// What it said of itself.
    pub about: Arc<About>,
    /// How long it took until there was a connection to it, bound and ready; nearly nothing where there was one.
    pub after: Duration,
}

/// How groups are found, and why so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approach {
    /// `directory.ldap.flavour`: never `auto`.
    pub flavour: Chosen,
    /// `directory.ldap.groupSearch.strategy`: never `auto`.
    pub strategy: Chosen,
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The word of the configuration.
    pub word: &'static str,
    /// Why this one.
    pub why: &'static str,
}

/// One search as it was sent.
#[derive(Debug, Clone)]
pub struct Searched {
    /// What it is for.
    pub step: Step,
    /// The DN that it begins at.
    pub base: String,
    /// `base`, `one` or `sub`.
    pub scope: &'static str,
    /// RFC 4515. Security identifiers, which are sent as bytes, are written `S-1-...`; Active Directory takes both.
    pub filter: String,
    /// What is asked for of each entry.
    pub attributes: Vec<String>,
    /// The most entries that were wanted; `None`: all.
    pub limit: Option<usize>,
    /// OIDs of the controls that were sent with it.
    pub controls: Vec<String>,
    /// From when it was asked for until its answer was there: waiting for a connection and a second try included.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer.
    Found {
        /// How many entries.
        entries: usize,
        /// Set where there may be more.
        cut: Option<Cut>,
        /// In how many pages (RFC 2696); 0 where it was not asked for in pages.
        pages: u32,
        /// Whose answer it is: the URL.
        server: String,
    },
    /// None.
    Failed(LookupError),
    /// None by the time that the whole look-up ended.
    Unanswered,
}

/// An entry that the directory found by the user's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// Its DN.
    pub dn: String,
    /// The names that are on it: attribute and value.
    pub names: Vec<(String, String)>,
    /// What was made of it.
    pub verdict: Verdict,
}

/// What was made of an entry that the directory found by the user's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the user's.
    Taken,
    /// It has another name: the directory compares more loosely than `userSearch.match`.
    OtherName,
    /// It is one of several, so that whose the name is cannot be told.
    OneOfSeveral,
}

impl Approach {
    /// What was made of these words of the configuration; `strategy` is the one in use.
    pub(super) fn of(about: &About, flavour: Flavour, configured: Strategy, strategy: Strategy) -> Self {
        let is_active_directory = about.is_active_directory();
        let flavour = match (flavour, is_active_directory) {
            (Flavour::Auto, true) => (Flavour::ActiveDirectory, "`auto`: the server is Active Directory"),
            (Flavour::Auto, false) => (Flavour::OpenLdap, "`auto`: the server is not Active Directory"),
            (flavour, _) => (flavour, CONFIGURED),
        };
        let why = match (configured, is_active_directory) {
            (Strategy::Auto, true) => "`auto`: the best that Active Directory has",
            (Strategy::Auto, false) => "`auto`: every directory can do it",
            _ => CONFIGURED,
        };
        Self {
            flavour: Chosen { word: word(flavour.0, &Flavour::WORDS), why: flavour.1 },
            strategy: Chosen { word: word(strategy, &Strategy::WORDS), why },
        }
    }
}

impl Considered {
    /// An entry, with these attributes of it.
    pub(super) fn of(entry: &Entry, attributes: &[&str], verdict: Verdict) -> Self {
        let mut names = Vec::new();
        for attribute in attributes {
            let values = entry.texts(&attribute.to_ascii_lowercase()).unwrap_or_default();
            names.extend(values.into_iter().map(|value| ((*attribute).to_owned(), value.to_owned())));
        }
        Self { dn: entry.dn.as_str().to_owned(), names, verdict }
    }
}

impl Step {
    /// What it is for, in words.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Person => "the person".to_owned(),
            Self::TokenGroups => "tokenGroups".to_owned(),
            Self::GroupNames => "what groups are called".to_owned(),
            Self::Groups(level) => format!("groups, level {level}"),
            Self::Range => "a further range".to_owned(),
            Self::Proof => "proof of memberOf".to_owned(),
            Self::Other => "something else".to_owned(),
        }
    }
}

/// What was recorded so far. It outlives a resolution that is given up.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    met: Option<Met>,
    searches: Vec<Searched>,
    unlisted: usize,
    considered: Vec<Considered>,
}

/// The searches of a session, recorded.
pub(super) struct Recording<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) log: &'a Log,
}

impl Search for Recording<'_> {
    async fn search(&self, query: Query) -> Result<Found, LookupError> {
        let (place, sent) = (self.log.begin(&query), Instant::now());
        let result = self.session.search(query).await;
        self.log.end(place, sent.elapsed(), &result);
        result
    }

    async fn about(&self) -> Result<Arc<About>, LookupError> {
        let begun = Instant::now();
        let (server, about) = self.session.meet().await?;
        self.log.met(&server, &about, begun.elapsed());
        Ok(about)
    }

    fn remark(&self, considered: impl FnOnce() -> Considered) {
        self.log.recorded().considered.push(considered());
    }
}

impl Log {
    /// The look-up that this is the log of.
    pub(super) fn told(
        &self,
        resolver: &Resolver,
        took: Duration,
        result: Result<Facts, LookupError>,
    ) -> Lookup {
        let Recorded { met, searches, unlisted, considered } = std::mem::take(&mut *self.recorded());
        let approach = met.as_ref().map(|met| resolver.approach(&met.about));
        Lookup { server: met, approach, searches, unlisted, considered, took, result }
    }

    fn begin(&self, query: &Query) -> Option<usize> {
        let mut recorded = self.recorded();
        if recorded.searches.len() >= MAX_SEARCHES {
            recorded.unlisted = recorded.unlisted.saturating_add(1);
            return None;
        }
        // A page is asked for by ourselves where the server is Active Directory, or because of what it answered.
        let is_paged = query.paged
            && recorded
                .met
                .as_ref()
                .is_some_and(|met| met.about.is_active_directory() && met.about.supports(PAGED_RESULTS));
        recorded.searches.push(Searched::of(query, is_paged));
        recorded.searches.len().checked_sub(1)
    }

    fn end(&self, place: Option<usize>, took: Duration, result: &Result<Found, LookupError>) {
        let mut recorded = self.recorded();
        let Some(searched) = place.and_then(|place| recorded.searches.get_mut(place)) else { return };
        searched.took = took;
        searched.outcome = match result {
            Ok(found) => {
                if found.pages > 0 && !searched.controls.iter().any(|oid| oid == PAGED_RESULTS) {
                    searched.controls.push(PAGED_RESULTS.to_owned());
                }
                Outcome::Found {
                    entries: found.entries.len(),
                    cut: found.cut,
                    pages: found.pages,
                    server: found.server.to_string(),
                }
            }
            Err(error) => Outcome::Failed(error.clone()),
        };
    }

    fn met(&self, server: &ServerId, about: &Arc<About>, after: Duration) {
        // The first is the one that the resolution goes by.
        self.recorded().met.get_or_insert_with(|| Met {
            url: server.to_string(),
            about: Arc::clone(about),
            after,
        });
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Searched {
    fn of(query: &Query, is_paged: bool) -> Self {
        let mut controls: Vec<String> = query.controls.iter().map(|control| control.ctype.clone()).collect();
        controls.extend(query.only_values.as_ref().map(|_| MATCHED_VALUES.to_owned()));
        controls.extend(is_paged.then(|| PAGED_RESULTS.to_owned()));
        Self {
            step: query.step,
            base: query.base.clone(),
            scope: match query.scope {
                Scope::Base => "base",
                Scope::OneLevel => "one",
                Scope::Subtree => "sub",
            },
            filter: readable(&query.filter),
            attributes: query.attributes.clone(),
            limit: Some(query.limit).filter(|limit| *limit < usize::MAX),
            controls,
            took: Duration::ZERO,
            outcome: Outcome::Unanswered,
        }
    }
}

#[cfg(test)]
mod tests;

//! A look-up in words. Its JSON form is what `-o json` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::super::Exit;
use super::held::Service;
use crate::authz::{FactsShown, GroupShown};
use crate::directory::{
    self, Chosen, Considered, Cut, Outcome, Outside, Searched, ServerKind, Step, Verdict,
};
use crate::eval::{self, AccountEffect, AccountProblem, account_findings};
use crate::model::{AccountState, Facts, Partial, Person};

/// Everything that is shown of one user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    /// The cluster's name for the user.
    pub(super) user: String,
    /// The directory's; `null` where the user is none of the directory's.
    pub(super) directory_name: Option<String>,
    /// `found`, `not found`, `ambiguous`, `outside` (none of the directory's) or `unknown` (could not be found out).
    pub(super) person: &'static str,
    /// Why the user is none of the directory's.
    pub(super) outside_because: Option<String>,
    /// Why it could not be found out.
    pub(super) error: Option<String>,
    /// What was taken off the cluster's name.
    pub(super) stripped_prefix: Option<String>,
    /// The server that was asked.
    pub(super) server: Option<ServerShown>,
    pub(super) flavour: Option<ChosenShown>,
    pub(super) strategy: Option<ChosenShown>,
    /// How long all of it took.
    pub(super) milliseconds: Option<f64>,
    pub(super) searches: Vec<SearchShown>,
    /// How many searches more there were.
    pub(super) unlisted_searches: usize,
    /// The entries that were found by the user's name.
    pub(super) considered: Vec<ConsideredShown>,
    pub(super) dn: Option<String>,
    /// The entry's stable identity.
    pub(super) id: Option<String>,
    pub(super) account: Vec<AccountShown>,
    /// Whether account state refuses everything that the user asks for; `null` where that cannot be told.
    pub(super) account_denies: Option<bool>,
    pub(super) groups: Vec<GroupOf>,
    /// Why there may be more groups.
    pub(super) partial_because: Option<&'static str>,
    /// The attributes; `null` where the values cannot be read.
    pub(super) attributes: BTreeMap<String, Option<Vec<String>>>,
    /// What the running service holds.
    pub(super) service: Service,
    /// How the groups that the service holds differ from those that were found; `null` where they cannot be compared.
    pub(super) differs: Option<Differs>,
    pub(super) caller: CallerShown,
    #[serde(skip)]
    pub(super) exit: Exit,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerShown {
    pub(super) url: String,
    pub(super) kind: String,
    pub(super) vendor: Option<String>,
    pub(super) version: Option<String>,
    pub(super) dns_domain: Option<String>,
    pub(super) netbios_domain: Option<String>,
    /// How long it took until there was a connection.
    pub(super) connected_milliseconds: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct ChosenShown {
    pub(super) word: &'static str,
    pub(super) because: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchShown {
    /// `person`, `tokenGroups`, `groupNames`, `groups`, `range`, `proof` or `other`.
    pub(super) step: &'static str,
    /// Of `groups`: which level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<usize>,
    pub(super) base: String,
    /// `base`, `one` or `sub`.
    pub(super) scope: &'static str,
    pub(super) filter: String,
    pub(super) attributes: Vec<String>,
    /// The most entries that were wanted.
    pub(super) limit: Option<usize>,
    /// OIDs.
    pub(super) controls: Vec<String>,
    pub(super) milliseconds: f64,
    /// How many entries came; `null` where there was no answer.
    pub(super) entries: Option<usize>,
    /// In how many pages; 0 where it was not asked for in pages.
    pub(super) pages: u32,
    /// Who cut the result short, and why.
    pub(super) cut: Option<String>,
    pub(super) server: Option<String>,
    pub(super) error: Option<String>,
    /// What it is for, in words.
    #[serde(skip)]
    pub(super) purpose: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ConsideredShown {
    pub(super) dn: String,
    pub(super) names: Vec<NameShown>,
    /// `taken`, `other name` or `one of several`.
    pub(super) verdict: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct NameShown {
    pub(super) attribute: String,
    pub(super) value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountShown {
    /// As it is reported in decisions: `account/disabled`.
    pub(super) state: &'static str,
    /// Whether the account is in it; `null` where what the directory says of it cannot be read.
    pub(super) holds: Option<bool>,
    /// What the directory says of it; `null` where it says nothing.
    pub(super) detail: Option<String>,
    /// `Deny` or `Ignore`: `directory.accounts`.
    pub(super) setting: &'static str,
    /// Whether it refuses everything; `null` where that cannot be told.
    pub(super) denies: Option<bool>,
    /// Until when that is so, if nothing but the time changes (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupOf {
    #[serde(flatten)]
    pub(super) group: GroupShown,
    /// Its stable identity, which policies can name.
    pub(super) id: String,
    /// Its security identifier, where the directory has such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<String>,
}

/// Groups by their DNs, or names where they have none.
#[derive(Debug, Serialize)]
pub(super) struct Differs {
    /// The service does not have these.
    pub(super) missing: Vec<String>,
    /// It has these besides.
    pub(super) besides: Vec<String>,
}

/// The API server's own cache, in which nobody can look.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallerShown {
    pub(super) authorized_ttl_seconds: i64,
    pub(super) unauthorized_ttl_seconds: i64,
}

impl Shown {
    pub(super) fn new(
        user: &str,
        name: Result<String, Outside>,
        prefix: &str,
        lookup: Option<directory::Lookup>,
        settings: &eval::Settings,
        service: Service,
        now: Timestamp,
    ) -> Self {
        let mut shown = Self::outside(user, settings, service);
        match (name, lookup) {
            (Err(why), _) => shown.outside_because = Some(why.to_string()),
            (Ok(_), None) => {
                shown.outside_because = Some("there is no directory (`directory.kind: none`)".to_owned());
            }
            (Ok(name), Some(lookup)) => {
                shown.directory_name = Some(name);
                shown.stripped_prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
                shown.asked(lookup, settings, now);
            }
        }
        shown
    }

    fn outside(user: &str, settings: &eval::Settings, service: Service) -> Self {
        Self {
            user: user.to_owned(),
            directory_name: None,
            person: "outside",
            outside_because: None,
            error: None,
            stripped_prefix: None,
            server: None,
            flavour: None,
            strategy: None,
            milliseconds: None,
            searches: Vec::new(),
            unlisted_searches: 0,
            considered: Vec::new(),
            dn: None,
            id: None,
            account: Vec::new(),
            account_denies: Some(false),
            groups: Vec::new(),
            partial_because: None,
            attributes: BTreeMap::new(),
            service,
            differs: None,
            caller: CallerShown {
                authorized_ttl_seconds: settings.authorized_ttl.as_secs(),
                unauthorized_ttl_seconds: settings.unauthorized_ttl.as_secs(),
            },
            exit: Exit::NoOpinion,
        }
    }

    fn asked(&mut self, lookup: directory::Lookup, settings: &eval::Settings, now: Timestamp) {
        let directory::Lookup { server, approach, searches, unlisted, considered, took, result } = lookup;
        self.server = server.map(ServerShown::of);
        self.flavour = approach.map(|approach| ChosenShown::of(approach.flavour));
        self.strategy = approach.map(|approach| ChosenShown::of(approach.strategy));
        self.milliseconds = Some(milliseconds(took));
        self.searches = searches.into_iter().map(SearchShown::of).collect();
        self.unlisted_searches = unlisted;
        self.considered = considered.into_iter().map(ConsideredShown::of).collect();
        match result {
            Ok(facts) => self.found(&facts, settings, now),
            Err(error) => {
                self.person = "unknown";
                self.account_denies = None;
                self.error = Some(error.to_string());
                self.exit = Exit::Operational;
            }
        }
    }

    fn found(&mut self, facts: &Facts, settings: &eval::Settings, now: Timestamp) {
        let read = FactsShown::read("current", facts);
        self.person = read.person.unwrap_or("found");
        if let Person::Found { id, .. } = &facts.person {
            self.id = Some(id.to_string());
        }
        self.dn = read.dn;
        self.account = account(settings, facts, now);
        let denies: Vec<Option<bool>> = self.account.iter().map(|state| state.denies).collect();
        self.account_denies = match denies.contains(&Some(true)) {
            true => Some(true),
            false if denies.contains(&None) => None,
            false => Some(false),
        };
        let groups = read.groups.into_iter().zip(facts.groups.iter()).map(|(group, membership)| GroupOf {
            group,
            id: membership.group.id.to_string(),
            sid: membership.group.sid.as_ref().map(|sid| sid.to_string().to_ascii_uppercase()),
        });
        self.groups = groups.collect();
        self.partial_because = facts.partial.map(partial);
        self.attributes = read.attributes;
        self.differs = self.differs();
        self.exit = match (&facts.person, self.account_denies) {
            (Person::NotFound | Person::Ambiguous | Person::Outside, _) => Exit::NoOpinion,
            (Person::Found { .. }, Some(false)) => Exit::Success,
            (Person::Found { .. }, _) => Exit::Denied,
        };
    }

    /// The groups that the service holds beside those that were found.
    fn differs(&self) -> Option<Differs> {
        let held = self.service.holds.as_ref()?.groups()?;
        let found: BTreeSet<&str> =
            self.groups.iter().map(|of| of.group.dn.as_deref().unwrap_or(&of.group.name)).collect();
        let only = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
            one.difference(other).map(|&group| group.to_owned()).collect()
        };
        Some(Differs { missing: only(&found, &held), besides: only(&held, &found) })
    }
}

impl ServerShown {
    fn of(met: directory::Met) -> Self {
        let about = &met.about;
        let (dns_domain, netbios_domain) = match &about.kind {
            ServerKind::ActiveDirectory { dns_domain, netbios_domain } => {
                (dns_domain.clone(), netbios_domain.clone())
            }
            _ => (None, None),
        };
        Self {
            kind: about.kind.to_string(),
            vendor: about.vendor.clone(),
            version: about.version.clone(),
            dns_domain,
            netbios_domain,
            connected_milliseconds: milliseconds(met.after),
            url: met.url,
        }
    }
}

impl ChosenShown {
    fn of(chosen: Chosen) -> Self {
        Self { word: chosen.word, because: chosen.why }
    }
}

impl SearchShown {
    fn of(searched: Searched) -> Self {
        let (word, level) = match searched.step {
            Step::Person => ("person", None),
            Step::TokenGroups => ("tokenGroups", None),
            Step::GroupNames => ("groupNames", None),
            Step::Groups(level) => ("groups", Some(level)),
            Step::Range => ("range", None),
            Step::Proof => ("proof", None),
            Step::Other => ("other", None),
        };
        let mut shown = Self {
            step: word,
            level,
            base: searched.base,
            scope: searched.scope,
            filter: searched.filter,
            attributes: searched.attributes,
            limit: searched.limit,
            controls: searched.controls,
            milliseconds: milliseconds(searched.took),
            entries: None,
            pages: 0,
            cut: None,
            server: None,
            error: None,
            purpose: searched.step.describe(),
        };
        match searched.outcome {
            Outcome::Found { entries, cut, pages, server } => {
                shown.entries = Some(entries);
                shown.pages = pages;
                shown.server = Some(server);
                shown.cut = cut.map(|cut| match cut {
                    Cut::ByUs => "there are more than were wanted".to_owned(),
                    Cut::ByServer(code) => format!("by the server, with result {code}"),
                });
            }
            Outcome::Failed(error) => shown.error = Some(error.to_string()),
            Outcome::Unanswered => {
                shown.error = Some("no answer by the time that all of it ended".to_owned())
            }
        }
        shown
    }
}

impl ConsideredShown {
    fn of(considered: Considered) -> Self {
        let name = |(attribute, value)| NameShown { attribute, value };
        Self {
            dn: considered.dn,
            names: considered.names.into_iter().map(name).collect(),
            verdict: match considered.verdict {
                Verdict::Taken => "taken",
                Verdict::OtherName => "other name",
                Verdict::OneOfSeveral => "one of several",
            },
        }
    }
}

fn account(settings: &eval::Settings, facts: &Facts, now: Timestamp) -> Vec<AccountShown> {
    let shown = |finding: eval::AccountFinding| {
        let is_deny = finding.effect == AccountEffect::Deny;
        AccountShown {
            state: finding.problem.name(),
            holds: finding.holds,
            detail: detail(finding.problem, &facts.account),
            setting: if is_deny { "Deny" } else { "Ignore" },
            denies: if is_deny { finding.holds } else { Some(false) },
            until: (finding.until < Timestamp::MAX).then(|| finding.until.to_string()),
        }
    };
    let has_entry = matches!(facts.person, Person::Found { .. });
    // Where there is no one entry, there is nothing that could say more.
    let is_told = |finding: &eval::AccountFinding| {
        has_entry || matches!(finding.problem, AccountProblem::Ambiguous | AccountProblem::NotFound)
    };
    account_findings(&settings.accounts, facts, now).into_iter().filter(is_told).map(shown).collect()
}

/// What the directory says of a state.
fn detail(problem: AccountProblem, account: &AccountState) -> Option<String> {
    use AccountProblem::{Ambiguous, Disabled, Expired, Locked, NotFound, PasswordExpired, Unreachable};
    let is = |is: Option<bool>| is.map(|is| if is { "yes" } else { "no" }.to_owned());
    match problem {
        Disabled => is(account.disabled),
        PasswordExpired => is(account.password_expired),
        Expired => account.expires.map(|at| format!("at {at}")),
        Locked => match (account.locked, account.locked_until) {
            (Some(true), Some(until)) => Some(format!("yes, until {until}")),
            (locked, _) => is(locked),
        },
        Ambiguous | NotFound | Unreachable => None,
    }
}

fn partial(partial: Partial) -> &'static str {
    match partial {
        Partial::Depth => "`groupSearch.maxDepth` was reached, with groups left to follow",
        Partial::Count => "`groupSearch.maxGroups` was reached",
        Partial::ServerLimit => "the server cut a result short",
    }
}

/// In milliseconds, to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

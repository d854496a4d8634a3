//! What `/readyz` is made of.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::Authorizer;
use crate::directory::FeedStatus;
use crate::model::{GroupNames, Resolved};
use crate::policy::PolicySet;

/// How many group names a check names.
const MAX_NAMES_SHOWN: usize = 5;

/// Whether one part of the service can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The part.
    pub name: &'static str,
    /// Whether it can; a check that cannot makes the service not ready only where `required`.
    pub ok: bool,
    /// Whether the service is not ready without it.
    pub required: bool,
    /// What is to be said of it, in one line.
    pub detail: String,
}

impl Authorizer {
    /// What `/readyz` is made of.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let last_error = self.store.last_error();
        let names = self.names_known.load(Ordering::Acquire);
        let unresolved = self.bound.load().unresolved();
        let draining = self.draining.load(Ordering::Acquire);
        let mut checks = vec![
            Check {
                name: "draining",
                ok: !draining,
                required: true,
                detail: if draining { "the process is stopping".to_owned() } else { "serving".to_owned() },
            },
            Check {
                name: "policies",
                ok: last_error.is_none(),
                required: false,
                detail: match last_error {
                    None => format!("revision {}", self.bound.load().set().revision()),
                    Some(error) => {
                        let first = error.lines().next().unwrap_or_default();
                        format!(
                            "the last load failed, revision {} is in force: {first}",
                            self.bound.load().set().revision()
                        )
                    }
                },
            },
        ];
        if let Some(people) = &self.people {
            checks.push(Check {
                name: "group-names",
                ok: names && unresolved == 0,
                required: false,
                detail: of_names(self.bound.load().set(), &self.names()),
            });
            let feed = people.directory.feed();
            if let Some(detail) = of_feed(&feed) {
                checks.push(Check { name: "change-feed", ok: feed.is_up, required: false, detail });
            }
            let up = people.directory.is_up();
            checks.push(Check {
                name: "directory",
                ok: up,
                required: false,
                detail: if up { "answers".to_owned() } else { "does not answer".to_owned() },
            });
        }
        checks
    }
}

/// What there is to say of a change feed; `None` where there is to be none.
fn of_feed(feed: &FeedStatus) -> Option<String> {
    let mechanism = match feed.mechanism {
        None if feed.trouble.is_empty() => return None,
        None => return Some(format!("is down, and was never up: {}", feed.trouble)),
        Some(mechanism) if !feed.is_up => return Some(format!("{mechanism} is down: {}", feed.trouble)),
        Some(mechanism) => mechanism,
    };
    let told = match feed.every {
        None => "changes are told at once".to_owned(),
        Some(every) => format!("changes are asked for every {every:?}"),
    };
    let but = if feed.is_complete { "" } else { ", but for what is deleted" };
    Some(format!("{mechanism}: {told}{but}"))
}

/// Which group names in policies are not one group's, and why.
fn of_names(set: &PolicySet, known: &GroupNames) -> String {
    let names: BTreeSet<&str> = set.group_names().collect();
    let lacking: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let why = match known.names.get(*name) {
                Some(Resolved::Group(_)) => return None,
                Some(Resolved::None) => "no group has it",
                Some(Resolved::Several) => "several groups have it",
                None => "the directory has not answered for it",
            };
            Some(format!("`{}`: {why}", name.escape_debug()))
        })
        .collect();
    let Some(shown) = lacking.get(..lacking.len().min(MAX_NAMES_SHOWN)).filter(|shown| !shown.is_empty())
    else {
        return "each group name in policies is one group's".to_owned();
    };
    let more = match lacking.len() - shown.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("group names in policies that are not one group's: {}{more}", shown.join("; "))
}

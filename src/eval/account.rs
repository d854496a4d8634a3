//! Account state: an implicit Deny with settings of its own (DESIGN 3.7).

use jiff::Timestamp;
use smallvec::SmallVec;

use super::facts::View;
use super::settings::{Accounts, Effect, WhenUnreachable};
use super::time::before;
use super::truth::{Timed, Truth};
use crate::model::{Facts, Person, UnreadableState};

/// A state of an account that refuses everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountProblem {
    /// Several entries have this user name.
    Ambiguous,
    /// Disabled by an administrator.
    Disabled,
    /// Past its expiry.
    Expired,
    /// Locked.
    Locked,
    /// No entry has this user name.
    NotFound,
    /// The password is expired.
    PasswordExpired,
    /// The directory cannot be asked.
    Unreachable,
}

impl AccountProblem {
    /// The name under which it is reported, in the place of a policy's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ambiguous => "account/ambiguous",
            Self::Disabled => "account/disabled",
            Self::Expired => "account/expired",
            Self::Locked => "account/locked",
            Self::NotFound => "account/not-found",
            Self::PasswordExpired => "account/password-expired",
            Self::Unreachable => "account/unreachable",
        }
    }

    /// What the user is told.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Ambiguous => "the directory has several entries for this user",
            Self::Disabled => "this account is disabled in the directory",
            Self::Expired => "this account is expired in the directory",
            Self::Locked => "this account is locked in the directory",
            Self::NotFound => "the directory has no entry for this user",
            Self::PasswordExpired => "this account's password is expired in the directory",
            Self::Unreachable => "the directory, which knows this account's state, cannot be reached",
        }
    }
}

/// What account state comes to.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The problems that count, in the order of their names.
    pub(super) found: SmallVec<[AccountProblem; 2]>,
    /// Whether a state that counts cannot be read, so that it is not known whether there is a problem.
    pub(super) unreadable: bool,
    /// Until when that is so.
    pub(super) until: Timestamp,
}

/// The problems that count.
pub(super) fn problems(accounts: &Accounts, view: View<'_>, now: Timestamp) -> Problems {
    let mut problems = SmallVec::new();
    let mut until = Timestamp::MAX;
    let mut unreadable = false;
    let (facts, unreachable) = match view {
        View::Outside => return Problems { until, ..Problems::default() },
        View::Current(prepared) => (Some(prepared.facts()), false),
        View::Stale(prepared) => (Some(prepared.facts()), true),
        View::Unreachable => (None, true),
    };
    if unreachable && accounts.when_unreachable == WhenUnreachable::Deny {
        problems.push(AccountProblem::Unreachable);
    }
    if let Some(facts) = facts {
        for (effect, problem) in effects(accounts) {
            if effect == Effect::Ignore {
                continue;
            }
            unreadable |= is_unreadable(facts, problem);
            let has = has(facts, problem, now);
            until = until.min(has.until);
            if has.truth == Truth::True {
                problems.push(problem);
            }
        }
    }
    problems.sort_unstable();
    Problems { found: problems, unreadable, until }
}

/// One state of an account, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountFinding {
    /// The state.
    pub problem: AccountProblem,
    /// What `directory.accounts` makes of it.
    pub effect: Effect,
    /// Whether the account is in it; `None` where that cannot be read: with `Deny`, whether everything is refused is unknown.
    pub holds: Option<bool>,
    /// Until when that is so, if nothing but the time changes.
    pub until: Timestamp,
}

/// Every state of an account that the facts tell, as a decision at this instant takes them.
#[must_use]
pub fn account_findings(accounts: &Accounts, facts: &Facts, now: Timestamp) -> Vec<AccountFinding> {
    let finding = |(effect, problem)| {
        let has = has(facts, problem, now);
        let holds = (!is_unreadable(facts, problem)).then_some(has.truth == Truth::True);
        AccountFinding { problem, effect, holds, until: has.until }
    };
    effects(accounts).into_iter().map(finding).collect()
}

fn effects(accounts: &Accounts) -> [(Effect, AccountProblem); 6] {
    [
        (accounts.ambiguous, AccountProblem::Ambiguous),
        (accounts.disabled, AccountProblem::Disabled),
        (accounts.expired, AccountProblem::Expired),
        (accounts.locked, AccountProblem::Locked),
        (accounts.not_found, AccountProblem::NotFound),
        (accounts.password_expired, AccountProblem::PasswordExpired),
    ]
}

fn is_unreadable(facts: &Facts, problem: AccountProblem) -> bool {
    let UnreadableState { disabled, locked, expires, password_expired } = facts.account.unreadable;
    match problem {
        AccountProblem::Disabled => disabled,
        AccountProblem::Locked => locked,
        AccountProblem::Expired => expires,
        AccountProblem::PasswordExpired => password_expired,
        AccountProblem::Ambiguous | AccountProblem::NotFound | AccountProblem::Unreachable => false,
    }
}

fn has(facts: &Facts, problem: AccountProblem, now: Timestamp) -> Timed {
    let account = &facts.account;
    let known = |value: bool| Truth::known(value).always();
    match problem {
        AccountProblem::Ambiguous => known(facts.person == Person::Ambiguous),
        AccountProblem::NotFound => known(facts.person == Person::NotFound),
        AccountProblem::Disabled => known(account.disabled == Some(true)),
        AccountProblem::PasswordExpired => known(account.password_expired == Some(true)),
        AccountProblem::Expired => account.expires.map_or(Timed::FALSE, |expires| !before(now, expires)),
        AccountProblem::Locked => known(account.locked == Some(true))
            .and(account.locked_until.map_or(Timed::TRUE, |end| before(now, end))),
        AccountProblem::Unreachable => Timed::FALSE,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Bound;
    use super::*;
    use crate::model::{AccountState, Dn, EntityId, GroupNames};
    use crate::policy::{PolicySet, Settings};

    /// Facts of somebody found, or of nobody, with this state.
    fn facts(person: Person, account: AccountState) -> Facts {
        Facts { account, ..Facts::without_entry(person, Timestamp::UNIX_EPOCH) }
    }

    #[test]
    fn what_is_found_of_an_account_is_what_decides() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let found = Person::Found { id: EntityId::new("1"), dn: Dn::parse("uid=a").unwrap() };
        let states = [
            AccountState::default(),
            AccountState { disabled: Some(true), expires: Some(at(100)), ..AccountState::default() },
            AccountState { locked: Some(true), locked_until: Some(at(50)), ..AccountState::default() },
            AccountState { password_expired: Some(true), disabled: Some(false), ..AccountState::default() },
            AccountState {
                unreadable: UnreadableState { locked: true, expires: true, ..UnreadableState::default() },
                ..AccountState::default()
            },
        ];
        let all = Accounts {
            locked: Effect::Deny,
            password_expired: Effect::Deny,
            not_found: Effect::Deny,
            ..Accounts::default()
        };
        let set = Arc::new(PolicySet::build(&[], &Settings::default()).unwrap());
        let bound = Bound::new(set, &GroupNames::default(), 0);
        for person in [found, Person::NotFound, Person::Ambiguous] {
            for (state, second) in states.iter().flat_map(|state| [(state, 10), (state, 200)]) {
                for accounts in [Accounts::default(), all] {
                    let facts = facts(person.clone(), state.clone());
                    let findings = account_findings(&accounts, &facts, at(second));
                    let prepared = bound.prepare(Arc::new(facts));
                    let decided = problems(&accounts, View::Current(&prepared), at(second));
                    let denying = findings.iter().filter(|finding| finding.effect == Effect::Deny);
                    let mut held: Vec<AccountProblem> = denying
                        .clone()
                        .filter(|finding| finding.holds == Some(true))
                        .map(|finding| finding.problem)
                        .collect();
                    held.sort_unstable();
                    assert_eq!(held, decided.found.to_vec(), "{state:?} {second}");
                    assert_eq!(denying.clone().any(|finding| finding.holds.is_none()), decided.unreadable);
                    let until = denying.map(|finding| finding.until).min();
                    assert_eq!(until, Some(decided.until), "{state:?} {second}");
                }
            }
        }
    }
}

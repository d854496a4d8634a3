//! Whose name it is that somebody logs on with.
//!
//! A person may be found by several names: their entry has several, or the directory takes several spellings for
//! equal. To policies and role bindings each of them would be another user, and a rule against one would not stop
//! another. So a person logs on by one name alone: the value of the first attribute of `userSearch.filter`, of
//! Active Directory the account name, byte for byte.

use super::{Candidate, Finding, Resolver, Search, complete_state, logon, state};
use crate::directory::LookupError;
use crate::model::{AccountState, Dn};

/// Who has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::directory) enum Holder {
    /// Nobody.
    Nobody,
    /// Several.
    Several,
    /// Somebody who logs on by another name, or by this one in another spelling.
    Otherwise,
    /// Somebody whose entry has several names in the place of the one.
    Manifold,
    /// One person.
    One {
        /// Their entry.
        dn: Dn,
        /// Their account.
        account: AccountState,
    },
}

impl Resolver {
    /// The person who logs on by this name, and the state of their account. Nothing of groups is asked for.
    pub(in crate::directory) async fn holder(
        &self,
        directory: &impl Search,
        user: &str,
    ) -> Result<Holder, LookupError> {
        let about = directory.about().await?;
        let finding = self.finding(&about, user);
        let entry = match self.find(directory, &about, finding, user).await? {
            Candidate::None => return Ok(Holder::Nobody),
            Candidate::Several(_) => return Ok(Holder::Several),
            Candidate::One(entry) => entry,
        };
        let attribute = match finding {
            Finding::Template(template) => template.first_attribute().to_owned(),
            Finding::Logon(..) => logon::ACCOUNT_NAME.to_ascii_lowercase(),
        };
        match entry.texts(&attribute)?.as_slice() {
            [name] if *name == user => {}
            [_, _, ..] => return Ok(Holder::Manifold),
            [_] | [] => return Ok(Holder::Otherwise),
        }
        let account = if about.is_active_directory() { complete_state(&entry) } else { state(&entry) };
        Ok(Holder::One { dn: entry.dn.clone(), account })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::fake::Memory;
    use crate::directory::filter::Template;
    use crate::directory::{Bind, MatchRule, Settings};
    use crate::telemetry::Metrics;

    const PEOPLE: &[(&str, &[(&str, &str)])] = &[
        ("uid=ada,dc=x", &[("uid", "ada"), ("entryUUID", "1")]),
        ("cn=Bob,dc=x", &[("uid", "Bob"), ("entryUUID", "2"), ("nsAccountLock", "TRUE")]),
        ("cn=one,dc=x", &[("uid", "twin"), ("entryUUID", "3")]),
        ("cn=two,dc=x", &[("uid", "twin"), ("entryUUID", "4")]),
        ("cn=Eve,dc=x", &[("uid", "eve"), ("uid", "evelyn"), ("entryUUID", "5")]),
        ("cn=Joe,dc=x", &[("uid", "joe"), ("mail", "joe@x"), ("mail", "j@x"), ("entryUUID", "6")]),
    ];

    async fn holder(rule: MatchRule, user: &str) -> Holder {
        let mut settings = Settings::new(vec!["ldaps://x".into()], Bind::Anonymous, "dc=x");
        settings.user_search.match_rule = rule;
        let filter = Template::parse("(|(uid={username})(mail={username}))").unwrap();
        let resolver = Resolver::new(&settings, Some(filter), Metrics::new().unwrap().directory);
        resolver.holder(&Memory::new(PEOPLE), user).await.unwrap()
    }

    #[tokio::test]
    async fn a_name_has_one_spelling_even_where_lookups_are_loose() {
        for rule in [MatchRule::Exact, MatchRule::AsciiCaseFold] {
            assert!(matches!(holder(rule, "ada").await, Holder::One { .. }));
            assert_eq!(holder(rule, "nobody").await, Holder::Nobody);
            assert_eq!(holder(rule, "twin").await, Holder::Several);
        }
        assert_eq!(holder(MatchRule::Exact, "ADA").await, Holder::Nobody);
        assert_eq!(holder(MatchRule::AsciiCaseFold, "ADA").await, Holder::Otherwise);
    }

    #[tokio::test]
    async fn a_person_logs_on_by_one_name_of_several() {
        assert!(matches!(holder(MatchRule::Exact, "joe").await, Holder::One { .. }));
        for other in ["joe@x", "j@x"] {
            assert_eq!(holder(MatchRule::Exact, other).await, Holder::Otherwise);
        }
        for name in ["eve", "evelyn"] {
            assert_eq!(holder(MatchRule::Exact, name).await, Holder::Manifold);
        }
    }

    #[tokio::test]
    async fn the_state_of_the_account_comes_with_it() {
        let Holder::One { account, dn } = holder(MatchRule::Exact, "Bob").await else { panic!() };
        assert_eq!((account.disabled, dn.as_str()), (Some(true), "cn=Bob,dc=x"));
    }
}

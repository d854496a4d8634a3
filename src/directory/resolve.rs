//! From a user's name to facts: one entry, whose name is verified; its attributes; its account; its groups.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ldap3::Scope;

use super::account::{ACCOUNT_ATTRIBUTES, state};
use super::conn::{Cut, Found, Query};
use super::entry::{Entry, ID_ATTRIBUTES};
use super::filter::{Template, any_of, equals};
use super::groups::{Groups, Member, is_reserved};
use super::settings::{Flavour, GroupSearch, MatchRule, Settings};
use super::{LookupError, ResultCode};
use crate::model::{Facts, Person, Resolved};
use crate::telemetry::DirectoryMetrics;

/// What can be searched: the pool with what is left of a deadline, or entries in memory.
pub(super) trait Search: Sync {
    fn search(&self, query: Query) -> impl Future<Output = Result<Found, LookupError>> + Send;
}

/// How a directory is asked for a person.
pub(super) struct Resolver {
    base: String,
    filter: Template,
    match_rule: MatchRule,
    attributes: BTreeMap<String, String>,
    groups: GroupSearch,
    flavour: Flavour,
    metrics: DirectoryMetrics,
}

/// What no resolution takes back: the generation of a source without a change feed, which is the only one of this
/// version.
pub(super) const GENERATION: u64 = 1;

impl Resolver {
    pub(super) fn new(settings: &Settings, filter: Template, metrics: DirectoryMetrics) -> Self {
        let from = |attribute: &super::Attribute| attribute.from.to_ascii_lowercase();
        Self {
            base: settings.user_search.base.clone(),
            filter,
            match_rule: settings.user_search.match_rule,
            attributes: settings
                .attributes
                .iter()
                .map(|(name, attribute)| (name.clone(), from(attribute)))
                .collect(),
            groups: settings.group_search.clone(),
            flavour: settings.flavour,
            metrics,
        }
    }

    /// Everything that the directory says of a user.
    pub(super) async fn resolve(
        &self,
        directory: &impl Search,
        user: &str,
        read_at: Timestamp,
    ) -> Result<Facts, LookupError> {
        let entry = match self.find(directory, user).await? {
            Candidate::One(entry) => entry,
            Candidate::None => return Ok(Facts::without_entry(Person::NotFound, read_at, GENERATION)),
            Candidate::Several => return Ok(Facts::without_entry(Person::Ambiguous, read_at, GENERATION)),
        };
        let member = self.member(&entry, user)?;
        let groups = Groups::of(directory, &self.groups, self.flavour, &member).await?;
        if groups.partial.is_some() {
            self.metrics.partial_lookups.inc();
            tracing::warn!(user, partial = ?groups.partial, groups = groups.found.len(), "a user may have more groups than were found");
        }
        let mut touched = vec![member.id.clone()];
        touched.extend(groups.found.iter().map(|group| group.id.clone()));
        Ok(Facts {
            attributes: self.attributes(&entry)?,
            account: state(&entry)?,
            person: Person::Found { id: member.id, dn: entry.dn },
            groups: groups.found,
            partial: groups.partial,
            touched,
            read_at,
            generation: GENERATION,
        })
    }

    /// The one group of this name below the base of groups.
    pub(super) async fn resolve_group_name(
        &self,
        directory: &impl Search,
        name: &str,
    ) -> Result<Resolved, LookupError> {
        if name.is_empty() || is_reserved(name) {
            return Ok(Resolved::None);
        }
        let query = Query {
            base: self.groups.base.clone(),
            scope: Scope::Subtree,
            filter: format!("(&{}{})", equals(&self.groups.name, name), any_of(&group_kinds())),
            attributes: with_ids([self.groups.name.as_str()]),
            limit: 2,
            only_values: None,
            paged: false,
            controls: Vec::new(),
        };
        let found = directory.search(query).await?;
        match (found.entries.as_slice(), found.cut) {
            ([_, _, ..], _) => Ok(Resolved::Several),
            (_, Some(cut)) => Err(refused(cut)),
            ([], None) => Ok(Resolved::None),
            ([one], None) => {
                let names = one.texts(&self.groups.name.to_ascii_lowercase())?;
                // The directory may compare more loosely than people read.
                let is_it =
                    names.iter().any(|found| found.eq_ignore_ascii_case(name)) && !one.dn.is_remnant();
                if is_it { Ok(Resolved::Group(one.id()?)) } else { Ok(Resolved::None) }
            }
        }
    }

    async fn find(&self, directory: &impl Search, user: &str) -> Result<Candidate, LookupError> {
        let wanted = self.attributes.values().chain(self.filter.attributes()).map(String::as_str);
        let fixed = ["uid", "gidNumber"].into_iter().chain(ACCOUNT_ATTRIBUTES);
        let query = Query {
            base: self.base.clone(),
            scope: Scope::Subtree,
            filter: self.filter.for_user(user),
            attributes: with_ids(wanted.chain(fixed)),
            limit: 2,
            only_values: None,
            paged: false,
            controls: Vec::new(),
        };
        let mut found = directory.search(query).await?;
        if found.entries.len() > 1 {
            return Ok(Candidate::Several);
        }
        if let Some(cut) = found.cut {
            return Err(refused(cut));
        }
        let Some(entry) = found.entries.pop() else { return Ok(Candidate::None) };
        if self.matched(&entry, user)?.is_none() {
            self.metrics.identity_mismatches.inc();
            tracing::info!(user, dn = %entry.dn, "the directory takes for this user an entry with another name");
            return Ok(Candidate::None);
        }
        Ok(Candidate::One(entry))
    }

    /// The value of the user's name on the entry, by the configured comparison; `None` where the directory's comparison
    /// was looser.
    fn matched<'a>(&self, entry: &'a Entry, user: &str) -> Result<Option<(&str, &'a str)>, LookupError> {
        for attribute in self.filter.attributes() {
            let mut values = entry.texts(attribute)?.into_iter();
            if let Some(value) = values.find(|value| self.match_rule.matches(value, user)) {
                return Ok(Some((attribute, value)));
            }
        }
        Ok(None)
    }

    fn member(&self, entry: &Entry, user: &str) -> Result<Member, LookupError> {
        let matched = self.matched(entry, user)?.filter(|(attribute, _)| *attribute == "uid");
        let uids = match matched {
            Some((_, uid)) => vec![uid.to_owned()],
            None => entry.texts("uid")?.into_iter().map(str::to_owned).collect(),
        };
        let primary_gid = entry.first("gidnumber")?.map(str::to_owned);
        Ok(Member { id: entry.id()?, dn: entry.dn.clone(), uids, primary_gid })
    }

    fn attributes(&self, entry: &Entry) -> Result<BTreeMap<String, Vec<String>>, LookupError> {
        let mut attributes = BTreeMap::new();
        for (name, from) in &self.attributes {
            let values: Vec<String> = entry.texts(from)?.into_iter().map(str::to_owned).collect();
            if !values.is_empty() {
                attributes.insert(name.clone(), values);
            }
        }
        Ok(attributes)
    }
}

enum Candidate {
    None,
    One(Entry),
    Several,
}

/// A search for one entry that was cut short says nothing.
fn refused(cut: Cut) -> LookupError {
    LookupError::Refused(match cut {
        Cut::ByUs => ResultCode::SIZE_LIMIT,
        Cut::ByServer(code) => code,
    })
}

/// An explicit list of attributes, each once, with those that identify an entry.
pub(super) fn with_ids<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for name in names.into_iter().chain(ID_ATTRIBUTES) {
        if !list.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            list.push(name.to_owned());
        }
    }
    list
}

/// What makes an entry a group: a class that says so, or members.
fn group_kinds() -> Vec<String> {
    let classes = ["groupOfNames", "groupOfUniqueNames", "groupOfMembers", "groupOfEntries", "posixGroup"];
    let mut kinds: Vec<String> = classes.iter().map(|class| equals("objectClass", class)).collect();
    kinds.extend(["member", "uniqueMember", "memberUid"].map(|attribute| format!("({attribute}=*)")));
    kinds
}

#[cfg(test)]
mod tests {
    use super::super::fake::Memory;
    use super::super::{Attribute, Bind};
    use super::*;
    use crate::model::EntityId;
    use crate::telemetry::Metrics;

    fn resolver(change: impl FnOnce(&mut Settings)) -> Resolver {
        let bind = Bind::Simple { dn: "cn=svc".to_owned(), password_file: "password".into() };
        let mut settings = Settings::new(vec!["ldaps://x".to_owned()], bind, "");
        settings
            .attributes
            .insert("department".to_owned(), Attribute { from: "departmentNumber".to_owned() });
        change(&mut settings);
        let filter = settings.checked().unwrap().user_filter;
        Resolver::new(&settings, filter, Metrics::new().unwrap().directory)
    }

    async fn resolved(resolver: &Resolver, directory: &Memory, user: &str) -> Result<Facts, LookupError> {
        resolver.resolve(directory, user, Timestamp::UNIX_EPOCH).await
    }

    const ALICE: (&str, &[(&str, &str)]) = (
        "uid=alice,ou=people",
        &[
            ("uid", "alice"),
            ("departmentNumber", "7"),
            ("entryUUID", "A-1"),
            ("nsAccountLock", "TRUE"),
            ("secret", "x"),
        ],
    );

    #[tokio::test]
    async fn facts_hold_what_was_asked_for_and_everything_that_was_touched() {
        let directory = Memory::new(&[
            ALICE,
            ("cn=devs", &[("cn", "devs"), ("member", "uid=alice,ou=people"), ("entryUUID", "G-1")]),
        ]);
        let facts = resolved(&resolver(|_| ()), &directory, "alice").await.unwrap();
        let Person::Found { id, dn } = &facts.person else { panic!("{facts:?}") };
        assert_eq!((id.as_str(), dn.as_str()), ("a-1", "uid=alice,ou=people"));
        assert_eq!(facts.attributes, BTreeMap::from([("department".to_owned(), vec!["7".to_owned()])]));
        assert_eq!(facts.account.disabled, Some(true));
        assert_eq!(facts.touched, [EntityId::new("a-1"), EntityId::new("g-1")]);
        assert_eq!(facts.read_at, Timestamp::UNIX_EPOCH);
    }

    #[tokio::test]
    async fn an_entry_with_another_name_is_nobody() {
        let directory = Memory::new(&[ALICE]);
        let exact = resolver(|_| ());
        assert_eq!(resolved(&exact, &directory, "ALICE").await.unwrap().person, Person::NotFound);
        assert_eq!(exact.metrics.identity_mismatches.get(), 1);
        let folded = resolver(|settings| settings.user_search.match_rule = MatchRule::AsciiCaseFold);
        assert!(matches!(resolved(&folded, &directory, "ALICE").await.unwrap().person, Person::Found { .. }));
        assert_eq!(resolved(&exact, &directory, "bob").await.unwrap().person, Person::NotFound);
        assert_eq!(exact.metrics.identity_mismatches.get(), 1);
    }

    #[tokio::test]
    async fn several_entries_are_ambiguous_and_a_limit_is_an_error() {
        let mut directory = Memory::new(&[ALICE, ("uid=alice,ou=old", &[("uid", "alice")])]);
        let resolver = resolver(|_| ());
        assert_eq!(resolved(&resolver, &directory, "alice").await.unwrap().person, Person::Ambiguous);
        directory.limit = Some(0);
        let refused = LookupError::Refused(ResultCode::SIZE_LIMIT);
        assert_eq!(resolved(&resolver, &directory, "alice").await, Err(refused));
    }

    #[tokio::test]
    async fn a_group_name_is_one_group_or_it_is_not_resolved() {
        let directory = Memory::new(&[
            ("cn=one", &[("cn", "one"), ("member", "x"), ("entryUUID", "G-1")]),
            ("cn=two,ou=a", &[("cn", "two"), ("member", "x")]),
            ("cn=two,ou=b", &[("cn", "two"), ("member", "x")]),
            ("cn=system:masters", &[("cn", "system:masters"), ("member", "x")]),
        ]);
        let resolver = resolver(|_| ());
        for (name, expected) in [
            ("one", Resolved::Group(EntityId::new("g-1"))),
            ("ONE", Resolved::Group(EntityId::new("g-1"))),
            ("two", Resolved::Several),
            ("three", Resolved::None),
            ("system:masters", Resolved::None),
            ("", Resolved::None),
        ] {
            assert_eq!(resolver.resolve_group_name(&directory, name).await, Ok(expected), "{name}");
        }
    }
}

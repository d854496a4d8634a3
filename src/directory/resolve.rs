//! From a user's name to facts: one entry, whose name is verified; its attributes; its account; its groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join;
use jiff::Timestamp;
use ldap3::Scope;
use tokio::sync::OnceCell;

use super::about::About;
use super::account::{ACCOUNT_ATTRIBUTES, complete_state, state};
use super::active_directory::{
    self, KnownGroups, PERSON_ATTRIBUTES, SECURITY_GROUPS, TOKEN_GROUPS, Token, primary_group_filter,
};
use super::entry::{Entry, ID_ATTRIBUTES};
use super::filter::{Template, any_of, equals};
use super::groups::{Groups, Lookup, MEMBER_ATTRIBUTES, Member, is_reserved, primary_members};
use super::logon::{self, Domain, LogonName};
use super::lookup::{Approach, Considered, Verdict};
use super::ranges;
use super::search::{Cut, Found, Query, Step};
use super::settings::{Flavour, GroupSearch, MatchRule, Settings, Strategy};
use super::table::{AttributeTable, GroupTable};
use super::{LookupError, ResultCode};
use crate::model::{Attributes, Dn, EntityId, Facts, Person, Resolved, Trigger, Values};
use crate::telemetry::DirectoryMetrics;

/// What can be searched: the pool with what is left of a deadline, or entries in memory.
pub(super) trait Search: Sync {
    fn search(&self, query: Query) -> impl Future<Output = Result<Found, LookupError>> + Send;

    /// What the server says of itself that is asked.
    fn about(&self) -> impl Future<Output = Result<Arc<About>, LookupError>> + Send;

    /// Hears what is made of an entry that was found by a user's name. Nobody listens, as a rule.
    fn remark(&self, _considered: impl FnOnce() -> Considered) {}
}

/// How a directory is asked for a person.
pub(super) struct Resolver {
    base: String,
    /// Where people are looked for as the configuration says, and not as is usual for the kind of directory.
    filter: Option<Template>,
    usual_filter: Template,
    match_rule: MatchRule,
    attributes: BTreeMap<Arc<str>, String>,
    groups: GroupSearch,
    flavour: Flavour,
    table: GroupTable,
    shared_attributes: AttributeTable,
    known_groups: KnownGroups,
    /// Set once it was shown that `memberOf` is maintained.
    has_member_of: OnceCell<()>,
    metrics: DirectoryMetrics,
}

/// The attributes that hold names, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wording {
    /// Those by which people are found.
    pub(super) user_names: Vec<String>,
    /// The one with a group's name.
    pub(super) group_name: String,
    /// Below which entry groups have names that policies may use.
    pub(super) groups: Dn,
    /// Whether only security groups count (MS-ADTS 2.2.12).
    pub(super) only_security_groups: bool,
}

/// How people are found in the directory that is asked.
#[derive(Clone, Copy)]
enum Finding<'a> {
    Template(&'a Template),
    Logon(LogonName<'a>, Domain<'a>),
}

enum Candidate {
    None,
    One(Box<Entry>),
    /// Some of them.
    Several(Vec<EntityId>),
}

const USUAL_GROUP_NAME: &str = "cn";
const ACTIVE_DIRECTORY_GROUP_NAME: &str = "sAMAccountName";

impl Resolver {
    pub(super) fn new(settings: &Settings, filter: Option<Template>, metrics: DirectoryMetrics) -> Self {
        let from = |attribute: &super::Attribute| attribute.from.to_ascii_lowercase();
        Self {
            base: settings.user_search.base.clone(),
            filter,
            usual_filter: Template::usual(),
            match_rule: settings.user_search.match_rule,
            attributes: settings
                .attributes
                .iter()
                .map(|(name, attribute)| (name.as_str().into(), from(attribute)))
                .collect(),
            groups: settings.group_search.clone(),
            flavour: settings.flavour,
            table: GroupTable::default(),
            shared_attributes: AttributeTable::default(),
            known_groups: KnownGroups::default(),
            has_member_of: OnceCell::new(),
            metrics,
        }
    }

    /// Everything that the directory says of a user. `known` are facts of the same user that are held: they may say which
    /// entry to look at first.
    pub(super) async fn resolve(
        &self,
        directory: &impl Search,
        user: &str,
        known: Option<&Facts>,
        read_at: Timestamp,
    ) -> Result<Facts, LookupError> {
        let about = directory.about().await?;
        let finding = self.finding(&about, user);
        let strategy = self.strategy(&about);
        let mut names = match finding {
            Finding::Template(_) => vec![Trigger::named(user)],
            Finding::Logon(name, _) => name.triggers(),
        };
        let hint = known.and_then(|facts| match &facts.person {
            Person::Found { id, dn } => Some((id, dn)),
            _ => None,
        });
        let (entry, token) = match (strategy, finding, hint) {
            (Strategy::TokenGroups, Finding::Logon(LogonName::Principal { .. }, _), Some((id, dn))) => {
                // Nothing keeps a second account from having this name: it is looked for at the same time.
                let at = self.at(directory, finding, user, id, dn);
                let (at, found) = join(at, self.find(directory, &about, finding, user)).await;
                match (found?, at) {
                    (Candidate::One(found), Ok(Some((entry, token)))) if found.id()? == entry.id()? => {
                        (Candidate::One(Box::new(entry)), Some(token))
                    }
                    (found, _) => (found, None),
                }
            }
            (Strategy::TokenGroups, Finding::Logon(..), Some((id, dn))) => {
                match self.at(directory, finding, user, id, dn).await? {
                    Some((entry, token)) => (Candidate::One(Box::new(entry)), Some(token)),
                    None => (self.find(directory, &about, finding, user).await?, None),
                }
            }
            _ => (self.find(directory, &about, finding, user).await?, None),
        };
        let entry = match entry {
            Candidate::One(entry) => *entry,
            Candidate::None => return Ok(without_entry(Person::NotFound, names, read_at)),
            Candidate::Several(ids) => {
                // Where one of them goes, the others may be one.
                names.extend(ids.iter().map(Trigger::entity));
                return Ok(without_entry(Person::Ambiguous, names, read_at));
            }
        };
        let member = self.member(&entry, finding, user)?;
        let groups = if strategy == Strategy::TokenGroups {
            let token = match token {
                Some(token) => token,
                None => token_of(directory, &entry.dn, &member.id).await?,
            };
            let base = about.default_naming_context.as_deref().unwrap_or_default();
            let name = self.group_name(&about);
            token.groups(directory, base, &self.groups, name, &self.known_groups, &self.table).await?
        } else {
            self.search_groups(directory, &about, strategy, &entry, &member).await?
        };
        if let Some(partial) = groups.partial {
            self.metrics.partial_lookups.inc();
            tracing::warn!(
                user,
                ?partial,
                groups = groups.found.len(),
                "a user may have more groups than were found"
            );
        }
        names.push(Trigger::listed(entry.dn.normal()));
        names.extend(member.uids.iter().map(|uid| Trigger::listed(uid)));
        names.extend(member.primary_gid.as_deref().map(primary_members));
        let is_active_directory = about.is_active_directory();
        Ok(Facts {
            attributes: self.attributes(&entry),
            account: if is_active_directory { complete_state(&entry) } else { state(&entry) },
            names,
            person: Person::Found { id: member.id, dn: entry.dn.compact() },
            groups: groups.found.into_iter().collect(),
            partial: groups.partial,
            followed: false,
            read_at,
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
        let about = directory.about().await?;
        let attribute = self.group_name(&about);
        let kinds = match (about.is_active_directory(), self.strategy(&about)) {
            // A group that nobody's token has is not one that a policy could mean: it would never apply, and not say so.
            (true, Strategy::TokenGroups) => format!("{}{SECURITY_GROUPS}", equals("objectClass", "group")),
            (true, _) => equals("objectClass", "group"),
            (false, _) => group_kinds(),
        };
        let query = Query {
            filter: format!("(&{}{kinds})", equals(attribute, name)),
            attributes: with_ids([attribute]),
            limit: 2,
            ..Query::new(self.groups.base.clone(), Scope::Subtree)
        };
        let found = directory.search(query).await?;
        match (found.entries.as_slice(), found.cut) {
            ([_, _, ..], _) => Ok(Resolved::Several),
            (_, Some(cut)) => Err(refused(cut)),
            ([], None) => Ok(Resolved::None),
            ([one], None) => {
                let names = one.texts(&attribute.to_ascii_lowercase())?;
                // The directory may compare more loosely than people read.
                let is_it =
                    names.iter().any(|found| found.eq_ignore_ascii_case(name)) && !one.dn.is_remnant();
                if is_it { Ok(Resolved::Group(one.id()?)) } else { Ok(Resolved::None) }
            }
        }
    }

    /// All groups that a group is in, nested ones included, itself not.
    pub(super) async fn groups_above(
        &self,
        directory: &impl Search,
        group: &EntityId,
        dn: &Dn,
    ) -> Result<Groups, LookupError> {
        let about = directory.about().await?;
        let mut settings = self.groups.clone();
        if let (Strategy::TokenGroups, Some(domain)) = (self.strategy(&about), &about.default_naming_context)
        {
            // People are in groups wherever these stand.
            domain.clone_into(&mut settings.base);
        }
        let member = Member {
            id: group.clone(),
            dn: dn.clone(),
            uids: Vec::new(),
            primary_gid: None,
            primary_group: None,
            member_of: None,
        };
        Groups::of(directory, &Lookup { settings: &settings, ..self.lookup(&about) }, &member).await
    }

    /// Shows that the directory has the bases of the searches, and gives what the strategy relies on.
    ///
    /// # Errors
    /// [`LookupError::Unfit`] where it does not; others where it could not be found out.
    pub(super) async fn prove(&self, directory: &impl Search) -> Result<(), LookupError> {
        let about = directory.about().await?;
        for (key, base) in [("userSearch.base", &self.base), ("groupSearch.base", &self.groups.base)] {
            proof::base(directory, key, base).await?;
        }
        match self.strategy(&about) {
            Strategy::TokenGroups => active_directory::probe(directory, &self.base).await,
            Strategy::MemberOf => self.prove_member_of(directory, about.is_active_directory()).await,
            Strategy::Auto | Strategy::Search => Ok(()),
        }
    }

    /// What is read of names, for whoever follows changes.
    pub(super) fn wording(&self, about: &About) -> Wording {
        let lower = |name: &str| name.to_ascii_lowercase();
        let user_names = match (&self.filter, about.is_active_directory()) {
            (Some(filter), _) => filter.attributes().iter().map(|name| lower(name)).collect(),
            (None, true) => logon::NAME_ATTRIBUTES.iter().map(|name| lower(name)).collect(),
            (None, false) => self.usual_filter.attributes().to_vec(),
        };
        // It was checked with the settings. Where it could not be read, every group would count.
        let groups = Dn::parse(&self.groups.base).unwrap_or_default();
        let only_security_groups = self.strategy(about) == Strategy::TokenGroups;
        Wording { user_names, group_name: lower(self.group_name(about)), groups, only_security_groups }
    }

    /// The attributes of people that are read for policies, in lower case.
    pub(super) fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.attributes.values().map(String::as_str)
    }

    /// The attributes, in lower case, on which it depends whether somebody is found.
    pub(super) fn filter_attributes(&self) -> impl Iterator<Item = &str> {
        self.filter.iter().flat_map(Template::told)
    }

    /// Why facts depend on what no change feed tells; `None` where they do not.
    pub(super) fn untold(&self, about: &About) -> Option<&'static str> {
        if !self.filter.as_ref().is_none_or(Template::is_told) {
            return Some(
                "`userSearch.filter` depends on what changes without a change of the person's entry",
            );
        }
        // An overlay writes it after the group was written, which may be told before, and tells of nobody it writes it to.
        let is_late = self.strategy(about) == Strategy::MemberOf && !about.is_active_directory();
        is_late.then_some("`memberOf` is written after the change of a group is told, and that is not told")
    }

    /// The groups that are known by the names that others list them by.
    pub(super) fn table(&self) -> &GroupTable {
        &self.table
    }

    /// Says whether a change feed tells of everything now.
    pub(super) fn follow(&self, are_followed: bool) {
        self.known_groups.follow(are_followed);
    }

    /// Forgets what is remembered of a group that changed; of all, where it is not known which.
    pub(super) fn forget(&self, group: Option<&EntityId>) {
        match group {
            Some(group) => self.known_groups.forget(group),
            None => self.known_groups.clear(),
        }
    }

    /// How the groups of people are found in this directory.
    pub(super) fn strategy(&self, about: &About) -> Strategy {
        match self.groups.strategy {
            Strategy::Auto if about.is_active_directory() => Strategy::TokenGroups,
            Strategy::Auto => Strategy::Search,
            strategy => strategy,
        }
    }

    /// How groups are found in this directory, and why so.
    pub(super) fn approach(&self, about: &About) -> Approach {
        Approach::of(about, self.flavour, self.groups.strategy, self.strategy(about))
    }

    fn finding<'a>(&'a self, about: &'a About, user: &'a str) -> Finding<'a> {
        match &self.filter {
            Some(template) => Finding::Template(template),
            None if about.is_active_directory() => {
                Finding::Logon(LogonName::read(user), Domain::of(&about.kind))
            }
            None => Finding::Template(&self.usual_filter),
        }
    }

    fn group_name(&self, about: &About) -> &str {
        match &self.groups.name {
            Some(name) => name,
            None if about.is_active_directory() => ACTIVE_DIRECTORY_GROUP_NAME,
            None => USUAL_GROUP_NAME,
        }
    }

    fn lookup<'a>(&'a self, about: &About) -> Lookup<'a> {
        let flavour = if about.is_active_directory() { Flavour::ActiveDirectory } else { self.flavour };
        Lookup { settings: &self.groups, flavour, name: self.group_name(about), table: &self.table }
    }

    /// The entry of a user.
    async fn find(
        &self,
        directory: &impl Search,
        about: &About,
        finding: Finding<'_>,
        user: &str,
    ) -> Result<Candidate, LookupError> {
        let filter = match finding {
            Finding::Template(template) => template.for_user(user),
            Finding::Logon(name, domain) => match name.filter(domain, self.match_rule)? {
                Some(filter) => filter,
                None => return Ok(Candidate::None),
            },
        };
        let query = Query {
            filter,
            attributes: self.person_attributes(about.is_active_directory()),
            limit: 2,
            step: Step::Person,
            ..Query::new(self.base.clone(), Scope::Subtree)
        };
        let mut found = ranges::search(directory, query).await?;
        if found.entries.len() > 1 {
            for entry in &found.entries {
                directory.remark(|| self.considered(entry, finding, Verdict::OneOfSeveral));
            }
            let ids = found.entries.iter().filter_map(|entry| entry.id().ok());
            return Ok(Candidate::Several(ids.collect()));
        }
        if let Some(cut) = found.cut {
            return Err(refused(cut));
        }
        let Some(entry) = found.entries.pop() else { return Ok(Candidate::None) };
        if !self.is_named(directory, &entry, finding, user)? {
            self.metrics.identity_mismatches.inc();
            tracing::info!(user, dn = %entry.dn, "the directory takes for this user an entry with another name");
            return Ok(Candidate::None);
        }
        Ok(Candidate::One(Box::new(entry)))
    }

    /// The entry that a user had, with its groups, in one search: where it still is that user's and stands where it stood.
    /// An account name is unique in its domain, so that of such a name there can be no other. `None`: it has to be looked for.
    async fn at(
        &self,
        directory: &impl Search,
        finding: Finding<'_>,
        user: &str,
        id: &EntityId,
        dn: &Dn,
    ) -> Result<Option<(Entry, Token)>, LookupError> {
        let mut attributes = self.person_attributes(true);
        attributes.push(TOKEN_GROUPS.to_owned());
        let base = dn.as_str().to_owned();
        let query = Query { attributes, limit: 1, step: Step::Person, ..Query::new(base, Scope::Base) };
        let found = match ranges::search(directory, query).await {
            Ok(found) => found,
            Err(LookupError::Refused(ResultCode::NO_SUCH_OBJECT)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(entry) = found.entries.into_iter().next() else { return Ok(None) };
        if found.cut.is_some() || entry.id()? != *id || !self.is_named(directory, &entry, finding, user)? {
            return Ok(None);
        }
        let token = Token::read(&entry)?;
        Ok(Some((entry, token)))
    }

    fn person_attributes(&self, is_active_directory: bool) -> Vec<String> {
        let wanted = self.attributes.values().map(String::as_str);
        let filter = self.filter.as_ref().or((!is_active_directory).then_some(&self.usual_filter));
        let names = filter.into_iter().flat_map(Template::attributes).map(String::as_str);
        let fixed: &[&str] = if is_active_directory { &PERSON_ATTRIBUTES } else { &["uid", "gidNumber"] };
        let logon: &[&str] = if is_active_directory { &logon::NAME_ATTRIBUTES } else { &[] };
        let member_of = (self.groups.strategy == Strategy::MemberOf).then_some("memberOf");
        let fixed = fixed.iter().chain(logon).copied().chain(member_of);
        with_ids(wanted.chain(names).chain(fixed).chain(ACCOUNT_ATTRIBUTES))
    }

    /// Whether the entry has the user's name, by the configured comparison: the directory's may be looser.
    fn is_named(
        &self,
        directory: &impl Search,
        entry: &Entry,
        finding: Finding<'_>,
        user: &str,
    ) -> Result<bool, LookupError> {
        let is_named = match finding {
            Finding::Template(template) => self.matched(entry, template, user)?.is_some(),
            Finding::Logon(name, domain) => name.is_of(entry, domain, self.match_rule)?,
        };
        let verdict = if is_named { Verdict::Taken } else { Verdict::OtherName };
        directory.remark(|| self.considered(entry, finding, verdict));
        Ok(is_named)
    }

    /// An entry that was found by a name, for whoever listens.
    fn considered(&self, entry: &Entry, finding: Finding<'_>, verdict: Verdict) -> Considered {
        let attributes: Vec<&str> = match finding {
            Finding::Template(template) => template.attributes().iter().map(String::as_str).collect(),
            Finding::Logon(..) => logon::NAME_ATTRIBUTES.to_vec(),
        };
        Considered::of(entry, &attributes, verdict)
    }

    /// The value of the user's name on the entry, and the attribute that has it.
    fn matched<'a>(
        &self,
        entry: &'a Entry,
        template: &'a Template,
        user: &str,
    ) -> Result<Option<(&'a str, &'a str)>, LookupError> {
        for attribute in template.attributes() {
            let mut values = entry.texts(attribute)?.into_iter();
            if let Some(value) = values.find(|value| self.match_rule.matches(value, user)) {
                return Ok(Some((attribute, value)));
            }
        }
        Ok(None)
    }

    fn member(&self, entry: &Entry, finding: Finding<'_>, user: &str) -> Result<Member, LookupError> {
        let (id, dn) = (entry.id()?, entry.dn.clone());
        let member_of = match self.groups.strategy {
            Strategy::MemberOf => Some(entry.texts("memberof")?.into_iter().map(str::to_owned).collect()),
            _ => None,
        };
        let Finding::Template(template) = finding else {
            let primary_group = primary_group_filter(entry);
            return Ok(Member { id, dn, uids: Vec::new(), primary_gid: None, primary_group, member_of });
        };
        let matched = self.matched(entry, template, user)?.filter(|(attribute, _)| *attribute == "uid");
        let uids = match matched {
            Some((_, uid)) => vec![uid.to_owned()],
            None => entry.texts("uid")?.into_iter().map(str::to_owned).collect(),
        };
        let primary_gid = entry.first("gidnumber")?.map(str::to_owned);
        Ok(Member { id, dn, uids, primary_gid, primary_group: primary_group_filter(entry), member_of })
    }

    async fn search_groups(
        &self,
        directory: &impl Search,
        about: &About,
        strategy: Strategy,
        entry: &Entry,
        member: &Member,
    ) -> Result<Groups, LookupError> {
        let lookup = self.lookup(about);
        if strategy == Strategy::MemberOf {
            let by_one = about.is_active_directory();
            self.has_member_of.get_or_try_init(|| self.prove_member_of(directory, by_one)).await?;
        }
        if lookup.flavour == Flavour::ActiveDirectory && member.primary_group.is_none() {
            tracing::warn!(dn = %entry.dn, "the primary group of an account cannot be read");
            return Err(LookupError::Protocol("primaryGroupID or objectSid cannot be read"));
        }
        Groups::of(directory, &lookup, member).await
    }

    /// The configured attributes that the entry has. Values that are no text are said to be unreadable.
    fn attributes(&self, entry: &Entry) -> Attributes {
        let values = |from: &str| match entry.texts(from) {
            Ok(values) if values.is_empty() => None,
            Ok(values) => Some(Values::Known(values.into_iter().map(str::to_owned).collect())),
            Err(_) => Some(Values::Unreadable),
        };
        let read = self.attributes.iter().filter_map(|(name, from)| Some((Arc::clone(name), values(from)?)));
        self.shared_attributes.share(read.collect())
    }
}

/// `tokenGroups` of an entry that was just found.
async fn token_of(directory: &impl Search, dn: &Dn, id: &EntityId) -> Result<Token, LookupError> {
    let query = Query {
        attributes: with_ids(PERSON_ATTRIBUTES.into_iter().chain([TOKEN_GROUPS])),
        limit: 1,
        step: Step::TokenGroups,
        ..Query::new(dn.as_str().to_owned(), Scope::Base)
    };
    let found = ranges::search(directory, query).await?;
    match found.entries.first() {
        Some(entry) if entry.id()? == *id => Token::read(entry),
        _ => Err(LookupError::Protocol("an entry was moved or replaced while it was read")),
    }
}

fn without_entry(person: Person, names: Vec<Trigger>, read_at: Timestamp) -> Facts {
    Facts { names, ..Facts::without_entry(person, read_at) }
}

/// A search for one entry that was cut short says nothing.
pub(super) fn refused(cut: Cut) -> LookupError {
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
fn group_kinds() -> String {
    let classes = ["groupOfNames", "groupOfUniqueNames", "groupOfMembers", "groupOfEntries", "posixGroup"];
    let mut kinds: Vec<String> = classes.iter().map(|class| equals("objectClass", class)).collect();
    kinds.extend(MEMBER_ATTRIBUTES.map(|attribute| format!("({attribute}=*)")));
    any_of(&kinds)
}

mod holder;
mod proof;

pub(super) use holder::Holder;
#[cfg(test)]
mod tests;

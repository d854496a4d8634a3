//! The groups of a person in Active Directory, by each strategy: which they are, how they were reached, and what cannot be
//! known.

use std::collections::BTreeSet;

use bailiwick::directory::{Flavour, LookupError, Settings, Strategy};
use bailiwick::model::{Dn, EntityId, Facts, Membership, Resolved};

use crate::logon_names::{later, open, resolve};
use crate::samba::{BASE, Entry, GROUPS, SERVICE, Samba};

/// schemaIDGUID of `tokenGroups`.
const TOKEN_GROUPS: &str = "b7c69e6d-2cc7-11d2-854e-00a0c983f608";
/// `groupType` (MS-ADTS 2.2.12): security groups of each scope, and a distribution group.
const GLOBAL: &str = "-2147483646";
const DOMAIN_LOCAL: &str = "-2147483644";
const UNIVERSAL: &str = "-2147483640";
const GLOBAL_DISTRIBUTION: &str = "2";

fn group(name: &str, kind: &str, members: &[&str]) -> Entry {
    let mut entry = Entry::group(name, members);
    entry.attributes.push(("groupType", vec![kind.into()]));
    entry
}

fn names(facts: &Facts) -> Vec<&str> {
    let mut names: Vec<_> = facts.groups.iter().map(|membership| &*membership.group.name).collect();
    names.sort_unstable();
    names
}

fn membership<'a>(facts: &'a Facts, name: &str) -> Membership<'a> {
    let named = facts.groups.iter().find(|membership| *membership.group.name == *name);
    named.unwrap_or_else(|| panic!("no {name} in {:?}", names(facts)))
}

fn path<'a>(facts: &'a Facts, name: &str) -> Vec<&'a str> {
    facts.path(membership(facts, name))
}

/// Settings that see every group of the domain.
fn wide(samba: &Samba) -> Settings {
    let mut settings = samba.settings(SERVICE);
    settings.group_search.base = BASE.to_owned();
    settings
}

/// Alice in `leaf` < `middle` < `top`, in a domain-local and a universal group, and in a distribution group, which is in
/// another. Her primary group is `Domain Users`.
fn company(samba: &Samba) -> String {
    let alice = samba.add_user("alice");
    let leaf = samba.add(group("leaf", GLOBAL, &[&alice]));
    let middle = samba.add(group("middle", UNIVERSAL, &[&leaf]));
    samba.add(group("top", DOMAIN_LOCAL, &[&middle]));
    samba.add(group("local", DOMAIN_LOCAL, &[&alice]));
    let mail = samba.add(group("mail", GLOBAL_DISTRIBUTION, &[&alice]));
    samba.add(group("behind-mail", UNIVERSAL, &[&mail]));
    samba.add(group("not-hers", GLOBAL, &[]));
    alice
}

#[tokio::test(flavor = "multi_thread")]
async fn all_groups_of_a_person_are_found_with_the_way_to_them() {
    let samba = Samba::start();
    let alice = company(&samba);
    let (directory, _) = open(samba.settings(SERVICE));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["Domain Users", "Users", "leaf", "local", "middle", "top"]);
    assert_eq!(facts.partial, None);
    assert_eq!(path(&facts, "top"), ["leaf", "middle", "top"]);
    assert_eq!(path(&facts, "local"), ["local"]);
    assert_eq!(path(&facts, "Domain Users"), ["Domain Users"]);
    for (name, dn) in [
        ("top", format!("CN=top,{GROUPS}")),
        ("Domain Users", format!("CN=Domain Users,CN=Users,{BASE}")),
        ("Users", format!("CN=Users,CN=Builtin,{BASE}")),
    ] {
        let (group, known) = (&membership(&facts, name).group, samba.identity(&dn));
        assert_eq!(group.dn, Some(Dn::parse(&dn).unwrap()));
        assert_eq!(group.sid, Some(EntityId::new(&known.sid_text())));
        assert_eq!(group.id, EntityId::new(&known.guid_text()));
    }

    // Another primary group: she is no member of it, and of the one before she is one now.
    let special = samba.add(group("special", GLOBAL, &[&alice]));
    let sid = samba.identity(&special).sid_text();
    samba.set(&alice, "primaryGroupID", &[sid.rsplit_once('-').unwrap().1]);
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["Domain Users", "Users", "leaf", "local", "middle", "special", "top"]);
    samba.remove_member(&format!("CN=Domain Users,CN=Users,{BASE}"), &alice);
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["leaf", "local", "middle", "special", "top"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_strategy_finds_the_same_groups_but_for_those_that_grant_nothing_in_windows() {
    let samba = Samba::start();
    company(&samba);
    let mut found = Vec::new();
    for strategy in [Strategy::TokenGroups, Strategy::Search, Strategy::MemberOf] {
        for nested in [true, false] {
            let mut settings = wide(&samba);
            settings.flavour = Flavour::ActiveDirectory;
            settings.group_search.strategy = strategy;
            settings.group_search.nested = nested;
            let (directory, _) = open(settings);
            assert_eq!(directory.probe(later()).await, Ok(()), "{strategy:?}");
            let facts = resolve(&directory, "alice").await.unwrap();
            let mut names: BTreeSet<String> = names(&facts).into_iter().map(str::to_owned).collect();
            // Distribution groups are in nobody's token (MS-ADTS 3.1.1.4.5.19), and neither is what is behind them.
            let distribution: Vec<bool> = ["mail", "behind-mail"].map(|name| names.remove(name)).to_vec();
            let is_token = strategy == Strategy::TokenGroups;
            assert_eq!(distribution, [!is_token, !is_token && nested], "{strategy:?} {nested}");
            if nested {
                assert_eq!(path(&facts, "top"), ["leaf", "middle", "top"], "{strategy:?}");
            }
            found.push((nested, names));
        }
    }
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    for (nested, names) in found {
        let expected = match nested {
            true => expected(&["Domain Users", "Users", "leaf", "local", "middle", "top"]),
            false => expected(&["Domain Users", "leaf", "local"]),
        };
        assert_eq!(names, expected, "nested: {nested}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_may_not_be_read_is_there_by_its_security_identifier() {
    let samba = Samba::start();
    company(&samba);
    let sid = samba.identity(&format!("CN=middle,{GROUPS}")).sid_text();
    samba.deny_all(SERVICE, &format!("CN=middle,{GROUPS}"));
    let (directory, _) = open(samba.settings(SERVICE));
    for _ in 0..2 {
        let facts = resolve(&directory, "alice").await.unwrap();
        assert_eq!(names(&facts), ["Domain Users", sid.as_str(), "Users", "leaf", "local", "top"]);
        let hidden = &membership(&facts, &sid).group;
        assert_eq!(
            (&hidden.id, &hidden.sid, &hidden.dn),
            (&EntityId::new(&sid), &Some(EntityId::new(&sid)), &None)
        );
        assert_eq!(facts.partial, None);
    }
    let name = directory.resolve_group_name("middle", later()).await;
    assert_eq!(name, Ok(Resolved::None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_group_has_a_name_only_where_it_can_have_members() {
    let samba = Samba::start();
    company(&samba);
    for strategy in [Strategy::TokenGroups, Strategy::Search, Strategy::MemberOf] {
        let mut settings = samba.settings(SERVICE);
        settings.group_search.strategy = strategy;
        let (directory, _) = open(settings);
        for (name, is_security) in
            [("leaf", true), ("middle", true), ("top", true), ("mail", false), ("behind-mail", true)]
        {
            let is_found = is_security || strategy != Strategy::TokenGroups;
            let id = EntityId::new(&samba.identity(&format!("CN={name},{GROUPS}")).guid_text());
            let expected = if is_found { Resolved::Group(id) } else { Resolved::None };
            assert_eq!(
                directory.resolve_group_name(name, later()).await,
                Ok(expected),
                "{strategy:?} {name}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_be_read_is_an_error_and_never_no_groups() {
    let samba = Samba::start();
    let alice = company(&samba);
    samba.add_user("bob");
    samba.deny_reading(SERVICE, &alice, TOKEN_GROUPS);
    let (directory, _) = open(samba.settings(SERVICE));
    for known in [None, resolve(&directory, "bob").await.ok().map(std::sync::Arc::new)] {
        let hidden = directory.resolve("alice", known, later()).await;
        assert!(matches!(hidden, Err(LookupError::Protocol(_))), "{hidden:?}");
    }
    assert!(resolve(&directory, "bob").await.is_ok());
    // Others can be found out about by a strategy that does not need it.
    let mut settings = samba.settings(SERVICE);
    settings.group_search.strategy = Strategy::Search;
    assert!(resolve(&open(settings).0, "alice").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_a_group_is_one_group_and_what_a_conflict_left_is_none() {
    let samba = Samba::start();
    let alice = samba.add_user("alice");
    let first = samba.add(group("twin", GLOBAL, &[&alice]));
    let unit = format!("OU=more,{GROUPS}");
    samba.add(Entry::new(unit.clone(), &[("objectClass", "organizationalUnit")]));
    let mut second = group("twin-2", GLOBAL, &[]);
    second.dn = format!("CN=twin,{unit}");
    samba.add(second);
    // What replication leaves where two domain controllers made a group of one name at the same time.
    let mut conflict = group("lost-1", GLOBAL, &[&alice]);
    conflict.dn = format!("CN=lost\\0ACNF:43ac139d-6e24-4c97-bd9c-35880cb73986,{GROUPS}");
    let conflict = samba.add(conflict);
    let deleted = samba.add(group("deleted", GLOBAL, &[&alice]));
    samba.delete(&deleted);

    let (directory, _) = open(samba.settings(SERVICE));
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["Domain Users", "Users", "twin"], "{conflict} is none");
    let id = |dn: &str| Resolved::Group(EntityId::new(&samba.identity(dn).guid_text()));
    for (name, expected) in [
        ("twin", id(&first)),
        ("TWIN", id(&first)),
        ("twin-2", id(&format!("CN=twin,{unit}"))),
        ("lost-1", Resolved::None),
        ("lost", Resolved::None),
        ("deleted", Resolved::None),
        // Not below the base of groups.
        ("Domain Users", Resolved::None),
        // A user is no group.
        ("alice", Resolved::None),
    ] {
        assert_eq!(directory.resolve_group_name(name, later()).await, Ok(expected), "{name}");
    }
    let mut settings = samba.settings(SERVICE);
    settings.group_search.name = Some("cn".to_owned());
    let (directory, _) = open(settings);
    assert_eq!(directory.resolve_group_name("twin", later()).await, Ok(Resolved::Several));
    assert_eq!(directory.resolve_group_name("deleted", later()).await, Ok(Resolved::None));
    let mut settings = samba.settings(SERVICE);
    settings.group_search.strategy = Strategy::Search;
    let facts = resolve(&open(settings).0, "alice").await.unwrap();
    assert_eq!(names(&facts), ["twin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_renamed_is_not_lost_where_only_direct_groups_count() {
    let samba = Samba::start();
    company(&samba);
    let mut settings = samba.settings(SERVICE);
    settings.group_search.nested = false;
    settings.change_feed = bailiwick::directory::ChangeFeed::Off;
    let (directory, _) = open(settings);
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["Domain Users", "leaf", "local"]);
    samba.rename(&format!("CN=leaf,{GROUPS}"), "blade");
    let facts = resolve(&directory, "alice").await.unwrap();
    assert_eq!(names(&facts), ["Domain Users", "leaf", "local"], "its account name is the same");
    let renamed = membership(&facts, "leaf").group.dn.clone();
    assert_eq!(renamed, Some(Dn::parse(&format!("CN=blade,{GROUPS}")).unwrap()));
}

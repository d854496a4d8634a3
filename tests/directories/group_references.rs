//! How policies name groups of Active Directory: by account name, DN, SID and GUID.

use bailiwick::model::Decision::{Allow, Deny, NoOpinion};

use crate::estate::{of_everyone, of_group};
use crate::fixture::{Service, Site};
use crate::samba::{BASE, Entry, GROUPS, SERVICE, Samba};

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_names_a_group_by_account_name_dn_sid_or_guid() {
    let samba = Samba::start();
    let alice = samba.add_user("alice");
    samba.add_user("bob");
    let leaf = samba.add_group("leaf", &[&alice]);
    // What the object is called is not its account name.
    let mut team = Entry::group("Team", &[&leaf]);
    team.dn = format!("CN=A team\\, of sorts,{GROUPS}");
    let team = samba.add(team);
    let known = samba.identity(&team);
    let users = samba.identity(&format!("CN=Domain Users,CN=Users,{BASE}")).sid_text();
    let (sid, guid) = (known.sid_text(), known.guid_text());
    let dn = format!("cn = a team\\2C  of sorts , ou=Groups,{}", BASE.to_lowercase()).replace('\\', "\\\\");
    let references = [
        ("by-name", "name: Team".to_owned(), true),
        ("by-name-in-lower-case", "name: team".to_owned(), true),
        ("by-dn", format!("dn: \"{dn}\""), true),
        ("by-sid", format!("id: {sid}"), true),
        ("by-sid-in-lower-case", format!("id: {}", sid.to_lowercase()), true),
        ("by-guid", format!("id: {guid}"), true),
        ("by-guid-in-upper-case", format!("id: {}", guid.to_uppercase()), true),
        ("by-the-sid-of-a-built-in-group", "id: S-1-5-32-545".to_owned(), true),
        ("by-the-sid-of-the-primary-group", format!("id: {users}"), true),
        ("by-cn", "name: \"A team, of sorts\"".to_owned(), false),
        ("by-another-sid", format!("id: {}1", sid), false),
        ("by-the-dn-of-her-own", format!("dn: \"{alice}\""), false),
    ];
    let everything = references.each_ref().map(|(name, ..)| name.to_string());
    let allows = references.iter().map(|(name, group, _)| of_group(name, "Allow", group, name));
    let denies = references
        .iter()
        .map(|(name, group, _)| of_group(&format!("not-{name}"), "Deny", group, &format!("not-{name}")));
    let denied = references.each_ref().map(|(name, ..)| format!("not-{name}"));
    let all = of_everyone(&denied.each_ref().map(String::as_str));
    let site = Site::new(&[("all.yaml", &(allows.chain(denies).collect::<String>() + &all))]);
    for strategy in ["tokenGroups", "search", "memberOf"] {
        let search = format!("groupSearch: {{base: \"{BASE}\", strategy: {strategy}}}");
        site.configure(&samba.section(SERVICE, &[&search, "changeFeed: off"], &[]));
        let service = Service::start(&site).await;
        for ((name, _, is_in), resource) in references.iter().zip(&everything) {
            let expected = if *is_in { Allow } else { NoOpinion };
            let answer = service.ask("alice", "get", resource).await;
            assert_eq!(answer.decision, expected, "{strategy} {name}: {}", answer.reason);
            // A name that no group has is not known to spare her.
            let is_spared = !is_in && *name != "by-cn";
            let answer = service.ask("alice", "get", &format!("not-{resource}")).await;
            assert_eq!(
                answer.decision,
                if is_spared { Allow } else { Deny },
                "{strategy} {name}: {}",
                answer.reason
            );
        }
        assert_eq!(service.decides("bob", "get", "by-name").await, NoOpinion);
        assert_eq!(service.decides("bob", "get", "not-by-sid").await, Allow);
        assert_eq!(service.decides("bob", "get", "by-the-sid-of-the-primary-group").await, Allow);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_groups_have_is_unknown_and_so_refuses() {
    let samba = Samba::start();
    let [alice, bob] = ["alice", "bob"].map(|name| samba.add_user(name));
    let unit = format!("OU=more,{GROUPS}");
    samba.add(Entry::new(unit.clone(), &[("objectClass", "organizationalUnit")]));
    samba.add_group("twin", &[&alice]);
    let mut other = Entry::group("twin-2", &[&bob]);
    other.dn = format!("CN=twin,{unit}");
    samba.add(other);
    let policies = of_everyone(&["jobs"])
        + &of_group("allow", "Allow", "name: twin", "pods")
        + &of_group("deny", "Deny", "name: twin", "jobs");
    let site = Site::new(&[("all.yaml", &policies)]);
    let search = format!("groupSearch: {{base: \"{GROUPS}\", name: cn}}");
    site.configure(&samba.section(SERVICE, &[&search, "changeFeed: off"], &[]));
    let service = Service::start(&site).await;
    for user in ["alice", "bob"] {
        assert_eq!(service.decides(user, "get", "pods").await, NoOpinion, "{user}");
        let answer = service.ask(user, "get", "jobs").await;
        assert_eq!(answer.decision, Deny, "{user}");
        assert!(answer.reason.contains("could not find out"), "{user}: {}", answer.reason);
    }
    // By their account names they are two.
    site.configure(&samba.section(SERVICE, &["changeFeed: off"], &[]));
    let service = Service::start(&site).await;
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    assert_eq!(service.decides("bob", "get", "pods").await, NoOpinion);
    assert_eq!(service.decides("bob", "get", "jobs").await, Allow);
}

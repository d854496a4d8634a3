//! What `serve` refuses to start with, because the directory that answers is not the one that the configuration means.

use bailiwick::model::Decision::{Allow, NoOpinion};

use crate::fixture::{Service, Site, Transport, directory, eventually, policy, run};
use crate::samba::{BASE, GROUPS, PEOPLE, SERVICE, Samba};
use crate::slapd::Slapd;

/// schemaIDGUID of `tokenGroups`.
const TOKEN_GROUPS: &str = "b7c69e6d-2cc7-11d2-854e-00a0c983f608";
/// The exit code of an invalid configuration.
const INVALID: i32 = 5;

fn site() -> Site {
    let team = policy("team", "Allow", "[{kind: DirectoryGroup, name: team}]", "[pods]");
    Site::new(&[("all.yaml", &team)])
}

/// Starts it, and sees to it that it ends with a message that holds all of this.
fn refuses(site: &Site, says: &[&str]) {
    let configuration = site.path("config.yaml").display().to_string();
    let (code, out, err) = run(site.path(".").as_path(), &["serve", "--config", &configuration]);
    assert_eq!(code, INVALID, "{out}{err}");
    for words in says {
        assert!(err.contains(words), "no {words} in {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_flavour_ends_the_start_by_name() {
    let (samba, slapd) = (Samba::start(), Slapd::start("", ""));
    let site = site();
    let url = &samba.urls()[0];
    for (lines, says) in [
        ("flavour: openldap", ["Active Directory", "`openldap`", url]),
        ("flavour: rfc2307bis", ["Active Directory", "`rfc2307bis`", url]),
        ("changeFeed: syncrepl", ["Active Directory", "`changeFeed: syncrepl`", "directory.ldap"]),
    ] {
        // A name that is no DN goes with Active Directory only.
        let section = samba.section(SERVICE, &[lines], &[]);
        let section = section.replace(&samba.bind_name(SERVICE), &format!("CN=svc,CN=Users,{}", BASE));
        site.configure(&section);
        refuses(&site, &says);
    }
    let url = slapd.ldaps_url();
    for (lines, says) in [
        ("flavour: activeDirectory", ["OpenLDAP", "`activeDirectory`", url.as_str()]),
        (
            "groupSearch: {base: \"dc=example,dc=test\", strategy: tokenGroups}",
            ["OpenLDAP", "`groupSearch.strategy: tokenGroups`", &url],
        ),
        ("changeFeed: dirsync", ["OpenLDAP", "`changeFeed: dirsync`", "directory.ldap"]),
        ("changeFeed: notify", ["OpenLDAP", "`changeFeed: notify`", "directory.ldap"]),
    ] {
        let mut section =
            directory(&slapd, Transport::Ldaps, "{connect: 2s, operation: 2s, total: 2900ms}", "");
        if lines.starts_with("groupSearch") {
            section = section
                .lines()
                .filter(|line| !line.contains("groupSearch"))
                .map(|line| format!("{line}\n"))
                .collect();
        }
        site.configure(&section.replace("    timeouts:", &format!("    {lines}\n    timeouts:")));
        refuses(&site, &says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_may_not_be_read_end_the_start_by_name_and_those_of_one_person_do_not() {
    let samba = Samba::start();
    let people = ["ada", "bob", "eve"].map(|name| samba.add_user(name));
    samba.add_group("team", &people.each_ref().map(String::as_str));
    let site = site();
    site.configure(&samba.section(SERVICE, &[], &[]));
    samba.deny_reading(SERVICE, &people[0], TOKEN_GROUPS);
    {
        let service = Service::start(&site).await;
        let ask = async |user| service.ask(user, "get", "pods").await;
        assert_eq!(ask("bob").await.decision, Allow);
        let hidden = ask("ada").await;
        assert_eq!(hidden.decision, NoOpinion, "{}", hidden.reason);
        eventually("it is ready", async || service.get("/readyz").await.0 == 200).await;
    }
    samba.deny_reading_below(SERVICE, PEOPLE, TOKEN_GROUPS);
    refuses(
        &site,
        &["`tokenGroups`", "`groupSearch.strategy: tokenGroups`", "service account", &samba.urls()[0]],
    );
    // Its own way out: a strategy that does not need them.
    let line = format!("groupSearch: {{base: \"{}\", strategy: search}}", GROUPS);
    site.configure(&samba.section(SERVICE, &[&line], &[]));
    let service = Service::start(&site).await;
    assert_eq!(service.decides("ada", "get", "pods").await, Allow);
}

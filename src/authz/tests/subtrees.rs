//! A part of the tree that is moved out of what the feed looks at, or into it, is told as one entry.

use super::*;
use crate::directory::persona::samples::record;

const COMPANY: &str = "ou=company,dc=corp,dc=example";
const BERLIN: &str = "ou=berlin,ou=company,dc=corp,dc=example";
const UID_ADA: &str = "uid=ada,ou=berlin,ou=company,dc=corp,dc=example";
const OUTSIDE: &str = "ou=left,dc=corp,dc=example";

/// ada is in berlin, and in a group of `teams` below `parent`; the container of teams has this class and kind of name.
fn company(class: &str, teams: &str) -> String {
    let group = format!("cn=team,{teams}");
    [
        record("dc=corp,dc=example", "domain", &[("dc", "corp")]),
        record(COMPANY, "organizationalUnit", &[]),
        record(OUTSIDE, "organizationalUnit", &[]),
        record(BERLIN, "organizationalUnit", &[]),
        record(UID_ADA, "inetOrgPerson", &[("uid", "ada"), ("cn", "Ada"), ("sn", "L")]),
        record(teams, class, &[]),
        record(&group, "groupOfNames", &[("cn", "team"), ("member", UID_ADA)]),
    ]
    .concat()
}

async fn scene(server: &Persona, policies: &str) -> Scene {
    let scene = Scene::start(&[server], policies, |settings| {
        COMPANY.clone_into(&mut settings.user_search.base);
        COMPANY.clone_into(&mut settings.group_search.base);
    })
    .await;
    assert!(scene.read("ada").await.unwrap().followed);
    scene
}

#[tokio::test]
async fn people_and_groups_that_are_moved_out_with_what_they_stand_below_allow_nothing_any_more() {
    for (class, teams) in [
        ("organizationalUnit", "ou=teams,ou=company,dc=corp,dc=example"),
        ("domain", "dc=teams,ou=company,dc=corp,dc=example"),
        ("organizationalRole", "cn=teams,ou=company,dc=corp,dc=example"),
    ] {
        for (moved, to) in [(BERLIN, "ou=berlin"), (teams, teams.split(',').next().unwrap())] {
            let server = Persona::open_ldap(&company(class, teams)).await;
            let scene = scene(&server, &policy("Allow", "team", "pods")).await;
            assert_eq!(scene.decides("ada", "pods").await, Decision::Allow);
            server.change(|content| content.rename(moved, &format!("{to},{OUTSIDE}")));
            scene.given_up("ada").await;
            assert_eq!(scene.decides("ada", "pods").await, Decision::NoOpinion, "{moved}");
        }
    }
}

#[tokio::test]
async fn a_group_that_is_moved_in_with_what_it_stands_below_denies() {
    let teams = format!("ou=teams,{OUTSIDE}");
    let server = Persona::open_ldap(&company("organizationalUnit", &teams)).await;
    let scene = scene(&server, &policy("Deny", "team", "pods")).await;
    server.change(|content| content.rename(&teams, &format!("ou=teams,{COMPANY}")));
    scene.given_up("ada").await;
}

#[tokio::test]
async fn what_others_stand_below_renames_them_whatever_else_it_is() {
    let (old, new) = ("ou=teams,ou=company,dc=corp,dc=example", "ou=groups,ou=company,dc=corp,dc=example");
    let ldif = company("organizationalUnit", old);
    let server = Persona::open_ldap(&ldif).await;
    server.change(|content| content.add_value(old, "objectClass", "simpleSecurityObject"));
    let scene = scene(&server, &policy("Allow", "team", "pods")).await;
    server.change(|content| content.rename(old, new));
    scene.given_up("ada").await;
}

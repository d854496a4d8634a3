//! What names of groups in policies stand for, while groups are renamed, deleted and given namesakes.

use super::*;
use crate::directory::persona::samples::{OPEN_COMPANY, record};
use crate::directory::persona::{Fault, Outcome};

const CN_LEAF: &str = "cn=leaf,ou=groups,dc=corp,dc=example";
const UID_ADA: &str = "uid=ada,ou=people,dc=corp,dc=example";

impl Scene {
    /// Puts these policies in force, when their names are resolved.
    async fn load(&self, policies: &str) {
        std::fs::write(self.folder.path().join("policies.yaml"), policies).unwrap();
        assert_eq!(self.store.reload().await, store::Reload::Loaded);
    }

    async fn resolves_all_but(&self, count: usize) {
        let what = format!("all names but {count} are resolved");
        eventually(&what, || self.authorizer.bound.load().unresolved() == count).await;
    }
}

#[tokio::test]
async fn a_group_that_is_renamed_while_its_name_is_resolved_does_not_keep_it() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = Scene::start(&[&server], &policy("Allow", "top", "pods"), |_| ()).await;
    scene.read("ada").await.unwrap();
    server.hold(|search| search.filter.contains("(cn=leaf)"));
    scene.load(&policy("Allow", "leaf", "pods")).await;
    server.held(1).await;
    server.change(|content| content.rename(CN_LEAF, "cn=blatt,ou=groups,dc=corp,dc=example"));
    scene.given_up("ada").await;
    server.release();
    scene.resolves_all_but(1).await;
    // Who is in some group may be in the one that nobody can name.
    scene.turns_to("ada", "pods", Decision::NoOpinion).await;
}

#[tokio::test]
async fn a_name_is_that_of_one_group_again_when_its_namesake_goes() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let namesake = "cn=leaf,ou=people,dc=corp,dc=example";
    let scene = Scene::start(&[&server], &policy("Deny", "leaf", "pods"), |_| ()).await;
    assert_eq!(scene.decides("ada", "pods").await, Decision::Deny);
    server.change(|content| {
        content.add(&record(namesake, "groupOfNames", &[("cn", "leaf"), ("member", UID_ADA)]))
    });
    scene.resolves_all_but(1).await;
    assert_eq!(scene.decides("ada", "pods").await, Decision::Deny, "it may be the one");
    server.change(|content| content.delete(namesake));
    scene.resolves_all_but(0).await;
    assert_eq!(scene.decides("ada", "pods").await, Decision::Deny);
    server.change(|content| {
        content.delete(CN_LEAF);
        content.add(&record(CN_LEAF, "groupOfNames", &[("cn", "leaf"), ("member", "cn=nobody")]));
    });
    // Another group of that name, in which ada is not.
    scene.turns_to("ada", "pods", Decision::NoOpinion).await;
    server.change(|content| content.add_value(CN_LEAF, "member", UID_ADA));
    scene.turns_to("ada", "pods", Decision::Deny).await;
}

#[tokio::test]
async fn a_deny_does_not_lose_its_group_by_a_rename() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let policies = policy("Allow", "top", "pods") + &policy("Deny", "leaf", "pods");
    let scene = Scene::start(&[&server], &policies, |_| ()).await;
    assert_eq!(scene.decides("ada", "pods").await, Decision::Deny);
    let renamed = "cn=blatt,ou=groups,dc=corp,dc=example";
    server.change(|content| {
        content.rename(CN_LEAF, renamed);
        // Where links do not follow by themselves, an administrator sees to it.
        content.remove_value("cn=mid,ou=groups,dc=corp,dc=example", "member", CN_LEAF);
        content.add_value("cn=mid,ou=groups,dc=corp,dc=example", "member", renamed);
    });
    scene.resolves_all_but(1).await;
    for _ in 0..5 {
        assert_eq!(scene.decides("ada", "pods").await, Decision::Deny);
    }
    server.change(|content| {
        content.remove_value("cn=mid,ou=groups,dc=corp,dc=example", "member", renamed);
        content.rename(renamed, CN_LEAF);
        content.add_value("cn=mid,ou=groups,dc=corp,dc=example", "member", CN_LEAF);
    });
    scene.resolves_all_but(0).await;
    assert_eq!(scene.decides("ada", "pods").await, Decision::Deny);
}

#[tokio::test]
async fn a_name_that_may_be_anothers_is_unknown_until_the_directory_answers_for_it() {
    let server = Persona::open_ldap(OPEN_COMPANY).await;
    let scene = Scene::start(&[&server], &policy("Deny", "leaf", "pods"), |_| ()).await;
    assert_eq!(scene.decides("bob", "pods").await, Decision::NoOpinion);
    server.fault_where(Fault::Result(Outcome::new(80, "")), |search| search.filter.contains("(cn=leaf)"));
    let bob = "uid=bob,ou=people,dc=corp,dc=example";
    server.change(|content| {
        content.delete(CN_LEAF);
        content.add(&record(CN_LEAF, "groupOfNames", &[("cn", "leaf"), ("member", bob)]));
    });
    scene.resolves_all_but(1).await;
    assert_eq!(scene.decides("bob", "pods").await, Decision::Deny, "it may be the one that he is in");
    server.heal();
    scene.resolves_all_but(0).await;
    scene.turns_to("bob", "pods", Decision::Deny).await;
    scene.turns_to("ada", "pods", Decision::NoOpinion).await;
}

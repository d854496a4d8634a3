//! Objects with owners, and what becomes of them.

use super::*;
use crate::frontend::api::garbage;
use crate::frontend::storage::Preconditions;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

fn owner(of: &Value) -> Value {
    let text = |field| meta::text(of, field);
    json!({"apiVersion": of["apiVersion"], "kind": of["kind"], "name": text("name"), "uid": text("uid")})
}

fn blocking(of: &Value) -> Value {
    let mut owner = owner(of);
    owner["blockOwnerDeletion"] = true.into();
    owner
}

impl World {
    async fn owned(&self, name: &str, owners: Value) -> Value {
        let made = self.post(MAPS, json!({"metadata": {"name": name, "ownerReferences": owners}})).await;
        assert_eq!(made.code, 201, "{}", made.text);
        made.body
    }

    async fn account(&self, name: &str) -> Value {
        self.post(ACCOUNTS, json!({"metadata": {"name": name}})).await.body
    }

    async fn delete_by(&self, target: &str, options: Value) -> Reply {
        self.ask("DELETE", target, &[], options.to_string().as_bytes()).await
    }

    async fn maps(&self) -> Vec<String> {
        self.get(MAPS).await.names().into_iter().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn whoever_belongs_to_one_that_goes_goes_along_and_so_do_their_own() {
    let world = World::new().await;
    let root = world.account("root").await;
    let other = world.account("other").await;
    let child = world.owned("child", json!([owner(&root)])).await;
    world.owned("grandchild", json!([owner(&child)])).await;
    world.owned("shared", json!([owner(&root), owner(&other)])).await;
    world.owned("others", json!([owner(&other)])).await;
    assert_eq!(world.delete(&format!("{ACCOUNTS}/root")).await.code, 200);
    assert_eq!(world.maps().await, ["others", "shared"]);
    let shared = world.get(&format!("{MAPS}/shared")).await.body;
    assert_eq!(shared["metadata"]["ownerReferences"], json!([owner(&other)]), "one that lives is left");
    world.delete(ACCOUNTS).await;
    assert_eq!(world.maps().await, [""; 0]);
}

#[tokio::test]
async fn dependants_stay_where_they_are_to_be_orphans() {
    for options in [json!({"propagationPolicy": "Orphan"}), json!({"orphanDependents": true})] {
        let world = World::new().await;
        let root = world.account("root").await;
        world.owned("child", json!([owner(&root)])).await;
        assert_eq!(world.delete_by(&format!("{ACCOUNTS}/root"), options).await.code, 200);
        assert_eq!(world.get(&format!("{ACCOUNTS}/root")).await.code, 404);
        let child = world.get(&format!("{MAPS}/child")).await;
        assert_eq!((child.code, child.body["metadata"].get("ownerReferences")), (200, None));
    }
}

#[tokio::test]
async fn an_owner_in_the_foreground_waits_for_those_that_block_it() {
    let world = World::new().await;
    let root = world.account("root").await;
    world.owned("free", json!([owner(&root)])).await;
    let mut held = json!({"metadata": {"name": "held", "ownerReferences": [blocking(&root)]}});
    held["metadata"]["finalizers"] = json!(["example.org/wait"]);
    world.post(MAPS, held).await;
    let path = format!("{ACCOUNTS}/root");
    let going = world.delete_by(&path, json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(going.body["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert_eq!(world.maps().await, ["held"], "what holds nothing is gone at once");
    assert_eq!(world.get(&path).await.code, 200, "it waits");
    let free = json!({"metadata": {"finalizers": null}});
    world.patch("merge-patch", &format!("{MAPS}/held"), free).await;
    assert_eq!(world.maps().await, [""; 0]);
    assert_eq!(world.get(&path).await.code, 404);
}

#[tokio::test]
async fn owners_that_wait_for_each_other_go_nevertheless() {
    let world = World::new().await;
    let one = world.owned("one", json!([])).await;
    let two = world.owned("two", json!([blocking(&one)])).await;
    let circle = json!({"metadata": {"ownerReferences": [blocking(&two)]}});
    assert_eq!(world.patch("merge-patch", &format!("{MAPS}/one"), circle).await.code, 200);
    world.delete_by(&format!("{MAPS}/one"), json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(world.maps().await, [""; 0]);
}

#[tokio::test]
async fn what_belongs_to_nobody_that_is_there_does_not_stay() {
    let world = World::new().await;
    let root = world.account("root").await;
    let mut unknown = owner(&root);
    unknown["uid"] = "another".into();
    world.owned("strange", json!([unknown])).await;
    assert_eq!(world.maps().await, [""; 0], "another has the name of its owner");
    let job = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1"}]);
    world.owned("of-a-job", job).await;
    assert_eq!(world.maps().await, ["of-a-job"], "nobody here knows whether there is a job");
}

#[tokio::test]
async fn an_object_that_is_given_an_owner_later_goes_with_it() {
    let world = World::new().await;
    let (root, other) = (world.account("root").await, world.account("other").await);
    world.owned("late", json!([])).await;
    world.delete(&format!("{ACCOUNTS}/other")).await;
    let given = json!({"metadata": {"ownerReferences": [owner(&root)]}});
    world.patch("merge-patch", &format!("{MAPS}/late"), given).await;
    world.delete(&format!("{ACCOUNTS}/root")).await;
    assert_eq!(world.maps().await, [""; 0]);
    drop(other);
}

#[tokio::test]
async fn what_was_under_way_at_an_end_is_gone_on_with() {
    let world = World::new().await;
    let root = world.account("root").await;
    world.owned("child", json!([blocking(&root)])).await;
    let accounts = crate::frontend::resources::find("", "serviceaccounts").unwrap();
    let mut going = root.clone();
    meta::set(&mut going, "deletionTimestamp", "2026-03-01T12:00:00Z");
    meta::set(&mut going, "finalizers", json!(["foregroundDeletion"]));
    let storage = &world.services.storage;
    storage.update(accounts, "default", "root", &Default::default(), going).await.unwrap();
    garbage::resume(&world.services, now()).await;
    assert_eq!(world.maps().await, [""; 0]);
    assert_eq!(world.get(&format!("{ACCOUNTS}/root")).await.code, 404);
}

#[tokio::test]
async fn a_collection_takes_along_what_belongs_to_its_objects() {
    let world = World::new().await;
    for nth in 0..20 {
        let root = world.account(&format!("root-{nth}")).await;
        world.owned(&format!("child-{nth}"), json!([owner(&root)])).await;
    }
    assert_eq!(world.delete(ACCOUNTS).await.code, 200);
    assert_eq!(world.maps().await, [""; 0]);
}

#[tokio::test]
async fn ten_thousand_objects_go_one_by_one_with_what_belongs_to_each_of_them() {
    let world = World::new().await;
    let (maps, accounts) = ("configmaps", "serviceaccounts");
    let kind = |name| crate::frontend::resources::find("", name).unwrap();
    let storage = &world.services.storage;
    for nth in 0..5_000 {
        let name = format!("n-{nth}");
        let metadata = json!({"name": name, "namespace": "default", "uid": name});
        let root = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
        let mut child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
        child["metadata"]["uid"] = format!("c-{nth}").into();
        child["metadata"]["ownerReferences"] = json!([owner(&root)]);
        storage.create(kind(accounts), "default", &name, root).await.unwrap();
        storage.create(kind(maps), "default", &name, child).await.unwrap();
    }
    garbage::resume(&world.services, now()).await;
    assert_eq!(storage.list(kind(maps), None).items.len(), 5_000);
    let began = std::time::Instant::now();
    for nth in 0..5_000 {
        assert_eq!(world.delete(&format!("{ACCOUNTS}/n-{nth}")).await.code, 200);
    }
    assert!(storage.list(kind(maps), None).items.is_empty());
    assert!(world.services.garbage.is_empty(), "whose they were is forgotten");
    // Were all objects looked through each time, it would take minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_dry_run_takes_nothing_along() {
    let world = World::new().await;
    let root = world.account("root").await;
    world.owned("child", json!([owner(&root)])).await;
    world.delete_by(&format!("{ACCOUNTS}/root"), json!({"dryRun": ["All"]})).await;
    world.delete(&format!("{ACCOUNTS}?dryRun=All")).await;
    assert_eq!(world.maps().await, ["child"]);
}

#[tokio::test]
async fn owners_and_ways_to_delete_have_to_be_in_order() {
    let world = World::new().await;
    let root = world.account("root").await;
    let mut controller = owner(&root);
    controller["controller"] = true.into();
    for (owners, why) in [
        (
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "p"}]),
            "ownerReferences.uid: Invalid value: \"\": uid must",
        ),
        (
            json!([controller, controller]),
            "Only one reference can have Controller set to true. Found \"true\" in references for \
             ServiceAccount/root and ServiceAccount/root",
        ),
        (
            json!([{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "1"}]),
            "disallowed from being an owner",
        ),
    ] {
        let refused = world.post(MAPS, json!({"metadata": {"name": "m", "ownerReferences": owners}})).await;
        assert_eq!((refused.code, refused.message().contains(why)), (422, true), "{}", refused.text);
    }
    let path = format!("{ACCOUNTS}/root");
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": false});
    let refused = world.delete_by(&path, both).await;
    assert!(refused.message().contains("orphanDependents and deletionPropagation cannot be both set"));
    let refused = world.delete_by(&path, json!({"propagationPolicy": "Sideways"})).await;
    assert_eq!(
        refused.message(),
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported \
         values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
    assert_eq!(world.delete(&format!("{path}?gracePeriodSeconds=x")).await.code, 400);
    world.owned("child", json!([owner(&root)])).await;
    let gone = world.delete(&format!("{path}?propagationPolicy=Orphan&gracePeriodSeconds=0")).await;
    assert_eq!((gone.code, world.maps().await), (200, vec!["child".to_owned()]));
}

#[tokio::test]
async fn what_admission_does_not_let_go_stays_though_its_owner_is_gone() {
    let world = World::new().await;
    let root = world.account("root").await;
    world.owned("free", json!([owner(&root)])).await;
    let kept = world.owned("kept", json!([owner(&root)])).await;
    let mut labelled = kept.clone();
    labelled["metadata"]["labels"] = json!({"refuse": "yes"});
    let maps = crate::frontend::resources::find("", "configmaps").unwrap();
    let whatever = Preconditions::default();
    world.services.storage.update(maps, "default", "kept", &whatever, labelled).await.unwrap();
    assert_eq!(world.delete(&format!("{ACCOUNTS}/root")).await.code, 200);
    assert_eq!(world.maps().await, ["kept"]);
    // As whoever may change it would have it deleted: by an owner that is not there.
    let orphaned = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}]}});
    let patched = world.patch("merge-patch", &format!("{MAPS}/kept"), orphaned).await;
    assert_eq!(patched.code, 403, "the test's plugin refuses every change of it: {}", patched.text);
    assert_eq!(world.maps().await, ["kept"]);
}

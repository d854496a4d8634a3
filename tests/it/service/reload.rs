//! Policies that change while they are served.

use std::os::unix::fs::symlink;

use bailiwick::model::Decision::{Allow, Deny};

use super::fixture::{Service, Site, eventually, policy};

const EVERYONE: &str = "[{kind: Everyone}]";

fn allow_pods() -> String {
    policy("everybody", "Allow", EVERYONE, "[pods]")
}

fn deny_pods() -> String {
    policy("nobody", "Deny", EVERYONE, "[pods]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_denies_and_a_broken_one_changes_nothing() {
    let site = Site::new(&[("allow.yaml", &allow_pods())]);
    site.configure("directory: {kind: none}");
    let service = Service::start(&site).await;
    let decides = async || service.decides("alice", "get", "pods").await;
    assert_eq!(decides().await, Allow);
    let deny = site.write("policies/deny.yaml", &deny_pods());
    eventually("the new file denies", async || decides().await == Deny).await;
    let (_, listed) = service.get_guarded("/policies").await;
    assert!(listed.contains("\"nobody\"") && listed.contains("deny.yaml"), "{listed}");

    // Without the broken file this would be an Allow.
    site.write(
        "policies/broken.yaml",
        &policy("broken", "Allow", EVERYONE, "[pods]").replace("effect", "efect"),
    );
    std::fs::remove_file(&deny).unwrap();
    let failed = "policy_reloads_total{result=\"failure\"}";
    eventually("the load fails", async || service.metric(failed).await > 0.0).await;
    assert_eq!(decides().await, Deny, "the last good set is in force");
    let (status, verbose) = service.get("/readyz?verbose").await;
    assert_eq!(status, 200, "{verbose}");
    let line = verbose.lines().find(|line| line.starts_with("[-]policies")).unwrap();
    assert!(line.contains("the last load failed") && line.contains("efect"), "{line}");
    assert!(service.log().iter().any(|line| line.contains("efect")), "{:?}", service.log());

    std::fs::remove_file(site.path("policies/broken.yaml")).unwrap();
    eventually("the folder as it is now", async || decides().await == Allow).await;
    eventually("nothing is wrong", async || service.get("/readyz?verbose").await.1.contains("[+]policies"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_folder_does_not_switch_denies_off() {
    let site = Site::new(&[("deny.yaml", &deny_pods())]);
    site.configure("directory: {kind: none}");
    let service = Service::start(&site).await;
    std::fs::remove_file(site.path("policies/deny.yaml")).unwrap();
    let failed = "policy_reloads_total{result=\"failure\"}";
    eventually("the load fails", async || service.metric(failed).await > 0.0).await;
    assert_eq!(service.decides("alice", "get", "pods").await, Deny);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_is_followed_through_its_links() {
    let site = Site::new(&[]);
    site.write("policies/..one/rules.yaml", &allow_pods());
    let folder = site.path("policies");
    symlink("..one", folder.join("..data")).unwrap();
    symlink("..data/rules.yaml", folder.join("rules.yaml")).unwrap();
    site.configure("directory: {kind: none}");
    let service = Service::start(&site).await;
    assert_eq!(service.decides("alice", "get", "pods").await, Allow);
    // As the kubelet does it: a new folder, a new link, one rename.
    site.write("policies/..two/rules.yaml", &deny_pods());
    symlink("..two", folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    std::fs::remove_dir_all(folder.join("..one")).unwrap();
    eventually("the swapped file denies", async || service.decides("alice", "get", "pods").await == Deny)
        .await;
    assert!(service.metric("policy_reloads_total{result=\"failure\"}").await < 1.0);
}

//! The Rust client `kube` against the front end of `bailiwick demo`: `bailiwick-client-of-kube KUBECONFIGS`.
//!
//! Prints `ok NAME` for each thing that it saw, and ends with an error at the first that is not so.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{AsyncReadExt, TryStreamExt, pin_mut};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SubjectAccessReviewStatus,
};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{
    DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Config, Discovery, ResourceExt};
use serde_json::{Value, json};

const NAMESPACE: &str = "payments-dev";
const ME: &str = "rust";
const SELECTOR: &str = "client=rust";
const WATCHED: &str = "pay-rust-watched";
const PATIENCE: Duration = Duration::from_secs(30);

fn ok(name: &str) {
    println!("ok {name}");
}

fn same<T: PartialEq + Debug>(seen: &T, expected: &T) -> Result<()> {
    ensure!(seen == expected, "{seen:?} instead of {expected:?}");
    Ok(())
}

fn contains(text: &str, part: &str) -> Result<()> {
    ensure!(text.contains(part), "{text:?} has no {part:?}");
    Ok(())
}

/// The Status that something is refused with, as the library parsed it.
fn refusal<T: Debug>(answer: kube::Result<T>, code: u16, reason: &str) -> Result<Box<Status>> {
    match answer {
        Err(kube::Error::Api(status)) => {
            same(&(status.code, status.reason.as_str()), &(code, reason))?;
            Ok(status)
        }
        other => bail!("not refused by a Status: {other:?}"),
    }
}

async fn connect(person: &str) -> Result<Client> {
    let folder = std::env::args().nth(1).context("where are the kubeconfigs?")?;
    let kubeconfig = Kubeconfig::read_from(format!("{folder}/{person}.yaml"))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    Ok(serde_json::from_value(value)?)
}

fn config_map(name: &str, data: Value) -> Result<ConfigMap> {
    of(json!({"metadata": {"name": name, "labels": {"client": ME}}, "data": data}))
}

fn pod(name: &str, labels: Value) -> Result<Pod> {
    let container = json!({"name": "web", "image": "registry.example.com/web:1"});
    of(json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}))
}

fn data(object: &ConfigMap) -> Value {
    json!(object.data)
}

async fn change(maps: &Api<ConfigMap>) -> Result<()> {
    maps.create(&PostParams::default(), &config_map(WATCHED, json!({"a": "1"}))?).await?;
    maps.patch(WATCHED, &PatchParams::default(), &Patch::Merge(json!({"data": {"a": "2"}}))).await?;
    maps.delete(WATCHED, &DeleteParams::default()).await?;
    Ok(())
}

async fn may(
    client: &Client,
    verb: &str,
    resource: &str,
    namespace: &str,
) -> Result<SubjectAccessReviewStatus> {
    let text = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        verb: text(verb),
        resource: text(resource),
        namespace: text(namespace),
        ..ResourceAttributes::default()
    };
    let mut review = SelfSubjectAccessReview::default();
    review.spec.resource_attributes = Some(attributes);
    let review =
        Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    review.status.context("a review without status")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tokio::time::timeout(PATIENCE * 4, seen()).await?
}

async fn seen() -> Result<()> {
    let client = connect("alice").await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);

    // The snippet of docs/frontend.md begins here.
    let pods: Api<Pod> = Api::namespaced(client.clone(), "payments-dev");
    for pod in pods.list(&ListParams::default()).await? {
        println!("{}", pod.name_any());
    }
    // It ends here.

    contains(&client.apiserver_version().await?.git_version, "v1.")?;
    ok("version");

    for discovery in
        [Discovery::new(client.clone()).run().await?, Discovery::new(client.clone()).run_aggregated().await?]
    {
        let kind = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
        let (resource, _) = discovery.resolve_gvk(&kind).context("no deployments")?;
        let deployments: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), "payments-prod", &resource);
        let web = deployments.get("web").await?;
        same(&web.data["spec"]["template"]["metadata"]["labels"]["app"], &json!("web"))?;
    }
    same(&maps.get_metadata("kube-root-ca.crt").await?.name_any(), &"kube-root-ca.crt".to_owned())?;
    ok("discovery");

    let all: Vec<String> = (0..5).map(|number| format!("pay-{ME}-{number}")).collect();
    let post = PostParams::default();
    for name in &all {
        let created = maps.create(&post, &config_map(name, json!({"name": name}))?).await?;
        same(&created.annotations().get("bailiwick.dev/owner").map(String::as_str), &Some("alice"))?;
    }
    refusal(maps.create(&post, &config_map(&all[0], json!({}))?).await, 409, "AlreadyExists")?;
    ok("create");

    let (mut listed, mut pages) = (Vec::new(), 0);
    let mut params = ListParams::default().labels(SELECTOR).limit(2);
    loop {
        let page = maps.list(&params).await?;
        pages += 1;
        listed.extend(page.items.iter().map(ResourceExt::name_any));
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => params.continue_token = Some(more),
            None => break,
        }
    }
    same(&(pages, &listed), &(3, &all))?;
    ok("list");

    let first = maps.get(&all[0]).await?;
    same(&data(&first), &json!({"name": all[0]}))?;
    ok("get");

    watched(&maps).await?;
    ok("watch");

    let too_old = maps.watch(&WatchParams::default(), "1").await?;
    pin_mut!(too_old);
    match too_old.try_next().await? {
        Some(WatchEvent::Error(status)) => same(&status.code, &410)?,
        other => bail!("nobody says that the version is too old: {other:?}"),
    }
    ok("resume");

    reflected(&maps, &all).await?;
    ok("reflector");

    let by = PatchParams::apply(ME);
    let replaced = json!([{"op": "replace", "path": "/data/name", "value": "json"}]);
    let replaced = Patch::<ConfigMap>::Json(of(replaced)?);
    same(&data(&maps.patch(&all[0], &by, &replaced).await?), &json!({"name": "json"}))?;
    let merge = Patch::Merge(json!({"data": {"name": null, "kind": "merge"}}));
    same(&data(&maps.patch(&all[0], &by, &merge).await?), &json!({"kind": "merge"}))?;
    let strategic = Patch::Strategic(json!({"data": {"kind": "strategic"}}));
    same(&data(&maps.patch(&all[0], &by, &strategic).await?), &json!({"kind": "strategic"}))?;
    let apply = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"kind": "apply"}}));
    let applied = refusal(maps.patch(&all[0], &by, &apply).await, 415, "UnsupportedMediaType")?;
    contains(&applied.message, "apply")?;
    ok("patch");

    let with = |object: &ConfigMap, text: &str| ConfigMap {
        data: Some(BTreeMap::from([("name".to_owned(), text.to_owned())])),
        ..object.clone()
    };
    let stale = refusal(maps.replace(&all[0], &post, &with(&first, "stale")).await, 409, "Conflict")?;
    contains(&stale.message, "the object has been modified")?;
    let now = maps.get(&all[0]).await?;
    same(&data(&maps.replace(&all[0], &post, &with(&now, "new")).await?), &json!({"name": "new"}))?;
    ok("replace");

    for name in &all {
        maps.delete(name, &DeleteParams::default()).await?;
    }
    refusal(maps.get(&all[0]).await, 404, "NotFound")?;
    same(&maps.get_opt(&all[0]).await?, &None)?;
    ok("delete");

    // The name gets its prefix from admission.
    let stored = pods.create(&post, &pod(ME, json!({"app": ME}))?).await?.name_any();
    same(&stored, &format!("pay-{ME}"))?;
    let log = pods.logs(&stored, &LogParams::default()).await?;
    contains(&log, "alice")?;
    let mut streamed = String::new();
    pods.log_stream(&stored, &LogParams::default()).await?.read_to_string(&mut streamed).await?;
    same(&streamed, &log)?;
    let deleted = pods.delete(&stored, &DeleteParams::default()).await?;
    same(&deleted.left().map(|pod| pod.name_any()), &Some(stored))?;
    ok("log");

    same(&may(&client, "list", "pods", NAMESPACE).await?.allowed, &true)?;
    let denied = may(&client, "get", "secrets", "payments-prod").await?;
    same(&(denied.allowed, denied.denied), &(false, Some(true)))?;
    contains(&denied.reason.unwrap_or_default(), "payments-prod")?;
    ok("access review");

    let secrets: Api<Secret> = Api::namespaced(client.clone(), "payments-prod");
    let by_policy = refusal(secrets.list(&ListParams::default()).await, 403, "Forbidden")?;
    contains(&by_policy.message, "The secrets of payments-prod are for its workload only.")?;
    ok("refused by a policy");

    let unlabelled = pods.create(&post, &pod("pay-rust", json!({"x": "y"}))?).await;
    let by_admission = refusal(unlabelled, 422, "Invalid")?;
    let causes = by_admission.details.map(|details| details.causes).unwrap_or_default();
    same(&causes.first().map(|cause| cause.field.as_str()), &Some("metadata.labels[app]"))?;
    ok("refused by admission");

    let nina: Api<Pod> = Api::namespaced(connect("nina").await?, NAMESPACE);
    let by_nobody = refusal(nina.list(&ListParams::default()).await, 403, "Forbidden")?;
    contains(&by_nobody.message, "User \"nina\" cannot list resource \"pods\"")?;
    ok("token");

    let deployer: Api<Pod> = Api::namespaced(connect("deployer").await?, NAMESPACE);
    deployer.list(&ListParams::default()).await?;
    ok("service account");

    let bob: Api<SelfSubjectReview> = Api::all(connect("bob").await?);
    let who = bob.create(&post, &SelfSubjectReview::default()).await?;
    let user = who.status.and_then(|status| status.user_info).and_then(|user| user.username);
    same(&user.as_deref(), &Some("bob"))?;
    ok("password");
    Ok(())
}

/// What happens while it watches, beginning at the version of a list.
async fn watched(maps: &Api<ConfigMap>) -> Result<()> {
    let since = maps.list(&ListParams::default().labels(SELECTOR)).await?.metadata.resource_version;
    let events = maps.watch(&WatchParams::default().labels(SELECTOR), &since.context("no version")?).await?;
    pin_mut!(events);
    change(maps).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event = events.try_next().await?.context("the watch ended")?;
        let (kind, object) = match event {
            WatchEvent::Added(object) => ("added", object),
            WatchEvent::Modified(object) => ("modified", object),
            WatchEvent::Deleted(object) => ("deleted", object),
            other => bail!("{other:?}"),
        };
        same(&object.name_any(), &WATCHED.to_owned())?;
        seen.push((kind, data(&object)["a"].clone()));
    }
    same(&seen, &vec![("added", json!("1")), ("modified", json!("2")), ("deleted", json!("2"))])
}

/// A reflector keeps a store of what there is, while that changes.
async fn reflected(maps: &Api<ConfigMap>, all: &[String]) -> Result<()> {
    let (reader, writer) = reflector::store();
    let config = watcher::Config::default().labels(SELECTOR);
    let events = reflector(writer, watcher(maps.clone(), config)).default_backoff();
    pin_mut!(events);
    let mut next = async || -> Result<watcher::Event<ConfigMap>> {
        let event = tokio::time::timeout(PATIENCE, events.try_next()).await?;
        event?.ok_or_else(|| anyhow!("the watcher ended"))
    };
    while !matches!(next().await?, watcher::Event::InitDone) {}
    let names = || {
        let mut names: Vec<String> = reader.state().iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    };
    same(&names().as_slice(), &all)?;
    change(maps).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match next().await? {
            watcher::Event::Apply(object) => {
                seen.push(("apply", object.name_any(), data(&object)["a"].clone()))
            }
            watcher::Event::Delete(object) => {
                seen.push(("delete", object.name_any(), data(&object)["a"].clone()))
            }
            other => bail!("{other:?}"),
        }
    }
    let of = |verb, value| (verb, WATCHED.to_owned(), json!(value));
    same(&seen, &vec![of("apply", "1"), of("apply", "2"), of("delete", "2")])?;
    same(&names().as_slice(), &all)
}

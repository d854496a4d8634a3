use super::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "creationTimestamp": null},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
    })
}

async fn with_deployment() -> (World, Value) {
    let world = World::new().await;
    let made = world.post(DEPLOYMENTS, deployment("web")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    (world, made.body)
}

async fn cells(world: &World, target: &str) -> Vec<Value> {
    let reply = world.ask("GET", target, &[("accept", TABLE)], b"").await;
    let columns = reply.body["columnDefinitions"].as_array().unwrap().len();
    let cells = reply.body["rows"][0]["cells"].as_array().unwrap().clone();
    assert_eq!(cells.len(), columns);
    cells
}

#[tokio::test]
async fn a_deployment_gets_what_an_api_server_fills_in() {
    let (_, made) = with_deployment().await;
    let spec = &made["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    assert_eq!(spec["template"]["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["status"], json!({}));
}

#[tokio::test]
async fn a_deployment_that_does_not_select_its_own_pods_is_refused() {
    let world = World::new().await;
    let mut other = deployment("web");
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let refused = world.post(DEPLOYMENTS, other).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            422,
            "Deployment.apps \"web\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: \
             `selector` does not match template `labels`"
        )
    );
    for (pointer, value, field) in [
        ("/spec/replicas", json!(-1), "spec.replicas"),
        ("/spec/selector", json!({}), "spec.selector"),
        ("/spec/selector", json!({"matchExpressions": [{"key": "app", "operator": "Is"}]}), "operator"),
        ("/spec/selector", json!({"matchExpressions": [{"key": "app", "operator": "In"}]}), "values"),
        ("/spec/template/spec/restartPolicy", json!("Never"), "spec.template.spec.restartPolicy"),
        ("/spec/template/spec/containers/0/image", json!(""), "spec.template.spec.containers[0].image"),
        ("/spec/template/metadata/labels/b", json!("a b"), "spec.template.metadata.labels"),
        ("/spec/strategy/type", json!("Never"), "spec.strategy.type"),
        ("/spec/progressDeadlineSeconds", json!(0), "spec.progressDeadlineSeconds"),
    ] {
        let mut wrong = deployment("web");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        if parent.ends_with("strategy") {
            wrong["spec"]["strategy"] = json!({});
        }
        let parent = wrong.pointer_mut(parent).unwrap();
        parent[name] = value;
        let refused = world.post(DEPLOYMENTS, wrong).await;
        assert_eq!(refused.code, 422, "{pointer}: {}", refused.text);
        assert!(refused.message().contains(field), "{pointer}: {}", refused.message());
    }
    let mut none = deployment("web");
    none["spec"].as_object_mut().unwrap().remove("selector");
    let refused = world.post(DEPLOYMENTS, none).await;
    assert!(refused.message().contains("spec.selector: Required value"), "{}", refused.message());
    let empty = world.post(DEPLOYMENTS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(empty.code, 422, "{}", empty.text);
}

#[tokio::test]
async fn what_a_deployment_selects_can_never_be_changed() {
    let (world, _) = with_deployment().await;
    let web = format!("{DEPLOYMENTS}/web");
    let more = json!({
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}},
    });
    let refused = world.patch("strategic-merge-patch", &web, json!({"spec": more})).await;
    assert_eq!(refused.code, 422);
    assert!(refused.message().ends_with("field is immutable"), "{}", refused.message());
}

#[tokio::test]
async fn the_generation_counts_changes_of_what_is_wanted_alone() {
    let (world, _) = with_deployment().await;
    let web = format!("{DEPLOYMENTS}/web");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}});
    let patched = world.patch("strategic-merge-patch", &web, image).await.body;
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["spec"]["template"]["spec"]["containers"][0]["image"], "nginx:2");
    let labelled = world.patch("merge-patch", &web, json!({"metadata": {"labels": {"a": "b"}}})).await.body;
    assert_eq!(labelled["metadata"]["generation"], 2);
    let status = json!({"status": {"replicas": 1, "readyReplicas": 1}, "spec": {"replicas": 7}});
    let shown = world.patch("merge-patch", &format!("{web}/status"), status.clone()).await.body;
    assert_eq!((&shown["status"]["readyReplicas"], &shown["spec"]["replicas"]), (&json!(1), &json!(1)));
    let whole = world.patch("merge-patch", &web, json!({"status": {"readyReplicas": 9}})).await.body;
    assert_eq!(whole["status"]["readyReplicas"], 1);
    assert_eq!(whole["metadata"]["generation"], 2);
}

#[tokio::test]
async fn a_workload_is_scaled_through_its_scale() {
    let (world, made) = with_deployment().await;
    let scale = format!("{DEPLOYMENTS}/web/scale");
    let read = world.get(&scale).await.body;
    assert_eq!((&read["kind"], &read["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&read["spec"]["replicas"], &read["status"]["selector"]), (&json!(1), &json!("app=web")));
    let patched = world.patch("merge-patch", &scale, json!({"spec": {"replicas": 3}})).await;
    assert_eq!(
        (patched.code, &patched.body["kind"], &patched.body["spec"]["replicas"]),
        (200, &json!("Scale"), &json!(3))
    );
    let stored = world.get(&format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!((&stored["spec"]["replicas"], &stored["metadata"]["generation"]), (&json!(3), &json!(2)));
    assert_eq!(stored["spec"]["template"], made["spec"]["template"]);
    // What was read before somebody else scaled it is of another version.
    let mut stale = read.clone();
    stale["spec"]["replicas"] = 5.into();
    assert_eq!(world.put(&scale, &stale).await.code, 409);
    let mut put = patched.body;
    put["spec"]["replicas"] = 0.into();
    assert_eq!(world.put(&scale, &put).await.body["spec"]["replicas"], 0);
    let refused = world.patch("merge-patch", &scale, json!({"spec": {"replicas": -1}})).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            422,
            "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        )
    );
    assert_eq!(world.put(&scale, &deployment("web")).await.code, 400);
    assert_eq!(world.get(&format!("{DEPLOYMENTS}/none/scale")).await.code, 404);
    assert_eq!(world.delete(&scale).await.code, 405);
}

#[tokio::test]
async fn workloads_services_and_leases_are_shown_as_kubectl_does() {
    let (world, _) = with_deployment().await;
    let shown = cells(&world, DEPLOYMENTS).await;
    assert_eq!(
        shown,
        [
            json!("web"),
            json!("0/1"),
            json!(0),
            json!(0),
            json!("0s"),
            json!("c"),
            json!("nginx"),
            json!("app=web")
        ]
    );
    let scale = cells(&world, &format!("{DEPLOYMENTS}/web/scale")).await;
    assert_eq!(scale, [json!("web"), json!(1), json!(0), json!("0s")]);
    let mut exposed = service("web");
    exposed["spec"]["type"] = "NodePort".into();
    exposed["spec"]["ports"][0]["nodePort"] = 30_080.into();
    exposed["spec"]["clusterIP"] = "10.96.7.7".into();
    world.post(SERVICES, exposed).await;
    assert_eq!(
        cells(&world, SERVICES).await,
        ["web", "NodePort", "10.96.7.7", "<none>", "80:30080/TCP", "0s", "app=web"]
    );
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "me", "renewTime": "2026-03-01T12:00:00.000000Z"},
    });
    assert_eq!(world.post(leases, lease).await.code, 201);
    assert_eq!(cells(&world, leases).await, ["l", "me", "0s"]);
}

#[tokio::test]
async fn a_service_gets_an_address_of_its_own_that_stays() {
    let world = World::new().await;
    let made = world.post(SERVICES, service("web")).await.body;
    let spec = &made["spec"];
    let address = spec["clusterIP"].as_str().unwrap().to_owned();
    assert!(address.starts_with("10.96."), "{address}");
    assert_eq!(spec["clusterIPs"], json!([address]));
    assert_eq!((&spec["type"], &spec["sessionAffinity"]), (&json!("ClusterIP"), &json!("None")));
    assert_eq!(spec["ports"], json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    // Another one gets the next, where it asks for none; what is taken is told.
    let mut thief = service("thief");
    thief["spec"]["clusterIP"] = address.clone().into();
    let refused = world.post(SERVICES, thief).await;
    assert_eq!(refused.code, 422);
    assert!(refused.message().ends_with("provided IP is already allocated"), "{}", refused.message());
    let web = format!("{SERVICES}/web");
    let same = world.put(&web, &service("web")).await.body;
    assert_eq!(same["spec"]["clusterIP"], address.as_str());
    let moved = world.patch("merge-patch", &web, json!({"spec": {"clusterIP": "10.96.1.1"}})).await;
    assert!(moved.message().contains("may not change once set"), "{}", moved.message());
    world.delete(&web).await;
    assert_eq!(world.post(SERVICES, service("web")).await.body["spec"]["clusterIP"], address.as_str());
}

#[tokio::test]
async fn a_service_becomes_another_name_and_has_an_address_again() {
    let world = World::new().await;
    world.post(SERVICES, service("web")).await;
    let web = format!("{SERVICES}/web");
    let elsewhere = json!({"spec": {"type": "ExternalName", "externalName": "example.com"}});
    let moved = world.patch("merge-patch", &web, elsewhere).await;
    assert_eq!(moved.code, 200, "{}", moved.text);
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "internalTrafficPolicy"] {
        assert_eq!(moved.body["spec"].get(field), None, "{field}");
    }
    let forwarded = world.patch("merge-patch", &web, json!({"spec": {"type": "NodePort"}})).await.body;
    assert!(forwarded["spec"]["clusterIP"].is_string());
    let port = forwarded["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{port}");
    let within = world.patch("merge-patch", &web, json!({"spec": {"type": "ClusterIP"}})).await.body;
    assert_eq!(within["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(within["spec"].get("externalTrafficPolicy"), None);
    assert_eq!(within["spec"]["clusterIP"], forwarded["spec"]["clusterIP"]);
    let mut headless = service("pods");
    headless["spec"]["clusterIP"] = "None".into();
    assert_eq!(world.post(SERVICES, headless).await.body["spec"]["clusterIPs"], json!(["None"]));
}

#[tokio::test]
async fn services_that_cannot_be_are_refused() {
    let world = World::new().await;
    for (pointer, value, field) in [
        ("/metadata/name", json!("1web"), "metadata.name"),
        ("/spec/type", json!("Other"), "spec.type"),
        ("/spec/type", json!("ExternalName"), "spec.externalName"),
        ("/spec/ports", json!([]), "spec.ports"),
        ("/spec/ports", json!([{"port": 80}, {"port": 81}]), "spec.ports[0].name"),
        ("/spec/ports", json!([{"port": 0}]), "spec.ports[0].port"),
        ("/spec/ports", json!([{"port": 80, "targetPort": "no-port--"}]), "spec.ports[0].targetPort"),
        ("/spec/ports", json!([{"port": 80, "nodePort": 30_080}]), "spec.ports[0].nodePort"),
        ("/spec/clusterIP", json!("192.0.2.1"), "spec.clusterIPs"),
        ("/spec/sessionAffinity", json!("Some"), "spec.sessionAffinity"),
        ("/spec/selector/app", json!("a b"), "spec.selector"),
    ] {
        let mut wrong = service("web");
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[name] = value;
        let refused = world.post(SERVICES, wrong).await;
        assert_eq!(refused.code, 422, "{pointer}: {}", refused.text);
        assert!(refused.message().contains(field), "{pointer}: {}", refused.message());
    }
}

#[tokio::test]
async fn ports_of_a_service_are_merged_by_their_number() {
    let world = World::new().await;
    let mut two = service("web");
    two["spec"]["ports"] = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    world.post(SERVICES, two).await;
    let patch = json!({"spec": {"ports": [{"port": 81, "targetPort": "http"}]}});
    let patched = world.patch("strategic-merge-patch", &format!("{SERVICES}/web"), patch).await.body;
    let targets: Vec<&Value> =
        patched["spec"]["ports"].as_array().unwrap().iter().map(|port| &port["targetPort"]).collect();
    assert_eq!(targets.len(), 2);
    assert!(targets.contains(&&json!("http")) && targets.contains(&&json!(80)), "{targets:?}");
}

/// Refuses whatever there is to judge.
struct Strict;

impl Admit for Strict {
    fn mutate<'a>(
        &'a self,
        _: &'a mut Attributes,
        _: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }

    fn validate<'a>(
        &'a self,
        _: &'a Attributes,
        _: &'a mut Record,
    ) -> LocalBoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Err(ApiError::forbidden("not today")) })
    }
}

#[tokio::test]
async fn whatever_way_something_is_written_nothing_is_stored_that_the_last_stage_refuses() {
    let (mut world, made) = with_deployment().await;
    world.services.admission = Arc::new(Strict);
    let before = world.services.storage.version();
    let web = format!("{DEPLOYMENTS}/web");
    let patch =
        json!({"spec": {"replicas": 3}, "metadata": {"labels": {"x": "y"}}, "status": {"replicas": 9}});
    let mut replies = vec![world.post(DEPLOYMENTS, deployment("other")).await, world.put(&web, &made).await];
    for path in [web.clone(), format!("{web}/scale"), format!("{web}/status")] {
        replies.push(world.patch("merge-patch", &path, patch.clone()).await);
    }
    replies.push(world.delete(&web).await);
    replies.push(world.delete(DEPLOYMENTS).await);
    for reply in replies {
        assert_eq!((reply.code, reply.message()), (403, "not today"), "{}", reply.text);
    }
    assert_eq!(world.services.storage.version(), before);
}

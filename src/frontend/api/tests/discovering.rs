use super::*;
use crate::frontend::resources::RESOURCES;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn everything_that_is_served_is_discovered_in_both_forms() {
    let world = World::new().await;
    let accept = format!(
        "{AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    );
    let mut found = Vec::new();
    for path in ["/api", "/apis"] {
        let reply = world.ask("GET", path, &[("accept", &accept)], b"").await;
        assert_eq!(reply.content_type, AGGREGATED);
        for group in reply.body["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap();
            for resource in group["versions"][0]["resources"].as_array().unwrap() {
                found.push((name.to_owned(), resource["resource"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert_eq!(found.len(), RESOURCES.len());
    for kind in RESOURCES {
        assert!(found.contains(&(kind.group.into(), kind.resource.into())), "{}", kind.resource);
        let path = match kind.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/{}", kind.version),
        };
        let list = world.get(&path).await.body;
        let resources = list["resources"].as_array().unwrap();
        let names: Vec<&str> = resources.iter().map(|resource| resource["name"].as_str().unwrap()).collect();
        assert!(names.contains(&kind.resource));
        for subresource in kind.subresources {
            assert!(names.contains(&&*format!("{}/{}", kind.resource, subresource.name)));
        }
    }
    assert_eq!(world.get("/api").await.body["versions"], json!(["v1"]));
    assert_eq!(world.get("/apis").await.body["kind"], "APIGroupList");
    assert_eq!(world.get("/apis/rbac.authorization.k8s.io").await.body["kind"], "APIGroup");
}

#[tokio::test]
async fn the_paths_that_are_no_resources_are_served() {
    let world = World::new().await;
    for path in ["/version", "/version/", "/healthz", "/livez", "/readyz", "/", "/openapi/v3"] {
        assert_eq!(world.get(path).await.code, 200, "{path}");
    }
    assert_eq!(world.get("/version").await.body["minor"], "32");
    for path in
        ["/openapi/v4", "/apis/batch", "/apis/batch/v1", "/api/v2", "/metrics", "/index.html", "//api"]
    {
        assert!(matches!(world.get(path).await.code, 400 | 404), "{path}");
    }
    assert_eq!(world.post("/version", json!({})).await.code, 405);
}

#[tokio::test]
async fn openapi_v2_is_to_be_had_as_protobuf_alone() {
    let world = World::new().await;
    let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = world.answer("alice", "GET", "/openapi/v2", &[("accept", asked)], Vec::new()).await.unwrap();
    assert_eq!(answer.content_type, asked.replace('@', "."));
    let Body::Whole(bytes) = answer.body else { panic!("it is a stream") };
    let text = String::from_utf8_lossy(&bytes);
    for part in
        ["fieldValidation", "#/definitions/io.k8s.api.core.v1.PodSpec", "x-kubernetes-group-version-kind"]
    {
        assert!(text.contains(part), "{part}");
    }
    let json = world.ask("GET", "/openapi/v2", &[("accept", "application/json")], b"").await;
    assert_eq!(json.code, 406);
}

#[tokio::test]
async fn openapi_says_that_fields_are_checked_here() {
    let world = World::new().await;
    let index = world.get("/openapi/v3").await.body;
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = world.get(url).await.body;
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "", "version": "v1", "kind": "Pod"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for kind in RESOURCES.iter().filter(|kind| kind.group.is_empty()) {
        let description = schemas[&format!("io.k8s.api.core.v1.{}", kind.kind)]["description"].as_str();
        assert!(description.is_some_and(|description| !description.is_empty()), "{}", kind.kind);
    }
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.get(name).is_some_and(Value::is_object), "{name}");
    }
    let group = world.get("/openapi/v3/apis/rbac.authorization.k8s.io/v1").await;
    assert!(
        group.body["components"]["schemas"]["io.k8s.api.rbac.v1.Role"]["properties"]["rules"].is_object()
    );
    assert_eq!(world.get("/openapi/v3/apis/batch/v1").await.code, 404);
}

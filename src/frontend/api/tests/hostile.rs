use proptest::prelude::*;

use super::*;

/// JSON that looks a bit like objects and patches.
fn json_like() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("name"),
        Just("containers"),
        Just("labels"),
        Just("$patch"),
        Just("delete"),
        Just("replace"),
        Just("finalizers"),
        Just("op"),
        Just("path"),
        Just("copy"),
        Just("from"),
        Just("/spec"),
        Just("/metadata/labels"),
        Just("value"),
        Just("add"),
        Just("rules"),
        Just("roleRef"),
        Just("subjects"),
        Just("data"),
        Just("stringData"),
        Just("image"),
        Just("Pod"),
        Just("v1"),
        Just("kind"),
        Just("apiVersion"),
        Just("ports"),
        Just("$retainKeys"),
        Just(""),
        Just("a"),
        Just("resourceVersion"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is sent is answered, is never our own fault, and leaves nothing that could not be read again.
    #[test]
    fn no_body_brings_it_out_of_step(bodies in proptest::collection::vec((0_usize..9, json_like()), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            world.post(PODS, pod("web", &json!({"a": "b"}))).await;
            let rbac = "/apis/rbac.authorization.k8s.io/v1";
            for (way, body) in bodies {
                let web = format!("{PODS}/web");
                let reply = match way {
                    0 => world.post(PODS, body).await,
                    1 => world.put(&web, &body).await,
                    2 => world.patch("json-patch", &web, body).await,
                    3 => world.patch("merge-patch", &web, body).await,
                    4 => world.patch("strategic-merge-patch", &web, body).await,
                    5 => world.post(&format!("{rbac}/namespaces/default/rolebindings"), body).await,
                    6 => world.post("/api/v1/namespaces/default/secrets", body).await,
                    7 => world.patch("merge-patch", "/api/v1/namespaces/default", body).await,
                    _ => world.ask("DELETE", &web, &[], body.to_string().as_bytes()).await,
                };
                assert!(reply.code < 500, "{}", reply.text);
            }
            let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
            for target in ["/api/v1/pods", "/api/v1/secrets", "/api/v1/namespaces"] {
                assert_eq!(world.ask("GET", target, &table, b"").await.code, 200);
            }
        });
    }
}

/// Whatever goes through a value goes as deep as it, on a stack that ends.
#[tokio::test]
async fn no_patch_nests_an_object_so_deeply_that_the_process_ends() {
    let world = World::new().await;
    world.post(PODS, pod("web", &json!({}))).await;
    let nested = (0..100).fold(json!({}), |inner, _| json!({"a": inner}));
    let down = |depth: usize| "/a".repeat(depth);
    let add = |path: &str| json!({"op": "add", "path": path, "value": nested});
    let mut copies = vec![add("/x")];
    copies.extend(
        (0..12).map(|nth| json!({"op": "copy", "from": "/x", "path": format!("/x{}", down(100 << nth))})),
    );
    let adds: Vec<Value> = (0..150).map(|nth| add(&format!("/x{}", down(nth * 100)))).collect();
    let moves = (0..90).flat_map(|nth| {
        let (inner, outer) = (format!("/x{nth}"), format!("/x{}{}", nth + 1, down(100)));
        [add(&format!("/x{}", nth + 1)), json!({"op": "move", "from": inner, "path": outer})]
    });
    let moves: Vec<Value> = std::iter::once(add("/x0")).chain(moves).collect();
    for operations in [copies, adds, moves] {
        let reply = world.patch("json-patch", &format!("{PODS}/web"), Value::Array(operations)).await;
        assert_eq!(reply.code, 422, "{}", reply.text);
    }
}

//! Bodies that are more than they look, or mean one thing to one reader and another to the next.

use serde_json::{Value, json};

use super::{Ended, JSON, JSON_PATCH, MERGE_PATCH, Scene, YAML};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
/// Refused before there was an object to admit, or while it was looked at.
const UNREAD: &str = "400 Authorization Passed";
const REFUSED: &str = "400 Admission Refused";

/// Sends a body of any length, by the administrator, whom nothing else stops.
fn send(scene: &Scene, method: &str, kind: &str, path: &str, body: &str) -> Ended {
    let file = scene.demo.path("body");
    std::fs::write(&file, body).unwrap();
    let data = format!("@{}", file.display());
    scene.admin(&["-X", method, "-H", kind, "--data-binary", &data, "-H", "Expect:"], path)
}

fn post(scene: &Scene, kind: &str, body: &str) -> String {
    send(scene, "POST", kind, MAPS, body).how()
}

#[test]
fn no_body_is_too_deep_or_grows_while_it_is_read() {
    let scene = Scene::new();
    let nested: String = (0..900).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let bomb: String =
        (0..12).map(|nth| format!("a{nth}: &a{nth} [{}]\n", format!("*a{},", nth - 1).repeat(9))).collect();
    for (kind, body) in [
        (JSON, "[".repeat(1_000_000)),
        (JSON, r#"{"a":"#.repeat(100_000)),
        (YAML, "[".repeat(400_000)),
        (YAML, "- ".repeat(200_000)),
        (YAML, nested),
        (YAML, bomb),
        (YAML, "metadata: &m {name: x}\nother: {<<: *m}\n".to_owned()),
    ] {
        assert_eq!(post(&scene, kind, &body), UNREAD, "{body:.60}");
    }
    assert_eq!(post(&scene, YAML, &"a".repeat(600_000)), "413 Authorization Passed");
    let zipped = scene.admin(&["-H", JSON, "-H", "Content-Encoding: gzip", "-d", "{}"], MAPS);
    assert_eq!(zipped.how(), "415 Authorization Passed");
    // Each operation puts a value below the last one, or copies what is there to below itself.
    let value = (0..100).fold(json!(0), |inner, _| json!({"a": inner}));
    let below = |levels: usize| format!("/x{}", "/a".repeat(levels));
    let adds: Value =
        (0..150).map(|nth| json!({"op": "add", "path": below(100 * nth), "value": value})).collect();
    let copies = (0..12).map(|nth| json!({"op": "copy", "from": "/x", "path": below(100 << nth)}));
    let copies: Value =
        [json!({"op": "add", "path": "/x", "value": value})].into_iter().chain(copies).collect();
    let moves: Value = json!([{"op": "add", "path": "/x", "value": value}, {"op": "add", "path": "/y", "value": value},
        {"op": "move", "from": "/x", "path": format!("/y{}", "/a".repeat(100))}]);
    assert_eq!(post(&scene, JSON, r#"{"metadata": {"name": "map"}}"#), "201 Storage Passed");
    for (patch, how) in [
        (adds, "422 Authorization Passed"),
        (copies, "422 Authorization Passed"),
        (moves, "422 Admission Refused"),
    ] {
        let ended = send(&scene, "PATCH", JSON_PATCH, &format!("{MAPS}/map"), &patch.to_string());
        assert_eq!(ended.how(), how, "{}", patch.to_string().len());
    }
    assert_eq!(scene.admin(&[], &format!("{MAPS}/map")).how(), "200 Storage Passed", "it lives");
}

#[test]
fn an_object_is_what_its_path_says_and_stays_it() {
    let scene = Scene::new();
    let create = |body: &str| post(&scene, JSON, body);
    assert_eq!(create(r#"{"kind": "Secret", "metadata": {"name": "map"}}"#), UNREAD);
    assert_eq!(create(r#"{"apiVersion": "v2", "metadata": {"name": "map"}}"#), UNREAD);
    assert_eq!(create(r#"{"metadata": {"name": "map", "namespace": "kube-system"}}"#), UNREAD);
    // Of a key that stands twice the last counts, and that one is looked at.
    assert_eq!(
        create(r#"{"metadata": {"name": "m", "namespace": "default", "namespace": "kube-system"}}"#),
        UNREAD
    );
    let twice = r#"{"kind": "ConfigMap", "metadata": {"name": "map", "name": "other"}}"#;
    let strict = format!("{MAPS}?fieldValidation=Strict");
    assert_eq!(send(&scene, "POST", JSON, &strict, twice).how(), UNREAD);
    assert_eq!(post(&scene, YAML, "kind: ConfigMap\nkind: Secret\nmetadata: {name: map}\n"), UNREAD);
    assert_eq!(post(&scene, YAML, "metadata: {name: map}\n---\nmetadata: {name: other}\n"), UNREAD);
    assert_eq!(create(r#"{"metadata": {"name": "../secrets/x"}}"#), "422 Admission Refused");
    assert_eq!(create(r#"{"metadata": {"name": "map"}}"#), "201 Storage Passed");

    let map = format!("{MAPS}/map");
    let before = scene.admin(&[], &map).json();
    assert_eq!(send(&scene, "PUT", JSON, &map, r#"{"metadata": {"name": "other"}}"#).how(), UNREAD);
    for (field, value, how) in [
        ("name", "other", REFUSED),
        ("namespace", "kube-system", REFUSED),
        ("uid", "1", "409 Admission Refused"),
        ("resourceVersion", "1", "409 Admission Refused"),
        ("creationTimestamp", "2000-01-01T00:00:00Z", "200 Storage Passed"),
        ("deletionTimestamp", "2000-01-01T00:00:00Z", "200 Storage Passed"),
    ] {
        let merge = json!({"metadata": {field: value}});
        let operation = json!([{"op": "add", "path": format!("/metadata/{field}"), "value": value}]);
        for (kind, patch) in [(MERGE_PATCH, merge), (JSON_PATCH, operation)] {
            assert_eq!(send(&scene, "PATCH", kind, &map, &patch.to_string()).how(), how, "{patch}");
        }
    }
    for patch in [
        json!([{"op": "replace", "path": "/kind", "value": "Secret"}]),
        json!([{"op": "replace", "path": "", "value": {"kind": "Secret"}}]),
    ] {
        assert_eq!(send(&scene, "PATCH", JSON_PATCH, &map, &patch.to_string()).how(), REFUSED, "{patch}");
    }
    for path in ["/metadata/name", "/metadata/namespace", "/metadata/uid", "/metadata/creationTimestamp"] {
        let patch = json!([{"op": "remove", "path": path}]);
        assert_eq!(
            send(&scene, "PATCH", JSON_PATCH, &map, &patch.to_string()).how(),
            "200 Storage Passed",
            "{path}"
        );
    }
    assert_eq!(scene.admin(&[], &map).json(), before, "nothing of it has changed");
}

#[test]
fn what_somebody_keeps_secret_is_in_no_journey_and_no_log() {
    let scene = Scene::new();
    let created =
        send(&scene, "POST", JSON, SECRETS, r#"{"metadata": {"name": "s"}, "stringData": {"a": "s3cr3t"}}"#);
    assert_eq!(created.how(), "201 Storage Passed");
    let secret = format!("{SECRETS}/s");
    for (method, kind, path, body, code) in [
        ("POST", JSON, SECRETS, r#"{"metadata": {"name": "t"}, "data": {"a": "s3cr3t!"}}"#, 400),
        ("POST", JSON, SECRETS, r#"{"metadata": {"name": "t"}, "stringData": {"a": {"s3cr3t": 1}}}"#, 400),
        ("POST", JSON, SECRETS, r#"{"metadata": {"name": "t"}, "stringData": {"a": s3cr3t}}"#, 400),
        ("POST", YAML, SECRETS, "metadata: {name: t}\nstringData: {a: *s3cr3t}\n", 400),
        ("POST", YAML, SECRETS, "metadata: {name: t}\nstringData: {a: !s3cr3t b}\n", 400),
        ("POST", YAML, SECRETS, "metadata: {name: t}\nstringData: {a: \"s3cr3t}\n", 400),
        ("PATCH", JSON_PATCH, &secret, r#"["s3cr3t"]"#, 400),
        ("PATCH", JSON_PATCH, &secret, r#"[{"op": "s3cr3t", "path": "/data/a"}]"#, 400),
        ("PATCH", JSON_PATCH, &secret, r#"[{"op": "test", "path": "/data/a", "value": "s3cr3t"}]"#, 422),
        ("PATCH", MERGE_PATCH, &secret, r#"{"stringData": {"a": "s3cr3t-2"}}"#, 200),
        ("PATCH", MERGE_PATCH, &secret, r#"{"type": "other", "stringData": {"a": "s3cr3t-3"}}"#, 422),
        ("GET", JSON, &secret, "", 200),
    ] {
        assert_eq!(send(&scene, method, kind, path, body).answer.code, code, "{body}");
    }
    scene.is_nowhere("s3cr3t");
    scene.is_nowhere(&data_encoding::BASE64.encode(b"s3cr3t"));
    scene.is_nowhere(&data_encoding::BASE64.encode(b"s3cr3t-2"));
}

#[test]
fn a_journey_is_short_however_long_what_it_tells_of() {
    let scene = Scene::new();
    let long = "x".repeat(1_000_000);
    for body in [
        json!({"metadata": {"name": long}}),
        json!({"metadata": {"name": "a", "labels": {&long: "b"}}}),
        json!({"kind": long}),
        json!({"metadata": {"name": "a"}, "data": {&long: "b"}}),
    ] {
        let ended = send(&scene, "POST", JSON, MAPS, &body.to_string());
        assert!(matches!(ended.answer.code, 400 | 422), "{}", ended.answer.code);
        let kept = ended.journey.to_string().len();
        assert!(kept < 50_000, "{kept} bytes of {body:.60}");
    }
    let target = format!("/healthz?{}", "x".repeat(60_000));
    let ended = scene.ask(&[], &["--http1.1"], &target);
    assert_eq!(ended.answer.code, 400);
    assert!(ended.journey.to_string().len() < 50_000);
}

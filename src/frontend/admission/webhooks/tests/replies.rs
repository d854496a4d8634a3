//! What makes a reply one.

use super::super::review::{Reply, read};
use super::*;

fn reply(is_mutating: bool, response: Value) -> Result<Reply, String> {
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    read("a.example.com", is_mutating, "u-1", review.to_string().as_bytes())
}

#[test]
fn every_rule_of_a_reply_is_held() {
    let patch = BASE64.encode(b"[]");
    for (is_mutating, fields, wrong) in [
        (true, json!({"allowed": true}), None),
        (false, json!({"allowed": true}), None),
        (true, json!({"allowed": true, "patch": patch, "patchType": "JSONPatch"}), None),
        (true, json!({"allowed": true, "patch": null, "patchType": null, "warnings": null}), None),
        (true, json!({"allowed": true, "patch": "", "status": {"metadata": {}, "code": 200}}), None),
        (true, json!({"allowed": true, "uid": "u-2"}), Some("expected response.uid=\"u-1\", got \"u-2\"")),
        (true, json!({"allowed": true, "uid": ""}), Some("expected response.uid")),
        (true, json!({"allowed": true, "patch": patch}), Some("response.patch but not response.patchType")),
        (
            true,
            json!({"allowed": true, "patchType": "JSONPatch"}),
            Some("response.patchType but not response.patch"),
        ),
        (
            true,
            json!({"allowed": true, "patch": patch, "patchType": "Merge"}),
            Some("invalid response.patchType of \"Merge\""),
        ),
        (true, json!({"allowed": true, "patch": "%%", "patchType": "JSONPatch"}), Some("no base64")),
        (false, json!({"allowed": true, "patch": patch}), Some("may not return response.patch")),
        (
            false,
            json!({"allowed": true, "patchType": "JSONPatch"}),
            Some("may not return response.patchType"),
        ),
        (true, json!({"allowed": "yes"}), Some("no AdmissionReview")),
    ] {
        let mut response = json!({"uid": "u-1"});
        response.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let read = reply(is_mutating, response.clone());
        match wrong {
            None => assert!(read.unwrap().verdict.is_ok(), "{response}"),
            Some(why) => {
                let error = read.unwrap_err();
                assert!(error.contains(why), "{response}: {error}");
            }
        }
    }
    for (body, why) in [
        (
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}),
            "webhook response was absent",
        ),
        (
            json!({"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "response": {"uid": "u-1"}}),
            "expected webhook response of admission.k8s.io/v1",
        ),
        (
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "Review", "response": {"uid": "u-1"}}),
            "Kind=Review",
        ),
        (json!({"response": {"uid": "u-1", "allowed": true}}), "expected webhook response of"),
        (json!([]), "no AdmissionReview"),
        (
            json!(["admission.k8s.io/v1", "AdmissionReview", {"uid": "u-1", "allowed": true}]),
            "no AdmissionReview",
        ),
        (
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": ["u-1", true]}),
            "no AdmissionReview",
        ),
    ] {
        let error = read("a.example.com", true, "u-1", body.to_string().as_bytes()).unwrap_err();
        assert!(error.contains(why), "{body}: {error}");
    }
    let twice = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u-1","allowed":false,"allowed":true}}"#;
    assert!(read("a.example.com", true, "u-1", twice.as_bytes()).is_err());
}

#[test]
fn a_refusal_is_told_as_an_api_server_tells_it() {
    let denied = "admission webhook \"a.example.com\" denied the request";
    for (status, code, reason, message) in [
        (json!(null), 400, "", format!("{denied} without explanation")),
        (json!({}), 400, "", format!("{denied} without explanation")),
        (json!({"message": "no"}), 400, "", format!("{denied}: no")),
        (json!({"reason": "Forbidden"}), 400, "Forbidden", format!("{denied}: Forbidden")),
        (json!({"code": 200, "status": "Success", "message": "ok"}), 400, "", format!("{denied}: ok")),
        (json!({"code": 399}), 400, "", format!("{denied} without explanation")),
        (
            json!({"code": 403, "reason": "Forbidden", "message": "no"}),
            403,
            "Forbidden",
            format!("{denied}: no"),
        ),
        (json!({"code": 422, "reason": "Made Up"}), 422, "", format!("{denied}: Made Up")),
        (json!({"code": 99_999}), 400, "", format!("{denied} without explanation")),
    ] {
        let reply = reply(false, json!({"uid": "u-1", "allowed": false, "status": status})).unwrap();
        let error = reply.verdict.unwrap_err();
        assert_eq!((error.code, error.reason, error.message), (code, reason, message), "{status}");
    }
    // A webhook that does not say that it allows does not.
    assert!(reply(false, json!({"uid": "u-1"})).unwrap().verdict.is_err());
}

#[test]
fn audit_annotations_have_the_webhooks_name_and_a_valid_key() {
    let annotations = json!({"rule": "r1", "a/b": "x", "-": "x", "": "x", "ok_2.x": "y"});
    let said = reply(false, json!({"uid": "u-1", "allowed": true, "auditAnnotations": annotations})).unwrap();
    let keys: Vec<&String> = said.annotations.keys().collect();
    assert_eq!(keys, ["a.example.com/ok_2.x", "a.example.com/rule"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop_oneof!["[a-z/~%]{0,8}", Just("/metadata/name".to_owned()), Just("/data".to_owned())]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(
                "(uid|allowed|patch|patchType|status|code|message|[a-z]{1,3})",
                inner,
                0..4
            )
            .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

fn any_operation() -> impl Strategy<Value = Value> {
    let op = prop_oneof!["add", "remove", "replace", "move", "copy", "test"];
    let path = || {
        prop_oneof![
            Just(""),
            Just("/metadata"),
            Just("/metadata/name"),
            Just("/metadata/namespace"),
            Just("/metadata/labels"),
            Just("/metadata/uid"),
            Just("/kind"),
            Just("/apiVersion"),
            Just("/data"),
            Just("/data/a"),
            Just("/x/-"),
        ]
    };
    (op, path(), path(), any_json())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
}

proptest! {
    #[test]
    fn whatever_a_webhook_replies_nothing_panics_and_only_what_says_so_is_allowed(
        response in any_json(), is_mutating in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let _either = read("a.example.com", is_mutating, "u-1", &bytes);
        let mut response = response;
        if let Some(fields) = response.as_object_mut() {
            fields.insert("uid".to_owned(), "u-1".into());
        }
        if let Ok(reply) = reply(is_mutating, response.clone()) {
            prop_assert_eq!(reply.verdict.is_ok(), response.get("allowed") == Some(&Value::Bool(true)));
            prop_assert!(is_mutating || reply.patch.is_none());
        }
    }

    #[test]
    fn whatever_a_webhook_patches_the_object_stays_the_one_that_was_authorised(
        operations in proptest::collection::vec(any_operation(), 0..6),
    ) {
        let it = Fixture::new(Vec::new());
        let server_less = json!({"name": "a.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}});
        it.mutating("a", json!([server_less]));
        let webhooks = Webhooks::new(Arc::clone(&it.storage), Arc::new(Shaping), Vec::new());
        let mut asked = create();
        let hooks = webhooks.rounds(&asked).hooks;
        let patch = Value::from(operations).to_string();
        let changed = webhooks.change(&hooks[0], patch.as_bytes(), &mut asked);
        let after = asked.object.unwrap();
        if changed.is_err() {
            prop_assert_eq!(&after, &object());
        }
        prop_assert_eq!(&after["kind"], "ConfigMap");
        prop_assert_eq!(&after["apiVersion"], "v1");
        for field in ["name", "namespace"] {
            let now = meta::text(&after, field);
            prop_assert!(now.is_empty() || now == meta::text(&object(), field), "{field}: {now}");
        }
    }
}

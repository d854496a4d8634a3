//! Reviews as API servers send them, and as nobody should.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{Action, NonResourceAction, Operator, Request, Requirement, ResourceAction, Subject};

const RESOURCE_REVIEW: &str = r#"{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},
 "spec":{"resourceAttributes":{"namespace":"team-a","verb":"list","group":"apps","version":"v1",
   "resource":"deployments","subresource":"","name":"",
   "fieldSelector":{"requirements":[{"key":"metadata.name","operator":"In","values":["web"]}]},
   "labelSelector":{"requirements":[{"key":"tier","operator":"In","values":["gold","silver"]},{"key":"old","operator":"DoesNotExist"}]}},
  "user":"alice","uid":"1f2e","groups":["eng","system:authenticated"],
  "extra":{"example.org/source-ip":["10.1.2.3"]}},
 "status":{"allowed":false}}"#;

const NON_RESOURCE_REVIEW: &str = r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"nonResourceAttributes":{"path":"/debug/pprof/heap","verb":"get"},"user":"bob","groups":["system:authenticated"]}}"#;

fn text(text: &str) -> String {
    text.to_owned()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn requirement(key: &str, operator: Operator, values: &[&str]) -> Requirement {
    Requirement { key: text(key), operator, values: texts(values) }
}

fn alices_list() -> Request {
    Request {
        subject: Subject {
            user: text("alice"),
            uid: text("1f2e"),
            groups: texts(&["eng", "system:authenticated"]),
            extra: [(text("example.org/source-ip"), texts(&["10.1.2.3"]))].into(),
        },
        action: Action::Resource(ResourceAction {
            verb: text("list"),
            group: text("apps"),
            version: text("v1"),
            resource: text("deployments"),
            namespace: text("team-a"),
            field_selector: vec![requirement("metadata.name", Operator::In, &["web"])],
            label_selector: vec![
                requirement("tier", Operator::In, &["gold", "silver"]),
                requirement("old", Operator::DoesNotExist, &[]),
            ],
            ..ResourceAction::default()
        }),
    }
}

/// A v1 review with this spec.
fn review(spec: &str) -> String {
    format!(r#"{{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{spec}}}"#)
}

fn request(spec: &str) -> Request {
    read(review(spec).as_bytes()).unwrap().request
}

fn refusal(body: impl AsRef<[u8]>) -> String {
    read(body.as_ref()).unwrap_err().to_string()
}

#[test]
fn a_resource_review_is_read_whole_in_both_versions() {
    let beta = RESOURCE_REVIEW.replace("k8s.io/v1", "k8s.io/v1beta1").replace("\"groups\"", "\"group\"");
    assert_eq!(
        read(RESOURCE_REVIEW.as_bytes()).unwrap(),
        Review { version: Version::V1, request: alices_list() }
    );
    assert_eq!(read(beta.as_bytes()).unwrap(), Review { version: Version::V1beta1, request: alices_list() });
}

#[test]
fn a_non_resource_review_is_read_whole_in_both_versions() {
    let expected = Request {
        subject: Subject {
            user: text("bob"),
            groups: texts(&["system:authenticated"]),
            ..Subject::default()
        },
        action: Action::NonResource(NonResourceAction { verb: text("get"), path: text("/debug/pprof/heap") }),
    };
    let beta = NON_RESOURCE_REVIEW.replace("k8s.io/v1", "k8s.io/v1beta1").replace("\"groups\"", "\"group\"");
    assert_eq!(read(NON_RESOURCE_REVIEW.as_bytes()).unwrap().request, expected);
    assert_eq!(read(beta.as_bytes()).unwrap(), Review { version: Version::V1beta1, request: expected });
}

#[test]
fn empty_attributes_of_either_kind_are_legal() {
    assert_eq!(
        request(r#"{"nonResourceAttributes":{}}"#).action,
        Action::NonResource(NonResourceAction::default())
    );
    assert_eq!(request(r#"{"resourceAttributes":{}}"#).action, Action::Resource(ResourceAction::default()));
}

#[test]
fn null_is_the_same_as_an_absent_field() {
    let spec = r#"{"user":null,"uid":null,"groups":null,"group":null,"extra":null,"resourceAttributes":null,
        "nonResourceAttributes":{"path":null,"verb":null}}"#;
    assert_eq!(request(spec), request(r#"{"nonResourceAttributes":{}}"#));
    let spec = r#"{"extra":{"k":null},"resourceAttributes":{"verb":null,"labelSelector":null,"fieldSelector":{"requirements":null}}}"#;
    assert_eq!(request(spec).subject.extra, [(text("k"), vec![])].into());
}

#[test]
fn the_order_of_keys_has_no_meaning() {
    let body = r#"{"spec":{"group":["eng"],"nonResourceAttributes":{}},"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1beta1"}"#;
    assert_eq!(read(body.as_bytes()).unwrap().request.subject.groups, ["eng"]);
}

#[test]
fn what_new_versions_of_kubernetes_add_is_tolerated() {
    let spec = r#"{"conditionalAuthorization":{"mode":["HumanReadable",{"a":null,"b":[1,-2,3.5,true,"x"]}]},
        "nonResourceAttributes":{"path":"/x","verb":"get","later":{}},"user":"u"}"#;
    assert_eq!(
        request(spec).action,
        Action::NonResource(NonResourceAction { verb: text("get"), path: text("/x") })
    );
}

#[test]
fn the_status_of_a_request_is_never_looked_at() {
    let body = NON_RESOURCE_REVIEW.replace(r#""spec""#, r#""status":{"allowed":true,"denied":7},"spec""#);
    assert_eq!(read(body.as_bytes()), read(NON_RESOURCE_REVIEW.as_bytes()));
}

#[test]
fn odd_user_names_are_read_as_they_are() {
    for user in [text("*)(uid=*"), text("a\0b"), "x".repeat(10_240), text(""), text("é😀\u{1b}")] {
        let spec = json!({"user": user, "nonResourceAttributes": {}}).to_string();
        assert_eq!(request(&spec).subject.user, user);
    }
}

#[test]
fn keys_of_extra_are_kept_byte_for_byte() {
    // `Impersonate-Extra-%45xample.org%2Fip` arrives as the first of these, past a guard of the second.
    let spec = r#"{"extra":{"Example.org/ip":["a"],"example.org/ip":["b"]},"nonResourceAttributes":{}}"#;
    assert_eq!(
        request(spec).subject.extra,
        [(text("Example.org/ip"), texts(&["a"])), (text("example.org/ip"), texts(&["b"]))].into()
    );
}

#[test]
fn requirements_that_cannot_be_understood_are_dropped_and_raw_selectors_ignored() {
    let spec = r#"{"resourceAttributes":{"verb":"list",
        "labelSelector":{"rawSelector":"tier=gold","requirements":[{"key":"a","operator":"Near","values":["x"]},
            {"key":"b","operator":"NotIn","values":["y"]},{"key":"c"},{"key":"d","operator":"In","values":[]},
            {"key":"e","operator":"Exists","values":["z"]},{"key":"f","operator":"Exists"}]},
        "fieldSelector":{"rawSelector":"metadata.name=x"}}}"#;
    let Action::Resource(action) = request(spec).action else { panic!("not a resource") };
    assert_eq!(
        action.label_selector,
        [requirement("b", Operator::NotIn, &["y"]), requirement("f", Operator::Exists, &[])]
    );
    assert!(action.field_selector.is_empty());
}

#[test]
fn what_is_no_review_is_refused_with_the_place() {
    let rows: &[(&str, &str)] = &[
        ("", "the body is not JSON: EOF while parsing a value at line 1 column 0"),
        ("hello", "the body is not JSON: expected value at line 1 column 1"),
        ("{} x", "the body is not JSON: trailing characters at line 1 column 4"),
        ("[]", "expected a SubjectAccessReview, found a list"),
        ("null", "expected a SubjectAccessReview, found null"),
        ("{}", "kind: missing"),
        (r#"{"kind":"SubjectAccessReview"}"#, "apiVersion: missing"),
        (r#"{"kind":"TokenReview"}"#, r#"kind: expected SubjectAccessReview, found "TokenReview""#),
        (r#"{"kind":7}"#, "kind: expected a string, found a number"),
        (
            r#"{"apiVersion":"authorization.k8s.io/v2"}"#,
            r#"apiVersion: expected authorization.k8s.io/v1 or authorization.k8s.io/v1beta1, found "authorization.k8s.io/v2""#,
        ),
        (r#"{"metadata":{"a":1,"a":2}}"#, r#"metadata: key "a" occurs twice"#),
        (r#"{"x":[{"y":{"a":1,"\u0061":2}}]}"#, r#"x[0].y: key "a" occurs twice"#),
        (r#"{"spec":{},"spec":{}}"#, r#"key "spec" occurs twice"#),
        (r#"{"spec":{"user":"a","user":"a"}}"#, r#"spec: key "user" occurs twice"#),
        (r#"{"spec":{"extra":{"a":[],"a":[]}}}"#, r#"spec.extra: key "a" occurs twice"#),
        (r#"{"spec":{"groups":["a",null]}}"#, "spec.groups[1]: expected a string, found null"),
        (r#"{"spec":{"groups":"a"}}"#, "spec.groups: expected a list of strings, found a string"),
        (
            r#"{"spec":{"extra":{"a b":"c"}}}"#,
            r#"spec.extra["a b"]: expected a list of strings, found a string"#,
        ),
        (
            r#"{"spec":{"resourceAttributes":{"labelSelector":{"requirements":[{"values":[true]}]}}}}"#,
            "spec.resourceAttributes.labelSelector.requirements[0].values[0]: expected a string, found a boolean",
        ),
        (
            r#"{"spec":{"user":"\ud800"}}"#,
            "the body is not JSON: unexpected end of hex escape at line 1 column 24",
        ),
        (
            "{\"spec\":{\"user\":\"\0\"}}",
            "the body is not JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 18",
        ),
    ];
    for (body, message) in rows {
        assert_eq!(&refusal(body), message, "{body}");
    }
    assert_eq!(refusal(b"{\"kind\":\"\xff\"}"), "the body is not UTF-8");
}

#[test]
fn both_or_neither_attributes_and_the_other_versions_groups_are_refused() {
    let neither = "spec: neither resourceAttributes nor nonResourceAttributes is set";
    assert_eq!(refusal(review("{}")), neither);
    assert_eq!(refusal(review("null")), neither);
    assert_eq!(refusal(review(r#"{"resourceAttributes":null,"nonResourceAttributes":null}"#)), neither);
    assert_eq!(
        refusal(review(r#"{"resourceAttributes":{},"nonResourceAttributes":{}}"#)),
        "spec: resourceAttributes and nonResourceAttributes are both set"
    );
    let group = review(r#"{"group":["eng"],"nonResourceAttributes":{}}"#);
    let groups = review(r#"{"groups":[],"nonResourceAttributes":{}}"#).replace("k8s.io/v1", "k8s.io/v1beta1");
    assert_eq!(
        refusal(group),
        "spec: group is not a field of authorization.k8s.io/v1: groups stand under groups"
    );
    assert_eq!(
        refusal(groups),
        "spec: groups is not a field of authorization.k8s.io/v1beta1: groups stand under group"
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |lists: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(lists), "]".repeat(lists));
    assert_eq!(refusal(nested(MAX_DEPTH - 1)), "kind: missing");
    assert!(refusal(nested(MAX_DEPTH)).ends_with(": nested deeper than 32"));
    assert!(refusal(nested(10_000)).ends_with(": nested deeper than 32"));
    let objects = format!("{}{}", r#"{"x":"#.repeat(10_000), "}".repeat(10_000));
    assert!(refusal(objects).ends_with(": nested deeper than 32"));
    assert!(refusal("[".repeat(10_000)).starts_with("expected a SubjectAccessReview"));
}

#[test]
fn requirements_beyond_the_bound_are_dropped_and_no_way_past_an_answer() {
    let flood = |requirement: serde_json::Value, count: usize| {
        let selector = json!({"requirements": vec![requirement; count]});
        let spec =
            json!({"resourceAttributes": {"verb": "list", "labelSelector": selector}, "groups": ["g"]});
        let read = request(&spec.to_string());
        assert_eq!(read.subject.groups, ["g"]);
        let Action::Resource(action) = read.action else { panic!("not a resource") };
        action.label_selector.len()
    };
    let absent = json!({"key": "k", "operator": "DoesNotExist"});
    assert_eq!(flood(absent.clone(), MAX_REQUIREMENTS), MAX_REQUIREMENTS);
    assert_eq!(flood(absent, MAX_REQUIREMENTS + 5), MAX_REQUIREMENTS);
    let listed = |count| json!({"key": "k", "operator": "In", "values": vec!["v"; count]});
    assert_eq!(flood(listed(MAX_VALUES), 1), 1);
    assert_eq!(flood(listed(MAX_VALUES + 1), 1), 0, "a part of the values would be a narrower request");
}

#[test]
fn groups_and_what_is_written_by_hand_are_bounded() {
    let requirements = vec![json!({"key": "k", "operator": "Exists"}); MAX_REQUIREMENTS + 1];
    let spec = json!({"resourceAttributes": {"labelSelector": {"requirements": requirements}}});
    assert!(spec_from_json(&spec).unwrap_err().to_string().ends_with("more than 1000 requirements"));
    let groups = |count: usize| {
        review(
            &json!({"extra": {"k": [""]}, "groups": vec![""; count], "nonResourceAttributes": {}})
                .to_string(),
        )
    };
    assert!(read(groups(MAX_VALUES - 1).as_bytes()).is_ok());
    assert_eq!(refusal(groups(MAX_VALUES)), "spec.groups: more than 100000 values");
}

#[test]
fn many_keys_are_compared_as_few_are() {
    let keys: Vec<String> = (0..50_000).map(|index| format!(r#""{index}":0"#)).collect();
    assert_eq!(refusal(format!("{{{}}}", keys.join(","))), "kind: missing");
    assert_eq!(refusal(format!(r#"{{{},"49999":1}}"#, keys.join(","))), r#"key "49999" occurs twice"#);
}

#[test]
fn an_error_never_repeats_more_than_a_little_of_the_body() {
    let key = "k".repeat(5_000);
    for body in [
        format!(r#"{{"kind":"{key}"}}"#),
        format!(r#"{{"{key}":0,"{key}":0}}"#),
        review(&format!(r#"{{"extra":{{"{key}\u001b":0}}}}"#)),
    ] {
        let message = refusal(&body);
        assert!(message.chars().count() < 400, "{message}");
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}

#[test]
fn a_spec_written_by_hand_is_read_like_a_review_but_for_what_it_misspells() {
    let spec = serde_json::from_str::<Value>(RESOURCE_REVIEW).unwrap()["spec"].take();
    assert_eq!(spec_from_json(&spec).unwrap(), alices_list());
    let rows = [
        (json!({"usr": "alice", "nonResourceAttributes": {}}), r#"unknown field "usr""#),
        (json!({"resourceAttributes": {"ns": "a"}}), r#"resourceAttributes: unknown field "ns""#),
        (
            json!({"group": ["a"], "nonResourceAttributes": {}}),
            "group is not a field of authorization.k8s.io/v1: groups stand under groups",
        ),
        (
            json!({"resourceAttributes": {"labelSelector": {"requirements": [{"key": "a", "operator": "in", "values": ["b"]}]}}}),
            "resourceAttributes.labelSelector.requirements[0]: not a requirement: operator In or NotIn with values, or Exists or DoesNotExist without",
        ),
        (json!([]), "expected an object, found a list"),
    ];
    for (spec, message) in rows {
        assert_eq!(spec_from_json(&spec).unwrap_err().to_string(), message);
    }
}

/// A request as Kubernetes writes it.
fn as_json(version: Version, request: &Request) -> Value {
    let selector = |requirements: &[Requirement]| {
        let requirements: Vec<Value> = requirements
            .iter()
            .map(|each| json!({"key": each.key, "operator": format!("{:?}", each.operator), "values": each.values}))
            .collect();
        json!({ "requirements": requirements })
    };
    let groups = if version == Version::V1 { "groups" } else { "group" };
    let subject = &request.subject;
    let mut spec =
        json!({"user": subject.user, "uid": subject.uid, groups: subject.groups, "extra": subject.extra});
    match &request.action {
        Action::NonResource(path) => {
            spec["nonResourceAttributes"] = json!({"verb": path.verb, "path": path.path});
        }
        Action::Resource(action) => {
            spec["resourceAttributes"] = json!({"verb": action.verb, "group": action.group,
                "version": action.version, "resource": action.resource, "subresource": action.subresource,
                "namespace": action.namespace, "name": action.name,
                "fieldSelector": selector(&action.field_selector),
                "labelSelector": selector(&action.label_selector)});
        }
    }
    json!({"apiVersion": version.api_version(), "kind": "SubjectAccessReview", "metadata": {}, "spec": spec})
}

prop_compose! {
    fn any_requirement()(key in any::<String>(), operator in 0..4, values in prop::collection::vec(any::<String>(), 1..4)) -> Requirement {
        match operator {
            0 => Requirement { key, operator: Operator::In, values },
            1 => Requirement { key, operator: Operator::NotIn, values },
            2 => Requirement { key, operator: Operator::Exists, values: vec![] },
            _ => Requirement { key, operator: Operator::DoesNotExist, values: vec![] },
        }
    }
}

prop_compose! {
    fn any_subject()(user in any::<String>(), uid in any::<String>(), groups in prop::collection::vec(any::<String>(), 0..6),
        extra in prop::collection::btree_map("[a-z./-]{0,8}", prop::collection::vec(any::<String>(), 0..3), 0..4)) -> Subject {
        Subject { user, uid, groups, extra }
    }
}

fn any_action() -> impl Strategy<Value = Action> {
    let selector = || prop::collection::vec(any_requirement(), 0..3);
    let resource = (any::<[String; 7]>(), selector(), selector()).prop_map(|(fields, fields_of, labels)| {
        let [verb, group, version, resource, subresource, namespace, name] = fields;
        Action::Resource(ResourceAction {
            verb,
            group,
            version,
            resource,
            subresource,
            namespace,
            name,
            field_selector: fields_of,
            label_selector: labels,
        })
    });
    let path =
        any::<[String; 2]>().prop_map(|[verb, path]| Action::NonResource(NonResourceAction { verb, path }));
    prop_oneof![resource, path]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&body);
    }

    #[test]
    fn a_damaged_review_never_panics(at in 0..RESOURCE_REVIEW.len(), byte in any::<u8>(), end in 0..RESOURCE_REVIEW.len()) {
        let mut body = RESOURCE_REVIEW.as_bytes().to_vec();
        body[at] = byte;
        let _ = read(&body);
        prop_assert!(read(&body[..end]).is_err());
    }

    #[test]
    fn a_request_written_as_json_reads_back_equal(subject in any_subject(), action in any_action(), beta in any::<bool>()) {
        let version = if beta { Version::V1beta1 } else { Version::V1 };
        let request = Request { subject, action };
        let document = as_json(version, &request);
        prop_assert_eq!(read(document.to_string().as_bytes()), Ok(Review { version, request: request.clone() }));
        if version == Version::V1 {
            prop_assert_eq!(spec_from_json(&document["spec"]), Ok(request));
        }
    }
}

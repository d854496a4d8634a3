//! The webhooks against a real HTTPS server that says what a test wants, and remembers what it was asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use actix_web::{HttpRequest, HttpResponse, web};
use data_encoding::BASE64;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::frontend::admission::{Admission, Operation, Settings};
use crate::frontend::api::{Shaping, complete};
use crate::frontend::resources::find;
use crate::frontend::storage::Object;
use crate::model::Subject;
use crate::server::{ListenerSettings, serve};
use crate::tls::{Authority, MinVersion, ServerContext};

mod matching;
mod replies;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const GROUP: &str = "admissionregistration.k8s.io";

/// How a webhook answers, by its path.
#[derive(Clone)]
enum Says {
    /// This response, with the UID of the request.
    Response(Value),
    /// This, whatever was asked.
    Raw(u16, Vec<u8>),
    /// That it allows the request, after so long.
    Slow(Duration),
    /// To `/fine`.
    Redirect,
}

/// A server, until it is dropped.
struct Server {
    says: Arc<Mutex<HashMap<String, Says>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    address: SocketAddr,
    ca: String,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::new("ca").unwrap();
        let identity = authority.server(&["localhost", "hook.ns.svc"], &[LOCALHOST]).unwrap();
        let tls = ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap();
        let says: Arc<Mutex<HashMap<String, Says>>> = Arc::default();
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let shared = (Arc::clone(&says), Arc::clone(&asked));
        let configure = move |config: &mut web::ServiceConfig| {
            let shared = shared.clone();
            config.default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let (says, asked) = shared.clone();
                async move {
                    let review: Value = serde_json::from_slice(&body).unwrap();
                    asked.lock().unwrap().push((request.uri().to_string(), review.clone()));
                    let says = says.lock().unwrap().get(request.path()).cloned();
                    let replied = |mut response: Value| {
                        response["uid"] = review["request"]["uid"].clone();
                        let reply = json!({
                            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
                        });
                        HttpResponse::Ok().body(reply.to_string())
                    };
                    match says {
                        Some(Says::Response(response)) => replied(response),
                        Some(Says::Raw(status, body)) => {
                            HttpResponse::build(status.try_into().unwrap()).body(body)
                        }
                        Some(Says::Slow(time)) => {
                            tokio::time::sleep(time).await;
                            replied(json!({"allowed": true}))
                        }
                        Some(Says::Redirect) => {
                            HttpResponse::TemporaryRedirect().insert_header(("Location", "/fine")).finish()
                        }
                        None => replied(json!({"allowed": true})),
                    }
                }
            }));
        };
        let listener = ListenerSettings {
            workers: std::num::NonZeroUsize::new(1),
            ..ListenerSettings::new("test", SocketAddr::new(LOCALHOST, 0))
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let running = serve(listener, Some(tls), configure, stopped).unwrap();
        Self { says, asked, address: running.address, ca: authority.ca_pem().to_owned(), _stop: stop }
    }

    fn says(&self, path: &str, says: Says) {
        self.says.lock().unwrap().insert(path.to_owned(), says);
    }

    /// A mutating webhook at this path that answers with this patch.
    fn patches(&self, path: &str, patch: Value) {
        let patch = BASE64.encode(patch.to_string().as_bytes());
        self.says(path, Says::Response(json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})));
    }

    /// The paths that were asked, in their order.
    fn paths(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(uri, _)| uri.split('?').next().unwrap().to_owned()).collect()
    }

    fn webhook(&self, name: &str) -> Value {
        json!({
            "name": format!("{name}.example.com"),
            "clientConfig": {
                "url": format!("https://{}/{name}", self.address), "caBundle": BASE64.encode(self.ca.as_bytes()),
            },
            "rules": [{
                "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
            }],
            "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        })
    }
}

/// An admission chain with webhooks alone.
struct Fixture {
    admission: Admission,
    storage: Arc<Storage>,
}

impl Fixture {
    fn new(services: Vec<ServiceAddress>) -> Self {
        let storage = Arc::new(Storage::new());
        let plugins = vec![
            crate::frontend::admission::PluginName::MutatingAdmissionWebhook,
            crate::frontend::admission::PluginName::ValidatingAdmissionWebhook,
        ];
        let settings = Settings { plugins, services, ..Settings::default() };
        let admission = Admission::new(settings, Arc::clone(&storage), Arc::new(Shaping));
        let it = Self { admission, storage };
        it.store("", "namespaces", json!({"metadata": {"name": "dev", "labels": {"hooks": "on"}}}));
        it
    }

    fn store(&self, group: &str, resource: &str, mut object: Value) {
        let kind = find(group, resource).unwrap();
        complete(kind, &mut object, "2026-03-01T12:00:00Z".parse().unwrap());
        let name = meta::text(&object, "name").to_owned();
        self.storage.create(kind, "", &name, object).now_or_never().unwrap().unwrap();
    }

    fn mutating(&self, name: &str, webhooks: Value) {
        let object = json!({"metadata": {"name": name}, "webhooks": webhooks});
        self.store(GROUP, "mutatingwebhookconfigurations", object);
    }

    fn validating(&self, name: &str, webhooks: Value) {
        let object = json!({"metadata": {"name": name}, "webhooks": webhooks});
        self.store(GROUP, "validatingwebhookconfigurations", object);
    }

    async fn admit(&self, mut asked: Attributes) -> (Result<Value, ApiError>, Record) {
        let mut record = Record::default();
        let admitted = match self.admission.mutating(&mut asked, &mut record).await {
            Ok(()) => self.admission.validating(&asked, &mut record).await,
            refused => refused,
        };
        (admitted.map(|()| asked.object.unwrap_or_default()), record)
    }
}

fn object() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "dev"}})
}

fn create() -> Attributes {
    Attributes {
        operation: Operation::Create,
        kind: find("", "configmaps").unwrap(),
        subresource: String::new(),
        namespace: "dev".to_owned(),
        name: "a".to_owned(),
        object: Some(object()),
        old: None,
        subject: Subject { user: "alice".into(), groups: vec!["g".into()], ..Subject::default() },
        dry_run: false,
        options: json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"}),
    }
}

fn label(key: &str, value: &str) -> Value {
    json!([
        {"op": "add", "path": "/metadata/labels", "value": {key: value}},
    ])
}

fn with(mut webhook: Value, field: &str, value: Value) -> Value {
    webhook[field] = value;
    webhook
}

#[tokio::test]
async fn mutating_webhooks_come_first_each_sees_what_the_ones_before_made_and_validating_ones_the_last() {
    let (server, it) = (Server::start(), Fixture::new(Vec::new()));
    server.patches("/b1", json!([{"op": "add", "path": "/data", "value": {"x": "1", "unknown": "kept"}}]));
    server.patches(
        "/b2",
        json!([{"op": "test", "path": "/data/x", "value": "1"},
        {"op": "add", "path": "/data/y", "value": "2"}, {"op": "add", "path": "/nosuchfield", "value": 1}]),
    );
    server.patches("/a1", label("a", "1"));
    it.validating("z", json!([server.webhook("judge")]));
    it.mutating("b", json!([server.webhook("b1"), server.webhook("b2")]));
    it.mutating("a", json!([server.webhook("a1")]));
    let (admitted, record) = it.admit(create()).await;
    let admitted = admitted.unwrap();
    assert_eq!(admitted["data"], json!({"x": "1", "y": "2", "unknown": "kept"}));
    assert_eq!(admitted["metadata"]["labels"], json!({"a": "1"}));
    assert_eq!(admitted.get("nosuchfield"), None, "what is not known is dropped as from a client");
    assert_eq!(server.paths(), ["/a1", "/b1", "/b2", "/judge"]);
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked[3].0, "/judge?timeout=5s");
    assert_eq!(asked[3].1["request"]["object"], admitted);
    let steps: Vec<_> =
        record.steps.iter().map(|step| (&*step.name, step.outcome, step.patch.is_some())).collect();
    assert_eq!(
        steps,
        [
            ("a1.example.com", Outcome::Changed, true),
            ("b1.example.com", Outcome::Changed, true),
            ("b2.example.com", Outcome::Changed, true),
            ("judge.example.com", Outcome::Passed, false),
        ]
    );
    assert_eq!(
        record.annotations["mutation.webhook.admission.k8s.io/round_0_index_0"],
        r#"{"configuration":"a","mutated":true,"webhook":"a1.example.com"}"#
    );
}

#[tokio::test]
async fn a_review_has_every_field_of_the_request_and_a_uid_of_its_own() {
    let (server, it) = (Server::start(), Fixture::new(Vec::new()));
    it.mutating("a", json!([server.webhook("m")]));
    it.validating("a", json!([server.webhook("v")]));
    let old = Object::new(object());
    let asked = Attributes {
        operation: Operation::Update,
        old: Some(old),
        dry_run: true,
        subresource: "status".to_owned(),
        kind: find("", "pods").unwrap(),
        object: Some(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})),
        ..create()
    };
    it.admit(asked.clone()).await.0.unwrap();
    let sent = server.asked.lock().unwrap().clone();
    let request = &sent[0].1["request"];
    assert_eq!(
        (&sent[0].1["apiVersion"], &sent[0].1["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    let pod = json!({"group": "", "version": "v1", "kind": "Pod"});
    let pods = json!({"group": "", "version": "v1", "resource": "pods"});
    for (field, expected) in [
        ("kind", pod.clone()),
        ("requestKind", pod),
        ("resource", pods.clone()),
        ("requestResource", pods),
        ("subResource", json!("status")),
        ("requestSubResource", json!("status")),
        ("name", json!("a")),
        ("namespace", json!("dev")),
        ("operation", json!("UPDATE")),
        ("dryRun", json!(true)),
        ("oldObject", object()),
        ("options", asked.options.clone()),
    ] {
        assert_eq!(request[field], expected, "{field}");
    }
    assert_eq!(request["userInfo"]["username"], "alice");
    assert_eq!(request["object"]["kind"], "Pod");
    assert_ne!(request["uid"], sent[1].1["request"]["uid"]);
    let delete = Attributes {
        operation: Operation::Delete,
        object: None,
        old: Some(Object::new(object())),
        ..create()
    };
    server.asked.lock().unwrap().clear();
    it.admit(delete).await.0.unwrap();
    let sent = server.asked.lock().unwrap().clone();
    assert_eq!(sent[0].1["request"]["object"], Value::Null);
    assert_eq!(sent[0].1["request"]["oldObject"], object());
    assert_eq!(sent[0].1["request"]["dryRun"], false);
}

#[tokio::test]
async fn who_wants_to_be_asked_again_is_asked_once_more_where_the_object_changed_after_it() {
    for (policy, expected) in
        [("IfNeeded", vec!["/first", "/second", "/first"]), ("Never", vec!["/first", "/second"])]
    {
        let (server, it) = (Server::start(), Fixture::new(Vec::new()));
        server.patches("/second", label("a", "1"));
        let first = with(server.webhook("first"), "reinvocationPolicy", json!(policy));
        // What changed the object itself is not asked again for that.
        let second = with(server.webhook("second"), "reinvocationPolicy", json!(policy));
        it.mutating("a", json!([first, second]));
        it.admit(create()).await.0.unwrap();
        assert_eq!(server.paths(), expected, "{policy}");
        if policy == "IfNeeded" {
            let asked = server.asked.lock().unwrap();
            assert_eq!(asked[2].1["request"]["object"]["metadata"]["labels"]["a"], "1");
        }
    }
}

#[tokio::test]
async fn a_call_that_fails_refuses_or_lets_pass_as_the_failure_policy_says() {
    let server = Server::start();
    let wrong_uid = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": "another", "allowed": true},
    });
    server.says("/error", Says::Raw(500, b"{}".to_vec()));
    server.says("/redirect", Says::Redirect);
    server.says("/uid", Says::Raw(200, wrong_uid.to_string().into_bytes()));
    server.says("/huge", Says::Raw(200, vec![b' '; MAX_REPLY_BYTES + 1]));
    server.says("/text", Says::Raw(200, b"allowed".to_vec()));
    server.says("/empty", Says::Raw(200, Vec::new()));
    server.says("/slow", Says::Slow(Duration::from_secs(20)));
    let other = Authority::new("another").unwrap();
    let closed = std::net::TcpListener::bind((LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let client = |url: String, ca: &str| json!({"url": url, "caBundle": BASE64.encode(ca.as_bytes())});
    let url = |path: &str| format!("https://{}/{path}", server.address);
    for (name, client, why) in [
        ("error", client(url("error"), &server.ca), "the status 500"),
        ("redirect", client(url("redirect"), &server.ca), "the status 307"),
        ("uid", client(url("uid"), &server.ca), "expected response.uid="),
        ("huge", client(url("huge"), &server.ca), "longer than"),
        ("text", client(url("text"), &server.ca), "no AdmissionReview"),
        ("empty", client(url("empty"), &server.ca), "no AdmissionReview"),
        ("slow", client(url("slow"), &server.ca), "deadline"),
        ("authority", client(url("fine"), other.ca_pem()), "TLS with"),
        ("bundle", client(url("fine"), "no PEM"), "caBundle"),
        ("closed", client(format!("https://{closed}/x"), &server.ca), "cannot connect"),
        ("name", client(format!("https://127.0.0.2:{}/x", server.address.port()), &server.ca), ""),
        ("service", json!({"service": {"namespace": "ns", "name": "nowhere"}}), "has no address here"),
    ] {
        for is_mutating in [true, false] {
            for policy in ["Fail", "Ignore"] {
                let it = Fixture::new(Vec::new());
                let hook = with(server.webhook(name), "clientConfig", client.clone());
                let hook = with(with(hook, "failurePolicy", json!(policy)), "timeoutSeconds", json!(1));
                if is_mutating {
                    it.mutating("a", json!([hook]))
                } else {
                    it.validating("a", json!([hook]))
                };
                let (admitted, record) = it.admit(create()).await;
                let what = format!("{name} {is_mutating} {policy}: {admitted:?}");
                assert_eq!(record.steps.len(), 1, "{what}");
                assert_eq!(record.steps[0].outcome, Outcome::Failed, "{what}");
                let kind = if is_mutating { "mutating" } else { "validating" };
                let key = format!("failed-open.{kind}.webhook.admission.k8s.io/round_0_index_0");
                let hook_name = format!("{name}.example.com");
                if policy == "Ignore" {
                    assert_eq!(admitted.unwrap(), object(), "{name}");
                    assert_eq!(record.annotations.get(&key), Some(&hook_name), "{name}");
                    continue;
                }
                let error = admitted.unwrap_err();
                assert_eq!((error.code, error.reason), (500, "InternalError"), "{what}");
                let start = format!("Internal error occurred: failed calling webhook {hook_name:?}: ");
                assert!(error.message.starts_with(&start) && error.message.contains(why), "{what}");
                assert_eq!(record.annotations.get(&key), None, "{what}");
            }
        }
    }
    assert!(!server.paths().contains(&"/fine".to_owned()), "no redirect is followed");
}

#[tokio::test]
async fn a_refusal_is_the_webhooks_whatever_its_failure_policy_and_all_validating_ones_are_waited_for() {
    let (server, it) = (Server::start(), Fixture::new(Vec::new()));
    let no = json!({"allowed": false, "status": {"message": "not today"}, "warnings": ["mind"],
        "auditAnnotations": {"rule": "r1", "not a key!": "x"}});
    server.says("/no", Says::Response(no));
    server.says("/late", Says::Slow(Duration::from_millis(300)));
    let hook = |name| with(server.webhook(name), "failurePolicy", json!("Ignore"));
    it.validating("a", json!([hook("no"), hook("late")]));
    let (admitted, record) = it.admit(create()).await;
    let error = admitted.unwrap_err();
    assert_eq!(
        (error.code, &*error.message),
        (400, "admission webhook \"no.example.com\" denied the request: not today")
    );
    assert_eq!(record.warnings, ["mind"]);
    assert_eq!(record.annotations.get("no.example.com/rule").map(String::as_str), Some("r1"));
    assert_eq!(record.annotations.len(), 1, "{:?}", record.annotations);
    assert_eq!(record.steps.len(), 2, "both were waited for");
    assert_eq!(record.steps[1].outcome, Outcome::Passed);
}

#[tokio::test]
async fn a_dry_run_is_told_and_is_refused_where_the_webhook_does_more_than_look() {
    for (effects, fine) in [("None", true), ("NoneOnDryRun", true), ("Some", false), ("Unknown", false)] {
        let (server, it) = (Server::start(), Fixture::new(Vec::new()));
        it.mutating("a", json!([with(server.webhook("m"), "sideEffects", json!(effects))]));
        let (admitted, _) = it.admit(Attributes { dry_run: true, ..create() }).await;
        assert_eq!(admitted.is_ok(), fine, "{effects}");
        match admitted {
            Ok(_) => assert_eq!(server.asked.lock().unwrap()[0].1["request"]["dryRun"], true),
            Err(error) => {
                assert_eq!(error.message, "admission webhook \"m.example.com\" does not support dry run");
                assert!(server.paths().is_empty(), "{effects}");
            }
        }
        it.admit(create()).await.0.unwrap();
    }
}

#[tokio::test]
async fn a_patch_that_cannot_be_or_changes_what_the_object_is_fails_the_request_and_changes_nothing() {
    let (server, it) = (Server::start(), Fixture::new(Vec::new()));
    it.mutating("a", json!([with(server.webhook("m"), "failurePolicy", json!("Ignore"))]));
    let copies: Vec<Value> = vec![json!({"op": "copy", "from": "", "path": "/data"}); 200];
    for patch in [
        json!({"op": "add"}),
        json!([{"op": "jump", "path": "/a"}]),
        json!([{"op": "remove", "path": "/data/none"}]),
        json!([{"op": "test", "path": "/metadata/name", "value": "b"}, {"op": "add", "path": "/data", "value": {}}]),
        json!([{"op": "replace", "path": "/metadata/name", "value": "b"}]),
        json!([{"op": "replace", "path": "/metadata/namespace", "value": "prod"}]),
        json!([{"op": "replace", "path": "/kind", "value": "Secret"}]),
        json!([{"op": "add", "path": "/data", "value": {"a": 1}}]),
        json!([{"op": "replace", "path": "", "value": []}]),
        Value::Array(copies),
    ] {
        server.patches("/m", patch.clone());
        let mut asked = create();
        let refused = it.admission.mutating(&mut asked, &mut Record::default()).await;
        assert_eq!(refused.unwrap_err().code, 500, "{patch}");
        assert_eq!(asked.object, Some(object()), "{patch}");
    }
    server.patches("/m", json!([]));
    assert_eq!(it.admit(create()).await.0.unwrap(), object());
    let delete = || Attributes {
        operation: Operation::Delete,
        object: None,
        old: Some(Object::new(object())),
        ..create()
    };
    it.admit(delete()).await.0.unwrap();
    server.patches("/m", label("a", "1"));
    let error = it.admit(delete()).await.0.unwrap_err();
    assert!(error.message.contains("attempted to modify the object, which is not supported"), "{error}");
}

#[tokio::test]
async fn a_service_is_reached_at_its_configured_address_and_is_known_by_its_own_name() {
    let server = Server::start();
    let address = |name: &str| ServiceAddress {
        namespace: "ns".into(),
        name: name.into(),
        port: 8443,
        address: server.address.to_string(),
    };
    let it = Fixture::new(vec![address("hook"), address("other")]);
    let client = |name: &str| {
        json!({
            "service": {"namespace": "ns", "name": name, "port": 8443, "path": "/there"},
            "caBundle": BASE64.encode(server.ca.as_bytes()),
        })
    };
    it.mutating("a", json!([with(server.webhook("m"), "clientConfig", client("hook"))]));
    it.admit(create()).await.0.unwrap();
    assert_eq!(server.paths(), ["/there"]);
    // The certificate is not for this name.
    it.mutating("b", json!([with(server.webhook("m"), "clientConfig", client("other"))]));
    assert_eq!(it.admit(create()).await.0.unwrap_err().code, 500);
}

#[tokio::test]
async fn webhooks_are_not_asked_about_their_own_configurations_and_a_changed_one_counts_at_once() {
    let (server, it) = (Server::start(), Fixture::new(Vec::new()));
    server.says("/m", Says::Response(json!({"allowed": false})));
    it.mutating("a", json!([server.webhook("m")]));
    let kind = find(GROUP, "mutatingwebhookconfigurations").unwrap();
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind.kind, "metadata": {"name": "b"},
    });
    let about = Attributes { kind, namespace: String::new(), object: Some(configuration), ..create() };
    it.admit(about).await.0.unwrap();
    assert!(server.paths().is_empty());
    let error = it.admit(create()).await.0.unwrap_err();
    assert_eq!(error.message, "admission webhook \"m.example.com\" denied the request without explanation");
    let anything = crate::frontend::storage::Preconditions::default();
    it.storage.delete(kind, "", "a", &anything).await.unwrap();
    it.admit(create()).await.0.unwrap();
    assert_eq!(server.paths(), ["/m"]);
}

#[tokio::test]
async fn a_slow_webhook_holds_up_no_other_request() {
    let (server, it) = (Server::start(), Fixture::new(Vec::new()));
    server.says("/slow", Says::Slow(Duration::from_secs(3)));
    let slow = with(server.webhook("slow"), "objectSelector", json!({"matchLabels": {"slow": "yes"}}));
    it.mutating("a", json!([slow, server.webhook("fast")]));
    let mut held = create();
    held.object = Some(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "dev", "labels": {"slow": "yes"}},
    }));
    let (held, quick) = (it.admit(held), it.admit(create()));
    tokio::pin!(held);
    tokio::select! {
        biased;
        _ = &mut held => panic!("the slow one came first"),
        (admitted, _) = quick => assert!(admitted.is_ok()),
    }
    held.await.0.unwrap();
}

//! The authoriser against a real HTTPS server that says what a test wants, and counts.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::tests::{path, resource, subject};
use super::super::{Authorizer, Chain, Opinion};
use super::*;
use crate::review;
use crate::server::{ListenerSettings, peer, serve};
use crate::tls::https::Client;
use crate::tls::{Authority, ClientContext, MinVersion, ServerContext};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the server says and saw.
#[derive(Default)]
struct Script {
    /// The status, whether with `Retry-After`, and the body.
    says: Mutex<(u16, bool, String)>,
    asked: Mutex<Vec<(String, Value)>>,
    peers: Mutex<HashSet<SocketAddr>>,
}

impl Script {
    fn says(&self, status: u16, body: impl Into<String>) {
        *self.says.lock().unwrap() = (status, false, body.into());
    }

    fn replies(&self, status: Value) {
        let body =
            json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": status});
        self.says(200, body.to_string());
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn answer(&self, request: &HttpRequest, body: &[u8]) -> HttpResponse {
        let body = serde_json::from_slice(body).unwrap();
        self.asked.lock().unwrap().push((request.uri().to_string(), body));
        self.peers.lock().unwrap().insert(peer(request).unwrap().address);
        let (status, retry_after, body) = self.says.lock().unwrap().clone();
        let mut response = HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap());
        if retry_after {
            response.insert_header(("Retry-After", "1"));
        }
        response.body(body)
    }
}

/// A server, until it is dropped.
struct Server {
    script: Arc<Script>,
    endpoint: Endpoint,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::new("ca").unwrap();
        let identity = authority.server(&["localhost"], &[LOCALHOST]).unwrap();
        let tls = ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap();
        let trust = ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap();
        let script = Arc::new(Script::default());
        let scripted = Arc::clone(&script);
        let listener = ListenerSettings {
            workers: std::num::NonZeroUsize::new(1),
            ..ListenerSettings::new("test", SocketAddr::new(LOCALHOST, 0))
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let configure = move |config: &mut web::ServiceConfig| {
            let script = Arc::clone(&scripted);
            config.default_service(web::to(move |request: HttpRequest, body: web::Bytes| {
                let script = Arc::clone(&script);
                async move { script.answer(&request, &body) }
            }));
        };
        let running = serve(listener, Some(tls), configure, stopped).unwrap();
        let url = format!("https://{}/authorize", running.address);
        Self { script, endpoint: Endpoint { url, client: Client::new(trust) }, _stop: stop }
    }

    fn webhook(&self, settings: Settings) -> Webhook {
        Webhook::new(self.endpoint.clone(), settings).unwrap()
    }
}

fn settings() -> Settings {
    let retry = Retry { first: Duration::from_millis(1), ..Retry::default() };
    Settings { version: Version::V1, retry, ..Settings::default() }
}

fn a_request() -> Request {
    resource("alice", &["dev"], "get pods", "team-a", "web")
}

fn said(opinion: &Opinion) -> (Decision, &str, Option<&str>) {
    (opinion.decision, &opinion.reason, opinion.error.as_deref())
}

#[tokio::test]
async fn the_reply_is_what_counts() {
    let server = Server::start();
    let both = "webhook subject access review returned both allow and deny response";
    for (status, expected) in [
        (json!({"allowed": true, "reason": "yes"}), (Decision::Allow, "yes", None)),
        (json!({"allowed": false}), (Decision::NoOpinion, "", None)),
        (
            json!({"allowed": false, "reason": "hm", "evaluationError": "x"}),
            (Decision::NoOpinion, "hm", None),
        ),
        (json!({"allowed": false, "denied": true, "reason": "no"}), (Decision::Deny, "no", None)),
        (json!({"allowed": true, "denied": true}), (Decision::Deny, "", Some(both))),
        (json!(null), (Decision::NoOpinion, "", None)),
    ] {
        let webhook = server.webhook(settings());
        server.script.replies(status.clone());
        let opinion = webhook.authorize(&a_request()).await;
        assert_eq!(said(&opinion), expected, "{status}");
        assert!(opinion.detail.starts_with("the webhook was asked and said: "), "{}", opinion.detail);
    }
}

#[tokio::test]
async fn a_review_is_asked_in_the_version_that_was_set() {
    for version in [Version::V1, Version::V1beta1] {
        let server = Server::start();
        server.script.replies(json!({"allowed": true}));
        let webhook = server.webhook(Settings { version, timeout: Duration::from_secs(3), ..settings() });
        assert_eq!(webhook.authorize(&a_request()).await.decision, Decision::Allow);
        let asked = server.script.asked.lock().unwrap();
        assert_eq!(asked[0].0, "/authorize?timeout=3s");
        let body = asked[0].1.to_string();
        let review = review::read(body.as_bytes()).unwrap();
        assert_eq!((review.version, review.request), (version, a_request()));
    }
}

#[tokio::test]
async fn it_is_asked_five_times_where_it_may_be_otherwise_in_a_moment_and_once_where_not() {
    for (status, calls) in [(500, 5), (429, 5), (504, 5), (503, 1), (403, 1), (404, 1), (200, 1)] {
        let server = Server::start();
        server.script.says(status, "not a review");
        let opinion = server.webhook(settings()).authorize(&a_request()).await;
        assert_eq!(server.script.calls(), calls, "{status}");
        assert_eq!(opinion.decision, Decision::NoOpinion);
        assert!(opinion.error.is_some(), "{status}");
    }
    let server = Server::start();
    *server.script.says.lock().unwrap() = (503, true, String::new());
    assert!(server.webhook(settings()).authorize(&a_request()).await.error.is_some());
    assert_eq!(server.script.calls(), 5, "with a Retry-After");
}

#[tokio::test]
async fn the_failure_policy_decides_where_there_is_no_reply() {
    let server = Server::start();
    server.script.says(403, "");
    for (failure_policy, decision) in
        [(FailurePolicy::NoOpinion, Decision::NoOpinion), (FailurePolicy::Deny, Decision::Deny)]
    {
        let opinion = server.webhook(Settings { failure_policy, ..settings() }).authorize(&a_request()).await;
        assert_eq!(said(&opinion), (decision, "", Some("the webhook answered with the status 403")));
    }
    let nobody = Endpoint { url: "http://127.0.0.1:9/".into(), client: Client::plain() };
    let webhook = Webhook::new(nobody, settings()).unwrap();
    assert!(webhook.authorize(&a_request()).await.error.unwrap().contains("cannot connect"));
}

#[tokio::test]
async fn a_deny_ends_the_chain_whoever_comes_after_it() {
    let server = Server::start();
    server.script.says(403, "");
    let denies = server.webhook(Settings { failure_policy: FailurePolicy::Deny, ..settings() });
    let allow = || ("allow".to_owned(), Authorizer::AlwaysAllow);
    let denies = ("webhook".to_owned(), Authorizer::Webhook(Box::new(denies)));
    let verdict = Chain::new(vec![denies, allow()]).authorize(&a_request()).await;
    assert_eq!((verdict.decision, verdict.by.as_deref()), (Decision::Deny, Some("webhook")));
    assert_eq!(verdict.steps.len(), 2, "nobody was asked after it");
}

#[tokio::test]
async fn an_error_counts_only_where_nobody_else_decides() {
    let server = Server::start();
    server.script.says(403, "");
    let webhook = || ("webhook".to_owned(), Authorizer::Webhook(Box::new(server.webhook(settings()))));
    let alone = Chain::new(vec![webhook()]).authorize(&a_request()).await;
    assert_eq!((alone.decision, alone.error.is_some()), (Decision::NoOpinion, true));
    let behind = Chain::new(vec![webhook(), ("allow".into(), Authorizer::AlwaysAllow)]);
    let verdict = behind.authorize(&a_request()).await;
    assert_eq!((verdict.decision, verdict.error), (Decision::Allow, None));
    assert!(behind.rules_for(&subject("alice", &[]), "a").incomplete);
}

#[tokio::test]
async fn replies_are_kept_as_long_as_their_kind_is() {
    let server = Server::start();
    for (status, life) in [
        (json!({"allowed": true}), Duration::from_secs(300)),
        (json!({"allowed": false}), Duration::from_secs(30)),
        (json!({"allowed": false, "denied": true}), Duration::from_secs(30)),
    ] {
        let webhook = server.webhook(settings());
        server.script.replies(status);
        let now = Instant::now();
        let before = server.script.calls();
        let first = webhook.authorize_at(&a_request(), now).await;
        let kept = webhook.authorize_at(&a_request(), now + life - Duration::from_millis(1)).await;
        assert_eq!(said(&kept), said(&first));
        assert!(kept.detail.starts_with("the webhook said before, and its reply is kept: "));
        assert_eq!(server.script.calls(), before + 1);
        let _ = webhook.authorize_at(&a_request(), now + life).await;
        assert_eq!(server.script.calls(), before + 2);
    }
}

#[tokio::test]
async fn a_reply_is_kept_for_nothing_but_what_was_asked() {
    let server = Server::start();
    server.script.replies(json!({"allowed": true}));
    let webhook = server.webhook(settings());
    let mut others = vec![
        a_request(),
        resource("bob", &["dev"], "get pods", "team-a", "web"),
        resource("alice", &["dev", "ops"], "get pods", "team-a", "web"),
        resource("alice", &["dev"], "list pods", "team-a", "web"),
        resource("alice", &["dev"], "get pods/log", "team-a", "web"),
        resource("alice", &["dev"], "get pods", "team-b", "web"),
        path("alice", &["dev"], "get", "/a"),
        path("alice", &["dev"], "get", "/a/"),
    ];
    let mut narrower = a_request();
    narrower.subject.extra.insert("k".into(), vec!["v".into()]);
    others.push(narrower);
    for (calls, request) in (1..).zip(&others) {
        let _ = webhook.authorize(request).await;
        let _ = webhook.authorize(request).await;
        assert_eq!(server.script.calls(), calls, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_not() {
    let server = Server::start();
    for (status, authorized_ttl, unauthorized_ttl, calls) in [
        (json!({"allowed": true}), None, Some(DEFAULT_UNAUTHORIZED_TTL), 2),
        (json!({"allowed": true}), Some(DEFAULT_AUTHORIZED_TTL), None, 1),
        (json!({"allowed": false}), Some(DEFAULT_AUTHORIZED_TTL), None, 2),
        (json!({"allowed": false}), None, None, 2),
    ] {
        server.script.replies(status);
        server.script.asked.lock().unwrap().clear();
        let webhook = server.webhook(Settings { authorized_ttl, unauthorized_ttl, ..settings() });
        for _ in 0..2 {
            let _ = webhook.authorize(&a_request()).await;
        }
        assert_eq!(server.script.calls(), calls);
    }
    server.script.replies(json!({"allowed": true}));
    for (length, calls) in [(MAX_CACHED_ATTRIBUTE_BYTES - 4, 1), (MAX_CACHED_ATTRIBUTE_BYTES - 3, 2)] {
        server.script.asked.lock().unwrap().clear();
        let webhook = server.webhook(settings());
        for _ in 0..2 {
            let _ = webhook.authorize(&path("alice", &[], "get", &"a".repeat(length))).await;
        }
        assert_eq!(server.script.calls(), calls, "a path of {length} bytes");
    }
}

#[tokio::test]
async fn a_reply_is_bounded() {
    let server = Server::start();
    server.script.replies(json!({"allowed": false, "reason": "ö".repeat(MAX_REASON_CHARS + 1)}));
    let opinion = server.webhook(settings()).authorize(&a_request()).await;
    assert_eq!(opinion.reason, "ö".repeat(MAX_REASON_CHARS));
    server.script.replies(json!({"allowed": true, "reason": "a".repeat(MAX_REPLY_BYTES)}));
    let opinion = server.webhook(settings()).authorize(&a_request()).await;
    assert_eq!((opinion.decision, opinion.error.is_some()), (Decision::NoOpinion, true));
}

#[tokio::test]
async fn an_error_is_never_kept() {
    let server = Server::start();
    server.script.says(403, "");
    let webhook = server.webhook(settings());
    assert!(webhook.authorize(&a_request()).await.error.is_some());
    server.script.replies(json!({"allowed": true}));
    assert_eq!(webhook.authorize(&a_request()).await.decision, Decision::Allow);
}

#[tokio::test]
async fn only_what_the_conditions_let_through_is_asked() {
    let server = Server::start();
    server.script.replies(json!({"allowed": true}));
    let conditions = |text: &str| Conditions::new(vec![Conditions::compile(text).unwrap()]);
    let of_team = || conditions("request.resourceAttributes.namespace.startsWith('team-')");
    let webhook = server.webhook(Settings { conditions: of_team(), ..settings() });
    assert_eq!(webhook.authorize(&a_request()).await.decision, Decision::Allow);
    let elsewhere = resource("alice", &[], "get pods", "kube-system", "web");
    assert_eq!(said(&webhook.authorize(&elsewhere).await), (Decision::NoOpinion, "", None));
    assert_eq!(server.script.calls(), 1);

    let of_path = path("alice", &[], "get", "/metrics");
    let opinion = webhook.authorize(&of_path).await;
    assert_eq!((opinion.decision, opinion.error.is_some()), (Decision::NoOpinion, true));
    let closed = Settings { conditions: of_team(), failure_policy: FailurePolicy::Deny, ..settings() };
    let opinion = server.webhook(closed).authorize(&of_path).await;
    assert_eq!((opinion.decision, opinion.error.is_some()), (Decision::Deny, true));
    assert_eq!(server.script.calls(), 1);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start();
    server.script.replies(json!({"allowed": false}));
    let webhook = server.webhook(Settings { unauthorized_ttl: None, ..settings() });
    for _ in 0..5 {
        let _ = webhook.authorize(&a_request()).await;
    }
    assert_eq!(server.script.calls(), 5);
    assert_eq!(server.script.peers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_nobody_trusts_is_not_asked() {
    let server = Server::start();
    server.script.replies(json!({"allowed": true}));
    let other = Authority::new("other").unwrap();
    let trust = ClientContext::from_pem("test", other.ca_pem(), None, MinVersion::Tls12).unwrap();
    let endpoint = Endpoint { client: Client::new(trust), ..server.endpoint.clone() };
    let opinion = Webhook::new(endpoint, settings()).unwrap().authorize(&a_request()).await;
    assert_eq!((opinion.decision, opinion.error.is_some()), (Decision::NoOpinion, true));
    assert_eq!(server.script.calls(), 0);
}

/// A server without TLS that speaks as `answers` says for each connection: nothing, or one answer, and closes it.
async fn short_of_breath(answers: &'static [Option<&'static str>]) -> (Endpoint, Arc<Mutex<usize>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/authorize", listener.local_addr().unwrap());
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let nth = std::mem::replace(&mut *counted.lock().unwrap(), 0);
            *counted.lock().unwrap() = nth + 1;
            let mut request = [0; 16 * 1024];
            let _ = stream.read(&mut request).await;
            if let Some(body) = answers.get(nth).copied().flatten() {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (Endpoint { url, client: Client::plain() }, connections)
}

const YES: &str =
    r#"{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}"#;

#[tokio::test]
async fn a_connection_that_breaks_is_tried_again() {
    let (endpoint, connections) = short_of_breath(&[]).await;
    let opinion = Webhook::new(endpoint, settings()).unwrap().authorize(&a_request()).await;
    assert!(opinion.error.is_some());
    assert_eq!(*connections.lock().unwrap(), 5);

    let (endpoint, connections) = short_of_breath(&[None, None, Some(YES)]).await;
    let opinion = Webhook::new(endpoint, settings()).unwrap().authorize(&a_request()).await;
    assert_eq!((opinion.decision, opinion.error), (Decision::Allow, None));
    assert_eq!(*connections.lock().unwrap(), 3);
}

#[tokio::test]
async fn a_kept_connection_that_the_other_end_closed_is_no_failure() {
    let (endpoint, _) = short_of_breath(&[Some(YES), Some(YES), Some(YES)]).await;
    let retry = Retry { tries: 1, ..Retry::default() };
    let webhook = Webhook::new(endpoint, Settings { authorized_ttl: None, retry, ..settings() }).unwrap();
    for _ in 0..3 {
        assert_eq!(webhook.authorize(&a_request()).await.decision, Decision::Allow);
    }
}

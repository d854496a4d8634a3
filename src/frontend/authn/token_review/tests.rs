//! Against a webhook of our own, over HTTPS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use actix_web::{HttpResponse, web};
use serde_json::Value;

use super::*;
use crate::server::{ListenerSettings, serve};
use crate::tls::https::Client;
use crate::tls::{Authority, ClientContext, MinVersion, ServerContext};

/// A webhook that answers everything with this status and body, and keeps what it was asked.
struct Webhook {
    asked: Arc<Mutex<Vec<Value>>>,
    answer: Arc<Mutex<(u16, String)>>,
    review: TokenReview,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Webhook {
    fn new(audiences: &[&str]) -> Self {
        let authority = Authority::new("ca").unwrap();
        let localhost = Ipv4Addr::LOCALHOST;
        let identity = authority.server(&["localhost"], &[localhost.into()]).unwrap();
        let tls = ServerContext::from_pem("test", &identity, None, MinVersion::Tls12).unwrap();
        let (asked, answer) =
            (Arc::<Mutex<Vec<Value>>>::default(), Arc::new(Mutex::new((201, String::new()))));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (for_asked, for_answer) = (asked.clone(), answer.clone());
        let configure = move |config: &mut web::ServiceConfig| {
            let (asked, answer) = (for_asked.clone(), for_answer.clone());
            config.route(
                "/review",
                web::post().to(move |body: web::Bytes| {
                    asked.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                    let (status, text) = answer.lock().unwrap().clone();
                    async move {
                        HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).body(text)
                    }
                }),
            );
        };
        let listener = ListenerSettings::new("review", SocketAddr::from((localhost, 0)));
        let running = serve(listener, Some(tls), configure, stopped).unwrap();
        let context = ClientContext::from_pem("test", authority.ca_pem(), None, MinVersion::Tls12).unwrap();
        let url = format!("https://{}/review", running.address);
        let endpoint = Endpoint { url, client: Client::new(context) };
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let mut review = TokenReview::new(endpoint, audiences, DEFAULT_CACHE).unwrap();
        review.pause = Duration::from_millis(1);
        Self { asked, answer, review, _stop: stop }
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn says(&self, status: &Value) {
        let review =
            json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status});
        self.answers(201, &review.to_string());
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    async fn said(&self, token: &str) -> Said {
        self.review.authenticate(token, at(0)).await
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + second).unwrap()
}

#[tokio::test]
async fn a_token_is_who_the_webhook_says() {
    let webhook = Webhook::new(&["api"]);
    webhook.says(&json!({"authenticated": true, "user": {
        "username": "ada", "uid": "7", "groups": ["system:masters"], "extra": {"team": ["red"], "none": null},
    }}));
    let Said::Who(subject, _) = webhook.said("t").await else { panic!() };
    assert_eq!((subject.user.as_str(), subject.uid.as_str()), ("ada", "7"));
    assert_eq!(subject.groups, ["system:masters"]);
    assert_eq!(subject.extra["team"], ["red"]);
    let asked = webhook.asked.lock().unwrap();
    assert_eq!(asked[0]["spec"], json!({"token": "t", "audiences": ["api"]}));
    assert_eq!(
        (&asked[0]["kind"], &asked[0]["apiVersion"]),
        (&json!("TokenReview"), &json!("authentication.k8s.io/v1"))
    );
}

#[tokio::test]
async fn an_answer_is_good_for_a_while_and_for_one_token() {
    let webhook = Webhook::new(&[]);
    webhook.says(&json!({"authenticated": true, "user": {"username": "ada"}}));
    let end = DEFAULT_CACHE.as_secs();
    for (token, second, asked) in [("a", 0, 1), ("a", end - 1, 1), ("b", 1, 2), ("a", end, 3)] {
        assert!(matches!(webhook.review.authenticate(token, at(second)).await, Said::Who(..)));
        assert_eq!(webhook.asked(), asked);
    }
    webhook.says(&json!({"authenticated": false}));
    for _ in 0..2 {
        assert!(matches!(webhook.said("c").await, Said::Nothing(_)));
    }
    assert_eq!(webhook.asked(), 4, "a no is kept too");
}

#[tokio::test]
async fn many_requests_at_once_with_one_token_ask_once() {
    let webhook = Webhook::new(&[]);
    webhook.says(&json!({"authenticated": true, "user": {"username": "ada"}}));
    let said = futures_util::future::join_all((0..20).map(|_| webhook.said("t"))).await;
    assert!(said.iter().all(|said| matches!(said, Said::Who(..))));
    assert_eq!(webhook.asked(), 1);
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let webhook = Webhook::new(&["api", "api2"]);
    let said = async |token, audiences: Value| {
        webhook.says(&json!({"authenticated": true, "user": {"username": "ada"}, "audiences": audiences}));
        webhook.said(token).await
    };
    assert!(matches!(said("a", json!(["vault"])).await, Said::Refused(_)));
    assert!(matches!(said("b", json!(["vault", "api2"])).await, Said::Who(..)));
    assert!(matches!(said("c", json!([])).await, Said::Who(..)));
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure_and_is_not_kept() {
    let webhook = Webhook::new(&[]);
    for (status, body) in [
        (201, ""),
        (200, "{}"),
        (
            200,
            r#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1beta1","status":{"authenticated":true}}"#,
        ),
        (
            200,
            r#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":"true"}}"#,
        ),
        (
            200,
            r#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true}}"#,
        ),
        (
            403,
            r#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":true}}"#,
        ),
        (200, r#"{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"error":"t0ken"}}"#),
    ] {
        webhook.answers(status, body);
        let said = webhook.said("t0ken").await;
        assert!(matches!(&said, Said::Failed(why) if !why.contains("t0ken")), "{body}: {said:?}");
    }
    webhook.says(&json!({"authenticated": true, "user": {"username": "ada"}}));
    assert!(matches!(webhook.said("t0ken").await, Said::Who(..)));
}

#[tokio::test]
async fn a_webhook_that_cannot_answer_is_asked_again_and_not_for_ever() {
    let webhook = Webhook::new(&[]);
    for status in [500, 429, 503] {
        let before = webhook.asked();
        webhook.answers(status, "");
        assert!(matches!(webhook.said("t").await, Said::Failed(_)));
        assert_eq!(webhook.asked() - before, TRIES as usize);
    }
}

#[tokio::test]
async fn who_waits_behind_too_many_others_is_asked_for_when_they_are_done() {
    let webhook = Webhook::new(&[]);
    webhook.says(&json!({"authenticated": true, "user": {"username": "ada"}}));
    let all = webhook.review.calls.acquire_many(u32::try_from(MAX_CONCURRENT_CALLS).unwrap()).await.unwrap();
    let mut waiting = Box::pin(webhook.said("t"));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(webhook.asked(), 0);
    drop(all);
    assert!(matches!(waiting.await, Said::Who(..)));
}

#[tokio::test]
async fn a_review_says_whether_nobody_knows_a_token_or_nobody_could_tell() {
    use crate::frontend::authn::Authenticators;
    let Webhook { answer, review, _stop, .. } = Webhook::new(&[]);
    let authenticators = Authenticators { token_review: Some(review), ..Authenticators::default() };
    let says = async |status, body: &Value| {
        *answer.lock().unwrap() = (status, body.to_string());
        authenticators.review(&json!({"token": "t"}), at(0)).await.unwrap()
    };
    let failed = says(503, &json!({})).await;
    assert_eq!(failed["error"], "it could not be found out whose token it is");
    let unknown = json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": {}});
    assert_eq!(says(201, &unknown).await, json!({"user": {}}));
}

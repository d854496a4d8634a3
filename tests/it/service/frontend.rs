//! `bailiwick frontend` as a process: what it is started with, what it leaves behind, and how it ends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bailiwick::tls::https::{Client, Method, Request, Response};
use serde_json::{Value, json};

use super::fixture::{BAILIWICK, PATIENCE, Site, ended, run, signal_process};

/// A running front end. Killed when dropped.
pub(super) struct FrontEnd {
    pub(super) process: Child,
    pub(super) url: String,
    _log: Receiver<String>,
}

/// Alice's own token, and somebody's who may do nothing.
const TOKENS: &str = "alices-token,alice,1\nbobs-token,bob,2,\"team,other\"\n";

/// Alice may do anything in the namespace default; who is in the group team may look.
const ABAC: &str = r#"
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "alice", "namespace": "default", "resource": "*", "apiGroup": "*"}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "team", "readonly": true, "namespace": "default", "resource": "pods"}}
"#;

fn site() -> Site {
    let site = Site::new(&[]);
    site.write("tokens.csv", TOKENS);
    site.write("abac.jsonl", ABAC);
    site.write(
        "frontend.yaml",
        "apiVersion: bailiwick.dev/v1alpha1\n\
         kind: FrontendConfiguration\n\
         server: {listen: \"127.0.0.1:0\", tls: {certFile: server.pem, keyFile: server.key, caFile: ca.pem}}\n\
         authentication: {tokenFile: tokens.csv}\n\
         authorization: {modes: [ABAC, RBAC], abacPolicyFile: abac.jsonl}\n\
         journeys: {auditLog: events.log}\n\
         log: {format: json, level: info}\n",
    );
    site
}

impl FrontEnd {
    fn start(site: &Site) -> Self {
        Self::start_with(site, &[])
    }

    /// Started with arguments more.
    pub(super) fn start_with(site: &Site, arguments: &[&str]) -> Self {
        let mut process = Command::new(BAILIWICK)
            .args(["frontend", "--config"])
            .arg(site.path("frontend.yaml"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, log) = channel();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut front_end = Self { process, url: String::new(), _log: log };
        while front_end.url.is_empty() {
            let line = front_end._log.recv_timeout(PATIENCE).expect("it serves");
            let line: Value = serde_json::from_str(&line).unwrap();
            if let ("serving", Some(address)) = (line["message"].as_str().unwrap(), line["address"].as_str())
            {
                front_end.url = format!("https://{address}");
            }
        }
        front_end
    }

    pub(super) async fn ask(
        &self,
        client: &Client,
        method: Method,
        target: &str,
        body: Option<Value>,
    ) -> Response {
        let deadline = Instant::now() + PATIENCE;
        let mut connection = client.connect(&self.url, deadline).await.unwrap();
        let body = body.map(|body| ("application/json", serde_json::to_vec(&body).unwrap().into()));
        connection.send(Request { method, target: target.to_owned(), body }, deadline).await.unwrap()
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

pub(super) fn by_token(site: &Site, token: &str) -> Client {
    site.stranger().with_bearer_token(token).unwrap()
}

pub(super) fn json_of(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

#[tokio::test]
async fn a_request_leaves_an_audit_event_and_no_credential() {
    let site = site();
    let front_end = FrontEnd::start(&site);
    let alice = by_token(&site, "alices-token");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    let created = front_end.ask(&alice, Method::POST, pods, Some(pod.clone())).await;
    assert_eq!(created.status.as_u16(), 201, "{:?}", json_of(&created));
    assert_eq!(json_of(&created)["metadata"]["annotations"]["bailiwick.dev/owner"], "alice");
    let bob = by_token(&site, "bobs-token");
    assert_eq!(front_end.ask(&bob, Method::GET, pods, None).await.status.as_u16(), 200);
    let refused = front_end.ask(&bob, Method::POST, pods, Some(pod)).await;
    assert_eq!((refused.status.as_u16(), &json_of(&refused)["reason"]), (403, &json!("Forbidden")));
    let unknown = front_end.ask(&by_token(&site, "nobodys-token"), Method::GET, pods, None).await;
    assert_eq!(unknown.status.as_u16(), 401);
    assert_eq!(front_end.ask(&site.stranger(), Method::GET, pods, None).await.status.as_u16(), 401);

    let text = std::fs::read_to_string(site.path("events.log")).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let brief: Vec<(u64, &str, &str)> = events
        .iter()
        .map(|event| {
            let user = event["user"]["username"].as_str().unwrap_or("-");
            (event["responseStatus"]["code"].as_u64().unwrap(), event["verb"].as_str().unwrap(), user)
        })
        .collect();
    let expected = [
        (201, "create", "alice"),
        (200, "list", "bob"),
        (403, "create", "bob"),
        (401, "get", "-"),
        (401, "get", "-"),
    ];
    assert_eq!(brief, expected);
    assert_eq!(events[0]["auditID"], created.headers["audit-id"].to_str().unwrap());
    assert_eq!(events[0]["objectRef"]["resource"], "pods");
    for secret in ["alices-token", "bobs-token", "nobodys-token"] {
        assert!(!text.contains(secret), "{secret} is in the audit log");
    }
}

#[tokio::test]
async fn a_signal_ends_it_though_somebody_watches() {
    let site = site();
    let mut front_end = FrontEnd::start(&site);
    let url = format!("{}/api/v1/namespaces/default/pods?watch=true", front_end.url);
    let bob = by_token(&site, "bobs-token");
    let watching = tokio::spawn(async move { bob.get(&url, Instant::now() + PATIENCE).await });
    // The watch is there when its stage is: nothing else of this user comes.
    let until = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(site.path("events.log")).is_ok_and(|text| text.contains("\"watch\"")) {
        assert!(Instant::now() < until, "the watch does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    signal_process(&front_end.process, "-TERM");
    let status = ended(&mut front_end.process, Instant::now() + Duration::from_secs(8));
    assert_eq!(status.expect("it waits for the watch").code(), Some(0));
    assert_eq!(watching.await.unwrap().unwrap().status.as_u16(), 200, "the watch ended as streams do");
}

#[test]
fn a_check_makes_everything_and_serves_nothing() {
    let site = site();
    let folder = site.path("");
    let check = || run(&folder, &["check", "--config", "frontend.yaml"]);
    let (code, out, err) = check();
    assert_eq!((code, &*out), (0, ""), "{err}");
    assert!(!site.path("events.log").exists(), "a check writes nothing");
    site.write("abac.jsonl", "{no json\n");
    let (code, _, err) = check();
    assert!(code == 5 && err.contains("abac.jsonl"), "{code} {err}");
    std::fs::remove_file(site.path("tokens.csv")).unwrap();
    let (code, _, err) = check();
    assert!(code != 0 && err.contains("tokens.csv"), "{code} {err}");
    let (code, _, err) = run(&folder, &["check", "--config", "frontend.yaml", "policies"]);
    assert!(code == 2 && err.contains("names no policies"), "{code} {err}");
}
